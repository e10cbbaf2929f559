use half::{bf16, f16};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::tensor::arbitrary::{any_tensor, exact_port, same};
use crate::tensor::{CastError, DType, Dim, NameError, Port, Shape, Tensor, TensorName};

fn port(dtype: DType, shape: Shape) -> Port {
    Port {
        name: TensorName::new("x"),
        dtype,
        shape,
    }
}

fn fixed(dtype: DType, dims: &[u64]) -> Port {
    port(dtype, Shape::of(dims.iter().map(|&size| Dim::Fixed(size))))
}

fn open(dtype: DType) -> Port {
    port(dtype, Shape(None))
}

/// Gives the message of a refusal with its causes.
fn refusal(text: &str, port: &Port) -> String {
    full(&decode_text(text.as_bytes(), port).unwrap_err())
}

fn full(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", full(source)),
        None => error.to_string(),
    }
}

#[test]
fn integers_are_taken_where_floats_are_wanted() {
    let tensor = decode_text(b"[[1, 2.5], [-3, 4e2]]", &fixed(DType::F32, &[2, 2])).unwrap();
    assert_eq!(tensor, Tensor::from_vec([2, 2], vec![1f32, 2.5, -3.0, 400.0]).unwrap());
}

#[test]
fn a_bare_value_is_a_scalar() {
    assert_eq!(
        decode_text(b" 7 ", &fixed(DType::I64, &[])).unwrap(),
        Tensor::from_vec([], vec![7i64]).unwrap()
    );
    assert_eq!(
        decode_text(b"true", &open(DType::Bool)).unwrap(),
        Tensor::from_vec([], vec![true]).unwrap()
    );
    assert_eq!(
        decode_text(br#""a\n\u00e9""#, &open(DType::String)).unwrap(),
        Tensor::from_vec([], vec!["a\né".to_owned()]).unwrap()
    );
    assert_eq!(
        refusal("7", &fixed(DType::I64, &[1])),
        "`x`, declared as int64[1], is a number, and elements lie 1 list deep"
    );
    assert_eq!(
        refusal("[7]", &fixed(DType::I64, &[])),
        "`x`, declared as int64[], is a list, and elements lie 0 lists deep"
    );
}

#[test]
fn what_json_has_no_number_for_comes_as_a_string() {
    let tensor = decode_text(br#"["NaN", "Infinity", "-Infinity"]"#, &open(DType::F16)).unwrap();
    let elements = tensor.elements::<f16>().unwrap();
    assert!(elements[0].is_nan());
    assert_eq!(elements[1..], [f16::INFINITY, f16::NEG_INFINITY]);
    assert_eq!(encode(&tensor), json!(["NaN", "Infinity", "-Infinity"]));
    let tensor = decode_text(br#"["Infinity"]"#, &open(DType::BF16)).unwrap();
    assert_eq!(tensor.elements::<bf16>().unwrap(), [bf16::INFINITY]);
    assert_eq!(
        refusal(r#"["inf"]"#, &open(DType::F32)),
        r#"`x` at [0] is not as declared: expected float32, found the string "inf""#
    );
    assert!(refusal(r#"["NaN"]"#, &open(DType::I64)).contains("expected int64"));
}

#[test]
fn a_lossy_cast_names_the_element_and_the_type() {
    assert_eq!(
        refusal("[[1, 2], [3, 1.5]]", &open(DType::I64)),
        "`x` at [1][1] is not as declared: 1.5 is not a whole number, as int64 needs"
    );
    assert_eq!(
        refusal("[300]", &open(DType::U8)),
        "`x` at [0] is not as declared: 300 is outside uint8, which goes from 0 to 255"
    );
    assert!(refusal("[-1]", &open(DType::U64)).contains("-1 is outside uint64"));
    assert!(refusal("[9007199254740993]", &open(DType::F64)).contains("the nearest is 9007199254740992.0"));
    assert!(refusal("[16777217]", &open(DType::F32)).contains("the nearest is 16777216.0"));
    assert!(refusal("[1e39]", &open(DType::F32)).contains("1e39 is outside float32, which goes from"));
    assert!(refusal("[-1e999]", &open(DType::F64)).contains("-1e999 is outside float64"));
    assert!(refusal("[65520.5]", &open(DType::F16)).contains("65520.5 is outside float16"));
    assert!(refusal("[1e999]", &open(DType::I8)).contains("1e999 is outside int8"));
    assert!(refusal("1", &open(DType::String)).contains("expected a string, found 1"));
    assert!(refusal("false", &open(DType::String)).contains("expected a string, found false"));
}

#[test]
fn a_decimal_is_rounded_to_the_nearest_float() {
    let tensor = decode_text(b"[0.1, 16777217.0, 3.14159265358979]", &open(DType::F32)).unwrap();
    assert_eq!(
        tensor.elements::<f32>().unwrap(),
        [0.1, 16777216.0, std::f32::consts::PI]
    );
    // By way of float64 this would be rounded twice, and down.
    let tensor = decode_text(b"1.000000059604644775390625000001", &open(DType::F32)).unwrap();
    assert_eq!(tensor.elements::<f32>().unwrap(), [1.0000001]);
}

#[test]
fn every_decimal_is_rounded_as_by_the_standard_library() {
    let mut random = fastrand::Rng::with_seed(7);
    let mut texts: Vec<String> = [
        "-0.0",
        "-0",
        "9007199254740993.0",
        "16777217.0",
        "0.1",
        "1.5e3",
        "0.00000000000000000001",
    ]
    .map(str::to_owned)
    .into();
    for _ in 0..20_000 {
        let digits = random.u64(..) >> random.u32(..64);
        let places = random.usize(1..26);
        let text = format!("{digits:0>width$}", width = places + 1);
        let (whole, behind) = text.split_at(text.len() - places);
        let whole = whole.trim_start_matches('0');
        let sign = if random.bool() { "-" } else { "" };
        texts.push(format!("{sign}{}.{behind}", if whole.is_empty() { "0" } else { whole }));
    }
    let all = format!("[{}]", texts.join(","));
    let doubles = decode_text(all.as_bytes(), &open(DType::F64)).unwrap();
    let singles = decode_text(all.as_bytes(), &open(DType::F32)).unwrap();
    let (doubles, singles) = (doubles.elements::<f64>().unwrap(), singles.elements::<f32>().unwrap());
    for ((text, double), single) in texts.iter().zip(doubles).zip(singles) {
        assert_eq!(double.to_bits(), text.parse::<f64>().unwrap().to_bits(), "{text}");
        assert_eq!(single.to_bits(), text.parse::<f32>().unwrap().to_bits(), "{text}");
    }
}

#[test]
fn members_are_told_apart_whatever_they_hold() {
    let text = r#" { "b" : [1, {"x": "]},"}] , "a\"":"te,xt" ,"c": -1.5e3 } "#;
    let found: Vec<(String, &str)> = members(text)
        .unwrap()
        .into_iter()
        .map(|(name, of)| (name.into_owned(), of))
        .collect();
    let name = |name: &str| name.to_owned();
    let wanted = [
        (name("a\""), "\"te,xt\""),
        (name("b"), r#"[1, {"x": "]},"}]"#),
        (name("c"), "-1.5e3"),
    ];
    assert_eq!(found, wanted);
    assert!(members("{}").unwrap().is_empty());
    for broken in [
        "",
        "[1]",
        "{",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1",
        "{\"a\":1,}",
        "{\"a\":1} 2",
        "{\"a\":\"",
        "{\"a\":1]",
    ] {
        assert!(members(broken).is_err(), "{broken}");
    }
    assert!(
        members(r#"{"a":1,"a":2}"#)
            .unwrap_err()
            .to_string()
            .contains("given twice")
    );
}

#[test]
fn whole_numbers_in_any_notation_are_integers_while_they_are_exact() {
    let tensor = decode_text(b"[1.0, 1e3, -0, 9007199254740992.0]", &open(DType::I64)).unwrap();
    assert_eq!(tensor.elements::<i64>().unwrap(), [1, 1000, 0, 1 << 53]);
    assert!(refusal("9007199254740993.5", &open(DType::I64)).contains("beyond 2^53"));
    let whole = decode_text(b"[18446744073709551615]", &open(DType::U64)).unwrap();
    assert_eq!(whole.elements::<u64>().unwrap(), [u64::MAX]);
    assert!(refusal("[18446744073709551616]", &open(DType::U64)).contains("outside uint64"));
    assert!(decode_text(b"[-9223372036854775808]", &open(DType::I64)).is_ok());
    assert!(decode_text(b"[-9223372036854775809]", &open(DType::I64)).is_err());
}

#[test]
fn bool_is_zero_and_one() {
    let tensor = decode_text(b"[true, 0, 1.0]", &open(DType::Bool)).unwrap();
    assert_eq!(tensor.elements::<bool>().unwrap(), [true, false, true]);
    let tensor = decode_text(b"[true, false]", &open(DType::I64)).unwrap();
    assert_eq!(tensor.elements::<i64>().unwrap(), [1, 0]);
    assert!(refusal("2", &open(DType::Bool)).contains("2 is outside bool, which goes from 0 to 1"));
}

#[test]
fn a_ragged_list_names_the_list() {
    assert_eq!(
        refusal("[[1, 2], [3]]", &open(DType::I64)),
        "`x` at [1], declared as int64[...], is a list of 1, and the lists before it in dimension 1 have 2"
    );
    assert_eq!(
        refusal("[[1, 2], 3]", &open(DType::I64)),
        "`x` at [1], declared as int64[...], is a number, and elements lie 2 lists deep"
    );
    assert_eq!(
        refusal("[1, [2]]", &open(DType::I64)),
        "`x` at [1], declared as int64[...], is a list, and elements lie 1 list deep"
    );
    assert!(refusal("[[], [1]]", &open(DType::I64)).contains("a list of 1, and the lists before it"));
    assert!(refusal("[[[1]], []]", &open(DType::I64)).contains("a list of 0, and the lists before it"));
}

#[test]
fn a_wrong_shape_says_what_was_declared() {
    let declared = port(
        DType::F32,
        Shape::of([Dim::Symbol("N".into()), Dim::Fixed(2), Dim::Unknown]),
    );
    assert_eq!(
        refusal("[[[1], [2]], [[3], [4], [5]]]", &declared),
        "`x` at [1], declared as float32[N, 2, ?], is a list of 3, and dimension 1 is 2"
    );
    assert_eq!(
        refusal("[[1, 2]]", &declared),
        "`x` at [0][0], declared as float32[N, 2, ?], is a number, and elements lie 3 lists deep"
    );
    assert_eq!(
        refusal("[[[[1]]]]", &declared),
        "`x` at [0][0][0], declared as float32[N, 2, ?], is a list, and elements lie 3 lists deep"
    );
}

#[test]
fn an_empty_list_takes_the_dimensions_below_it_from_the_port() {
    let declared = port(DType::F32, Shape::of([Dim::Unknown, Dim::Fixed(3)]));
    assert_eq!(decode_text(b"[]", &declared).unwrap().shape(), [0, 3]);
    assert_eq!(decode_text(b"[[], []]", &open(DType::F32)).unwrap().shape(), [2, 0]);
    assert_eq!(
        refusal("[]", &port(DType::F32, Shape::of([Dim::Unknown, Dim::Unknown]))),
        "`x`, declared as float32[?, ?], has no elements, and nothing tells how large dimension 1 is"
    );
    assert!(refusal("[]", &fixed(DType::F32, &[3])).contains("is a list of 0, and dimension 0 is 3"));
}

#[test]
fn what_is_never_an_element_is_refused() {
    assert_eq!(
        refusal("[1, null]", &open(DType::F32)),
        "`x` at [1], declared as float32[...], is null, which is never an element"
    );
    assert!(refusal("{}", &open(DType::F32)).contains("is an object"));
    assert!(matches!(
        decode_text(b"1", &open(DType::I4)),
        Err(Error::NotHeld { .. })
    ));
    let impossible = port(
        DType::F32,
        Shape::of([Dim::Fixed(0), Dim::Fixed(u64::MAX), Dim::Fixed(u64::MAX)]),
    );
    assert_eq!(decode_text(b"[]", &impossible).unwrap().data().len(), 0);
    assert!(matches!(
        decode_text(b"[]", &fixed(DType::F32, &[0; 65])),
        Err(Error::Tensor { .. })
    ));
}

#[test]
fn nesting_without_end_is_refused() {
    let deep = "[".repeat(100_000);
    assert!(refusal(&deep, &open(DType::F32)).contains("nested deeper than the 64 dimensions"));
    assert!(refusal(&deep, &fixed(DType::F32, &[1])).contains("elements lie 1 list deep"));
    let at_limit = format!("{}1{}", "[".repeat(64), "]".repeat(64));
    assert_eq!(
        decode_text(at_limit.as_bytes(), &open(DType::F32)).unwrap().shape(),
        [1; 64]
    );
}

#[test]
fn text_that_is_not_json_names_the_place() {
    assert_eq!(
        refusal("[[1, 2], [3, NaN]]", &open(DType::F32)),
        "cannot read the JSON of `x` at [1][1]: expected a value at line 1 column 14"
    );
    for (text, expected) in [
        ("", "a value at line 1 column 1"),
        ("[1", "`,` or `]` at line 1 column 3"),
        ("[1] 2", "the end at line 1 column 5"),
        ("[1,\n 2,]", "a value at line 2 column 4"),
        ("[1,\n\n -]", "a digit at line 3 column 3"),
        ("[01]", "`,` or `]` at line 1 column 3"),
        ("[1.]", "a digit at line 1 column 4"),
        ("[1e+]", "a digit at line 1 column 5"),
        ("[+1]", "a value at line 1 column 2"),
        ("[tru]", "a value at line 1 column 2"),
        (
            "[\"a",
            "a string that ends, without raw control characters and unknown escapes at line 1 column 4",
        ),
    ] {
        assert_eq!(
            refusal(text, &open(DType::F32)).split("expected ").last().unwrap(),
            expected,
            "{text}"
        );
    }
    for text in [
        &b"[\"\xff\"]"[..],
        b"[\"\n\"]",
        b"[\"\\x\"]",
        b"[\"\\ud800\"]",
        b"[\"\\",
        b"[\"\\\"",
    ] {
        let error = decode_text(text, &open(DType::String)).unwrap_err();
        assert!(matches!(error, Error::Syntax { .. }), "{error:?}");
    }
}

#[test]
fn floats_come_out_in_the_shortest_form() {
    let text = |tensor: Tensor| {
        let mut text = Vec::new();
        write(&tensor, &mut text).unwrap();
        assert_eq!(encode(&tensor).to_string().as_bytes(), text);
        String::from_utf8(text).unwrap()
    };
    assert_eq!(
        text(Tensor::from_vec([2, 2], vec![0.1f32, -1.5e-7, f32::MAX, f32::MIN_POSITIVE]).unwrap()),
        "[[0.1,-1.5e-7],[3.4028235e+38,1.1754944e-38]]"
    );
    assert_eq!(
        text(Tensor::from_vec([3], vec![0.1f64, -0.0, 1e300]).unwrap()),
        "[0.1,-0.0,1e+300]"
    );
    let halves = [0.1, 65504.0, 0.333].map(f16::from_f64);
    assert_eq!(
        text(Tensor::from_vec([3], halves.to_vec()).unwrap()),
        "[0.1,65504.0,0.333]"
    );
    let brains = [0.1, 3.0e38, 257.0].map(bf16::from_f64);
    assert_eq!(
        text(Tensor::from_vec([3], brains.to_vec()).unwrap()),
        "[0.1,3e+38,256.0]"
    );
    assert_eq!(
        text(Tensor::from_vec([], vec![i64::MIN]).unwrap()),
        "-9223372036854775808"
    );
}

#[test]
fn every_number_of_millionths_is_written_as_serde_json_writes_it() {
    let mut text = Vec::new();
    let mut expected = Vec::new();
    let steps = (0..1_000_000u64)
        .step_by(37)
        .chain((0..1 << 46).step_by((1 << 30) + 12_345));
    for (at, millionths) in steps.enumerate() {
        let value = millionths as f64 / if at % 2 == 0 { 1e6 } else { -1e6 };
        text.clear();
        append(&Tensor::from_vec([1], vec![value]).unwrap(), &mut text);
        expected.clear();
        serde_json::to_writer(&mut expected, &[value]).unwrap();
        assert_eq!(text, expected, "{value}");
        let narrow = value as f32;
        text.clear();
        append(&Tensor::from_vec([1], vec![narrow]).unwrap(), &mut text);
        expected.clear();
        serde_json::to_writer(&mut expected, &[narrow]).unwrap();
        assert_eq!(text, expected, "{narrow}");
    }
}

#[test]
fn large_lists_are_read_to_their_end_and_their_faults_are_found() {
    let tensor = Tensor::from_vec([40, 1000], (0..40_000).map(|at| f64::from(at) / 7.0).collect()).unwrap();
    let mut text = Vec::new();
    append(&tensor, &mut text);
    let text = String::from_utf8(text).unwrap();
    let port = exact_port(&tensor);
    for around in [("", ""), (" ", " \n"), ("\n\n", "")] {
        let text = format!("{}{text}{}", around.0, around.1);
        assert!(decode_text(text.as_bytes(), &port).unwrap() == tensor);
    }
    for behind in ["]", " 1", ",[1]", ",[1]]", "}"] {
        let error = decode_text(format!("{text}{behind}").as_bytes(), &port).unwrap_err();
        let column = text.len() + 1 + usize::from(behind.starts_with(' '));
        assert!(
            full(&error).ends_with(&format!("expected the end at line 1 column {column}")),
            "{error}"
        );
    }
    let broken = text.replacen(",5714", ",x5714", 1);
    assert!(
        refusal(&broken, &port).contains("at [39][998]: expected a value"),
        "{}",
        refusal(&broken, &port)
    );
    let short = text.replacen("],[", ",1],[", 1);
    assert!(refusal(&short, &port).contains("[0]"), "{}", refusal(&short, &port));
    let ports = ["a", "b"].map(|name| Port {
        name: TensorName::new(name),
        ..port.clone()
    });
    let map = format!("{{\"b\": {text} , \"a\":{text}}}");
    let tensors = decode_map(map.as_bytes(), &ports).unwrap();
    assert!(tensors == [tensor.clone(), tensor]);
}

#[test]
fn text_is_the_same_written_whole_and_by_parts() {
    for shape in [
        vec![3, 5_000],
        vec![15_000],
        vec![5_000, 3],
        vec![2, 2_500, 1, 3],
        vec![15_000, 1],
    ] {
        let tensor = Tensor::from_vec(shape.clone(), (0..15_000).map(f64::from).collect()).unwrap();
        let (mut whole, mut parts, mut flat) = (Vec::new(), Vec::new(), Vec::new());
        append(&tensor, &mut whole);
        write(&tensor, &mut parts).unwrap();
        assert!(whole == parts, "{shape:?}");
        assert_eq!(decode_text(&whole, &exact_port(&tensor)).unwrap(), tensor);
        append_flat(&tensor, &mut flat);
        let level = Tensor::from_vec([15_000], tensor.elements::<f64>().unwrap().to_vec()).unwrap();
        whole.clear();
        append(&level, &mut whole);
        assert!(whole == flat, "{shape:?}");
    }
}

#[test]
fn a_shape_that_costs_nothing_writes_little() {
    let vast = Tensor::from_vec([1 << 40, 0], Vec::<f32>::new()).unwrap();
    assert_eq!(encode(&vast), json!([]));
    let small = Tensor::from_vec([2, 0, 1 << 40], Vec::<f32>::new()).unwrap();
    assert_eq!(encode(&small), json!([[], []]));
}

#[test]
fn every_16_bit_float_comes_back() {
    for bits in 0..=u16::MAX {
        let half = Tensor::from_vec([], vec![f16::from_bits(bits)]).unwrap();
        assert!(
            same(&decode(&encode(&half), &exact_port(&half)).unwrap(), &half),
            "{half:?}"
        );
        let brain = Tensor::from_vec([], vec![bf16::from_bits(bits)]).unwrap();
        assert!(
            same(&decode(&encode(&brain), &exact_port(&brain)).unwrap(), &brain),
            "{brain:?}"
        );
    }
}

fn two_inputs() -> Vec<Port> {
    ["pixels", "mask"]
        .map(|name| Port {
            name: TensorName::new(name),
            dtype: DType::F32,
            shape: Shape::of([Dim::Unknown]),
        })
        .to_vec()
}

fn map_refusal(text: &str) -> String {
    full(&decode_map(text.as_bytes(), &two_inputs()).unwrap_err())
}

#[test]
fn a_map_gives_the_tensors_in_the_order_of_the_ports() {
    let tensors = decode_map(br#"{"mask": [1], "pixels": [2, 3]}"#, &two_inputs()).unwrap();
    assert_eq!(tensors[0].elements::<f32>().unwrap(), [2.0, 3.0]);
    assert_eq!(tensors[1].elements::<f32>().unwrap(), [1.0]);
    let value = json!({"m\u{61}sk": [1], "pixels": [2, 3]});
    assert_eq!(decode_map_value(&value, &two_inputs()).unwrap(), tensors);
}

#[test]
fn the_names_of_a_map_must_be_those_of_the_inputs() {
    assert_eq!(
        map_refusal(r#"{"Pixel": [1]}"#),
        "there is no input `Pixel`; the inputs are `pixels`, `mask`"
    );
    let Err(Error::Name(NameError::Unknown { nearest, .. })) = decode_map(br#"{"Pixel": [1]}"#, &two_inputs()) else {
        panic!()
    };
    assert_eq!(nearest, Some(TensorName::new("pixels")));
    let Err(Error::Name(NameError::Unknown { nearest, .. })) = decode_map(br#"{"zzz": [1]}"#, &two_inputs()) else {
        panic!()
    };
    assert_eq!(nearest, None);
    assert_eq!(
        map_refusal(r#"{"mask": [1], "m\u0061sk": [2]}"#),
        "the input `mask` is given twice"
    );
    assert_eq!(map_refusal("{}"), "no value is given for `pixels`, `mask`");
    for (text, found) in [
        ("[1]", "a list"),
        ("1", "a number"),
        ("null", "null"),
        (r#""x""#, "a string"),
    ] {
        assert!(map_refusal(text).ends_with(&format!("found {found}")), "{text}");
    }
}

#[test]
fn a_fault_within_a_map_names_the_input_and_the_element() {
    assert_eq!(
        map_refusal(r#"{"mask": [1, "a"], "pixels": [2]}"#),
        r#"`mask` at [1] is not as declared: expected float32, found the string "a""#
    );
    assert_eq!(
        map_refusal(r#"{"mask": [1, }"#),
        "cannot read the JSON of `mask` at [1]: expected a value at line 1 column 14"
    );
    for (text, expected) in [
        (r#"{"mask": [1]"#, "`,` or `}` at line 1 column 13"),
        (r#"{"mask": [1], }"#, "a name in quotes at line 1 column 15"),
        (r#"{"mask" [1]}"#, "`:` at line 1 column 9"),
        (r#"{"mask": [1], "pixels": [1]} 1"#, "the end at line 1 column 30"),
        ("", "a value at line 1 column 1"),
    ] {
        assert_eq!(
            map_refusal(text),
            format!("cannot read the JSON of the map of inputs: expected {expected}")
        );
    }
    assert!(matches!(
        decode_map(&b"[".repeat(100_000), &two_inputs()),
        Err(Error::NotAMap(Found::List))
    ));
}

#[test]
fn errors_carry_what_a_program_can_read() {
    let error = decode_text(b"[[1], [2.5]]", &open(DType::I32)).unwrap_err();
    let Error::Value { path, source, .. } = error else {
        panic!()
    };
    assert_eq!(path.0, [1, 0]);
    assert_eq!(
        *source,
        CastError::Fraction {
            value: 2.5,
            dtype: DType::I32
        }
    );
}

proptest! {
    #[test]
    fn every_tensor_comes_back(tensor in any_tensor()) {
        let port = exact_port(&tensor);
        prop_assert!(same(&decode(&encode(&tensor), &port).unwrap(), &tensor));
        let mut text = Vec::new();
        write(&tensor, &mut text).unwrap();
        prop_assert!(same(&decode_text(&text, &port).unwrap(), &tensor));
    }

    #[test]
    fn text_is_json_where_serde_json_says_so(text in r#"[\[\],0-9.e+"a\\u\n \-]{0,24}"#) {
        let value: Result<serde_json::Value, _> = serde_json::from_str(&text);
        for dtype in [DType::F64, DType::I8, DType::String] {
            match (&value, decode_text(text.as_bytes(), &open(dtype))) {
                (Ok(value), found) => prop_assert_eq!(decode(value, &open(dtype)).ok(), found.ok()),
                // serde_json takes a number that float64 does not hold for a fault of the text.
                (Err(error), Err(_)) if error.to_string().starts_with("number out of range") => {}
                (Err(_), found) => prop_assert!(found.is_err()),
            }
        }
    }

    #[test]
    fn numbers_are_read_as_serde_json_reads_them(
        text in "-?(0|[1-9][0-9]{0,21})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,2})?"
    ) {
        let value = serde_json::from_str(&text).unwrap();
        for dtype in [DType::F64, DType::F16, DType::I64, DType::U64, DType::I8, DType::Bool, DType::String] {
            let (one, other) = (decode(&value, &open(dtype)), decode_text(text.as_bytes(), &open(dtype)));
            prop_assert_eq!(one.ok(), other.ok(), "{} as {}", text, dtype);
        }
    }

    #[test]
    fn no_text_panics(text in proptest::collection::vec(any::<u8>(), 0..40)) {
        let _ = decode_text(&text, &open(DType::F32));
        let _ = decode_map(&text, &two_inputs());
    }
}
