//! Graphs drawn from bytes: a chain of operators of the families that have kernels, over small shapes.
//!
//! In an exact program every number is a multiple of a power of two and small enough that no f32 operation rounds, in
//! whatever order sums are made. Of each value the powers are followed, and it is quantized where they leave no room.

use calipers_ir::{
    Activation, BatchNormalization, BinaryKind, Clip, Conv, DType, DequantizeLinear, Gemm, Graph,
    GraphEditor, Layout, Movement, Normalize, Op, Pool, PoolKind, QuantizeLinear, Reduce, Scanning, Tensor,
    TensorType, UnaryKind, ValueId, Window,
};

use crate::draws::{Draws, Elements};

/// Bits of an f32's significand.
const SIGNIFICAND: i32 = 24;
/// Most elements of a value.
const MOST_ELEMENTS: usize = 4096;
/// Powers of two stay below this one, far from where an f32 ends.
const MOST_POWER: i32 = 60;
/// Most operators that are drawn.
const MOST_STEPS: usize = 10;

/// A graph and what goes into it.
pub(crate) struct Program {
    pub graph: Graph,
    pub inputs: Vec<(String, Tensor)>,
    /// Whether no operation rounds.
    pub exact: bool,
}

/// A value that can be used: in an exact program its elements are multiples of `2^low` below `2^high`.
#[derive(Clone)]
struct Drawn {
    id: ValueId,
    shape: Vec<usize>,
    low: i32,
    high: i32,
}

impl Drawn {
    fn fits(low: i32, high: i32) -> bool {
        high - low <= SIGNIFICAND
    }
}

/// Which power of two the bounds of an activation are multiples of.
fn bounded(activation: Activation) -> i32 {
    match activation {
        Activation::Clip(_) => 1,
        Activation::None | Activation::Relu => i32::MAX,
    }
}

/// A program, or none where the bytes make no graph.
pub(crate) fn draw(draws: &mut Draws<'_>) -> Option<Program> {
    let exact = draws.coin();
    let mut generator =
        Generator { draws, editor: GraphEditor::new("drawn"), values: Vec::new(), exact, names: 0 };
    let shape = match generator.draws.below(4) {
        0 => vec![1 + generator.draws.below(3), 1 + generator.draws.below(20)],
        1 => (0..3).map(|_| 1 + generator.draws.below(6)).collect(),
        _ => {
            let channels = generator.draws.pick(&[1, 2, 3, 4, 8, 17]);
            vec![1, channels, 1 + generator.draws.below(8), 1 + generator.draws.below(8)]
        }
    };
    let ty = TensorType::new(DType::F32, shape.iter().copied());
    let id = generator.editor.add_input("x", ty).ok()?;
    let x = generator.numbers(&shape, -100, 100, -4);
    generator.values.push(Drawn { id, shape, low: -4, high: 3 });
    for _ in 0..MOST_STEPS {
        if generator.draws.spent() {
            break;
        }
        let _ = generator.step();
    }
    let last = generator.values.last()?.id;
    let other = generator.any().id;
    generator.editor.add_output(last);
    if other != last && generator.draws.coin() {
        generator.editor.add_output(other);
    }
    let graph = generator.editor.build().ok()?;
    Some(Program { graph, inputs: vec![(String::from("x"), x)], exact })
}

struct Generator<'a, 'b> {
    draws: &'a mut Draws<'b>,
    editor: GraphEditor,
    values: Vec<Drawn>,
    exact: bool,
    names: usize,
}

impl Generator<'_, '_> {
    fn name(&mut self) -> String {
        self.names += 1;
        format!("v{}", self.names)
    }

    fn any(&mut self) -> Drawn {
        // The last ones are likelier, so that programs are deep.
        let back = self.draws.pick(&[0, 0, 0, 1, 2]).min(self.values.len() - 1);
        self.values[self.values.len() - 1 - back].clone()
    }

    /// Numbers between `low` and `high` times `2^power`.
    fn numbers(&mut self, shape: &[usize], low: i64, high: i64, power: i32) -> Tensor {
        let mut elements = Elements(self.draws.seed());
        let count = shape.iter().product();
        let unit = 2f32.powi(power);
        let data = (0..count).map(|_| elements.between(low, high) as f32 * unit).collect();
        Tensor::from_vec(shape, data).expect("as many elements as the shape says")
    }

    fn integers<T: calipers_ir::Element>(
        &mut self,
        shape: &[usize],
        low: i64,
        high: i64,
        cast: fn(i64) -> T,
    ) -> Tensor {
        let mut elements = Elements(self.draws.seed());
        let count = shape.iter().product();
        let data = (0..count).map(|_| cast(elements.between(low, high))).collect();
        Tensor::from_vec(shape, data).expect("as many elements as the shape says")
    }

    fn constant(&mut self, tensor: Tensor) -> Option<ValueId> {
        let name = self.name();
        self.editor.add_constant(name, tensor).ok()
    }

    /// Adds a node; its value can be used where it is small.
    fn node(&mut self, op: Op, inputs: &[ValueId], low: i32, high: i32) -> Option<Drawn> {
        let name = self.name();
        let id = self.editor.add(&name, op, inputs).ok()?;
        let shape = self.editor.value(id).ty.known_shape()?;
        let count: usize = shape.iter().product();
        let value = Drawn { id, shape, low, high };
        let usable = (1..=MOST_ELEMENTS).contains(&count) && low > -MOST_POWER && high < MOST_POWER;
        usable.then(|| self.values.push(value.clone()))?;
        Some(value)
    }

    fn step(&mut self) -> Option<Drawn> {
        let x = self.any();
        match self.draws.below(16) {
            0..=2 => self.conv(x),
            3 => self.product(x),
            4 | 5 => self.binary(x),
            6 => self.unary(x),
            7 => {
                let (min, max) = self.draws.pick(&[(0.0, 6.0), (-1.0, 1.0), (0.0, f32::INFINITY)]);
                self.node(Op::Clip(Clip { min, max }), &[x.id], x.low.min(0), x.high)
            }
            8 => self.pool(x),
            9 => self.movement(x),
            10 => self.concat(x),
            11 => self.reduction(x),
            12 if !self.exact => self.normalization(x),
            // What is rounded differently by a little is quantized differently by a step.
            _ if !self.exact => self.unary(x),
            _ => {
                let moved = self.draws.below(4) == 0;
                self.quantize(x, moved)
            }
        }
    }

    /// Quantizes a value and takes it back; a data movement may stand between.
    fn quantize(&mut self, x: Drawn, moved: bool) -> Option<Drawn> {
        let power = x.high - 8 + self.draws.pick(&[0, 1, 2, -1]);
        let (dtype, zero_point) = match self.draws.below(3) {
            0 => (DType::I8, Tensor::scalar(self.draws.pick(&[0i8, -128, 3]))),
            _ => (DType::U8, Tensor::scalar(self.draws.pick(&[128u8, 0, 255, 7]))),
        };
        let scale = self.constant(Tensor::scalar(2f32.powi(power)))?;
        let zero_point = self.constant(zero_point)?;
        let quantize = Op::QuantizeLinear(QuantizeLinear { axis: 1, block_size: 0, saturate: true, dtype });
        let name = self.name();
        let mut quantized = self.editor.add(&name, quantize, &[x.id, scale, zero_point]).ok()?;
        if moved {
            let name = self.name();
            let rank = x.shape.len();
            let op = Op::Transpose { permutation: (0..rank).rev().collect() };
            quantized = self.editor.add(&name, op, &[quantized]).ok()?;
        }
        let dequantize = Op::DequantizeLinear(DequantizeLinear { axis: 1, block_size: 0 });
        self.node(dequantize, &[quantized, scale, zero_point], power, power + 8)
    }

    /// A value that a product of this many terms with 8-bit weights can take.
    fn narrow(&mut self, x: Drawn, terms: usize) -> Option<Drawn> {
        let bits = x.high - x.low + 7 + terms.next_power_of_two().ilog2() as i32 + 2;
        if self.exact && bits > SIGNIFICAND { self.quantize(x, false) } else { Some(x) }
    }

    /// Weights of 8 bits with the power of their unit, as floats or as integers that are dequantized.
    fn weight(&mut self, shape: &[usize]) -> Option<(ValueId, i32)> {
        let power = -6;
        if self.draws.coin() {
            let tensor = self.numbers(shape, -127, 127, power);
            return Some((self.constant(tensor)?, power));
        }
        let integers = self.integers(shape, -127, 127, |x| x as i8);
        let integers = self.constant(integers)?;
        let per_axis = self.draws.coin();
        let (scale, zero) = if per_axis {
            (
                Tensor::from_vec([shape[0]], vec![2f32.powi(power); shape[0]]).ok()?,
                Tensor::from_vec([shape[0]], vec![0i8; shape[0]]).ok()?,
            )
        } else {
            (Tensor::scalar(2f32.powi(power)), Tensor::scalar(self.draws.pick(&[0i8, 0, 5])))
        };
        let (scale, zero) = (self.constant(scale)?, self.constant(zero)?);
        let name = self.name();
        let op = Op::DequantizeLinear(DequantizeLinear { axis: 0, block_size: 0 });
        let id = self.editor.add(&name, op, &[integers, scale, zero]).ok()?;
        Some((id, power))
    }

    /// A bias whose unit is that of the products.
    fn bias(&mut self, count: usize, power: i32) -> Option<ValueId> {
        if self.draws.coin() {
            let tensor = self.numbers(&[count], -1000, 1000, power);
            return self.constant(tensor);
        }
        let integers = self.integers(&[count], -1000, 1000, |x| x as i32);
        let integers = self.constant(integers)?;
        let scale = self.constant(Tensor::scalar(2f32.powi(power)))?;
        let name = self.name();
        let op = Op::DequantizeLinear(DequantizeLinear { axis: 0, block_size: 0 });
        self.editor.add(&name, op, &[integers, scale]).ok()
    }

    fn activation(&mut self) -> Activation {
        match self.draws.below(4) {
            0 => Activation::Relu,
            1 => Activation::Clip(Clip { min: 0.0, max: 6.0 }),
            _ => Activation::None,
        }
    }

    fn window(&mut self, kernel: usize) -> Window {
        let pad = self.draws.below(kernel);
        let mut window = Window::uniform(2, 1 + self.draws.below(2), pad);
        if self.draws.below(4) == 0 {
            window.dilations = vec![2, 1];
            window.pads_end = vec![pad, 0];
        }
        window
    }

    fn conv(&mut self, x: Drawn) -> Option<Drawn> {
        let &[_, channels, _, _] = x.shape.as_slice() else { return self.product(x) };
        let groups = if self.draws.below(3) == 0 { channels } else { 1 };
        let outputs = match groups {
            1 => self.draws.pick(&[1, 2, 3, 4, 8, 9, 17]),
            _ => channels * self.draws.pick(&[1, 1, 2]),
        };
        let kernel = self.draws.pick(&[1, 3, 2]);
        let terms = channels / groups * kernel * kernel;
        let x = self.narrow(x, terms)?;
        let window = self.window(kernel);
        let channels = *x.shape.get(1)?;
        let (weight, power) = self.weight(&[outputs, channels.checked_div(groups)?, kernel, kernel])?;
        let low = x.low + power;
        let mut inputs = vec![x.id, weight];
        if self.draws.coin() {
            inputs.push(self.bias(outputs, low)?);
        }
        let high = x.high + power + 7 + terms.next_power_of_two().ilog2() as i32 + 1;
        let conv = Conv { groups, window, layout: Layout::Nchw, activation: self.activation() };
        let low = low.min(bounded(conv.activation));
        self.node(Op::Conv(conv), &inputs, low, high)
    }

    fn product(&mut self, x: Drawn) -> Option<Drawn> {
        let x =
            if x.shape.len() == 2 { x } else { self.node(Op::Flatten { axis: 1 }, &[x.id], x.low, x.high)? };
        let &[_, terms] = x.shape.as_slice() else { return None };
        let x = self.narrow(x, terms)?;
        let &[_, terms] = x.shape.as_slice() else { return None };
        let outputs = self.draws.pick(&[1, 2, 5, 8, 16, 19]);
        let transpose_b = self.draws.coin();
        let shape = if transpose_b { [outputs, terms] } else { [terms, outputs] };
        let (weight, power) = self.weight(&shape)?;
        let low = x.low + power;
        let high = x.high + power + 7 + terms.next_power_of_two().ilog2() as i32 + 1;
        if !transpose_b && self.draws.coin() {
            return self.node(Op::MatMul, &[x.id, weight], low, high);
        }
        let mut inputs = vec![x.id, weight];
        if self.draws.coin() {
            inputs.push(self.bias(outputs, low)?);
        }
        let activation = self.activation();
        let gemm = Gemm { alpha: 1.0, beta: 1.0, transpose_a: false, transpose_b, activation };
        self.node(Op::Gemm(gemm), &inputs, low.min(bounded(activation)), high)
    }

    fn binary(&mut self, x: Drawn) -> Option<Drawn> {
        let same: Vec<Drawn> = self.values.iter().filter(|other| other.shape == x.shape).cloned().collect();
        let y = if self.draws.coin() {
            same[self.draws.below(same.len())].clone()
        } else {
            let mut shape = x.shape.clone();
            if self.draws.coin() {
                *shape.last_mut()? = 1;
            }
            let tensor = self.numbers(&shape, -127, 127, -5);
            Drawn { id: self.constant(tensor)?, shape, low: -5, high: 2 }
        };
        let kind = match self.draws.below(3) {
            0 => BinaryKind::Mul,
            1 => BinaryKind::Sub,
            _ => BinaryKind::Add,
        };
        let (low, high) = match kind {
            BinaryKind::Mul => (x.low + y.low, x.high + y.high),
            _ => (x.low.min(y.low), x.high.max(y.high) + 1),
        };
        if self.exact && !Drawn::fits(low, high) {
            return self.quantize(x, false);
        }
        let activation = self.activation();
        self.node(Op::Binary(kind, activation), &[x.id, y.id], low.min(bounded(activation)), high)
    }

    fn unary(&mut self, x: Drawn) -> Option<Drawn> {
        let kinds = [
            UnaryKind::Relu,
            UnaryKind::Abs,
            UnaryKind::Neg,
            UnaryKind::Identity,
            UnaryKind::Sigmoid,
            UnaryKind::Tanh,
            UnaryKind::HardSwish,
            UnaryKind::LeakyRelu { alpha: 0.1 },
            UnaryKind::Gelu { approximate: String::from("none") },
            UnaryKind::Gelu { approximate: String::from("tanh") },
            UnaryKind::Erf,
            UnaryKind::Softplus,
            UnaryKind::Elu { alpha: 0.5 },
            UnaryKind::HardSigmoid { alpha: 0.2, beta: 0.5 },
            UnaryKind::Swish { alpha: 1.0 },
        ];
        let count = if self.exact { 4 } else { kinds.len() };
        let kind = kinds[self.draws.below(count)].clone();
        self.node(Op::Unary(kind), &[x.id], x.low, x.high)
    }

    fn pool(&mut self, x: Drawn) -> Option<Drawn> {
        if x.shape.len() != 4 {
            return self.quantize(x, false);
        }
        let kind = match (self.exact, self.draws.below(3)) {
            (true, _) | (false, 0) => PoolKind::Max,
            (false, other) => PoolKind::Average { count_include_pad: other == 1 },
        };
        if self.draws.below(4) == 0 {
            return self.node(Op::GlobalPool(kind, Layout::Nchw), &[x.id], x.low, x.high);
        }
        let kernel = self.draws.pick(&[2, 3]);
        let mut window = self.window(kernel);
        window.dilations = vec![1, 1];
        let ceil = self.draws.coin();
        let pool =
            Pool { kind, kernel: vec![kernel; 2], window, ceil, column_major: false, layout: Layout::Nchw };
        self.node(Op::Pool(pool), &[x.id], x.low, x.high)
    }

    fn movement(&mut self, x: Drawn) -> Option<Drawn> {
        let rank = x.shape.len();
        let (low, high) = (x.low, x.high);
        match self.draws.below(3) {
            0 => {
                let turn = self.draws.below(rank);
                let permutation = (0..rank).map(|axis| (axis + turn) % rank).collect();
                self.node(Op::Transpose { permutation }, &[x.id], low, high)
            }
            1 => {
                let axis = self.draws.below(rank + 1) as i64;
                self.node(Op::Flatten { axis }, &[x.id], low, high)
            }
            _ => {
                let shape = self.draws.pick(&[[1i64, 1, -1], [1, -1, 1], [0, 1, -1]]);
                let shape = self.constant(Tensor::from_vec([3], shape.to_vec()).ok()?)?;
                self.node(Op::Reshape, &[x.id, shape], low, high)
            }
        }
    }

    fn concat(&mut self, x: Drawn) -> Option<Drawn> {
        let same: Vec<Drawn> = self.values.iter().filter(|other| other.shape == x.shape).cloned().collect();
        let y = same[self.draws.below(same.len())].clone();
        let axis = self.draws.below(x.shape.len()) as i64;
        let (low, high) = (x.low.min(y.low), x.high.max(y.high));
        if self.exact && !Drawn::fits(low, high) {
            return self.quantize(x, false);
        }
        self.node(Op::Movement(Movement::Concat { axis }), &[x.id, y.id], low, high)
    }

    fn reduction(&mut self, x: Drawn) -> Option<Drawn> {
        let axis = self.draws.below(x.shape.len());
        let more = x.shape[axis].next_power_of_two().ilog2() as i32;
        let axes = self.constant(Tensor::from_vec([1], vec![axis as i64]).ok()?)?;
        let (keepdims, noop_with_empty_axes) = (true, false);
        let (reduce, high) = match self.draws.below(3) {
            0 => (Reduce::Sum { keepdims, noop_with_empty_axes }, x.high + more),
            1 if !self.exact => (Reduce::Mean { keepdims, noop_with_empty_axes }, x.high),
            _ => (Reduce::Max { keepdims, noop_with_empty_axes }, x.high),
        };
        if self.exact && !Drawn::fits(x.low, high) {
            return self.quantize(x, false);
        }
        self.node(Op::Reduce(reduce), &[x.id, axes], x.low, high)
    }

    fn normalization(&mut self, x: Drawn) -> Option<Drawn> {
        let channels = *x.shape.get(1)?;
        match self.draws.below(3) {
            0 => {
                let softmax = Scanning::Softmax { axis: -1, flatten: false, beta: 1.0 };
                self.node(Op::Scanning(softmax), &[x.id], x.low, x.high)
            }
            1 => {
                let extent = *x.shape.last()?;
                let scale = self.numbers(&[extent], 1, 50, -4);
                let scale = self.constant(scale)?;
                let layer = Normalize::Layer { axis: -1, epsilon: 1e-3, stash_type: 1 };
                self.node(Op::Normalize(layer), &[x.id, scale], x.low, x.high)
            }
            _ => {
                let mut inputs = vec![x.id];
                for (low, high) in [(-50, 50), (-50, 50), (-50, 50), (10, 50)] {
                    let tensor = self.numbers(&[channels], low, high, -4);
                    inputs.push(self.constant(tensor)?);
                }
                let norm = BatchNormalization { epsilon: 1e-3, momentum: 0.9, layout: Layout::Nchw };
                self.node(Op::BatchNormalization(norm), &inputs, x.low, x.high)
            }
        }
    }
}
