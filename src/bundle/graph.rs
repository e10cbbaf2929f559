use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::fs::{self, Stat};
use crate::onnx;
use crate::tensor::Signature;

use super::Error;

/// Says where the files lie that an engine loads.
#[derive(Clone, Debug)]
pub struct GraphFiles {
    /// The graph.
    pub graph: PathBuf,
    /// Each `location` of external data that the graph names, as it is written there, with its file.
    pub external: BTreeMap<String, PathBuf>,
    /// Where what engines make of the graph is kept; `None` for files outside of the store.
    pub cache: Option<PathBuf>,
}

/// Is a graph on its way into or out of an artifact.
#[derive(Debug)]
pub(super) struct Graph {
    pub path: PathBuf,
    /// The file as it was before it was read.
    pub stat: Option<Stat>,
    pub model: onnx::Model,
    pub signature: Signature,
}

impl Graph {
    /// Reads the graph at `path`, mapped and not copied.
    pub fn read(path: PathBuf) -> Result<Graph, Error> {
        let refused = |source| Error::Model {
            path: path.clone(),
            source: Box::new(source),
        };
        let stat = fs::stat(&path)?;
        let model = onnx::Model::parse(fs::map(&path)?).map_err(refused)?;
        let signature = model.signature().map_err(refused)?;
        Ok(Graph {
            path,
            stat,
            model,
            signature,
        })
    }

    /// Checks the graph against the files that its external data names.
    pub fn check(&self, external: &BTreeMap<String, PathBuf>) -> Result<(), Error> {
        let mut sizes = BTreeMap::new();
        for (location, path) in external {
            if let Some(found) = fs::stat(path)? {
                sizes.insert(location.clone(), found.size_bytes);
            }
        }
        self.model.check(&sizes).map_err(|source| self.refused(source))
    }

    /// Names the file that an error of the model is about.
    pub fn refused(&self, source: onnx::Error) -> Error {
        Error::Model {
            path: self.path.clone(),
            source: Box::new(source),
        }
    }
}
