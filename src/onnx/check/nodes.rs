use std::collections::{HashMap, HashSet};

use super::functions::Index;
use super::graphs::check_type;
use crate::onnx::proto::{AttributeProto, FunctionProto, ModelProto, NodeProto, OperatorSetIdProto};
use crate::onnx::summary::{DEFAULT_DOMAIN, domain_name};
use crate::onnx::visit::node_label;
use crate::onnx::{Attribute, Error, Label};

/// The highest version of an operator set that is believed.
pub const OPSET_MAX: i64 = 1000;

/// The domains whose operators engines have.
const DOMAINS: [&str; 3] = [DEFAULT_DOMAIN, "ai.onnx.ml", MICROSOFT];

const MICROSOFT: &str = "com.microsoft";

/// Is the operator sets in force: version by domain.
#[derive(Clone, Debug, Default)]
pub struct Opsets<'m>(HashMap<&'m str, u64>);

impl<'m> Opsets<'m> {
    /// Reads the imports of a model or a function.
    ///
    /// Errors: a domain imported twice, a version that is no version.
    pub fn read(imports: &'m [OperatorSetIdProto]) -> Result<Self, Error> {
        let mut versions = HashMap::new();
        for import in imports {
            let domain = domain_name(import.domain());
            let version = import.version();
            if !(1..=OPSET_MAX).contains(&version) {
                return Err(Error::OpsetVersion {
                    domain: Label::new(domain),
                    version,
                });
            }
            if versions.insert(domain, version.unsigned_abs()).is_some() {
                return Err(Error::OpsetTwice {
                    domain: Label::new(domain),
                });
            }
        }
        Ok(Opsets(versions))
    }

    /// Takes over what only the model imports, as engines do for a function that leaves an import out.
    pub fn or(mut self, model: &Opsets<'m>) -> Self {
        for (domain, version) in &model.0 {
            self.0.entry(domain).or_insert(*version);
        }
        self
    }

    /// Gives the version in force for a domain.
    ///
    /// Microsoft's operators have had one version, and many files leave its import out.
    pub fn version(&self, domain: &str) -> Option<u64> {
        let domain = domain_name(domain);
        let implied = (domain == MICROSOFT).then_some(1);
        self.0.get(domain).copied().or(implied)
    }
}

/// Checks nodes, one after the other, each by the operator sets that are in force where it stands.
pub struct Operators<'m> {
    index: &'m Index<'m>,
    model: Opsets<'m>,
    here: Opsets<'m>,
}

impl<'m> Operators<'m> {
    /// Begins with the main graph.
    pub fn new(model: &'m ModelProto, index: &'m Index<'m>) -> Result<Self, Error> {
        let opsets = Opsets::read(&model.opset_import)?;
        Ok(Operators {
            index,
            here: opsets.clone(),
            model: opsets,
        })
    }

    /// Goes on with a function's nodes.
    pub fn enter(&mut self, function: &'m FunctionProto) -> Result<(), Error> {
        self.here = Opsets::read(&function.opset_import)?.or(&self.model);
        Ok(())
    }

    /// Checks that a node's operator is one that an engine may run, and that its attributes mean one thing.
    pub fn check(&self, node: &NodeProto) -> Result<(), Error> {
        let domain = domain_name(node.domain());
        if node.op_type() == "EPContext" {
            return Err(Error::Compiled { node: node_label(node) });
        }
        if self.index.called(node).is_none() {
            if !DOMAINS.contains(&domain) {
                return Err(Error::Domain {
                    node: node_label(node),
                    domain: Label::new(domain),
                });
            }
            if self.here.version(domain).is_none() {
                return Err(Error::OpsetMissing {
                    node: node_label(node),
                    domain: Label::new(domain),
                });
            }
        }
        let mut names = HashSet::new();
        for attribute in &node.attribute {
            if !names.insert(attribute.name()) {
                return Err(Error::AttributeTwice {
                    node: node_label(node),
                    attribute: Label::new(attribute.name()),
                });
            }
            check_attribute(attribute, node)?;
        }
        Ok(())
    }
}

/// Checks that an attribute has no value beside the one its type says: engines differ in which they read.
fn check_attribute(attribute: &AttributeProto, node: &NodeProto) -> Result<(), Error> {
    if Attribute::read(attribute).is_err() {
        return Err(Error::AttributeKind {
            node: node_label(node),
            attribute: Label::new(attribute.name()),
        });
    }
    let types = attribute.tp.as_deref().into_iter().chain(&attribute.type_protos);
    types
        .into_iter()
        .try_for_each(|kind| check_type(kind, attribute.name()))
}
