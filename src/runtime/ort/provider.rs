use std::path::PathBuf;

use ort::session::builder::SessionBuilder;

use crate::runtime::ProviderKind;

/// Says which execution provider of ONNX Runtime a session is for, and which library brings it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// What it is; anything but the embedded engine.
    pub kind: ProviderKind,
    /// The plugin library that brings it; `None` where ONNX Runtime itself has it.
    pub plugin: Option<PathBuf>,
}

impl Provider {
    /// Is the processor, which every ONNX Runtime has.
    pub const CPU: Provider = Provider {
        kind: ProviderKind::Cpu,
        plugin: None,
    };

    /// Adds the provider to a session that is being made.
    pub(super) fn register(&self, builder: SessionBuilder) -> Result<SessionBuilder, ort::Error> {
        match self.kind {
            // It is last in every session without being asked for.
            ProviderKind::Cpu => Ok(builder),
            kind => Err(ort::Error::new(format!("gpux cannot use {kind} yet"))),
        }
    }
}
