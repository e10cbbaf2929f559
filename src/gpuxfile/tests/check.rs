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

fn checked(lines: &str) -> Result<(), String> {
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
        assert_eq!(checked(lines), Ok(()), "{lines}");
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
fn an_input_of_a_pipeline_need_not_be_the_models() {
    let text = "name: m\nmodel: m.onnx\ninputs: {words: string}\npreprocessing: {words: [{tokenize: {ids: ids}}]}\n";
    let signature = Signature {
        inputs: vec![port("ids", DType::I64, &[symbol("N"), symbol("T")])],
        outputs: vec![],
    };
    let file = parse(text, "GPUXfile").unwrap();
    file.check(&signature).unwrap();
    assert_eq!(file.filled(&signature).inputs.len(), 1);
    let other = text.replace("preprocessing: {words:", "preprocessing: {word:");
    assert!(parse(&other, "GPUXfile").unwrap().check(&signature).is_err());
    // In a `gpux.yml` the one pipeline has no name.
    let python = "name: m\nmodel: m.onnx\ninputs: {words: string}\npreprocessing: {resize: 8}\n";
    let pictures = Signature {
        inputs: vec![port(
            "image",
            DType::F32,
            &[symbol("N"), Dim::Fixed(3), Dim::Fixed(8), Dim::Fixed(8)],
        )],
        outputs: vec![],
    };
    parse(python, "gpux.yml").unwrap().check(&pictures).unwrap();
    assert!(parse(python, "GPUXfile").unwrap().check(&pictures).is_err());
}

/// The first line of the error of steps on a model of a picture and a text.
fn step_fault(lines: &str) -> String {
    let signature = Signature {
        inputs: vec![
            port(
                "image",
                DType::F32,
                &[symbol("N"), Dim::Fixed(3), Dim::Fixed(8), Dim::Fixed(8)],
            ),
            port("input_ids", DType::I64, &[symbol("N"), Dim::Fixed(16)]),
            port(
                "bytes",
                DType::U8,
                &[symbol("N"), symbol("H"), symbol("W"), Dim::Fixed(3)],
            ),
        ],
        outputs: vec![
            port("scores", DType::F32, &[symbol("N"), Dim::Fixed(10)]),
            port("digit", DType::I64, &[symbol("N")]),
            port("boxes", DType::F32, &[symbol("N"), symbol("A"), Dim::Fixed(15)]),
        ],
    };
    let text = format!("name: m\nmodel: m.onnx\n{lines}\n");
    let checked = parse(&text, "GPUXfile").unwrap().check(&signature);
    let message = checked.expect_err(lines).to_string();
    message.lines().next().unwrap().to_owned()
}

#[test]
fn steps_that_do_not_fit_the_model_are_refused_where_they_stand() {
    for (lines, message) in [
        (
            "preprocessing: imagenet",
            "GPUXfile:3:16: the model has several inputs, and these steps do not say which one they feed; write a mapping \
             from its name, one of `image`, `input_ids`, `bytes`, to the steps",
        ),
        (
            "preprocessing: {imagee: imagenet}",
            "GPUXfile:3:17: the model has no input `imagee`; did you mean `image`?",
        ),
        (
            "preprocessing: {image: imagenet}",
            "GPUXfile:3:24: input `image` is float32 [N, 3, 8, 8] in the model, and `normalize` makes pictures of 224 × \
             224 pixels",
        ),
        (
            "preprocessing: {image: [{resize: 8}]}",
            "GPUXfile:3:26: input `image` is float32 [N, 3, 8, 8] in the model, and `resize` leaves the size to the \
             picture; add `center_crop`, or `resize` with `size`",
        ),
        (
            "preprocessing: {image: [{image: {color: gray}}, {resize: {size: 8}}]}",
            "GPUXfile:3:50: input `image` is float32 [N, 3, 8, 8] in the model, and `resize` makes pictures of 1 channels, \
             in the order nchw",
        ),
        (
            "preprocessing: {image: [{resize: {size: 8}}, {tensor: {type: float16}}]}",
            "GPUXfile:3:47: input `image` is float32 [N, 3, 8, 8] in the model, and `tensor` makes float16",
        ),
        (
            "preprocessing: {bytes: [rescale]}",
            "GPUXfile:3:25: input `bytes` is uint8 [N, H, W, 3] in the model, and `rescale` makes fractions of the values",
        ),
        (
            "preprocessing: {text: [tokenize]}",
            "GPUXfile:3:24: input `input_ids` is int64 [N, 16] in the model, and `tokenize` makes any number of tokens \
             here; write `max_length: 16` and `padding: max_length`",
        ),
        (
            "preprocessing: {text: [{tokenize: {ids: image}}]}",
            "GPUXfile:3:25: input `image` is float32 [N, 3, 8, 8] in the model, and `tokenize` makes int64 or int32",
        ),
        (
            "preprocessing: {image: [{resize: {size: 8}}], text: [{tokenize: {ids: bytes}}]}",
            "GPUXfile:3:55: input `bytes` is uint8 [N, H, W, 3] in the model, and `tokenize` makes int64 or int32",
        ),
        (
            "postprocessing: {score: softmax}",
            "GPUXfile:3:18: the model has no output `score`; did you mean `scores`?",
        ),
        (
            "postprocessing: {digit: softmax}",
            "GPUXfile:3:25: output `digit` is int64 [N] in the model, and `softmax` takes floating-point numbers",
        ),
        (
            "postprocessing: [cls_pool]",
            "GPUXfile:3:18: output `scores` is float32 [N, 10] in the model, and `cls_pool` takes a vector for each token, \
             [batch, tokens, size]",
        ),
        (
            "postprocessing: {boxes: {detect: yolov5}}",
            "GPUXfile:3:26: `detect` needs `image` among the steps of `preprocessing`, and there is none",
        ),
        (
            "postprocessing: {boxes: [ctc]}",
            "GPUXfile:3:26: `ctc` needs the `labels` of output `boxes`, and the GPUXfile gives none",
        ),
    ] {
        assert_eq!(step_fault(lines), message);
    }
}

#[test]
fn an_input_is_fed_once() {
    assert_eq!(
        step_fault(
            "preprocessing: {a: {tokenizer: t, max_length: 16, padding: max_length}, b: {tokenizer: t, max_length: 16, padding: max_length}}"
        ),
        "GPUXfile:3:73: input `input_ids` is fed by these steps and by others"
    );
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
