use std::sync::Arc;

use ort::memory::{AllocationDevice, Allocator, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{IoBinding, RunOptions, Session as OrtSession};
use ort::value::{DynTensor, DynTensorValueType, DynValue};

use super::cuda::{DeviceAddress, Pinned, Stream};
use super::device::DeviceValue;
use super::graphs::Graphs;
use super::{gate, raw, tensors};
use crate::runtime::{Error, Foreign, SessionOptions, Value, usable_threads};
use crate::tensor::{DType, Port, Signature, Tensor, memory};

/// Is a session's way to a CUDA device: inputs and outputs go through pinned memory, in the order of one stream.
///
/// It is dropped before the session it was made for.
pub(super) struct Bound {
    loose: Loose,
    graphs: Option<Graphs>,
    lane: Lane,
}

/// Is what every call needs.
pub(super) struct Lane {
    pub allocator: Allocator,
    pub memory: MemoryInfo<'static>,
    /// For each input, whether it is read in host memory.
    pub on_host: Vec<bool>,
    pub threads: usize,
    pub stream: Arc<Stream>,
}

/// Is one call to a session.
pub(super) struct BoundCall<'a> {
    pub session: &'a mut OrtSession,
    pub signature: &'a Signature,
    pub options: &'a RunOptions,
    pub inputs: &'a [Value],
    pub keep: &'a [bool],
}

impl Bound {
    /// Prepares; buffers are made by the calls that need them.
    ///
    /// Errors: [`Error::GraphInput`] where graphs are wanted and an input is read by the processor.
    pub(super) fn new(
        session: &OrtSession,
        signature: &Signature,
        stream: Arc<Stream>,
        options: &SessionOptions,
    ) -> Result<Self, Error> {
        let load = |source| Error::Load {
            source: Foreign(source),
        };
        let device = i32::try_from(options.device).unwrap_or(i32::MAX);
        let memory = || {
            MemoryInfo::new(
                AllocationDevice::CUDA,
                device,
                AllocatorType::Device,
                MemoryType::Default,
            )
        };
        let on_host = raw::inputs_on_host(session).map_err(load)?.into_iter();
        let on_host: Vec<bool> = on_host
            .zip(&signature.inputs)
            .map(|(on_host, port)| on_host || port.dtype == DType::String)
            .collect();
        let graphs = options.settings.cuda_graph;
        if graphs && let Some(at) = on_host.iter().position(|&on_host| on_host) {
            return Err(Error::GraphInput(signature.inputs[at].name.clone()));
        }
        let lane = Lane {
            allocator: Allocator::new(session, memory().map_err(load)?).map_err(load)?,
            memory: memory().map_err(load)?,
            on_host,
            threads: options.threads.unwrap_or_else(usable_threads),
            stream,
        };
        Ok(Bound {
            loose: Loose::new(session, signature).map_err(load)?,
            graphs: graphs.then(Graphs::default),
            lane,
        })
    }

    /// Answers one call.
    pub(super) fn run(&mut self, call: BoundCall<'_>) -> Result<Vec<Value>, Error> {
        let answer = self.answer(call);
        if answer.is_err() {
            // What is on its way must not meet the next call's buffers; the error that is told is the first.
            let _ = self.lane.stream.synchronize();
        }
        answer
    }

    fn answer(&mut self, mut call: BoundCall<'_>) -> Result<Vec<Value>, Error> {
        let Some(graphs) = &mut self.graphs else {
            return self.loose.run(&mut call, &self.lane);
        };
        Graphs::pass_by(call.options)?;
        if call.keep.contains(&true) {
            // A replayed graph writes where its intermediate values were, and that may be where a kept output is now.
            self.graphs = None;
            return self.loose.run(&mut call, &self.lane);
        }
        // What a graph was recorded with stays where it was: values of other places go around it.
        let fixed = call.inputs.iter().all(|value| value.as_host().is_some());
        if fixed && let Some(answer) = graphs.run(&mut call, &self.lane)? {
            return Ok(answer);
        }
        let answer = self.loose.run(&mut call, &self.lane)?;
        if fixed {
            graphs.learn(&call, &answer, &self.lane)?;
        }
        Ok(answer)
    }
}

/// Answers calls of any shapes; ONNX Runtime makes the outputs anew each time.
struct Loose {
    binding: IoBinding,
    /// Pinned memory for each input and each output, as large as was needed so far.
    inputs: Vec<Option<Pinned>>,
    outputs: Vec<Option<Pinned>>,
}

impl Loose {
    fn new(session: &OrtSession, signature: &Signature) -> Result<Self, ort::Error> {
        Ok(Loose {
            binding: session.create_binding()?,
            inputs: signature.inputs.iter().map(|_| None).collect(),
            outputs: signature.outputs.iter().map(|_| None).collect(),
        })
    }

    fn run(&mut self, call: &mut BoundCall<'_>, lane: &Lane) -> Result<Vec<Value>, Error> {
        let _pass = gate::together();
        let answer = self.answer(call, lane);
        // Neither the caller's values nor the answer's memory may stay bound.
        self.binding.clear();
        answer
    }

    fn answer(&mut self, call: &mut BoundCall<'_>, lane: &Lane) -> Result<Vec<Value>, Error> {
        for (at, (value, port)) in call.inputs.iter().zip(&call.signature.inputs).enumerate() {
            self.bind_input(at, value, port, lane)?;
        }
        let run = |source| Error::Run {
            source: Foreign(source),
        };
        let ports = &call.signature.outputs;
        for port in ports {
            self.binding
                .bind_output_to_device(port.name.as_str(), &lane.memory)
                .map_err(run)?;
        }
        let mut outputs = call
            .session
            .run_binding_with_options(&self.binding, call.options)
            .map_err(run)?;
        let mut values = Vec::with_capacity(ports.len());
        for (at, port) in ports.iter().enumerate() {
            let value = outputs
                .remove(port.name.as_str())
                .ok_or_else(|| Error::OutputNotTensor(port.name.clone()))?;
            let kept = call.keep.get(at).is_some_and(|&keep| keep);
            values.push(Fetched::of(value, port, kept, &mut self.outputs[at], lane)?);
        }
        lane.stream.synchronize()?;
        let fetched = values.into_iter().zip(ports).zip(&self.outputs);
        fetched
            .map(|((value, port), pinned)| value.finish(port, pinned.as_ref(), lane))
            .collect()
    }

    fn bind_input(&mut self, at: usize, value: &Value, port: &Port, lane: &Lane) -> Result<(), Error> {
        let input = |source| Error::Input {
            name: port.name.clone(),
            source: Foreign(source),
        };
        let tensor = match value {
            Value::Device(value) => {
                return self
                    .binding
                    .bind_input(port.name.as_str(), value.tensor())
                    .map_err(input);
            }
            Value::Host(tensor) if lane.on_host[at] => {
                let lent = tensors::lend(tensor, port)?;
                return self.binding.bind_input(port.name.as_str(), &*lent).map_err(input);
            }
            Value::Host(tensor) => tensor,
        };
        tensors::check(tensor, port)?;
        let device = lane.tensor(port, tensor.shape())?;
        let bytes = memory::bytes(tensor).unwrap_or_default();
        lane.upload(bytes, lane.pinned(&mut self.inputs[at], bytes.len())?, &device, port)?;
        self.binding.bind_input(port.name.as_str(), &device).map_err(input)
    }
}

impl Lane {
    /// Makes a tensor on the device.
    pub(super) fn tensor(&self, port: &Port, shape: &[usize]) -> Result<DynTensor, Error> {
        let Some(kind) = tensors::element_type(port.dtype) else {
            return Err(Error::TypeNotHeld {
                name: port.name.clone(),
                dtype: port.dtype,
            });
        };
        let sizes: Vec<i64> = shape
            .iter()
            .map(|&size| i64::try_from(size).unwrap_or(i64::MAX))
            .collect();
        DynTensor::new(&self.allocator, kind, sizes).map_err(|source| Error::Input {
            name: port.name.clone(),
            source: Foreign(source),
        })
    }

    /// Gives pinned memory of at least that size, a larger one where it was too small.
    pub(super) fn pinned<'a>(&self, place: &'a mut Option<Pinned>, bytes: usize) -> Result<&'a mut Pinned, Error> {
        if place.as_ref().is_none_or(|pinned| pinned.len() < bytes) {
            // Given back first: there is no need for both.
            *place = None;
            *place = Some(self.stream.pin(bytes.next_power_of_two())?);
        }
        place.as_mut().ok_or(Error::Cancelled)
    }

    /// Puts the way to the device into the stream.
    pub(super) fn upload(
        &self,
        bytes: &[u8],
        pinned: &mut Pinned,
        device: &DynTensor,
        port: &Port,
    ) -> Result<(), Error> {
        let to = DeviceAddress::of(device).ok_or_else(|| Error::OtherEngine(port.name.clone()))?;
        Ok(self.stream.upload(bytes, pinned, to, self.threads)?)
    }
}

/// Is an output on its way.
enum Fetched {
    /// It is in the pinned memory of its port once the stream is done.
    Pinned {
        shape: Vec<usize>,
        bytes: usize,
        _device: DynTensor,
    },
    /// It stays where it is.
    Kept(DynTensor),
    /// It was in host memory.
    Host(Tensor),
}

impl Fetched {
    fn of(value: DynValue, port: &Port, kept: bool, pinned: &mut Option<Pinned>, lane: &Lane) -> Result<Self, Error> {
        let not_tensor = |_| Error::OutputNotTensor(port.name.clone());
        // Text, and what else is made in host memory.
        if port.dtype == DType::String {
            return Ok(Fetched::Host(tensors::copy(&value, port)?));
        }
        tensors::check_output(&value, port)?;
        let tensor = value.downcast::<DynTensorValueType>().map_err(not_tensor)?;
        let Some(from) = DeviceAddress::of(&tensor) else {
            return Ok(Fetched::Host(tensors::copy(&tensor.into_dyn(), port)?));
        };
        if kept {
            return Ok(Fetched::Kept(tensor));
        }
        lane.stream
            .download(from, lane.pinned(pinned, from.len())?, from.len())?;
        Ok(Fetched::Pinned {
            shape: tensors::shape(&tensor),
            bytes: from.len(),
            _device: tensor,
        })
    }

    fn finish(self, port: &Port, pinned: Option<&Pinned>, lane: &Lane) -> Result<Value, Error> {
        Ok(match self {
            Fetched::Host(tensor) => Value::Host(tensor),
            Fetched::Kept(tensor) => Value::Device(DeviceValue::new(tensor, port, &lane.stream)),
            Fetched::Pinned { shape, bytes, .. } => {
                let pinned = pinned.map(Pinned::bytes).unwrap_or_default();
                Value::Host(tensors::from_bytes(port, shape, &pinned[..bytes])?)
            }
        })
    }
}
