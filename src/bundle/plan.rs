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
const GRAPH_PATH: &str = "model.onnx";
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
    graphs: Vec<PlannedGraph>,
    pub(super) files: Vec<PlannedFile>,
    warnings: Vec<String>,
}

/// Is one model of the artifact to be.
#[derive(Debug)]
pub struct PlannedGraph {
    /// Its name in the GPUXfile.
    pub name: String,
    /// The graph, parsed and checked.
    pub model: onnx::Model,
    /// What it takes and gives.
    pub signature: Signature,
    /// The files that an engine loads, where they lie now.
    pub files: GraphFiles,
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
    /// A graph, by its place among the models, and its shards.
    Sharded(usize, Box<Sharding>),
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
        let assembly = Assembly::new(&context, options.weights);
        assembly.finish(gpuxfile, vec![graph], Vec::new())
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
        let mut graphs = Vec::new();
        for (_, path) in gpuxfile.graphs() {
            let source = path.value.as_str().to_owned();
            let path = locate(&gpuxfile, &context, (&source, path.span), FileRole::Model)?;
            graphs.push(Graph::read(path)?);
        }
        let signature = &graphs[gpuxfile.entry()].signature;
        let mut warnings: Vec<String> = gpuxfile.notices().iter().map(ToString::to_string).collect();
        if gpuxfile.is_python()
            && let Some(fault) = preprocessing_fault(&gpuxfile, &context, signature)?
        {
            let (rest, line) = gpuxfile.without_preprocessing(&fault);
            gpuxfile = rest;
            warnings.push(line);
        }
        gpuxfile.check(signature).map_err(Box::new)?;
        let signatures: Vec<&Signature> = graphs.iter().map(|graph| &graph.signature).collect();
        gpuxfile.wiring(&signatures).map_err(Box::new)?;
        Assembly::new(&context, options.weights).finish(gpuxfile, graphs, warnings)
    }

    /// Gives what the GPUXfile says.
    pub fn gpuxfile(&self) -> &Gpuxfile {
        &self.gpuxfile
    }

    /// Gives the models, in the order of the GPUXfile.
    pub fn graphs(&self) -> &[PlannedGraph] {
        &self.graphs
    }

    /// Gives the model that takes what a person gives.
    pub fn entry(&self) -> &PlannedGraph {
        &self.graphs[self.gpuxfile.entry()]
    }

    /// Counts the parameters of all the models.
    pub fn parameters(&self) -> u64 {
        self.graphs.iter().map(|graph| graph.model.summary().parameters).sum()
    }

    /// Tells whether a file of the artifact is one of its graphs.
    pub(super) fn is_graph(&self, path: &FilePath) -> bool {
        self.graphs.iter().any(|graph| graph_path(&graph.name) == path.as_str())
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
            Content::Bytes(_) | Content::Sharded(..) => None,
        }
    }

    /// Gives the keys of the GPUXfile that have no effect, or another than they name, a line each.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// Gives a model's path in the artifact.
fn graph_path(name: &str) -> String {
    format!("{name}.onnx")
}

/// Gathers the files of an artifact to be.
struct Assembly<'c> {
    context: &'c BuildContext,
    weights: Weights,
    files: BTreeMap<FilePath, PlannedFile>,
    /// The external data that became shards.
    sharded: Vec<PathBuf>,
}

impl<'c> Assembly<'c> {
    fn new(context: &'c BuildContext, weights: Weights) -> Self {
        Assembly {
            context,
            weights,
            files: BTreeMap::new(),
            sharded: Vec::new(),
        }
    }

    /// Finds the files that go along with the graphs, and gives each its place in the artifact.
    fn finish(mut self, gpuxfile: Gpuxfile, graphs: Vec<Graph>, mut warnings: Vec<String>) -> Result<Plan, Error> {
        let sources = gpuxfile.graphs();
        let names: Vec<String> = sources.iter().map(|(name, _)| (*name).to_owned()).collect();
        let sources: Vec<String> = sources.iter().map(|(_, path)| path.value.as_str().to_owned()).collect();
        let mut planned = Vec::with_capacity(graphs.len());
        for (at, graph) in graphs.into_iter().enumerate() {
            let files = self.add_graph((at, &names[at]), &graph, &sources[at])?;
            planned.push(PlannedGraph {
                name: names[at].clone(),
                model: graph.model,
                signature: graph.signature,
                files,
            });
        }
        for (path, source) in side_files(&gpuxfile, self.context)? {
            if self.sharded.contains(&source) {
                warnings.push(format!(
                    "`{path}` holds the model's external data, which goes along in shards and not as a file of its own"
                ));
                continue;
            }
            let role = Role::of_path(&path);
            self.add(path, role, Content::file(&source)?);
        }
        let path = |name: &String| ContextPath::parse(&graph_path(name)).expect("a model's name makes a legal path");
        let resolved = gpuxfile.clone().with_graphs(names.iter().map(path).collect());
        let text = resolved
            .resolved(&planned[gpuxfile.entry()].signature)
            .map_err(Box::new)?;
        let text = Content::Bytes(text.into_bytes().into());
        self.add(GPUXFILE_PATH.parse()?, Role::Gpuxfile, text);
        FilePath::check_distinct(self.files.keys())?;
        let mut plan = Plan {
            gpuxfile,
            graphs: planned,
            files: Vec::new(),
            warnings,
        };
        let mut files: Vec<PlannedFile> = self.files.into_values().collect();
        // Graphs come before other weights, and each kind in the order of its paths.
        files.sort_by_cached_key(|file| (file.role, !plan.is_graph(&file.path), file.path.clone()));
        plan.files = files;
        Ok(plan)
    }

    fn add(&mut self, path: FilePath, role: Role, content: Content) {
        let file = PlannedFile {
            path: path.clone(),
            role,
            content,
        };
        self.files.entry(path).or_insert(file);
    }

    /// Adds a graph, by its place and name, with its external data; `source` is its path in the context.
    fn add_graph(&mut self, (at, name): (usize, &str), graph: &Graph, source: &str) -> Result<GraphFiles, Error> {
        let mut external = BTreeMap::new();
        let mut locations: BTreeMap<FilePath, PathBuf> = BTreeMap::new();
        for data in graph.model.external().map_err(|source| graph.refused(source))? {
            let location = data.location.path();
            let relative = source
                .rsplit_once('/')
                .map_or_else(|| location.to_owned(), |(folder, _)| format!("{folder}/{location}"));
            let outside = |fault| Error::External {
                location: data.location.to_string(),
                fault,
            };
            let path = self.context.file(&relative)?.map_err(outside)?;
            locations.insert(location.parse()?, path.clone());
            external.insert(data.location.as_written().to_owned(), path);
        }
        graph.check(&external)?;
        let path: FilePath = graph_path(name).parse()?;
        match Sharding::plan(graph, &external, self.weights)? {
            Some(sharding) => {
                self.sharded.extend(locations.into_values());
                self.add(path, Role::Weight, Content::Sharded(at, Box::new(sharding)));
            }
            None => {
                self.add(path, Role::Weight, Content::file(&graph.path)?);
                for (location, path) in locations {
                    self.add_external(location, &path)?;
                }
            }
        }
        Ok(GraphFiles {
            graph: graph.path.clone(),
            external,
            cache: None,
        })
    }

    /// Adds a file of external data, which two models may share where it is the same one.
    fn add_external(&mut self, location: FilePath, path: &Path) -> Result<(), Error> {
        if let Some(known) = self.files.get(&location) {
            let is_same = matches!(&known.content, Content::File { path: known, .. } if known == path);
            return match is_same {
                true => Ok(()),
                false => Err(Error::SameLocation(location)),
            };
        }
        self.add(location, Role::Weight, Content::file(path)?);
        Ok(())
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
