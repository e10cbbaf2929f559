//! The keys that only the Python tool of the same name has.

use super::error::{Error, Problem, printable};
use super::fields::{Field, Fields};
use super::file::Runtime;
use super::node::{Content, Node};
use super::notice::NoticeReason;
use super::read::Reader;

/// The keys of `model` there.
pub(super) const MODEL_KEYS: &[&str] = &["source", "format", "version"];
/// The keys of `runtime` there that GPUXfiles do not have.
pub(super) const RUNTIME_KEYS: &[&str] = &["gpu", "batch_size", "enable_profiling"];
const GPU_KEYS: &[&str] = &["memory", "backend"];

/// Each backend there with the provider that stands for it; the CPU is what that tool falls back to.
const BACKENDS: &[(&str, &[&str])] = &[
    ("auto", &[]),
    ("cuda", &["cuda", "cpu"]),
    ("rocm", &["migraphx", "cpu"]),
    ("coreml", &["coreml", "cpu"]),
    ("metal", &["coreml", "cpu"]),
    ("dx12", &["directml", "cpu"]),
    ("directml", &["directml", "cpu"]),
    ("vulkan", &["webgpu", "cpu"]),
    ("cpu", &["cpu"]),
];

/// Tells a `gpux.yml` from a GPUXfile: by keys that only it has or by its name, unless `apiVersion` says which it is.
pub(super) fn is_python(root: &Node<'_>, origin: &str) -> bool {
    let has = |section: &str, keys: &[&str]| {
        entry(root, section).is_some_and(|node| keys.iter().any(|key| entry(node, key).is_some()))
    };
    let named = ["gpux.yml", "gpux.yaml"].contains(&origin.rsplit(['/', '\\']).next().unwrap_or(origin));
    entry(root, "apiVersion").is_none()
        && (named
            || has("model", &["format", "version"])
            || has("runtime", RUNTIME_KEYS)
            || has("preprocessing", &["custom"]))
}

fn entry<'n>(node: &'n Node<'n>, key: &str) -> Option<&'n Node<'n>> {
    match &node.content {
        Content::Map(entries) => entries
            .iter()
            .find(|(found, _)| found.as_ref() == key)
            .map(|(_, node)| node),
        _ => None,
    }
}

impl<'n> Reader<'n> {
    pub(super) fn python_model(&mut self, fields: &Fields<'n>) -> Result<(), Error> {
        if let Some(field) = fields.get("format") {
            let format = field.text()?;
            if format != "onnx" {
                return Err(field.error(Problem::ModelFormat(printable(format))));
            }
        }
        if let Some(field) = fields.get("version") {
            field.text_or_number()?;
            self.without_counterpart(&field, "the artifact has one version, at the top of the file");
        }
        Ok(())
    }

    pub(super) fn python_runtime(&mut self, fields: &Fields<'n>, runtime: &mut Runtime) -> Result<(), Error> {
        if let Some(field) = fields.get("gpu") {
            self.python_gpu(&field.fields(GPU_KEYS)?, runtime)?;
        }
        if let Some(field) = fields.get("batch_size")
            && field.integer(1, u64::MAX)? > 1
        {
            self.without_counterpart(&field, "a batch is as large as the input, or `--batch-size`");
        }
        if let Some(field) = fields.get("enable_profiling")
            && field.boolean()?
        {
            self.without_counterpart(&field, "`gpux bench` measures");
        }
        Ok(())
    }

    fn python_gpu(&mut self, fields: &Fields<'n>, runtime: &mut Runtime) -> Result<(), Error> {
        if let Some(field) = fields.get("memory") {
            field.text_or_number()?;
            self.without_counterpart(&field, "`runtime.memory` bounds the memory of the process");
        }
        let Some(field) = fields.get("backend") else {
            return Ok(());
        };
        let text = field.text()?;
        let Some((_, providers)) = BACKENDS.iter().find(|(backend, _)| *backend == text) else {
            return Err(field.error(Problem::Provider { name: printable(text) }));
        };
        // A file with both has been edited for this tool, whose own key then holds.
        if runtime.providers.is_empty() {
            runtime.providers = providers.iter().map(|name| field.located((*name).to_owned())).collect();
        }
        Ok(())
    }

    pub(super) fn without_counterpart(&mut self, field: &Field<'_>, instead: &'static str) {
        self.notice(field, NoticeReason::NoCounterpart { instead });
    }
}
