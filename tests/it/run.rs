//! `gpux run`: values in, answers out.

use std::fs;

use insta::assert_debug_snapshot;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Gpux, deps};

const DIGITS: &str = "fixtures/digits";
const SEVEN: &str = "@fixtures/digits/seven.npy";

#[test]
fn a_folder_runs_on_the_embedded_engine_with_nothing_installed() {
    let answer = Gpux::new().run(["run", DIGITS, "--input", SEVEN]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let document: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(
        document["outputs"]["digit"],
        json!({"dtype": "int64", "shape": [1], "data": [7]})
    );
    assert_eq!(document["provider"], "embedded");
    assert!(answer.stderr.starts_with("ran on embedded"), "{answer:?}");
}

#[test]
fn all_ten_digits_are_read_by_both_engines_alike() {
    let gpux = Gpux::new().with_onnxruntime();
    let names = [
        "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    ];
    for (digit, name) in names.into_iter().enumerate() {
        let input = format!("@fixtures/digits/{name}.npy");
        for provider in ["embedded", "cpu"] {
            let document = gpux.json(["run", DIGITS, "--provider", provider, "--input", &input]);
            assert_eq!(
                document["outputs"]["digit"]["data"],
                json!([digit]),
                "{name} on {provider}"
            );
            assert_eq!(document["provider"], provider);
        }
    }
}

#[test]
fn the_document_keeps_the_contract() {
    let gpux = Gpux::new().with_onnxruntime();
    let built = gpux.json(["build", "--json", DIGITS]);
    let document = gpux.json(["run", "digits:1.0.0", "--input", SEVEN]);
    let keys: Vec<&String> = document.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "model",
            "digest",
            "provider",
            "options",
            "tuned",
            "refused",
            "outputs",
            "timing_ms"
        ]
    );
    assert_eq!(document["model"], "digits:1.0.0");
    assert_eq!(document["digest"], built["digest"]);
    let outputs: Vec<&String> = document["outputs"].as_object().unwrap().keys().collect();
    assert_eq!(outputs, ["probabilities", "digit"], "the model's order");
    assert!(document["timing_ms"]["load"].is_number() && document["timing_ms"]["run"].is_number());
    let folder = gpux.json(["run", DIGITS, "--input", SEVEN]);
    assert_eq!(
        folder["digest"], built["digest"],
        "a folder has the digest that build would give"
    );
}

#[test]
fn a_provider_that_was_asked_for_and_cannot_run_is_an_error() {
    let answer = Gpux::new().run(["run", DIGITS, "--provider", "cpu", "--input", SEVEN]);
    assert_debug_snapshot!(answer);
}

#[test]
fn values_come_as_json_and_from_every_kind_of_file() {
    let gpux = Gpux::new().with_onnxruntime();
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let model = "fixtures/mlp/model.onnx";
    let inline = gpux.json(["run", model, "--input", "[[1, 2, 3, 4]]"]);
    let expected = &inline["outputs"];
    let input = gpux.json(["inspect", "--json", model])["inputs"][0]["name"]
        .as_str()
        .unwrap()
        .to_owned();
    fs::write(path("x.json"), "[[1, 2, 3, 4]]").unwrap();
    let raw: Vec<u8> = [1f32, 2.0, 3.0, 4.0]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    fs::write(path("x.raw"), &raw).unwrap();
    fs::write(path("map.json"), format!("{{\"{input}\": [[1, 2, 3, 4]]}}")).unwrap();
    for arguments in [
        vec!["--input".to_owned(), format!("@{}", path("x.json"))],
        vec!["--input".to_owned(), format!("{input}=[[1.0, 2.0, 3.0, 4.0]]")],
        vec!["--input".to_owned(), format!("{input}=@{}", path("x.raw"))],
        vec!["--inputs".to_owned(), format!("@{}", path("map.json"))],
        vec!["--inputs".to_owned(), format!("{{\"{input}\": [[1, 2, 3, 4]]}}")],
    ] {
        let mut command = vec!["run".to_owned(), model.to_owned()];
        command.extend(arguments);
        assert_eq!(&gpux.json(&command)["outputs"], expected, "{command:?}");
    }
    let piped = gpux.run_with_stdin(["run", model, "--input", "@-"], b"[[1, 2, 3, 4]]");
    let piped: Value = serde_json::from_str(&piped.stdout).unwrap();
    assert_eq!(&piped["outputs"], expected);
}

#[test]
fn outputs_go_to_every_kind_of_file_and_come_back() {
    let gpux = Gpux::new();
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (npy, all) = (format!("probabilities={}", path("p.npy")), path("all.npz"));
    let (json_file, raw) = (path("all.json"), format!("digit={}", path("d.raw")));
    let arguments = [
        "run", DIGITS, "--input", SEVEN, "--output", &npy, "--output", &all, "--output", &json_file, "--output", &raw,
    ];
    let answer = gpux.run(arguments);
    assert_eq!((answer.code, answer.stdout.as_str()), (Some(0), ""), "{answer:?}");
    assert_eq!(fs::read(path("d.raw")).unwrap(), 7i64.to_le_bytes());
    assert!(fs::read(path("p.npy")).unwrap().starts_with(b"\x93NUMPY"));
    let document: Value = serde_json::from_slice(&fs::read(path("all.json")).unwrap()).unwrap();
    assert_eq!(document["digit"], json!([7]));
    let several = gpux.run(["run", DIGITS, "--input", SEVEN, "--output", &path("x.npy")]);
    assert_eq!(several.code, Some(2));
    assert!(
        several.stderr.contains("probabilities") && several.stderr.contains("NAME=FILE"),
        "{several:?}"
    );
    let unknown = gpux.run(["run", DIGITS, "--input", SEVEN, "--output", &path("x.txt")]);
    assert_eq!(unknown.code, Some(2));
}

#[test]
fn wrong_inputs_say_what_was_expected() {
    let gpux = Gpux::new();
    let refused = |input: &[&str], words: &[&str]| {
        let answer = gpux.run(["run", DIGITS].iter().chain(input));
        assert!(
            matches!(answer.code, Some(1..=3)) && answer.stdout.is_empty(),
            "{answer:?}"
        );
        for word in words {
            assert!(answer.stderr.contains(word), "`{word}`: {answer:?}");
        }
    };
    refused(
        &[],
        &["needs the input `image` (float32 [N, 1, 8, 8])", "--input image=VALUE"],
    );
    refused(&["--input", "imag=1"], &["no input `imag`", "did you mean `image`?"]);
    refused(&["--input", "[[1, 2], [3]]"], &["image"]);
    refused(&["--input", "[1, 2]"], &["image", "[N, 1, 8, 8]"]);
    refused(&["--input", "[\"one\"]"], &["image"]);
    refused(&["--input", "{"], &["image"]);
    refused(&["--input", "@nothing.npy"], &["nothing.npy"]);
    refused(&["--input", "@Cargo.toml"], &["Cargo.toml", ".npy"]);
    refused(&["--input", SEVEN, "--input", SEVEN], &["`image` is given twice"]);
    refused(&["--inputs", "{\"other\": 1}"], &["other", "image"]);
}

#[test]
fn a_batch_answers_each_line_in_order_and_goes_on_after_a_failure() {
    let gpux = Gpux::new();
    let folder = TempDir::new().unwrap();
    let line = |value: f64| {
        let image = vec![vec![vec![vec![value; 8]; 8]; 1]; 1];
        json!({"image": image}).to_string()
    };
    let lines: Vec<String> = (0..9)
        .map(|at| {
            if at == 4 {
                "{\"image\": [1, 2]}".to_owned()
            } else {
                line(f64::from(at))
            }
        })
        .collect();
    let file = folder.path().join("in.jsonl");
    fs::write(&file, lines.join("\n")).unwrap();
    let file = file.to_string_lossy();
    let one_by_one = gpux.run(["run", DIGITS, "--batch", &file]);
    assert_eq!(one_by_one.code, Some(1), "{one_by_one:?}");
    assert!(one_by_one.stderr.contains("1 of 9 lines failed"), "{one_by_one:?}");
    let answers: Vec<Value> = one_by_one
        .stdout
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (at, answer) in answers.iter().enumerate() {
        assert_eq!(answer["index"], at);
        assert_eq!(answer.get("error").is_some(), at == 4, "{answer}");
        assert_eq!(answer.get("outputs").is_some(), at != 4, "{answer}");
    }
    for size in ["2", "4", "64"] {
        let stacked = gpux.run(["run", DIGITS, "--batch", &file, "--batch-size", size]);
        assert_eq!(stacked.code, Some(1));
        let stacked: Vec<Value> = stacked
            .stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(stacked.len(), 9);
        for (left, right) in stacked.iter().zip(&answers) {
            assert_eq!(left["outputs"]["digit"], right["outputs"]["digit"], "batches of {size}");
            assert_eq!(left.get("error"), right.get("error"));
        }
    }
    let good = lines[..4].join("\n");
    let piped = gpux.run_with_stdin(["run", DIGITS, "--batch", "-"], good.as_bytes());
    assert_eq!((piped.code, piped.stdout.lines().count()), (Some(0), 4), "{piped:?}");
}

#[test]
fn what_is_not_there_is_not_found() {
    let gpux = Gpux::new();
    for operand in ["digits:9", "./nowhere", "nowhere.onnx", "/nowhere"] {
        let answer = gpux.run(["run", operand]);
        assert_eq!(answer.code, Some(3), "{operand}: {answer:?}");
    }
}

#[test]
fn a_name_that_is_a_folder_and_a_tag_asks_which() {
    let folder = TempDir::new().unwrap();
    let gpux = Gpux::new().in_folder(folder.path());
    let model = deps::fixture("mlp/model.onnx");
    gpux.ok(["build", &*model.to_string_lossy(), "-t", "mlp"]);
    fs::create_dir(folder.path().join("mlp")).unwrap();
    fs::write(folder.path().join("mlp/GPUXfile"), "name: mlp\nmodel: model.onnx\n").unwrap();
    fs::copy(model, folder.path().join("mlp/model.onnx")).unwrap();
    let answer = gpux.run(["run", "mlp", "--input", "[[1,2,3,4]]"]);
    assert_eq!(answer.code, Some(2), "{answer:?}");
    assert!(answer.stderr.contains("./mlp"), "{answer:?}");
    for chosen in ["./mlp", "mlp:latest"] {
        gpux.ok(["run", chosen, "--provider", "embedded", "--input", "[[1,2,3,4]]"]);
    }
}

#[test]
fn errors_are_one_json_document_when_json_is_asked_for() {
    let gpux = Gpux::new();
    for arguments in [&["run", "--json", "digits:9"][..], &["run", "--json", "--nonsense"]] {
        let answer = gpux.run(arguments);
        assert!(answer.stdout.is_empty() && answer.code != Some(0), "{answer:?}");
        let document: Value = serde_json::from_str(&answer.stderr).unwrap_or_else(|_| panic!("{answer:?}"));
        let keys: Vec<&String> = document["error"].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["code", "message", "causes", "hints"]);
    }
}

#[test]
fn external_data_runs_from_the_store_on_both_engines() {
    let gpux = Gpux::new().with_onnxruntime();
    gpux.ok(["build", "fixtures/external", "-t", "external:1"]);
    let signature = gpux.json(["inspect", "--json", "external:1"]);
    let input = &signature["inputs"][0];
    let shape: Vec<usize> = input["shape"]
        .as_array()
        .unwrap()
        .iter()
        .map(|dim| dim.as_u64().unwrap_or(1) as usize)
        .collect();
    let value = shape
        .iter()
        .rev()
        .fold(json!(1), |value, &size| json!(vec![value; size]))
        .to_string();
    let run = |operand: &str, provider: &str| gpux.json(["run", operand, "--provider", provider, "--input", &value]);
    let numbers = |document: &Value| -> Vec<f64> {
        let row = &document["outputs"]["y"]["data"][0];
        row.as_array()
            .unwrap()
            .iter()
            .map(|number| number.as_f64().unwrap())
            .collect()
    };
    let expected = numbers(&run("fixtures/external", "cpu"));
    for provider in ["cpu", "embedded"] {
        let stored = run("external:1", provider);
        assert_eq!(
            stored["outputs"],
            run("fixtures/external", provider)["outputs"],
            "{provider}"
        );
        for (left, right) in numbers(&stored).into_iter().zip(&expected) {
            assert!((left - right).abs() < 1e-6, "{provider}: {left} and {right}");
        }
    }
}

#[test]
fn a_closed_pipe_ends_in_silence() {
    let gpux = Gpux::new();
    let mut child = gpux
        .command(["run", DIGITS, "--input", SEVEN, "--quiet"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(output.status.code(), Some(0));
}
