//! The tensors of a model, laid out in files of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::fs::{self, Stat};
use crate::oci::{Algorithm, Digest, Hasher};
use crate::onnx::{self, Placed, Weight, WeightData, WeightKey};
use crate::store::Blob;

use super::Error;
use super::graph::Graph;
use super::keeper::{Keeper, in_parallel};
use super::pieces::{Piece, PiecesReader, size_of};

/// A tensor of at least this size is a file of its own.
pub const SHARD_THRESHOLD_BYTES: u64 = 64 << 10;
/// The most files that tensors make one each; where there would be more, smaller ones share.
const MOST_SHARDS: usize = 256;
/// Tensors below this size may share a file.
const SHARING_BELOW_BYTES: u64 = 4 << 20;
/// Where tensors begin in a file that they share. Engines map whole pages.
pub const ALIGNMENT_BYTES: u64 = 4096;

/// Says how the tensors of a model lie in the artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// As in the files that are built, byte for byte.
    AsTheyAre,
    /// In files of their own, where they have at least so many bytes.
    Shards { threshold_bytes: u64 },
}

impl Default for Weights {
    fn default() -> Self {
        Weights::Shards {
            threshold_bytes: SHARD_THRESHOLD_BYTES,
        }
    }
}

/// Is what is to be done with the tensors of one model.
#[derive(Debug)]
pub struct Sharding {
    /// Those that get files of their own, in the order of the graph.
    leaving: Vec<Leaving>,
    /// Those that lie in other files and are too small to leave the graph.
    entering: Vec<Leaving>,
    /// The files that all of them are in, as they were when the model was read.
    files: Vec<(PathBuf, Option<Stat>)>,
}

#[derive(Clone, Debug)]
struct Leaving {
    key: WeightKey,
    name: String,
    pieces: Vec<Piece>,
}

impl Leaving {
    fn size_bytes(&self) -> u64 {
        size_of(&self.pieces)
    }
}

/// Is a model whose tensors are laid out.
#[derive(Debug)]
pub struct LaidOut {
    /// The graph that names the shards.
    pub graph: Blob,
    /// The digest of the graph's file as it was.
    pub original: Digest,
    /// The shards, each once.
    pub shards: BTreeSet<Blob>,
}

/// Is one file to be: a tensor, or several that share it.
struct Shard {
    pieces: Vec<Piece>,
    tensors: Vec<(WeightKey, u64, u64)>,
}

impl Sharding {
    /// Decides which tensors move; `None` where the file stays as it is, because nothing does.
    ///
    /// `external` gives the file of each location that the graph names.
    pub fn plan(
        graph: &Graph,
        external: &BTreeMap<String, PathBuf>,
        weights: Weights,
    ) -> Result<Option<Sharding>, Error> {
        let Weights::Shards { threshold_bytes } = weights else {
            return Ok(None);
        };
        let path: Arc<Path> = graph.path.as_path().into();
        let mut sharding = Sharding {
            leaving: Vec::new(),
            entering: Vec::new(),
            files: vec![(graph.path.clone(), graph.stat)],
        };
        let mut others: BTreeMap<&Path, Arc<Path>> = BTreeMap::new();
        for file in external.values() {
            if !others.contains_key(file.as_path()) {
                others.insert(file, file.as_path().into());
                sharding.files.push((file.clone(), fs::stat(file)?));
            }
        }
        for weight in graph.model.weights().map_err(|source| graph.refused(source))? {
            let is_large = weight.size_bytes >= threshold_bytes && weight.size_bytes > 0;
            let pieces = match &weight.data {
                WeightData::Within(_) if !is_large => continue,
                WeightData::Within(_) => pieces_within(&weight, &graph.model, &path),
                WeightData::External(data) => {
                    let file = external.get(data.location.as_written());
                    let file = file.and_then(|file| others.get(file.as_path()));
                    let file = file.ok_or_else(|| Error::MissingFile(data.location.to_string()))?;
                    vec![Piece::Part {
                        path: Arc::clone(file),
                        offset_bytes: data.offset_bytes,
                        size_bytes: data.length_bytes,
                    }]
                }
            };
            let moved = Leaving {
                key: weight.key,
                name: weight.name,
                pieces,
            };
            if is_large {
                sharding.leaving.push(moved);
            } else {
                sharding.entering.push(moved);
            }
        }
        let stays = sharding.leaving.is_empty() && sharding.entering.is_empty();
        Ok((!stays).then_some(sharding))
    }

    /// Gives every shard to `keeper`, and after them the graph that names them.
    ///
    /// Errors: those of the keeper; a file changed since the model was read.
    pub fn lay_out(&self, model: &onnx::Model, keeper: &dyn Keeper) -> Result<LaidOut, Error> {
        let (original, laid_out) = std::thread::scope(|scope| {
            let original = scope.spawn(|| {
                let mut file = fs::File::open(&self.files[0].0)?;
                Ok::<_, Error>(crate::store::hash(&mut file)?.digest)
            });
            let laid_out = self.keep_shards(keeper);
            let original = original.join().expect("hashing does not panic");
            (original, laid_out)
        });
        let (mut placed, shards) = laid_out?;
        for tensor in &self.entering {
            let bytes = PiecesReader::new(&tensor.pieces).read_all()?;
            placed.insert(tensor.key, Placed::Within(bytes));
        }
        let graph: Vec<Piece> = model.place(&placed).into_iter().map(Piece::Bytes).collect();
        let graph = keeper.keep(&graph, true)?;
        for (path, stat) in &self.files {
            if fs::stat(path)? != *stat {
                return Err(Error::Changed(path.clone()));
            }
        }
        Ok(LaidOut {
            graph,
            original: original?,
            shards,
        })
    }

    fn keep_shards(&self, keeper: &dyn Keeper) -> Result<(BTreeMap<WeightKey, Placed>, BTreeSet<Blob>), Error> {
        let shards = self.shards()?;
        let kept = keep_all(&shards, keeper)?;
        let mut placed = BTreeMap::new();
        for (shard, blob) in shards.iter().zip(&kept) {
            for (key, offset_bytes, length_bytes) in &shard.tensors {
                let to = Placed::At {
                    location: blob.digest.hex(),
                    offset_bytes: *offset_bytes,
                    length_bytes: *length_bytes,
                };
                placed.insert(*key, to);
            }
        }
        Ok((placed, kept.into_iter().collect()))
    }

    /// Decides which tensors share a file: none, where they make few enough without.
    fn shards(&self) -> Result<Vec<Shard>, Error> {
        let (small, large): (Vec<_>, Vec<_>) = self
            .leaving
            .iter()
            .partition(|tensor| tensor.size_bytes() < SHARING_BELOW_BYTES);
        let alone = || self.leaving.iter().map(Shard::of_one).collect();
        if self.leaving.len() <= MOST_SHARDS || small.is_empty() {
            return Ok(alone());
        }
        let digests = hash_all(&small)?;
        let distinct: BTreeSet<Digest> = digests.iter().copied().collect();
        if distinct.len() <= MOST_SHARDS {
            // Whether they are too many depends on how many of the large ones are equal.
            let all: BTreeSet<Digest> = distinct.into_iter().chain(hash_all(&large)?).collect();
            if all.len() <= MOST_SHARDS {
                return Ok(alone());
            }
        }
        let mut shards: Vec<Shard> = large.into_iter().map(Shard::of_one).collect();
        shards.extend(share(&small, &digests));
        Ok(shards)
    }
}

impl Shard {
    fn of_one(tensor: &Leaving) -> Shard {
        Shard {
            pieces: tensor.pieces.clone(),
            tensors: vec![(tensor.key, 0, tensor.size_bytes())],
        }
    }
}

/// Gives the pieces of a tensor within the graph's file: parts of the file where it has the raw form.
fn pieces_within(weight: &Weight, model: &onnx::Model, path: &Arc<Path>) -> Vec<Piece> {
    let WeightData::Within(elements) = &weight.data else {
        return Vec::new();
    };
    let part = |chunk: &bytes::Bytes| {
        Some(Piece::Part {
            path: Arc::clone(path),
            offset_bytes: model.offset_of(chunk)?,
            size_bytes: chunk.len() as u64,
        })
    };
    let parts = elements.as_raw().map(|chunks| chunks.iter().map(part).collect());
    match parts {
        Some(Some(parts)) => parts,
        _ => vec![Piece::Elements {
            elements: elements.clone(),
            size_bytes: weight.size_bytes,
        }],
    }
}

fn hash_all(tensors: &[&Leaving]) -> Result<Vec<Digest>, Error> {
    in_parallel(tensors, |tensor| {
        Ok(crate::store::hash(&mut PiecesReader::new(&tensor.pieces))?.digest)
    })
}

/// Puts tensors into shared files, in their order. Equal ones are there once; a file ends after a tensor whose name says
/// so by its hash, so that one that comes, goes or grows disturbs no other file than its own.
fn share(tensors: &[&Leaving], digests: &[Digest]) -> Vec<Shard> {
    let mut shards: Vec<Shard> = Vec::new();
    let mut known: BTreeMap<Digest, (usize, u64)> = BTreeMap::new();
    let mut is_open = false;
    for (tensor, digest) in tensors.iter().zip(digests) {
        let size_bytes = tensor.size_bytes();
        if let Some((shard, offset_bytes)) = known.get(digest) {
            shards[*shard].tensors.push((tensor.key, *offset_bytes, size_bytes));
            continue;
        }
        if !is_open {
            shards.push(Shard {
                pieces: Vec::new(),
                tensors: Vec::new(),
            });
        }
        let at = shards.len() - 1;
        let shard = &mut shards[at];
        let end_bytes = size_of(&shard.pieces);
        let offset_bytes = end_bytes.next_multiple_of(ALIGNMENT_BYTES);
        if offset_bytes > end_bytes {
            shard.pieces.push(Piece::Zeros(offset_bytes - end_bytes));
        }
        shard.pieces.extend(tensor.pieces.iter().cloned());
        shard.tensors.push((tensor.key, offset_bytes, size_bytes));
        known.insert(*digest, (at, offset_bytes));
        is_open = !Digest::of(tensor.name.as_bytes()).hex().starts_with('0');
    }
    shards
}

/// Keeps all shards, several at a time. Those that look alike wait for one another, so that equal ones are written once.
fn keep_all(shards: &[Shard], keeper: &dyn Keeper) -> Result<Vec<Blob>, Error> {
    let mut alike: BTreeMap<(u64, Digest), Vec<usize>> = BTreeMap::new();
    for (at, shard) in shards.iter().enumerate() {
        let head = head(&shard.pieces)?;
        alike.entry((size_of(&shard.pieces), head)).or_default().push(at);
    }
    // The large ones first: what comes last then ends soon after the rest.
    let mut queue: Vec<(Vec<usize>, bool)> = alike
        .into_iter()
        .rev()
        .map(|((size_bytes, _), shards)| (shards, keeper.may_have(size_bytes)))
        .collect();
    queue.sort_by_key(|(members, _)| std::cmp::Reverse(size_of(&shards[members[0]].pieces)));
    let kept = in_parallel(&queue, |(members, may_have)| {
        let mut blobs = Vec::with_capacity(members.len());
        for (turn, at) in members.iter().enumerate() {
            blobs.push((*at, keeper.keep(&shards[*at].pieces, *may_have || turn > 0)?));
        }
        Ok(blobs)
    })?;
    let kept: BTreeMap<usize, Blob> = kept.into_iter().flatten().collect();
    Ok(kept.into_values().collect())
}

/// Hashes the first page of what the pieces are.
fn head(pieces: &[Piece]) -> Result<Digest, Error> {
    use crate::store::Source;
    let mut page = [0; 4096];
    let filled = PiecesReader::new(pieces).fill(&mut page)?;
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(&page[..filled]);
    Ok(hasher.finish())
}
