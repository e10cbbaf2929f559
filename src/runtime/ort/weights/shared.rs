use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ort::session::builder::{PrepackedWeights, SessionBuilder};

use super::mapped::MappedTensor;
use crate::fs::{self, Stat};
use crate::runtime::ort::external::Located;
use crate::runtime::{Error, Source};

/// Is what the sessions of one model in this process have in common: weights mapped once, and their rearranged copies made
/// once.
///
/// ONNX Runtime shares rearranged weights only where the weights themselves are handed to it.
pub(in crate::runtime::ort) struct Shared {
    initializers: Vec<(String, MappedTensor)>,
    prepacked: PrepackedWeights,
}

/// Is a model that a session is open of.
struct InUse {
    graph: PathBuf,
    /// The file of the graph as it was.
    stat: Option<Stat>,
    shared: Weak<Shared>,
}

static IN_USE: Mutex<Vec<InUse>> = Mutex::new(Vec::new());

impl Shared {
    /// Gives what the sessions of a model share; `None` where no weight lies outside of its graph.
    pub fn of(source: &Source<'_>, located: &Located) -> Result<Option<Arc<Shared>>, Error> {
        if located.files.is_empty() {
            return Ok(None);
        }
        let graph = fs::canonical(&source.files.graph)?;
        let stat = fs::stat(&graph)?;
        let mut in_use = IN_USE.lock().unwrap_or_else(PoisonError::into_inner);
        in_use.retain(|model| model.shared.strong_count() > 0);
        let known = in_use.iter().find(|model| model.graph == graph && model.stat == stat);
        if let Some(shared) = known.and_then(|model| model.shared.upgrade()) {
            return Ok(Some(shared));
        }
        let shared = Arc::new(Shared {
            initializers: initializers(source, located)?,
            prepacked: PrepackedWeights::new(),
        });
        in_use.push(InUse {
            graph,
            stat,
            shared: Arc::downgrade(&shared),
        });
        Ok(Some(shared))
    }

    /// Hands the weights to a session that is being made, which this value must outlive.
    pub fn add_to(&self, builder: SessionBuilder) -> Result<SessionBuilder, ort::Error> {
        let mut builder = builder.with_prepacked_weights(&self.prepacked)?;
        for (name, tensor) in &self.initializers {
            tensor.add_to(&mut builder, name)?;
        }
        Ok(builder)
    }
}

/// Maps the initializers of the main graph that lie outside of it; ONNX Runtime takes no others from a caller.
fn initializers(source: &Source<'_>, located: &Located) -> Result<Vec<(String, MappedTensor)>, Error> {
    let mut mapped = std::collections::BTreeMap::new();
    let mut found = Vec::new();
    let outside = source.model.external()?;
    let main = source.model.proto().graph.iter().flat_map(|graph| &graph.initializer);
    let main: std::collections::HashMap<&str, &[i64]> =
        main.map(|tensor| (tensor.name(), tensor.dims.as_slice())).collect();
    for data in outside.iter().filter(|data| data.is_main_initializer) {
        let (Some(dims), Some(file)) = (
            main.get(data.name.as_str()),
            located.files.get(data.location.as_written()),
        ) else {
            continue;
        };
        let bytes = match mapped.get(file) {
            Some(bytes) => Clone::clone(bytes),
            None => {
                let bytes = fs::map(file)?;
                mapped.insert(file.clone(), bytes.clone());
                bytes
            }
        };
        let start = usize::try_from(data.offset_bytes).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(data.length_bytes).unwrap_or(usize::MAX));
        // A file that was cut since it was checked is an error that ONNX Runtime tells better.
        if end > bytes.len() {
            continue;
        }
        if let Some(tensor) = MappedTensor::new(bytes.slice(start..end), data.dtype, dims) {
            found.push((data.name.clone(), tensor));
        }
    }
    Ok(found)
}
