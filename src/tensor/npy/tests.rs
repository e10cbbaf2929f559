use half::{bf16, f16};
use proptest::prelude::*;

use super::*;
use crate::tensor::arbitrary::{any_tensor, exact_port, same};
use crate::tensor::{DType, Dim, FitError, Port, Shape, Tensor, TensorError, TensorName, npz};

fn golden(file: &'static [u8]) -> impl Fn(&str) -> Vec<u8> {
    move |name| {
        let mut archive = zip::ZipArchive::new(std::io::Cursor::new(file)).unwrap();
        let mut entry = archive.by_name(&format!("{name}.npy")).unwrap();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        bytes
    }
}

fn fixture(name: &str) -> &'static [u8] {
    match name {
        "written" => include_bytes!("../../../fixtures/npy/written.npz"),
        "read" => include_bytes!("../../../fixtures/npy/read.npz"),
        "versions" => include_bytes!("../../../fixtures/npy/versions.npz"),
        _ => include_bytes!("../../../fixtures/npy/refused.npz"),
    }
}

fn open(dtype: DType) -> Port {
    Port {
        name: TensorName::new("x"),
        dtype,
        shape: Shape(None),
    }
}

fn cube<T: From<u8> + crate::tensor::Element>() -> Tensor {
    Tensor::from_vec([2, 3, 4], (0..24).map(T::from).collect()).unwrap()
}

/// Writes a file with any header text.
fn file(version: u8, header: &str, data: &[u8]) -> Vec<u8> {
    let mut file = b"\x93NUMPY".to_vec();
    file.extend([version, 0]);
    match version {
        1 => file.extend(u16::try_from(header.len()).unwrap().to_le_bytes()),
        _ => file.extend(u32::try_from(header.len()).unwrap().to_le_bytes()),
    }
    file.extend(header.as_bytes());
    file.extend(data);
    file
}

fn array(descr: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    file(1, &header, data)
}

fn refusal(file: &[u8]) -> String {
    decode(file).unwrap_err().to_string()
}

#[test]
fn what_numpy_writes_is_read_and_written_byte_for_byte() {
    let edges = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.0];
    let halves = edges.iter().map(|&edge| f16::from_f32(edge));
    let doubles = edges.iter().map(|&edge| f64::from(edge));
    let strings = ["", "naïve 数 \u{1f600}", "line\n\"quote\""].map(str::to_owned);
    let expected = [
        (
            "float16",
            Tensor::from_vec([6], halves.chain([f16::MAX, f16::from_bits(1)]).collect()),
        ),
        (
            "bfloat16",
            Tensor::from_vec(
                [6],
                [0x7FC0, 0x7F80, 0xFF80, 0x8000, 0x7F7F, 1]
                    .map(bf16::from_bits)
                    .to_vec(),
            ),
        ),
        (
            "float32",
            Tensor::from_vec(
                [6],
                edges.iter().copied().chain([f32::MAX, f32::from_bits(1)]).collect(),
            ),
        ),
        (
            "float64",
            Tensor::from_vec([6], doubles.chain([f64::MAX, f64::from_bits(1)]).collect()),
        ),
        ("int8", Tensor::from_vec([2], vec![i8::MIN, i8::MAX])),
        ("int16", Tensor::from_vec([2], vec![i16::MIN, i16::MAX])),
        ("int32", Tensor::from_vec([2], vec![i32::MIN, i32::MAX])),
        ("int64", Tensor::from_vec([2], vec![i64::MIN, i64::MAX])),
        ("uint8", Tensor::from_vec([2], vec![0, u8::MAX])),
        ("uint16", Tensor::from_vec([2], vec![0, u16::MAX])),
        ("uint32", Tensor::from_vec([2], vec![0, u32::MAX])),
        ("uint64", Tensor::from_vec([2], vec![0, u64::MAX])),
        ("bool", Tensor::from_vec([2], vec![false, true])),
        ("string", Tensor::from_vec([3], strings.to_vec())),
        ("cube", Ok(cube::<f32>())),
        ("empty", Tensor::from_vec([0, 3], Vec::<i64>::new())),
        ("scalar", Tensor::from_vec([], vec![-1.5f64])),
        ("vector", Tensor::from_vec([10], (0..10u16).map(|n| n * 100).collect())),
    ];
    let written = golden(fixture("written"));
    for (name, expected) in expected {
        let (bytes, expected) = (written(name), expected.unwrap());
        let found = decode_for(&bytes, &exact_port(&expected)).unwrap();
        assert!(same(&found, &expected), "{name}: {found:?}");
        assert!(encode(&found).unwrap() == bytes, "{name} is written otherwise");
    }
}

#[test]
fn every_order_and_version_is_read() {
    let read = golden(fixture("read"));
    let text = |elements: [&str; 3], shape: usize| {
        Tensor::from_vec([shape], elements[..shape].iter().map(|&text| text.to_owned()).collect()).unwrap()
    };
    assert_eq!(decode(&read("fortran")).unwrap(), cube::<f32>());
    assert_eq!(decode(&read("big_endian")).unwrap(), cube::<i32>());
    assert_eq!(decode(&read("big_fortran")).unwrap(), cube::<f64>());
    assert_eq!(decode(&read("big_text")).unwrap(), text(["", "\u{1f600}z", ""], 2));
    assert_eq!(decode(&read("bytes")).unwrap(), text(["ab", "", "abc"], 3));
    let versions = golden(fixture("versions"));
    for version in ["version1", "version2", "version3"] {
        assert_eq!(decode(&versions(version)).unwrap(), cube::<i16>());
    }
    assert_eq!(npz::decode(fixture("versions")).unwrap().len(), 3);
}

#[test]
fn fortran_order_is_turned_for_strings_and_empty_arrays_too() {
    let header = "{'descr': '|S1', 'fortran_order': True, 'shape': (2, 3)}";
    let found = decode(&file(1, header, b"adbecf")).unwrap();
    assert_eq!(found.elements::<String>().unwrap(), ["a", "b", "c", "d", "e", "f"]);
    let header = "{'descr': '<f4', 'fortran_order': True, 'shape': (2, 0, 3)}";
    assert_eq!(decode(&file(1, header, b"")).unwrap().shape(), [2, 0, 3]);
    let header = "{'descr': '|b1', 'fortran_order': True, 'shape': (2, 3)}";
    assert_eq!(
        refusal(&file(1, header, &[0, 1, 0, 7, 0, 0])),
        "the bool at [1][1] is the byte 7, neither 0 nor 1"
    );
}

#[test]
fn types_that_tensors_do_not_hold_are_refused_by_name() {
    let refused = golden(fixture("refused"));
    assert_eq!(
        refusal(&refused("object")),
        "the array holds Python objects, which only unpickling reads, and that runs code from the file"
    );
    assert!(refusal(&refused("record")).contains("records of several fields"));
    assert!(refusal(&refused("complex")).contains("elements of type \"<c8\""));
    assert!(refusal(&refused("date")).contains("elements of type \"<M8[s]\""));
    assert!(refusal(&refused("long_double")).contains("elements of type \"<f16\""));
    assert!(refusal(&refused("untyped")).contains("bfloat16 only where that is declared"));
    for descr in [
        "",
        "<",
        "f",
        "<é4",
        "|b2",
        "V3",
        ">V2",
        "<f99999999999999999999999",
        "4f",
    ] {
        assert!(
            matches!(decode(&array(descr, "(0,)", b"")), Err(Error::Descr(_))),
            "{descr}"
        );
    }
}

#[test]
fn two_untyped_bytes_are_bfloat16_where_that_is_declared() {
    let bytes = array("<V2", "(1,)", &[0x80, 0x3F]);
    assert_eq!(
        decode_for(&bytes, &open(DType::BF16)).unwrap(),
        Tensor::from_vec([1], vec![bf16::ONE]).unwrap()
    );
    assert!(matches!(decode_for(&bytes, &open(DType::F16)), Err(Error::For { .. })));
}

#[test]
fn an_array_of_another_type_is_cast_by_the_rules_of_json() {
    let integers = array(
        "<i8",
        "(2,)",
        &[3, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF],
    );
    assert_eq!(
        decode_for(&integers, &open(DType::F32)).unwrap(),
        Tensor::from_vec([2], vec![3f32, -1.0]).unwrap()
    );
    assert!(matches!(
        decode_for(&integers, &open(DType::U8)),
        Err(Error::Fit(FitError::Cast { .. }))
    ));
    let double = array("<f8", "(1,)", &0.1f64.to_le_bytes());
    assert_eq!(
        decode_for(&double, &open(DType::F32))
            .unwrap()
            .elements::<f32>()
            .unwrap(),
        [0.1]
    );
    let wrong = Port {
        shape: Shape::of([Dim::Fixed(3)]),
        ..open(DType::F64)
    };
    assert_eq!(
        decode_for(&double, &wrong).unwrap_err().to_string(),
        "`x` is declared as float64[3], and the tensor has shape [1]"
    );
}

#[test]
fn files_that_are_cut_or_lengthened_are_refused() {
    let whole = golden(fixture("written"))("cube");
    for end in 0..whole.len() {
        assert!(decode(&whole[..end]).is_err(), "cut at {end}");
    }
    let longer = [&whole[..], b"\0"].concat();
    assert_eq!(refusal(&longer), "the array needs 96 bytes, and 97 follow the header");
    assert_eq!(refusal(&whole[..40]), "the .npy header ends after 40 bytes of 128");
    assert_eq!(
        refusal(b"PK\x03\x04"),
        "this is not an .npy file: it does not begin with \\x93NUMPY"
    );
    assert_eq!(
        refusal(b"\x93NUMPY\x04\x00    "),
        "the .npy format 4.0 is not known; 1.0, 2.0 and 3.0 are"
    );
}

#[test]
fn headers_that_lie_about_sizes_are_refused_before_anything_is_allocated() {
    let vast = "18446744073709551615";
    assert!(matches!(
        decode(&array("<f4", &format!("({vast},)"), b"")),
        Err(Error::Overflow { .. })
    ));
    assert!(matches!(
        decode(&array("<f4", "(4294967296, 4294967296)", b"")),
        Err(Error::Shape(TensorError::Overflow(_)))
    ));
    assert!(matches!(
        decode(&array("<f4", "(1099511627776,)", b"")),
        Err(Error::Length { .. })
    ));
    assert!(refusal(&array("<f4", "(18446744073709551616,)", b"")).contains("a size that fits in memory"));
    assert!(refusal(&array("<f4", "(-1,)", b"")).contains("a size that fits in memory"));
    assert!(matches!(
        decode(&array("<U9999999999999999999", "(1,)", b"")),
        Err(Error::Descr(_))
    ));
    assert!(matches!(
        decode(&array("<U999999999999999999", "(99,)", b"")),
        Err(Error::Overflow { .. })
    ));
    // Strings of no bytes would come out of nothing, in any number.
    assert!(matches!(
        decode(&array("<U0", "(1099511627776,)", b"")),
        Err(Error::Descr(_))
    ));
    assert!(matches!(
        decode(&array("|S0", "(1099511627776,)", b"")),
        Err(Error::Descr(_))
    ));
    assert!(decode(&array("<U0", "(0,)", b"")).is_ok());
    assert!(decode(&array("<f4", "(0, 18446744073709551615)", b"")).is_ok());
    let dims = "1, ".repeat(65);
    assert!(matches!(
        decode(&array("<f4", &format!("({dims})"), &[0; 4])),
        Err(Error::Shape(TensorError::Rank(65)))
    ));
    let mut four_gigabytes = b"\x93NUMPY\x02\x00\xFF\xFF\xFF\xFF".to_vec();
    four_gigabytes.extend([b' '; 100]);
    assert!(matches!(
        decode(&four_gigabytes),
        Err(Error::HeaderLength {
            found_bytes: 4294967295,
            ..
        })
    ));
}

#[test]
fn headers_that_are_not_the_dictionary_are_refused() {
    let full = "'descr': '<f4', 'fortran_order': False, 'shape': ()";
    assert!(decode(&file(1, &format!("{{{full}}}"), &[0; 4])).is_ok());
    assert!(decode(&file(3, &format!("  {{ {full} , }} \n"), &[0; 4])).is_ok());
    for header in [
        "",
        "{",
        "}",
        "[]",
        "{}",
        "{'descr'}",
        "{'descr': }",
        "{'descr': '<f4}",
        "{'descr': '<\\x664'}",
        "{'descr': '<f4', 'fortran_order': false, 'shape': ()}",
        "{'descr': '<f4', 'fortran_order': 0, 'shape': ()}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': 1}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1 1)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1.0,)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (True,)}",
        "{'descr': '<f4' 'fortran_order': False, 'shape': ()}",
        "{'descr': '<f4', 'shape': ()}",
        &format!("{{{full}}} ()"),
        &format!("{{{full}, 'shape': ()}}"),
        &format!("{{{full}, 'more': ()}}"),
        &"(".repeat(60_000),
        &format!(
            "{{'descr': '<f4', 'fortran_order': False, 'shape': {}",
            "(".repeat(60_000)
        ),
        &format!("{{'descr': {}", "[".repeat(60_000)),
    ] {
        let found = decode(&file(1, header, &[0; 4]));
        assert!(
            matches!(
                found,
                Err(Error::HeaderSyntax { .. } | Error::HeaderKey { .. } | Error::HeaderMissing(_) | Error::Structured)
            ),
            "{header:.80}: {found:?}"
        );
    }
    assert_eq!(
        refusal(&file(1, "{'descr': '<f4', 'order': 1}", b"")),
        "the .npy header has \"order\" where `descr`, `fortran_order` and `shape` stand once each"
    );
    assert_eq!(
        refusal(&file(1, "{'descr': '<f4'", b"")),
        "the .npy header is malformed at byte 15: expected `,` or `}`"
    );
}

#[test]
fn strings_that_are_not_unicode_name_the_element() {
    let surrogate = 0xD800u32.to_le_bytes();
    assert_eq!(
        refusal(&array("<U1", "(1,)", &surrogate)),
        "the string at [0] is not valid Unicode"
    );
    assert!(matches!(
        decode(&array("|S1", "(2,)", b"a\xFF")),
        Err(Error::Text { .. })
    ));
}

#[test]
fn strings_that_numpy_would_change_are_not_written() {
    let nul = Tensor::from_vec([1], vec!["a\0".to_owned()]).unwrap();
    assert_eq!(
        encode(&nul).unwrap_err().to_string(),
        "the string at [0] ends with NUL, which an .npy file cannot keep"
    );
    let mut uneven = vec![String::new(); 1 << 16];
    uneven[0] = "x".repeat(1 << 15);
    let uneven = Tensor::from_vec([1 << 16], uneven).unwrap();
    assert!(matches!(encode(&uneven), Err(EncodeError::Padding { .. })));
}

proptest! {
    #[test]
    fn every_tensor_comes_back(tensor in any_tensor()) {
        match encode(&tensor) {
            Ok(bytes) => {
                prop_assert!(same(&decode_for(&bytes, &exact_port(&tensor)).unwrap(), &tensor));
                let data = bytes.len() - tensor.data().len() * tensor.dtype().bits() / 8;
                prop_assert!(tensor.dtype() == DType::String || data % 64 == 0);
            }
            Err(error) => prop_assert!(matches!(error, EncodeError::TrailingNul { .. }), "{error:?}"),
        }
    }

    #[test]
    fn no_file_panics(header in "[{}()\\[\\]',:<>|=fiubUSVO0-9L a-z]{0,60}", data in proptest::collection::vec(any::<u8>(), 0..20)) {
        let _ = decode(&file(1, &header, &data));
        let _ = decode(&data);
    }

    #[test]
    fn no_shape_panics(dims in proptest::collection::vec(any::<u64>(), 0..4), descr in "[<>|](f4|U[0-9]{1,20}|S[0-9]{1,20}|b1)") {
        let shape: String = dims.iter().map(|size| format!("{size},")).collect();
        let _ = decode(&array(&descr, &format!("({shape})"), &[0; 16]));
    }
}
