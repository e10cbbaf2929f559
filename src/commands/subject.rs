use std::path::{Path, PathBuf};

use crate::bundle::{self, Bundle, GraphFiles, Plan, PlanOptions};
use crate::fs;
use crate::gpuxfile::Gpuxfile;
use crate::oci::{Descriptor, Digest, MediaType};
use crate::onnx;
use crate::pipeline::{Pipeline, SideFiles};
use crate::predict::generate::Generator;
use crate::runtime::ModelFiles;
use crate::store::{Lease, Store};
use crate::tensor::Signature;

use super::generate;
use super::operand::Operand;
use super::{Context, Failure, OrFail, remote};

/// Is a model that a verb works on, wherever it came from, with its files ready to load.
#[derive(Debug)]
pub struct Subject {
    /// The GPUXfile: the artifact's, the folder's, or one derived from a bare model.
    pub gpuxfile: Option<Gpuxfile>,
    /// The graph, parsed and checked.
    pub model: onnx::Model,
    /// What the model takes and gives.
    pub signature: Signature,
    /// Where the files lie.
    pub files: ModelFiles,
    /// Where what engines make of the graph is kept; `None` for files outside of the store.
    pub cache: Option<PathBuf>,
    /// The other models of an artifact that has several.
    pub others: Vec<Other>,
    origin: Origin,
}

/// Is a model beside the one that takes what a person gives.
#[derive(Debug)]
pub struct Other {
    /// Its name in the GPUXfile.
    pub name: String,
    /// The graph, parsed and checked.
    pub model: onnx::Model,
    /// What it takes and gives.
    pub signature: Signature,
    /// Where its files lie.
    pub files: ModelFiles,
}

/// Is where a model came from.
#[derive(Debug)]
enum Origin {
    /// The store; the lease keeps its blobs there.
    Store {
        bundle: Box<Bundle>,
        descriptor: Box<Descriptor>,
        _lease: Lease,
    },
    /// Files outside the store.
    Files(Box<Plan>),
}

/// Is what the steps of a GPUXfile are made from; getting them ready needs nothing more of the subject.
#[derive(Debug)]
pub struct Steps {
    gpuxfile: Gpuxfile,
    signature: Signature,
    files: SideFiles,
}

impl Steps {
    /// Gets the steps ready, which takes a while where a tokenizer is large.
    pub fn ready(self) -> Result<Pipeline, Failure> {
        Pipeline::new(&self.gpuxfile, &self.signature, &self.files)
            .or_fail(|| "cannot get the steps of the GPUXfile ready".to_owned())
    }
}

/// Is what `inspect` tells of a layer.
#[derive(Debug)]
pub struct LayerFacts {
    pub path: String,
    pub media_type: MediaType,
    pub digest: Digest,
    pub size_bytes: u64,
}

impl Subject {
    /// Opens what `operand` names.
    pub fn open(operand: &str, context: &Context) -> Result<Subject, Failure> {
        let store = context.home().ok().and(context.store().ok());
        match Operand::read(operand, store.as_ref())? {
            Operand::Directory(path) | Operand::Model(path) => Subject::open_files(&path, context),
            Operand::Artifact(reference) => {
                let store = context.store()?;
                let (entry, lease) = remote::checkout(&store, &reference, context)?;
                Subject::open_stored(&store, &entry.descriptor, lease, operand)
            }
        }
    }

    /// Opens an artifact of the store that is leased, which the user calls `label`.
    pub fn open_stored(store: &Store, descriptor: &Descriptor, lease: Lease, label: &str) -> Result<Subject, Failure> {
        let what = || format!("cannot open `{label}`");
        let bundle = Bundle::open(store, descriptor).or_fail(what)?;
        let gpuxfile = bundle.gpuxfile(store).or_fail(what)?;
        let mut graphs = bundle.graphs(store).or_fail(what)?;
        let first = graphs.remove(gpuxfile.as_ref().map_or(0, Gpuxfile::entry));
        let bundle::BundledGraph {
            files,
            model,
            signature,
            ..
        } = first;
        let others = graphs.into_iter().map(|graph| Other {
            name: graph.name,
            model: graph.model,
            signature: graph.signature,
            files: model_files(&graph.files),
        });
        let others = others.collect();
        let cache = files.cache.clone();
        let files = model_files(&files);
        let origin = Origin::Store {
            bundle: Box::new(bundle),
            descriptor: Box::new(descriptor.clone()),
            _lease: lease,
        };
        Ok(Subject {
            gpuxfile,
            model,
            signature,
            files,
            cache,
            others,
            origin,
        })
    }

    /// Opens the same model once more, for another session; `operand` is what the user calls it.
    pub fn again(&self, operand: &str, context: &Context) -> Result<Subject, Failure> {
        let Origin::Store { descriptor, .. } = &self.origin else {
            return Subject::open(operand, context);
        };
        let store = context.store()?;
        let lease = store.lease(&[descriptor.digest]);
        let lease = lease.or_fail(|| format!("cannot open `{operand}`"))?;
        Subject::open_stored(&store, descriptor, lease, operand)
    }

    fn open_files(path: &Path, context: &Context) -> Result<Subject, Failure> {
        let what = || format!("cannot open `{}`", path.display());
        let plan = Plan::read(path, &PlanOptions::default()).or_fail(what)?;
        for warning in plan.warnings() {
            context.term.warn(warning);
        }
        Ok(Subject::of_plan(plan))
    }

    /// Takes what is to be built.
    pub fn of_plan(plan: Plan) -> Subject {
        let entry = plan.entry();
        let others = plan.graphs().iter().filter(|graph| graph.name != entry.name);
        let others = others.map(|graph| Other {
            name: graph.name.clone(),
            model: graph.model.clone(),
            signature: graph.signature.clone(),
            files: model_files(&graph.files),
        });
        Subject {
            gpuxfile: Some(plan.gpuxfile().clone()),
            model: entry.model.clone(),
            signature: entry.signature.clone(),
            files: model_files(&entry.files),
            cache: None,
            others: others.collect(),
            origin: Origin::Files(Box::new(plan)),
        }
    }

    /// Gets the steps of the GPUXfile ready; `None` where it has none.
    ///
    /// Errors: steps that do not fit the model, side files that are missing or not what they should be.
    pub fn pipeline(&self, context: &Context) -> Result<Option<Pipeline>, Failure> {
        self.steps(context)?.map(Steps::ready).transpose()
    }

    /// Reads what the steps of the GPUXfile need; `None` where it has none, or they are those of a generator.
    pub fn steps(&self, context: &Context) -> Result<Option<Steps>, Failure> {
        let has_steps = |file: &&Gpuxfile| {
            file.generation.is_none() && !(file.preprocessing.is_empty() && file.postprocessing.is_empty())
        };
        let Some(gpuxfile) = self.gpuxfile.as_ref().filter(has_steps) else {
            return Ok(None);
        };
        let mut files = SideFiles::new();
        for path in Pipeline::files(gpuxfile) {
            let bytes = self.read(&path, context)?;
            files.insert(path, bytes);
        }
        Ok(Some(Steps {
            gpuxfile: gpuxfile.clone(),
            signature: self.signature.clone(),
            files,
        }))
    }

    /// Gets the generation of the GPUXfile ready; `None` where it has none.
    ///
    /// Errors: models that do not hang together, side files that are missing or not what they should be.
    pub fn generator(&self, context: &Context) -> Result<Option<Generator>, Failure> {
        let Some(gpuxfile) = self.gpuxfile.as_ref().filter(|file| file.generation.is_some()) else {
            return Ok(None);
        };
        let mut files = SideFiles::new();
        for path in Pipeline::files(gpuxfile) {
            let bytes = self.read(&path, context)?;
            files.insert(path, bytes);
        }
        let mut signatures: Vec<&Signature> = self.others.iter().map(|other| &other.signature).collect();
        signatures.insert(gpuxfile.entry().min(signatures.len()), &self.signature);
        generate::cannot(Generator::new(gpuxfile, &signatures, &files))
    }

    /// Names the files of the artifact.
    pub fn paths(&self) -> Vec<String> {
        match &self.origin {
            Origin::Store { bundle, .. } => bundle.paths().map(str::to_owned).collect(),
            Origin::Files(plan) => plan.paths().map(str::to_owned).collect(),
        }
    }

    /// Reads a file of the artifact.
    pub fn read(&self, path: &str, context: &Context) -> Result<Vec<u8>, Failure> {
        let what = || format!("cannot read `{path}` of the artifact");
        let found = match &self.origin {
            Origin::Store { bundle, .. } => bundle.file_path(&context.store()?, path).or_fail(what)?,
            Origin::Files(plan) => match plan.file_path(path) {
                Some(found) => found.to_owned(),
                None => return Err(bundle::Error::MissingFile(path.to_owned())).or_fail(what),
            },
        };
        fs::read(&found).or_fail(what)
    }

    /// Tells whether the model is an artifact of the store.
    pub fn is_artifact(&self) -> bool {
        matches!(self.origin, Origin::Store { .. })
    }

    /// Gives the manifest's digest; for files outside the store, the one that `build` would give, which hashes them.
    pub fn digest(&self, context: &Context) -> Result<Digest, Failure> {
        match &self.origin {
            Origin::Store { descriptor, .. } => Ok(descriptor.digest),
            Origin::Files(plan) => {
                let manifest = bundle::assemble(plan, context.source_date()?.as_deref());
                Ok(manifest.or_fail(|| "cannot hash the files of the model".into())?.digest)
            }
        }
    }

    /// Gives the manifest's digest where the model is in the store, and none has to be made.
    pub fn stored_digest(&self) -> Option<Digest> {
        match &self.origin {
            Origin::Store { descriptor, .. } => Some(descriptor.digest),
            Origin::Files(_) => None,
        }
    }

    /// Gives the layers; those of files outside the store are what `build` would make.
    pub fn layers(&self) -> Result<Vec<LayerFacts>, Failure> {
        let manifest = match &self.origin {
            Origin::Store { bundle, .. } => bundle.manifest().clone(),
            Origin::Files(plan) => {
                let what = || "cannot hash the files of the model".into();
                bundle::assemble(plan, None).or_fail(what)?.manifest
            }
        };
        Ok(manifest
            .layers
            .into_iter()
            .map(|layer| LayerFacts {
                path: bundle::layer_path(&layer).unwrap_or_default().to_owned(),
                media_type: layer.media_type,
                digest: layer.digest,
                size_bytes: layer.size_bytes,
            })
            .collect())
    }
}

fn model_files(files: &GraphFiles) -> ModelFiles {
    ModelFiles {
        graph: files.graph.clone(),
        external: files.external.clone(),
    }
}
