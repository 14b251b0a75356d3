//! ResNet-8 of the MLPerf Tiny benchmark.

use calipers_ir::{Graph, ValueId};

use crate::network::{Network, Taps};
use crate::{ModelError, Options};

/// The image classification model of MLPerf Tiny (Banbury et al., "MLPerf Tiny Benchmark", 2021;
/// `resnet_v1_eembc` in <https://github.com/mlcommons/tiny>): a 3x3 convolution to 16 channels, three stacks of one
/// residual block with 16, 32 and 64 channels, the last two with stride 2 and a 1x1 convolution as shortcut, average
/// pooling over all positions and a linear layer. All convolutions have a bias, and with `batch_norm` all but the
/// shortcuts are followed by one. With BatchNorm and ten classes: 78,666 parameters, the running statistics
/// included.
///
/// It differs from the benchmark's Keras code in four things, so that every framework computes the same: convolutions
/// with stride 2 are padded by 1 on both sides, as in PyTorch (TensorFlow's `same` pads these only at the end);
/// BatchNorm has PyTorch's epsilon 1e-5 and momentum (Keras: 1e-3 and 0.99); the softmax is left out; weights are not
/// drawn with Keras's `he_normal`, but as follows.
///
/// Convolutions start as He's normal distribution in fan-out mode (deviation `sqrt(2 / (outputs * kernel^2))`) with
/// bias 0, the linear layer's weight and bias uniform within `1 / sqrt(64)`, BatchNorm at scale 1, bias 0, mean 0,
/// variance 1.
///
/// # Errors
/// A number of classes out of range.
pub fn resnet8(options: &Options, seed: u64) -> Result<Graph, ModelError> {
    let (mut network, input) = Network::new("resnet8", options, seed)?;
    let stem = Taps { inputs: 3, outputs: 16, kernel: 3, stride: 1, bias: true };
    let mut x = network.conv("conv1", input, stem)?;
    x = network.batch_norm("bn1", x, 16)?;
    x = network.relu("relu", x)?;
    for (name, inputs, outputs) in [("stack1", 16, 16), ("stack2", 16, 32), ("stack3", 32, 64)] {
        x = stack(&mut network, name, x, inputs, outputs)?;
    }
    network.classify(x, 64)
}

fn stack(
    network: &mut Network,
    name: &str,
    x: ValueId,
    inputs: usize,
    outputs: usize,
) -> Result<ValueId, ModelError> {
    let stride = if inputs == outputs { 1 } else { 2 };
    let wide = Taps { inputs, outputs, kernel: 3, stride, bias: true };
    let mut y = network.conv(&format!("{name}.conv1"), x, wide)?;
    y = network.batch_norm(&format!("{name}.bn1"), y, outputs)?;
    y = network.relu(&format!("{name}.relu1"), y)?;
    y = network.conv(&format!("{name}.conv2"), y, Taps { inputs: outputs, stride: 1, ..wide })?;
    y = network.batch_norm(&format!("{name}.bn2"), y, outputs)?;
    let shortcut = if inputs == outputs {
        x
    } else {
        network.conv(&format!("{name}.shortcut"), x, Taps { kernel: 1, ..wide })?
    };
    let sum = network.add(&format!("{name}.add"), y, shortcut)?;
    Ok(network.relu(&format!("{name}.relu2"), sum)?)
}
