//! ONNX Runtime, by the way that `gpux run` takes: every node test is right, but for what ONNX Runtime itself does not do.

use std::collections::BTreeMap;
use std::process::Command;

use gpux::onnx::Model;

use crate::cases::{Case, Pack};
use crate::child::{Outcome, Runner, run_pack};

/// The newest IR version and opset that the pinned ONNX Runtime reads. The generators of the pinned onnx are newer.
const NEWEST_IR_VERSION: i64 = 13;
const NEWEST_OPSET: i64 = 26;

/// What the pinned ONNX Runtime does not do, or does otherwise than ONNX's tests say: a reason and its tests.
const LISTED: &[(&str, &[&str])] = &[
    (
        "training operators are not in the library",
        &[
            "test_adagrad",
            "test_adagrad_multiple",
            "test_adam",
            "test_adam_multiple",
            "test_momentum",
            "test_momentum_multiple",
            "test_nesterov_momentum",
        ],
    ),
    (
        "preview operators are not in the library",
        &[
            "test_flexattention",
            "test_flexattention_causal_mask",
            "test_flexattention_diff_head_sizes",
            "test_flexattention_double",
            "test_flexattention_fp16",
            "test_flexattention_gqa",
            "test_flexattention_prob_mod",
            "test_flexattention_relative_positional",
            "test_flexattention_scaled",
            "test_flexattention_score_mod",
            "test_flexattention_soft_cap",
        ],
    ),
    (
        "the operator has no CPU kernel, of any type",
        &[
            "test_image_decoder_decode_bmp_rgb",
            "test_image_decoder_decode_jpeg2k_rgb",
            "test_image_decoder_decode_jpeg_bgr",
            "test_image_decoder_decode_jpeg_grayscale",
            "test_image_decoder_decode_jpeg_rgb",
            "test_image_decoder_decode_png_rgb",
            "test_image_decoder_decode_pnm_rgb",
            "test_image_decoder_decode_tiff_rgb",
            "test_image_decoder_decode_webp_rgb",
        ],
    ),
    (
        "the CPU kernel is of an older opset",
        &[
            "test_bernoulli",
            "test_bernoulli_double",
            "test_bernoulli_double_expanded",
            "test_bernoulli_expanded",
            "test_bernoulli_seed",
            "test_bernoulli_seed_expanded",
            "test_roialign_aligned_false",
            "test_roialign_aligned_true",
            "test_roialign_mode_max",
        ],
    ),
    (
        "there is no CPU kernel of the type",
        &[
            "test_attention_3d_causal_bf16",
            "test_attention_3d_causal_bf16_expanded",
            "test_attention_4d_attn_mask_causal_bf16_expanded",
            "test_attention_4d_causal_bf16",
            "test_attention_4d_causal_bf16_expanded",
            "test_attention_4d_causal_padded_kv_bf16_expanded",
            "test_attention_4d_padded_kv_bf16_expanded",
            "test_bitcast_bool_to_uint8",
            "test_max_int16",
            "test_max_uint16",
            "test_min_int16",
            "test_min_uint16",
            "test_pow_types_float32_uint32",
            "test_pow_types_float32_uint64",
            "test_top_k_uint64",
        ],
    ),
    (
        "the library's own expansion of Attention adds a float mask to bfloat16 scores",
        &[
            "test_attention_4d_attn_mask_causal_bf16",
            "test_attention_4d_causal_padded_kv_bf16",
            "test_attention_4d_padded_kv_bf16",
        ],
    ),
    (
        "Attention has no local windows in the library",
        &[
            "test_attention_3d_local_window",
            "test_attention_bidirectional_window",
            "test_attention_local_window",
            "test_attention_local_window_default",
            "test_attention_local_window_ext_cache_float16_mask",
            "test_attention_local_window_ext_cache_rank2_mask",
            "test_attention_local_window_ext_cache_rank3_head_mask",
            "test_attention_local_window_ext_cache_rank4_batch_mask",
            "test_attention_local_window_gqa_rank4_mask",
            "test_attention_local_window_rank1_boolean_mask",
            "test_attention_local_window_with_past",
        ],
    ),
    (
        "Attention wants a mask as long as the keys",
        &["test_attention_4d_diff_heads_mask4d_padded_kv"],
    ),
    (
        "recurrent operators have no batch-first layout",
        &["test_gru_batchwise", "test_lstm_batchwise", "test_simple_rnn_batchwise"],
    ),
    (
        "zero points of weights are one for all channels",
        &["test_convinteger_with_padding"],
    ),
    (
        "the largest of no bool is undefined",
        &["test_reduce_max_empty_set_bool"],
    ),
    (
        "random numbers differ from NumPy's",
        &[
            "test_training_dropout",
            "test_training_dropout_default",
            "test_training_dropout_default_mask",
            "test_training_dropout_mask",
        ],
    ),
    (
        "MaxUnpool takes indices for the padded output",
        &["test_maxunpool_export_with_output_shape"],
    ),
    (
        "corners are aligned to the size, and not to what the scale would give",
        &[
            "test_resize_downsample_scales_cubic_align_corners",
            "test_resize_downsample_scales_linear_align_corners",
        ],
    ),
];

/// Tests that want the locale en_US.UTF-8, which many machines do not have.
const WANT_LOCALE: [&str; 4] = [
    "test_strnormalizer_export_monday_casesensintive_lower",
    "test_strnormalizer_export_monday_casesensintive_upper",
    "test_strnormalizer_export_monday_empty_output",
    "test_strnormalizer_export_monday_insensintive_upper_twodim",
];

/// Tests that round otherwise than NumPy, by how much depends on the processor: the absolute tolerance that they get.
const COARSE: [(&str, f64); 13] = [
    ("test_attention_4d_causal_fp16", 1e-3),
    ("test_dft", 1e-3),
    ("test_dft_axis", 1e-3),
    ("test_dft_axis_opset19", 1e-3),
    ("test_dft_inverse", 1e-3),
    ("test_dft_inverse_opset19", 1e-3),
    ("test_dft_irfft", 1e-3),
    ("test_dft_irfft_opset19", 1e-3),
    ("test_dft_opset19", 1e-3),
    ("test_dft_rfft", 1e-3),
    ("test_dft_rfft_opset19", 1e-3),
    ("test_stft", 1e-3),
    ("test_stft_with_window", 1e-3),
];

/// Gives the coarser tolerance of a test, where it has one.
pub fn tolerance(name: &str) -> Option<f64> {
    COARSE
        .iter()
        .find(|(of, _)| *of == name)
        .map(|(_, tolerance)| *tolerance)
}

pub fn every_node_test_is_right_but_for_the_listed() {
    let cases = Pack::Node.read();
    let outcomes = run_pack(Runner::Cpu, Pack::Node, cases.len());
    let mut excused: BTreeMap<&str, &str> = LISTED
        .iter()
        .flat_map(|(reason, names)| names.iter().map(move |name| (*name, *reason)))
        .collect();
    if !has_locale() {
        excused.extend(WANT_LOCALE.map(|name| (name, "the locale en_US.UTF-8 is not installed")));
    }
    let mut breaches = Vec::new();
    let (mut right, mut newer, mut unheld) = (0, 0, 0);
    for (case, outcome) in cases.iter().zip(&outcomes) {
        let reason = excused
            .remove(case.name.as_str())
            .or_else(|| newer_than_the_library(case));
        match (outcome, reason) {
            (Outcome::Refused(_), None) => unheld += 1,
            (Outcome::Refused(_), Some(_)) if newer_than_the_library(case).is_some() => unheld += 1,
            (Outcome::Right, None) => right += 1,
            (Outcome::Right, Some(reason)) => breaches.push(format!("{} is right, and listed: {reason}", case.name)),
            (_, Some(_)) => newer += usize::from(newer_than_the_library(case).is_some()),
            (wrong, None) => breaches.push(format!("{}: {wrong:?}", case.name)),
        }
    }
    breaches.extend(excused.keys().map(|name| format!("{name} is listed, and no test")));
    println!(
        "cpu: {right} of {} node tests are right; gpux has no tensor for {unheld}, {newer} are newer than the library",
        cases.len()
    );
    assert!(breaches.is_empty(), "{}", breaches.join("\n"));
}

/// Tells whether a case is of an IR version or opset that the library refuses to read.
fn newer_than_the_library(case: &Case) -> Option<&'static str> {
    let model = Model::parse(case.model.clone().into()).unwrap();
    let proto = model.proto();
    let opset = proto
        .opset_import
        .iter()
        .filter(|opset| matches!(opset.domain(), "" | "ai.onnx"))
        .map(|opset| opset.version())
        .max();
    let newer = proto.ir_version() > NEWEST_IR_VERSION || opset > Some(NEWEST_OPSET);
    newer.then_some("newer than the library")
}

fn has_locale() -> bool {
    let listed = Command::new("locale")
        .arg("-a")
        .output()
        .map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    listed.is_ok_and(|names| {
        names
            .lines()
            .any(|name| name.eq_ignore_ascii_case("en_US.utf8") || name.eq_ignore_ascii_case("en_US.UTF-8"))
    })
}
