use std::time::Duration;

use crate::tensor::{DType, Dim};

use crate::gpuxfile::*;

const FULL: &str = r#"
apiVersion: gpux/v1
name: team/resnet-50
version: 1.2.3-rc.1+build.5
description: |
  Tells what is in a picture.
licenses: Apache-2.0
authors:
  - A <a@example.org>
  - B
model:
  source: ./resnet.onnx
inputs:
  - name: image
    type: float32
    shape: [N, 3, null, -1]
    description: RGB, 0 to 1
    max_length: 5
  - name: 495
outputs:
  scores: {type: tensor(float), labels: [cat, 0, 1.50]}
  digit: int64
  anything:
files: [labels.txt, "data/**/*.json"]
runtime:
  provider: [cuda, rocm, cpu]
  provider_options:
    cuda: {gpu_mem_limit: 2147483648, do_copy_in_default_stream: true, arena_extend_strategy: kSameAsRequested}
  threads: 4
  timeout: 1.5
  memory: 2GiB
serving:
  host: 127.0.0.1
  port: 8080
  batch_size: 8
  max_queue_delay: 500us
  timeout: 5s
  max_workers: 2
preprocessing: imagenet
postprocessing: [softmax, {top_k: {k: 5}}]
metadata:
  author: {name: A, year: 2026}
  scores: [1, 2.5, null, true]
"#;

#[test]
fn every_key_means_what_it_says() {
    let file = parse(FULL, "GPUXfile").unwrap();
    assert_eq!(file.name.as_str(), "team/resnet-50");
    assert_eq!(file.version.as_ref().unwrap().to_string(), "1.2.3-rc.1+build.5");
    assert_eq!(file.tag(), "1.2.3-rc.1_build.5");
    assert_eq!(file.description.as_deref(), Some("Tells what is in a picture.\n"));
    assert_eq!(file.licenses, ["Apache-2.0"]);
    assert_eq!(file.authors, ["A <a@example.org>", "B"]);
    assert_eq!(file.model.as_str(), "resnet.onnx");
    let image = &file.inputs[0];
    let dims: Vec<Dim> = image
        .shape
        .as_ref()
        .unwrap()
        .iter()
        .map(|dim| dim.value.clone())
        .collect();
    assert_eq!(
        dims,
        [Dim::Symbol("N".into()), Dim::Fixed(3), Dim::Unknown, Dim::Unknown]
    );
    assert_eq!(image.dtype.unwrap().value, DType::F32);
    assert_eq!(image.max_length, Some(5));
    assert_eq!(file.inputs[1].name.as_str(), "495");
    let Some(Labels::List(labels)) = &file.outputs[0].labels else {
        panic!()
    };
    assert_eq!(labels.value, ["cat", "0", "1.50"]);
    assert_eq!(file.outputs[1].dtype.unwrap().value, DType::I64);
    assert_eq!(file.outputs[2].dtype, None);
    assert!(file.files[1].matches("data/a/b.json"));
    let runtime = &file.runtime;
    let providers: Vec<&str> = runtime.providers.iter().map(|name| name.as_str()).collect();
    assert_eq!(providers, ["cuda", "migraphx", "cpu"]);
    assert_eq!(
        runtime.provider_options[0].options[1],
        ("do_copy_in_default_stream".into(), "true".into())
    );
    assert_eq!(runtime.threads.unwrap().value, 4);
    assert_eq!(runtime.timeout.unwrap().value, Duration::from_millis(1500));
    assert_eq!(runtime.memory_bytes.unwrap().value, 2 << 30);
    assert_eq!(
        file.serving,
        Serving {
            host: Some("127.0.0.1".into()),
            port: Some(8080),
            max_batch_size: Some(8),
            max_queue_delay: Some(Duration::from_micros(500)),
            timeout: Some(Duration::from_secs(5)),
            instances: Some(2),
        }
    );
    let names: Vec<&str> = file.preprocessing[0].steps.iter().map(|step| step.name()).collect();
    assert_eq!(names, ["image", "resize", "center_crop", "rescale", "normalize"]);
    let answers: Vec<&OutputStep> = file.postprocessing[0].steps.iter().map(|step| &step.value).collect();
    assert_eq!(answers, [&OutputStep::Softmax, &OutputStep::TopK(5)]);
    let scores = vec![Value::Int(1), Value::Float(2.5), Value::Null, Value::Bool(true)];
    assert_eq!(file.metadata[1], ("scores".into(), Value::List(scores)));
}

#[test]
fn several_models_have_names_and_the_encoder_takes_what_is_given() {
    let text = "name: m\nmodels: {decoder: d.onnx, encoder: {source: e.onnx}}\ngeneration: {start: 5, end: [1, 2], forced: {2: 7}}\n";
    let file = parse(text, "GPUXfile").unwrap();
    let graphs: Vec<(&str, &str)> = file
        .graphs()
        .iter()
        .map(|(name, path)| (*name, path.as_str()))
        .collect();
    assert_eq!(graphs, [("decoder", "d.onnx"), ("encoder", "e.onnx")]);
    assert_eq!((file.entry(), file.model.as_str()), (1, "e.onnx"));
    let generation = file.generation.unwrap().value;
    assert_eq!(generation.tokenizer.as_str(), "tokenizer.json");
    assert_eq!((generation.start, generation.end), (vec![5], vec![1, 2]));
    assert_eq!((generation.forced, generation.max_tokens), (vec![(2, 7)], 256));
    let alone = parse("name: m\nmodel: a/b.onnx\n", "GPUXfile").unwrap();
    assert_eq!(alone.graphs()[0].0, "model");
}

#[test]
fn a_key_without_effect_yet_is_one_notice() {
    let notices: Vec<String> = parse(FULL, "GPUXfile")
        .unwrap()
        .notices()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        notices,
        ["GPUXfile:14:11: `inputs.image.max_length` has no effect: `max_length` of the step `tokenize` bounds tokens",]
    );
    assert!(parse("name: m\nmodel: m\n", "GPUXfile").unwrap().notices().is_empty());
}

#[test]
fn two_keys_are_enough_and_keys_without_a_value_are_as_if_left_out() {
    let short = parse("name: m\nmodel: m.onnx\n", "GPUXfile").unwrap();
    let empty: String = [
        "apiVersion",
        "version",
        "description",
        "licenses",
        "authors",
        "models",
        "inputs",
        "outputs",
        "files",
        "runtime",
        "serving",
        "preprocessing",
        "postprocessing",
        "metadata",
    ]
    .map(|key| format!("{key}:\n"))
    .concat();
    let long = parse(&format!("name: m\nmodel: {{source: m.onnx}}\n{empty}"), "GPUXfile").unwrap();
    assert_eq!(short, long);
    assert_eq!(short.tag(), "latest");
}

#[test]
fn values_keep_their_places() {
    let file = parse(FULL, "GPUXfile").unwrap();
    for (span, place) in [
        (file.name.span, "GPUXfile:3:7"),
        (file.model.span, "GPUXfile:12:11"),
        (file.inputs[0].name.span, "GPUXfile:14:11"),
        (file.inputs[0].shape.as_ref().unwrap().value[1].span, "GPUXfile:16:16"),
        (file.outputs[0].name.span, "GPUXfile:21:3"),
        (file.outputs[1].dtype.unwrap().span, "GPUXfile:22:10"),
        (file.files[1].span, "GPUXfile:24:21"),
        (file.runtime.providers[2].span, "GPUXfile:26:26"),
    ] {
        assert_eq!(file.place(span).to_string(), place);
    }
}
