//! Checks what `registry-spec/` says: its examples are true, and its schemas agree with the parsers.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use gpux::gpuxfile::{self, INPUT_PRESETS, KEYS, OUTPUT_PRESETS, PROVIDERS, STEP_KEYS};
use gpux::tensor::DType;
use serde_json::Value;

const GUIDE: &str = include_str!("../registry-spec/gpuxfile.md");
const SCHEMA: &str = include_str!("../registry-spec/gpuxfile.schema.json");
const EXAMPLE: &str = include_str!("../GPUXfile.example");

/// Gives each fenced block with the words after its fence.
fn blocks(markdown: &str) -> Vec<(String, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in markdown.lines() {
        match (line.strip_prefix("```"), &mut open) {
            (Some(""), open @ Some(_)) => blocks.extend(open.take()),
            (Some(info), open @ None) => *open = Some((info.to_owned(), String::new())),
            (None, Some((_, text))) => {
                text.push_str(line);
                text.push('\n');
            }
            _ => {}
        }
    }
    assert!(open.is_none(), "an open fence");
    blocks
}

/// Adds the two keys that every file needs to an example of others.
fn whole(block: &str) -> String {
    let has = |key: &str| block.lines().any(|line| line.starts_with(key));
    let name = if has("name:") { "" } else { "name: m\n" };
    let model = if has("model:") || has("models:") {
        ""
    } else {
        "model: m.onnx\n"
    };
    format!("{name}{model}{block}")
}

fn schema() -> jsonschema::Validator {
    jsonschema::draft202012::new(&serde_json::from_str(SCHEMA).unwrap()).unwrap()
}

/// Reads YAML as the parser does; `None` where there is no JSON for it.
fn json(text: &str) -> Option<Value> {
    let options = serde_saphyr::options! {
        strict_booleans: true,
        underscored_numbers_as_strings: true,
        leading_zero_numbers_as_strings: true,
    };
    serde_saphyr::from_str_with_options(text, options).ok()
}

#[test]
fn examples_of_the_gpuxfile_are_true() {
    let schema = schema();
    let blocks = blocks(GUIDE);
    let mut count = 0;
    for (at, (info, text)) in blocks.iter().enumerate() {
        match info.as_str() {
            "yaml" => {
                let text = whole(text);
                gpuxfile::parse(&text, "GPUXfile").unwrap_or_else(|error| panic!("{error}\n{text}"));
                let value = json(&text).unwrap();
                assert!(schema.is_valid(&value), "the schema refuses\n{text}");
            }
            "yaml refused" => {
                let error = gpuxfile::parse(text, "GPUXfile").expect_err(text).to_string();
                assert_eq!(blocks[at + 1], ("text".to_owned(), format!("{error}\n")));
                assert!(!schema.is_valid(&json(text).unwrap()), "the schema accepts\n{text}");
            }
            "text" => assert_eq!(blocks[at - 1].0, "yaml refused"),
            other => panic!("a block of `{other}`"),
        }
        count += 1;
    }
    assert!(count > 10);
}

/// Tells whether a step is of inputs or of outputs.
fn step_side(step: &str) -> &'static str {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    match schema.pointer(&format!("/$defs/input_step_options/properties/{step}")) {
        Some(_) => "input",
        None => "output",
    }
}

#[test]
fn every_key_is_described_and_shown() {
    let file = gpuxfile::parse(EXAMPLE, "GPUXfile.example").unwrap_or_else(|error| panic!("{error}"));
    assert!(schema().is_valid(&json(EXAMPLE).unwrap()));
    assert_eq!(file.outputs.len(), 2);
    for (section, keys) in KEYS {
        for key in *keys {
            assert!(
                GUIDE.contains(&format!("`{key}`")),
                "gpuxfile.md lacks `{section}.{key}`"
            );
            // An alias may stand in a comment, a key of its own may not.
            let shown = |line: &str| line.trim_start_matches([' ', '-', '#']).starts_with(&format!("{key}:"));
            let alias = ["batch_size", "max_workers"].contains(key) && EXAMPLE.contains(&format!("(also: {key})"));
            assert!(
                EXAMPLE.lines().any(shown) || alias,
                "GPUXfile.example lacks `{section}.{key}`"
            );
        }
    }
    for (step, keys) in STEP_KEYS {
        let options = format!("/$defs/{}_step_options/properties/{step}", step_side(step));
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let described = schema
            .pointer(&options)
            .unwrap_or_else(|| panic!("{options}"))
            .to_string();
        for key in *keys {
            assert!(GUIDE.contains(&format!("`{key}`")), "gpuxfile.md lacks `{step}.{key}`");
            let referred = ["size", "normalization"].map(|name| format!("#/$defs/{name}"));
            let known =
                described.contains(&format!("\"{key}\":")) || referred.iter().any(|name| described.contains(name));
            assert!(known, "the schema lacks `{step}.{key}`");
        }
        assert!(GUIDE.contains(&format!("`{step}`")), "gpuxfile.md lacks `{step}`");
    }
    for preset in INPUT_PRESETS.iter().chain(OUTPUT_PRESETS) {
        assert!(GUIDE.contains(&format!("`{preset}`")), "gpuxfile.md lacks `{preset}`");
    }
    for name in PROVIDERS.iter().copied().chain(DType::all().map(DType::name)) {
        assert!(SCHEMA.contains(&format!("\"{name}\"")), "the schema lacks `{name}`");
    }
    for provider in PROVIDERS {
        assert!(
            GUIDE.contains(&format!("`{provider}`")),
            "gpuxfile.md lacks `{provider}`"
        );
    }
}

#[test]
fn providers_of_the_gpuxfile_are_those_of_the_runtime() {
    use gpux::runtime::ProviderKind;
    let known: BTreeSet<&str> = PROVIDERS
        .iter()
        .copied()
        .filter(|name| !["auto", "rocm"].contains(name))
        .collect();
    assert_eq!(known, ProviderKind::ALL.iter().map(|kind| kind.name()).collect());
}

#[test]
fn the_schema_has_the_parsers_keys_and_no_others() {
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    let properties = |pointer: &str| -> BTreeSet<String> {
        let found = schema.pointer(pointer).unwrap_or_else(|| panic!("{pointer}"));
        found.as_object().unwrap().keys().cloned().collect()
    };
    for (section, keys) in KEYS {
        let pointer = match *section {
            "" => "/properties".to_owned(),
            "model" => "/$defs/model/properties".to_owned(),
            "inputs" => "/properties/inputs/anyOf/0/items/properties".to_owned(),
            "preprocessing" => "/$defs/short_form/properties".to_owned(),
            section => format!("/properties/{section}/anyOf/0/properties"),
        };
        assert_eq!(
            properties(&pointer),
            keys.iter().map(|key| (*key).to_owned()).collect(),
            "{pointer}"
        );
    }
    assert_eq!(
        properties("/properties/inputs/anyOf/0/items/properties"),
        properties("/properties/outputs/anyOf/0/items/properties")
    );
}

/// Lines below `name` and `model` that parser and schema accept.
const GOOD: &[&str] = &[
    "",
    "apiVersion: gpux/v1",
    "version: 1.0.0-rc.1+b.7",
    "version:",
    "description: ''",
    "description: \"a\\n\\tb\"",
    "licenses: [MIT, Apache-2.0]",
    "authors: []",
    "models: {a-b: x.onnx, c: {source: d/e.onnx}}",
    "model: m.onnx\nmodels: {}",
    "model: m.onnx\nmodels:",
    "generation: {}",
    "generation: {tokenizer: a/t.json, max_tokens: 1048576, start: 0, end: [1, 2147483647], forced: {1: 5, 9: 0}, suppress: [], suppress_first: 3}",
    "inputs: []",
    "inputs: {}",
    "inputs: [{name: x}, {name: 495, type: tensor(float)}]",
    "inputs: {x: , y: f16, z: {type: bfloat16, shape: [], description: d, labels: [a, 1, 2.5], required: false}}",
    "inputs: {x: {shape: [-1, null, 0, N, '2*s0 + 1', 18446744073709551615], labels: l.txt, max_length: 1}}",
    "outputs: {x: {type: null, shape: null, labels: null}}",
    "files: a.txt",
    "files: ['**/*.json', './x', 'a b', '...', 'a..b']",
    "runtime: {}",
    "runtime: {provider: rocm, threads: 65536, timeout: 2592000, memory: 1}",
    "runtime: {provider: [auto], provider_options: {cuda: {a: 1, b: text, c: true, d: 1.5}}}",
    "runtime: {timeout: 0.5, memory: 1.5 GiB}",
    "runtime: {timeout: 1e3}",
    "runtime: {timeout: 100µs, memory: '1000'}",
    "serving: {host: '::1', port: 1, max_batch_size: 1, max_queue_delay: 1ns, timeout: 720h, instances: 65536}",
    "serving: {batch_size: 2, max_workers: 3}",
    "preprocessing: imagenet",
    "preprocessing: {}",
    "preprocessing: [imagenet]",
    "preprocessing: {x: clip, y: [{tokenize: t.json}], z: {tokenizer: t.json}, w: {center_crop: 8}}",
    "preprocessing: [{image: {color: gray, background: 255}}, {resize: 8}, {center_crop: {height: 7, width: 8}}, invert, {pad: 9}, {convert: rgb}, {rescale: 1/255}, {normalize: half}, tensor]",
    "preprocessing: [{resize: {shortest: 256, filter: lanczos, antialias: false}}, {pad: {size: 300, fill: 7, position: top_left}}]",
    "preprocessing: [{resize: {letterbox: {height: 1, width: 16384}, fill: 114}}, rescale, {normalize: {mean: [0, 0, 1/2], std: [1, 2.5, 3]}}, {tensor: {layout: nhwc, type: float16}}]",
    "preprocessing: [{resize: {size: 5}}, {rescale: 0.5}, {tensor: nhwc}]",
    "preprocessing: [tokenize]",
    "preprocessing: [{tokenize: {tokenizer: a/t.json, max_length: 5, truncation: only_second, padding: max_length, padding_side: left, pad_token: '<pad>', special_tokens: false, ids: 1, mask: m, types: t}}]",
    "preprocessing: whisper",
    "preprocessing: [{sound: 8000}, standardize, {frames: {size: 400}}]",
    "preprocessing: [{sound: {rate: 16000, seconds: 1/2}}, log_mel]",
    "preprocessing: {x: [{log_mel: {size: 512, hop: 128, bands: 40, low: 20, high: 7600.5, scale: htk, even: false, edge: none, log: ln, range: 8}}]}",
    "preprocessing: [sound, {mfcc: {count: 20, bands: 64, edge: silence, log: decibel}}]",
    "preprocessing: {tokenizer: t, max_length: 5, padding: true}",
    "preprocessing: {resize: [1, 2], normalize: imagenet}",
    "preprocessing: {resize: 224, normalize: {mean: 0.5, std: 1}}",
    "postprocessing: softmax",
    "postprocessing: {top_k: {k: 5}}",
    "postprocessing: {top_k: 3}",
    "postprocessing: classify",
    "postprocessing: {y: [softmax, top_k], z: sentence, w: {threshold: 1/2}}",
    "postprocessing: [softmax, argmax, {template: '{label} {{{index}}} {percent}'}]",
    "postprocessing: [{mean_pool: {mask: m}}, l2_normalize, cosine_similarity]",
    "postprocessing: [sigmoid, {threshold: {at: 0.5}}]",
    "postprocessing: [{detect: yolov8}]",
    "postprocessing: {boxes: {detect: {form: ssd, scores: s, classes: c, order: yxyx, score: 0.5, iou: 1, limit: 10, per_class: false}}}",
    "postprocessing: [mask]",
    "postprocessing: [cls_pool, l2_normalize: ]",
    "postprocessing: [{decode_tokens: {tokenizer: t.json, skip_special: false}}]",
    "postprocessing: [decode_tokens, {template: '{text}'}]",
    "postprocessing: [{ctc: {blank: 3, delimiter: '|', tokenizer: t.json}}]",
    "metadata: {a: null, b: true, c: [1, {d: 2.5}], 'e f': \"g\\nh\", 12: x}",
];

/// Lines below `name` and `model` that parser and schema refuse.
const BAD: &[&str] = &[
    "nmae: x",
    "apiVersion: gpux/v2",
    "version: 1.0",
    "version: '1.0'",
    "version: v1.0.0",
    "version: 01.0.0",
    "description: [a]",
    "description: \"\\e[2J\"",
    "description: 5",
    "licenses: 5",
    "licenses: ' '",
    "authors: [\"a\\nb\"]",
    "authors: [null]",
    "model: m.onnx\nmodels: {a: x.onnx}",
    "models: {}",
    "generation: 5",
    "generation: {max_tokens: 0}",
    "generation: {start: -1}",
    "generation: {end: a}",
    "generation: {forced: [1]}",
    "generation: {forced: {0: 1}}",
    "generation: {tokenizer: ../t}",
    "models: [a]",
    "models: {A: x}",
    "models: {a: {}}",
    "models: {a: }",
    "inputs: text",
    "inputs: [x]",
    "inputs: [{type: float32}]",
    "inputs: [{name: x, dtype: float32}]",
    "inputs: {x: {name: x}}",
    "inputs: {x: flaot32}",
    "inputs: {x: 5}",
    "inputs: {x: {shape: 5}}",
    "inputs: {x: {shape: [-2]}}",
    "inputs: {x: {shape: [1.5]}}",
    "inputs: {x: {shape: ['']}}",
    "inputs: {x: {shape: ['3']}}",
    "inputs: {x: {shape: [' N']}}",
    "inputs: {x: {shape: [true]}}",
    "inputs: {x: {required: 1}}",
    "inputs: {x: {max_length: 0}}",
    "outputs: {x: {labels: ../l.txt}}",
    "outputs: {x: {labels: [[a]]}}",
    "files: ../x",
    "files: a/../b",
    "files: [/x]",
    "files: ['C:/x']",
    "files: ['~/x']",
    "files: ['a\\b']",
    "files: ['a/']",
    "files: ['./']",
    "files: [5]",
    "runtime: 5",
    "runtime: {provider: gpu}",
    "runtime: {provider_options: {auto: {}}}",
    "runtime: {provider_options: {cuda: [a]}}",
    "runtime: {provider_options: {cuda: {a: }}}",
    "runtime: {threads: 0}",
    "runtime: {threads: 1.5}",
    "runtime: {threads: 65537}",
    "runtime: {timeout: 0}",
    "runtime: {timeout: -1}",
    "runtime: {timeout: 2592001}",
    "runtime: {timeout: 1 day}",
    "runtime: {timeout: 0s}",
    "runtime: {memory: 0}",
    "runtime: {memory: 1.5}",
    "runtime: {memory: 2gb}",
    "apiVersion: gpux/v1\nruntime: {gpu: {}}",
    "serving: {port: 0}",
    "serving: {port: 99999}",
    "serving: {port: '80'}",
    "serving: {host: ''}",
    "serving: {max_batch_size: 1, batch_size: 1}",
    "serving: {instances: 1, max_workers: 1}",
    "preprocessing: 5",
    "preprocessing: imagnet",
    "preprocessing: []",
    "preprocessing: {tokenzer: t}",
    "preprocessing: {resize: [0]}",
    "preprocessing: {resize: [1, 2, 3]}",
    "preprocessing: {normalize: [1]}",
    "preprocessing: {normalize: {mean: [0.5]}}",
    "preprocessing: {max_length: 5}",
    "preprocessing: {tokenizer: t, resize: 5}",
    "preprocessing: {tokenizer: ../t}",
    "preprocessing: {x: []}",
    "preprocessing: {x: 5}",
    "preprocessing: {x: }",
    "preprocessing: [{sound: 999}]",
    "preprocessing: [{sound: {rate: 400000}}]",
    "preprocessing: [{sound: {seconds: 0}}]",
    "preprocessing: [frames]",
    "preprocessing: [{frames: {hop: 5}}]",
    "preprocessing: [{standardize: 5}]",
    "preprocessing: [{log_mel: {bands: 0}}]",
    "preprocessing: [{log_mel: {count: 5}}]",
    "preprocessing: [{log_mel: {scale: bark}}]",
    "preprocessing: [{mfcc: {log: db}}]",
    "preprocessing: [{image: rgb}]",
    "preprocessing: [{image: {colour: rgb}}]",
    "preprocessing: [{resize: 0}]",
    "preprocessing: [resize]",
    "preprocessing: [{resize: {filter: nearest}}]",
    "preprocessing: [{resize: {shortest: 5, size: 5}}]",
    "preprocessing: [{resize: {size: 5, fill: 1}}]",
    "preprocessing: [{resize: {size: 16385}}]",
    "preprocessing: [{resize: {size: 5, filter: cubic}}]",
    "preprocessing: [{center_crop: {height: 5}}]",
    "preprocessing: [{rescale: 1/0}]",
    "preprocessing: [{rescale: x}]",
    "preprocessing: [{convert: cmyk}]",
    "preprocessing: [{tensor: {type: real}}]",
    "preprocessing: [{tokenize: {padding: some}}]",
    "preprocessing: [{tokenize: {max_length: 0}}]",
    "preprocessing: [{resize: 5, center_crop: 5}]",
    "postprocessing: [5]",
    "postprocessing: []",
    "postprocessing: {a: 1, b: 2}",
    "postprocessing: sofmax",
    "postprocessing: {softmax: 1}",
    "postprocessing: {top_k: 0}",
    "postprocessing: {top_k: [softmax]}",
    "postprocessing: [detect]",
    "postprocessing: {detect: ssd}",
    "postprocessing: {detect: {form: ssd, scores: s}}",
    "postprocessing: {detect: {form: yolov5, order: xyxy}}",
    "postprocessing: {detect: {form: yolov5, score: 1.5}}",
    "postprocessing: [argmax, {template: '{name}'}]",
    "postprocessing: [argmax, {template: 'a } b'}]",
    "metadata: 5",
    "metadata: {'': 1}",
    "metadata: {\"a\\nb\": 1}",
    "metadata: {a: \"\\0\"}",
];

/// Whole files that only the parser can refuse, each with what no schema can say.
const BEYOND_THE_SCHEMA: &[(&str, &str)] = &[
    ("name: no\nmodel: m.onnx", "which words need quotes"),
    (
        "name: m\nmodel: m.onnx\noutputs: {y: {labels: [on]}}",
        "which words need quotes",
    ),
    (
        "name: m\nmodel: m.onnx\ninputs: [{name: x}, {name: x}]",
        "that names differ",
    ),
    ("name: m\nmodel: m.onnx\nfiles: ['a[']", "the grammar of patterns"),
    ("name: m\nmodel: m.onnx\nruntime: {timeout: 721h}", "sums of units"),
    (
        "name: m\nmodel: m.onnx\npreprocessing: [rescale, {resize: 5}]",
        "which step may follow which",
    ),
    (
        "name: m\nmodel: m.onnx\npostprocessing: [argmax, softmax]",
        "which step may follow which",
    ),
    (
        "name: m\nmodel: m.onnx\npreprocessing: [{normalize: {mean: [0, 0], std: [1, 1]}}]",
        "how many channels there are",
    ),
    (
        "name: m\nmodel: m.onnx\npreprocessing: {tokenizer: t, padding: max_length}",
        "which keys need which",
    ),
];

#[test]
fn schema_and_parser_agree() {
    let schema = schema();
    for lines in GOOD {
        let text = whole(lines);
        assert!(schema.is_valid(&json(&text).unwrap()), "the schema refuses `{lines}`");
        gpuxfile::parse(&text, "GPUXfile").unwrap_or_else(|error| panic!("{error}"));
    }
    for lines in BAD {
        let text = whole(lines);
        assert!(
            !schema.is_valid(&json(&text).expect(lines)),
            "the schema accepts `{lines}`"
        );
        assert!(
            gpuxfile::parse(&text, "GPUXfile").is_err(),
            "the parser accepts `{lines}`"
        );
    }
    for (text, reason) in BEYOND_THE_SCHEMA {
        assert!(
            gpuxfile::parse(text, "GPUXfile").is_err(),
            "the parser accepts `{text}`"
        );
        assert!(schema.is_valid(&json(text).unwrap()), "the schema can say {reason}");
    }
}

#[test]
fn schema_and_parser_agree_on_names_and_models() {
    let schema = schema();
    for (name, legal) in [
        ("a", true),
        ("a/b.c_d__e---f0", true),
        ("\"no\"", true),
        ("A", false),
        ("a..b", false),
        ("a___b", false),
        ("-a", false),
        ("a/", false),
        ("a//b", false),
        ("ghcr.io/a", false),
        ("localhost/a", false),
        ("\"a\\n\"", false),
        ("\"\"", false),
    ] {
        let text = format!("name: {name}\nmodel: m.onnx\n");
        assert_eq!(schema.is_valid(&json(&text).unwrap()), legal, "the schema on {text}");
        assert_eq!(
            gpuxfile::parse(&text, "GPUXfile").is_ok(),
            legal,
            "the parser on {text}"
        );
    }
    for (model, legal) in [
        ("m.onnx", true),
        ("{source: ./a/m.onnx}", true),
        ("hf.onnx", true),
        ("huggingface", false),
        ("hf:a/b", false),
        ("https://example.org/m.onnx", false),
        ("{}", false),
        ("", false),
        ("[m.onnx]", false),
        ("{source: m.onnx, format: pt}", false),
        ("{path: m.onnx}", false),
    ] {
        let text = format!("name: m\nmodel: {model}\n");
        assert_eq!(schema.is_valid(&json(&text).unwrap()), legal, "the schema on {text}");
        assert_eq!(
            gpuxfile::parse(&text, "GPUXfile").is_ok(),
            legal,
            "the parser on {text}"
        );
    }
    for text in ["name: m", "model: m", "[]", "text"] {
        assert!(
            !schema.is_valid(&json(text).unwrap()) && gpuxfile::parse(text, "GPUXfile").is_err(),
            "{text}"
        );
    }
}

#[test]
fn what_is_written_is_what_the_schema_accepts() {
    use gpux::tensor::{Dim, Port, Shape, Signature, TensorName};
    let schema = schema();
    let port = |name: &str, shape: Shape| Port {
        name: TensorName::new(name),
        dtype: DType::F32,
        shape,
    };
    let signature = Signature {
        inputs: vec![
            port(
                "image",
                Shape::of([Dim::Symbol("N".into()), Dim::Fixed(3), Dim::Unknown, Dim::Fixed(224)]),
            ),
            port("odd \"name\"\n", Shape(None)),
        ],
        outputs: vec![
            port("scores", Shape::of([Dim::Symbol("no".into()), Dim::Fixed(2)])),
            port("class", Shape(None)),
        ],
    };
    // The example, but for what its model would have.
    let example = EXAMPLE.replace("class: int64", "class: float32");
    let resolved = gpuxfile::parse(&example, "GPUXfile")
        .unwrap()
        .resolved(&signature)
        .unwrap();
    let drafted = gpuxfile::draft("My Model", "m.onnx", &signature);
    for text in [resolved, drafted] {
        gpuxfile::parse(&text, "GPUXfile").unwrap_or_else(|error| panic!("{error}"));
        let value = json(&text).unwrap();
        let errors: Vec<String> = schema.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:#?}\n{text}");
    }
}

#[test]
fn every_gpuxfile_of_the_fixtures_is_read_without_a_notice() {
    let schema = schema();
    let mut count = 0;
    for folder in std::fs::read_dir("fixtures").unwrap() {
        let path = folder.unwrap().path().join("GPUXfile");
        if path.is_file() {
            let text = std::fs::read_to_string(&path).unwrap();
            let file = gpuxfile::parse(&text, path.to_str().unwrap()).unwrap_or_else(|error| panic!("{error}"));
            assert!(file.notices().is_empty(), "{:?}", file.notices());
            assert!(
                schema.is_valid(&json(&text).unwrap()),
                "the schema refuses {}",
                path.display()
            );
            count += 1;
        }
    }
    assert!(count > 0, "no fixture has a GPUXfile");
}

/// Checks that each block of `markdown` that names a definition of `schema` is an example of it; gives how many there are.
fn check_examples(markdown: &str, schema: &str) -> usize {
    let mut count = 0;
    for (info, text) in blocks(markdown) {
        let name = info
            .strip_prefix("json schema=")
            .unwrap_or_else(|| panic!("a block of `{info}`"));
        let mut schema: Value = serde_json::from_str(schema).unwrap();
        assert!(schema["$defs"][name].is_object(), "there is no definition `{name}`");
        schema["$ref"] = format!("#/$defs/{name}").into();
        let schema = jsonschema::draft202012::new(&schema).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let errors: Vec<String> = schema.iter_errors(&value).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {errors:?}");
        assert!(!schema.is_valid(&Value::from(1)), "{name} accepts anything");
        count += 1;
    }
    count
}

#[test]
fn examples_of_the_commands_the_manifest_and_the_inference_api_are_true() {
    let commands = include_str!("../registry-spec/commands.schema.json");
    assert!(check_examples(include_str!("../registry-spec/commands.md"), commands) > 10);
    let manifest = include_str!("../registry-spec/manifest.schema.json");
    assert_eq!(
        check_examples(include_str!("../registry-spec/manifest.md"), manifest),
        2
    );
    let inference = include_str!("../registry-spec/inference-api.schema.json");
    let count = check_examples(include_str!("../registry-spec/inference-api.md"), inference);
    assert_eq!(count, 9);
}

/// What the codec writes is what the schema says, and the codec reads the page's requests.
#[test]
fn the_inference_api_is_read_and_written_as_its_schema_says() {
    use gpux::tensor::oip::{Response, decode_request, encode_response};
    use gpux::tensor::{Dim, Port, Shape, Signature, Tensor, TensorName};
    let port = |name: &str, size| Port {
        name: TensorName::new(name),
        dtype: DType::F32,
        shape: Shape::of([Dim::Unknown, Dim::Fixed(size)]),
    };
    let signature = Signature {
        inputs: vec![port("x", 4)],
        outputs: vec![port("y", 3)],
    };
    let mut requests = 0;
    for (info, text) in blocks(include_str!("../registry-spec/inference-api.md")) {
        if info != "json schema=request" {
            continue;
        }
        requests += 1;
        let text = text.trim();
        let tail = if text.contains("binary_data_size") { 16 } else { 0 };
        let body = [text.as_bytes(), &vec![0; tail]].concat();
        let request = decode_request(&body, Some(text.len()), &signature).unwrap();
        assert_eq!(request.inputs[0].shape(), [1, 4]);
    }
    assert_eq!(requests, 2);
    let schema: Value = serde_json::from_str(include_str!("../registry-spec/inference-api.schema.json")).unwrap();
    let mut schema = schema.clone();
    schema["$ref"] = "#/$defs/response".into();
    let schema = jsonschema::draft202012::new(&schema).unwrap();
    let tensor = Tensor::from_vec([1, 3], vec![0.5f32, f32::NAN, 1.0]).unwrap();
    for is_binary in [false, true] {
        let outputs = [(&signature.outputs[0], &tensor, is_binary)];
        let response = Response {
            model_name: "m",
            model_version: "1",
            id: Some("7"),
            outputs: &outputs,
        };
        let (body, header_bytes) = encode_response(&response).unwrap();
        let header: Value = serde_json::from_slice(&body[..header_bytes.unwrap_or(body.len())]).unwrap();
        assert!(schema.is_valid(&header), "{header}");
    }
}

#[test]
fn the_store_writes_what_its_schema_says_and_reads_the_example() {
    use gpux::oci::{Descriptor, Manifest, MediaType, Reference};
    use gpux::store::Store;
    let schema: Value = serde_json::from_str(include_str!("../registry-spec/store.schema.json")).unwrap();
    let schema = jsonschema::draft202012::new(&schema).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("home");
    let store = Store::open(&home).unwrap();
    let lease = store.lease(&[]).unwrap();
    let config = store
        .ingest_bytes(&lease, b"{}")
        .unwrap()
        .descriptor(MediaType::MODEL_CONFIG);
    let manifest = Manifest::new(MediaType::MODEL_ARTIFACT, config, Vec::new()).to_bytes();
    let manifest = store
        .ingest_bytes(&lease, &manifest)
        .unwrap()
        .descriptor(MediaType::OCI_MANIFEST);
    let pin = format!("ghcr.io/a/b@{}", manifest.digest);
    for name in ["x", "ghcr.io/a/b:1.0", "a__b:1", "[::1]:5000/x:_v", &pin] {
        for at in [jiff::Timestamp::MIN, jiff::Timestamp::UNIX_EPOCH, jiff::Timestamp::MAX] {
            store.tag(&name.parse().unwrap(), &manifest, at).unwrap();
            let written = std::fs::read(store.path().join("index.json")).unwrap();
            let value: Value = serde_json::from_slice(&written).unwrap();
            let errors: Vec<String> = schema.iter_errors(&value).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{errors:#?}\n{value:#}");
        }
    }

    let blocks = blocks(include_str!("../registry-spec/store.md"));
    let [(info, example)] = &blocks[..] else {
        panic!("one example is expected");
    };
    assert_eq!(info, "json index");
    let value: Value = serde_json::from_str(example).unwrap();
    assert!(schema.is_valid(&value));
    std::fs::write(store.path().join("index.json"), example).unwrap();
    let digest = Descriptor::of(MediaType::OCI_EMPTY, b"{}").digest;
    let labels: Vec<String> = store.list().unwrap().iter().map(|entry| entry.label()).collect();
    let pin = format!("ghcr.io/team/digits@{digest}");
    let named = [
        "ghcr.io/team/digits:1.0.0",
        "[::1]:5000/digits:1.0.0",
        &pin,
        &digest.to_string(),
    ];
    assert_eq!(labels, named);
    for name in &named[..3] {
        let reference: Reference = name.parse().unwrap();
        assert_eq!(store.resolve(&reference).unwrap().descriptor.digest, digest);
    }

    for (pointer, wrong) in [
        ("/manifests/0/annotations/org.opencontainers.image.ref.name", "a__b:1"),
        ("/manifests/0/annotations/org.opencontainers.image.ref.name", "no-tag"),
        ("/manifests/0/annotations/io.gpux.tagged-at", "yesterday"),
        ("/manifests/1/annotations/io.gpux.reference", &pin),
        (
            "/manifests/2/annotations/io.gpux.reference",
            "ghcr.io/team/digits:1.0.0",
        ),
        ("/manifests/3/digest", "sha256:../../x"),
    ] {
        let mut value = value.clone();
        *value.pointer_mut(pointer).unwrap() = wrong.into();
        assert!(!schema.is_valid(&value), "the schema accepts {pointer} = {wrong}");
    }
}

#[test]
fn the_example_of_a_pack_is_true_and_every_pack_that_gpux_makes_keeps_the_schema() {
    use gpux::provider::{CATALOGUE, LOCK, LibraryFile, Pack, Record};
    let schema: Value = serde_json::from_str(include_str!("../registry-spec/provider-pack.schema.json")).unwrap();
    let schema = jsonschema::draft202012::new(&schema).unwrap();
    let mut examples = 0;
    for (info, text) in blocks(include_str!("../registry-spec/provider-pack.md")) {
        match info.as_str() {
            "json" => {
                let pack = Pack::parse(text.as_bytes(), "pack.json".as_ref()).unwrap();
                assert!(schema.is_valid(&serde_json::from_str(&text).unwrap()), "{text}");
                assert!(pack.core().is_some());
                examples += 1;
            }
            "json verdict" => {
                let record: Record = serde_json::from_str(&text).unwrap();
                assert_eq!(
                    serde_json::to_value(record).unwrap(),
                    serde_json::from_str::<Value>(&text).unwrap()
                );
                examples += 1;
            }
            other => panic!("a block of `{other}`"),
        }
    }
    assert_eq!(examples, 3);
    for row in CATALOGUE {
        for wheel in LOCK.wheels(row.name) {
            let platform = wheel.platform;
            let load = |name: &str| name.trim_end_matches('*').to_owned();
            let own = row
                .provisions
                .iter()
                .flat_map(|it| it.loads)
                .filter(|it| it.pack.is_none());
            let mut names: Vec<String> = own.filter_map(|it| it.name(platform)).map(load).collect();
            names.extend(
                row.provisions
                    .iter()
                    .filter_map(|it| it.library)
                    .map(|stem| platform.library(stem)),
            );
            names.extend([platform.library("onnxruntime"), platform.library("other")]);
            names.sort();
            names.dedup();
            let files = names.into_iter().map(|path| LibraryFile {
                path,
                digest: gpux::oci::Digest::of(b""),
                size_bytes: 0,
            });
            let pack = row
                .pack(platform, wheel.version.parse().unwrap(), files.collect())
                .unwrap();
            let document: Value = serde_json::from_slice(&pack.to_bytes()).unwrap();
            let errors: Vec<String> = schema.iter_errors(&document).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{} for {platform}: {errors:?}", row.name);
        }
    }
}

#[test]
fn the_schema_of_packs_and_the_parser_refuse_the_same() {
    use gpux::provider::Pack;
    let schema: Value = serde_json::from_str(include_str!("../registry-spec/provider-pack.schema.json")).unwrap();
    let schema = jsonschema::draft202012::new(&schema).unwrap();
    let text = blocks(include_str!("../registry-spec/provider-pack.md")).remove(0).1;
    for (from, to) in [
        ("\"format\": 1", "\"format\": 2"),
        (
            "\"name\": \"cuda\",\n  \"version\"",
            "\"name\": \"CUDA\",\n  \"version\"",
        ),
        (
            "\"version\": \"1.31.1\",\n  \"platform\"",
            "\"version\": \"v1\",\n  \"platform\"",
        ),
        ("linux-x86_64", "linux-riscv64"),
        ("\"role\": \"core\"", "\"role\": \"heart\""),
        (
            "{\"path\": \"libonnxruntime.so.1.31.1\"",
            "{\"path\": \"../libonnxruntime.so.1.31.1\"",
        ),
        (
            "{\"path\": \"libonnxruntime.so.1.31.1\"",
            "{\"path\": \"/libonnxruntime.so.1.31.1\"",
        ),
        ("\"size_bytes\": 29421832", "\"size_bytes\": -1"),
        ("sha256:2c26", "md5:2c26"),
        ("\"name\": \"cpu\"", "\"name\": \"gpu\""),
    ] {
        let text = text.replacen(from, to, 1);
        assert!(text.contains(to), "{from} is not in the example");
        assert!(
            Pack::parse(text.as_bytes(), "pack.json".as_ref()).is_err(),
            "the parser accepts {to}"
        );
        assert!(
            !schema.is_valid(&serde_json::from_str(&text).unwrap()),
            "the schema accepts {to}"
        );
    }
}
