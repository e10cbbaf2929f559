use std::collections::BTreeMap;
use std::path::PathBuf;

use ort::ep::{self, ArbitrarilyConfigurableExecutionProvider, ExecutionProviderDispatch};

use crate::runtime::{ConvolutionSearch, Error, ProviderKind, SessionOptions, Settings};

/// Says which execution provider of ONNX Runtime a session is for, and which library brings it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// What it is; anything but the embedded engine.
    pub kind: ProviderKind,
    /// The plugin library that brings it; `None` where ONNX Runtime itself has it.
    pub plugin: Option<PathBuf>,
}

/// Is what a provider is told, by its own names.
pub(super) type Options = BTreeMap<String, String>;

impl Provider {
    /// Is the processor, which every ONNX Runtime has.
    pub const CPU: Provider = Provider {
        kind: ProviderKind::Cpu,
        plugin: None,
    };

    /// Translates what gpux says into the provider's own options; those of the model come first, and give way.
    ///
    /// Errors: [`Error::ProviderOption`] where the model names an option that is not for a model to set, as those that
    /// name files or memory.
    pub(super) fn options(&self, session: &SessionOptions) -> Result<Options, Error> {
        let allowed = allowed(self.kind);
        if let Some(option) = session
            .provider_options
            .keys()
            .find(|option| !allowed.contains(&option.as_str()))
        {
            return Err(Error::ProviderOption {
                provider: self.kind,
                option: option.clone(),
            });
        }
        let mut options = session.provider_options.clone();
        options.extend(translated(self.kind, session));
        Ok(options)
    }

    /// Gives the provider for a session, where ONNX Runtime itself has it; `None` for the processor, which is last in
    /// every session, and for what only plugins bring.
    pub(super) fn built_in(&self, options: &Options, session: &SessionOptions) -> Option<ExecutionProviderDispatch> {
        let Settings { fp16, .. } = session.settings;
        let device = i32::try_from(session.device).unwrap_or(i32::MAX);
        let dispatch = match self.kind {
            ProviderKind::TensorRt => configured(ep::TensorRT::default(), options).build(),
            ProviderKind::Cuda => configured(ep::CUDA::default(), options).build(),
            ProviderKind::MiGraphX => ep::MIGraphX::default().with_device_id(device).with_fp16(fp16).build(),
            ProviderKind::CoreMl => configured(ep::CoreML::default(), options).build(),
            ProviderKind::DirectMl => ep::DirectML::default().with_device_id(device).build(),
            ProviderKind::OpenVino => configured(ep::OpenVINO::default(), options).build(),
            ProviderKind::Qnn => configured(ep::QNN::default(), options).build(),
            ProviderKind::TensorRtRtx | ProviderKind::WebGpu | ProviderKind::Cpu | ProviderKind::Embedded => {
                return None;
            }
        };
        // Without this a provider that fails is left out in silence.
        Some(dispatch.error_on_failure())
    }
}

fn configured<P: ArbitrarilyConfigurableExecutionProvider>(provider: P, options: &Options) -> P {
    options.iter().fold(provider, |provider, (name, value)| {
        provider.with_arbitrary_config(name, value)
    })
}

/// Lists the options that a GPUXfile may set: none that names a file, a library or an address.
fn allowed(kind: ProviderKind) -> &'static [&'static str] {
    match kind {
        ProviderKind::TensorRt => &[
            "trt_max_workspace_size",
            "trt_min_subgraph_size",
            "trt_max_partition_iterations",
            "trt_builder_optimization_level",
            "trt_layer_norm_fp32_fallback",
            "trt_profile_min_shapes",
            "trt_profile_max_shapes",
            "trt_profile_opt_shapes",
        ],
        ProviderKind::TensorRtRtx => &[
            "nv_max_workspace_size",
            "nv_profile_min_shapes",
            "nv_profile_max_shapes",
            "nv_profile_opt_shapes",
        ],
        ProviderKind::Cuda => &[
            "gpu_mem_limit",
            "arena_extend_strategy",
            "cudnn_conv_use_max_workspace",
            "cudnn_conv1d_pad_to_nc1d",
            "enable_skip_layer_norm_strict_mode",
            "sdpa_kernel",
        ],
        ProviderKind::CoreMl => &[
            "ModelFormat",
            "MLComputeUnits",
            "RequireStaticInputShapes",
            "EnableOnSubgraphs",
        ],
        ProviderKind::OpenVino => &["device_type", "precision", "num_streams", "disable_dynamic_shapes"],
        ProviderKind::Qnn => &[
            "htp_performance_mode",
            "htp_graph_finalization_optimization_mode",
            "vtcm_mb",
        ],
        ProviderKind::WebGpu => &["preferredLayout", "storageBufferCacheMode"],
        ProviderKind::MiGraphX | ProviderKind::DirectMl | ProviderKind::Cpu | ProviderKind::Embedded => &[],
    }
}

/// Gives gpux's own settings in the provider's words.
fn translated(kind: ProviderKind, session: &SessionOptions) -> Vec<(String, String)> {
    let Settings {
        cuda_graph,
        nhwc,
        convolution_search,
        fuse_bias,
        tf32,
        fp16,
        ..
    } = session.settings;
    let device = session.device.to_string();
    let flag = |on: bool| if on { "1".to_owned() } else { "0".to_owned() };
    let options: Vec<(&str, String)> = match kind {
        ProviderKind::Cuda => vec![
            ("device_id", device),
            ("enable_cuda_graph", flag(cuda_graph)),
            ("prefer_nhwc", flag(nhwc)),
            ("fuse_conv_bias", flag(fuse_bias)),
            ("use_tf32", flag(tf32)),
            (
                "cudnn_conv_algo_search",
                match convolution_search {
                    ConvolutionSearch::Default => "DEFAULT",
                    ConvolutionSearch::Heuristic => "HEURISTIC",
                    ConvolutionSearch::Exhaustive => "EXHAUSTIVE",
                }
                .to_owned(),
            ),
        ],
        ProviderKind::TensorRt => vec![
            ("device_id", device),
            ("trt_cuda_graph_enable", flag(cuda_graph)),
            ("trt_fp16_enable", flag(fp16)),
        ],
        ProviderKind::TensorRtRtx => vec![("enable_cuda_graph", flag(cuda_graph))],
        // Without a type it takes the graphics processor where there is one, and the choice would not be ours.
        ProviderKind::OpenVino if !session.provider_options.contains_key("device_type") => {
            vec![("device_type", "CPU".to_owned())]
        }
        ProviderKind::Qnn => vec![
            ("backend_type", "htp".to_owned()),
            ("enable_htp_fp16_precision", flag(fp16)),
        ],
        ProviderKind::CoreMl => vec![("AllowLowPrecisionAccumulationOnGPU", flag(fp16))],
        _ => vec![],
    };
    let kept = session.engines.iter().flat_map(|folder| {
        let folder = folder.join(kind.name()).to_string_lossy().into_owned();
        let names = cached(kind).iter();
        names.map(move |(name, value)| (*name, value.map_or_else(|| folder.clone(), str::to_owned)))
    });
    options
        .into_iter()
        .chain(kept)
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Lists the options with which a provider keeps what it compiled; `None` stands for the folder.
pub(super) fn cached(kind: ProviderKind) -> &'static [(&'static str, Option<&'static str>)] {
    match kind {
        ProviderKind::TensorRt => &[
            ("trt_engine_cache_enable", Some("1")),
            ("trt_engine_cache_path", None),
            ("trt_timing_cache_enable", Some("1")),
            ("trt_timing_cache_path", None),
        ],
        ProviderKind::TensorRtRtx => &[("nv_runtime_cache_path", None)],
        ProviderKind::OpenVino => &[("cache_dir", None)],
        ProviderKind::CoreMl => &[("ModelCacheDirectory", None)],
        _ => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(kind: ProviderKind) -> Provider {
        Provider { kind, plugin: None }
    }

    #[test]
    fn settings_are_told_in_the_words_of_each_provider_and_are_exact_by_default() {
        let exact = provider(ProviderKind::Cuda)
            .options(&SessionOptions::default())
            .unwrap();
        assert_eq!(
            (exact["use_tf32"].as_str(), exact["enable_cuda_graph"].as_str()),
            ("0", "0")
        );
        let fast = SessionOptions {
            device: 1,
            settings: Settings {
                tf32: true,
                convolution_search: ConvolutionSearch::Exhaustive,
                ..Settings::default()
            },
            ..SessionOptions::default()
        };
        let fast = provider(ProviderKind::Cuda).options(&fast).unwrap();
        assert_eq!((fast["use_tf32"].as_str(), fast["device_id"].as_str()), ("1", "1"));
        assert_eq!(fast["cudnn_conv_algo_search"], "EXHAUSTIVE");
    }

    #[test]
    fn a_model_cannot_name_files_memory_or_what_gpux_decides() {
        for (kind, option) in [
            (ProviderKind::TensorRt, "trt_engine_cache_path"),
            (ProviderKind::TensorRt, "trt_extra_plugin_lib_paths"),
            (ProviderKind::Cuda, "user_compute_stream"),
            (ProviderKind::Cuda, "use_tf32"),
            (ProviderKind::Qnn, "backend_path"),
            (ProviderKind::OpenVino, "cache_dir"),
            (ProviderKind::Cpu, "anything"),
        ] {
            let options = SessionOptions {
                provider_options: [(option.to_owned(), "1".to_owned())].into(),
                ..SessionOptions::default()
            };
            let refused = provider(kind).options(&options).unwrap_err().to_string();
            assert_eq!(refused, format!("{kind} has no option `{option}` that gpux passes on"));
        }
        let options = SessionOptions {
            provider_options: [("gpu_mem_limit".to_owned(), "1000".to_owned())].into(),
            ..SessionOptions::default()
        };
        assert_eq!(
            provider(ProviderKind::Cuda).options(&options).unwrap()["gpu_mem_limit"],
            "1000"
        );
    }

    #[test]
    fn what_compiles_models_keeps_them_in_the_folder_for_this_model_and_no_other_provider_is_told_of_it() {
        let options = SessionOptions {
            engines: Some("/cache/engines/model".into()),
            ..SessionOptions::default()
        };
        let told = |kind| provider(kind).options(&options).unwrap();
        assert_eq!(
            told(ProviderKind::OpenVino)["cache_dir"],
            "/cache/engines/model/openvino"
        );
        let tensorrt = told(ProviderKind::TensorRt);
        assert_eq!(tensorrt["trt_engine_cache_enable"], "1");
        assert_eq!(tensorrt["trt_engine_cache_path"], "/cache/engines/model/tensorrt");
        assert!(!told(ProviderKind::Cuda).values().any(|value| value.contains("/cache")));
    }

    #[test]
    fn every_provider_but_the_processor_is_registered_by_onnx_runtimes_name_for_it() {
        for kind in ProviderKind::ALL {
            let built_in = provider(kind).built_in(&Options::new(), &SessionOptions::default());
            match built_in {
                Some(dispatch) => assert_eq!(Some(dispatch.name()), kind.ep_name()),
                None => assert!(matches!(
                    kind,
                    ProviderKind::TensorRtRtx | ProviderKind::WebGpu | ProviderKind::Cpu | ProviderKind::Embedded
                )),
            }
        }
    }
}
