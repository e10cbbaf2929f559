use serde_json::{Map, Value, json};

use crate::oci::Digest;

use super::Plan;

/// Writes the ModelPack config: what the artifact is, for tools that read nothing else.
///
/// Source: ModelPack 0.0.7; all three keys are required, nothing else is allowed, and what is unknown is left out.
pub fn write(plan: &Plan, layers: &[Digest], created: Option<&str>) -> Vec<u8> {
    let gpuxfile = plan.gpuxfile();
    let mut descriptor = Map::new();
    let mut put = |key: &str, value: Value| descriptor.insert(key.to_owned(), value);
    if let Some(created) = created {
        put("createdAt", json!(created));
    }
    if !gpuxfile.authors.is_empty() {
        put("authors", json!(gpuxfile.authors));
    }
    put("name", json!(gpuxfile.name.value.as_str()));
    if let Some(version) = &gpuxfile.version {
        put("version", json!(version.value.to_string()));
    }
    if let Some(description) = &gpuxfile.description {
        put("description", json!(description));
    }
    if !gpuxfile.licenses.is_empty() {
        put("licenses", json!(gpuxfile.licenses));
    }
    let diff_ids: Vec<String> = layers.iter().map(ToString::to_string).collect();
    let config = json!({
        "descriptor": descriptor,
        "config": {"format": "onnx", "paramSize": parameter_size(plan.parameters())},
        "modelfs": {"type": "layers", "diffIds": diff_ids},
    });
    config.to_string().into_bytes()
}

/// Writes a count of parameters as ModelPack has it: `25.6m`, `8b`.
fn parameter_size(parameters: u64) -> String {
    const UNITS: [(f64, &str); 4] = [(1e12, "t"), (1e9, "b"), (1e6, "m"), (1e3, "k")];
    let count = parameters as f64;
    let (unit, name) = UNITS.into_iter().find(|(unit, _)| count >= *unit).unwrap_or((1.0, ""));
    let text = format!("{:.1}", count / unit);
    format!("{}{name}", text.strip_suffix(".0").unwrap_or(&text))
}

#[cfg(test)]
mod tests {
    #[test]
    fn sizes_are_written_short() {
        assert_eq!(super::parameter_size(0), "0");
        assert_eq!(super::parameter_size(999), "999");
        assert_eq!(super::parameter_size(25_557_032), "25.6m");
        assert_eq!(super::parameter_size(8_000_000_000), "8b");
    }
}
