use std::collections::BTreeMap;

use prost::Message;
use prost::bytes::Bytes;
use prost::encoding::{WireType, encode_key, encode_varint};

use super::WeightKey;
use crate::onnx::Model;
use crate::onnx::proto::{GraphProto, ModelProto, StringStringEntryProto, TensorProto};
use crate::onnx::visit_mut::each_tensor;

/// Says where the data of a tensor goes.
#[derive(Clone, Debug)]
pub enum Placed {
    /// Into the model's own file, in the raw form.
    Within(Bytes),
    /// Into another file, from an offset on. Units: bytes.
    At {
        location: String,
        offset_bytes: u64,
        length_bytes: u64,
    },
}

impl Model {
    /// Writes the file with the data of tensors elsewhere; what is not in the map stays as it is.
    ///
    /// Shape: pieces that, one after the other, are the file. Data that is placed within a main graph's initializers is
    /// lent and not copied. The same model and map give the same bytes; an empty map gives the file itself.
    pub fn place(&self, placed: &BTreeMap<WeightKey, Placed>) -> Vec<Bytes> {
        if placed.is_empty() {
            return vec![self.bytes.clone()];
        }
        let mut proto = self.proto.clone();
        let mut number = 0;
        each_tensor(&mut proto, &mut |tensor| {
            if let Some(to) = placed.get(&WeightKey(number)) {
                move_data(tensor, to);
            }
            number += 1;
        });
        pieces_of(proto)
    }
}

fn move_data(tensor: &mut TensorProto, to: &Placed) {
    const EXTERNAL: i32 = 1;
    tensor.float_data.clear();
    tensor.int32_data.clear();
    tensor.int64_data.clear();
    tensor.double_data.clear();
    tensor.uint64_data.clear();
    tensor.external_data.clear();
    (tensor.raw_data, tensor.data_location) = (None, None);
    match to {
        Placed::Within(bytes) => tensor.raw_data = Some(bytes.clone()),
        Placed::At {
            location,
            offset_bytes,
            length_bytes,
        } => {
            let entry = |key: &str, value: String| StringStringEntryProto {
                key: Some(key.to_owned()),
                value: Some(value.into()),
            };
            tensor.data_location = Some(EXTERNAL);
            tensor.external_data = vec![
                entry("location", location.clone()),
                entry("offset", offset_bytes.to_string()),
                entry("length", length_bytes.to_string()),
            ];
        }
    }
}

/// The field numbers of the format that lead to the data of an initializer.
const MODEL_GRAPH: u32 = 7;
const GRAPH_INITIALIZER: u32 = 5;
const TENSOR_RAW_DATA: u32 = 9;

/// Data of at least this size is lent; what is smaller is copied with what stands around it.
const LENT_BYTES: usize = 4096;

/// Encodes a model in the order of its fields, with the raw data of the main graph's initializers as pieces of their own.
fn pieces_of(mut proto: ModelProto) -> Vec<Bytes> {
    let graph = proto.graph.take().unwrap_or_default();
    let behind = ModelProto {
        opset_import: std::mem::take(&mut proto.opset_import),
        metadata_props: std::mem::take(&mut proto.metadata_props),
        training_info: std::mem::take(&mut proto.training_info),
        functions: std::mem::take(&mut proto.functions),
        configuration: std::mem::take(&mut proto.configuration),
        ..Default::default()
    };
    let mut pieces = Pieces::default();
    pieces.message(&proto);
    let length = graph.encoded_len();
    pieces.key(MODEL_GRAPH, length);
    pieces.graph(graph);
    pieces.message(&behind);
    pieces.finish()
}

/// Collects what is encoded: bytes of our own, and bytes that are lent, in turn.
#[derive(Default)]
struct Pieces {
    done: Vec<Bytes>,
    open: Vec<u8>,
}

impl Pieces {
    fn graph(&mut self, mut graph: GraphProto) {
        let initializers = std::mem::take(&mut graph.initializer);
        let before = GraphProto {
            node: std::mem::take(&mut graph.node),
            name: graph.name.take(),
            ..Default::default()
        };
        self.message(&before);
        for tensor in initializers {
            self.key(GRAPH_INITIALIZER, tensor.encoded_len());
            self.tensor(tensor);
        }
        self.message(&graph);
    }

    fn tensor(&mut self, mut tensor: TensorProto) {
        let Some(raw) = tensor.raw_data.take_if(|raw| raw.len() >= LENT_BYTES) else {
            return self.message(&tensor);
        };
        let behind = TensorProto {
            double_data: std::mem::take(&mut tensor.double_data),
            uint64_data: std::mem::take(&mut tensor.uint64_data),
            doc_string: tensor.doc_string.take(),
            external_data: std::mem::take(&mut tensor.external_data),
            data_location: tensor.data_location.take(),
            metadata_props: std::mem::take(&mut tensor.metadata_props),
            ..Default::default()
        };
        self.message(&tensor);
        self.key(TENSOR_RAW_DATA, raw.len());
        self.done.push(std::mem::take(&mut self.open).into());
        self.done.push(raw);
        self.message(&behind);
    }

    fn key(&mut self, field: u32, length: usize) {
        encode_key(field, WireType::LengthDelimited, &mut self.open);
        encode_varint(length as u64, &mut self.open);
    }

    fn message(&mut self, message: &impl Message) {
        self.open.extend(message.encode_to_vec());
    }

    fn finish(mut self) -> Vec<Bytes> {
        self.done.push(self.open.into());
        self.done.retain(|piece| !piece.is_empty());
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::WeightData;
    use crate::onnx::sample::*;

    fn joined(pieces: &[Bytes]) -> Bytes {
        pieces.concat().into()
    }

    #[test]
    fn pieces_are_what_the_encoder_writes_in_one() {
        let mut model = running(vec![with(
            node("Constant", &[], &["k"]),
            tensor_attribute("value", raw("", 1, &[2000], &[3; 8000])),
        )]);
        let mut documented = raw("documented", 1, &[2000], &[7; 8000]);
        documented.doc_string = Some(Bytes::from_static(b"why"));
        documented.metadata_props = vec![Bytes::from_static(b"\x0a\x01a")];
        graph(&mut model).initializer = vec![raw("small", 1, &[1], &[1; 4]), documented, raw("last", 3, &[0], &[])];
        graph(&mut model).doc_string = Some(Bytes::from_static(b"graph"));
        model.functions = vec![function("F", vec![node("Relu", &["x"], &["y"])])];
        model.producer_name = Some("tests".into());
        model.doc_string = Some(Bytes::from_static(b"model"));
        let pieces = pieces_of(model.clone());
        assert_eq!(joined(&pieces), model.encode_to_vec());
        assert_eq!(pieces.len(), 3, "one is lent");
    }

    #[test]
    fn data_that_goes_out_and_comes_back_is_the_file_again() {
        let mut before = running(vec![with(
            node("Constant", &[], &["k"]),
            tensor_attribute("value", raw("", 1, &[2], &[3; 8])),
        )]);
        graph(&mut before).initializer = vec![raw("w", 1, &[2000], &[7; 8000])];
        let before = parse(&before).unwrap();
        let mut data = BTreeMap::new();
        let mut placed = BTreeMap::new();
        for weight in before.weights().unwrap() {
            let WeightData::Within(elements) = &weight.data else {
                panic!("all are within");
            };
            data.insert(weight.key, Placed::Within(joined(elements.as_raw().unwrap())));
            let to = Placed::At {
                location: weight.name.clone(),
                offset_bytes: 0,
                length_bytes: weight.size_bytes,
            };
            placed.insert(weight.key, to);
        }
        assert_eq!(data.len(), 2);
        let outside = Model::parse(joined(&before.place(&placed))).unwrap();
        assert!(outside.bytes().len() < 400);
        let external = outside.external().unwrap();
        assert_eq!(external.len(), 2);
        assert_eq!((external[0].name.as_str(), external[0].length_bytes), ("w", 8000));
        let again = outside.place(&data);
        assert_eq!(joined(&again), before.bytes());
    }

    #[test]
    fn typed_data_is_gone_where_it_is_placed() {
        let mut tensor = raw("w", 7, &[2], &[]);
        (tensor.raw_data, tensor.int64_data) = (None, vec![Bytes::from_static(&[1, 2])]);
        let model = parse(&holding(vec![tensor])).unwrap();
        let key = model.weights().unwrap()[0].key;
        let raw = Bytes::from_static(&[1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0]);
        let placed = BTreeMap::from([(key, Placed::Within(raw.clone()))]);
        let written = Model::parse(joined(&model.place(&placed))).unwrap();
        let tensor = &written.graph().initializer[0];
        assert!(tensor.int64_data.is_empty());
        assert_eq!(tensor.raw_data, Some(raw));
        assert_eq!(model.place(&BTreeMap::new()), [model.bytes().clone()]);
    }
}
