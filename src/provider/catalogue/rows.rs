//! The rows of the catalogue.

use super::{Load, Provision, Row};
use crate::provider::pack::Role;
use crate::provider::{Os, ProviderKind};

const fn load(linux: &'static str, windows: &'static str, pack: &'static str) -> Load {
    Load {
        linux,
        windows,
        pack: Some(pack),
        lazy: false,
    }
}

const fn lazy(linux: &'static str, windows: &'static str, pack: &'static str) -> Load {
    Load {
        linux,
        windows,
        pack: Some(pack),
        lazy: true,
    }
}

const fn own(linux: &'static str) -> Load {
    Load {
        linux,
        windows: "",
        pack: None,
        lazy: false,
    }
}

/// What the CUDA provider of CUDA 13 needs, each after what it needs itself.
const CUDA_13: [Load; 7] = [
    load("libcudart.so.13", "cudart64_13.dll", "nvidia-cuda-runtime"),
    lazy("libnvrtc.so.13", "nvrtc64_130_0.dll", "nvidia-cuda-nvrtc"),
    load("libcublasLt.so.13", "cublasLt64_13.dll", "nvidia-cublas"),
    load("libcublas.so.13", "cublas64_13.dll", "nvidia-cublas"),
    load("libcurand.so.10", "curand64_10.dll", "nvidia-curand"),
    lazy("libcufft.so.12", "cufft64_12.dll", "nvidia-cufft"),
    lazy("libcudnn.so.9", "cudnn64_9.dll", "nvidia-cudnn-cu13"),
];

const CUDA_12: [Load; 7] = [
    load("libcudart.so.12", "cudart64_12.dll", "nvidia-cuda-runtime-cu12"),
    lazy("libnvrtc.so.12", "nvrtc64_120_0.dll", "nvidia-cuda-nvrtc-cu12"),
    load("libcublasLt.so.12", "cublasLt64_12.dll", "nvidia-cublas-cu12"),
    load("libcublas.so.12", "cublas64_12.dll", "nvidia-cublas-cu12"),
    load("libcurand.so.10", "curand64_10.dll", "nvidia-curand-cu12"),
    load("libcufft.so.11", "cufft64_11.dll", "nvidia-cufft-cu12"),
    load("libcudnn.so.9", "cudnn64_9.dll", "nvidia-cudnn-cu12"),
];

const fn tensorrt(cuda: &[Load; 7], cudnn: Load) -> [Load; 9] {
    let [runtime, nvrtc, lt, blas, rand, fft, _] = cuda;
    [
        again(runtime),
        again(nvrtc),
        again(lt),
        again(blas),
        again(rand),
        again(fft),
        cudnn,
        system("libnvinfer.so.10", "nvinfer_10.dll"),
        system("libnvonnxparser.so.10", "nvonnxparser_10.dll"),
    ]
}

const fn again(load: &Load) -> Load {
    Load {
        linux: load.linux,
        windows: load.windows,
        pack: load.pack,
        lazy: load.lazy,
    }
}

const fn system(linux: &'static str, windows: &'static str) -> Load {
    Load {
        linux,
        windows,
        pack: None,
        lazy: false,
    }
}

const TENSORRT_13: [Load; 9] = tensorrt(&CUDA_13, load("libcudnn.so.9", "cudnn64_9.dll", "nvidia-cudnn-cu13"));
const TENSORRT_12: [Load; 9] = tensorrt(&CUDA_12, load("libcudnn.so.9", "cudnn64_9.dll", "nvidia-cudnn-cu12"));

const fn provision(kind: ProviderKind, library: &'static str, loads: &'static [Load]) -> Provision {
    Provision {
        kind,
        library: Some(library),
        systems: &[],
        loads,
    }
}

const fn inside(kind: ProviderKind, systems: &'static [Os]) -> Provision {
    Provision {
        kind,
        library: None,
        systems,
        loads: &[],
    }
}

const CPU: Provision = inside(ProviderKind::Cpu, &[]);

/// A row that only others need.
const fn libraries(name: &'static str, what: &'static str, folders: &'static [&'static str]) -> Row {
    Row {
        name,
        what,
        role: None,
        provisions: &[],
        folders,
        nvidia_driver: None,
        oldest_core: None,
        system: None,
    }
}

/// Where NVIDIA's wheels for CUDA 13 have their libraries: one for Linux, one for Windows.
const CUDA_13_FOLDERS: &[&str] = &["nvidia/cu13/lib", "nvidia/cu13/bin/x86_64"];

/// Every pack, with the best for its hardware first.
pub const CATALOGUE: &[Row] = &[
    Row {
        name: "cuda",
        what: "NVIDIA GPUs, CUDA 13",
        role: Some(Role::Core),
        provisions: &[
            provision(ProviderKind::TensorRt, "onnxruntime_providers_tensorrt", &TENSORRT_13),
            provision(ProviderKind::Cuda, "onnxruntime_providers_cuda", &CUDA_13),
            CPU,
        ],
        folders: &["onnxruntime/capi"],
        nvidia_driver: Some("580"),
        oldest_core: None,
        system: None,
    },
    Row {
        name: "cuda12",
        what: "NVIDIA GPUs, CUDA 12, for drivers before 580",
        role: Some(Role::Core),
        provisions: &[
            provision(ProviderKind::TensorRt, "onnxruntime_providers_tensorrt", &TENSORRT_12),
            provision(ProviderKind::Cuda, "onnxruntime_providers_cuda", &CUDA_12),
            CPU,
        ],
        folders: &["onnxruntime/capi"],
        nvidia_driver: Some("525.60.13"),
        oldest_core: None,
        system: None,
    },
    Row {
        name: "tensorrt-rtx",
        what: "NVIDIA RTX GPUs, TensorRT for RTX",
        role: Some(Role::Plugin),
        provisions: &[provision(
            ProviderKind::TensorRtRtx,
            "onnxruntime_providers_nv_tensorrt_rtx",
            &[
                own("libcudart.so.13*"),
                own("libtensorrt_rtx.so.1*"),
                own("libtensorrt_onnxparser_rtx.so.1*"),
            ],
        )],
        folders: &["onnxruntime_ep_nv_tensorrt_rtx"],
        nvidia_driver: Some("580"),
        oldest_core: Some("1.24.4"),
        system: None,
    },
    Row {
        name: "migraphx",
        what: "AMD GPUs, ROCm 7",
        role: Some(Role::Core),
        provisions: &[
            provision(
                ProviderKind::MiGraphX,
                "onnxruntime_providers_migraphx",
                &[
                    system("libamdhip64.so.7", "amdhip64_7.dll"),
                    system("libmigraphx_c.so.3", "migraphx_c.dll"),
                ],
            ),
            CPU,
        ],
        folders: &["onnxruntime/capi"],
        nvidia_driver: None,
        oldest_core: None,
        system: Some("ROCm 7 with MIGraphX, from AMD's packages"),
    },
    Row {
        name: "directml",
        what: "any GPU on Windows, through DirectX 12",
        role: Some(Role::Core),
        provisions: &[inside(ProviderKind::DirectMl, &[Os::Windows]), CPU],
        folders: &["onnxruntime/capi"],
        nvidia_driver: None,
        oldest_core: None,
        system: None,
    },
    Row {
        name: "openvino",
        what: "Intel processors, GPUs and NPUs; other x86 processors too",
        role: Some(Role::Core),
        provisions: &[
            provision(
                ProviderKind::OpenVino,
                "onnxruntime_providers_openvino",
                &[
                    own("libtbb.so.12"),
                    own("libopenvino.so.2541"),
                    own("libopenvino_onnx_frontend.so.2541"),
                ],
            ),
            CPU,
        ],
        folders: &["onnxruntime/capi"],
        nvidia_driver: None,
        oldest_core: None,
        system: None,
    },
    Row {
        name: "openvino-plugin",
        what: "Intel processors, GPUs and NPUs, as a plugin",
        role: Some(Role::Plugin),
        provisions: &[provision(
            ProviderKind::OpenVino,
            "onnxruntime_providers_openvino_plugin",
            &[
                own("libtbb.so.12"),
                own("libopenvino.so.2641"),
                own("libopenvino_onnx_frontend.so.2641"),
            ],
        )],
        folders: &["onnxruntime_ep_openvino"],
        nvidia_driver: None,
        oldest_core: Some("1.24.4"),
        system: None,
    },
    Row {
        name: "qnn",
        what: "Qualcomm NPUs and GPUs",
        role: Some(Role::Plugin),
        provisions: &[provision(ProviderKind::Qnn, "onnxruntime_providers_qnn", &[])],
        folders: &["onnxruntime_qnn"],
        nvidia_driver: None,
        oldest_core: Some("1.24.4"),
        system: None,
    },
    Row {
        name: "webgpu",
        what: "any GPU with Vulkan, Metal or Direct3D 12",
        role: Some(Role::Plugin),
        provisions: &[provision(ProviderKind::WebGpu, "onnxruntime_providers_webgpu", &[])],
        folders: &["onnxruntime_ep_webgpu"],
        nvidia_driver: None,
        oldest_core: Some("1.24.4"),
        system: None,
    },
    Row {
        name: "cpu",
        what: "the processor; Apple's GPUs and NPUs too, through CoreML",
        role: Some(Role::Core),
        provisions: &[inside(ProviderKind::CoreMl, &[Os::MacOs]), CPU],
        folders: &["onnxruntime/capi"],
        nvidia_driver: None,
        oldest_core: None,
        system: None,
    },
    libraries("nvidia-cuda-runtime", "CUDA 13 runtime", CUDA_13_FOLDERS),
    libraries("nvidia-cuda-nvrtc", "CUDA 13 compiler", CUDA_13_FOLDERS),
    libraries("nvidia-cublas", "CUDA 13 matrix products", CUDA_13_FOLDERS),
    libraries("nvidia-curand", "CUDA 13 random numbers", CUDA_13_FOLDERS),
    libraries("nvidia-cufft", "CUDA 13 Fourier transforms", CUDA_13_FOLDERS),
    libraries(
        "nvidia-cudnn-cu13",
        "cuDNN 9 for CUDA 13",
        &["nvidia/cudnn/lib", "nvidia/cudnn/bin", "nvidia/cudnn/bin/x86_64"],
    ),
    libraries(
        "nvidia-cuda-runtime-cu12",
        "CUDA 12 runtime",
        &["nvidia/cuda_runtime/lib", "nvidia/cuda_runtime/bin"],
    ),
    libraries(
        "nvidia-cuda-nvrtc-cu12",
        "CUDA 12 compiler",
        &["nvidia/cuda_nvrtc/lib", "nvidia/cuda_nvrtc/bin"],
    ),
    libraries(
        "nvidia-cublas-cu12",
        "CUDA 12 matrix products",
        &["nvidia/cublas/lib", "nvidia/cublas/bin"],
    ),
    libraries(
        "nvidia-curand-cu12",
        "CUDA 12 random numbers",
        &["nvidia/curand/lib", "nvidia/curand/bin"],
    ),
    libraries(
        "nvidia-cufft-cu12",
        "CUDA 12 Fourier transforms",
        &["nvidia/cufft/lib", "nvidia/cufft/bin"],
    ),
    libraries(
        "nvidia-cudnn-cu12",
        "cuDNN 9 for CUDA 12",
        &["nvidia/cudnn/lib", "nvidia/cudnn/bin"],
    ),
];
