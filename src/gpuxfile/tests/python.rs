use super::notices;
use crate::gpuxfile::*;

/// Every key that the Python tool of the same name reads.
const EVERY_KEY: &str = r#"
name: Sentiment Analysis
version: "1.0"
description: Says whether a text is kind.
model:
  source: ./model.onnx
  format: onnx
  version: 3
inputs:
  text: {type: string, required: true, max_length: 512}
outputs:
  sentiment:
    type: float32
    shape: [1, 2]
    labels: [negative, positive]
runtime:
  gpu: {memory: 2GB, backend: metal}
  timeout: 30
  batch_size: 4
  enable_profiling: true
serving: {port: 8080, host: 0.0.0.0, batch_size: 1, timeout: 5, max_workers: 4}
preprocessing:
  tokenizer: bert-base-uncased
  max_length: 512
  resize: [224, 224]
  normalize: imagenet
  custom: {lowercase: true}
metadata: {}
"#;

#[test]
fn a_gpux_yml_means_what_it_says_and_the_rest_is_one_notice_a_key() {
    let file = parse(EVERY_KEY, "gpux.yml").unwrap();
    assert_eq!(file.name.as_str(), "sentiment-analysis");
    assert_eq!(file.tag(), "1.0.0");
    let providers: Vec<&str> = file.runtime.providers.iter().map(|name| name.as_str()).collect();
    assert_eq!(providers, ["coreml", "cpu"]);
    assert_eq!(file.runtime.timeout.unwrap().value.as_secs(), 30);
    assert_eq!(file.runtime.memory_bytes, None);
    assert_eq!(file.serving.instances, Some(4));
    assert_eq!(
        notices(EVERY_KEY),
        [
            "gpux.yml:2:1: `name` is not a legal name; the artifact is named `sentiment-analysis`",
            "gpux.yml:3:1: `version` is not a semantic version; it is read as `1.0.0`",
            "gpux.yml:8:3: `model.version` has no effect: the artifact has one version, at the top of the file",
            "gpux.yml:10:3: `inputs.text.max_length` has no effect: `max_length` of the step `tokenize` bounds tokens",
            "gpux.yml:17:9: `runtime.gpu.memory` has no effect: `runtime.memory` bounds the memory of the process",
            "gpux.yml:19:3: `runtime.batch_size` has no effect: a batch is as large as the input, or `--batch-size`",
            "gpux.yml:20:3: `runtime.enable_profiling` has no effect: `gpux bench` measures",
            "gpux.yml:23:3: `preprocessing.tokenizer` has no effect: gpux reads the tokenizer from `tokenizer.json` beside this file",
            "gpux.yml:25:3: `preprocessing.resize` has no effect: the tokenizer makes the inputs",
            "gpux.yml:27:3: `preprocessing.custom` has no effect: gpux runs no code of the artifact",
        ]
    );
}

#[test]
fn a_gpux_yml_is_known_by_its_keys_or_its_name() {
    let by_key = "name: A b\nmodel: {source: m.onnx, format: onnx}\n";
    assert_eq!(parse(by_key, "GPUXfile").unwrap().name.as_str(), "a-b");
    let by_name = "name: A b\nmodel: m.onnx\n";
    assert_eq!(parse(by_name, "some/gpux.yml").unwrap().name.as_str(), "a-b");
    assert!(parse(by_name, "GPUXfile").is_err());
    // A file that says it is a GPUXfile is one.
    let stated = "apiVersion: gpux/v1\nname: a-b\nmodel: {source: m.onnx, format: onnx}\n";
    assert!(
        parse(stated, "gpux.yml")
            .unwrap_err()
            .to_string()
            .contains("unknown key `format`")
    );
}

#[test]
fn what_that_tool_writes_when_it_saves_is_read() {
    let saved = "description: null\ninputs:\n- description: null\n  max_length: null\n  name: x\n  required: true\n  \
                 shape: null\n  type: float32\nmetadata: {}\nmodel:\n  format: onnx\n  source: model.onnx\n  version: null\n\
                 name: m\noutputs:\n- description: null\n  labels: null\n  name: y\n  shape:\n  - 1\n  - 3\n  type: float32\n\
                 preprocessing: null\nruntime:\n  batch_size: 1\n  enable_profiling: false\n  gpu:\n    backend: auto\n    \
                 memory: 2GB\n  timeout: 30\nserving: null\nversion: 1.0.0\n";
    let file = parse(saved, "gpux.yml").unwrap();
    assert!(file.runtime.providers.is_empty());
    assert_eq!(file.outputs[0].shape.as_ref().unwrap().len(), 2);
    assert_eq!(notices(saved).len(), 1, "{:?}", notices(saved));
}

#[test]
fn what_cannot_be_honoured_at_all_is_an_error() {
    let message = |text: &str| parse(text, "gpux.yml").unwrap_err().to_string();
    assert!(
        message("name: m\nmodel: {source: m.pt, format: pytorch}\n")
            .starts_with("gpux.yml:2:31: model format `pytorch` cannot be built; gpux takes `onnx`\n")
    );
    assert!(message("name: m\nmodel: {source: huggingface, format: onnx}\n").contains("is not a file"));
    assert!(
        message("name: m\nmodel: m\nruntime: {gpu: {backend: cude}}\n")
            .contains("`cude` is not a provider; did you mean `cuda`?")
    );
    assert!(message("model: {source: m, format: onnx}\n").contains("`name` is missing"));
    assert!(message("name: m\nmodel: m\nruntime: {gpus: {}}\n").contains("unknown key `gpus`; did you mean `gpu`?"));
}

#[test]
fn each_backend_is_a_provider_with_the_cpu_behind_it() {
    for (backend, providers) in [
        ("auto", vec![]),
        ("cuda", vec!["cuda", "cpu"]),
        ("rocm", vec!["migraphx", "cpu"]),
        ("coreml", vec!["coreml", "cpu"]),
        ("metal", vec!["coreml", "cpu"]),
        ("dx12", vec!["directml", "cpu"]),
        ("vulkan", vec!["webgpu", "cpu"]),
        ("cpu", vec!["cpu"]),
    ] {
        let file = parse(
            &format!("name: m\nmodel: m\nruntime: {{gpu: {{backend: {backend}}}}}\n"),
            "GPUXfile",
        )
        .unwrap();
        let found: Vec<&str> = file.runtime.providers.iter().map(|name| name.as_str()).collect();
        assert_eq!(found, providers);
    }
}

#[test]
fn odd_versions_become_semantic_ones_where_it_is_plain_which() {
    for (version, tag) in [
        ("1", "1.0.0"),
        ("v2.1", "2.1.0"),
        ("1.0", "1.0.0"),
        ("0.3.1", "0.3.1"),
        ("latest", "latest"),
    ] {
        let text = format!("name: m\nmodel: m\nversion: {version}\n");
        assert_eq!(parse(&text, "gpux.yml").unwrap().tag(), tag);
    }
}
