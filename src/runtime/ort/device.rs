use std::fmt;
use std::sync::Arc;

use ort::value::DynTensor;

use super::cuda::{DeviceAddress, Stream};
use super::gate::{self, Pass};
use super::tensors;
use crate::runtime::Error;
use crate::tensor::{Port, Tensor};

/// Is a tensor in memory of ONNX Runtime, on the host or on a CUDA device; sessions there take it without a copy.
pub struct DeviceValue {
    // Dropped before the stream, whose context it lies in.
    tensor: DynTensor,
    port: Port,
    /// The way to the device; `None` where the tensor lies on the host.
    stream: Option<Arc<Stream>>,
    /// Held while the tensor is given back; fields drop in this order.
    leaving: Option<Pass>,
}

impl Drop for DeviceValue {
    fn drop(&mut self) {
        self.leaving = self.stream.is_some().then(gate::together);
    }
}

impl fmt::Debug for DeviceValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceValue")
            .field("name", &self.port.name)
            .field("dtype", &self.port.dtype)
            .field("shape", &self.shape())
            .finish_non_exhaustive()
    }
}

impl DeviceValue {
    /// Takes an output that is finished.
    pub(super) fn new(tensor: DynTensor, port: &Port, stream: &Arc<Stream>) -> Self {
        DeviceValue {
            tensor,
            port: port.clone(),
            stream: Some(Arc::clone(stream)),
            leaving: None,
        }
    }

    /// Takes an output that lies on the host.
    pub(super) fn on_host(tensor: DynTensor, port: &Port) -> Self {
        DeviceValue {
            tensor,
            port: port.clone(),
            stream: None,
            leaving: None,
        }
    }

    /// Tells whether the tensor lies on the host.
    pub(super) fn is_on_host(&self) -> bool {
        self.stream.is_none()
    }

    pub(super) fn tensor(&self) -> &DynTensor {
        &self.tensor
    }

    /// Gives the sizes of the tensor.
    pub fn shape(&self) -> Vec<usize> {
        tensors::shape(&self.tensor)
    }

    /// Copies the tensor into host memory.
    ///
    /// Errors: [`Error::Cuda`] where the device does not answer.
    pub fn to_host(&self) -> Result<Tensor, Error> {
        let Some(stream) = &self.stream else {
            return tensors::copy(&self.tensor.view().into_dyn(), &self.port);
        };
        let Some(from) = DeviceAddress::of(&self.tensor) else {
            return Err(Error::OtherEngine(self.port.name.clone()));
        };
        let _pass = gate::together();
        let mut pinned = stream.pin(from.len())?;
        stream.download(from, &mut pinned, from.len())?;
        stream.synchronize()?;
        tensors::from_bytes(&self.port, self.shape(), pinned.bytes())
    }
}
