//! What no list of hostile files has: random bytes, and honest models with random damage.

use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;
use prost::bytes::Bytes;

use super::Model;
use super::proto::{GraphProto, ModelProto};
use super::sample::*;

/// Makes a model with a part of every kind.
fn full() -> ModelProto {
    let body = GraphProto {
        node: vec![with(node("Cast", &["x"], &["b"]), int("to", 7))],
        output: vec![port("b", 7, &[-1])],
        initializer: vec![raw("in_body", 1, &[3], &[1; 12])],
        ..Default::default()
    };
    let mut model = running(vec![
        with(node("If", &["x"], &["z"]), graph_attribute("then_branch", body)),
        with(node("Transpose", &["x"], &["t"]), ints("perm", &[1, 0])),
        with(
            node("Constant", &[], &["k"]),
            tensor_attribute("value", raw("", 7, &[2], &[9; 16])),
        ),
        node("Reshape", &["x", "k"], &["r"]),
        foreign_node("own", "F", &["f"]),
    ]);
    model.functions = vec![function("F", vec![node("Relu", &["x"], &["y"])])];
    graph(&mut model).initializer = vec![
        external("w", &[("location", "w.bin"), ("offset", "8"), ("length", "8")]),
        raw("v", 22, &[3], &[1; 2]),
    ];
    model
}

/// Asks everything that can be asked of bytes; whatever the answers are, they come.
fn ask(bytes: Vec<u8>) {
    if let Ok(model) = Model::parse(Bytes::from(bytes)) {
        let _ = model.signature();
        let _ = model.summary();
        let _ = model.external();
        let _ = model.nodes();
        let _ = model.check(&std::collections::BTreeMap::from([("w.bin".to_owned(), 16)]));
        let _ = model.rewrite_external(&std::collections::BTreeMap::from([(
            "w.bin".to_owned(),
            "v".to_owned(),
        )]));
    }
}

#[test]
fn a_model_cut_anywhere_is_no_panic() {
    let bytes = full().encode_to_vec();
    for end in 0..bytes.len() {
        ask(bytes[..end].to_vec());
    }
}

#[test]
fn a_model_with_any_byte_changed_is_no_panic() {
    let bytes = full().encode_to_vec();
    for at in 0..bytes.len() {
        for changed in [
            0,
            0x7f,
            0x80,
            0xff,
            bytes[at] ^ 1,
            bytes[at] ^ 8,
            bytes[at].wrapping_add(1),
        ] {
            let mut bytes = bytes.clone();
            bytes[at] = changed;
            ask(bytes);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_no_panic(bytes in vec(any::<u8>(), 0..400)) {
        ask(bytes);
    }

    #[test]
    fn a_model_with_random_damage_is_no_panic(
        changes in vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        cut in any::<prop::sample::Index>(),
        insertion in vec(any::<u8>(), 0..6),
    ) {
        let mut bytes = full().encode_to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let at = cut.index(bytes.len());
        bytes.splice(at..at, insertion);
        ask(bytes);
    }
}
