use crate::tensor::{DType, Dim, Port, Shape, Signature, TensorName};

use crate::gpuxfile::*;

fn port(name: &str, dtype: DType, dims: &[Dim]) -> Port {
    Port {
        name: TensorName::new(name),
        dtype,
        shape: Shape::of(dims.to_vec()),
    }
}

fn symbol(name: &str) -> Dim {
    Dim::Symbol(name.into())
}

/// image float32 [N, 3, H, ?], mask bool [N], any float32 of any rank → scores float32 [N, 10], digit int64 [N].
fn signature() -> Signature {
    let open = Port {
        name: TensorName::new("any"),
        dtype: DType::F32,
        shape: Shape(None),
    };
    Signature {
        inputs: vec![
            port(
                "image",
                DType::F32,
                &[symbol("N"), Dim::Fixed(3), symbol("H"), Dim::Unknown],
            ),
            port("mask", DType::Bool, &[symbol("N")]),
            open,
        ],
        outputs: vec![
            port("scores", DType::F32, &[symbol("N"), Dim::Fixed(10)]),
            port("digit", DType::I64, &[symbol("N")]),
        ],
    }
}

fn checked(lines: &str) -> Result<Vec<Notice>, String> {
    let text = format!("name: m\nmodel: m.onnx\n{lines}");
    let first = |error: Error| error.to_string().lines().next().unwrap().to_owned();
    parse(&text, "GPUXfile").unwrap().check(&signature()).map_err(first)
}

#[test]
fn a_declaration_may_say_less_or_more_than_the_model() {
    for lines in [
        "",
        "inputs: {image: }",
        "inputs: {image: float32}",
        "inputs: {image: {shape: [N, 3, H, -1]}}",
        "inputs: {image: {shape: [-1, 3, null, W]}}",
        "inputs: {image: {shape: [batch, 3, height, width]}}",
        "inputs: {image: {shape: [1, 3, 224, 224]}}",
        "inputs: {image: {shape: [2, 3, 5, 5]}, mask: {shape: [2]}}\noutputs: {digit: {shape: [2]}}",
        "inputs: {any: {shape: [1, 2, 3]}}",
        "outputs: {scores: {labels: [a, b, c, d, e, f, g, h, i, j]}}",
        "outputs: {digit: {labels: [a, b]}}",
        "outputs: {scores: {labels: labels.txt}}",
    ] {
        assert_eq!(checked(lines), Ok(vec![]), "{lines}");
    }
}

#[test]
fn a_declaration_that_contradicts_the_model_is_an_error_at_its_place() {
    for (lines, message) in [
        (
            "inputs: {imgae: float32}",
            "GPUXfile:3:10: the model has no input `imgae`; did you mean `image`?",
        ),
        (
            "outputs: {y: float32}",
            "GPUXfile:3:11: the model has no output `y`; known here: `scores`, `digit`",
        ),
        (
            "inputs: {image: float16}",
            "GPUXfile:3:17: input `image` is float32 in the model, and not float16",
        ),
        (
            "outputs: {digit: {shape: [1, 1]}}",
            "GPUXfile:3:26: output `digit` has 1 dimension in the model, [N]; 2 are \
          declared here",
        ),
        (
            "inputs: {image: {shape: []}}",
            "GPUXfile:3:25: input `image` has 4 dimensions in the model, [N, 3, H, ?]; none \
          is declared here",
        ),
        (
            "inputs: {image: {shape: [1, 4, 8, 8]}}",
            "GPUXfile:3:29: dimension 1 of input `image` is 3 in the model, and \
          cannot be 4",
        ),
        (
            "inputs: {image: {shape: [1, -1, 8, 8]}}",
            "GPUXfile:3:29: dimension 1 of input `image` is 3 in the model, and \
          cannot be of any size",
        ),
        (
            "inputs: {image: {shape: [1, C, 8, 8]}}",
            "GPUXfile:3:29: dimension 1 of input `image` is 3 in the model, and \
          cannot be of any size (`C`)",
        ),
        (
            "inputs:\n  image: {shape: [1, 3, 8, 8]}\n  mask: {shape: [2]}",
            "GPUXfile:5:18: the model's `N` is 2 here, and 1 \
          on line 4; it is one size",
        ),
        (
            "outputs: {scores: {labels: [a, b]}}",
            "GPUXfile:3:28: output `scores` has 10 classes in the model, and 2 labels \
          here",
        ),
    ] {
        assert_eq!(checked(lines), Err(message.into()));
    }
    let file = parse("name: m\nmodel: m\ninputs: {x: }\n", "GPUXfile").unwrap();
    let message = file.check(&Signature::default()).unwrap_err().to_string();
    assert!(
        message.starts_with("GPUXfile:3:10: the model has no input `x`; it has no inputs\n"),
        "{message}"
    );
}

#[test]
fn an_input_of_a_pipeline_that_is_not_built_yet_is_a_notice_in_a_gpux_yml() {
    let text = "name: m\nmodel: m.onnx\ninputs: {text: string}\npreprocessing: {tokenizer: bert}\n";
    let file = parse(text, "gpux.yml").unwrap();
    let notices: Vec<String> = file
        .check(&signature())
        .unwrap()
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(
        notices,
        [
            "gpux.yml:3:10: `inputs.text` is not an input of the model; preprocessing, which would use it, has no effect yet"
        ]
    );
    assert!(parse(text, "GPUXfile").unwrap().check(&signature()).is_err());
}

#[test]
fn a_file_is_filled_in_from_the_model_in_the_models_order() {
    let text = "name: m\nmodel: m\ninputs:\n  mask: {description: which}\n  image: {shape: [-1, 3, 224, W]}\n";
    let filled = parse(text, "GPUXfile").unwrap().filled(&signature());
    let shapes: Vec<String> = filled
        .inputs
        .iter()
        .map(|port| {
            let dims = port
                .shape
                .as_ref()
                .map(|dims| dims.iter().map(|dim| dim.value.clone()).collect());
            format!("{} {} {}", port.name.value, port.dtype.unwrap().value, Shape(dims))
        })
        .collect();
    assert_eq!(
        shapes,
        ["image float32 [N, 3, 224, W]", "mask bool [N]", "any float32 [...]"]
    );
    assert_eq!(filled.inputs[1].description.as_deref(), Some("which"));
    assert_eq!(filled.outputs.len(), 2);
}
