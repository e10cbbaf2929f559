use std::time::Duration;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use crate::tensor::{DType, Dim, Port, Shape, Signature, TensorName};

use crate::gpuxfile::file::Trace;
use crate::gpuxfile::source::Span;
use crate::gpuxfile::*;

fn at<T>(value: T) -> Located<T> {
    Located::new(value, Span::default())
}

/// Text of one line, hostile to anyone who writes YAML without care.
fn line() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        "no",
        "~",
        "null",
        "1.0",
        "0x1f",
        "- a",
        "a: b",
        "# a",
        "a #b",
        "'",
        "\"",
        "\\",
        "%a",
        "@a",
        "!a",
        "&a",
        "*a",
        "|",
        ">",
        "[a",
        "{a",
        "}",
        ",",
        "=",
        "<<",
        "1_000",
        "2026-11-22",
        "12:30:45",
        ".inf",
        "a\u{2028}b",
        "\u{feff}a",
        " a",
        "a ",
        "?",
        "? a",
        "---",
        "...",
        "é",
        "模型",
        "\u{200b}a",
        "\u{1f600}",
        "-1",
        "+1",
        "1e3",
        "0o7",
        "010",
        "True",
    ]);
    prop_oneof![
        odd.prop_map(str::to_owned),
        "[a-zA-Z0-9_.:#'\"\\\\ -]{0,11}[a-z]",
        "\\PC{0,8}[a-z]"
    ]
}

/// Any text, line breaks and tabs included.
fn prose() -> impl Strategy<Value = String> {
    vec(prop_oneof![line(), Just("\n".to_owned()), Just("\t".to_owned())], 1..6).prop_map(|parts| parts.concat())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(|number| Value::Int(number.into())),
        any::<u64>().prop_map(|number| Value::Int(number.into())),
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(Value::Float),
        prose().prop_map(Value::Text),
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::List),
            entries(inner).prop_map(Value::Map)
        ]
    })
}

fn entries(value: impl Strategy<Value = Value>) -> impl Strategy<Value = Vec<(String, Value)>> {
    prop::collection::btree_map(line(), value, 0..4).prop_map(|map| map.into_iter().collect())
}

fn path() -> impl Strategy<Value = ContextPath> {
    "[a-z][a-z0-9 _#:-]{0,8}(/[a-z]{1,5}){0,2}\\.onnx".prop_filter_map("a path", |text| ContextPath::parse(&text).ok())
}

fn dim() -> impl Strategy<Value = Dim> {
    prop_oneof![
        (0..=i64::MAX as u64).prop_map(Dim::Fixed),
        prop::sample::select(vec!["N", "no", "batch size", "2*N", "a, b", "null"])
            .prop_map(|name| Dim::Symbol(name.into())),
        Just(Dim::Unknown),
    ]
}

fn ports() -> impl Strategy<Value = Vec<PortDeclaration>> {
    let labels = prop_oneof![
        vec(line(), 0..3).prop_map(|labels| Labels::List(at(labels))),
        path().prop_map(|path| Labels::File(at(path))),
    ];
    let name = prop_oneof![line(), Just("a\nb\x1b\0".to_owned()), Just("495".to_owned())];
    let dtype = (0..26usize).prop_map(|at| DType::all().nth(at).unwrap());
    let port = (
        name,
        option::of(dtype),
        option::of(vec(dim(), 0..4)),
        option::of(prose()),
        option::of(labels),
        option::of(any::<bool>()),
        option::of(1..i64::MAX as u64),
    );
    vec(port, 0..4).prop_map(|ports| {
        let mut seen = std::collections::HashSet::new();
        ports
            .into_iter()
            .filter(|port| seen.insert(port.0.clone()))
            .map(
                |(name, dtype, shape, description, labels, required, max_length)| PortDeclaration {
                    name: at(TensorName::new(name)),
                    dtype: dtype.map(at),
                    shape: shape.map(|dims| at(dims.into_iter().map(at).collect())),
                    description,
                    labels,
                    required,
                    max_length,
                },
            )
            .collect()
    })
}

fn runtime() -> impl Strategy<Value = Runtime> {
    let provider = || prop::sample::select(vec!["cuda", "migraphx", "cpu", "embedded"]).prop_map(str::to_owned);
    let options =
        (provider(), prop::collection::btree_map(line(), line(), 0..3)).prop_map(|(name, options)| ProviderOptions {
            provider: at(name),
            options: options.into_iter().collect(),
        });
    (
        vec(provider().prop_map(at), 0..3),
        option::of(options),
        option::of(1..=65_536u64),
        option::of(1..=2_592_000_000_000_000u64),
        option::of(1..=u64::MAX),
    )
        .prop_map(|(providers, options, threads, timeout, memory)| Runtime {
            providers,
            provider_options: options.into_iter().collect(),
            threads: threads.map(at),
            timeout: timeout.map(|nanoseconds| at(Duration::from_nanos(nanoseconds))),
            memory_bytes: memory.map(at),
        })
}

fn serving() -> impl Strategy<Value = Serving> {
    let time = || option::of((1..=1_000_000u64).prop_map(Duration::from_micros));
    (
        option::of(line()),
        option::of(1..=u16::MAX),
        option::of(1..=65_536u64),
        time(),
        time(),
    )
        .prop_map(|(host, port, count, delay, timeout)| Serving {
            host,
            port,
            max_batch_size: count,
            max_queue_delay: delay,
            timeout,
            instances: count,
        })
}

/// Some of the pipelines in `forms`, as YAML: none, one alone, or some by name.
fn pipelines(forms: &'static [&'static str]) -> impl Strategy<Value = String> {
    let form = || prop::sample::select(forms);
    let list = |form: &str| {
        if form.starts_with('[') {
            form.to_owned()
        } else {
            format!("[{form}]")
        }
    };
    prop_oneof![
        Just(String::new()),
        form().prop_map(list),
        prop::collection::btree_map("[a-z #:é模]{1,3}[a-z]", form(), 1..4).prop_map(move |named| {
            let named = named.iter().map(|(name, form)| format!("\"{name}\": {}", list(form)));
            format!("{{{}}}", named.collect::<Vec<_>>().join(", "))
        }),
    ]
}

prop_compose! {
    fn file()(
        name in "[a-z0-9]{1,5}(-[a-z0-9]{1,5}){0,2}(/[a-z0-9]{1,4})?",
        version in option::of((any::<u64>(), 0..9u64, "(-[a-z]{1,3}\\.[1-9])?(\\+[a-z0-9]{1,4})?")),
        description in option::of(prose()),
        (licenses, authors) in (vec(line(), 0..3), vec(line(), 0..3)),
        model in path(),
        models in prop::collection::btree_map("[a-z0-9]{1,5}", path(), 0..3),
        (inputs, outputs) in (ports(), ports()),
        files in vec("[a-z#:{]{1,4}[*?]{0,1}\\.txt", 0..3),
        (runtime, serving) in (runtime(), serving()),
        (preprocessing, postprocessing) in (pipelines(&[
            "imagenet", "clip", "yolo", "{resize: 7}", "[{pad: {size: 9, fill: 3}}, {rescale: 0.1}, {tensor: nhwc}]",
            "whisper", "[{sound: {rate: 8000, seconds: 2.5}}, standardize, {frames: {size: 7}}]", "{mfcc: {low: 20.5}}",
            "{tokenize: {tokenizer: a b.json, max_length: 3, padding: max_length, pad_token: 'no', ids: 'no'}}",
        ]), pipelines(&[
            "softmax", "[{top_k: 3}, {template: '{label}: {{'}]", "{detect: {form: ssd, scores: 1, classes: 'no'}}",
            "sentence", "{ctc: {blank: 1, delimiter: '|', tokenizer: t.json}}", "{threshold: 0.1}",
        ])),
        generation in prop_oneof![
            Just(""), Just("{}"),
            Just("{tokenizer: a b.json, max_tokens: 7, start: [1, 2], end: 3, forced: {2: 5, 1: 0}, suppress: [9], suppress_first: [8, 9]}"),
        ],
        metadata in entries(value()),
    ) -> Gpuxfile {
        let text = format!(
            "name: m\nmodel: m\npreprocessing: {preprocessing}\npostprocessing: {postprocessing}\ngeneration: {generation}\n"
        );
        let steps = parse(&text, "GPUXfile").unwrap();
        Gpuxfile {
            name: at(ArtifactName::parse(&name).unwrap()),
            version: version.map(|(major, minor, rest)| at(format!("{major}.{minor}.0{rest}").parse().unwrap())),
            description,
            licenses,
            authors,
            model: models.values().next().cloned().map_or(at(model), at),
            models: models.into_iter().map(|(name, path)| (name, at(path))).collect(),
            inputs,
            outputs,
            files: files.iter().filter_map(|text| Pattern::parse(text).ok()).map(at).collect(),
            runtime,
            serving,
            preprocessing: steps.preprocessing,
            postprocessing: steps.postprocessing,
            generation: steps.generation,
            metadata,
            trace: Trace::default(),
        }
    }
}

/// A signature that the declarations agree with, or say more than.
fn admitting(ports: &[PortDeclaration]) -> Vec<Port> {
    let mut ports: Vec<Port> = ports
        .iter()
        .map(|port| Port {
            name: port.name.value.clone(),
            dtype: port.dtype.map_or(DType::F32, |dtype| dtype.value),
            shape: Shape(
                port.shape
                    .as_ref()
                    .map(|dims| dims.iter().map(|_| Dim::Unknown).collect()),
            ),
        })
        .collect();
    ports.push(Port {
        name: TensorName::new("of the model"),
        dtype: DType::F4E2M1,
        shape: Shape::of([
            Dim::Symbol("3".into()),
            Dim::Symbol("\n".into()),
            Dim::Symbol("N".into()),
            Dim::Fixed(u64::MAX),
        ]),
    });
    ports.rotate_right(1);
    ports
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_resolved_text_reads_back_as_the_filled_file(file in file()) {
        let signature = Signature { inputs: admitting(&file.inputs), outputs: admitting(&file.outputs) };
        let text = file.resolved(&signature).unwrap();
        let read = parse(&text, "GPUXfile").unwrap();
        prop_assert_eq!(&read, &file.filled(&signature), "\n{}", text);
        let ports_alone = Gpuxfile { preprocessing: vec![], postprocessing: vec![], generation: None, ..read.clone() };
        prop_assert!(ports_alone.check(&signature).is_ok(), "\n{}", text);
        prop_assert_eq!(read.resolved(&signature).unwrap(), text);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*", yaml in "([a-z]{1,3}: |- |\\[|\\]|\\{|\\}|\"|'|,|\n| |\t|#|&a|\\*a|!|\\||>|%|\\?|[0-9]|~){0,60}") {
        let _ = parse(&text, "GPUXfile").map_err(|error| error.to_string());
        let _ = parse(&yaml, "GPUXfile").map_err(|error| error.to_string());
    }
}

#[test]
fn the_resolved_text_is_canonical() {
    let text = "# Any order, any form.\nmodel: resnet.onnx\nname: resnet\nruntime: {memory: 2048Mi, timeout: 30, provider: cuda}\n\
                inputs: {image: {shape: [N, 3, 8, 8]}}\nlicenses: Apache-2.0\nmetadata: {a: [1, {b: no}], c: {d: 1e300}}\n";
    let signature = Signature {
        inputs: vec![Port {
            name: TensorName::new("image"),
            dtype: DType::F32,
            shape: Shape(None),
        }],
        outputs: vec![Port {
            name: TensorName::new("y"),
            dtype: DType::I64,
            shape: Shape::of([]),
        }],
    };
    let resolved = parse(text, "GPUXfile").unwrap().resolved(&signature).unwrap();
    assert_eq!(
        resolved,
        "apiVersion: gpux/v1\nname: resnet\nlicenses:\n  - Apache-2.0\nmodel:\n  source: resnet.onnx\n\
         inputs:\n  - name: image\n    type: float32\n    shape: [N, 3, 8, 8]\n\
         outputs:\n  - name: y\n    type: int64\n    shape: []\n\
         runtime:\n  provider:\n    - cuda\n  timeout: 30s\n  memory: 2GiB\n\
         metadata:\n  a:\n    - 1\n    - {b: \"no\"}\n  c:\n    d: 1.0e+300\n"
    );
}

#[test]
fn a_model_with_more_outputs_than_can_be_read_leaves_them_to_the_model() {
    let many = (0..40_000).map(|number| Port {
        name: TensorName::new(format!("output_{number}")),
        dtype: DType::F32,
        shape: Shape(None),
    });
    let mut huge: Vec<Port> = many.collect();
    huge.push(Port {
        name: TensorName::new("x".repeat(10_000_000)),
        dtype: DType::F32,
        shape: Shape(None),
    });
    let signature = Signature {
        inputs: vec![],
        outputs: huge,
    };
    let file = parse(
        "name: m\nmodel: m\noutputs: {output_7: {description: kept}}\n",
        "GPUXfile",
    )
    .unwrap();
    let text = file.resolved(&signature).unwrap();
    assert_eq!(parse(&text, "GPUXfile").unwrap().outputs.len(), 1);
    let drafted = draft("m", "m.onnx", &signature);
    assert!(parse(&drafted, "GPUXfile").unwrap().check(&signature).is_ok());
}

#[test]
fn a_gpux_yml_resolves_to_a_gpuxfile() {
    let text = "name: A b\nmodel: {source: m.onnx, format: onnx, version: 2}\ninputs: {text: string}\n\
                runtime: {gpu: {memory: 2GB, backend: cuda}, batch_size: 3}\npreprocessing: {tokenizer: t, custom: {a: 1}}\n";
    let resolved = parse(text, "gpux.yml")
        .unwrap()
        .resolved(&Signature::default())
        .unwrap();
    assert_eq!(
        resolved,
        "apiVersion: gpux/v1\nname: a-b\nmodel:\n  source: m.onnx\nruntime:\n  provider:\n    - cuda\n    - cpu\n\
         preprocessing:\n  - {tokenize: {tokenizer: tokenizer.json, truncation: longest_first, padding: longest, \
         padding_side: right, special_tokens: true, ids: input_ids, mask: attention_mask, types: token_type_ids}}\n"
    );
}

#[test]
fn a_draft_builds_as_it_is() {
    let signature = Signature {
        inputs: vec![Port {
            name: TensorName::new("image: \"x\"\n"),
            dtype: DType::F32,
            shape: Shape::of([Dim::Symbol("N".into()), Dim::Fixed(1), Dim::Unknown]),
        }],
        outputs: vec![Port {
            name: TensorName::new("digit"),
            dtype: DType::I64,
            shape: Shape(None),
        }],
    };
    for (name, path) in [("Digits!", "digits.onnx"), ("模型", "no"), ("a", "a b#c: d.onnx")] {
        let text = draft(name, path, &signature);
        let file = parse(&text, "GPUXfile").unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(file.model.as_str(), path);
        file.check(&signature).unwrap();
        assert!(file.notices().is_empty());
        assert_eq!(file.filled(&signature).inputs, file.inputs);
    }
    // With its hints switched on it still builds, so the comments are true.
    let text = draft("digits", "digits.onnx", &signature);
    let all: String = text
        .lines()
        .map(|line| match line.trim_start().strip_prefix("# ") {
            Some(rest) if rest.contains(": ") || rest.ends_with(':') || rest.starts_with(' ') => {
                let rest = rest.split("   #").next().unwrap();
                format!("{}{rest}\n", &line[..line.len() - line.trim_start().len()])
            }
            _ => format!("{line}\n"),
        })
        .filter(|line| {
            // Steps fit the models they are meant for alone.
            !line.contains("processing:")
                && !line.contains("How what people")
                && !line.contains("Read by")
                && !line.contains("What the model takes")
                && !line.contains("where it is given")
        })
        .collect();
    let file = parse(&all, "GPUXfile").unwrap_or_else(|error| panic!("{error}\n{all}"));
    assert_eq!(file.files.len(), 2);
    assert_eq!(file.runtime.providers.len(), 2);
    assert!(file.description.is_some() && file.outputs[0].labels.is_some());
}

#[test]
fn a_file_with_any_character_changed_is_read_back_or_refused() {
    let example: Vec<char> = include_str!("../../../GPUXfile.example").chars().collect();
    // Every seventh was tried once; so many are enough to notice a change.
    let step = 397;
    let mut read = 0;
    for at in (0..example.len()).step_by(step) {
        for change in [
            "",
            ":",
            "\n",
            "\t",
            "\"",
            "[",
            "}",
            "#",
            "&",
            "*",
            "|",
            "-",
            "\0",
            "\u{feff}",
            "é",
            "0",
            " \u{2028}",
            "\r",
        ] {
            let (head, tail) = (&example[..at], &example[at + 1..]);
            let text: String = head
                .iter()
                .copied()
                .chain(change.chars())
                .chain(tail.iter().copied())
                .collect();
            let Ok(file) = parse(&text, "GPUXfile").map_err(|error| error.to_string()) else {
                continue;
            };
            let signature = Signature {
                inputs: admitting(&file.inputs),
                outputs: admitting(&file.outputs),
            };
            let resolved = file.resolved(&signature).unwrap();
            assert_eq!(
                parse(&resolved, "GPUXfile").unwrap(),
                file.filled(&signature),
                "{text}\n{resolved}"
            );
            read += 1;
        }
    }
    assert!(read > 0);
}
