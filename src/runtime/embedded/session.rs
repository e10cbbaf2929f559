use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use rten::{ModelOptions, NodeId, RunOptions, ThreadPool};

use super::Error;
use super::capability::check;
use super::convert::{lend, take};
use super::lasting::Lasting;
use super::lower::{Lowered, bring_inside, lower};
use super::table::COMMITTED;
use super::threads;
use crate::fs;
use crate::quiet;
use crate::runtime::{
    Assignment, Call, Engine, Error as RuntimeError, Foreign, Node, Partition, ProviderKind, Session, SessionOptions,
    Source, Value,
};
use crate::tensor::{Port, Signature};

/// Is the embedded engine.
#[derive(Clone, Copy, Debug)]
pub struct Embedded {
    checks: bool,
}

impl Default for Embedded {
    fn default() -> Self {
        Embedded::new()
    }
}

impl Embedded {
    /// Makes the engine, which refuses what its capability table does not have.
    pub fn new() -> Self {
        Embedded { checks: true }
    }

    /// Makes an engine that tries every model, right or wrong: the table is made of what comes out.
    pub fn unchecked() -> Self {
        Embedded { checks: false }
    }
}

impl Engine for Embedded {
    fn load(&self, source: &Source<'_>, options: &SessionOptions) -> Result<Box<dyn Session>, RuntimeError> {
        let mut files = BTreeMap::new();
        for (location, path) in &source.files.external {
            files.insert(location.as_str(), fs::map(path)?);
        }
        let inside = bring_inside(source.model, &files)?;
        if self.checks {
            let seen = inside.as_ref().unwrap_or(source.model.proto());
            check(seen, COMMITTED).map_err(Error::Unsupported)?;
        }
        let lowered = lower(source.model, inside, &files)?;
        let mut session = load(source, (lowered, files), options)?;
        if options.explain {
            let nodes = source.model.nodes()?.into_iter();
            let nodes = nodes.map(|node| Node {
                name: node.name().to_owned(),
                operator: node.op_type.to_owned(),
            });
            session.assignment = Some(Assignment {
                partitions: vec![Partition {
                    provider: ProviderKind::Embedded.name().to_owned(),
                    nodes: nodes.collect(),
                }],
            });
        }
        Ok(Box::new(session))
    }
}

/// Is a model loaded by rten.
struct EmbeddedSession {
    /// Dropped before the bytes that it looks into: fields drop in this order.
    model: rten::Model,
    _bytes: Lasting,
    signature: Signature,
    assignment: Option<Assignment>,
    inputs: Vec<NodeId>,
    outputs: Vec<NodeId>,
    /// How many threads run an operator; `None` means as many as this process may use.
    threads: Option<usize>,
    /// The threads, from the first run on.
    pool: Option<Arc<ThreadPool>>,
}

fn load(
    source: &Source<'_>,
    (lowered, mut files): (Lowered, BTreeMap<&str, Bytes>),
    options: &SessionOptions,
) -> Result<EmbeddedSession, Error> {
    let mut reader = ModelOptions::with_all_ops();
    reader.prepack_weights(options.prepack);
    let mut bytes = Lasting::default();
    for (location, name) in &lowered.names {
        let file: Bytes = files.remove(location.as_str()).unwrap_or_default();
        reader.external_data_static(name, bytes.keep(file));
    }
    let graph = bytes.keep(lowered.graph);
    let model = guard("loaded", || reader.load_static_slice(graph))?.map_err(|error| Error::Load(Foreign(error)))?;
    same_ports(&model, source.signature)?;
    Ok(EmbeddedSession {
        signature: source.signature.clone(),
        assignment: None,
        inputs: model.input_ids().to_vec(),
        outputs: model.output_ids().to_vec(),
        model,
        _bytes: bytes,
        threads: options.threads,
        pool: None,
    })
}

/// Checks that rten has the ports that the file declares, in their order.
fn same_ports(model: &rten::Model, signature: &Signature) -> Result<(), Error> {
    let names = |nodes: &[NodeId]| -> Vec<String> {
        let name = |node: &NodeId| model.node_info(*node).and_then(|info| info.name().map(str::to_owned));
        nodes.iter().map(|node| name(node).unwrap_or_default()).collect()
    };
    let declared = |ports: &[Port]| -> Vec<String> { ports.iter().map(|port| port.name.as_str().to_owned()).collect() };
    let (inputs, outputs) = (names(model.input_ids()), names(model.output_ids()));
    if inputs != declared(&signature.inputs) {
        return Err(Error::Ports {
            declared: declared(&signature.inputs),
            found: inputs,
        });
    }
    // What rten finds to be a constant loses its name.
    let same = |(found, port): (&String, &Port)| found.is_empty() || found == port.name.as_str();
    if outputs.len() != signature.outputs.len() || !outputs.iter().zip(&signature.outputs).all(same) {
        return Err(Error::Ports {
            declared: declared(&signature.outputs),
            found: outputs,
        });
    }
    Ok(())
}

impl Session for EmbeddedSession {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn assignment(&self) -> Option<&Assignment> {
        self.assignment.as_ref()
    }

    fn run(&mut self, call: Call<'_>) -> Result<Vec<Value>, RuntimeError> {
        if call.inputs.len() != self.inputs.len() {
            return Err(RuntimeError::InputCount {
                expected: self.inputs.len(),
                found: call.inputs.len(),
            });
        }
        // rten cannot be stopped: what a call may still take is decided before it starts, and after that by the limits
        // on the process.
        if call.cancel.is_cancelled() {
            return Err(RuntimeError::Cancelled);
        }
        if call.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(RuntimeError::DeadlinePassed);
        }
        let mut inputs = Vec::with_capacity(self.inputs.len());
        for ((value, port), id) in call.inputs.iter().zip(&self.signature.inputs).zip(&self.inputs) {
            let Value::Host(tensor) = value else {
                return Err(RuntimeError::OtherEngine(port.name.clone()));
            };
            inputs.push((*id, lend(port, tensor)?));
        }
        let pool = self.pool.get_or_insert_with(|| threads::pool(self.threads));
        let options = RunOptions::default().with_thread_pool(Some(Arc::clone(pool)));
        let outputs = guard("ran", || self.model.run(inputs, &self.outputs, Some(options)))?
            .map_err(|error| Error::Run(Foreign(error)))?;
        let ports = &self.signature.outputs;
        outputs
            .into_iter()
            .zip(ports)
            .map(|(value, port)| Ok(take(port, value)?.into()))
            .collect()
    }
}

/// Turns a panic inside rten into an error, without the words that a panic prints.
fn guard<T>(act: &'static str, work: impl FnOnce() -> T) -> Result<T, Error> {
    // Nothing broken is seen after a panic: a loaded model does not change when it runs, and one that did not load is
    // dropped.
    quiet::catch(work).map_err(|message| Error::Panicked { act, message })
}
