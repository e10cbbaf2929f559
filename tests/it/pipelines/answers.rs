//! Outputs become the right answers, in the pixels of the picture that was given.

use std::fs;

use gpux::pipeline::{Answer, Item, Pipeline, Prepared, Request, SideFiles, annotate};
use gpux::tensor::{DType, Signature, Tensor};

use super::{picture, pipeline, port};
use crate::support::deps;

/// Answers one request with the outputs given.
fn answer(pipeline: &Pipeline, prepared: &Prepared, outputs: &[Tensor]) -> Answer {
    let inputs = pipeline.join(&[prepared]).unwrap();
    let mut records = pipeline.answer(&inputs, outputs, &[prepared]).unwrap();
    records.remove(0).answers.remove(0).1
}

fn detector(lines: &str, outputs: Vec<gpux::tensor::Port>) -> (Pipeline, Prepared) {
    let signature = Signature {
        inputs: vec![port("x", DType::F32, &[1, 3, 64, 64])],
        outputs,
    };
    let steps = pipeline(lines, &signature, &SideFiles::new());
    // 84 wide and 62 high: 64 and 47 in the letterbox, 8 from the top.
    let bytes = fs::read(picture("photo.jpg")).unwrap();
    let prepared = steps.prepare(&Request::from(Item::Picture(bytes))).unwrap();
    (steps, prepared)
}

const LETTERBOX: &str = "preprocessing: [{resize: {letterbox: 64}}]";

fn boxes(answer: &Answer) -> Vec<(String, f32, [i32; 4])> {
    match answer {
        Answer::Boxes { boxes, width, height } => {
            assert_eq!((*width, *height), (84, 62));
            let side = |value: f32| value.round() as i32;
            boxes
                .iter()
                .map(|found| (found.label.name(), found.label.score, found.sides.map(side)))
                .collect()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn boxes_of_each_form_come_back_to_the_pictures_own_pixels() {
    // The middle of the picture, a quarter of its size: 16 × 11.75 around (32, 31.5) in the input.
    let expected = vec![("dog".to_owned(), 0.9, [32, 23, 53, 39])];
    let labels = "outputs: {y: {labels: [cat, dog]}}";

    let lines = format!("{LETTERBOX}\n{labels}\npostprocessing: {{y: {{detect: yolov8}}}}");
    let (steps, prepared) = detector(&lines, vec![port("y", DType::F32, &[1, 6, 3])]);
    // Columns: the box, another on it that is worse, one below the least score.
    let columns = [
        [32.0, 33.0, 10.0],
        [31.5, 31.5, 10.0],
        [16.0, 16.0, 4.0],
        [11.75, 11.75, 4.0],
        [0.1, 0.0, 0.2],
        [0.9, 0.8, 0.1f32],
    ];
    let output = Tensor::from_vec([1, 6, 3], columns.concat()).unwrap();
    assert_eq!(boxes(&answer(&steps, &prepared, &[output])), expected);

    let lines = format!("{LETTERBOX}\n{labels}\npostprocessing: {{y: {{detect: yolov5}}}}");
    let (steps, prepared) = detector(&lines, vec![port("y", DType::F32, &[1, 2, 7])]);
    let rows = [
        [32.0, 31.5, 16.0, 11.75, 0.9, 0.1, 1.0],
        [32.0, 31.5, 16.0, 11.75, 0.2, 1.0, 0.0f32],
    ];
    let output = Tensor::from_vec([1, 2, 7], rows.concat()).unwrap();
    assert_eq!(boxes(&answer(&steps, &prepared, &[output])), expected);

    let lines = format!(
        "{LETTERBOX}\n{labels}\npostprocessing: {{y: {{detect: {{form: ssd, scores: s, classes: c, order: yxyx}}}}}}"
    );
    let outputs = vec![
        port("y", DType::F32, &[1, 2, 4]),
        port("s", DType::F32, &[1, 2]),
        port("c", DType::F32, &[1, 2]),
    ];
    let (steps, prepared) = detector(&lines, outputs);
    let sides = [25.625, 24.0, 37.375, 40.0, 0.0, 0.0, 0.0, 0.0].map(|side: f32| side / 64.0);
    let outputs = [
        Tensor::from_vec([1, 2, 4], sides.to_vec()).unwrap(),
        Tensor::from_vec([1, 2], vec![0.9f32, 0.0]).unwrap(),
        Tensor::from_vec([1, 2], vec![1f32, -1.0]).unwrap(),
    ];
    assert_eq!(boxes(&answer(&steps, &prepared, &outputs)), expected);
}

#[test]
fn a_mask_covers_the_picture_that_was_given() {
    let lines = format!("{LETTERBOX}\noutputs: {{y: {{labels: [paper, ink]}}}}\npostprocessing: [mask]");
    let (steps, prepared) = detector(&lines, vec![port("y", DType::F32, &[1, 2, 16, 16])]);
    // The left half of the input is of class 1.
    let plane = |left: f32| (0..256).map(move |at| if at % 16 < 8 { left } else { 0.5 });
    let scores: Vec<f32> = plane(0.0).chain(plane(1.0)).collect();
    let found = answer(&steps, &prepared, &[Tensor::from_vec([1, 2, 16, 16], scores).unwrap()]);
    let Answer::Mask(mask) = &found else {
        panic!("{found:?}")
    };
    assert_eq!((mask.width, mask.height, mask.classes.len()), (84, 62, 84 * 62));
    assert!(
        mask.classes
            .chunks(84)
            .all(|row| row[..42].iter().all(|class| *class == 1))
    );
    assert!(
        mask.classes
            .chunks(84)
            .all(|row| row[42..].iter().all(|class| *class == 0))
    );
    assert_eq!(mask.labels.len(), 2);
    assert!((mask.labels[0].score - 0.5).abs() < 1e-6);
    let drawn = annotate(&fs::read(picture("photo.jpg")).unwrap(), &[&found]).unwrap();
    assert!(drawn.starts_with(b"\x89PNG"));
}

#[test]
fn classes_and_text_are_named_by_the_labels() {
    let signature = Signature {
        inputs: vec![port("x", DType::F32, &[-1, 2])],
        outputs: vec![port("y", DType::F32, &[-1, 5, 4])],
    };
    let ctc = |lines: &str| {
        let lines = format!("outputs: {{y: {{labels: [_, a, b, '|']}}}}\n{lines}");
        pipeline(&lines, &signature, &SideFiles::new())
    };
    let rows = [[0, 1], [1, 1], [1, 2], [3, 1], [2, 2]].map(|[class, _]| class);
    let mut scores = vec![0f32; 20];
    for (moment, class) in rows.iter().enumerate() {
        scores[moment * 4 + class] = 1.0;
    }
    let request = Request::from(Item::Tensor(Tensor::from_vec([1, 2], vec![0f32; 2]).unwrap()));
    let output = Tensor::from_vec([1, 5, 4], scores).unwrap();
    let steps = ctc("postprocessing: [{ctc: {delimiter: '|'}}, {template: '<{text}>'}]");
    let prepared = steps.prepare(&request).unwrap();
    let text = answer(&steps, &prepared, &[output]);
    assert_eq!(text, Answer::Text { text: "<a b>".into() });

    let signature = Signature {
        outputs: vec![port("y", DType::F32, &[-1, 3])],
        ..signature
    };
    let scores = || vec![Tensor::from_vec([1, 3], vec![1f32, 3.0, 2.0]).unwrap()];
    let labels = "outputs: {y: {labels: [x, y, z]}}";
    let steps = pipeline(
        &format!("{labels}\npostprocessing: [softmax, {{top_k: 2}}]"),
        &signature,
        &SideFiles::new(),
    );
    let found = serde_json::to_value(answer(&steps, &prepared, &scores())).unwrap();
    assert_eq!(found["labels"][0]["label"], "y");
    assert_eq!(found["labels"][1]["index"], 2);
    assert!((found["labels"][0]["score"].as_f64().unwrap() - 0.66524).abs() < 1e-4);
    let steps = pipeline(
        &format!("{labels}\npostprocessing: [{{threshold: 1.5}}]"),
        &signature,
        &SideFiles::new(),
    );
    let found = serde_json::to_value(answer(&steps, &prepared, &scores())).unwrap();
    assert_eq!(found["labels"].as_array().unwrap().len(), 2);
}

#[test]
fn tokens_are_written_as_text() {
    let signature = Signature {
        inputs: vec![port("x", DType::F32, &[-1, 2])],
        outputs: vec![port("y", DType::I64, &[-1, -1])],
    };
    let tokenizer = fs::read(deps::fixture("texts/bytes.json")).unwrap();
    let read = tokenizers_of(&tokenizer, "one naïve 😀 café");
    let files = SideFiles::from([("tokenizer.json".to_owned(), tokenizer)]);
    let steps = pipeline("postprocessing: [decode_tokens]", &signature, &files);
    let request = Request::from(Item::Tensor(Tensor::from_vec([1, 2], vec![0f32; 2]).unwrap()));
    let prepared = steps.prepare(&request).unwrap();
    let output = Tensor::from_vec([1, read.len()], read).unwrap();
    let text = answer(&steps, &prepared, &[output]);
    assert_eq!(
        text,
        Answer::Text {
            text: "one naïve 😀 café".into()
        }
    );
}

/// The numbers of a text, by the pipeline itself.
fn tokenizers_of(tokenizer: &[u8], text: &str) -> Vec<i64> {
    let signature = Signature {
        inputs: vec![port("input_ids", DType::I64, &[-1, -1])],
        outputs: vec![],
    };
    let files = SideFiles::from([("tokenizer.json".to_owned(), tokenizer.to_vec())]);
    let steps = pipeline("preprocessing: [tokenize]", &signature, &files);
    let prepared = steps.prepare(&Request::from(Item::Text(text.into()))).unwrap();
    steps.join(&[&prepared]).unwrap()[0].elements::<i64>().unwrap().to_vec()
}
