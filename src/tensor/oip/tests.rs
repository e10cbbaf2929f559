use proptest::prelude::*;

use super::*;
use crate::tensor::arbitrary::{any_tensor, exact_port, same};
use crate::tensor::{DType, Dim, Port, Shape, Signature, Tensor, TensorName};

fn port(name: &str, dtype: DType, dims: &[Dim]) -> Port {
    Port {
        name: TensorName::new(name),
        dtype,
        shape: Shape::of(dims.iter().cloned()),
    }
}

fn matrix(dtype: DType) -> Signature {
    let dims = [Dim::Symbol("N".into()), Dim::Fixed(2)];
    Signature {
        inputs: vec![port("x", dtype, &dims)],
        outputs: vec![port("y", dtype, &dims), port("z", dtype, &dims)],
    }
}

fn decode(text: &str) -> Result<Request, Error> {
    decode_request(text.as_bytes(), None, &matrix(DType::F32))
}

/// Gives an error with its causes.
fn refusal(text: &str) -> String {
    let error = decode(text).unwrap_err();
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
    format!("{error}{}", cause.unwrap_or_default())
}

#[test]
fn elements_come_flat_or_nested_and_before_or_behind_their_shape() {
    let wanted = Tensor::from_vec([2, 2], vec![1f32, 2.5, -3.0, 4.0]).unwrap();
    for text in [
        r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[2,2],"data":[1,2.5,-3,4]}]}"#,
        r#"{"inputs":[{"name":"x","datatype":"FP32","shape":[2,2],"data":[ [1,2.5],[-3,4]]}]}"#,
        r#"{"inputs":[{"data":[[1,2.5],[-3,4]],"name":"x","extra":{"a":[{}]},"shape":[2,2],"datatype":"FP32"}]}"#,
    ] {
        assert_eq!(decode(text).unwrap().inputs, std::slice::from_ref(&wanted), "{text}");
    }
}

#[test]
fn a_request_says_which_outputs_it_wants_and_how() {
    let input = r#""inputs":[{"name":"x","datatype":"FP32","shape":[0,2],"data":[]}]"#;
    let request = |rest: &str| decode(&format!("{{{input}{rest}}}")).unwrap();
    let outputs = |rest: &str| {
        let wanted = request(rest).outputs.into_iter();
        wanted.map(|output| (output.at, output.is_binary)).collect::<Vec<_>>()
    };
    assert_eq!(outputs(""), [(0, false), (1, false)]);
    assert_eq!(outputs(r#","outputs":[]"#), [(0, false), (1, false)]);
    assert_eq!(
        outputs(r#","parameters":{"binary_data_output":true}"#),
        [(0, true), (1, true)]
    );
    let some = r#","outputs":[{"name":"z"},{"name":"y","parameters":{"binary_data":false,"classification":0}}],
        "parameters":{"binary_data_output":true}"#;
    assert_eq!(outputs(some), [(1, true), (0, false)]);
    let named = request(r#","id":"a\nb","parameters":{"priority":2,"timeout":1500}"#);
    assert_eq!(named.id.as_deref(), Some("a\nb"));
    assert_eq!((named.priority, named.timeout_us), (2, 1500));
}

#[test]
fn the_binary_part_is_divided_as_the_inputs_say() {
    let signature = Signature {
        inputs: vec![
            port("x", DType::I16, &[Dim::Unknown]),
            port("s", DType::String, &[Dim::Fixed(2)]),
        ],
        outputs: vec![port("y", DType::I16, &[Dim::Unknown])],
    };
    let header = r#"{"inputs":[
        {"name":"s","datatype":"BYTES","shape":[2],"parameters":{"binary_data_size":11}},
        {"name":"x","datatype":"INT16","shape":[2],"parameters":{"binary_data_size":4}}]}"#;
    let tail = b"\x03\0\0\0\xe2\x82\xac\0\0\0\0\x01\0\xff\xff";
    let body = [header.as_bytes(), tail].concat();
    let inputs = decode_request(&body, Some(header.len()), &signature).unwrap().inputs;
    assert_eq!(inputs[0], Tensor::from_vec([2], vec![1i16, -1]).unwrap());
    let strings = vec!["€".to_owned(), String::new()];
    assert_eq!(inputs[1], Tensor::from_vec([2], strings).unwrap());

    let with = |tail: &[u8]| {
        let body = [header.as_bytes(), tail].concat();
        decode_request(&body, Some(header.len()), &signature)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(with(&tail[..14]), "the binary part has 14 bytes, and the inputs say 15");
    assert_eq!(
        with(b"\x03\0\0\0\xe2\x82\xac\0\0\0\0\x01\0\xff\xff!"),
        "the binary part has 16 bytes, and the inputs say 15"
    );
    assert_eq!(
        with(b"\x04\0\0\0\xe2\x82\xac\0\0\0\0\x01\0\xff\xff"),
        "the strings of `s` are not 2, each behind its length in four bytes"
    );
    assert_eq!(
        with(b"\x03\0\0\0\xe2\x82\xff\0\0\0\0\x01\0\xff\xff"),
        "string 0 of `s` is not UTF-8"
    );
    let beyond = decode_request(b"{}", Some(3), &signature).unwrap_err();
    assert_eq!(
        beyond.to_string(),
        "Inference-Header-Content-Length is 3, and the body has 2 bytes"
    );
}

#[test]
fn what_does_not_fit_is_refused_with_its_reason() {
    let input = |entry: &str| refusal(&format!(r#"{{"inputs":[{entry}]}}"#));
    assert_eq!(refusal("[]"), "`the request` must be an object");
    assert_eq!(
        refusal("{"),
        "the request is not JSON: expected a name in quotes at line 1 column 2"
    );
    assert_eq!(
        refusal("{} x"),
        "the request is not JSON: expected the end at line 1 column 4"
    );
    assert_eq!(refusal("{}"), "no value is given for `x`");
    assert_eq!(input("{}"), "an entry of `inputs` has no `name`");
    assert_eq!(input(r#"{"name":"w"}"#), "there is no input `w`; the inputs are `x`");
    assert_eq!(input(r#"{"name":"x"}"#), "an entry of `inputs` has no `datatype`");
    assert_eq!(
        input(r#"{"name":"x","datatype":"float"}"#),
        "`float` is not a datatype of the protocol"
    );
    assert_eq!(
        input(r#"{"name":"x","datatype":"INT64","shape":[1,2],"data":[1,2]}"#),
        "input `x` takes FP32, and was given INT64"
    );
    assert_eq!(
        input(r#"{"name":"x","datatype":"FP32","shape":[1,3],"data":[1,2,3]}"#),
        "input `x` takes the shape [N, 2], and was given [1, 3]"
    );
    assert_eq!(
        input(r#"{"name":"x","datatype":"FP32","shape":[-1,2],"data":[]}"#),
        "`shape` must be a whole number that is not negative"
    );
    assert_eq!(
        input(r#"{"name":"x","datatype":"FP32","shape":[1,2],"data":[1]}"#),
        "`x`, declared as float32[2], is a list of 1, and dimension 0 is 2"
    );
    assert_eq!(
        input(r#"{"name":"x","datatype":"FP32","shape":[18446744073709551615,2],"data":[1]}"#),
        "`x` makes no tensor: shape [18446744073709551615, 2] overflows"
    );
    assert_eq!(
        input(r#"{"name":"x","datatype":"FP32","shape":[1,2]}"#),
        "input `x` must have either `data` or the parameter `binary_data_size`"
    );
    let entry = r#"{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}"#;
    assert_eq!(input(&format!("{entry},{entry}")), "the input `x` is given twice");
    let deep = format!(r#"{{"name":{}"#, "[".repeat(10_000));
    assert!(input(&deep).starts_with("`name` must be"), "{}", input(&deep));
    let deep = format!(r#"{{"x":{}"#, "[".repeat(10_000));
    assert_eq!(input(&deep), "the request is nested more than 64 deep");
    let half = r#"{"inputs":[{"name":"x","datatype":"FP16","shape":[1,2],"data":[1,2]}]}"#;
    let half = decode_request(half.as_bytes(), None, &matrix(DType::F16)).unwrap_err();
    assert!(half.to_string().contains("in binary form only"), "{half}");
}

proptest! {
    #[test]
    fn every_tensor_comes_back_in_binary(tensor in any_tensor()) {
        let mut bytes = Vec::new();
        let length = encode_binary(&tensor, &mut bytes);
        prop_assert_eq!(length, bytes.len());
        let name = TensorName::new("x");
        prop_assert!(same(&decode_binary(&name, tensor.dtype(), tensor.shape(), &bytes).unwrap(), &tensor));
    }

    #[test]
    fn an_answer_reads_as_a_request_of_the_same_tensors(tensor in any_tensor(), is_binary: bool) {
        let port = exact_port(&tensor);
        let is_binary = is_binary || matches!(tensor.dtype(), DType::F16 | DType::BF16);
        let outputs = [(&port, &tensor, is_binary)];
        let response = Response { model_name: "m", model_version: "1", id: None, outputs: &outputs };
        let (body, header_bytes) = encode_response(&response).unwrap();
        prop_assert_eq!(header_bytes.is_some(), is_binary);
        let at = header_bytes.unwrap_or(body.len());
        let header = String::from_utf8(body[..at].to_vec()).unwrap().replacen("\"outputs\":[", "\"inputs\":[", 1);
        let request = [header.as_bytes(), &body[at..]].concat();
        let signature = Signature { inputs: vec![port.clone()], outputs: vec![] };
        let again = decode_request(&request, header_bytes.map(|_| header.len()), &signature).unwrap();
        prop_assert!(same(&again.inputs[0], &tensor));
    }

    #[test]
    fn no_text_makes_it_panic(text in "[\\[\\]{}:,\"a-z0-9 .-]{0,60}") {
        let _ = decode(&text);
    }
}
