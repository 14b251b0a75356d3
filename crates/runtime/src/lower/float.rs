//! Steps of nodes that run by themselves: f32 arithmetic, quantization as the graph states it, and moves.

use std::sync::Arc;

use calipers_ir::{
    Activation, BinaryKind, Conv, DType, Gemm, Layout, Node, NodeId, Op, Pool, PoolKind, Tensor, UnaryKind,
    ValueId,
};
use calipers_kernels::elementwise::{Binary, Broadcast};
use calipers_kernels::normalize::FoldedNormalization;
use calipers_kernels::{convolution, layout, matmul};

use super::emit::Emitter;
use super::geometry::{self, Order};
use super::quantized;
use super::{PackCache, Packed};
use crate::error::Error;
use crate::kernel::{ByteKernel, FloatKernel, Kernel};

/// Adds the steps of `core` with an activation; they compute the output of `end`.
pub(super) fn emit(
    emitter: &mut Emitter<'_>,
    packs: &mut PackCache,
    core: NodeId,
    end: NodeId,
    activation: Activation,
) -> Result<(), Error> {
    let node = emitter.scope.graph.node(core);
    let output = emitter.scope.graph.node(end).outputs[0];
    let unit = Unit { node, end, output, range: geometry::range(activation) };
    match &node.op {
        Op::Conv(conv) => unit.convolution(emitter, packs, conv),
        Op::Gemm(gemm) => unit.gemm(emitter, packs, gemm),
        Op::MatMul => unit.matmul(emitter, packs),
        Op::Unary(UnaryKind::Identity) => unit.rename(emitter),
        Op::Unary(UnaryKind::Relu) => unit.clip(emitter, geometry::range(Activation::Relu)),
        Op::Clip(clip) => unit.clip(emitter, [clip.min, clip.max]),
        Op::Binary(kind, _) => unit.binary(emitter, *kind),
        Op::Pool(pool) => unit.pool(emitter, pool),
        Op::GlobalPool(kind, layout) => unit.global_pool(emitter, *kind, *layout),
        Op::BatchNormalization(norm) => unit.normalization(emitter, norm),
        Op::Reshape | Op::Flatten { .. } => unit.reshape(emitter),
        Op::Transpose { permutation } => unit.transpose(emitter, permutation),
        Op::QuantizeLinear(quantize) => {
            unit.quantize(emitter, quantize.axis, quantize.block_size, quantize.dtype)
        }
        Op::DequantizeLinear(dequantize) => unit.dequantize(emitter, dequantize.axis, dequantize.block_size),
        Op::Opaque(opaque) => {
            let name = match opaque.domain.as_str() {
                "" => opaque.op_type.clone(),
                domain => format!("{domain}.{}", opaque.op_type),
            };
            let supported = "operators of the families in the documentation of calipers_ir::Op";
            Err(emitter.scope.unsupported(node, format!("operator {name}"), supported))
        }
    }
}

/// The data of a constant of type f32.
pub(super) fn float_constant(emitter: &Emitter<'_>, node: &Node, index: usize) -> Result<Tensor, Error> {
    let value = emitter.scope.input(node, index)?;
    let tensor = emitter.scope.constants.get(value)?.ok_or_else(|| {
        let name = &emitter.scope.graph.value(value).name;
        emitter.scope.unsupported(node, format!("a computed input {index} (`{name}`)"), "a constant there")
    })?;
    if tensor.dtype() != DType::F32 {
        return Err(emitter.scope.unsupported(
            node,
            format!("input {index} of type {}", tensor.dtype()),
            "f32",
        ));
    }
    Ok(tensor)
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.as_f32().map(std::borrow::Cow::into_owned).unwrap_or_default()
}

struct Unit<'a> {
    node: &'a Node,
    end: NodeId,
    output: ValueId,
    range: [f32; 2],
}

impl Unit<'_> {
    fn convolution(
        &self,
        emitter: &mut Emitter<'_>,
        packs: &mut PackCache,
        conv: &Conv,
    ) -> Result<(), Error> {
        let scope = emitter.scope;
        let x = scope.input(self.node, 0)?;
        emitter.require_f32(self.node, x)?;
        let weights = float_constant(emitter, self.node, 1)?;
        let bias = match self.node.input(2) {
            Some(_) => Some(floats(&float_constant(emitter, self.node, 2)?)),
            None => None,
        };
        let (from, to) = (scope.shape(x), scope.shape(self.output));
        let geometry = geometry::convolution(scope, self.node, from, weights.shape(), to, conv)?;
        let packed = match packs.get(&self.output) {
            Some(Packed::ConvolveFloats(packed)) => packed.clone(),
            _ => {
                let plain = floats(&weights);
                let mut channels_last = vec![0.0; plain.len()];
                let order = weights_order(weights.shape().len());
                layout::permute(weights.shape(), &order, &plain, &mut channels_last);
                let packed = Arc::new(convolution::PackedFloats::pack(scope.isa, &geometry, &channels_last));
                packs.insert(self.output, Packed::ConvolveFloats(packed.clone()));
                packed
            }
        };
        let order = Order::of(conv.layout);
        let input = emitter.operand(x, order)?;
        let kernel = FloatKernel::Convolve { geometry, weights: packed, bias, range: self.range };
        self.step(emitter, kernel, [Some(input), None], order)
    }

    fn gemm(&self, emitter: &mut Emitter<'_>, packs: &mut PackCache, gemm: &Gemm) -> Result<(), Error> {
        let scope = emitter.scope;
        let a = scope.input(self.node, 0)?;
        let b = scope.input(self.node, 1)?;
        emitter.require_f32(self.node, a)?;
        let shape = scope.shape(self.output).to_vec();
        let depth = scope.shape(a)[usize::from(!gemm.transpose_a)];
        let extent = matmul::Extent { outputs: shape[1], depth };
        let mut left = emitter.operand(a, Order::Logical)?;
        if gemm.transpose_a {
            let kernel =
                Kernel::Permute { width: 4, shape: scope.shape(a).to_vec(), permutation: vec![1, 0] };
            left = emitter.anonymous(self.end, kernel, [Some(left), None], vec![shape[0], depth]);
        }
        let addend = self.addend(emitter, gemm, shape[1])?;
        let (bias, range) = match &addend {
            Addend::None => (None, self.range),
            Addend::Bias(bias) => (Some(bias.clone()), self.range),
            Addend::Matrix(_) => (None, geometry::range(Activation::None)),
        };
        let kernel = if scope.constants.is_constant(b) {
            let weights = float_constant(emitter, self.node, 1)?;
            let packed = match packs.get(&self.output) {
                Some(Packed::MultiplyFloats(packed)) => packed.clone(),
                _ => {
                    let mut rows = rows_of(&floats(&weights), extent, gemm.transpose_b);
                    rows.iter_mut().for_each(|weight| *weight *= gemm.alpha);
                    let packed = Arc::new(matmul::PackedFloats::pack(scope.isa, extent, &rows));
                    packs.insert(self.output, Packed::MultiplyFloats(packed.clone()));
                    packed
                }
            };
            (FloatKernel::Multiply { weights: packed, bias, range }, [Some(left), None])
        } else if gemm.alpha == 1.0 && bias.is_none() {
            let right = emitter.operand(b, Order::Logical)?;
            let pairs = vec![[0, 0]];
            let kernel = FloatKernel::MultiplyPairs {
                pairs,
                rows: shape[0],
                extent,
                transposed: gemm.transpose_b,
                range,
            };
            (kernel, [Some(left), Some(right)])
        } else {
            let found = "a computed second matrix with a factor or a bias";
            return Err(scope.unsupported(self.node, found, "a constant second matrix"));
        };
        let Addend::Matrix(matrix) = addend else {
            return self.step(emitter, kernel.0, kernel.1, Order::Logical);
        };
        let product = emitter.anonymous(self.end, Kernel::Float(kernel.0), kernel.1, shape.clone());
        let right = emitter.constant_operand(&matrix, matrix.shape(), Order::Logical);
        let broadcast = self.broadcast(emitter, &shape, matrix.shape())?;
        let add = FloatKernel::Binary { function: Binary::Add, broadcast, range: self.range };
        self.step(emitter, add, [Some(product), Some(right)], Order::Logical)
    }

    /// The third input of a Gemm, times its factor.
    fn addend(&self, emitter: &Emitter<'_>, gemm: &Gemm, outputs: usize) -> Result<Addend, Error> {
        if self.node.input(2).is_none() {
            return Ok(Addend::None);
        }
        let tensor = float_constant(emitter, self.node, 2)?;
        let scaled: Vec<f32> = floats(&tensor).iter().map(|value| value * gemm.beta).collect();
        let (rows, columns) = match *tensor.shape() {
            [] => (1, 1),
            [columns] => (1, columns),
            [rows, columns] => (rows, columns),
            _ => {
                return Err(emitter.scope.unsupported(
                    self.node,
                    "a third input of rank 3 or more",
                    "rank 2",
                ));
            }
        };
        Ok(match (rows, columns) {
            (1, 1) => Addend::Bias(vec![scaled[0]; outputs]),
            (1, _) => Addend::Bias(scaled),
            _ => Addend::Matrix(Tensor::from_vec([rows, columns], scaled).unwrap_or(tensor)),
        })
    }

    fn matmul(&self, emitter: &mut Emitter<'_>, packs: &mut PackCache) -> Result<(), Error> {
        let scope = emitter.scope;
        let (a, b) = (scope.input(self.node, 0)?, scope.input(self.node, 1)?);
        emitter.require_f32(self.node, a)?;
        let (a_shape, b_shape) = (scope.shape(a).to_vec(), scope.shape(b).to_vec());
        let shape = scope.shape(self.output).to_vec();
        let [.., rows, depth] = a_shape[..] else {
            return Err(scope.unsupported(self.node, "a vector", "operands of rank 2 or more"));
        };
        let extent = matmul::Extent { outputs: shape[shape.len() - 1], depth };
        let left = emitter.operand(a, Order::Logical)?;
        if scope.constants.is_constant(b) && b_shape.len() == 2 {
            let weights = float_constant(emitter, self.node, 1)?;
            let packed = match packs.get(&self.output) {
                Some(Packed::MultiplyFloats(packed)) => packed.clone(),
                _ => {
                    let rows = rows_of(&floats(&weights), extent, false);
                    let packed = Arc::new(matmul::PackedFloats::pack(scope.isa, extent, &rows));
                    packs.insert(self.output, Packed::MultiplyFloats(packed.clone()));
                    packed
                }
            };
            let kernel = FloatKernel::Multiply { weights: packed, bias: None, range: self.range };
            return self.step(emitter, kernel, [Some(left), None], Order::Logical);
        }
        let right = emitter.operand(b, Order::Logical)?;
        let batch = |operand: &[usize]| operand[..operand.len() - 2].to_vec();
        let (a_batch, b_batch) = (batch(&a_shape), batch(&b_shape));
        let pairs = matrix_pairs(&batch(&shape), &a_batch, &b_batch, rows * depth, depth * extent.outputs);
        let kernel = FloatKernel::MultiplyPairs { pairs, rows, extent, transposed: false, range: self.range };
        self.step(emitter, kernel, [Some(left), Some(right)], Order::Logical)
    }

    fn rename(&self, emitter: &mut Emitter<'_>) -> Result<(), Error> {
        let x = emitter.scope.input(self.node, 0)?;
        let order = emitter.order(x);
        let operand = emitter.operand(x, order)?;
        emitter.alias(self.output, order, operand);
        Ok(())
    }

    fn clip(&self, emitter: &mut Emitter<'_>, range: [f32; 2]) -> Result<(), Error> {
        let x = emitter.scope.input(self.node, 0)?;
        emitter.require_f32(self.node, x)?;
        let order = emitter.order(x);
        let operand = emitter.operand(x, order)?;
        self.step(emitter, FloatKernel::Clip { range }, [Some(operand), None], order)
    }

    fn binary(&self, emitter: &mut Emitter<'_>, kind: BinaryKind) -> Result<(), Error> {
        let scope = emitter.scope;
        let operands = [scope.input(self.node, 0)?, scope.input(self.node, 1)?];
        let rank = scope.shape(self.output).len();
        let computed: Vec<ValueId> =
            operands.into_iter().filter(|operand| !scope.constants.is_constant(*operand)).collect();
        let full_rank = computed.iter().all(|operand| scope.shape(*operand).len() == rank);
        let last = full_rank && computed.iter().any(|operand| emitter.order(*operand) == Order::ChannelsLast);
        let order = if last { Order::ChannelsLast } else { Order::Logical };
        let mut shapes = Vec::new();
        let mut places = [None, None];
        for (operand, place) in operands.into_iter().zip(&mut places) {
            emitter.require_f32(self.node, operand)?;
            let shape = scope.shape(operand);
            let mut extended = vec![1; rank - shape.len()];
            extended.extend(shape);
            *place = Some(if scope.constants.is_constant(operand) {
                let tensor = emitter.constant(operand)?;
                emitter.constant_operand(&tensor, &extended, order)
            } else {
                emitter.operand(operand, order)?
            });
            shapes.push(order.physical(&extended));
        }
        let broadcast = self.broadcast(emitter, &shapes[0], &shapes[1])?;
        let function = match kind {
            BinaryKind::Add => Binary::Add,
            BinaryKind::Sub => Binary::Sub,
            BinaryKind::Mul => Binary::Mul,
            BinaryKind::Div => Binary::Div,
        };
        self.step(emitter, FloatKernel::Binary { function, broadcast, range: self.range }, places, order)
    }

    fn broadcast(&self, emitter: &Emitter<'_>, left: &[usize], right: &[usize]) -> Result<Broadcast, Error> {
        Broadcast::new(left, right).ok_or_else(|| {
            let found = format!("operands of shape {left:?} and {right:?}");
            emitter.scope.unsupported(self.node, found, "shapes that broadcast as in numpy")
        })
    }

    fn pool(&self, emitter: &mut Emitter<'_>, pool: &Pool) -> Result<(), Error> {
        let scope = emitter.scope;
        let x = scope.input(self.node, 0)?;
        let window = geometry::pooling(scope, self.node, scope.shape(x), scope.shape(self.output), pool)?;
        let kernel = match (pool.kind, scope.dtype(x)) {
            (PoolKind::Max, DType::F32) => Kernel::Float(FloatKernel::Max { window }),
            (PoolKind::Max, DType::U8) => Kernel::Unsigned(ByteKernel::Max { window }),
            (PoolKind::Max, DType::I8) => Kernel::Signed(ByteKernel::Max { window }),
            (PoolKind::Average { count_include_pad }, DType::F32) => {
                Kernel::Float(FloatKernel::Average { window, include_padding: count_include_pad })
            }
            (PoolKind::Max | PoolKind::Average { .. }, found) => {
                return Err(scope.unsupported(
                    self.node,
                    format!("data of type {found}"),
                    "f32 (or 8 bits for max)",
                ));
            }
        };
        let order = Order::of(pool.layout);
        let input = emitter.operand(x, order)?;
        emitter.step(self.end, kernel, [Some(input), None], self.output, order)?;
        Ok(())
    }

    fn global_pool(&self, emitter: &mut Emitter<'_>, kind: PoolKind, layout: Layout) -> Result<(), Error> {
        let scope = emitter.scope;
        let x = scope.input(self.node, 0)?;
        let (pixels, channels) = pixels_and_channels(scope.shape(x), layout);
        let kernel = match (kind, scope.dtype(x)) {
            (PoolKind::Max, DType::F32) => Kernel::Float(FloatKernel::GlobalMax { pixels, channels }),
            (PoolKind::Max, DType::U8) => Kernel::Unsigned(ByteKernel::GlobalMax { pixels, channels }),
            (PoolKind::Max, DType::I8) => Kernel::Signed(ByteKernel::GlobalMax { pixels, channels }),
            (PoolKind::Average { .. }, DType::F32) => {
                Kernel::Float(FloatKernel::GlobalAverage { pixels, channels })
            }
            (PoolKind::Max | PoolKind::Average { .. }, found) => {
                return Err(scope.unsupported(
                    self.node,
                    format!("data of type {found}"),
                    "f32 (or 8 bits for max)",
                ));
            }
        };
        let order = Order::of(layout);
        let input = emitter.operand(x, order)?;
        emitter.step(self.end, kernel, [Some(input), None], self.output, order)?;
        Ok(())
    }

    fn normalization(
        &self,
        emitter: &mut Emitter<'_>,
        norm: &calipers_ir::BatchNormalization,
    ) -> Result<(), Error> {
        let x = emitter.scope.input(self.node, 0)?;
        emitter.require_f32(self.node, x)?;
        let read = |index: usize| float_constant(emitter, self.node, index).map(|tensor| floats(&tensor));
        let folded = FoldedNormalization::new(&read(1)?, &read(2)?, &read(3)?, &read(4)?, norm.epsilon);
        let order = Order::of(norm.layout);
        let input = emitter.operand(x, order)?;
        self.step(emitter, FloatKernel::Normalize { folded, range: self.range }, [Some(input), None], order)
    }

    fn reshape(&self, emitter: &mut Emitter<'_>) -> Result<(), Error> {
        let x = emitter.scope.input(self.node, 0)?;
        let operand = emitter.operand(x, Order::Logical)?;
        emitter.alias(self.output, Order::Logical, operand);
        Ok(())
    }

    fn transpose(&self, emitter: &mut Emitter<'_>, permutation: &[usize]) -> Result<(), Error> {
        let x = emitter.scope.input(self.node, 0)?;
        let shape = emitter.scope.shape(x).to_vec();
        // A move between channels first and channels last is free when the value already lies in the other order.
        let axes = Order::ChannelsLast.axes(shape.len());
        if permutation == axes
            && let Some(operand) = emitter.place(x, Order::ChannelsLast)
        {
            emitter.alias(self.output, Order::Logical, operand);
            return Ok(());
        }
        let operand = emitter.operand(x, Order::Logical)?;
        let kernel = Kernel::Permute { width: emitter.width(x)?, shape, permutation: permutation.to_vec() };
        emitter.step(self.end, kernel, [Some(operand), None], self.output, Order::Logical)?;
        Ok(())
    }

    fn quantize(
        &self,
        emitter: &mut Emitter<'_>,
        axis: i64,
        block_size: usize,
        dtype: DType,
    ) -> Result<(), Error> {
        let x = emitter.scope.input(self.node, 0)?;
        emitter.require_f32(self.node, x)?;
        let (params, inner, order) = self.params(emitter, x, axis, block_size)?;
        let kernel = match dtype {
            DType::U8 => Kernel::Unsigned(ByteKernel::Quantize { params, inner }),
            DType::I8 => Kernel::Signed(ByteKernel::Quantize { params, inner }),
            found => {
                return Err(emitter.scope.unsupported(
                    self.node,
                    format!("storage type {found}"),
                    "u8 or i8",
                ));
            }
        };
        let input = emitter.operand(x, order)?;
        emitter.step(self.end, kernel, [Some(input), None], self.output, order)?;
        Ok(())
    }

    fn dequantize(&self, emitter: &mut Emitter<'_>, axis: i64, block_size: usize) -> Result<(), Error> {
        let x = emitter.scope.input(self.node, 0)?;
        let (params, inner, order) = self.params(emitter, x, axis, block_size)?;
        let kernel = match emitter.scope.dtype(x) {
            DType::U8 => Kernel::Unsigned(ByteKernel::Dequantize { params, inner }),
            DType::I8 => Kernel::Signed(ByteKernel::Dequantize { params, inner }),
            DType::I32 => Kernel::DequantizeSums { params, inner },
            found => {
                return Err(emitter.scope.unsupported(
                    self.node,
                    format!("storage type {found}"),
                    "u8, i8 or i32",
                ));
            }
        };
        let input = emitter.operand(x, order)?;
        emitter.step(self.end, kernel, [Some(input), None], self.output, order)?;
        Ok(())
    }

    /// The parameters, the elements between neighbours of their axis, and the order in which the data is walked.
    fn params(
        &self,
        emitter: &Emitter<'_>,
        x: ValueId,
        axis: i64,
        block_size: usize,
    ) -> Result<(Vec<calipers_kernels::quantize::Params>, usize, Order), Error> {
        let scope = emitter.scope;
        let Some(params) = quantized::params(scope, self.node)? else {
            let found = match block_size {
                0 => String::from("a scale or zero point that is computed or not positive"),
                size => format!("blocks of {size}"),
            };
            return Err(scope.unsupported(
                self.node,
                found,
                "constant positive scales, per tensor or per axis",
            ));
        };
        if params.len() == 1 {
            return Ok((params, 1, emitter.order(x)));
        }
        let shape = scope.shape(x);
        let rank = shape.len() as i64;
        let axis = (if axis < 0 { axis + rank } else { axis }) as usize;
        if shape.get(axis) != Some(&params.len()) {
            let found = format!("{} scales along axis {axis} of shape {shape:?}", params.len());
            return Err(scope.unsupported(self.node, found, "one scale for each slice of the axis"));
        }
        Ok((params, shape[axis + 1..].iter().product(), Order::Logical))
    }

    fn step(
        &self,
        emitter: &mut Emitter<'_>,
        kernel: FloatKernel,
        inputs: [Option<super::Operand>; 2],
        order: Order,
    ) -> Result<(), Error> {
        emitter.step(self.end, Kernel::Float(kernel), inputs, self.output, order)?;
        Ok(())
    }
}

enum Addend {
    None,
    /// One number for each column.
    Bias(Vec<f32>),
    Matrix(Tensor),
}

/// `[outputs, inputs, spatial...]` weights with the inputs last.
pub(super) fn weights_order(rank: usize) -> Vec<usize> {
    std::iter::once(0).chain(2..rank).chain([1]).collect()
}

/// `[depth, outputs]` weights, or `[outputs, depth]` ones when transposed, as the latter.
pub(super) fn rows_of<T: Copy + Default>(weights: &[T], extent: matmul::Extent, transposed: bool) -> Vec<T> {
    if transposed {
        return weights.to_vec();
    }
    let mut rows = vec![T::default(); weights.len()];
    layout::permute(&[extent.depth, extent.outputs], &[1, 0], weights, &mut rows);
    rows
}

/// Pixels of an image and channels of a pixel.
pub(super) fn pixels_and_channels(shape: &[usize], layout: Layout) -> (usize, usize) {
    let axis = layout.channel_axis(shape.len());
    let pixels =
        shape.iter().enumerate().skip(1).filter(|(index, _)| *index != axis).map(|(_, extent)| extent);
    (pixels.product(), shape[axis])
}

/// First elements of the matrices that meet in a batched product.
fn matrix_pairs(
    batch: &[usize],
    a_batch: &[usize],
    b_batch: &[usize],
    a_size: usize,
    b_size: usize,
) -> Vec<[usize; 2]> {
    let matrix = |operand: &[usize], index: usize| {
        let (mut rest, mut number, mut stride) = (index, 0, 1);
        for axis in (0..batch.len()).rev() {
            let position = rest % batch[axis];
            rest /= batch[axis];
            let extent = (axis + operand.len()).checked_sub(batch.len()).map_or(1, |axis| operand[axis]);
            number += if extent == 1 { 0 } else { position * stride };
            stride *= extent;
        }
        number
    };
    (0..batch.iter().product())
        .map(|index| [matrix(a_batch, index) * a_size, matrix(b_batch, index) * b_size])
        .collect()
}
