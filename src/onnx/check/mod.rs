//! Refuses what no honest model has, before an engine sees it.
//!
//! Engines are no sandboxes: they read external data through any path, expand functions without end and trust the
//! sizes that a file claims. What is refused here is listed in [`Error`], one variant a reason.

mod functions;
mod graphs;
mod nodes;
mod tensors;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use super::visit::{Item, walk};
use super::{Error, ExternalData, Location, Model};

pub use functions::{CALL_DEPTH_MAX, EXPANDED_NODES_MAX, Index};
pub use nodes::{OPSET_MAX, Opsets};
pub use tensors::SparseFault;

/// The newest IR version whose fields are all known here; a newer one may name files that this check would not see.
pub const IR_VERSION_MAX: i64 = 14;

/// Knows the files that came with a model.
pub trait Files {
    /// Gives the size of the file at a location; `None` where the bundle has no such file.
    fn size_bytes(&self, location: &Location) -> Option<u64>;
}

/// Is files by their locations, as the graph writes them.
impl Files for BTreeMap<String, u64> {
    fn size_bytes(&self, location: &Location) -> Option<u64> {
        self.get(location.as_written()).copied()
    }
}

impl Model {
    /// Checks that an engine may see the model, which lies among `files`.
    ///
    /// Whether those files are links is for the caller to find out.
    ///
    /// Errors: the first reason against it.
    pub fn check(&self, files: &dyn Files) -> Result<(), Error> {
        let proto = &self.proto;
        if let Some((message, field)) = self.scan.unknown {
            return Err(Error::UnknownField { message, field });
        }
        if let Some((message, field)) = self.scan.doubled {
            return Err(Error::DoubledField { message, field });
        }
        if proto.ir_version() > IR_VERSION_MAX {
            return Err(Error::IrVersion {
                found: proto.ir_version(),
            });
        }
        if !proto.training_info.is_empty() {
            return Err(Error::Training);
        }
        let index = functions::Index::new(&proto.functions)?;
        let mut operators = nodes::Operators::new(proto, &index)?;
        walk(proto, &mut |item| match item {
            Item::Graph { graph, main } => graphs::check_graph(graph, main),
            Item::Function(function) => {
                operators.enter(function)?;
                graphs::check_function(function)
            }
            Item::Node(node) => operators.check(node),
            Item::Tensor { tensor, place } => tensors::check_tensor(tensor, place),
            Item::Sparse { sparse, place } => tensors::check_sparse(sparse, place),
        })?;
        functions::check_expansion(self.graph(), &index)?;
        self.external()?.iter().try_for_each(|data| check_file(data, files))
    }
}

/// Checks that external data is a part of one of the files.
fn check_file(data: &ExternalData, files: &dyn Files) -> Result<(), Error> {
    let Some(file_bytes) = files.size_bytes(&data.location) else {
        return Err(Error::NotInBundle {
            tensor: data.tensor.clone(),
            location: data.location.clone(),
        });
    };
    let end = data.offset_bytes.checked_add(data.length_bytes);
    if end.is_none_or(|end| end > file_bytes) {
        return Err(Error::PastEnd {
            tensor: data.tensor.clone(),
            location: data.location.clone(),
            offset_bytes: data.offset_bytes,
            length_bytes: data.length_bytes,
            file_bytes,
        });
    }
    Ok(())
}
