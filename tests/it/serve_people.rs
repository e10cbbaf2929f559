//! `gpux serve` for people: pictures, texts and sounds in, answers out, in its own form, KServe's and OpenAI's.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::server::{Response, Server, request};
use crate::support::{Gpux, deps};

const PHOTO: &str = "fixtures/photo/samples/seven.png";
const MLP: &str = "mlp=fixtures/mlp/model.onnx";

fn photo() -> Vec<u8> {
    fs::read(deps::repository().join(PHOTO)).unwrap()
}

fn predict(server: &Server, model: &str, kind: &str, body: &[u8]) -> Response {
    let kind = format!("Content-Type: {kind}");
    server.request("POST", &format!("/v1/models/{model}/predict"), &[&kind], body)
}

/// Holds a document to its entry of the schema.
fn conforms(document: &Value, entry: &str) {
    let path = deps::repository().join("registry-spec/inference-api.schema.json");
    let mut schema: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    schema["$ref"] = format!("#/$defs/{entry}").into();
    let schema = jsonschema::draft202012::new(&schema).unwrap();
    let errors: Vec<String> = schema.iter_errors(document).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:#?}\n{document:#}");
}

/// The best label of the first answer.
fn label(document: &Value) -> &Value {
    &document["answers"][0]["answer"]["probabilities"]["labels"][0]["label"]
}

/// A form of files, each under one name.
fn form(name: &str, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body = Vec::new();
    for (file, bytes) in files {
        let head = format!("--xyz\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{file}\"\r\n\r\n");
        body.extend(head.as_bytes());
        body.extend(*bytes);
        body.extend(b"\r\n");
    }
    body.extend(b"--xyz--\r\n");
    body
}

const FORM: &str = "multipart/form-data; boundary=xyz";

#[test]
fn a_picture_comes_bare_in_a_form_and_in_json_and_is_answered_alike() {
    let server = Server::start(&Gpux::new(), &["fixtures/photo"]);
    let wanted = predict(&server, "photo", "image/png", &photo());
    assert_eq!(wanted.status, 200, "{wanted:?}");
    let wanted = wanted.json();
    conforms(&wanted, "prediction");
    conforms(&server.get("/v1/models/photo").json(), "described");
    assert_eq!(label(&wanted), "seven");
    assert_eq!(wanted["version"], "1.0.0");
    for name in ["preprocess", "queue", "infer", "postprocess", "total"] {
        assert!(wanted["timing_ms"][name].is_number(), "{wanted}");
    }
    let packed = STANDARD.encode(photo());
    let bodies = [
        ("application/octet-stream", photo()),
        (FORM, form("image", &[("seven.png", &photo())])),
        (FORM, form("file", &[("seven.png", &photo())])),
        ("application/json", json!({"input": packed}).to_string().into_bytes()),
        (
            "application/json",
            json!({"input": {"b64": packed}}).to_string().into_bytes(),
        ),
        (
            "application/json",
            json!({"inputs": [{"image": packed}]}).to_string().into_bytes(),
        ),
        (
            "",
            json!({"input": format!("data:image/png;base64,{packed}")})
                .to_string()
                .into_bytes(),
        ),
    ];
    for (kind, body) in bodies {
        let answer = predict(&server, "photo", kind, &body);
        assert_eq!(answer.status, 200, "{kind}: {answer:?}");
        assert_eq!(
            answer.json()["answers"][0]["answer"],
            wanted["answers"][0]["answer"],
            "{kind}"
        );
    }
}

#[test]
fn many_things_make_a_batch_and_one_that_fails_fails_alone() {
    let server = Server::start(&Gpux::new(), &["fixtures/photo"]);
    let body = form(
        "file",
        &[("a.png", &photo()), ("b.txt", b"no picture"), ("c.png", &photo())],
    );
    let document = predict(&server, "photo", FORM, &body).json();
    conforms(&document, "prediction");
    let answers = document["answers"].as_array().unwrap();
    assert_eq!(answers.len(), 3);
    assert_eq!(document["rows"], 2, "{document}");
    let names: Vec<&Value> = answers.iter().map(|one| &one["input"]).collect();
    assert_eq!(names, ["a.png", "b.txt", "c.png"]);
    assert_eq!(answers[0]["answer"], answers[2]["answer"]);
    assert!(
        answers[1]["error"].as_str().unwrap().contains("no picture"),
        "{document}"
    );
    let alone = predict(&server, "photo", "image/png", b"no picture");
    assert_eq!(alone.status, 400);
    assert!(
        alone.json()["error"].as_str().unwrap().contains("no picture"),
        "{alone:?}"
    );
}

#[test]
fn tensors_come_as_lists_with_and_without_the_batch_axis_and_as_npy() {
    let server = Server::start(&Gpux::new(), &[MLP]);
    let data = |answer: Response| {
        assert_eq!(answer.status, 200, "{answer:?}");
        conforms(&answer.json(), "prediction");
        answer.json()["answers"][0]["answer"]["y"].clone()
    };
    let wanted = data(predict(
        &server,
        "mlp",
        "application/json",
        b"{\"input\": [[1, 2, 3, 4]]}",
    ));
    assert_eq!((&wanted["kind"], &wanted["shape"]), (&json!("tensor"), &json!([1, 3])));
    let row = data(predict(
        &server,
        "mlp",
        "application/json",
        b"{\"input\": [1, 2, 3, 4]}",
    ));
    assert_eq!(row, wanted);
    let named = data(predict(
        &server,
        "mlp",
        "application/json",
        b"{\"input\": {\"x\": [[1, 2, 3, 4]]}}",
    ));
    assert_eq!(named, wanted);
    let tensor = gpux::tensor::Tensor::from_vec([1, 4], vec![1f32, 2.0, 3.0, 4.0]).unwrap();
    let file = gpux::tensor::npy::encode(&tensor).unwrap();
    assert_eq!(data(predict(&server, "mlp", "application/octet-stream", &file)), wanted);
    let body = b"{\"instances\": [[1, 2, 3, 4], [5, 6, 7, 8]]}";
    let document = server.post("/v1/models/mlp:predict", body).json();
    let predictions = document["predictions"].as_array().unwrap();
    assert_eq!(predictions.len(), 2);
    assert_eq!(predictions[0], wanted["data"][0]);
}

#[test]
fn what_is_none_is_refused_and_told_what_would_be_one() {
    let server = Server::start(&Gpux::new(), &["fixtures/photo", MLP]);
    let json = "application/json";
    for (model, kind, body, status, told) in [
        ("photo", json, "{}", 400, "one of `input`"),
        (
            "photo",
            json,
            "{\"input\": \"x\", \"inputs\": []}",
            400,
            "one of `input`",
        ),
        ("photo", json, "{\"inputs\": []}", 400, "empty"),
        ("photo", json, "{\"picture\": \"x\"}", 400, "`picture` is none of these"),
        ("photo", json, "{\"input\": \"!\"}", 400, "base64"),
        ("photo", json, "{\"input\": [\"a\", \"b\"]}", 400, "must be a picture"),
        ("photo", json, "{\"input\": {\"sound\": \"x\"}}", 400, "`image`"),
        ("photo", json, "{\"input\": ", 400, "expected a value"),
        ("photo", "text/plain", "seven", 415, "takes a picture"),
        ("photo", "application/x-unknown", "seven", 415, "Content-Type"),
        ("photo", "multipart/form-data", "seven", 400, "form"),
        ("photo", FORM, "--xyz--\r\n", 400, "no field"),
        ("mlp", json, "{\"input\": \"text\"}", 400, "`x`"),
        ("mlp", json, "{\"input\": [1, 2, 3]}", 400, "3"),
        ("mlp", json, "{\"input\": {\"z\": [1, 2, 3, 4]}}", 400, "`x`"),
        ("mlp", "image/png", "x", 415, "takes tensors"),
        ("nobody", json, "{\"input\": [1]}", 404, "no model"),
    ] {
        let answer = predict(&server, model, kind, body.as_bytes());
        let error = answer.json()["error"].as_str().unwrap().to_owned();
        assert_eq!(answer.status, status, "{body}: {error}");
        assert!(error.contains(told), "{body}: {error}");
    }
    let wrong = form("sound", &[("seven.png", &photo())]);
    let answer = predict(&server, "photo", FORM, &wrong);
    assert!(
        answer.json()["error"].as_str().unwrap().contains("a field `sound`"),
        "{answer:?}"
    );
    let deep = format!("{{\"input\": {}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(predict(&server, "mlp", json, deep.as_bytes()).status, 400);
    assert_eq!(server.post("/v1/models/mlp", b"{}").status, 405);
}

#[test]
fn cosines_are_those_of_the_texts_of_one_body() {
    let folder = deps::minilm("[mean_pool, cosine_similarity]");
    let server = Server::start(&Gpux::new(), &[folder.path().to_str().unwrap()]);
    let body = json!({"inputs": ["A man is eating food.", "A man is eating a piece of bread."]});
    let document = predict(&server, "minilm", "application/json", body.to_string().as_bytes()).json();
    let values = &document["answers"][0]["answer"]["last_hidden_state"]["values"];
    assert!((values[1].as_f64().unwrap() - 0.755).abs() <= 0.001, "{document}");
    assert_eq!(document["answers"][1]["input"], "A man is eating a piece of bread.");
}

#[test]
fn models_that_generate_answer_with_what_run_says() {
    let gpux = Gpux::new();
    let server = Server::start(&gpux, &["fixtures/generate/gpt2", "fixtures/generate/t5"]);
    for (model, folder, text) in [
        ("tiny-gpt2", "fixtures/generate/gpt2", "the cat"),
        ("tiny-t5", "fixtures/generate/t5", "the cat"),
    ] {
        let wanted = gpux.json(["run", folder, text]);
        let wanted = &wanted["answers"][0]["answer"];
        let body = json!({"input": text}).to_string();
        let document = predict(&server, model, "application/json", body.as_bytes()).json();
        assert_eq!(&document["answers"][0]["answer"], wanted, "{document}");
    }
    let described = server.get("/v1/models/tiny-gpt2").json();
    assert_eq!(described["gpux"]["apis"], json!(["predict", "completions"]));
    assert_eq!(described["gpux"]["generates"], true);
}

#[test]
fn a_stream_of_words_is_counted_once_also_where_it_is_refused_before_it_begins() {
    let server = Server::start(&Gpux::new(), &["fixtures/generate/gpt2"]);
    let ask = |temperature: f64| {
        let body = json!({
            "model": "tiny-gpt2", "prompt": "the cat", "max_tokens": 2, "stream": true, "temperature": temperature,
        });
        server.post("/v1/completions", body.to_string().as_bytes())
    };
    let refused = ask(0.7);
    assert_eq!(refused.status, 400, "{refused:?}");
    let streamed = ask(0.0);
    assert!(
        String::from_utf8_lossy(&streamed.body).contains("[DONE]"),
        "{streamed:?}"
    );
    let metrics = request(server.metrics, "GET", "/metrics", &[], b"").body;
    let metrics = String::from_utf8(metrics).unwrap();
    for code in [400, 200] {
        let counted = format!(r#"gpux_requests_total{{model="tiny-gpt2",version="1.0.0",code="{code}",tenant=""}} 1"#);
        assert!(metrics.contains(&counted), "{metrics}");
    }
}

#[test]
fn openai_s_own_client_gets_embeddings_completions_and_transcriptions() {
    let folder = deps::minilm("[mean_pool, l2_normalize]");
    let minilm = folder.path().to_str().unwrap();
    let gpux = Gpux::new();
    let models = [minilm, "fixtures/generate/gpt2", "fixtures/generate/whisper"];
    let server = Server::start(&gpux, &models);
    let output = std::process::Command::new(deps::python())
        .arg(deps::repository().join("tests/it/serve/openai_client.py"))
        .arg(format!("http://{}/v1", server.http))
        .arg(deps::fixture("sound/vowel.wav"))
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{}", server.told.lock().unwrap());
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [models, embeddings, words, ended, heard, refused @ ..] = lines.as_slice() else {
        panic!("{lines:?}");
    };
    assert_eq!(models["models"], json!(["minilm", "tiny-gpt2", "tiny-whisper"]));
    assert!(
        (embeddings["cosine"].as_f64().unwrap() - 0.755).abs() <= 0.001,
        "{embeddings}"
    );
    assert_eq!(
        (&embeddings["length"], &embeddings["tokens"]),
        (&json!(384), &json!(19))
    );
    let wanted = gpux.json(["run", "fixtures/generate/gpt2", "the cat"]);
    let wanted = wanted["answers"][0]["answer"]["text"]["text"]
        .as_str()
        .unwrap()
        .to_owned();
    assert!(
        wanted.starts_with(words["text"].as_str().unwrap().trim_end_matches('\u{fffd}')),
        "{words}: {wanted}"
    );
    assert_eq!(words["streamed"], words["text"]);
    assert!(words["parts"].as_u64().unwrap() > 1, "{words}");
    assert_eq!((&words["tokens"], &words["streamed_tokens"]), (&json!(5), &json!(5)));
    assert_eq!(
        (&words["reason"], &words["reasons"]),
        (&json!("length"), &json!(["length"]))
    );
    let (whole, stop) = (ended["whole"].as_str().unwrap(), ended["stop"].as_str().unwrap());
    let before = whole.split(stop).next().unwrap();
    assert!(before.len() < whole.len(), "{ended}");
    assert_eq!((&ended["cut"], &ended["streamed"]), (&json!(before), &json!(before)));
    assert_eq!(ended["reasons"], json!(["stop", "stop"]));
    let wanted = gpux.json(["run", "fixtures/generate/whisper", "fixtures/sound/vowel.wav"]);
    assert_eq!(heard["heard"], wanted["answers"][0]["answer"]["text"]["text"]);
    let codes: Vec<&Value> = refused.iter().map(|line| &line["refused"]).collect();
    assert_eq!(codes, [404, 400, 400, 400], "{refused:?}");
    assert!(refused[1]["why"].as_str().unwrap().contains("greedily"), "{refused:?}");
}

/// A tone that is longer than the model hears at once, as WAV of 16 bits at 16 kHz.
fn long_tone(seconds: u32) -> Vec<u8> {
    let samples =
        (0..16_000 * seconds).map(|at| ((at as f32 / 9.0).sin() * 8_000.0 * ((at / 7_000) % 3) as f32 / 2.0) as i16);
    let data: Vec<u8> = samples.flat_map(i16::to_le_bytes).collect();
    let mut file = b"RIFF".to_vec();
    file.extend((36 + data.len() as u32).to_le_bytes());
    file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    file.extend(16_000u32.to_le_bytes());
    file.extend(32_000u32.to_le_bytes());
    file.extend(b"\x02\0\x10\0data");
    file.extend((data.len() as u32).to_le_bytes());
    file.extend(data);
    file
}

#[test]
fn a_long_sound_is_heard_to_its_end_as_run_hears_it() {
    let gpux = Gpux::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("long.wav");
    fs::write(&path, long_tone(65)).unwrap();
    let wanted = gpux.json(["run", "fixtures/generate/whisper", path.to_str().unwrap()]);
    let wanted = &wanted["answers"][0]["answer"]["text"];
    let server = Server::start(&gpux, &["fixtures/generate/whisper"]);
    let short = predict(&server, "tiny-whisper", "audio/wav", &long_tone(1)).json();
    let long = predict(&server, "tiny-whisper", "audio/wav", &fs::read(&path).unwrap()).json();
    assert_eq!(&long["answers"][0]["answer"]["text"], wanted, "{long}");
    let tokens = |document: &Value| {
        document["answers"][0]["answer"]["text"]["tokens"]
            .as_array()
            .unwrap()
            .len()
    };
    assert!(tokens(&long) > tokens(&short), "{short}\n{long}");
}
