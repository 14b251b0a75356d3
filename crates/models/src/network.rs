//! Layers by name: each adds its constants and its node to the graph being built.

use calipers_ir::{
    Activation, BatchNormalization, BinaryKind, Conv, DType, Dim, EditError, Gemm, Graph, GraphEditor,
    Layout, Op, Pool, PoolKind, Tensor, TensorType, UnaryKind, ValueId, Window,
};

use crate::initialize;
use crate::{ModelError, Options};

/// A network under construction. Convolutions take padding of half their kernel, rounded down, on both sides.
pub struct Network {
    editor: GraphEditor,
    options: Options,
    seed: u64,
}

/// Extents of a convolution with square taps.
#[derive(Clone, Copy)]
pub struct Taps {
    /// Channels read.
    pub inputs: usize,
    /// Channels made.
    pub outputs: usize,
    /// Taps along each spatial axis.
    pub kernel: usize,
    /// Step along each spatial axis.
    pub stride: usize,
    /// Whether there is a bias; it starts at 0.
    pub bias: bool,
}

impl Network {
    /// An empty network and its input.
    pub fn new(name: &str, options: &Options, seed: u64) -> Result<(Self, ValueId), ModelError> {
        if !(1..=Options::MOST_CLASSES).contains(&options.classes) {
            return Err(ModelError::Classes { found: options.classes });
        }
        let mut editor = GraphEditor::new(name);
        let image = [Dim::symbolic("N"), Dim::Known(3), Dim::Known(32), Dim::Known(32)];
        let input = editor.add_input("input", TensorType::new(DType::F32, image))?;
        Ok((Network { editor, options: options.clone(), seed }, input))
    }

    /// Convolution.
    pub fn conv(&mut self, name: &str, x: ValueId, taps: Taps) -> Result<ValueId, EditError> {
        let Taps { inputs, outputs, kernel, stride, bias } = taps;
        let shape = [outputs, inputs, kernel, kernel];
        let weight_name = format!("{name}.weight");
        let weight = initialize::he_fan_out(self.seed, &weight_name, shape);
        let mut arguments = vec![x, self.constant(weight_name, &shape, weight)?];
        if bias {
            arguments.push(self.constant(format!("{name}.bias"), &[outputs], vec![0.0; outputs])?);
        }
        let window = Window::uniform(2, stride, kernel / 2);
        let conv = Conv { groups: 1, window, layout: Layout::Nchw, activation: Activation::None };
        self.editor.add(name, Op::Conv(conv), &arguments)
    }

    /// BatchNorm at PyTorch's defaults over that many channels, where the options ask for it; else `x` itself.
    /// Scale and variance start at 1, bias and mean at 0.
    pub fn batch_norm(&mut self, name: &str, x: ValueId, channels: usize) -> Result<ValueId, EditError> {
        if !self.options.batch_norm {
            return Ok(x);
        }
        let mut arguments = vec![x];
        for (part, start) in [("weight", 1.0), ("bias", 0.0), ("running_mean", 0.0), ("running_var", 1.0)] {
            arguments.push(self.constant(format!("{name}.{part}"), &[channels], vec![start; channels])?);
        }
        let op = BatchNormalization { epsilon: 1e-5, momentum: 0.9, layout: Layout::Nchw };
        self.editor.add(name, Op::BatchNormalization(op), &arguments)
    }

    /// `max(x, 0)`.
    pub fn relu(&mut self, name: &str, x: ValueId) -> Result<ValueId, EditError> {
        self.editor.add(name, Op::Unary(UnaryKind::Relu), &[x])
    }

    /// `a + b`.
    pub fn add(&mut self, name: &str, a: ValueId, b: ValueId) -> Result<ValueId, EditError> {
        self.editor.add(name, Op::Binary(BinaryKind::Add, Activation::None), &[a, b])
    }

    /// Max pooling of 3x3 taps with stride 2 and padding 1.
    pub fn max_pool(&mut self, name: &str, x: ValueId) -> Result<ValueId, EditError> {
        let window = Window::uniform(2, 2, 1);
        let pool = Pool {
            kind: PoolKind::Max,
            kernel: vec![3, 3],
            window,
            ceil: false,
            column_major: false,
            layout: Layout::Nchw,
        };
        self.editor.add(name, Op::Pool(pool), &[x])
    }

    /// Mean over all positions, flattening, and a linear layer to the logits; finishes the graph.
    pub fn classify(mut self, x: ValueId, channels: usize) -> Result<Graph, ModelError> {
        let classes = self.options.classes;
        let average = PoolKind::Average { count_include_pad: false };
        let pooled = self.editor.add("avgpool", Op::GlobalPool(average, Layout::Nchw), &[x])?;
        let flat = self.editor.add("flatten", Op::Flatten { axis: 1 }, &[pooled])?;
        let weight = initialize::linear(self.seed, "fc.weight", classes * channels, channels);
        let weight = self.constant(String::from("fc.weight"), &[classes, channels], weight)?;
        let bias = initialize::linear(self.seed, "fc.bias", classes, channels);
        let bias = self.constant(String::from("fc.bias"), &[classes], bias)?;
        let gemm = Gemm {
            alpha: 1.0,
            beta: 1.0,
            transpose_a: false,
            transpose_b: true,
            activation: Activation::None,
        };
        let arguments = [Some(flat), Some(weight), Some(bias)];
        let logits = self.editor.add_node("fc", Op::Gemm(gemm), &arguments, &["logits"])?;
        self.editor.add_output(logits[0]);
        Ok(self.editor.build()?)
    }

    fn constant(&mut self, name: String, shape: &[usize], elements: Vec<f32>) -> Result<ValueId, EditError> {
        let tensor = Tensor::from_vec(shape, elements).expect("as many elements as the shape has");
        self.editor.add_constant(name, tensor)
    }
}
