//! ResNet-18 for 32x32 images.

use calipers_ir::{Graph, ValueId};

use crate::network::{Network, Taps};
use crate::{ModelError, Options};

/// ResNet-18 (He et al., "Deep Residual Learning for Image Recognition", 2015, table 1) as torchvision builds it, on
/// inputs of 32x32: a 7x7 convolution with stride 2 to 64 channels, ReLU, 3x3 max pooling with stride 2, four
/// layers of two basic blocks with 64, 128, 256 and 512 channels, global average pooling and a linear layer.
/// No convolution has a bias.
///
/// A basic block is `relu(conv2(relu(conv1(x))) + shortcut(x))` with 3x3 convolutions; the first block of layers 2
/// to 4 has stride 2 in `conv1` and a 1x1 convolution with stride 2 as `shortcut`, all others the identity. With
/// `batch_norm` each convolution is followed by one.
///
/// The paper's model is `Options { classes: 10, batch_norm: false }`: 11,172,042 parameters, 42.6 MiB.
///
/// Convolutions start as He's normal distribution in fan-out mode (deviation `sqrt(2 / (outputs * kernel^2))`), the
/// linear layer's weight and bias uniform within `1 / sqrt(512)`, BatchNorm at scale 1, bias 0, mean 0, variance 1,
/// epsilon 1e-5.
///
/// # Errors
/// A number of classes out of range.
pub fn resnet18(options: &Options, seed: u64) -> Result<Graph, ModelError> {
    let (mut network, input) = Network::new("resnet18", options, seed)?;
    let stem = Taps { inputs: 3, outputs: 64, kernel: 7, stride: 2, bias: false };
    let mut x = network.conv("conv1", input, stem)?;
    x = network.batch_norm("bn1", x, 64)?;
    x = network.relu("relu", x)?;
    x = network.max_pool("maxpool", x)?;

    let layers = [(64, 64), (64, 128), (128, 256), (256, 512)];
    for (index, (inputs, outputs)) in layers.into_iter().enumerate() {
        let layer = format!("layer{}", index + 1);
        let stride = if inputs == outputs { 1 } else { 2 };
        x = basic_block(&mut network, &format!("{layer}.0"), x, inputs, outputs, stride)?;
        x = basic_block(&mut network, &format!("{layer}.1"), x, outputs, outputs, 1)?;
    }
    network.classify(x, 512)
}

fn basic_block(
    network: &mut Network,
    name: &str,
    x: ValueId,
    inputs: usize,
    outputs: usize,
    stride: usize,
) -> Result<ValueId, ModelError> {
    let wide = Taps { inputs, outputs, kernel: 3, stride, bias: false };
    let mut y = network.conv(&format!("{name}.conv1"), x, wide)?;
    y = network.batch_norm(&format!("{name}.bn1"), y, outputs)?;
    y = network.relu(&format!("{name}.relu1"), y)?;
    let same = Taps { inputs: outputs, stride: 1, ..wide };
    y = network.conv(&format!("{name}.conv2"), y, same)?;
    y = network.batch_norm(&format!("{name}.bn2"), y, outputs)?;

    let mut shortcut = x;
    if stride != 1 || inputs != outputs {
        let narrow = Taps { kernel: 1, ..wide };
        shortcut = network.conv(&format!("{name}.downsample.0"), x, narrow)?;
        shortcut = network.batch_norm(&format!("{name}.downsample.1"), shortcut, outputs)?;
    }
    let sum = network.add(&format!("{name}.add"), y, shortcut)?;
    Ok(network.relu(&format!("{name}.relu2"), sum)?)
}
