//! Builds the graph of a probe, and keeps the table of what is drawn for it.

use calipers_ir::{
    Activation, BatchNormalization, BinaryKind, Conv, ConvTranspose, DType, EditError, Gemm, Graph,
    GraphEditor, Layout, Movement, Op, Pool, PoolKind, Tensor, TensorType, UnaryKind, ValueId, Window,
};

use crate::draw::Drawn;

/// Number of rows of every embedding table; token ids are below it.
pub const VOCABULARY: usize = 200;
/// Bounds of float inputs.
const INPUT: f64 = 2.0;
/// Bounds of biases.
const BIAS: f64 = 0.1;

/// A graph under construction. Weights have PyTorch's names and layouts; constants of the graph are made from them.
pub struct Builder {
    layer: &'static str,
    editor: GraphEditor,
    /// What is drawn for weights.
    pub weights: Vec<Drawn>,
    /// What the inputs are drawn like, each for one sample.
    pub inputs: Vec<Drawn>,
    nodes: usize,
}

/// Extents of a convolution over any number of spatial axes.
#[derive(Clone, Copy)]
pub struct Taps {
    /// Channels read.
    pub inputs: usize,
    /// Channels made.
    pub outputs: usize,
    /// Groups of channels.
    pub groups: usize,
    /// Step along each spatial axis.
    pub stride: usize,
    /// Distance of neighbouring taps; padding is the same.
    pub dilation: usize,
    /// Spatial axes.
    pub axes: usize,
}

impl Taps {
    /// Three taps along two axes, one group, step 1.
    pub const fn image(inputs: usize, outputs: usize) -> Taps {
        Taps { inputs, outputs, groups: 1, stride: 1, dilation: 1, axes: 2 }
    }
}

impl Builder {
    /// An empty graph for that layer.
    pub fn new(layer: &'static str) -> Builder {
        Builder { layer, editor: GraphEditor::new(layer), weights: Vec::new(), inputs: Vec::new(), nodes: 0 }
    }

    /// A float input.
    pub fn input(&mut self, name: &str, shape: &[usize]) -> Result<ValueId, EditError> {
        self.inputs.push(Drawn::new(self.layer, name, shape, -INPUT, INPUT));
        self.editor.add_input(name, TensorType::new(DType::F32, shape.iter().copied()))
    }

    /// An input of token ids.
    pub fn ids(&mut self, name: &str, shape: &[usize]) -> Result<ValueId, EditError> {
        self.inputs.push(Drawn::new(self.layer, name, shape, 0.0, 1.0));
        self.editor.add_input(name, TensorType::new(DType::I64, shape.iter().copied()))
    }

    /// The graph, with that output.
    pub fn finish(mut self, output: ValueId) -> Result<(Graph, Vec<Drawn>, Vec<Drawn>), EditError> {
        self.editor.add_output(output);
        Ok((self.editor.build()?, self.weights, self.inputs))
    }

    /// Draws a weight.
    pub fn draw(&mut self, name: &str, shape: &[usize], low: f64, high: f64) -> Vec<f32> {
        let drawn = Drawn::new(self.layer, name, shape, low, high);
        let values = drawn.values();
        // A weight that is used twice is drawn once.
        if !self.weights.contains(&drawn) {
            self.weights.push(drawn);
        }
        values
    }

    /// Draws a matrix or the taps of a convolution, so that sums over `fan_in` products keep the size of their inputs.
    pub fn draw_product(&mut self, name: &str, shape: &[usize], fan_in: usize) -> Vec<f32> {
        let bound = (3.0 / fan_in as f64).sqrt();
        self.draw(name, shape, -bound, bound)
    }

    /// Draws a bias.
    pub fn draw_bias(&mut self, name: &str, count: usize) -> Vec<f32> {
        self.draw(name, &[count], -BIAS, BIAS)
    }

    /// A constant.
    pub fn constant(&mut self, name: &str, shape: &[usize], values: Vec<f32>) -> Result<ValueId, EditError> {
        let tensor = Tensor::from_vec(shape.to_vec(), values).expect("as many elements as the shape has");
        self.editor.add_constant(name, tensor)
    }

    /// A constant number.
    pub fn constant_scalar(&mut self, name: &str, value: f32) -> Result<ValueId, EditError> {
        let name = self.fresh(name);
        self.editor.add_constant(name, Tensor::scalar(value))
    }

    /// A constant vector of integers, such as a shape.
    pub fn integers(&mut self, values: &[i64]) -> Result<ValueId, EditError> {
        let name = self.fresh("integers");
        let tensor = Tensor::from_vec([values.len()], values.to_vec()).expect("one element for each");
        self.editor.add_constant(name, tensor)
    }

    /// A node under a name of its own.
    pub fn op(&mut self, name: &str, op: Op, inputs: &[ValueId]) -> Result<ValueId, EditError> {
        let name = self.fresh(name);
        self.editor.add(&name, op, inputs)
    }

    /// A node of several outputs, of which the first is read.
    pub fn op_of_many(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[Option<ValueId>],
        outputs: usize,
    ) -> Result<Vec<ValueId>, EditError> {
        let name = self.fresh(name);
        let outputs: Vec<String> = (0..outputs).map(|index| format!("{name}.{index}")).collect();
        let names: Vec<&str> = outputs.iter().map(String::as_str).collect();
        self.editor.add_node(name, op, inputs, &names)
    }

    fn fresh(&mut self, name: &str) -> String {
        self.nodes += 1;
        if self.nodes == 1 { name.to_owned() } else { format!("{name}.{}", self.nodes) }
    }

    /// Convolution of three taps along each axis, `{name}.weight` `[outputs, inputs / groups, 3, ...]` and `{name}.bias`.
    pub fn conv(&mut self, name: &str, x: ValueId, taps: Taps) -> Result<ValueId, EditError> {
        let Taps { inputs, outputs, groups, stride, dilation, axes } = taps;
        let shape: Vec<usize> = [outputs, inputs / groups].into_iter().chain(vec![3; axes]).collect();
        let fan_in = shape[1..].iter().product();
        let weight_name = format!("{name}.weight");
        let weight = self.draw_product(&weight_name, &shape, fan_in);
        let weight = self.constant(&weight_name, &shape, weight)?;
        let bias = self.vector(&format!("{name}.bias"), outputs, -BIAS, BIAS)?;
        let window = Window { dilations: vec![dilation; axes], ..Window::uniform(axes, stride, dilation) };
        let op = Op::Conv(Conv { groups, window, layout: Layout::Nchw, activation: Activation::None });
        self.op(name, op, &[x, weight, bias])
    }

    /// Transposed convolution that doubles the extents, `layer.weight` `[inputs, outputs, 3, 3]` and `layer.bias`.
    pub fn conv_transpose(
        &mut self,
        x: ValueId,
        inputs: usize,
        outputs: usize,
    ) -> Result<ValueId, EditError> {
        let shape = [inputs, outputs, 3, 3];
        let weight = self.draw_product("layer.weight", &shape, inputs * 9 / 4);
        let weight = self.constant("layer.weight", &shape, weight)?;
        let bias = self.vector("layer.bias", outputs, -BIAS, BIAS)?;
        let op = ConvTranspose {
            groups: 1,
            window: Window::uniform(2, 2, 1),
            output_padding: vec![1, 1],
            layout: Layout::Nchw,
            activation: Activation::None,
        };
        self.op("layer", Op::ConvTranspose(op), &[x, weight, bias])
    }

    /// A drawn vector as a constant of its name.
    pub fn vector(&mut self, name: &str, count: usize, low: f64, high: f64) -> Result<ValueId, EditError> {
        let values = self.draw(name, &[count], low, high);
        self.constant(name, &[count], values)
    }

    /// `x W^T + b` over the last axis, `{name}.weight` `[outputs, inputs]` and `{name}.bias`.
    pub fn linear(
        &mut self,
        name: &str,
        x: ValueId,
        inputs: usize,
        outputs: usize,
    ) -> Result<ValueId, EditError> {
        let weight = self.draw_product(&format!("{name}.weight"), &[outputs, inputs], inputs);
        let bias = self.draw_bias(&format!("{name}.bias"), outputs);
        self.product(name, x, &weight, Some(bias), [outputs, inputs])
    }

    /// `x W^T + b` with given values; `weight` is `[outputs, inputs]`. As exporters write it: a Gemm of rank 2, a MatMul and an
    /// Add else.
    pub fn product(
        &mut self,
        name: &str,
        x: ValueId,
        weight: &[f32],
        bias: Option<Vec<f32>>,
        [outputs, inputs]: [usize; 2],
    ) -> Result<ValueId, EditError> {
        let rank = self.editor.value(x).ty.shape.as_ref().map_or(0, Vec::len);
        if let (2, Some(bias)) = (rank, &bias) {
            return self.gemm(name, x, weight, bias, [outputs, inputs]);
        }
        let transposed =
            (0..inputs * outputs).map(|at| weight[at % outputs * inputs + at / outputs]).collect();
        let constant = self.fresh(&format!("{name}.weight"));
        let weight = self.constant(&constant, &[inputs, outputs], transposed)?;
        let product = self.op(name, Op::MatMul, &[x, weight])?;
        let Some(bias) = bias else { return Ok(product) };
        let constant = self.fresh(&format!("{name}.bias"));
        let bias = self.constant(&constant, &[outputs], bias)?;
        self.op(name, Op::Binary(BinaryKind::Add, Activation::None), &[product, bias])
    }

    /// `x W^T + b` of rank 2.
    fn gemm(
        &mut self,
        name: &str,
        x: ValueId,
        weight: &[f32],
        bias: &[f32],
        [outputs, inputs]: [usize; 2],
    ) -> Result<ValueId, EditError> {
        let constant = self.fresh(&format!("{name}.weight"));
        let weight = self.constant(&constant, &[outputs, inputs], weight.to_vec())?;
        let constant = self.fresh(&format!("{name}.bias"));
        let bias = self.constant(&constant, &[outputs], bias.to_vec())?;
        let op = Gemm {
            alpha: 1.0,
            beta: 1.0,
            transpose_a: false,
            transpose_b: true,
            activation: Activation::None,
        };
        self.op(name, Op::Gemm(op), &[x, weight, bias])
    }

    /// BatchNorm over 16 channels, `norm.weight`, `norm.bias`, `norm.running_mean`, `norm.running_var`.
    pub fn batch_norm(&mut self, x: ValueId) -> Result<ValueId, EditError> {
        let mut inputs = vec![x];
        for (part, low, high) in [
            ("weight", 0.5, 1.5),
            ("bias", -0.2, 0.2),
            ("running_mean", -0.2, 0.2),
            ("running_var", 0.5, 1.5),
        ] {
            inputs.push(self.vector(&format!("norm.{part}"), 16, low, high)?);
        }
        let op = BatchNormalization { epsilon: 1e-5, momentum: 0.9, layout: Layout::Nchw };
        self.op("norm", Op::BatchNormalization(op), &inputs)
    }

    /// Pooling of square windows that do not overlap.
    pub fn pool(&mut self, kind: PoolKind, size: usize, x: ValueId) -> Result<ValueId, EditError> {
        let pool = Pool {
            kind,
            kernel: vec![size; 2],
            window: Window::uniform(2, size, 0),
            ceil: false,
            column_major: false,
            layout: Layout::Nchw,
        };
        self.op("layer", Op::Pool(pool), &[x])
    }

    /// An elementwise function.
    pub fn unary(&mut self, kind: UnaryKind, x: ValueId) -> Result<ValueId, EditError> {
        self.op("layer", Op::Unary(kind), &[x])
    }

    /// An elementwise function of two values.
    pub fn binary(&mut self, kind: BinaryKind, a: ValueId, b: ValueId) -> Result<ValueId, EditError> {
        self.op("layer", Op::Binary(kind, Activation::None), &[a, b])
    }

    /// The same elements under another shape.
    pub fn reshape(&mut self, x: ValueId, shape: &[i64]) -> Result<ValueId, EditError> {
        let shape = self.integers(shape)?;
        self.op("reshape", Op::Reshape, &[x, shape])
    }

    /// The axes in another order.
    pub fn transpose(&mut self, x: ValueId, permutation: &[usize]) -> Result<ValueId, EditError> {
        self.op("transpose", Op::Transpose { permutation: permutation.to_vec() }, &[x])
    }

    /// One after the other along an axis.
    pub fn concat(&mut self, axis: i64, parts: &[ValueId]) -> Result<ValueId, EditError> {
        self.op("concat", Op::Movement(Movement::Concat { axis }), parts)
    }

    /// Equal parts along the last axis.
    pub fn split(&mut self, x: ValueId, parts: usize) -> Result<Vec<ValueId>, EditError> {
        let op = Op::Movement(Movement::Split { axis: -1, num_outputs: Some(parts as i64) });
        self.op_of_many("split", op, &[Some(x)], parts)
    }
}
