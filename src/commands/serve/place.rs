//! What a name and version on the server stands for.

use crate::bundle::Bundle;
use crate::gpuxfile::{Gpuxfile, Serving};
use crate::oci::{Descriptor, Digest, Reference};
use crate::serve::{ModelName, Version};
use crate::store::Lease;

use crate::commands::operand::Operand;
use crate::commands::remote;
use crate::commands::subject::Subject;
use crate::commands::{Context, Failure, OrFail};

/// Is what a name and version stands for.
#[derive(Clone, Debug)]
pub struct Place {
    /// What the user named: a reference, a folder or a file.
    pub operand: String,
    /// The reference, where it is one.
    pub reference: Option<Reference>,
    /// What the reference named when it was looked at last.
    pub seen: Option<Digest>,
    /// Why it could not be looked at last.
    pub trouble: Option<String>,
    /// How many bytes its layers have.
    pub size_bytes: Option<u64>,
    /// What the name and version stood for before, until this is loaded.
    pub before: Option<Box<Place>>,
}

/// Is what an operand names, with what it says of itself.
#[derive(Clone, Debug)]
pub struct Named {
    pub place: Place,
    pub name: ModelName,
    pub version: Version,
    /// What its GPUXfile says of serving.
    pub serving: Serving,
}

/// Is an artifact of the store, as it is now.
#[derive(Debug)]
pub struct Pinned {
    pub descriptor: Descriptor,
    pub lease: Lease,
}

impl Place {
    /// Finds what the reference names now, pulls it where it is missing, and keeps it; `None` for files outside of the store.
    pub fn pin(&self, context: &Context) -> Result<Option<Pinned>, Failure> {
        let Some(reference) = &self.reference else {
            return Ok(None);
        };
        let (entry, lease) = remote::checkout(&context.store()?, reference, context)?;
        Ok(Some(Pinned {
            descriptor: entry.descriptor,
            lease,
        }))
    }
}

impl Named {
    /// Finds the name and version of an operand, `[NAME=]REF|DIR|MODEL.onnx`, without reading more of it than that takes.
    ///
    /// Errors: it cannot be found or opened.
    pub fn find(operand: &str, context: &Context) -> Result<Named, Failure> {
        let (named, operand) = divide(operand);
        let store = context.home().ok().and(context.store().ok());
        let (place, gpuxfile) = match Operand::read(operand, store.as_ref())? {
            Operand::Artifact(reference) => Named::stored(operand, reference, context)?,
            Operand::Directory(_) | Operand::Model(_) => {
                let subject = Subject::open(operand, context)?;
                (Place::of_files(operand), subject.gpuxfile)
            }
        };
        let name = named.or_else(|| Some(gpuxfile.as_ref()?.name.value.as_str()));
        let name = name.unwrap_or_else(|| stem(operand)).to_owned();
        let version = version_of(place.reference.as_ref(), gpuxfile.as_ref());
        Ok(Named {
            place,
            name,
            version,
            serving: gpuxfile.map(|gpuxfile| gpuxfile.serving).unwrap_or_default(),
        })
    }

    /// Finds the name and version of an artifact of the store, or of a registry.
    ///
    /// Errors: it cannot be found, pulled or opened.
    pub fn find_stored(reference: &str, context: &Context) -> Result<Named, Failure> {
        let parsed = reference
            .parse()
            .or_fail(|| format!("cannot read `{reference}` as a reference"))?;
        let (place, gpuxfile) = Named::stored(reference, parsed, context)?;
        let name = gpuxfile
            .as_ref()
            .map(|gpuxfile| gpuxfile.name.value.as_str().to_owned());
        Ok(Named {
            version: version_of(place.reference.as_ref(), gpuxfile.as_ref()),
            name: name.unwrap_or_else(|| stem(reference).to_owned()),
            serving: gpuxfile.map(|gpuxfile| gpuxfile.serving).unwrap_or_default(),
            place,
        })
    }

    fn stored(operand: &str, reference: Reference, context: &Context) -> Result<(Place, Option<Gpuxfile>), Failure> {
        let store = context.store()?;
        let what = || format!("cannot open `{operand}`");
        let (entry, _lease) = remote::checkout(&store, &reference, context)?;
        let bundle = Bundle::open(&store, &entry.descriptor).or_fail(what)?;
        let gpuxfile = bundle.gpuxfile(&store).or_fail(what)?;
        let place = Place {
            reference: Some(reference),
            seen: Some(entry.descriptor.digest),
            size_bytes: Some(bundle.manifest().layers.iter().map(|layer| layer.size_bytes).sum()),
            ..Place::of_files(operand)
        };
        Ok((place, gpuxfile))
    }
}

impl Place {
    fn of_files(operand: &str) -> Place {
        Place {
            operand: operand.to_owned(),
            reference: None,
            seen: None,
            trouble: None,
            size_bytes: None,
            before: None,
        }
    }
}

/// Divides `NAME=REF`; what stands before the sign is a name only where it could be one.
pub fn divide(operand: &str) -> (Option<&str>, &str) {
    match operand.split_once('=') {
        Some((name, rest)) if !name.is_empty() && !name.contains(['/', '.', ':', '@']) => (Some(name), rest),
        _ => (None, operand),
    }
}

/// Gives a file's name without its ending.
fn stem(operand: &str) -> &str {
    let path = std::path::Path::new(operand);
    path.file_stem().and_then(|stem| stem.to_str()).unwrap_or(operand)
}

/// Gives the tag; for what is not an artifact, the GPUXfile's version.
fn version_of(reference: Option<&Reference>, gpuxfile: Option<&Gpuxfile>) -> Version {
    if let Some(reference) = reference {
        if let Some(digest) = reference.digest() {
            return digest.to_string();
        }
        if let Some(tag) = reference.tag() {
            return tag.as_str().to_owned();
        }
    }
    let version = gpuxfile.and_then(|gpuxfile| gpuxfile.version.as_ref());
    version.map_or_else(|| "latest".to_owned(), |version| version.value.to_string())
}
