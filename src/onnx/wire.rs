//! Reads an ONNX file's wire form without keeping anything, before it is decoded.
//!
//! Decoding makes a struct of a few hundred bytes out of two bytes of file, so a small file could ask for all the
//! memory there is. This pass costs microseconds (weights are skipped), tells how much memory decoding takes, how deep
//! it goes, and where a broken file is broken.

use std::mem::size_of;

use prost::bytes::Bytes;

use super::proto::type_proto as types;
use super::proto::*;

/// The most memory that a decoded graph may take. Weights do not count: they stay in the file.
pub const DECODED_BYTES_MAX: u64 = 1 << 30;

/// How deep messages may nest; a subgraph takes three levels. Below the decoder's own limit of 100.
pub const DEPTH_MAX: u32 = 96;

/// Says why bytes are no protobuf message of the ONNX schema.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum Fault {
    /// The bytes end inside a field.
    #[error("it ends {missing_bytes} bytes too early, in a field of {message}")]
    Truncated { message: &'static str, missing_bytes: u64 },
    /// A field runs past the end of the message that holds it.
    #[error("at byte {offset} a field runs past the end of its {message}")]
    Overrun { message: &'static str, offset: u64 },
    /// A number is longer than ten bytes, or a field has the number 0.
    #[error("at byte {offset} there is no protobuf field")]
    Tag { offset: u64 },
    /// A field has another wire type than the schema says.
    #[error("at byte {offset}, field {field} of {message} has wire type {wire_type}, which ONNX does not give it")]
    WireType {
        message: &'static str,
        field: u32,
        wire_type: u8,
        offset: u64,
    },
    /// Messages nest too deeply.
    #[error("at byte {offset} it nests more than {DEPTH_MAX} messages deep")]
    TooDeep { offset: u64 },
    /// The graph alone takes too much memory.
    #[error("its graph takes more than {DECODED_BYTES_MAX} bytes of memory, weights not counted")]
    TooLarge,
}

/// Is what the pass finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// An upper bound of the memory that decoding takes.
    pub decoded_bytes: u64,
    /// The first field that the schema does not have: its message and number.
    pub unknown: Option<(&'static str, u32)>,
    /// The first field that comes twice and should come once: its message and number. Readers differ in what they make
    /// of it: the last, the first, or both in one.
    pub doubled: Option<(&'static str, u32)>,
}

/// Is how a field of the schema travels.
#[derive(Clone, Copy)]
enum Kind {
    /// A number of up to ten bytes.
    Varint,
    /// Repeated numbers, one by one or packed.
    Varints,
    /// Four bytes.
    Fixed32,
    /// Repeated four bytes, one by one or packed.
    Fixed32s,
    /// Bytes that stay in the file.
    Bytes,
    /// Text that is copied.
    Text,
    /// A message within.
    Message(&'static Schema),
}

/// Is a message of the schema: its name, its size when decoded, and its fields, whose numbers are below 64.
struct Schema {
    name: &'static str,
    decoded_bytes: usize,
    /// The fields that may come more than once.
    repeated: &'static [u32],
    fields: &'static [(u32, Kind)],
}

macro_rules! schema {
    ($($name:ident: $rust:ty $(, many [$($many:literal),*])? { $($number:literal $kind:ident $(($inner:ident))?),* $(,)? })*) => { $(
        #[allow(non_upper_case_globals)]
        static $name: Schema = Schema {
            name: stringify!($name),
            decoded_bytes: size_of::<$rust>(),
            repeated: &[$($($many),*)?],
            fields: &[$(($number, Kind::$kind $((&$inner))?)),*],
        };
    )* };
}

schema! {
    Model: ModelProto, many [8, 14, 20, 25, 26] {
        1 Varint, 2 Text, 3 Text, 4 Text, 5 Varint, 6 Bytes, 7 Message(Graph), 8 Message(OperatorSetId),
        14 Message(StringStringEntry), 20 Bytes, 25 Message(Function), 26 Bytes,
    }
    Graph: GraphProto, many [1, 5, 11, 12, 13, 14, 15, 16] {
        1 Message(Node), 2 Text, 5 Message(Tensor), 10 Bytes, 11 Message(ValueInfo), 12 Message(ValueInfo),
        13 Message(ValueInfo), 14 Bytes, 15 Message(SparseTensor), 16 Bytes,
    }
    Node: NodeProto, many [1, 2, 5, 9, 10] {
        1 Text, 2 Text, 3 Text, 4 Text, 5 Message(Attribute), 6 Bytes, 7 Text, 8 Text, 9 Bytes, 10 Bytes,
    }
    Attribute: AttributeProto, many [7, 8, 9, 10, 11, 15, 23] {
        1 Text, 2 Fixed32, 3 Varint, 4 Bytes, 5 Message(Tensor), 6 Message(Graph), 7 Fixed32s, 8 Varints, 9 Bytes,
        10 Message(Tensor), 11 Message(Graph), 13 Bytes, 14 Message(Type), 15 Message(Type), 20 Varint, 21 Text,
        22 Message(SparseTensor), 23 Message(SparseTensor),
    }
    Tensor: TensorProto, many [1, 4, 5, 6, 7, 10, 11, 13, 16] {
        1 Varints, 2 Varint, 3 Bytes, 4 Bytes, 5 Bytes, 6 Bytes, 7 Bytes, 8 Text, 9 Bytes, 10 Bytes, 11 Bytes,
        12 Bytes, 13 Message(StringStringEntry), 14 Varint, 16 Bytes,
    }
    SparseTensor: SparseTensorProto, many [3] { 1 Message(Tensor), 2 Message(Tensor), 3 Varints }
    ValueInfo: ValueInfoProto, many [4] { 1 Text, 2 Message(Type), 3 Bytes, 4 Bytes }
    Type: TypeProto {
        1 Message(TypeTensor), 4 Message(TypeSequence), 5 Message(TypeMap), 6 Text, 7 Bytes,
        8 Message(TypeSparseTensor), 9 Message(TypeOptional),
    }
    TypeTensor: types::Tensor { 1 Varint, 2 Message(TensorShape) }
    TypeSequence: TypeProto { 1 Message(Type) }
    TypeMap: TypeProto { 1 Varint, 2 Message(Type) }
    TypeSparseTensor: types::SparseTensor { 1 Varint, 2 Message(TensorShape) }
    TypeOptional: TypeProto { 1 Message(Type) }
    TensorShape: TensorShapeProto, many [1] { 1 Message(Dimension) }
    Dimension: tensor_shape_proto::Dimension { 1 Varint, 2 Text, 3 Text }
    Function: FunctionProto, many [4, 5, 6, 7, 9, 11, 12, 14] {
        1 Text, 4 Text, 5 Text, 6 Text, 7 Message(Node), 8 Bytes, 9 Message(OperatorSetId), 10 Text,
        11 Message(Attribute), 12 Message(ValueInfo), 13 Text, 14 Bytes,
    }
    OperatorSetId: OperatorSetIdProto { 1 Text, 2 Varint }
    StringStringEntry: StringStringEntryProto { 1 Text, 2 Bytes }
}

/// Reads a whole file as a model.
///
/// Errors: [`Fault`] at the first byte that is wrong.
pub fn scan(file: &[u8]) -> Result<Scan, Fault> {
    let mut scanner = Scanner {
        file,
        at: 0,
        scan: Scan::default(),
    };
    scanner.message(&Model, file.len(), 0)?;
    Ok(scanner.scan)
}

struct Scanner<'a> {
    file: &'a [u8],
    at: usize,
    scan: Scan,
}

impl Scanner<'_> {
    /// Reads the fields of one message, which ends at `end`.
    fn message(&mut self, schema: &'static Schema, end: usize, depth: u32) -> Result<(), Fault> {
        if depth > DEPTH_MAX {
            return Err(Fault::TooDeep { offset: self.at as u64 });
        }
        let mut seen = 0u64;
        while self.at < end {
            let offset = self.at as u64;
            let tag = self.varint(schema, end)?;
            let field = u32::try_from(tag >> 3).map_err(|_| Fault::Tag { offset })?;
            if field == 0 {
                return Err(Fault::Tag { offset });
            }
            let wire_type = (tag & 7) as u8;
            let kind = schema.fields.iter().find(|(number, _)| *number == field);
            if kind.is_none() && self.scan.unknown.is_none() {
                self.scan.unknown = Some((schema.name, field));
            }
            if kind.is_some() && !schema.repeated.contains(&field) {
                let bit = 1 << field;
                if seen & bit != 0 && self.scan.doubled.is_none() {
                    self.scan.doubled = Some((schema.name, field));
                }
                seen |= bit;
            }
            let wrong = Fault::WireType {
                message: schema.name,
                field,
                wire_type,
                offset,
            };
            match (wire_type, kind.map(|(_, kind)| *kind)) {
                (0, None | Some(Kind::Varint)) => {
                    self.varint(schema, end)?;
                }
                (0, Some(Kind::Varints)) => {
                    self.varint(schema, end)?;
                    self.charge(size_of::<i64>())?;
                }
                (1, None) => self.skip(schema, 8, end)?,
                (5, None | Some(Kind::Fixed32)) => self.skip(schema, 4, end)?,
                (5, Some(Kind::Fixed32s)) => {
                    self.skip(schema, 4, end)?;
                    self.charge(size_of::<f32>())?;
                }
                (2, Some(Kind::Varint | Kind::Fixed32)) => return Err(wrong),
                (2, kind) => self.delimited(schema, kind, end, depth)?,
                _ => return Err(wrong),
            }
        }
        Ok(())
    }

    /// Reads a field that says its own length.
    fn delimited(&mut self, schema: &'static Schema, kind: Option<Kind>, end: usize, depth: u32) -> Result<(), Fault> {
        let length = self.varint(schema, end)?;
        let start = self.at;
        self.skip(schema, length, end)?;
        let stop = self.at;
        let length = stop - start;
        match kind {
            None | Some(Kind::Varint | Kind::Fixed32) => Ok(()),
            Some(Kind::Bytes) => self.charge(size_of::<Bytes>()),
            Some(Kind::Text) => self.charge(size_of::<String>() + length),
            Some(Kind::Fixed32s) => self.charge(length),
            // A number takes at least one byte in the file and eight in memory.
            Some(Kind::Varints) => self.charge(length.saturating_mul(size_of::<i64>())),
            Some(Kind::Message(inner)) => {
                self.charge(inner.decoded_bytes)?;
                self.at = start;
                self.message(inner, stop, depth + 1)
            }
        }
    }

    fn charge(&mut self, bytes: usize) -> Result<(), Fault> {
        self.scan.decoded_bytes = self.scan.decoded_bytes.saturating_add(bytes as u64);
        if self.scan.decoded_bytes > DECODED_BYTES_MAX {
            return Err(Fault::TooLarge);
        }
        Ok(())
    }

    fn skip(&mut self, schema: &'static Schema, length: u64, end: usize) -> Result<(), Fault> {
        let left = (end - self.at) as u64;
        if length > left {
            return Err(self.short(schema, length - left, end));
        }
        self.at += length as usize;
        Ok(())
    }

    fn varint(&mut self, schema: &'static Schema, end: usize) -> Result<u64, Fault> {
        let offset = self.at as u64;
        let mut value = 0u64;
        for index in 0..10 {
            if self.at == end {
                return Err(self.short(schema, 1, end));
            }
            let byte = self.file[self.at];
            self.at += 1;
            value |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                // The tenth byte holds one bit.
                return if index == 9 && byte > 1 {
                    Err(Fault::Tag { offset })
                } else {
                    Ok(value)
                };
            }
        }
        Err(Fault::Tag { offset })
    }

    /// Tells a file that was cut from a message that lies about a length.
    fn short(&self, schema: &'static Schema, missing_bytes: u64, end: usize) -> Fault {
        if end == self.file.len() {
            Fault::Truncated {
                message: schema.name,
                missing_bytes,
            }
        } else {
            Fault::Overrun {
                message: schema.name,
                offset: self.at as u64,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use prost::Message;

    use super::*;

    /// Reads `message → number → how it travels` out of the text of onnx.proto.
    fn written() -> BTreeMap<String, BTreeMap<u32, String>> {
        let mut messages: BTreeMap<String, BTreeMap<u32, String>> = BTreeMap::new();
        let mut stack: Vec<String> = Vec::new();
        for line in include_str!("proto/onnx.proto").lines() {
            let words: Vec<&str> = line.trim().trim_end_matches(';').split_whitespace().collect();
            match words.as_slice() {
                ["message", name, "{"] => {
                    let name = name.trim_end_matches("Proto");
                    let parent = stack.last().filter(|parent| *parent == "Type");
                    stack.push(parent.map_or(name.to_owned(), |parent| format!("{parent}{name}")));
                }
                ["oneof", _, "{"] => stack.push(stack.last().expect("within a message").clone()),
                ["}"] => drop(stack.pop()),
                [label @ "optional" | label @ "repeated", kind, _, "=", number] | [label @ kind, _, "=", number] => {
                    let repeated = *label == "repeated";
                    let message = stack.last().expect("within a message").clone();
                    let kind = match *kind {
                        "int64" | "int32" if repeated => "Varints".to_owned(),
                        "int64" | "int32" => "Varint".to_owned(),
                        "float" if repeated => "Fixed32s".to_owned(),
                        "float" => "Fixed32".to_owned(),
                        "bytes" => "Bytes".to_owned(),
                        "string" => "Text".to_owned(),
                        inner if message == "Type" => format!("Type{inner}"),
                        inner => inner.trim_end_matches("Proto").to_owned(),
                    };
                    let kind = if repeated { format!("{kind} repeated") } else { kind };
                    messages
                        .entry(message)
                        .or_default()
                        .insert(number.parse().expect("a number"), kind);
                }
                _ => {}
            }
        }
        messages
    }

    fn tabled(schema: &'static Schema, into: &mut BTreeMap<String, BTreeMap<u32, String>>) {
        if into.contains_key(schema.name) {
            return;
        }
        let kinds = schema.fields.iter().map(|(number, kind)| {
            let kind = match kind {
                Kind::Varint => "Varint",
                Kind::Varints => "Varints",
                Kind::Fixed32 => "Fixed32",
                Kind::Fixed32s => "Fixed32s",
                Kind::Bytes => "Bytes",
                Kind::Text => "Text",
                Kind::Message(inner) => inner.name,
            };
            let repeated = if schema.repeated.contains(number) {
                " repeated"
            } else {
                ""
            };
            assert!(*number < 64);
            (*number, format!("{kind}{repeated}"))
        });
        into.insert(schema.name.to_owned(), kinds.collect());
        for (_, kind) in schema.fields {
            if let Kind::Message(inner) = kind {
                tabled(inner, into);
            }
        }
    }

    #[test]
    fn the_table_is_the_schema() {
        let mut table = BTreeMap::new();
        tabled(&Model, &mut table);
        assert_eq!(table, written());
    }

    #[test]
    fn a_cut_file_is_told_from_a_lying_one() {
        let model = ModelProto {
            ir_version: Some(8),
            graph: Some(GraphProto {
                name: Some("main".into()),
                ..Default::default()
            }),
            ..Default::default()
        };
        let bytes = model.encode_to_vec();
        assert_eq!(scan(&bytes).map(|scan| scan.unknown), Ok(None));
        assert!(matches!(
            scan(&bytes[..bytes.len() - 2]),
            Err(Fault::Truncated {
                missing_bytes: 2,
                message: "Model"
            })
        ));
        // A graph of two bytes whose name says it has nine.
        assert!(matches!(
            scan(&[0x3a, 2, 0x12, 9, 0x08, 8]),
            Err(Fault::Overrun {
                message: "Graph",
                offset: 4
            })
        ));
    }

    #[test]
    fn a_small_file_cannot_ask_for_all_memory() {
        // Two bytes a node.
        let nodes = [0x0a, 0].repeat(16 << 20);
        let mut bytes = vec![0x3a];
        prost::encoding::encode_varint(nodes.len() as u64, &mut bytes);
        bytes.extend(nodes);
        assert_eq!(scan(&bytes), Err(Fault::TooLarge));
    }

    #[test]
    fn depth_is_bounded_below_what_the_decoder_bounds() {
        let mut kind = TypeProto::default();
        for _ in 0..200 {
            kind = TypeProto {
                value: Some(types::Value::SequenceType(Box::new(types::Sequence {
                    elem_type: Some(Box::new(kind)),
                }))),
                ..Default::default()
            };
        }
        let bytes = ModelProto {
            graph: Some(GraphProto {
                input: vec![ValueInfoProto {
                    r#type: Some(kind),
                    ..Default::default()
                }],
                ..Default::default()
            }),
            ..Default::default()
        }
        .encode_to_vec();
        assert!(matches!(scan(&bytes), Err(Fault::TooDeep { .. })));
    }

    #[test]
    fn a_field_of_a_later_schema_is_seen() {
        // Field 99, a varint, at the top.
        let found = scan(&[0x98, 0x06, 0x01]).expect("well formed");
        assert_eq!(found.unknown, Some(("Model", 99)));
    }
}
