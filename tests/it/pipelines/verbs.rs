//! Pictures and texts on the command line.

use std::fs;

use gpux::onnx::proto::GraphProto;
use gpux::tensor::DType;
use serde_json::json;

use super::picture;
use crate::support::{Gpux, deps, graph};

const PHOTO: &str = "fixtures/photo/samples/seven.png";

fn label(answer: &serde_json::Value) -> &serde_json::Value {
    &answer["answer"]["probabilities"]["labels"][0]["label"]
}

#[test]
fn folders_patterns_and_stdin_make_a_batch_in_order() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["b.png", "a.png", "c.PNG"] {
        fs::copy(deps::repository().join(PHOTO), folder.path().join(name)).unwrap();
    }
    fs::write(folder.path().join("notes.txt"), "no picture").unwrap();
    fs::write(folder.path().join("d.png"), "no picture either").unwrap();
    let gpux = Gpux::new();
    let path = folder.path().to_str().unwrap();
    let answer = gpux.run(["run", "fixtures/photo", path, "--batch-size", "2"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(answer.stderr.contains("1 of 4 have no answer"), "{answer:?}");
    let document: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    let answers = document["answers"].as_array().unwrap();
    let names: Vec<&str> = answers
        .iter()
        .map(|one| one["input"].as_str().unwrap().rsplit('/').next().unwrap())
        .collect();
    assert_eq!(names, ["a.png", "b.png", "c.PNG", "d.png"]);
    assert!(answers[..3].iter().all(|one| label(one) == "seven"), "{document}");
    assert!(
        answers[3]["error"]
            .as_str()
            .unwrap()
            .contains("no picture that gpux reads"),
        "{document}"
    );

    let document = gpux.json(["run", "fixtures/photo", &format!("{path}/[ab].png")]);
    assert_eq!(document["answers"].as_array().unwrap().len(), 2);
    let answer = gpux.run_with_stdin(
        ["run", "fixtures/photo", "-"],
        &fs::read(deps::repository().join(PHOTO)).unwrap(),
    );
    assert!(answer.stdout.contains("\"seven\""), "{answer:?}");
    for (value, said) in [
        ("nothing.png", "`nothing.png` does not exist"),
        ("*.jpeg", "no file matches `*.jpeg`"),
    ] {
        let answer = gpux.run(["run", "fixtures/photo", value]);
        assert!(answer.code == Some(3) && answer.stderr.contains(said), "{answer:?}");
    }
    let answer = gpux.run(["run", "fixtures/photo"]);
    assert!(
        answer.code == Some(2) && answer.stderr.contains("takes a picture's file"),
        "{answer:?}"
    );
}

#[test]
fn lines_of_a_batch_are_paths_or_objects_and_each_has_an_answer() {
    let gpux = Gpux::new();
    let image = json!({"image": PHOTO});
    let lines = format!("{PHOTO}\n\n{}\n{image}\nnothing.png\n{{\"sound\": 1}}\n", json!(PHOTO));
    let answer = gpux.run_with_stdin(
        ["run", "fixtures/photo", "--batch", "-", "--batch-size", "3"],
        lines.as_bytes(),
    );
    assert_eq!(answer.code, Some(1), "{answer:?}");
    let answers: Vec<serde_json::Value> = answer
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(answers.len(), 5);
    assert!(answers[..3].iter().all(|one| label(one) == "seven"), "{answer:?}");
    assert!(
        answers[3]["error"].as_str().unwrap().contains("nothing.png"),
        "{answer:?}"
    );
    assert!(
        answers[4]["error"]
            .as_str()
            .unwrap()
            .contains("there is no `sound` to give"),
        "{answer:?}"
    );
    assert_eq!(answers[4]["index"], 4);
}

#[test]
fn tensors_may_still_be_given_and_taken() {
    let gpux = Gpux::new();
    let answer = gpux.json(["run", "fixtures/photo", "--input", "@fixtures/digits/seven.npy"]);
    assert_eq!(label(&answer["answers"][0]), "seven", "{answer}");
    let answer = gpux.json(["run", "fixtures/photo", PHOTO, "--raw"]);
    assert_eq!(answer["outputs"]["digit"]["data"], json!([7]));
    let answer = gpux.json([
        "run",
        "fixtures/digits",
        "fixtures/digits/one.npy",
        "fixtures/digits/two.npy",
    ]);
    assert_eq!(answer["outputs"]["digit"]["data"], json!([1, 2]));
}

#[test]
fn what_was_found_is_drawn_on_a_copy_of_the_picture() {
    let folder = tempfile::tempdir().unwrap();
    let boxes: Vec<u8> = [42f32, 31.0, 20.0, 20.0, 0.9]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let graph = GraphProto {
        node: vec![
            graph::node("Identity", &["x"], &["unused"]),
            graph::node("Identity", &["boxes"], &["y"]),
        ],
        initializer: vec![graph::tensor("boxes", DType::F32, &[1, 5, 1], &boxes)],
        input: vec![graph::port("x", DType::F32, &[1, 3, 62, 84])],
        output: vec![
            graph::port("y", DType::F32, &[1, 5, 1]),
            graph::port("unused", DType::F32, &[1, 3, 62, 84]),
        ],
        ..Default::default()
    };
    graph::write(folder.path(), graph, vec![]);
    let text = "name: finder\nmodel: model.onnx\noutputs: {y: {labels: [thing]}}\n\
                preprocessing: [{resize: {size: {height: 62, width: 84}}}]\npostprocessing: {y: {detect: yolov8}}\n";
    fs::write(folder.path().join("GPUXfile"), text).unwrap();
    fs::copy(picture("photo.jpg"), folder.path().join("photo.jpg")).unwrap();
    let gpux = Gpux::new().in_folder(folder.path());
    let answer = gpux.json(["run", ".", "photo.jpg", "--annotate", "found.png"]);
    assert_eq!(
        answer["answers"][0]["answer"]["y"]["boxes"][0]["label"], "thing",
        "{answer}"
    );
    assert_eq!(
        answer["answers"][0]["answer"]["y"]["boxes"][0]["box"],
        json!([32.0, 21.0, 52.0, 41.0])
    );
    assert!(
        fs::read(folder.path().join("found.png"))
            .unwrap()
            .starts_with(b"\x89PNG")
    );
    let answer = gpux.run(["run", ".", "photo.jpg", "photo.jpg", "--annotate", "found.png"]);
    assert!(
        answer.code == Some(2) && answer.stderr.contains("--annotate draws"),
        "{answer:?}"
    );
}

#[test]
fn init_takes_the_steps_from_a_hugging_face_folder() {
    let folder = tempfile::tempdir().unwrap();
    let graph = GraphProto {
        node: vec![graph::node("Identity", &["pixel_values"], &["logits"])],
        input: vec![graph::port("pixel_values", DType::F32, &[1, 3, 8, 8])],
        output: vec![graph::port("logits", DType::F32, &[1, 3, 8, 8])],
        ..Default::default()
    };
    graph::write(folder.path(), graph, vec![]);
    let write = |name: &str, value: serde_json::Value| fs::write(folder.path().join(name), value.to_string()).unwrap();
    write(
        "preprocessor_config.json",
        json!({"do_resize": true, "size": {"height": 8, "width": 8}, "resample": 3, "do_center_crop": false,
               "do_rescale": true, "rescale_factor": 0.00392156862745098, "do_normalize": true,
               "image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}),
    );
    write(
        "config.json",
        json!({"architectures": ["ViTForImageClassification"], "id2label": {"0": "cat", "1": "no", "2": "dog: big"}}),
    );
    let gpux = Gpux::new().in_folder(folder.path());
    gpux.ok(["init"]);
    let text = fs::read_to_string(folder.path().join("GPUXfile")).unwrap();
    for line in [
        "labels: [\"cat\", \"no\", \"dog: big\"]",
        "  - resize: {size: {height: 8, width: 8}, filter: bicubic}\n  - rescale\n  - normalize: {mean: [0.5,0.5,0.5], std: [0.5,0.5,0.5]}\n",
        "postprocessing:\n  - softmax\n  - top_k: 5\n",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    fs::copy(picture("photo.jpg"), folder.path().join("photo.jpg")).unwrap();
    gpux.ok(["build", ".", "-t", "vit:1"]);

    // Steps that do not fit the model are left out, and it still builds.
    write(
        "preprocessor_config.json",
        json!({"size": {"shortest_edge": 9}, "image_mean": [0.5], "image_std": [0.5]}),
    );
    let answer = gpux.run(["init", "--force", "."]);
    assert!(
        answer.code == Some(0) && answer.stderr.contains("`preprocessing` is left out"),
        "{answer:?}"
    );
    gpux.ok(["build", ".", "-t", "vit:2"]);
}

#[test]
fn init_of_a_sentence_transformer_gives_embeddings_at_once() {
    let folder = tempfile::tempdir_in(deps::repository().join("target")).unwrap();
    let model = deps::real_model("minilm");
    for file in ["model.onnx", "tokenizer.json"] {
        fs::hard_link(model.with_file_name(file), folder.path().join(file)).unwrap();
    }
    let write = |name: &str, value: serde_json::Value| fs::write(folder.path().join(name), value.to_string()).unwrap();
    fs::create_dir(folder.path().join("1_Pooling")).unwrap();
    write(
        "1_Pooling/config.json",
        json!({"pooling_mode_cls_token": false, "pooling_mode_mean_tokens": true}),
    );
    write(
        "modules.json",
        json!([{"type": "sentence_transformers.models.Normalize"}]),
    );
    write(
        "config.json",
        json!({"architectures": ["BertModel"], "max_position_embeddings": 512}),
    );
    write(
        "tokenizer_config.json",
        json!({"model_max_length": 256, "pad_token": "[PAD]"}),
    );
    let gpux = Gpux::new().in_folder(folder.path());
    gpux.ok(["init", "--name", "minilm"]);
    let answer = gpux.json(["run", ".", "a sentence"]);
    let values = answer["answers"][0]["answer"]["last_hidden_state"]["values"]
        .as_array()
        .unwrap();
    let length: f64 = values.iter().map(|value| value.as_f64().unwrap().powi(2)).sum();
    assert!(values.len() == 384 && (length - 1.0).abs() < 1e-5, "{length}");
}

#[test]
fn bench_answers_pictures_again_and_again_while_others_are_prepared() {
    let gpux = Gpux::new();
    let picture = "fixtures/photo/samples/seven.png";
    let report = gpux.json([
        "bench",
        "fixtures/photo",
        picture,
        picture,
        "--batch",
        "2",
        "--runs",
        "3",
        "--warmup",
        "1",
    ]);
    crate::contracts::command("bench", &report);
    assert_eq!((&report["values"], &report["runs"]), (&json!(2), &json!(3)));
    assert_eq!(report["batch"], json!(2));
    let wrong = gpux.run(["bench", "fixtures/mlp", "x"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(
        wrong.stderr.contains("takes tensors, and makes none of a value"),
        "{wrong:?}"
    );
    let missing = gpux.run(["bench", "fixtures/photo", "no-such.png"]);
    assert!(
        missing.code != Some(0) && missing.stderr.contains("no-such.png"),
        "{missing:?}"
    );
    let processor = gpux.run(["bench", "fixtures/mlp", "--devices", "0,1", "--runs", "1", "--no-tune"]);
    assert_eq!(processor.code, Some(2), "{processor:?}");
    assert!(
        processor.stderr.contains("--devices has no meaning for embedded"),
        "{processor:?}"
    );
}
