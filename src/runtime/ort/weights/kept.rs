use std::fmt;
use std::path::PathBuf;

use ort::session::Session as OrtSession;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use prost::bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{commit_graph, failed_option, optimizing};
use crate::fs;
use crate::runtime::ort::external::Located;
use crate::runtime::{Error, Optimization, ProviderKind, SessionOptions, processor_name};

/// What a kept graph begins with: its form, and after it the hash of the rest.
const MAGIC: &[u8; 8] = b"gpuxopt1";
const HASH_BYTES: usize = 32;
/// The largest graph that is kept where its weights are not meant to be: it has none in it, or few.
const LARGEST_BYTES: u64 = 32 << 20;

/// Says what became of the optimized graph of a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptGraph {
    /// It was made earlier, and is used.
    Used,
    /// It was made, and is kept for the next load.
    Made,
    /// What was kept was damaged, and is made anew.
    Renewed,
    /// It could not be kept.
    Not(String),
}

impl fmt::Display for KeptGraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeptGraph::Used => f.write_str("from the cache"),
            KeptGraph::Made => f.write_str("made, and kept for the next load"),
            KeptGraph::Renewed => f.write_str("what was kept was damaged; made anew, and kept"),
            KeptGraph::Not(reason) => write!(f, "not kept: {reason}"),
        }
    }
}

/// Is where the optimized graph of one model, for one provider, device, version and set of options, is kept.
pub(super) struct KeptPlace {
    path: PathBuf,
    with_weights: bool,
}

/// Finds where the graph is kept; `None` where none is to be kept.
pub(super) fn place(located: &Located, options: &SessionOptions, provider: ProviderKind) -> Option<KeptPlace> {
    // What has which node is told of the model's nodes, not of those that the optimizer made.
    let cache = options.cache.as_ref().filter(|_| !options.explain)?;
    if !cache.with_weights && located.graph_bytes() > LARGEST_BYTES {
        return None;
    }
    let level = match options.optimization {
        Optimization::Extended => "extended",
        Optimization::All => "all",
    };
    // The folder is the model's; the rest is in the name.
    let key = [
        env!("CARGO_PKG_VERSION"),
        provider.name(),
        &processor_name(),
        ort::info(),
        level,
        located.folder.as_deref().unwrap_or_default(),
    ];
    let mut hasher = Sha256::new();
    for part in key {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let name: String = hasher
        .finalize()
        .iter()
        .take(16)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    Some(KeptPlace {
        path: cache.folder.join(format!("{name}.graph")),
        with_weights: cache.with_weights,
    })
}

impl KeptPlace {
    /// Makes the session of what is kept; where there is nothing, of the graph itself, and keeps what comes of it.
    pub fn commit(
        &self,
        builder: SessionBuilder,
        located: &Located,
        options: &SessionOptions,
    ) -> Result<(OrtSession, Option<KeptGraph>), Error> {
        let plain = builder.clone();
        let mut is_damaged = false;
        match self.read() {
            Ok(Some(graph)) => {
                let builder = builder.with_optimization_level(GraphOptimizationLevel::Disable);
                match builder.map_err(failed_option)?.commit_from_memory(&graph) {
                    Ok(session) => return Ok((session, Some(KeptGraph::Used))),
                    Err(_) => is_damaged = true,
                }
            }
            Ok(None) => {}
            Err(Damaged) => is_damaged = true,
        }
        if is_damaged {
            // It is made anew below; one that cannot be removed is told of there.
            let _ = fs::remove(&self.path);
        }
        let plain = optimizing(plain, options.optimization)?;
        let (session, told) = self.make(plain, located)?;
        Ok((
            session,
            Some(match told {
                Err(reason) => KeptGraph::Not(reason),
                Ok(()) if is_damaged => KeptGraph::Renewed,
                Ok(()) => KeptGraph::Made,
            }),
        ))
    }

    /// Makes the session of the graph itself; gives it, and why nothing is kept where nothing is.
    fn make(&self, builder: SessionBuilder, located: &Located) -> Result<(OrtSession, Result<(), String>), Error> {
        let mut plain = builder.clone();
        let prepared = self.temporary();
        let temporary = match prepared {
            Ok(temporary) => temporary,
            Err(error) => return Ok((commit_graph(&mut plain, located)?, Err(told(&error)))),
        };
        let mut saving = builder.with_optimized_model_path(&temporary).map_err(failed_option)?;
        let made = commit_graph(&mut saving, located);
        let kept = made.as_ref().map(|_| self.keep(&temporary));
        // What stays behind is recognised by its name.
        let _ = fs::remove(&temporary);
        match kept {
            Ok(kept) => Ok((made?, kept)),
            // A graph that does not load fails again, and one that could not be written does not.
            Err(error) => {
                let reason = error.to_string();
                Ok((commit_graph(&mut plain, located)?, Err(reason)))
            }
        }
    }

    /// Gives a free name beside the place, for what the optimizer writes.
    fn temporary(&self) -> Result<PathBuf, fs::Error> {
        let folder = self.path.parent().unwrap_or(std::path::Path::new("."));
        fs::create_folders(folder)?;
        let (path, _) = fs::unused(folder, &|n| format!(".optimized.{}-{n}.tmp", std::process::id()))?;
        Ok(path)
    }

    fn keep(&self, temporary: &std::path::Path) -> Result<(), String> {
        let graph = fs::map(temporary).map_err(|error| told(&error))?;
        if !self.with_weights && graph.len() as u64 > LARGEST_BYTES {
            return Err(format!(
                "the optimizer made {} MiB of it, weights among them; --cache-weights keeps those too",
                graph.len() >> 20
            ));
        }
        let hash = Sha256::digest(&graph);
        fs::replace_with(&self.path, &mut |file| {
            file.write_all(MAGIC)?;
            file.write_all(&hash)?;
            file.write_all(&graph)
        })
        .map_err(|error| told(&error))
    }

    /// Gives what is kept; `None` where nothing is.
    fn read(&self) -> Result<Option<Bytes>, Damaged> {
        if !fs::is_file(&self.path) {
            return Ok(None);
        }
        let bytes = fs::map(&self.path).map_err(|_| Damaged)?;
        let head = MAGIC.len() + HASH_BYTES;
        if bytes.len() <= head || &bytes[..MAGIC.len()] != MAGIC {
            return Err(Damaged);
        }
        let graph = bytes.slice(head..);
        if Sha256::digest(&graph).as_slice() != &bytes[MAGIC.len()..head] {
            return Err(Damaged);
        }
        Ok(Some(graph))
    }
}

/// Says that what is kept is not what was written.
struct Damaged;

fn told(error: &fs::Error) -> String {
    format!("{error}: {}", error.source)
}
