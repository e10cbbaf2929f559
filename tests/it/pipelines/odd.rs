//! What is damaged, hostile or of the wrong kind is one clear error.

use std::error::Error as _;
use std::fs;

use gpux::pipeline::{Item, Pipeline, Request, SideFiles};
use gpux::tensor::{DType, Signature};

use super::{picture, pipeline, port};
use crate::support::deps;

fn pictures() -> Pipeline {
    let signature = Signature {
        inputs: vec![port("x", DType::F32, &[-1, 3, -1, -1])],
        outputs: vec![],
    };
    pipeline("preprocessing: [{resize: 8}]", &signature, &SideFiles::new())
}

/// The error that a picture makes, with its causes.
fn fault(bytes: impl Into<Vec<u8>>) -> String {
    let Err(error) = pictures().prepare(&Request::from(Item::Picture(bytes.into()))) else {
        return "nothing".to_owned();
    };
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[test]
fn a_picture_that_is_cut_off_is_said_to_be() {
    for name in [
        "photo.jpg",
        "progressive.jpg",
        "jpegs/restarts-420.jpg",
        "jpegs/progressive-422.jpg",
        "rgb.png",
        "sixteen.png",
        "lossless.webp",
        "first.gif",
        "rgb.bmp",
        "rgb.tiff",
    ] {
        let whole = fs::read(picture(name)).unwrap();
        // The last part of the GIF is of its second picture.
        for share in [2, 3, 10]
            .into_iter()
            .filter(|share| *share < 10 || name != "first.gif")
        {
            let text = fault(&whole[..whole.len() * (share - 1) / share]);
            assert!(
                text.contains("cut off") || text.contains("cannot be decoded"),
                "{name} without its last {share}th: {text}"
            );
        }
    }
    let jpeg = fs::read(picture("photo.jpg")).unwrap();
    assert_eq!(
        fault(&jpeg[..jpeg.len() - 2]),
        "the picture is cut off: its file ends before it does"
    );
}

#[test]
fn what_is_no_picture_is_said_to_be_none() {
    assert_eq!(fault([]), "the picture is empty: it has 0 bytes");
    for bytes in [
        b"A sentence and not a picture.".to_vec(),
        b"%PDF-1.7".to_vec(),
        vec![0; 4096],
        b"RIFF\0\0\0\0WAVE".to_vec(),
    ] {
        assert_eq!(
            fault(bytes),
            "this is no picture that gpux reads: its first bytes are not those of PNG, JPEG, WebP, GIF, BMP or TIFF"
        );
    }
    let cmyk = fs::read(picture("cmyk.jpg")).unwrap();
    assert_eq!(
        fault(cmyk),
        "the picture has the colours of print (CMYK); convert it to RGB first"
    );
}

/// A JPEG whose header says something else at a place of it: after the length, the bits, both sides, the number of colours.
fn jpeg(at: usize, bytes: &[u8]) -> Vec<u8> {
    let mut whole = fs::read(picture("photo.jpg")).unwrap();
    let frame = whole.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    whole[frame + at..frame + at + bytes.len()].copy_from_slice(bytes);
    whole
}

#[test]
fn a_jpeg_of_twelve_bits_is_refused_by_them() {
    assert_eq!(
        fault(jpeg(4, &[12])),
        "the picture has 12 bits a channel, and gpux reads JPEGs of 8; convert it first"
    );
}

#[test]
fn a_jpeg_whose_end_comes_before_its_last_row_is_cut_off() {
    let whole = fs::read(picture("photo.jpg")).unwrap();
    let early = [&whole[..whole.len() * 2 / 3], &[0xff, 0xd9]].concat();
    assert_eq!(fault(early), "the picture is cut off: its file ends before it does");
}

#[test]
fn a_jpeg_of_endless_passes_is_refused() {
    let whole = fs::read(picture("progressive.jpg")).unwrap();
    let (body, end) = whole.split_at(whole.len() - 2);
    let scan = body.windows(2).rposition(|pair| pair == [0xff, 0xda]).unwrap();
    let passes = body[scan..].repeat(200);
    let text = fault([body, &passes, end].concat());
    assert!(text.contains("cannot be decoded: ") && text.contains("limit"), "{text}");
}

/// A BMP that says it has so many pixels, and has none.
fn bmp(width: i32, height: i32) -> Vec<u8> {
    let mut bytes = b"BM".to_vec();
    bytes.extend([54u32, 0, 54, 40].iter().flat_map(|word| word.to_le_bytes()));
    bytes.extend([width, height].iter().flat_map(|side| side.to_le_bytes()));
    bytes.extend([1u16, 24].iter().flat_map(|word| word.to_le_bytes()));
    bytes.extend([0u8; 24]);
    bytes
}

/// A PNG whose header says it has so many pixels; the rest is that of a small one.
fn png(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = fs::read(picture("rgb.png")).unwrap();
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let mut crc = flate2::Crc::new();
    crc.update(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&crc.sum().to_be_bytes());
    bytes
}

#[test]
fn a_picture_of_50000_by_50000_is_refused_before_it_is_decoded() {
    let side = 50_000u16.to_be_bytes();
    for bytes in [
        bmp(50_000, 50_000),
        png(50_000, 50_000),
        jpeg(5, &[side, side].concat()),
    ] {
        let text = fault(bytes);
        assert!(
            text.contains("50000 × 50000 pixels, and gpux decodes at most 100 million"),
            "{text}"
        );
    }
    for bytes in [bmp(0, 5), png(0, 0), jpeg(7, &[0, 0])] {
        let text = fault(bytes);
        assert!(
            text.contains("nothing in it") || text.contains("cannot be decoded"),
            "{text}"
        );
    }
}

#[test]
fn any_byte_changed_in_a_picture_is_read_or_refused() {
    let steps = pictures();
    for name in [
        "photo.jpg",
        "rgb.png",
        "palette.png",
        "lossless.webp",
        "first.gif",
        "rgb.bmp",
        "rgb.tiff",
        "turned.jpg",
        "jpegs/chroma-440.jpg",
        "jpegs/progressive-422.jpg",
        "jpegs/restarts-420.jpg",
        "jpegs/passes-420.jpg",
    ] {
        let whole = fs::read(picture(name)).unwrap();
        let step = (whole.len() / 120).max(1);
        for at in (0..whole.len()).step_by(step) {
            for value in [0x00, 0xff, 0x7f] {
                let mut bytes = whole.clone();
                bytes[at] = value;
                let _ = steps
                    .prepare(&Request::from(Item::Picture(bytes)))
                    .map_err(|error| error.to_string());
            }
        }
    }
}

#[test]
fn texts_of_any_length_and_script_are_cut_and_joined() {
    let names = ["input_ids", "attention_mask"];
    let signature = Signature {
        inputs: names.map(|name| port(name, DType::I64, &[-1, -1])).to_vec(),
        outputs: vec![],
    };
    let tokenizer = fs::read(deps::fixture("texts/bytes.json")).unwrap();
    let files = SideFiles::from([("tokenizer.json".to_owned(), tokenizer)]);
    let steps = pipeline(
        "preprocessing: {tokenizer: tokenizer.json, max_length: 64}",
        &signature,
        &files,
    );
    let texts = [
        String::new(),
        "😀 ".repeat(100),
        "long ".repeat(200_000),
        "\0\u{feff}".to_owned(),
    ];
    assert!(texts[2].len() >= 1_000_000);
    let prepared: Vec<_> = texts
        .iter()
        .map(|text| steps.prepare(&Request::from(Item::Text(text.clone()))).unwrap())
        .collect();
    let inputs = steps.join(&prepared.iter().collect::<Vec<_>>()).unwrap();
    assert_eq!(inputs[0].shape(), [4, 64]);
    let mask = inputs[1].elements::<i64>().unwrap();
    assert_eq!(mask[..64].iter().sum::<i64>(), 0, "an empty text has no token here");
    assert_eq!(mask[64..192].iter().sum::<i64>(), 128);

    let error = steps.prepare(&Request::from(Item::Picture(vec![1]))).unwrap_err();
    assert_eq!(error.to_string(), "`text` takes text, and this is a picture");
    let unpadded = pipeline("preprocessing: [tokenize: {padding: none}]", &signature, &files);
    let prepared =
        ["a", "a longer text"].map(|text| unpadded.prepare(&Request::from(Item::Text(text.into()))).unwrap());
    let error = unpadded.join(&prepared.iter().collect::<Vec<_>>()).unwrap_err();
    assert!(
        error.to_string().contains("do not join in one call without `padding`"),
        "{error}"
    );
}

#[test]
fn a_tokenizer_that_is_none_is_refused_by_name() {
    let signature = Signature {
        inputs: vec![port("input_ids", DType::I64, &[-1, -1])],
        outputs: vec![],
    };
    let text = "name: m\nmodel: m.onnx\npreprocessing: {tokenizer: a/t.json}\n";
    let file = gpux::gpuxfile::parse(text, "GPUXfile").unwrap();
    let with = |files: SideFiles| Pipeline::new(&file, &signature, &files).unwrap_err().to_string();
    assert_eq!(
        with(SideFiles::new()),
        "the artifact has no file `a/t.json`, which a step reads"
    );
    for bytes in [&b"{}"[..], b"[]", b"\xff", b"{\"model\": {\"type\": \"Unknown\"}}"] {
        let files = SideFiles::from([("a/t.json".to_owned(), bytes.to_vec())]);
        assert_eq!(with(files), "`a/t.json` is not a tokenizer that gpux reads");
    }
}
