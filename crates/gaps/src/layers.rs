//! The table of layers, in the order in which they are shown.

mod attention;
mod elementwise;
mod normalization;
mod products;
mod recurrent;
mod structure;

use calipers_ir::{PoolKind, UnaryKind};

use crate::framework::Framework;
use crate::layer::{Layer, Sandwich};
use crate::path::Path;
use attention::{decoder_layer, multihead, multihead_sequence_first, scaled_dot_product};
use elementwise::{add, clip6, concat, gelu, hard_sigmoid, mul, prelu, resize, softmax, unary};
use normalization::{
    batch_norm_alone, batch_norm_folded, batch_norm_unfoldable, group_norm, instance_norm, layer_norm,
    rms_norm,
};
use products::{
    conv_transpose2d, conv_transpose2d_channels, conv1d, conv2d, conv3d, depthwise, dilated, embedding,
    embedding_bag, embedding_tied, grouped, linear, linear_small, matmul, strided,
};
use recurrent::{gru, gru_cell, gru_unrolled, lstm, lstm_cell, lstm_unrolled};
use structure::{branch, nested, nothing, residual, several_inputs};

const IMAGE: Sandwich = Sandwich::Image(16, 16);
const LONG: Sandwich = Sandwich::Sequence(&[1, 32, 64], 64);
const SHORT: Sandwich = Sandwich::Sequence(&[1, 8, 64], 64);
const ONE: Sandwich = Sandwich::Sequence(&[1, 64], 64);

macro_rules! layers {
    ($($group:literal: $($name:ident $title:literal $sandwich:expr, $build:expr $(, $quick:ident)?;)+)+) => {
        /// Every layer.
        pub static LAYERS: &[Layer] = &[$($(Layer {
            name: stringify!($name),
            title: $title,
            group: $group,
            sandwich: $sandwich,
            build: |builder, around| $build(builder, around),
            quick: layers!(@ $($quick)?),
        }),+),+];
    };
    (@ quick) => { true };
    (@) => { false };
}

layers! {
    "Products":
        linear "Linear" LONG, linear, quick;
        linear_rows "Linear on inputs of rank 2" ONE, linear;
        conv1d "Conv1d" LONG, conv1d;
        conv2d "Conv2d" IMAGE, conv2d, quick;
        conv2d_depthwise "Conv2d, depthwise" Sandwich::Image(128, 128), depthwise;
        conv2d_grouped "Conv2d, grouped" Sandwich::Image(32, 32), grouped;
        conv2d_dilated "Conv2d, dilated" IMAGE, dilated;
        conv2d_strided "Conv2d, stride 2" IMAGE, strided;
        conv3d "Conv3d" LONG, conv3d;
        conv_transpose2d "ConvTranspose2d, equal channels" IMAGE, conv_transpose2d;
        conv_transpose2d_channels "ConvTranspose2d, different channels" Sandwich::Image(16, 24), conv_transpose2d_channels;
        matmul "matmul of two activations" Sandwich::Sequence(&[1, 32, 64], 32), matmul;
    "Normalization":
        batch_norm_folded "BatchNorm after Conv2d" IMAGE, batch_norm_folded, quick;
        batch_norm_unfoldable "BatchNorm after ReLU (cannot be folded)" IMAGE, batch_norm_unfoldable;
        batch_norm_alone "BatchNorm on the input" Sandwich::ImageAlone, batch_norm_alone;
        layer_norm "LayerNorm" LONG, layer_norm, quick;
        group_norm "GroupNorm" IMAGE, group_norm;
        instance_norm "InstanceNorm" IMAGE, instance_norm;
        rms_norm "RMSNorm" LONG, rms_norm;
    "Activations":
        relu "ReLU" IMAGE, unary(UnaryKind::Relu);
        relu6 "ReLU6" IMAGE, clip6;
        leaky_relu "LeakyReLU" IMAGE, unary(UnaryKind::LeakyRelu { alpha: 0.01 });
        prelu "PReLU" IMAGE, prelu;
        silu "SiLU" IMAGE, unary(UnaryKind::Swish { alpha: 1.0 });
        gelu "GELU, exact" LONG, gelu(false), quick;
        gelu_tanh "GELU, tanh form" LONG, gelu(true);
        hardswish "Hardswish" IMAGE, unary(UnaryKind::HardSwish);
        hardsigmoid "Hardsigmoid" IMAGE, hard_sigmoid;
        sigmoid "Sigmoid" IMAGE, unary(UnaryKind::Sigmoid);
        tanh "Tanh" IMAGE, unary(UnaryKind::Tanh);
        softmax "Softmax" LONG, softmax, quick;
    "Pooling and resizing":
        max_pool2d "MaxPool2d" IMAGE, products::pool(PoolKind::Max, 2);
        avg_pool2d "AvgPool2d" IMAGE, products::pool(PoolKind::Average { count_include_pad: false }, 2);
        adaptive_avg_pool2d "AdaptiveAvgPool2d" IMAGE, products::pool(PoolKind::Average { count_include_pad: false }, 3);
        global_avg_pool2d "global average pooling" IMAGE, products::global_pool;
        upsample_nearest "Upsample, nearest" IMAGE, resize("nearest", "asymmetric", "floor");
        upsample_bilinear "Upsample, bilinear" IMAGE, resize("linear", "half_pixel", "round_prefer_floor");
    "Operators":
        add "add, operator" IMAGE, add, quick;
        add_layer "add, layer" IMAGE, add;
        mul "multiply, operator" IMAGE, mul;
        mul_layer "multiply, layer" IMAGE, mul;
        concat "concatenate, operator" Sandwich::Image(16, 32), concat;
        concat_layer "concatenate, layer" Sandwich::Image(16, 32), concat;
        dropout "Dropout" IMAGE, nothing;
    "Embeddings":
        embedding "Embedding" Sandwich::Tokens, embedding, quick;
        embedding_bag "EmbeddingBag" Sandwich::Tokens, embedding_bag;
        embedding_tied "Embedding tied to the output layer" Sandwich::TokensAlone, embedding_tied;
    "Recurrent":
        lstm "LSTM" SHORT, lstm, quick;
        gru "GRU" SHORT, gru, quick;
        lstm_cell "LSTMCell" ONE, lstm_cell;
        gru_cell "GRUCell" ONE, gru_cell;
        lstm_unrolled "LSTM, unrolled" SHORT, lstm_unrolled;
        gru_unrolled "GRU, unrolled" SHORT, gru_unrolled;
    "Attention":
        multihead_attention "MultiheadAttention, batch first" LONG, multihead, quick;
        multihead_attention_sequence_first "MultiheadAttention, sequence first" Sandwich::Sequence(&[32, 1, 64], 64), multihead_sequence_first;
        scaled_dot_product_attention "scaled dot-product attention" LONG, scaled_dot_product;
        transformer_decoder_layer "Transformer decoder layer" LONG, decoder_layer, quick;
    "Structure":
        residual "residual block" IMAGE, residual, quick;
        nested "model inside a model" IMAGE, nested;
        functional "functional form" IMAGE, nested;
        subclassed "subclassed model" IMAGE, nested;
        data_dependent_branch "branch that depends on data" IMAGE, branch;
        channels_last "channels-last tensors" IMAGE, conv2d;
        several_inputs "inputs of several types" Sandwich::SequenceAndTokens, several_inputs;
}

/// What the detector itself is tried on.
pub static CONTROLS: &[Control] = &[
    control("control_quantized", "conv2d", "quantized", 60.0),
    control("control_float", "conv2d", "silently float", 60.0),
    control("control_wrong", "conv2d", "runs, numerically wrong", 60.0),
    control("control_killed", "conv2d", "process killed by signal", 60.0),
    control("control_hangs", "conv2d", "times out", 3.0),
    control("control_tiny", "linear_small", "nothing to quantize", 60.0),
    control("control_not_compiled", "conv2d", "silently float", 60.0),
];

/// A probe whose verdict is known before.
#[derive(Debug)]
pub struct Control {
    /// Its name.
    pub name: &'static str,
    /// The layer whose tensors it takes.
    pub layer: &'static str,
    /// What has to be found.
    pub expected: &'static str,
    /// Seconds after which it is killed.
    pub limit_seconds: f64,
}

const fn control(
    name: &'static str,
    layer: &'static str,
    expected: &'static str,
    limit_seconds: f64,
) -> Control {
    Control { name, layer, expected, limit_seconds }
}

impl Control {
    /// The path of a framework that it goes through: the first one, but for two that are about a certain path.
    pub fn path(&self, framework: Framework) -> Option<&'static Path> {
        let mut paths = Path::of(framework);
        match (self.name, framework) {
            ("control_tiny", Framework::TensorFlow) => paths.find(|path| path.smallest_constant > 0),
            ("control_not_compiled", Framework::PyTorch) => paths.find(|path| path.name == "pt2e"),
            ("control_tiny" | "control_not_compiled", _) => None,
            _ => paths.next(),
        }
    }
}

/// A layer whose weights are smaller than some paths quantize; only a control takes it.
pub static SMALL: Layer = Layer {
    name: "linear_small",
    title: "Linear of 768 weights",
    group: "Controls",
    sandwich: Sandwich::Sequence(&[1, 32, 64], 12),
    build: linear_small,
    quick: false,
};

/// The layer of that name.
pub fn layer(name: &str) -> Option<&'static Layer> {
    LAYERS.iter().chain([&SMALL]).find(|layer| layer.name == name)
}
