//! The tensors whose data may lie in a file of its own, and a model written with it elsewhere.

mod elements;
mod place;

use super::external::{is_external, raw_size, read_external, typed_elements};
use super::visit::{Item, Place, walk};
use super::{Error, ExternalData, Model};
use crate::tensor::DType;

pub use elements::{Elements, ElementsReader};
pub use place::Placed;

/// Is a tensor whose data may lie in a file of its own, or does.
#[derive(Clone, Debug)]
pub struct Weight {
    /// Which tensor of the model it is.
    pub key: WeightKey,
    /// Its name; for a constant without one, that of what its node gives.
    pub name: String,
    /// What its elements take when they are stored raw. Units: bytes.
    pub size_bytes: u64,
    /// Where they are now.
    pub data: WeightData,
}

/// Names a tensor of one model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WeightKey(usize);

/// Is where a tensor's elements are.
#[derive(Clone, Debug)]
pub enum WeightData {
    /// In the model's own file.
    Within(Elements),
    /// In another file.
    External(ExternalData),
}

impl Model {
    /// Lists the tensors whose data may lie in a file of its own, in the order of the file.
    ///
    /// Those are the dense initializers of graphs and subgraphs and the values of Constant nodes, in functions too, and
    /// whatever lies outside already. Strings have no stored size, and other attributes are read by nobody outside.
    ///
    /// Errors: as [`Model::external`], and tensors without a type or a size.
    pub fn weights(&self) -> Result<Vec<Weight>, Error> {
        let mut found = Vec::new();
        let mut number = 0;
        walk(&self.proto, &mut |item| {
            let Item::Tensor { tensor, place } = item else {
                return Ok(());
            };
            let key = WeightKey(number);
            number += 1;
            let name = || name_of(tensor.name(), place);
            if is_external(tensor) {
                let external = read_external(tensor, place)?;
                found.push(Weight {
                    key,
                    name: name(),
                    size_bytes: external.length_bytes,
                    data: WeightData::External(external),
                });
                return Ok(());
            }
            let (dtype, _) = typed_elements(tensor, place)?;
            if dtype == DType::String || !(place.is_initializer() || place.constant().is_some()) {
                return Ok(());
            }
            let (_, size_bytes) = raw_size(tensor, place)?;
            found.push(Weight {
                key,
                name: name(),
                size_bytes,
                data: WeightData::Within(Elements::of(tensor, dtype)),
            });
            Ok(())
        })?;
        Ok(found)
    }
}

fn name_of(name: &str, place: Place<'_>) -> String {
    let given = || place.constant()?.output.first();
    match name {
        "" => given().cloned().unwrap_or_default(),
        name => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use crate::onnx::proto::GraphProto;
    use crate::onnx::sample::*;

    #[test]
    fn weights_are_initializers_and_constants_wherever_they_are_and_what_lies_outside() {
        let constant = |output| {
            with(
                node("Constant", &[], &[output]),
                tensor_attribute("value", raw("", 1, &[2], &[1; 8])),
            )
        };
        let body = GraphProto {
            initializer: vec![raw("in body", 1, &[1], &[0; 4])],
            node: vec![constant("constant in body")],
            ..Default::default()
        };
        let mut text = raw("text", 8, &[1], &[]);
        text.raw_data = None;
        text.string_data = vec![prost::bytes::Bytes::from_static(b"a")];
        let mut model = running(vec![
            with(node("If", &["x"], &["z"]), graph_attribute("then_branch", body)),
            with(
                node("ConstantOfShape", &["x"], &["s"]),
                tensor_attribute("value", raw("fill", 1, &[1], &[0; 4])),
            ),
            with(
                node("Other", &["x"], &["o"]),
                tensor_attribute("table", external("outside", &[("location", "w")])),
            ),
        ]);
        graph(&mut model).initializer = vec![text, raw("main", 22, &[3], &[1, 2])];
        model.functions = vec![function("F", vec![constant("constant in function")])];
        let weights = parse(&model).unwrap().weights().unwrap();
        let told: Vec<(&str, u64)> = weights
            .iter()
            .map(|weight| (weight.name.as_str(), weight.size_bytes))
            .collect();
        let expected = [
            ("main", 2),
            ("in body", 4),
            ("constant in body", 8),
            ("outside", 8),
            ("constant in function", 8),
        ];
        assert_eq!(told, expected);
    }
}
