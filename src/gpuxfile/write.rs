use std::collections::HashSet;
use std::ops::Deref;

use crate::tensor::{Dim, Port, Signature};

use super::Value;
use super::check::from_model;
use super::error::{Error, PortKind, Problem};
use super::file::{Gpuxfile, Labels, PortDeclaration, Runtime, Serving};
use super::generation::write_generation;
use super::name::ArtifactName;
use super::quantity::{write_duration, write_memory};
use super::source::Located;
use super::steps::write_pipelines;
use super::yaml::{Writer, scalar};

impl Gpuxfile {
    /// Writes the file as it goes into the artifact: keys in canonical order, inputs and outputs filled in from the
    /// model, every value in one form, no comments. Equal files give equal text.
    ///
    /// Reading the text gives a file equal to [`filled`](Gpuxfile::filled). Where a model's own inputs and outputs would
    /// make the text too long to be read, only the declared ones are written.
    /// Errors: the declared values alone make more than [`SIZE_LIMIT_BYTES`](super::SIZE_LIMIT_BYTES).
    pub fn resolved(&self, signature: &Signature) -> Result<String, Error> {
        let filled = self.filled(signature);
        let readable = |text: &str| super::parse(text, "GPUXfile").is_ok();
        let text = write(&filled);
        if readable(&text) {
            return Ok(text);
        }
        let declared = |all: &[PortDeclaration], given: &[PortDeclaration]| {
            let given: HashSet<&str> = given.iter().map(|port| port.name.as_str()).collect();
            let kept = all.iter().filter(|port| given.contains(port.name.as_str()));
            kept.cloned().collect()
        };
        let text = write(&Gpuxfile {
            inputs: declared(&filled.inputs, &self.inputs),
            outputs: declared(&filled.outputs, &self.outputs),
            ..filled
        });
        match readable(&text) {
            true => Ok(text),
            false => Err(Error::new(self.trace.source.whole(), Problem::TooLarge)),
        }
    }
}

/// Writes every key that is set, in canonical order.
fn write(file: &Gpuxfile) -> String {
    let mut w = Writer::default();
    w.entry("apiVersion", "gpux/v1");
    w.entry("name", &scalar(file.name.as_str()));
    if let Some(version) = &file.version {
        // Three numbers joined by two points are text to every reader.
        w.entry("version", &version.to_string());
    }
    write_text(&mut w, "description", file.description.as_deref());
    w.texts("licenses", &file.licenses);
    w.texts("authors", &file.authors);
    if file.models.is_empty() {
        w.below("model", |w| w.entry("source", &scalar(file.model.as_str())));
    } else {
        w.below("models", |w| {
            for (name, path) in &file.models {
                w.below(name, |w| w.entry("source", &scalar(path.as_str())));
            }
        });
    }
    write_ports(&mut w, "inputs", &file.inputs);
    write_ports(&mut w, "outputs", &file.outputs);
    let files: Vec<String> = file.files.iter().map(|file| file.as_str().to_owned()).collect();
    w.texts("files", &files);
    write_runtime(&mut w, &file.runtime);
    write_serving(&mut w, &file.serving);
    write_pipelines(&mut w, file);
    if let Some(generation) = &file.generation {
        write_generation(&mut w, &generation.value);
    }
    if !file.metadata.is_empty() {
        w.value("metadata", &Value::Map(file.metadata.clone()));
    }
    w.text
}

fn write_text(w: &mut Writer, key: &str, text: Option<&str>) {
    if let Some(text) = text {
        w.entry(key, &scalar(text));
    }
}

fn write_ports(w: &mut Writer, key: &str, ports: &[PortDeclaration]) {
    if ports.is_empty() {
        return;
    }
    w.below(key, |w| {
        for port in ports {
            let name = format!("name: {}", scalar(port.name.as_str()));
            w.item(&name, |w| write_port(w, port));
        }
    });
}

fn write_port(w: &mut Writer, port: &PortDeclaration) {
    if let Some(dtype) = &port.dtype {
        w.entry("type", dtype.name());
    }
    if let Some(shape) = &port.shape {
        w.entry("shape", &write_shape(shape));
    }
    write_text(w, "description", port.description.as_deref());
    match &port.labels {
        Some(Labels::List(labels)) if labels.is_empty() => w.entry("labels", "[]"),
        Some(Labels::List(labels)) => w.texts("labels", labels),
        Some(Labels::File(path)) => w.entry("labels", &scalar(path.as_str())),
        None => {}
    }
    if let Some(required) = port.required {
        w.entry("required", &required.to_string());
    }
    if let Some(length) = port.max_length {
        w.entry("max_length", &length.to_string());
    }
}

fn write_shape(dims: &[Located<Dim>]) -> String {
    let dim = |dim: &Located<Dim>| match dim.deref() {
        Dim::Fixed(size) => size.to_string(),
        Dim::Symbol(name) => scalar(name),
        Dim::Unknown => "-1".to_owned(),
    };
    format!("[{}]", dims.iter().map(dim).collect::<Vec<_>>().join(", "))
}

fn write_runtime(w: &mut Writer, runtime: &Runtime) {
    if *runtime == Runtime::default() {
        return;
    }
    w.below("runtime", |w| {
        let providers: Vec<String> = runtime.providers.iter().map(|name| name.value.clone()).collect();
        w.texts("provider", &providers);
        if !runtime.provider_options.is_empty() {
            let text = |text: &String| Value::Text(text.clone());
            let options = runtime.provider_options.iter().map(|provider| {
                let options = provider.options.iter().map(|(name, value)| (name.clone(), text(value)));
                (provider.provider.value.clone(), Value::Map(options.collect()))
            });
            w.value("provider_options", &Value::Map(options.collect()));
        }
        if let Some(threads) = &runtime.threads {
            w.entry("threads", &threads.to_string());
        }
        if let Some(timeout) = &runtime.timeout {
            w.entry("timeout", &write_duration(timeout.value));
        }
        if let Some(memory_bytes) = &runtime.memory_bytes {
            w.entry("memory", &write_memory(memory_bytes.value));
        }
    });
}

fn write_serving(w: &mut Writer, serving: &Serving) {
    if *serving == Serving::default() {
        return;
    }
    w.below("serving", |w| {
        write_text(w, "host", serving.host.as_deref());
        if let Some(port) = serving.port {
            w.entry("port", &port.to_string());
        }
        if let Some(size) = serving.max_batch_size {
            w.entry("max_batch_size", &size.to_string());
        }
        for (key, time) in [
            ("max_queue_delay", serving.max_queue_delay),
            ("timeout", serving.timeout),
        ] {
            if let Some(time) = time {
                w.entry(key, &write_duration(time));
            }
        }
        if let Some(instances) = serving.instances {
            w.entry("instances", &instances.to_string());
        }
    });
}

/// The most inputs, and the most outputs, that a draft lists: what a person reads.
const DRAFT_PORTS: usize = 32;

/// Is what a draft says beyond the model: what was found out from files beside it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DraftSteps {
    /// The value of `preprocessing`, as YAML on one line or on lines of a list.
    pub preprocessing: Vec<String>,
    /// The value of `postprocessing`, likewise.
    pub postprocessing: Vec<String>,
    /// An output, and where its labels are: a list in brackets, or a path.
    pub labels: Option<(String, String)>,
}

/// Writes a GPUXfile for a model, with comments that say what else it could have; it builds as it is.
///
/// `name` is made legal; `model_path` is the path of the ONNX file, relative to where the GPUXfile goes.
pub fn draft(name: &str, model_path: &str, signature: &Signature) -> String {
    draft_with(name, model_path, signature, &DraftSteps::default())
}

/// Writes a GPUXfile as [`draft`] does, with steps.
pub fn draft_with(name: &str, model_path: &str, signature: &Signature, steps: &DraftSteps) -> String {
    let name = ArtifactName::resembling(name).map_or_else(|| "model".to_owned(), |name| name.to_string());
    let mut w = Writer::default();
    w.line("# Read by `gpux build`. Every key is described in registry-spec/gpuxfile.md.");
    w.line("");
    w.entry("name", &scalar(&name));
    w.entry("version", "0.1.0");
    for line in [
        "# description: What the model does, in a sentence.",
        "# licenses: Apache-2.0",
        "# authors: Your Name <you@example.org>",
        "",
    ] {
        w.line(line);
    }
    w.entry("model", &scalar(model_path));
    w.line("");
    w.line("# What the model takes and gives. All of it may be left out: it is read from the model, and checked against it");
    w.line("# where it is given. A number is a fixed size, a name such as N or -1 is any size.");
    draft_ports(&mut w, PortKind::Input, &signature.inputs, None);
    draft_ports(&mut w, PortKind::Output, &signature.outputs, steps.labels.as_ref());
    draft_steps(&mut w, steps);
    for line in [
        "",
        "# Files to take along, by path or pattern.",
        "# files:",
        "#   - labels.txt",
        "#   - \"tokenizer*.json\"",
        "",
        "# How to run it, where the command line does not say otherwise.",
        "# runtime:",
        "#   provider: [cuda, cpu]   # best first; the default is auto",
        "#   threads: 4",
        "#   timeout: 30s",
        "#   memory: 2GiB",
    ] {
        w.line(line);
    }
    w.text
}

fn draft_steps(w: &mut Writer, steps: &DraftSteps) {
    w.line("");
    w.line("# How what people have becomes tensors, and tensors become answers.");
    for (key, lines, example) in [
        (
            "preprocessing",
            &steps.preprocessing,
            "imagenet   # or {tokenizer: tokenizer.json}",
        ),
        ("postprocessing", &steps.postprocessing, "classify"),
    ] {
        match lines.as_slice() {
            [] => w.line(&format!("# {key}: {example}")),
            [line] => w.line(&format!("{key}: {line}")),
            lines => {
                w.line(&format!("{key}:"));
                for line in lines {
                    w.line(&format!("  - {line}"));
                }
            }
        }
    }
}

fn draft_ports(w: &mut Writer, kind: PortKind, ports: &[Port], labels: Option<&(String, String)>) {
    // Names that nobody reads are left to the model.
    let listed: Vec<&Port> = ports
        .iter()
        .filter(|port| !port.name.as_str().is_empty() && port.name.as_str().len() <= 256)
        .take(DRAFT_PORTS)
        .collect();
    if listed.is_empty() {
        return;
    }
    w.below(&format!("{kind}s"), |w| {
        for port in listed {
            let name = format!("name: {}", scalar(port.name.as_str()));
            w.item(&name, |w| {
                write_port(w, &from_model(port));
                w.line("# description: What it is.");
                match labels {
                    Some((output, labels)) if output == port.name.as_str() => w.line(&format!("labels: {labels}")),
                    _ if kind == PortKind::Output => w.line("# labels: labels.txt   # or a list: [cat, dog]"),
                    _ => {}
                }
            });
        }
    });
}
