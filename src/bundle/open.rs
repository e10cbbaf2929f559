use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::fs;
use crate::gpuxfile::{self, Gpuxfile};
use crate::oci::{Descriptor, Digest, Document, FilePath, Index, Kind, MAX_DOCUMENT_BYTES, Manifest, Packing};
use crate::onnx;
use crate::store::Store;
use crate::tensor::Signature;

use super::Error;
use super::graph::{Graph, GraphFiles};
use super::layer::{ORIGINAL_DIGEST, layer_path};
use super::plan::GPUXFILE_PATH;
use super::unpacked::unpacked;
use super::weights::ALIGNMENT_BYTES;

/// Is an artifact in the store, opened.
#[derive(Debug)]
pub struct Bundle {
    manifest: Manifest,
    files: BTreeMap<FilePath, File>,
}

/// Is one model of an artifact, found and checked.
#[derive(Debug)]
pub struct BundledGraph {
    /// Its name in the GPUXfile; `model` where it is alone.
    pub name: String,
    /// Where its files lie.
    pub files: GraphFiles,
    /// The graph.
    pub model: onnx::Model,
    /// What it takes and gives.
    pub signature: Signature,
}

/// Says where a file of an artifact lies.
#[derive(Clone, Debug)]
enum File {
    /// It is a blob of the store.
    Blob(Digest),
    /// It was in a layer that is an archive, and lies unpacked in the cache.
    Unpacked(PathBuf),
}

impl Bundle {
    /// Opens the artifact that `descriptor` names.
    ///
    /// Errors: it is somebody's container image or another thing, or a layer's path is missing, unsafe or doubled.
    pub fn open(store: &Store, descriptor: &Descriptor) -> Result<Bundle, Error> {
        let manifest = match store.document(descriptor)? {
            Document::Manifest(manifest) => manifest,
            Document::Index(index) => only_variant(store, descriptor, &index)?,
        };
        let Some(kind) = manifest.kind() else {
            return Err(Error::NotAnArtifact(descriptor.digest, manifest.described()));
        };
        let mut files = BTreeMap::new();
        let mut paths: Vec<FilePath> = Vec::new();
        for layer in &manifest.layers {
            let packing = layer.packing(kind).ok_or_else(|| Error::LayerType {
                path: layer_path(layer).unwrap_or_default().escape_debug().to_string(),
                media_type: layer.media_type.to_string(),
            })?;
            if packing == Packing::Raw {
                let path = layer_path(layer).ok_or(Error::UnnamedLayer(layer.digest))?;
                let path: FilePath = path.parse()?;
                paths.push(path.clone());
                files.insert(path, File::Blob(layer.digest));
                continue;
            }
            for (path, file) in unpacked(store, layer, packing)? {
                paths.push(path.clone());
                files.insert(path, File::Unpacked(file));
            }
        }
        FilePath::check_distinct(&paths)?;
        Ok(Bundle { manifest, files })
    }

    /// Gives the manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Gives the digest of the ONNX file that the artifact was built from, where it says one.
    pub fn original_digest(&self) -> Option<Digest> {
        let said = self
            .manifest
            .layers
            .iter()
            .find_map(|layer| layer.annotation(ORIGINAL_DIGEST));
        said.and_then(|digest| digest.parse().ok())
    }

    /// Gives the paths of the files.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(FilePath::as_str)
    }

    /// Reads the artifact's GPUXfile; `None` where it has none, as artifacts of other tools.
    pub fn gpuxfile(&self, store: &Store) -> Result<Option<Gpuxfile>, Error> {
        let bytes = match self.file(GPUXFILE_PATH) {
            None => return Ok(None),
            Some(File::Blob(digest)) => store.read(digest, gpuxfile::SIZE_LIMIT_BYTES)?,
            Some(File::Unpacked(path)) => {
                let limit = usize::try_from(gpuxfile::SIZE_LIMIT_BYTES + 1).unwrap_or(usize::MAX);
                fs::read_at_most(path, limit)?
            }
        };
        Ok(Some(gpuxfile::parse_bytes(&bytes, GPUXFILE_PATH).map_err(Box::new)?))
    }

    /// Finds a file of the artifact, verified, where it lies.
    ///
    /// Errors: the artifact has no such file, or its blob is missing or damaged.
    pub fn file_path(&self, store: &Store, path: &str) -> Result<PathBuf, Error> {
        self.blob(store, path)
    }

    /// Finds the graphs and their external data in the store, and checks them, before any engine sees them.
    ///
    /// Shape: one for each of the GPUXfile's models, in its order, with its name.
    /// Errors: files that are missing or damaged, a model that is refused.
    pub fn graphs(&self, store: &Store) -> Result<Vec<BundledGraph>, Error> {
        let (paths, _) = self.graph_paths(store)?;
        let graphs = paths.into_iter();
        graphs.map(|(name, path)| self.read_graph(store, name, &path)).collect()
    }

    /// Finds as [`Bundle::graphs`] does the one that takes what a person gives.
    pub fn graph(&self, store: &Store) -> Result<(GraphFiles, onnx::Model), Error> {
        let (mut paths, entry) = self.graph_paths(store)?;
        let (name, path) = paths.swap_remove(entry);
        let graph = self.read_graph(store, name, &path)?;
        Ok((graph.files, graph.model))
    }

    /// Gives the models with their names and paths, and the place of the one that takes what a person gives.
    fn graph_paths(&self, store: &Store) -> Result<(Vec<(String, String)>, usize), Error> {
        let Some(gpuxfile) = self.gpuxfile(store)? else {
            return Ok((vec![("model".to_owned(), self.only_graph(store)?)], 0));
        };
        let graphs = gpuxfile.graphs().into_iter();
        let paths = graphs.map(|(name, path)| (name.to_owned(), path.value.as_str().to_owned()));
        Ok((paths.collect(), gpuxfile.entry()))
    }

    fn read_graph(&self, store: &Store, name: String, path: &str) -> Result<BundledGraph, Error> {
        let graph = Graph::read(self.blob(store, path)?)?;
        let folder = path.rsplit_once('/').map(|(folder, _)| folder);
        let mut external = BTreeMap::new();
        for data in graph.model.external().map_err(|source| graph.refused(source))? {
            let location = data.location.path();
            let file = folder.map_or_else(|| location.to_owned(), |folder| format!("{folder}/{location}"));
            self.check_shard(&file, &data)?;
            external.insert(data.location.as_written().to_owned(), self.blob(store, &file)?);
        }
        graph.check(&external)?;
        let files = GraphFiles {
            graph: graph.path,
            external,
            cache: match self.file(path) {
                Some(File::Blob(digest)) => Some(store.optimized(digest)),
                _ => None,
            },
        };
        Ok(BundledGraph {
            name,
            files,
            model: graph.model,
            signature: graph.signature,
        })
    }

    /// Writes every file below `folder`, which is new or empty.
    pub fn unpack(&self, store: &Store, folder: &Path) -> Result<(), Error> {
        for path in self.files.keys() {
            let blob = self.blob(store, path.as_str())?;
            let target = folder.join(path.as_str());
            if let Some(parent) = target.parent() {
                fs::create_folders(parent)?;
            }
            fs::copy(&blob, &target)?;
        }
        Ok(())
    }

    fn file(&self, path: &str) -> Option<&File> {
        let found = self.files.iter().find(|(file, _)| file.as_str() == path);
        found.map(|(_, file)| file)
    }

    /// Refuses a file that is named by the hash of other content, and a tensor that begins where none does: somebody has
    /// mixed up layers or offsets, and the engine would take them as they are.
    fn check_shard(&self, path: &str, data: &onnx::ExternalData) -> Result<(), Error> {
        let name = path.rsplit('/').next().unwrap_or(path);
        let named: Option<Digest> = format!("sha256:{name}").parse().ok();
        let (Some(named), Some(File::Blob(found))) = (named, self.file(path)) else {
            return Ok(());
        };
        if found.algorithm() == named.algorithm() && *found != named {
            return Err(Error::ShardSwapped {
                tensor: data.tensor.clone(),
                named,
                found: Box::new(*found),
            });
        }
        if !data.offset_bytes.is_multiple_of(ALIGNMENT_BYTES) {
            return Err(Error::ShardOffset {
                tensor: data.tensor.clone(),
                shard: named,
                offset_bytes: data.offset_bytes,
            });
        }
        Ok(())
    }

    /// Gives the verified blob of the file at `path`, or the file itself where it was unpacked.
    fn blob(&self, store: &Store, path: &str) -> Result<PathBuf, Error> {
        match self.file(path) {
            Some(File::Blob(digest)) => Ok(store.blob(digest)?),
            Some(File::Unpacked(file)) => Ok(file.clone()),
            None => Err(Error::MissingFile(path.to_owned())),
        }
    }

    /// Finds the graph of an artifact without a GPUXfile: the only one, or the one that a ModelKit's Kitfile names.
    fn only_graph(&self, store: &Store) -> Result<String, Error> {
        let mut graphs = self.paths().filter(|path| path.ends_with(".onnx"));
        match (graphs.next(), graphs.count()) {
            (Some(only), 0) => Ok(only.to_owned()),
            (first, rest) => {
                let count = rest + usize::from(first.is_some());
                self.graph_of_kit(store).ok_or(Error::NoModel(count))
            }
        }
    }

    /// The graph at the Kitfile's model path, or the only one below it. A Kitfile that cannot be read names none.
    fn graph_of_kit(&self, store: &Store) -> Option<String> {
        #[derive(serde::Deserialize)]
        struct Kitfile {
            model: Model,
        }
        #[derive(serde::Deserialize)]
        struct Model {
            path: String,
        }
        let config = &self.manifest.config;
        if self.manifest.kind() != Some(Kind::ModelKit) || config.size_bytes > MAX_DOCUMENT_BYTES {
            return None;
        }
        let bytes = store.read(&config.digest, MAX_DOCUMENT_BYTES).ok()?;
        let kitfile: Kitfile = serde_json::from_slice(&bytes).ok()?;
        let path = kitfile.model.path.trim_start_matches("./").trim_end_matches('/');
        let below = |found: &&str| {
            let rest = found.strip_prefix(path)?;
            (rest.is_empty() || rest.starts_with('/')).then_some(())
        };
        let mut graphs = self
            .paths()
            .filter(|found| found.ends_with(".onnx") && below(found).is_some());
        let only = graphs.next()?;
        graphs.next().is_none().then(|| only.to_owned())
    }
}

/// An index of one model is as good as the model; among several nobody has chosen.
fn only_variant(store: &Store, descriptor: &Descriptor, index: &Index) -> Result<Manifest, Error> {
    let variants: Vec<&Descriptor> = index
        .manifests
        .iter()
        .filter(|child| child.media_type.is_manifest())
        .collect();
    if let [only] = variants[..]
        && let Document::Manifest(manifest) = store.document(only)?
    {
        return Ok(manifest);
    }
    Err(Error::Variants {
        index: descriptor.digest,
        variants: variants.iter().map(|child| child.digest).collect(),
    })
}
