use crate::serve::Loaded;

/// Loads what a server serves; the store stands behind it.
pub trait ModelSource: Send + Sync {
    /// Gives the models to serve, by name and version, in the order in which they are loaded.
    fn models(&self) -> Vec<(ModelName, Version)>;

    /// Loads one of them as it is now. It is called on a thread of its own, and may take long.
    fn load(&self, name: &str, version: &str) -> Result<Loaded, SourceError>;

    /// Guesses how much memory a model takes before it was ever loaded. Units: bytes.
    fn size_bytes(&self, name: &str, version: &str) -> Option<u64>;

    /// Looks which models are others than those loaded last, or than those looked at last. It may take long.
    ///
    /// `Err` beside a model says why nobody can tell; it is given once, until the reason is another.
    fn moved(&self, look: Look) -> Vec<Moved>;

    /// Lets a name stand for another artifact from now on; gives the version, which is the reference's own where none is
    /// asked for.
    fn assign(&self, name: &str, version: Option<&str>, reference: &str) -> Result<Version, SourceError>;
}

/// Says where a source looks for what has moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// On this machine.
    Here,
    /// At the registries too; what has moved there is brought.
    Registries,
}

/// Is a model that is another one than before, or of which that cannot be told.
#[derive(Clone, Debug)]
pub struct Moved {
    pub name: ModelName,
    pub version: Version,
    pub outcome: Result<(), SourceError>,
}

/// Says in words why a model could not be loaded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// Names a model.
pub type ModelName = String;
/// Names one of its versions.
pub type Version = String;
