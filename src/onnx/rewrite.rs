use std::collections::BTreeMap;

use prost::Message;
use prost::bytes::Bytes;

use super::proto::TensorProto;
use super::visit_mut::each_tensor;
use super::{Error, Model};

impl Model {
    /// Writes the file with each location of external data replaced, wherever it is named.
    ///
    /// Shape: `locations` maps what the graph writes ([`Location::as_written`](super::Location::as_written)) to what
    /// shall stand there. A file without external data is given as it is; the same model and map give the same bytes.
    ///
    /// Errors: as [`Model::external`], and a location that is not in the map.
    pub fn rewrite_external(&self, locations: &BTreeMap<String, String>) -> Result<Bytes, Error> {
        let external = self.external()?;
        if let Some(data) = external
            .iter()
            .find(|data| !locations.contains_key(data.location.as_written()))
        {
            return Err(Error::NotInBundle {
                tensor: data.tensor.clone(),
                location: data.location.clone(),
            });
        }
        if external.is_empty() {
            return Ok(self.bytes.clone());
        }
        let mut proto = self.proto.clone();
        let mut replace = |tensor: &mut TensorProto| {
            for entry in tensor
                .external_data
                .iter_mut()
                .filter(|entry| entry.key() == "location")
            {
                let written = String::from_utf8_lossy(entry.value());
                if let Some(location) = locations.get(written.as_ref()) {
                    entry.value = Some(Bytes::copy_from_slice(location.as_bytes()));
                }
            }
        };
        each_tensor(&mut proto, &mut replace);
        Ok(proto.encode_to_vec().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::proto::{GraphProto, ModelProto};
    use crate::onnx::sample::*;

    fn everywhere() -> ModelProto {
        let weights = || external("w", &[("location", "w.bin"), ("offset", "8"), ("length", "8")]);
        let body = GraphProto {
            initializer: vec![weights()],
            ..Default::default()
        };
        let constant = || with(node("Constant", &[], &["k"]), tensor_attribute("value", weights()));
        let mut model = running(vec![
            constant(),
            with(node("If", &["x"], &["z"]), graph_attribute("then_branch", body)),
        ]);
        graph(&mut model).initializer = vec![weights()];
        model.functions = vec![function("F", vec![constant()])];
        model
    }

    #[test]
    fn every_location_is_rewritten_and_nothing_else() {
        let model = parse(&everywhere()).unwrap();
        let map = BTreeMap::from([("w.bin".to_owned(), "e3b0".to_owned())]);
        let bytes = model.rewrite_external(&map).unwrap();
        assert_eq!(bytes, model.rewrite_external(&map).unwrap());
        let written = Model::parse(bytes).unwrap();
        let locations: Vec<_> = written
            .external()
            .unwrap()
            .into_iter()
            .map(|data| data.location)
            .collect();
        assert_eq!(locations.len(), 4);
        assert!(locations.iter().all(|location| location.as_written() == "e3b0"));
        let back = BTreeMap::from([("e3b0".to_owned(), "w.bin".to_owned())]);
        assert_eq!(written.rewrite_external(&back).unwrap(), model.bytes());
    }

    #[test]
    fn a_location_without_a_new_one_is_an_error() {
        let model = parse(&everywhere()).unwrap();
        assert!(matches!(
            model.rewrite_external(&BTreeMap::new()),
            Err(Error::NotInBundle { .. })
        ));
    }

    #[test]
    fn a_model_without_external_data_is_not_copied() {
        let model = parse(&relu()).unwrap();
        let bytes = model.rewrite_external(&BTreeMap::new()).unwrap();
        assert_eq!(bytes.as_ptr(), model.bytes().as_ptr());
    }
}
