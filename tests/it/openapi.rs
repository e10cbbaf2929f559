//! The document at `/openapi.json`, and the server beside it.

use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::server::{Response, Server};
use crate::support::{Gpux, deps};

const MODELS: [&str; 5] = [
    "fixtures/mlp",
    "fixtures/photo",
    "fixtures/digits",
    "fixtures/generate/gpt2",
    "fixtures/generate/whisper",
];

fn python(script: &str, argument: &str) -> String {
    let output = Command::new(deps::python())
        .args(["-c", script, argument])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_document_is_one_of_openapi_3_1_and_is_served_as_it_stands() {
    let server = Server::start(&Gpux::new(), &["fixtures/mlp"]);
    let path = deps::repository().join("registry-spec/openapi.json");
    let answer = server.get("/openapi.json");
    assert_eq!(answer.body, std::fs::read(&path).unwrap());
    assert_eq!(answer.json()["openapi"], "3.1.1");
    let validate = "import json, sys, openapi_spec_validator as validator\n\
        validator.validate(json.load(open(sys.argv[1])), cls=validator.OpenAPIV31SpecValidator)\n\
        print('valid')";
    assert_eq!(python(validate, path.to_str().unwrap()).trim(), "valid");
}

/// Compares an answer with what the document says of it.
#[track_caller]
fn conforms(document: &Value, method: &str, path: &str, answer: &Response) {
    let responses = &document["paths"][path][method]["responses"];
    let status = answer.status.to_string();
    let said = match responses.get(&status) {
        Some(said) => said,
        None => &responses["default"],
    };
    let resolved = match said["$ref"].as_str() {
        Some(reference) => document.pointer(&reference[1..]).unwrap(),
        None => said,
    };
    let mut lines = answer.head.lines();
    let kind = lines.find_map(|line| line.strip_prefix("content-type: "));
    let kind = kind.unwrap_or_default().split(';').next().unwrap();
    let schema = &resolved["content"][kind]["schema"];
    assert!(
        !schema.is_null(),
        "{method} {path}: {status} in {kind} is not documented"
    );
    if kind == "application/json" {
        let schema = json!({"allOf": [schema], "components": document["components"]});
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let wrong: Vec<String> = validator
            .iter_errors(&answer.json())
            .map(|error| error.to_string())
            .collect();
        assert!(wrong.is_empty(), "{method} {path}: {wrong:?} {}", answer.json());
    }
}

#[test]
fn answers_of_every_kind_are_as_the_document_says() {
    let server = Server::start(&Gpux::new(), &MODELS);
    let document = server.get("/openapi.json").json();
    let mut answered = 0;
    for path in document["paths"].as_object().unwrap().keys() {
        if document["paths"][path].get("get").is_none() {
            continue;
        }
        let real = path.replace("{model}", "mlp").replace("{version}", "1.0.0");
        let answer = server.get(&real);
        assert_eq!(answer.status, 200, "{real}: {answer:?}");
        if !answer.body.is_empty() {
            conforms(&document, "get", path, &answer);
        }
        answered += 1;
    }
    assert!(answered > 15, "{answered}");
    let fixture = |path: &str| std::fs::read(deps::fixture(path)).unwrap();
    let json = |value: Value| value.to_string().into_bytes();
    let tensor = json!({"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]});
    let sound = fixture("sound/vowel.wav");
    let form = [
        b"--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\ntiny-whisper\r\n--b\r\n".as_slice(),
        b"Content-Disposition: form-data; name=\"file\"; filename=\"a.wav\"\r\n\r\n",
        &sound,
        b"\r\n--b--\r\n",
    ]
    .concat();
    let (predict, one) = ("/v1/models/{model}/predict", "application/json");
    let forms = "multipart/form-data; boundary=b";
    let text = json(json!({"model": "tiny-gpt2", "prompt": "hi", "max_tokens": 4}));
    let cases: [(&str, &str, &str, Vec<u8>, u16); 13] = [
        (
            "/v2/models/{model}/infer",
            "mlp",
            one,
            json(json!({"inputs": [tensor]})),
            200,
        ),
        ("/v2/models/{model}/infer", "mlp", one, json(json!({"inputs": []})), 400),
        ("/v2/models/{model}/infer", "nothing", one, json(json!({})), 404),
        ("/v2/repository/index", "", one, json(json!({"ready": true})), 200),
        (predict, "mlp", one, json(json!({"input": {"x": [[1, 2, 3, 4]]}})), 200),
        (predict, "photo", "image/png", fixture("photo/samples/seven.png"), 200),
        (predict, "photo", "image/png", b"none".to_vec(), 400),
        (predict, "photo", "audio/wav", sound.clone(), 415),
        (predict, "tiny-whisper", "audio/wav", sound.clone(), 200),
        (
            "/v1/models/{model}:predict",
            "mlp",
            one,
            json(json!({"instances": [[1, 2, 3, 4]]})),
            200,
        ),
        ("/v1/completions", "", one, text, 200),
        (
            "/v1/embeddings",
            "",
            one,
            json(json!({"model": "mlp", "input": "hi"})),
            400,
        ),
        ("/v1/audio/transcriptions", "", forms, form, 200),
    ];
    for (path, model, kind, body, status) in cases {
        let real = path.replace("{model}", model);
        let answer = server.request("POST", &real, &[&format!("Content-Type: {kind}")], &body);
        assert_eq!(
            answer.status,
            status,
            "{real}: {}",
            String::from_utf8_lossy(&answer.body)
        );
        conforms(&document, "post", path, &answer);
    }
}

#[test]
fn schemathesis_finds_no_answer_that_is_not_documented_and_no_failure() {
    let server = Server::start(&Gpux::new(), &MODELS);
    // It leaves what it found where it runs.
    let folder = TempDir::new().unwrap();
    let output = Command::new(deps::python_environment().join("bin/st"))
        .args(["run", &format!("http://{}/openapi.json", server.http)])
        .args([
            "--seed",
            "7",
            "--max-examples",
            "12",
            "--phases",
            "examples,coverage,fuzzing",
        ])
        .args([
            "--checks",
            "the_server_does_not_fail,status_code_conformance,content_type_conformance",
        ])
        .args([
            "--checks",
            "response_headers_conformance,response_schema_conformance,unsupported_method",
        ])
        .args(["--warnings", "off", "--no-color", "--request-timeout", "30"])
        .env("SCHEMATHESIS_HOOKS", deps::repository().join("tests/it/serve/hooks.py"))
        .current_dir(folder.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{told}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let tested = told.lines().find_map(|line| line.trim().strip_prefix("Tested: "));
    let tested: usize = tested.unwrap().parse().unwrap();
    let document = server.get("/openapi.json").json();
    let paths = document["paths"].as_object().unwrap().values();
    let operations: usize = paths.map(|each| each.as_object().unwrap().len()).sum();
    // It does not call the document that it reads.
    assert_eq!(tested + 1, operations, "{told}");
    assert_eq!(server.stop().code(), Some(0));
}
