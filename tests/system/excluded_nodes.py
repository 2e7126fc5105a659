"""The node tests of ``onnx`` that the server need not pass, and why.

test_onnx_nodes.py holds every line to its reason, so that none outlives it.
"""

from __future__ import annotations

from enum import Enum
from fnmatch import fnmatchcase


class Reason(Enum):
    """Why a node test is not held against the server."""

    NO_KERNEL = "onnxruntime 1.32 has no CPU kernel for this operator, version or dtype"
    REFUSES = "onnxruntime 1.32 has the kernel, which refuses this attribute or these inputs"
    DIFFERS = "onnxruntime 1.32 itself answers otherwise than expected"
    ROUNDING = "onnxruntime's own answer is within 0.005 but not within the test's tolerance"
    RANDOM = "training mode: random"
    LOCALE = "needs the locale en_US.UTF-8, which a machine may lack"
    OPTIONAL = "an optional(...) value goes in or out: it has no JSON form"


EXCLUDED: dict[Reason, tuple[str, ...]] = {
    Reason.NO_KERNEL: (
        "test_adagrad*",
        "test_adam*",
        "test_attention_*_bf16*",
        "test_bernoulli*",
        "test_bitcast_bool_to_uint8",
        "test_cast*FLOAT4E2M1*",
        "test_celu_bfloat16_expanded",
        "test_dequantizelinear*",
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
        "test_image_decoder_*",
        "test_max_int16",
        "test_max_uint16",
        "test_min_int16",
        "test_min_uint16",
        "test_momentum*",
        "test_nesterov_momentum",
        "test_onehot_with_bfloat16_values",
        "test_optional_*",
        "test_pow_types_float32_uint32",
        "test_pow_types_float32_uint64",
        "test_quantizelinear*",
        "test_roialign_*",
        "test_swiglu*",
        "test_top_k_uint64",
    ),
    Reason.REFUSES: (
        "test_attention_4d_diff_heads_mask4d_padded_kv",
        "test_convinteger_with_padding",
        "test_gru_batchwise",
        "test_lstm_batchwise",
        "test_reduce_max_empty_set_bool",
        "test_simple_rnn_batchwise",
    ),
    Reason.DIFFERS: (
        "test_attention_4d_with_past_and_present_qk_matmul_bias_3d_mask_causal",
        "test_attention_4d_with_past_and_present_qk_matmul_bias_4d_mask_causal",
        "test_maxunpool_export_with_output_shape",
        "test_resize_downsample_scales_cubic_align_corners",
        "test_resize_downsample_scales_linear_align_corners",
    ),
    Reason.ROUNDING: (
        "test_attention_4d_causal_fp16",
        "test_dft",
        "test_dft_axis",
        "test_dft_axis_opset19",
        "test_dft_inverse",
        "test_dft_inverse_opset19",
        "test_dft_irfft",
        "test_dft_irfft_opset19",
        "test_dft_opset19",
        "test_dft_rfft",
        "test_dft_rfft_opset19",
        "test_stft",
        "test_stft_with_window",
    ),
    Reason.RANDOM: (
        "test_training_dropout",
        "test_training_dropout_default",
        "test_training_dropout_default_mask",
        "test_training_dropout_mask",
    ),
    Reason.LOCALE: (
        "test_strnormalizer_export_monday_casesensintive_lower",
        "test_strnormalizer_export_monday_casesensintive_upper",
        "test_strnormalizer_export_monday_empty_output",
        "test_strnormalizer_export_monday_insensintive_upper_twodim",
    ),
    Reason.OPTIONAL: (
        "test_identity_opt",
        "test_if_opt",
        "test_loop16_seq_none",
    ),
}


def reasons_of(name: str) -> list[Reason]:
    """The reasons to leave a test out: at most one in a sound list."""
    return [
        reason
        for reason, patterns in EXCLUDED.items()
        if any(fnmatchcase(name, pattern) for pattern in patterns)
    ]
