"""The layers and the questions that every framework's gap probes have to know."""

import re

LAYERS = re.findall(
    r"\w+",
    """
    linear linear_rows conv1d conv2d conv2d_depthwise conv2d_grouped conv2d_dilated conv2d_strided
    conv3d conv_transpose2d conv_transpose2d_channels batch_norm_folded
    batch_norm_unfoldable batch_norm_alone relu relu6 silu hardswish hardsigmoid sigmoid
    tanh leaky_relu prelu gelu gelu_tanh softmax max_pool2d avg_pool2d adaptive_avg_pool2d
    global_avg_pool2d add mul add_layer mul_layer concat concat_layer matmul embedding
    embedding_bag embedding_tied layer_norm group_norm instance_norm rms_norm lstm gru
    lstm_cell gru_cell lstm_unrolled gru_unrolled multihead_attention
    multihead_attention_sequence_first scaled_dot_product_attention
    transformer_decoder_layer upsample_nearest upsample_bilinear dropout residual nested
    functional subclassed data_dependent_branch channels_last several_inputs
    """,
)

CAPABILITIES = re.findall(
    r"\w+",
    """
    read_weights read_activations profile_float_inference profile_quantized_inference
    profile_training profile_memory automatic_fusion without_stubs
    without_special_interpreter accelerator qat_overhead save_and_load export_to_onnx
    """,
)
