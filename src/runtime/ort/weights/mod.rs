//! How a graph becomes a session without its weights being copied: mapped where they lie, shared between the sessions of a
//! process, and with what the optimizer made of the graph kept for the next load.

mod kept;
mod mapped;
mod shared;

use std::sync::Arc;

use ort::session::Session as OrtSession;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};

use super::external::{Located, Place};
use crate::runtime::{Error, Foreign, Optimization, ProviderKind, SessionOptions, Source};

pub use kept::KeptGraph;
pub(super) use shared::Shared;

/// Is a session that was made, and what it must not outlive.
pub(super) struct Committed {
    pub session: OrtSession,
    /// What it has in common with others.
    pub shared: Option<Arc<Shared>>,
    /// What became of the optimized graph; `None` where none was to be kept.
    pub kept: Option<KeptGraph>,
}

/// Makes the session of a graph whose external data is located.
///
/// On the processor the graph is optimized as far as `options` says; on a device, whose weights are copied there anyhow, as
/// far as possible.
pub(super) fn commit(
    builder: SessionBuilder,
    (source, located): (&Source<'_>, &Located),
    options: &SessionOptions,
    provider: ProviderKind,
) -> Result<Committed, Error> {
    let mut builder = builder;
    if let Some(folder) = &located.folder {
        builder = builder
            .with_config_entry("session.model_external_initializers_file_folder_path", folder)
            .map_err(failed_option)?;
    }
    if provider != ProviderKind::Cpu {
        return Ok(Committed {
            session: commit_graph(&mut builder, located)?,
            shared: None,
            kept: None,
        });
    }
    let shared = match options.prepack {
        true => Shared::of(source, located)?,
        false => None,
    };
    if let Some(shared) = &shared {
        builder = shared.add_to(builder).map_err(failed_option)?;
    }
    // A graph that was optimized for fixed sizes is of no use for others.
    let place = kept::place(located, options, provider).filter(|_| options.dimensions.is_empty());
    let (session, kept) = match place {
        Some(place) => place.commit(builder, located, options)?,
        None => {
            let mut builder = optimizing(builder, options.optimization)?;
            (commit_graph(&mut builder, located)?, None)
        }
    };
    Ok(Committed { session, shared, kept })
}

fn optimizing(builder: SessionBuilder, optimization: Optimization) -> Result<SessionBuilder, Error> {
    let level = match optimization {
        Optimization::Extended => GraphOptimizationLevel::Level2,
        Optimization::All => GraphOptimizationLevel::All,
    };
    builder.with_optimization_level(level).map_err(failed_option)
}

/// Loads the graph: its file where its data lies beside it under the names that the graph has, else its bytes.
fn commit_graph(builder: &mut SessionBuilder, located: &Located) -> Result<OrtSession, Error> {
    let loaded = match &located.place {
        Place::File(path) => builder.commit_from_file(path),
        Place::Memory(graph) => builder.commit_from_memory(graph),
    };
    loaded.map_err(failed)
}

fn failed(source: ort::Error) -> Error {
    Error::Load {
        source: Foreign(source),
    }
}

fn failed_option(error: impl Into<ort::Error>) -> Error {
    failed(error.into())
}
