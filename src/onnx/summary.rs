use std::collections::BTreeMap;

use super::external::is_external;
use super::tensor_data::{count_elements, stored_bytes};
use super::visit::{Item, walk_all};
use super::{Label, Model};
use crate::tensor::DType;

/// Is what a model is made of, told for people: a file that is refused can still be summarized.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The version of the file format.
    pub ir_version: i64,
    /// The tool that wrote the file, with its version.
    pub producer: Option<Label>,
    /// Operator sets by domain; the default domain is `ai.onnx`.
    pub opsets: BTreeMap<Label, i64>,
    /// How often each operator is used, in subgraphs and functions too. Operators outside of the default domain are
    /// `domain.name`.
    pub operators: BTreeMap<Label, u64>,
    /// The elements of all tensors that the model holds.
    pub parameters: u64,
    /// Their size, within the file and outside. Units: bytes.
    pub parameter_bytes: u64,
    /// How many tensors lie in other files.
    pub external_tensors: u64,
    /// The functions that the model defines.
    pub functions: u64,
    /// What the producer wrote along; nothing in it has an effect.
    pub metadata: BTreeMap<Label, Label>,
}

impl Model {
    /// Summarizes the model.
    pub fn summary(&self) -> Summary {
        let proto = &self.proto;
        let mut summary = Summary {
            ir_version: proto.ir_version(),
            producer: producer(proto.producer_name(), proto.producer_version()),
            functions: proto.functions.len() as u64,
            ..Summary::default()
        };
        for opset in &proto.opset_import {
            let domain = Label::new(domain_name(opset.domain()));
            summary.opsets.insert(domain, opset.version());
        }
        for entry in &proto.metadata_props {
            let value = Label::new(&String::from_utf8_lossy(entry.value()));
            summary.metadata.insert(Label::new(entry.key()), value);
        }
        // Counted by what the file says, for a label is made only once for each operator.
        let mut operators: BTreeMap<(&str, &str), u64> = BTreeMap::new();
        walk_all(proto, |item| match item {
            Item::Node(node) => {
                *operators
                    .entry((domain_name(node.domain()), node.op_type()))
                    .or_default() += 1;
            }
            Item::Tensor { tensor, .. } => {
                let elements = count_elements(&tensor.dims).unwrap_or(0);
                let bytes = match DType::from_onnx(tensor.data_type()) {
                    Some(DType::String) => Some(tensor.string_data.iter().map(|text| text.len() as u64).sum()),
                    Some(dtype) => stored_bytes(dtype, elements),
                    None => None,
                };
                summary.parameters = summary.parameters.saturating_add(elements);
                summary.parameter_bytes = summary.parameter_bytes.saturating_add(bytes.unwrap_or(0));
                summary.external_tensors += u64::from(is_external(tensor));
            }
            Item::Graph { .. } | Item::Function(_) | Item::Sparse { .. } => {}
        });
        for ((domain, op_type), count) in operators {
            let name = match domain {
                DEFAULT_DOMAIN => Label::new(op_type),
                domain => Label::phrase(format_args!("{}.{}", Label::new(domain), Label::new(op_type))),
            };
            *summary.operators.entry(name).or_default() += count;
        }
        summary
    }
}

/// The domain of ONNX's own operators, as people write it.
pub const DEFAULT_DOMAIN: &str = "ai.onnx";

/// Gives the one name of a domain: files may leave the default domain empty.
pub fn domain_name(domain: &str) -> &str {
    if domain.is_empty() { DEFAULT_DOMAIN } else { domain }
}

fn producer(name: &str, version: &str) -> Option<Label> {
    match (name, version) {
        ("", "") => None,
        (name, "") => Some(Label::new(name)),
        (name, version) => Some(Label::phrase(format_args!(
            "{} {}",
            Label::new(name),
            Label::new(version)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::proto::GraphProto;
    use crate::onnx::sample::*;

    #[test]
    fn subgraphs_and_functions_are_counted() {
        let body = GraphProto {
            node: vec![node("Relu", &["x"], &["b"])],
            initializer: vec![raw("in_body", 1, &[3], &[0; 12])],
            ..Default::default()
        };
        let mut model = running(vec![
            with(node("If", &["x"], &["z"]), graph_attribute("then_branch", body)),
            foreign_node("com.microsoft", "Gelu", &["g"]),
            with(
                node("Constant", &[], &["k"]),
                tensor_attribute("value", raw("", 7, &[2], &[0; 16])),
            ),
        ]);
        graph(&mut model).initializer = vec![external("w", &[("location", "w.bin")])];
        model.functions = vec![function("F", vec![node("Relu", &["x"], &["y"])])];
        model.producer_name = Some("tests".into());
        model.producer_version = Some("1".into());
        let summary = parse(&model).unwrap().summary();
        let operators: Vec<_> = summary
            .operators
            .iter()
            .map(|(name, count)| (name.as_str(), *count))
            .collect();
        assert_eq!(
            operators,
            [("Constant", 1), ("If", 1), ("Relu", 3), ("com.microsoft.Gelu", 1)]
        );
        assert_eq!((summary.parameters, summary.parameter_bytes), (3 + 2 + 2, 12 + 16 + 8));
        assert_eq!((summary.external_tensors, summary.functions), (1, 1));
        assert_eq!(summary.producer.unwrap().as_str(), "tests 1");
        assert_eq!(summary.opsets[&Label::new("ai.onnx")], 17);
    }
}
