use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::fs::{self, Stat};
use crate::gpuxfile::{self, ContextPath, FileRole, Gpuxfile};
use crate::oci::FilePath;
use crate::onnx;
use crate::tensor::Signature;

use super::Error;
use super::context::BuildContext;
use super::graph::{Graph, GraphFiles};
use super::layer::Role;
use super::side::{locate, side_files};
use super::weights::{Sharding, Weights};

/// The path of the graph in an artifact of one model.
pub const GRAPH_PATH: &str = "model.onnx";
/// The path of the GPUXfile in an artifact.
pub const GPUXFILE_PATH: &str = "GPUXfile";

/// Says how a build context is read.
#[derive(Clone, Debug, Default)]
pub struct PlanOptions {
    /// The GPUXfile, where it is not the folder's own.
    pub gpuxfile: Option<PathBuf>,
    /// Whether links may lead out of the folder.
    pub follow_links: bool,
    /// How the tensors of the model lie in the artifact.
    pub weights: Weights,
}

/// Is a build context, read and checked: what will be in the artifact, and from where.
#[derive(Debug)]
pub struct Plan {
    pub(super) gpuxfile: Gpuxfile,
    pub(super) model: onnx::Model,
    pub(super) signature: Signature,
    pub(super) files: Vec<PlannedFile>,
    graph: GraphFiles,
    warnings: Vec<String>,
}

/// Is one file of the artifact to be.
#[derive(Debug)]
pub(super) struct PlannedFile {
    pub path: FilePath,
    pub role: Role,
    pub content: Content,
}

/// Is where the bytes of a planned file come from.
#[derive(Debug)]
pub(super) enum Content {
    Bytes(Bytes),
    File {
        path: PathBuf,
        stat: Option<Stat>,
    },
    /// The graph and its shards.
    Sharded(Box<Sharding>),
}

/// Finds the GPUXfile of a folder: `GPUXfile`, else `gpux.yml` or `gpux.yaml`.
pub fn find_gpuxfile(folder: &Path) -> Result<Option<PathBuf>, fs::Error> {
    for name in ["GPUXfile", "gpux.yml", "gpux.yaml"] {
        let path = folder.join(name);
        if fs::stat(&path)?.is_some_and(|found| found.is_file) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

impl Plan {
    /// Reads and checks a folder with a GPUXfile, or a bare ONNX file, for which a GPUXfile is derived.
    ///
    /// Errors: [`Error`] with the line of the GPUXfile, the tensor of the model or the file that is wrong.
    pub fn read(path: &Path, options: &PlanOptions) -> Result<Plan, Error> {
        if options.gpuxfile.is_some() || fs::stat(path)?.is_some_and(|found| found.is_folder) {
            return Plan::read_folder(path, options);
        }
        let folder = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        // The file that is named may be a link itself; what it names is the file's word, not the user's.
        let context = BuildContext::new(folder, false)?;
        let graph = Graph::read(path.to_owned())?;
        let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("model");
        let text = gpuxfile::draft(stem, GRAPH_PATH, &graph.signature);
        let gpuxfile = gpuxfile::parse(&text, GPUXFILE_PATH).map_err(Box::new)?;
        Plan::assemble(gpuxfile, graph, &context, (options.weights, Vec::new()))
    }

    fn read_folder(folder: &Path, options: &PlanOptions) -> Result<Plan, Error> {
        let path = match &options.gpuxfile {
            Some(path) => path.clone(),
            None => find_gpuxfile(folder)?.ok_or_else(|| Error::NoGpuxfile(folder.to_owned()))?,
        };
        let origin = path.strip_prefix(folder).unwrap_or(&path).display().to_string();
        let bytes = fs::read_at_most(&path, gpuxfile::SIZE_LIMIT_BYTES as usize + 1)?;
        let mut gpuxfile = gpuxfile::parse_bytes(&bytes, &origin).map_err(Box::new)?;
        let context = BuildContext::new(folder, options.follow_links)?;
        let source = gpuxfile.model.value.as_str().to_owned();
        let graph_path = locate(&gpuxfile, &context, (&source, gpuxfile.model.span), FileRole::Model)?;
        let graph = Graph::read(graph_path)?;
        let mut warnings: Vec<String> = gpuxfile.notices().iter().map(ToString::to_string).collect();
        if gpuxfile.is_python()
            && let Some(fault) = preprocessing_fault(&gpuxfile, &context, &graph.signature)?
        {
            let (rest, line) = gpuxfile.without_preprocessing(&fault);
            gpuxfile = rest;
            warnings.push(line);
        }
        gpuxfile.check(&graph.signature).map_err(Box::new)?;
        Plan::assemble(gpuxfile, graph, &context, (options.weights, warnings))
    }

    /// Finds the files that go along with the graph, and gives each its place in the artifact.
    fn assemble(
        gpuxfile: Gpuxfile,
        graph: Graph,
        context: &BuildContext,
        (weights, mut warnings): (Weights, Vec<String>),
    ) -> Result<Plan, Error> {
        let mut external = BTreeMap::new();
        let mut locations: BTreeMap<FilePath, PathBuf> = BTreeMap::new();
        for data in graph.model.external().map_err(|source| graph.refused(source))? {
            let location = data.location.path();
            let relative = gpuxfile
                .model
                .as_str()
                .rsplit_once('/')
                .map_or_else(|| location.to_owned(), |(folder, _)| format!("{folder}/{location}"));
            let outside = |fault| Error::External {
                location: data.location.to_string(),
                fault,
            };
            let path = context.file(&relative)?.map_err(outside)?;
            locations.insert(location.parse()?, path.clone());
            external.insert(data.location.as_written().to_owned(), path);
        }
        graph.check(&external)?;
        let sharding = Sharding::plan(&graph, &external, weights)?;
        let mut files: BTreeMap<FilePath, PlannedFile> = BTreeMap::new();
        let mut add = |path: FilePath, role, content| {
            files.entry(path.clone()).or_insert(PlannedFile { path, role, content });
        };
        let is_sharded = sharding.is_some();
        match sharding {
            Some(sharding) => add(GRAPH_PATH.parse()?, Role::Weight, Content::Sharded(Box::new(sharding))),
            None => {
                add(GRAPH_PATH.parse()?, Role::Weight, Content::file(&graph.path)?);
                for (location, path) in &locations {
                    add(location.clone(), Role::Weight, Content::file(path)?);
                }
            }
        }
        for (path, source) in side_files(&gpuxfile, context)? {
            if is_sharded && locations.values().any(|external| *external == source) {
                warnings.push(format!(
                    "`{path}` holds the model's external data, which goes along in shards and not as a file of its own"
                ));
                continue;
            }
            let role = Role::of_path(&path);
            add(path, role, Content::file(&source)?);
        }
        let mut resolved = gpuxfile.clone();
        resolved.model.value = ContextPath::parse(GRAPH_PATH).expect("the path is legal");
        let text = resolved.resolved(&graph.signature).map_err(Box::new)?;
        add(
            GPUXFILE_PATH.parse()?,
            Role::Gpuxfile,
            Content::Bytes(text.into_bytes().into()),
        );
        FilePath::check_distinct(files.keys())?;
        let mut files: Vec<PlannedFile> = files.into_values().collect();
        // The graph comes before other weights, and each kind in the order of its paths.
        files.sort_by(|left, right| {
            let rank = |file: &PlannedFile| (file.role, file.path.as_str() != GRAPH_PATH);
            rank(left).cmp(&rank(right)).then_with(|| left.path.cmp(&right.path))
        });
        let Graph {
            path, model, signature, ..
        } = graph;
        let graph = GraphFiles {
            graph: path,
            external,
            cache: None,
        };
        Ok(Plan {
            gpuxfile,
            model,
            signature,
            files,
            graph,
            warnings,
        })
    }

    /// Gives what the GPUXfile says.
    pub fn gpuxfile(&self) -> &Gpuxfile {
        &self.gpuxfile
    }

    /// Gives the graph.
    pub fn model(&self) -> &onnx::Model {
        &self.model
    }

    /// Gives what the model takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Gives the files that an engine loads, where they lie now.
    pub fn graph_files(&self) -> &GraphFiles {
        &self.graph
    }

    /// Names the files that will be in the artifact.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.path.as_str())
    }

    /// Finds a file of the artifact to be, where it lies now; `None` where there is none, or it is made by the build.
    pub fn file_path(&self, path: &str) -> Option<&Path> {
        let found = self.files.iter().find(|file| file.path.as_str() == path)?;
        match &found.content {
            Content::File { path, .. } => Some(path),
            Content::Bytes(_) => None,
        }
    }

    /// Gives the keys of the GPUXfile that have no effect, or another than they name, a line each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// Says why the steps of `preprocessing` cannot work: they do not fit the model, or their files are not there.
fn preprocessing_fault(
    gpuxfile: &Gpuxfile,
    context: &BuildContext,
    signature: &Signature,
) -> Result<Option<Box<gpuxfile::Error>>, Error> {
    if let Err(fault) = gpuxfile.feeds(signature) {
        return Ok(Some(Box::new(fault)));
    }
    for (path, span) in gpuxfile.step_files() {
        match locate(gpuxfile, context, (path.as_str(), span), FileRole::Tokenizer) {
            Err(Error::Gpuxfile(fault)) => return Ok(Some(fault)),
            found => drop(found?),
        }
    }
    Ok(None)
}

impl Content {
    /// Takes a file as it is now; a change before it is stored is an error then.
    fn file(path: &Path) -> Result<Content, fs::Error> {
        Ok(Content::File {
            path: path.to_owned(),
            stat: fs::stat(path)?,
        })
    }
}
