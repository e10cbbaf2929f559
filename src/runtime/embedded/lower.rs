//! Rewrites a graph into one that rten reads right, where it does not read the file's own.
//!
//! - ArgMax and ArgMin: rten's give the last index of equal values, ONNX's the first. Its TopK of one gives the first, so
//!   that is what it is asked for; the last index, where a model wants it, is rten's own.
//! - External data: rten wants file names that end in `.data`, an offset and a length.

use std::collections::BTreeMap;

use prost::Message;
use prost::bytes::Bytes;

use super::Error;
use crate::onnx::Model;
use crate::onnx::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto};
use crate::tensor::{DType, TensorName};

/// Is what rten is given.
pub(super) struct Lowered {
    /// The graph, as an ONNX file.
    pub graph: Bytes,
    /// Each file of external data: the location in the model's own graph → the name in this one.
    pub names: BTreeMap<String, String>,
}

/// Brings into the graph what lies outside of it and is not mapped: types that rten converts. int64 is among them, whose
/// values decide whether the engine is offered the model.
///
/// Shape: `None` where nothing has to come in; what comes in is lent from `files`.
/// Errors: [`Error`] where external data is not described, not there or too short.
pub(super) fn bring_inside(model: &Model, files: &BTreeMap<&str, Bytes>) -> Result<Option<ModelProto>, Error> {
    let converted = |tensor: &TensorProto| is_external(tensor) && !is_mapped(tensor);
    let graph = model.proto().graph.as_ref();
    let wanted = |graph: &GraphProto| graph.initializer.iter().any(converted) || constants(&graph.node).any(converted);
    if !graph.is_some_and(wanted) {
        return Ok(None);
    }
    let mut proto = model.proto().clone();
    if let Some(graph) = &mut proto.graph {
        for tensor in outside(graph).filter(|tensor| !is_mapped(tensor)) {
            let found = find(tensor, files)?;
            tensor.raw_data = Some(found.bytes);
            tensor.external_data.clear();
            tensor.data_location = None;
        }
    }
    Ok(Some(proto))
}

/// Rewrites the graph where that is needed, and lends it as it is where not.
///
/// `files` holds the bytes of each location that external data names, and `inside` what [`bring_inside`] gave.
/// Errors: [`Error`] where external data is not described, not there or too short.
pub(super) fn lower(
    model: &Model,
    inside: Option<ModelProto>,
    files: &BTreeMap<&str, Bytes>,
) -> Result<Lowered, Error> {
    let mut lowered = Lowered {
        graph: model.bytes().clone(),
        names: BTreeMap::new(),
    };
    let wanted = |graph: &GraphProto| {
        graph.node.iter().any(is_arg)
            || graph.initializer.iter().any(is_external)
            || constants(&graph.node).any(is_external)
    };
    if inside.is_none() && !model.proto().graph.as_ref().is_some_and(wanted) {
        return Ok(lowered);
    }
    let mut proto = inside.unwrap_or_else(|| model.proto().clone());
    if let Some(graph) = &mut proto.graph {
        for tensor in outside(graph) {
            point(tensor, files, &mut lowered.names)?;
        }
        graph.node = std::mem::take(&mut graph.node)
            .into_iter()
            .flat_map(lower_arg)
            .collect();
    }
    lowered.graph = proto.encode_to_vec().into();
    Ok(lowered)
}

fn constants(nodes: &[NodeProto]) -> impl Iterator<Item = &TensorProto> {
    nodes
        .iter()
        .flat_map(|node| &node.attribute)
        .filter_map(|attribute| attribute.t.as_deref())
}

/// Gives the tensors of the graph that lie outside of it; a graph within it is refused before.
fn outside(graph: &mut GraphProto) -> impl Iterator<Item = &mut TensorProto> {
    let inside = graph
        .node
        .iter_mut()
        .flat_map(|node| &mut node.attribute)
        .filter_map(|attribute| attribute.t.as_deref_mut());
    graph
        .initializer
        .iter_mut()
        .chain(inside)
        .filter(|tensor| is_external(tensor))
}

/// Tells whether rten reads the elements where they lie in a file.
fn is_mapped(tensor: &TensorProto) -> bool {
    let dtype = DType::from_onnx(tensor.data_type());
    matches!(dtype, Some(DType::F32 | DType::I32 | DType::I8 | DType::U8))
}

fn is_external(tensor: &TensorProto) -> bool {
    tensor.data_location() == 1
}

/// Is where a tensor's external data lies.
struct Outside {
    location: String,
    offset: u64,
    length: u64,
    bytes: Bytes,
}

/// Finds a tensor's external data among the files.
fn find(tensor: &TensorProto, files: &BTreeMap<&str, Bytes>) -> Result<Outside, Error> {
    let name = || TensorName::new(tensor.name());
    let fault = |key| Error::ExternalEntry { tensor: name(), key };
    let text = |key: &'static str| {
        let entry = tensor.external_data.iter().find(|entry| entry.key() == key);
        entry
            .map(|entry| std::str::from_utf8(entry.value()).map_err(|_| fault(key)))
            .transpose()
    };
    let location = text("location")?.ok_or_else(|| fault("location"))?.to_owned();
    let offset = text("offset")?.map_or(Ok(0), str::parse).map_err(|_| fault("offset"))?;
    let length = size_bytes(tensor).ok_or_else(|| fault("length"))?;
    let shown = || TensorName::new(location.clone());
    let file = files.get(location.as_str()).ok_or_else(|| Error::NoExternalFile {
        tensor: name(),
        location: shown(),
    })?;
    let file_bytes = file.len() as u64;
    let end_bytes = u64::saturating_add(offset, length);
    if end_bytes > file_bytes {
        return Err(Error::ExternalShort {
            tensor: name(),
            location: shown(),
            end_bytes,
            file_bytes,
        });
    }
    let bytes = file.slice(offset as usize..end_bytes as usize);
    Ok(Outside {
        location,
        offset,
        length,
        bytes,
    })
}

/// Describes a tensor's external data as rten wants it.
fn point(
    tensor: &mut TensorProto,
    files: &BTreeMap<&str, Bytes>,
    names: &mut BTreeMap<String, String>,
) -> Result<(), Error> {
    let Outside {
        location,
        offset,
        length,
        bytes,
    } = find(tensor, files)?;
    // rten lends the bytes to its kernels where they lie, and those want whole words on word boundaries.
    if offset % 8 != 0 {
        tensor.raw_data = Some(bytes);
        tensor.external_data.clear();
        tensor.data_location = None;
        return Ok(());
    }
    let count = names.len();
    let alias = names.entry(location).or_insert_with(|| format!("{count}.data")).clone();
    let entry = |key: &str, value: String| StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value.into()),
    };
    tensor.external_data = vec![
        entry("location", alias),
        entry("offset", offset.to_string()),
        entry("length", length.to_string()),
    ];
    Ok(())
}

/// Gives the bytes that a tensor's elements take; `None` where its dimensions are none.
fn size_bytes(tensor: &TensorProto) -> Option<u64> {
    let bits = DType::from_onnx(tensor.data_type())?.bits() as u64;
    let dims = tensor.dims.iter().map(|&dim| u64::try_from(dim).ok());
    let elements = dims
        .into_iter()
        .try_fold(1u64, |product, dim| product.checked_mul(dim?))?;
    Some(elements.checked_mul(bits)?.div_ceil(8))
}

fn is_arg(node: &NodeProto) -> bool {
    matches!(node.op_type(), "ArgMax" | "ArgMin") && matches!(node.domain(), "" | "ai.onnx")
}

/// Says ArgMax and ArgMin in operators of which rten has the ties right.
fn lower_arg(mut node: NodeProto) -> Vec<NodeProto> {
    if !is_arg(&node) {
        return vec![node];
    }
    let attribute = |name: &str, default| {
        node.attribute
            .iter()
            .find(|a| a.name() == name)
            .map_or(default, |a| a.i())
    };
    let (axis, keep) = (attribute("axis", 0), attribute("keepdims", 1) != 0);
    if attribute("select_last_index", 0) != 0 {
        node.attribute
            .retain(|attribute| attribute.name() != "select_last_index");
        return vec![node];
    }
    let largest = i64::from(node.op_type() == "ArgMax");
    let output = node.output.first().cloned().unwrap_or_default();
    let kept = if keep {
        output.clone()
    } else {
        format!("{output}\0kept")
    };
    let top = NodeProto {
        op_type: Some("TopK".to_owned()),
        output: vec![String::new(), kept.clone()],
        attribute: vec![int("axis", axis), int("k", 1), int("largest", largest)],
        ..node.clone()
    };
    if keep {
        return vec![top];
    }
    let squeeze = NodeProto {
        op_type: Some("Squeeze".to_owned()),
        input: vec![kept],
        attribute: vec![AttributeProto {
            name: Some("axes".to_owned()),
            ints: vec![axis],
            r#type: Some(INTS),
            ..Default::default()
        }],
        ..node
    };
    vec![top, squeeze]
}

/// `AttributeProto.type` of an integer and of a list of them.
const INT: i32 = 2;
const INTS: i32 = 7;

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        i: Some(value),
        r#type: Some(INT),
        ..Default::default()
    }
}
