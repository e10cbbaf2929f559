use std::fmt;
use std::sync::Arc;

use ort::value::DynTensor;

use super::cuda::{DeviceAddress, Stream};
use super::tensors;
use crate::runtime::Error;
use crate::tensor::{Port, Tensor};

/// Is a tensor in the memory of a CUDA device; sessions there take it as an input without a copy.
pub struct DeviceValue {
    // Dropped before the stream, whose context it lies in.
    tensor: DynTensor,
    port: Port,
    stream: Arc<Stream>,
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
            stream: Arc::clone(stream),
        }
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
        let Some(from) = DeviceAddress::of(&self.tensor) else {
            return Err(Error::OtherEngine(self.port.name.clone()));
        };
        let mut pinned = self.stream.pin(from.len())?;
        self.stream.download(from, &mut pinned, from.len())?;
        self.stream.synchronize()?;
        tensors::from_bytes(&self.port, self.shape(), pinned.bytes())
    }
}
