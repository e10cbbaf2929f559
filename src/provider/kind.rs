use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names an execution provider, or the embedded engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProviderKind {
    TensorRt,
    TensorRtRtx,
    Cuda,
    MiGraphX,
    CoreMl,
    DirectMl,
    OpenVino,
    Qnn,
    WebGpu,
    Cpu,
    Embedded,
}

impl ProviderKind {
    /// Every kind, best first.
    pub const ALL: [ProviderKind; 11] = [
        ProviderKind::TensorRt,
        ProviderKind::TensorRtRtx,
        ProviderKind::Cuda,
        ProviderKind::MiGraphX,
        ProviderKind::CoreMl,
        ProviderKind::DirectMl,
        ProviderKind::OpenVino,
        ProviderKind::Qnn,
        ProviderKind::WebGpu,
        ProviderKind::Cpu,
        ProviderKind::Embedded,
    ];

    /// Gives the name used on the command line, in GPUXfiles and in answers.
    pub fn name(self) -> &'static str {
        match self {
            ProviderKind::TensorRt => "tensorrt",
            ProviderKind::TensorRtRtx => "tensorrt-rtx",
            ProviderKind::Cuda => "cuda",
            ProviderKind::MiGraphX => "migraphx",
            ProviderKind::CoreMl => "coreml",
            ProviderKind::DirectMl => "directml",
            ProviderKind::OpenVino => "openvino",
            ProviderKind::Qnn => "qnn",
            ProviderKind::WebGpu => "webgpu",
            ProviderKind::Cpu => "cpu",
            ProviderKind::Embedded => "embedded",
        }
    }

    /// Tells whether a machine may have several devices of it, of which a session takes one.
    pub fn has_devices(self) -> bool {
        !matches!(
            self,
            ProviderKind::Cpu | ProviderKind::Embedded | ProviderKind::OpenVino | ProviderKind::CoreMl
        )
    }

    /// Gives ONNX Runtime's own name; `None` for the embedded engine.
    ///
    /// Source: the `k…ExecutionProvider` constants of ONNX Runtime, and the name that the TensorRT-RTX plugin gives.
    pub fn ep_name(self) -> Option<&'static str> {
        Some(match self {
            ProviderKind::TensorRt => "TensorrtExecutionProvider",
            ProviderKind::TensorRtRtx => "NvTensorRTRTXExecutionProvider",
            ProviderKind::Cuda => "CUDAExecutionProvider",
            ProviderKind::MiGraphX => "MIGraphXExecutionProvider",
            ProviderKind::CoreMl => "CoreMLExecutionProvider",
            ProviderKind::DirectMl => "DmlExecutionProvider",
            ProviderKind::OpenVino => "OpenVINOExecutionProvider",
            ProviderKind::Qnn => "QNNExecutionProvider",
            ProviderKind::WebGpu => "WebGpuExecutionProvider",
            ProviderKind::Cpu => "CPUExecutionProvider",
            ProviderKind::Embedded => return None,
        })
    }

    /// Finds the kind that ONNX Runtime calls so.
    pub fn from_ep_name(name: &str) -> Option<ProviderKind> {
        ProviderKind::ALL.into_iter().find(|kind| kind.ep_name() == Some(name))
    }

    /// Tells whether it may run on something else than the processor's own cores.
    pub fn is_accelerator(self) -> bool {
        !matches!(self, ProviderKind::Cpu | ProviderKind::Embedded)
    }
}

impl fmt::Display for ProviderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Says that a text names no provider.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a provider")]
pub struct UnknownProvider(pub String);

impl FromStr for ProviderKind {
    type Err = UnknownProvider;

    /// Reads a provider's name; `rocm` is read as `migraphx`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "rocm" {
            return Ok(ProviderKind::MiGraphX);
        }
        ProviderKind::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| UnknownProvider(text.to_owned()))
    }
}

impl Serialize for ProviderKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for ProviderKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_each_of_its_names() {
        for kind in ProviderKind::ALL {
            assert_eq!(kind.name().parse(), Ok(kind));
            assert_eq!(
                kind.ep_name().map(ProviderKind::from_ep_name),
                kind.ep_name().map(|_| Some(kind))
            );
        }
        assert_eq!("rocm".parse(), Ok(ProviderKind::MiGraphX));
        assert_eq!("CUDA".parse::<ProviderKind>(), Err(UnknownProvider("CUDA".to_owned())));
    }
}
