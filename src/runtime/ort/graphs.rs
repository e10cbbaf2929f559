use std::ffi::CString;
use std::thread::{self, ThreadId};

use ort::session::{IoBinding, RunOptions};
use ort::value::DynTensor;

use super::bound::{BoundCall, Lane};
use super::cuda::{DeviceAddress, Pinned};
use super::{gate, raw, tensors};
use crate::runtime::{Error, Foreign, Value};
use crate::tensor::{Port, memory};

/// How many sets of input shapes have a graph; ONNX Runtime never gives one back, so later sets go without.
const MOST: usize = 8;

/// Is the option of a run that says which graph it is for; -1 records none.
const OPTION: &std::ffi::CStr = c"gpu_graph_id";

/// How many threads may replay a graph: ONNX Runtime keeps what it recorded for the thread that it recorded it on, records
/// it anew on each other one, and gives nothing of it back.
const MOST_THREADS: usize = 8;

/// Is a session's recorded graphs, each with the buffers it was recorded with.
#[derive(Default)]
pub(super) struct Graphs(Vec<Graph>);

struct Graph {
    shapes: Vec<Vec<usize>>,
    id: CString,
    binding: IoBinding,
    inputs: Vec<Buffer>,
    outputs: Vec<Buffer>,
    /// The threads that it was recorded on.
    threads: Vec<ThreadId>,
}

/// Is a tensor on the device that keeps its place, with its twin in pinned memory.
struct Buffer {
    device: DynTensor,
    pinned: Pinned,
    shape: Vec<usize>,
}

impl Graphs {
    /// Makes the next run record and replay nothing.
    pub(super) fn pass_by(options: &RunOptions) -> Result<(), Error> {
        raw::set_run_option(options, OPTION, c"-1").map_err(|source| Error::Run {
            source: Foreign(source),
        })
    }

    /// Answers with the graph for these shapes; `None` where there is none.
    ///
    /// The first time that a thread calls it the graph is recorded, after that it is replayed.
    pub(super) fn run(&mut self, call: &mut BoundCall<'_>, lane: &Lane) -> Result<Option<Vec<Value>>, Error> {
        let shapes = shapes(call.inputs);
        let Some(graph) = self.0.iter_mut().find(|graph| graph.shapes == shapes) else {
            return Ok(None);
        };
        let thread = thread::current().id();
        let is_recorded = graph.threads.contains(&thread);
        if !is_recorded && graph.threads.len() >= MOST_THREADS {
            return Ok(None);
        }
        let _pass = if is_recorded { gate::together() } else { gate::alone() };
        let run = |source| Error::Run {
            source: Foreign(source),
        };
        raw::set_run_option(call.options, OPTION, &graph.id).map_err(run)?;
        let tensors = call
            .inputs
            .iter()
            .filter_map(Value::as_host)
            .zip(&call.signature.inputs);
        for (buffer, (tensor, port)) in graph.inputs.iter_mut().zip(tensors) {
            tensors::check(tensor, port)?;
            let bytes = memory::bytes(tensor).unwrap_or_default();
            lane.upload(bytes, &mut buffer.pinned, &buffer.device, port)?;
        }
        call.session
            .run_binding_with_options(&graph.binding, call.options)
            .map_err(run)?;
        if !is_recorded {
            graph.threads.push(thread);
        }
        let ports = &call.signature.outputs;
        for (buffer, port) in graph.outputs.iter_mut().zip(ports) {
            let from = DeviceAddress::of(&buffer.device).ok_or_else(|| Error::OtherEngine(port.name.clone()))?;
            lane.stream.download(from, &mut buffer.pinned, from.len())?;
        }
        lane.stream.synchronize()?;
        let outputs = graph.outputs.iter().zip(ports);
        let answer: Result<_, Error> = outputs
            .map(|(buffer, port)| {
                let bytes = &buffer.pinned.bytes()[..buffer.device.size().unwrap_or(0)];
                Ok(Value::Host(tensors::from_bytes(port, buffer.shape.clone(), bytes)?))
            })
            .collect();
        answer.map(Some)
    }

    /// Makes the buffers for a graph of these shapes, now that an answer told the shapes of the outputs.
    pub(super) fn learn(&mut self, call: &BoundCall<'_>, answer: &[Value], lane: &Lane) -> Result<(), Error> {
        if self.0.len() >= MOST {
            return Ok(());
        }
        let _pass = gate::together();
        let (inputs, outputs) = (shapes(call.inputs), shapes(answer));
        let ports = &call.signature;
        let binding = call.session.create_binding();
        let mut graph = Graph {
            binding: binding.map_err(|source| Error::Run {
                source: Foreign(source),
            })?,
            id: CString::new(self.0.len().to_string()).unwrap_or_default(),
            inputs: buffers(&ports.inputs, &inputs, lane)?,
            outputs: buffers(&ports.outputs, &outputs, lane)?,
            shapes: inputs,
            threads: Vec::new(),
        };
        for (buffer, port) in graph.inputs.iter().zip(&ports.inputs) {
            graph
                .binding
                .bind_input(port.name.as_str(), &buffer.device)
                .map_err(|source| Error::Input {
                    name: port.name.clone(),
                    source: Foreign(source),
                })?;
        }
        for (buffer, port) in graph.outputs.iter_mut().zip(&ports.outputs) {
            graph
                .binding
                .bind_output(port.name.as_str(), &mut buffer.device)
                .map_err(|source| Error::Output {
                    name: port.name.clone(),
                    source: Foreign(source),
                })?;
        }
        self.0.push(graph);
        Ok(())
    }
}

fn shapes(values: &[Value]) -> Vec<Vec<usize>> {
    let tensors = values.iter().filter_map(Value::as_host);
    tensors.map(|tensor| tensor.shape().to_vec()).collect()
}

fn buffers(ports: &[Port], shapes: &[Vec<usize>], lane: &Lane) -> Result<Vec<Buffer>, Error> {
    let ports = ports.iter().zip(shapes);
    ports
        .map(|(port, shape)| {
            let device = lane.tensor(port, shape)?;
            let bytes = device.size().unwrap_or(0);
            Ok(Buffer {
                device,
                pinned: lane.stream.pin(bytes)?,
                shape: shape.clone(),
            })
        })
        .collect()
}
