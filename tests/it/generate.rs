//! Generation on both engines, against what transformers generates with the same weights.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use gpux::gpuxfile::{self, Gpuxfile};
use gpux::onnx::Model;
use gpux::pipeline::{Item, Pipeline, Request, SideFiles};
use gpux::predict;
use gpux::predict::generate::{End, Error, Generated, Generator};
use gpux::runtime::embedded::Embedded;
use gpux::runtime::{
    self, Call, Cancel, Engine, LibrarySources, ModelFiles, Session, SessionOptions, Source, Value, ort,
};
use gpux::tensor::Signature;
use serde::Deserialize;

use crate::support::Gpux;
use crate::support::deps::{fixture, python_environment};

/// Is what transformers made of one input.
#[derive(Deserialize)]
struct Golden {
    sound: Option<String>,
    input: Option<String>,
    tokens: Vec<u32>,
    text: String,
}

fn golden(model: &str) -> Vec<Golden> {
    let path = fixture(&format!("generate/{model}/golden.json"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

impl Golden {
    fn request(&self) -> Request {
        match (&self.sound, &self.input) {
            (Some(sound), _) => Item::Sound(std::fs::read(fixture(&format!("sound/{sound}"))).unwrap()).into(),
            (None, Some(text)) => Item::Text(text.clone()).into(),
            (None, None) => panic!("the golden file has an entry without an input"),
        }
    }
}

/// Is a loaded model that counts its calls.
struct Loaded {
    session: Box<dyn Session>,
    calls: usize,
}

impl predict::Model for Loaded {
    fn signature(&self) -> &Signature {
        self.session.signature()
    }

    fn call(&mut self, inputs: &[Value], keep_on_device: &[bool]) -> Result<Vec<Value>, runtime::Error> {
        self.calls += 1;
        self.session.run(Call {
            inputs,
            keep_on_device,
            deadline: None,
            cancel: &Cancel::default(),
        })
    }
}

/// Is a generator with its models.
struct Subject {
    generator: Generator,
    models: Vec<Loaded>,
}

impl Subject {
    /// Loads the folder of a model with the GPUXfile there, changed.
    fn load(model: &str, engine: &dyn Engine, change: impl Fn(&str) -> String) -> Subject {
        let folder = fixture(&format!("generate/{model}"));
        let text = change(&std::fs::read_to_string(folder.join("GPUXfile")).unwrap());
        let gpuxfile = gpuxfile::parse(&text, "GPUXfile").unwrap();
        let graphs = gpuxfile.graphs();
        let paths = graphs.iter().map(|(_, path)| folder.join(path.value.as_str()));
        let models: Vec<Loaded> = paths.map(|path| load(engine, path)).collect();
        let signatures: Vec<&Signature> = models.iter().map(|model| model.session.signature()).collect();
        let generator = Generator::new(&gpuxfile, &signatures, &side_files(&gpuxfile, &folder));
        Subject {
            generator: generator.unwrap().unwrap(),
            models,
        }
    }

    fn generate(&mut self, request: &Request) -> Result<(Generated, Vec<String>), Error> {
        let mut models: Vec<&mut dyn predict::Model> = Vec::new();
        for model in &mut self.models {
            models.push(model);
        }
        let mut heard = Vec::new();
        let generated = self.generator.generate(&mut models, request, &mut |part| {
            heard.push(part.to_owned());
            ControlFlow::Continue(())
        })?;
        Ok((generated, heard))
    }
}

fn side_files(gpuxfile: &Gpuxfile, folder: &Path) -> SideFiles {
    let files = Pipeline::files(gpuxfile).into_iter();
    files
        .map(|path| (path.clone(), std::fs::read(folder.join(path)).unwrap()))
        .collect()
}

fn load(engine: &dyn Engine, graph: PathBuf) -> Loaded {
    let model = Model::parse(std::fs::read(&graph).unwrap().into()).unwrap();
    let files = ModelFiles {
        graph,
        external: Default::default(),
    };
    let source = Source {
        files: &files,
        model: &model,
        signature: &model.signature().unwrap(),
    };
    Loaded {
        session: engine.load(&source, &SessionOptions::default()).unwrap(),
        calls: 0,
    }
}

fn onnx_runtime() -> ort::Engine {
    let sources = LibrarySources {
        python: vec![python_environment()],
        ..LibrarySources::default()
    };
    ort::Engine::open(&sources).unwrap()
}

/// Runs every entry of a golden file, and compares tokens, text and what was heard on the way.
fn agrees(model: &str, engine: &dyn Engine, change: impl Fn(&str) -> String) {
    let mut subject = Subject::load(model, engine, change);
    let entries = golden(model);
    assert!(entries.len() >= 5);
    for entry in entries {
        let (generated, heard) = subject.generate(&entry.request()).unwrap();
        let what = entry.sound.as_ref().or(entry.input.as_ref());
        assert_eq!(generated.tokens, entry.tokens, "{model} of {what:?}");
        assert_eq!(generated.text, entry.text, "{model} of {what:?}");
        assert_eq!(heard.concat(), entry.text, "{model} of {what:?}");
    }
}

fn as_it_is(text: &str) -> String {
    text.to_owned()
}

/// Leaves out the decoder that has past key values, so that each step reads all the tokens again.
fn without_past(text: &str) -> String {
    text.replace("  decoder_with_past: decoder_with_past.onnx\n", "")
}

#[test]
fn whisper_says_what_transformers_says_of_ten_sounds() {
    assert_eq!(golden("whisper").len(), 10);
    agrees("whisper", &Embedded::new(), as_it_is);
    agrees("whisper", &onnx_runtime(), as_it_is);
}

#[test]
fn whisper_without_past_key_values_says_the_same() {
    agrees("whisper", &Embedded::new(), without_past);
    agrees("whisper", &onnx_runtime(), without_past);
}

#[test]
fn t5_says_what_transformers_says_with_and_without_past_key_values() {
    for change in [as_it_is, without_past] {
        agrees("t5", &Embedded::new(), change);
        agrees("t5", &onnx_runtime(), change);
    }
}

#[test]
fn gpt2_goes_on_as_transformers_does() {
    agrees("gpt2", &Embedded::new(), as_it_is);
    agrees("gpt2", &onnx_runtime(), as_it_is);
}

#[test]
fn the_encoder_runs_once_and_the_decoder_with_past_all_steps_but_the_first() {
    let mut subject = Subject::load("whisper", &Embedded::new(), as_it_is);
    let (generated, _) = subject.generate(&golden("whisper")[0].request()).unwrap();
    assert_eq!(generated.end, End::Length);
    let calls: Vec<usize> = subject.models.iter().map(|model| model.calls).collect();
    assert_eq!(calls, [1, 1, 23]);
}

#[test]
fn generation_ends_at_a_token_at_the_length_or_when_nobody_listens() {
    let entry = &golden("gpt2")[0];
    let mut subject = Subject::load("gpt2", &Embedded::new(), as_it_is);
    assert_eq!(subject.generate(&entry.request()).unwrap().0.end, End::Token);
    let mut short = Subject::load("gpt2", &Embedded::new(), |text| {
        text.replace("max_tokens: 16", "max_tokens: 3")
    });
    let (generated, _) = short.generate(&entry.request()).unwrap();
    assert_eq!(
        (generated.end, &generated.tokens[..]),
        (End::Length, &entry.tokens[..3])
    );
    let mut models: Vec<&mut dyn predict::Model> = vec![&mut subject.models[0]];
    let stopped = subject
        .generator
        .generate(&mut models, &entry.request(), &mut |_| ControlFlow::Break(()));
    assert_eq!(stopped.unwrap().end, End::Stopped);
}

#[test]
fn forced_tokens_stand_where_they_are_forced() {
    let forced = |text: &str| text.replace("start: [1, 2, 3, 4]", "start: 1\n  forced: {1: 2, 2: 3, 3: 4}\n");
    let longer = |text: &str| forced(text).replace("max_tokens: 24", "max_tokens: 27");
    let mut subject = Subject::load("whisper", &Embedded::new(), longer);
    let entry = &golden("whisper")[1];
    let (generated, _) = subject.generate(&entry.request()).unwrap();
    assert_eq!(generated.tokens[..3], [2, 3, 4]);
    // Suppressed first is what would be the first of all, which is forced.
    assert_eq!(generated.tokens[3..], entry.tokens[..]);
}

#[test]
fn an_empty_text_gives_a_decoder_nothing_to_go_on_from() {
    let mut subject = Subject::load("gpt2", &Embedded::new(), as_it_is);
    let error = subject.generate(&Item::Text(String::new()).into()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there are no tokens to go on from: the text is empty, and `generation` has no `start`"
    );
}

/// Gives the layers of an artifact: path and digest of each.
fn layers(gpux: &Gpux, reference: &str) -> Vec<(String, String)> {
    let told = gpux.run(["inspect", reference, "--json"]);
    assert_eq!(told.code, Some(0), "{told:?}");
    let told: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let layers = told["layers"].as_array().unwrap().iter();
    layers
        .map(|layer| (text(&layer["path"]), text(&layer["digest"])))
        .collect()
}

#[test]
fn several_models_are_one_artifact_and_what_they_share_is_one_layer() {
    let gpux = Gpux::new();
    let built = gpux.run(["build", "fixtures/generate/whisper", "-t", "whisper:1"]);
    assert_eq!(built.code, Some(0), "{built:?}");
    let layers = layers(&gpux, "whisper:1");
    let paths: Vec<&str> = layers.iter().map(|(path, _)| path.as_str()).collect();
    for path in [
        "encoder.onnx",
        "decoder.onnx",
        "decoder_with_past.onnx",
        "tokenizer.json",
        "GPUXfile",
    ] {
        assert!(paths.contains(&path), "{paths:?}");
    }
    // The embedding, which both decoders have: 520 tokens of 32 numbers of 4 bytes.
    let shards: Vec<&str> = paths.iter().copied().filter(|path| path.len() == 64).collect();
    assert_eq!(shards.len(), 1, "{paths:?}");
    let again = gpux.run(["build", "fixtures/generate/whisper", "-t", "again:1"]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(self::layers(&gpux, "again:1"), layers);
}

#[test]
fn run_speaks_from_an_artifact_as_transformers_does() {
    for (gpux, provider) in [(Gpux::new(), "embedded"), (Gpux::new().with_onnxruntime(), "cpu")] {
        for model in ["whisper", "t5", "gpt2"] {
            let built = gpux.run([
                "build",
                &format!("fixtures/generate/{model}"),
                "-t",
                &format!("{model}:1"),
            ]);
            assert_eq!(built.code, Some(0), "{built:?}");
            let entries = golden(model);
            let values: Vec<String> = entries
                .iter()
                .map(|entry| match (&entry.sound, &entry.input) {
                    (Some(sound), _) => format!("fixtures/sound/{sound}"),
                    (None, text) => text.clone().unwrap(),
                })
                .collect();
            let mut arguments = vec![
                "run".to_owned(),
                "--provider".into(),
                provider.into(),
                format!("{model}:1"),
            ];
            arguments.extend(values);
            let answer = gpux.run(&arguments);
            assert_eq!(answer.code, Some(0), "{answer:?}");
            let told: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
            assert_eq!(told["provider"], provider);
            for (one, entry) in told["answers"].as_array().unwrap().iter().zip(&entries) {
                let words = &one["answer"]["text"];
                assert_eq!(words["kind"], "text");
                assert_eq!(
                    words["tokens"],
                    serde_json::json!(entry.tokens),
                    "{model} of {}",
                    one["input"]
                );
                assert_eq!(words["text"], serde_json::json!(entry.text));
            }
        }
    }
}

#[test]
fn a_sound_that_is_none_and_an_option_without_meaning_are_one_clear_error_each() {
    let gpux = Gpux::new();
    let answer = gpux.run(["run", "fixtures/generate/whisper", "README.md"]);
    assert_eq!(answer.code, Some(1));
    assert!(answer.stderr.contains("which is not read as a sound"), "{answer:?}");
    let answer = gpux.run(["run", "fixtures/generate/whisper", "fixtures/sound/tone.wav", "--raw"]);
    assert_eq!(answer.code, Some(2));
    assert!(answer.stderr.contains("--raw has no meaning here"), "{answer:?}");
    let answer = gpux.run(["run", "fixtures/generate/whisper"]);
    assert!(answer.stderr.contains("takes a sound's file"), "{answer:?}");
}

/// Builds a folder with the files of a fixture and another GPUXfile; gives what was told.
fn refused(model: &str, change: impl Fn(&str) -> String) -> String {
    let folder = tempfile::tempdir().unwrap();
    for entry in std::fs::read_dir(fixture(&format!("generate/{model}"))).unwrap() {
        let path = entry.unwrap().path();
        std::fs::copy(&path, folder.path().join(path.file_name().unwrap())).unwrap();
    }
    let gpuxfile = folder.path().join("GPUXfile");
    let text = change(&std::fs::read_to_string(&gpuxfile).unwrap());
    std::fs::write(&gpuxfile, text).unwrap();
    let gpux = Gpux::new();
    let answer = gpux.run(["build".as_ref(), folder.path().as_os_str()]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    answer.stderr
}

#[test]
fn models_that_do_not_hang_together_are_refused_at_build() {
    let whisper = |from: &str, to: &str| refused("whisper", |text| text.replace(from, to));
    let told = whisper("  start: [1, 2, 3, 4]\n", "");
    assert!(told.contains("`generation` needs `start`"), "{told}");
    let told = whisper("  decoder:", "  speaker:");
    assert!(told.contains("does not know the model `speaker`"), "{told}");
    let told = whisper("  decoder: decoder.onnx\n", "");
    assert!(told.contains("`generation` needs a model named `decoder`"), "{told}");
    let told = whisper("  decoder: decoder.onnx", "  decoder: decoder_with_past.onnx");
    assert!(
        told.contains("`decoder` has no output `present.0.encoder.key`"),
        "{told}"
    );
    let told = whisper("  encoder: encoder.onnx\n", "");
    assert!(
        told.contains("nothing feeds input `encoder_hidden_states`") || told.contains("log_mel"),
        "{told}"
    );
    let told = whisper("- log_mel", "- log_mel: {bands: 40}");
    assert!(told.contains("makes [1, 40, 100]"), "{told}");
    let told = refused("gpt2", |text| format!("{text}postprocessing: softmax\n"));
    assert!(told.contains("leaves nothing to `postprocessing`"), "{told}");
}

#[test]
fn init_writes_the_gpuxfile_of_an_export_from_the_files_beside_it() {
    for (model, names) in [
        (
            "whisper",
            &[
                ("encoder", "encoder_model"),
                ("decoder", "onnx/decoder_model"),
                ("decoder_with_past", "decoder_with_past_model"),
            ][..],
        ),
        ("t5", &[("encoder", "encoder"), ("decoder", "decoder")][..]),
        ("gpt2", &[("model", "model")][..]),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("onnx")).unwrap();
        let copy = |from: &str, to: &str| {
            std::fs::copy(fixture(&format!("generate/{model}/{from}")), folder.path().join(to)).unwrap();
        };
        for (from, to) in names {
            copy(&format!("{from}.onnx"), &format!("{to}.onnx"));
        }
        copy("tokenizer.json", "tokenizer.json");
        copy("generation_config.json", "generation_config.json");
        if model == "whisper" {
            let config =
                r#"{"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 80, "chunk_length": 1}"#;
            std::fs::write(folder.path().join("preprocessor_config.json"), config).unwrap();
        }
        let gpux = Gpux::new();
        let written = gpux.run([
            "init".as_ref(),
            folder.path().as_os_str(),
            "--name".as_ref(),
            model.as_ref(),
        ]);
        assert_eq!(written.code, Some(0), "{written:?}");
        let again = gpux.run(["init".as_ref(), folder.path().as_os_str()]);
        assert_eq!(again.code, Some(2), "{again:?}");
        let entry = &golden(model)[1];
        let value = match (&entry.sound, &entry.input) {
            (Some(sound), _) => format!("fixtures/sound/{sound}"),
            (None, text) => text.clone().unwrap(),
        };
        let answer = gpux.run(["run".as_ref(), folder.path().as_os_str(), value.as_ref()]);
        assert_eq!(answer.code, Some(0), "{answer:?}");
        let told: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
        let tokens = &told["answers"][0]["answer"]["text"]["tokens"];
        assert_eq!(*tokens, serde_json::json!(entry.tokens), "{model}");
    }
}

/// Makes a WAV of 16 kHz of these samples.
fn wav(samples: &[i16]) -> Vec<u8> {
    let data: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
    let mut bytes = b"RIFF".to_vec();
    bytes.extend((36 + data.len() as u32).to_le_bytes());
    bytes.extend(b"WAVEfmt ");
    bytes.extend(16u32.to_le_bytes());
    bytes.extend([1u16, 1].into_iter().flat_map(u16::to_le_bytes));
    bytes.extend([16_000u32, 32_000].into_iter().flat_map(u32::to_le_bytes));
    bytes.extend([2u16, 16].into_iter().flat_map(u16::to_le_bytes));
    bytes.extend(b"data");
    bytes.extend((data.len() as u32).to_le_bytes());
    bytes.extend(data);
    bytes
}

#[test]
fn a_sound_longer_than_the_model_hears_is_heard_window_by_window() {
    let tone = |hertz: f64, count: usize| -> Vec<i16> {
        let sample = |at: usize| (9000.0 * (at as f64 * hertz * std::f64::consts::TAU / 16_000.0).sin()) as i16;
        (0..count).map(sample).collect()
    };
    let mut subject = Subject::load("whisper", &Embedded::new(), str::to_owned);
    let mut say = |samples: &[i16]| subject.generate(&Item::Sound(wav(samples)).into()).unwrap().0;
    // The model of the fixture hears a second.
    let (first, second) = (tone(220.0, 16_000), tone(700.0, 12_000));
    let both = say(&[first.clone(), second.clone()].concat());
    let (one, other) = (say(&first), say(&second));
    assert_ne!(one.tokens, other.tokens);
    assert_eq!(both.tokens, [one.tokens.clone(), other.tokens].concat());
    assert_eq!(both.text, one.text.clone() + &other.text);
    let barely = say(&[first, second[..1000].to_vec()].concat());
    assert_eq!(
        barely.tokens, one.tokens,
        "less than a tenth of a second more is no window"
    );
}
