//! Steps of nodes that run by themselves: f32 arithmetic, quantization as the graph states it, and moves.

use calipers_ir::{
    Activation, BinaryKind, DType, Layout, Node, NodeId, Op, Pool, PoolKind, Tensor, UnaryKind, ValueId,
};
use calipers_kernels::elementwise::{Binary, Broadcast};
use calipers_kernels::normalize::FoldedNormalization;

use super::PackCache;
use super::emit::Emitter;
use super::geometry::{self, Order};
use super::quantized;
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
        Op::Binary(kind, _) => unit.binary(emitter, kind),
        Op::Pool(pool) => unit.pool(emitter, pool),
        Op::GlobalPool(kind, layout) => unit.global_pool(emitter, *kind, *layout),
        Op::BatchNormalization(norm) => unit.normalization(emitter, norm),
        Op::Reshape | Op::Flatten { .. } => unit.reshape(emitter),
        Op::Transpose { permutation } => unit.transpose(emitter, permutation),
        Op::QuantizeLinear(quantize) => {
            unit.quantize(emitter, quantize.axis, quantize.block_size, quantize.dtype)
        }
        Op::DequantizeLinear(dequantize) => unit.dequantize(emitter, dequantize.axis, dequantize.block_size),
        Op::Unary(_)
        | Op::ConvTranspose(_)
        | Op::ConvInteger(_)
        | Op::Product(_)
        | Op::Variadic(_)
        | Op::Select(_)
        | Op::Normalize(_)
        | Op::Reduce(_)
        | Op::Scanning(_)
        | Op::Movement(_)
        | Op::Indexing(_)
        | Op::Creation(_)
        | Op::Image(_)
        | Op::Signal(_)
        | Op::Recurrent(_)
        | Op::Control(_)
        | Op::DynamicQuantizeLinear => {
            Err(emitter.scope.unsupported(node, "no kernel that a plan can call", "operators of `planned`"))
        }
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

pub(super) fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.as_f32().map(std::borrow::Cow::into_owned).unwrap_or_default()
}

/// A node that runs by itself, perhaps with the activation after it.
pub(super) struct Unit<'a> {
    pub(super) node: &'a Node,
    pub(super) end: NodeId,
    pub(super) output: ValueId,
    pub(super) range: [f32; 2],
}

impl Unit<'_> {
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

    fn binary(&self, emitter: &mut Emitter<'_>, kind: &BinaryKind) -> Result<(), Error> {
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
            other => {
                let found = format!("{other:?}");
                return Err(emitter.scope.unsupported(self.node, found, "Add, Sub, Mul or Div"));
            }
        };
        self.step(emitter, FloatKernel::Binary { function, broadcast, range: self.range }, places, order)
    }

    pub(super) fn broadcast(
        &self,
        emitter: &Emitter<'_>,
        left: &[usize],
        right: &[usize],
    ) -> Result<Broadcast, Error> {
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
            (PoolKind::Max | PoolKind::Average { .. } | PoolKind::Lp { .. }, found) => {
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
            (PoolKind::Max | PoolKind::Average { .. } | PoolKind::Lp { .. }, found) => {
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

    pub(super) fn step(
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

/// Pixels of an image and channels of a pixel.
pub(super) fn pixels_and_channels(shape: &[usize], layout: Layout) -> (usize, usize) {
    let axis = layout.channel_axis(shape.len());
    let pixels =
        shape.iter().enumerate().skip(1).filter(|(index, _)| *index != axis).map(|(_, extent)| extent);
    (pixels.product(), shape[axis])
}
