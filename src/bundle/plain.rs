use std::collections::BTreeMap;

use bytes::Bytes;

use crate::fs;
use crate::onnx::{self, Placed, Weight, WeightData};

use super::weights::{ALIGNMENT_BYTES, SHARD_THRESHOLD_BYTES};
use super::{Error, GraphFiles};

/// The largest ONNX file that readers take.
///
/// Source: protobuf's own limit on a message.
pub const LARGEST_FILE_BYTES: u64 = (1 << 31) - 1;

/// Is a model in as few files as it fits in.
///
/// Shape: pieces that, one after the other, are the file. Weights are lent from where they lie and not copied.
#[derive(Debug)]
pub struct Plain {
    /// The ONNX file.
    pub graph: Vec<Bytes>,
    /// The file beside it with the data of its large tensors, where one file would be too large.
    pub data: Option<Vec<Bytes>>,
}

/// Puts a model together again: one file where it has at most `limit_bytes`, else two, the second of which is named
/// `data_name` in the first.
///
/// Every tensor has the elements that it had.
pub fn plain(files: &GraphFiles, model: &onnx::Model, (data_name, limit_bytes): (&str, u64)) -> Result<Plain, Error> {
    let refused = |source| Error::Model {
        path: files.graph.clone(),
        source: Box::new(source),
    };
    let weights = model.weights().map_err(refused)?;
    let outside = read_outside(files, &weights)?;
    let within = |bytes: &Bytes| Placed::Within(bytes.clone());
    let graph = model.place(
        &outside
            .iter()
            .map(|(at, bytes)| (weights[*at].key, within(bytes)))
            .collect(),
    );
    if size_of(&graph) <= limit_bytes {
        return Ok(Plain { graph, data: None });
    }
    let mut data = Vec::new();
    let mut end_bytes: u64 = 0;
    let mut placed = BTreeMap::new();
    for (at, bytes) in &outside {
        let weight = &weights[*at];
        if weight.size_bytes < SHARD_THRESHOLD_BYTES {
            placed.insert(weight.key, within(bytes));
            continue;
        }
        let offset_bytes = end_bytes.next_multiple_of(ALIGNMENT_BYTES);
        data.push(Bytes::from(vec![0; (offset_bytes - end_bytes) as usize]));
        data.push(bytes.clone());
        end_bytes = offset_bytes + weight.size_bytes;
        let to = Placed::At {
            location: data_name.to_owned(),
            offset_bytes,
            length_bytes: weight.size_bytes,
        };
        placed.insert(weight.key, to);
    }
    Ok(Plain {
        graph: model.place(&placed),
        data: Some(data),
    })
}

/// Gives the data of each tensor that lies outside of the graph, by its place in `weights`.
fn read_outside(files: &GraphFiles, weights: &[Weight]) -> Result<Vec<(usize, Bytes)>, Error> {
    let mut mapped: BTreeMap<&str, Bytes> = BTreeMap::new();
    let mut outside = Vec::new();
    for (at, weight) in weights.iter().enumerate() {
        let WeightData::External(data) = &weight.data else {
            continue;
        };
        let location = data.location.as_written();
        let missing = || Error::MissingFile(data.location.to_string());
        if !mapped.contains_key(location) {
            let path = files.external.get(location).ok_or_else(missing)?;
            mapped.insert(location, fs::map(path)?);
        }
        let file = &mapped[location];
        let start = usize::try_from(data.offset_bytes).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(data.length_bytes).unwrap_or(usize::MAX));
        // The check of the model has held every length against its file; a file that was cut since is a missing one.
        if end > file.len() {
            return Err(missing());
        }
        outside.push((at, file.slice(start..end)));
    }
    Ok(outside)
}

fn size_of(pieces: &[Bytes]) -> u64 {
    pieces.iter().map(|piece| piece.len() as u64).sum()
}
