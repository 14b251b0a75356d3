//! Steps of integer patterns.

use std::sync::Arc;

use calipers_ir::{DType, Node, NodeId, Op, PoolKind, ValueId};
use calipers_kernels::convolution::{self, ByteConstants};
use calipers_kernels::elementwise::Addition;
use calipers_kernels::{Quantized, Requantization, layout, matmul};

use super::alone::pixels_and_channels;
use super::emit::Emitter;
use super::geometry::{self, Order};
use super::pattern::{BytePattern, Destination};
use super::products::{rows_of, weights_order};
use super::quantized::ByteWeights;
use super::{Operand, PackCache, Packed};
use crate::error::Error;
use crate::kernel::{ByteKernel, Kernel};

/// A storage type with its place among kernels and packed weights.
trait Storage: Quantized {
    fn kernel(kernel: ByteKernel<Self>) -> Kernel;
    fn convolution(packed: &Packed) -> Option<&Arc<convolution::PackedBytes<Self>>>;
    fn product(packed: &Packed) -> Option<&Arc<matmul::PackedBytes<Self>>>;
    fn keep_convolution(packed: Arc<convolution::PackedBytes<Self>>) -> Packed;
    fn keep_product(packed: Arc<matmul::PackedBytes<Self>>) -> Packed;
}

impl Storage for u8 {
    fn kernel(kernel: ByteKernel<u8>) -> Kernel {
        Kernel::Unsigned(kernel)
    }

    fn convolution(packed: &Packed) -> Option<&Arc<convolution::PackedBytes<u8>>> {
        if let Packed::ConvolveUnsigned(packed) = packed { Some(packed) } else { None }
    }

    fn product(packed: &Packed) -> Option<&Arc<matmul::PackedBytes<u8>>> {
        if let Packed::MultiplyUnsigned(packed) = packed { Some(packed) } else { None }
    }

    fn keep_convolution(packed: Arc<convolution::PackedBytes<u8>>) -> Packed {
        Packed::ConvolveUnsigned(packed)
    }

    fn keep_product(packed: Arc<matmul::PackedBytes<u8>>) -> Packed {
        Packed::MultiplyUnsigned(packed)
    }
}

impl Storage for i8 {
    fn kernel(kernel: ByteKernel<i8>) -> Kernel {
        Kernel::Signed(kernel)
    }

    fn convolution(packed: &Packed) -> Option<&Arc<convolution::PackedBytes<i8>>> {
        if let Packed::ConvolveSigned(packed) = packed { Some(packed) } else { None }
    }

    fn product(packed: &Packed) -> Option<&Arc<matmul::PackedBytes<i8>>> {
        if let Packed::MultiplySigned(packed) = packed { Some(packed) } else { None }
    }

    fn keep_convolution(packed: Arc<convolution::PackedBytes<i8>>) -> Packed {
        Packed::ConvolveSigned(packed)
    }

    fn keep_product(packed: Arc<matmul::PackedBytes<i8>>) -> Packed {
        Packed::MultiplySigned(packed)
    }
}

/// Adds the step of a pattern; it computes the output of `end`.
pub(super) fn emit(
    emitter: &mut Emitter<'_>,
    packs: &mut PackCache,
    pattern: &BytePattern,
    end: NodeId,
) -> Result<(), Error> {
    match pattern.x.dtype {
        DType::U8 => emit_as::<u8>(emitter, packs, pattern, end),
        _ => emit_as::<i8>(emitter, packs, pattern, end),
    }
}

fn emit_as<T: Storage>(
    emitter: &mut Emitter<'_>,
    packs: &mut PackCache,
    pattern: &BytePattern,
    end: NodeId,
) -> Result<(), Error> {
    let scope = emitter.scope;
    let node = scope.graph.node(pattern.core);
    let output = scope.graph.node(end).outputs[0];
    let x = pattern.x.value;
    let unit = Unit { node, pattern, end, output };
    match (&node.op, &pattern.weights, pattern.to) {
        (Op::Conv(conv), Some(weights), Destination::Bytes { params, range }) => {
            let geometry = geometry::convolution(
                scope,
                node,
                scope.shape(x),
                &weights.shape,
                scope.shape(output),
                conv,
            )?;
            let packed = match packs.get(&output).and_then(T::convolution) {
                Some(packed) => packed.clone(),
                None => {
                    let mut data = vec![0i8; weights.data.len()];
                    layout::permute(
                        &weights.shape,
                        &weights_order(weights.shape.len()),
                        &weights.data,
                        &mut data,
                    );
                    let packed = convolution::PackedBytes::<T>::pack(
                        scope.isa,
                        &geometry,
                        &data,
                        unit.constants(weights),
                    );
                    let packed = Arc::new(packed);
                    packs.insert(output, T::keep_convolution(packed.clone()));
                    packed
                }
            };
            let requantization = Requantization::onnx_runtime(
                pattern.x.params.scale,
                &weights.scales,
                params.scale,
                params.zero_point,
                range,
            );
            let kernel = ByteKernel::Convolve { geometry, weights: packed, requantization };
            unit.step::<T>(emitter, kernel, Order::of(conv.layout))
        }
        (Op::Gemm(_) | Op::MatMul, Some(weights), to) => {
            let transposed = matches!(&node.op, Op::Gemm(gemm) if gemm.transpose_b);
            let (outputs, depth) =
                (weights.shape[usize::from(!transposed)], weights.shape[usize::from(transposed)]);
            let extent = matmul::Extent { outputs, depth };
            let packed = match packs.get(&output).and_then(T::product) {
                Some(packed) => packed.clone(),
                None => {
                    let rows = rows_of(&weights.data, extent, transposed);
                    let packed =
                        matmul::PackedBytes::<T>::pack(scope.isa, extent, &rows, unit.constants(weights));
                    let packed = Arc::new(packed);
                    packs.insert(output, T::keep_product(packed.clone()));
                    packed
                }
            };
            let kernel = match to {
                Destination::Bytes { params, range } => {
                    let requantization = Requantization::onnx_runtime(
                        pattern.x.params.scale,
                        &weights.scales,
                        params.scale,
                        params.zero_point,
                        range,
                    );
                    ByteKernel::Multiply { weights: packed, requantization }
                }
                Destination::Floats => {
                    let scales = weights.scales.iter().map(|scale| pattern.x.params.scale * scale).collect();
                    ByteKernel::MultiplyToFloats { weights: packed, scales }
                }
            };
            unit.step::<T>(emitter, kernel, Order::Logical)
        }
        (Op::Binary(..), _, Destination::Bytes { params, range }) => {
            let Some(y) = pattern.y else { return Err(unit.lost(emitter)) };
            let addition = Addition::new(pattern.x.params, y.params, params, range);
            let computed = [x, y.value].into_iter().filter(|value| !scope.constants.is_constant(*value));
            let last = computed.clone().any(|value| emitter.order(value) == Order::ChannelsLast);
            let order = if last { Order::ChannelsLast } else { Order::Logical };
            let inputs = [Some(emitter.operand(x, order)?), Some(emitter.operand(y.value, order)?)];
            emitter.step(end, T::kernel(ByteKernel::Add { addition }), inputs, output, order)?;
            Ok(())
        }
        (Op::Pool(pool), _, Destination::Bytes { params, .. }) => {
            let window = geometry::pooling(scope, node, scope.shape(x), scope.shape(output), pool)?;
            let kernel = match pool.kind {
                PoolKind::Lp { .. } => return Err(unit.lost(emitter)),
                PoolKind::Max => ByteKernel::Max { window },
                PoolKind::Average { count_include_pad } => ByteKernel::Average {
                    window,
                    include_padding: count_include_pad,
                    from: pattern.x.params,
                    to: params,
                },
            };
            unit.step::<T>(emitter, kernel, Order::of(pool.layout))
        }
        (Op::GlobalPool(kind, layout), _, Destination::Bytes { params, .. }) => {
            let (pixels, channels) = pixels_and_channels(scope.shape(x), *layout);
            let kernel = match kind {
                PoolKind::Lp { .. } => return Err(unit.lost(emitter)),
                PoolKind::Max => ByteKernel::GlobalMax { pixels, channels },
                PoolKind::Average { .. } => {
                    ByteKernel::GlobalAverage { pixels, channels, from: pattern.x.params, to: params }
                }
            };
            unit.step::<T>(emitter, kernel, Order::of(*layout))
        }
        (Op::Transpose { permutation }, _, _) => {
            let operand = emitter.operand(x, Order::Logical)?;
            let kernel = Kernel::Permute {
                width: 1,
                shape: scope.shape(x).to_vec(),
                permutation: permutation.clone(),
            };
            emitter.step(end, kernel, [Some(operand), None], output, Order::Logical)?;
            Ok(())
        }
        (Op::Reshape | Op::Flatten { .. }, _, _) => {
            let operand = emitter.operand(x, Order::Logical)?;
            emitter.alias(output, Order::Logical, operand);
            Ok(())
        }
        (Op::Unary(_), _, _) => {
            let order = emitter.order(x);
            let operand: Operand = emitter.operand(x, order)?;
            emitter.alias(output, order, operand);
            Ok(())
        }
        (
            Op::Conv(_)
            | Op::Gemm(_)
            | Op::MatMul
            | Op::Binary(..)
            | Op::Pool(_)
            | Op::GlobalPool(..)
            | Op::Clip(_)
            | Op::BatchNormalization(_)
            | Op::QuantizeLinear(_)
            | Op::DequantizeLinear(_)
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
            | Op::DynamicQuantizeLinear
            | Op::Opaque(_),
            _,
            _,
        ) => Err(unit.lost(emitter)),
    }
}

struct Unit<'a> {
    node: &'a Node,
    pattern: &'a BytePattern,
    end: NodeId,
    output: ValueId,
}

impl Unit<'_> {
    fn constants<'a>(&'a self, weights: &'a ByteWeights) -> ByteConstants<'a> {
        ByteConstants {
            input_zero_point: self.pattern.x.params.zero_point,
            weight_zero_points: &weights.zero_points,
            bias: self.pattern.bias.as_deref(),
        }
    }

    fn step<T: Storage>(
        &self,
        emitter: &mut Emitter<'_>,
        kernel: ByteKernel<T>,
        order: Order,
    ) -> Result<(), Error> {
        let input = emitter.operand(self.pattern.x.value, order)?;
        emitter.step(self.end, T::kernel(kernel), [Some(input), None], self.output, order)?;
        Ok(())
    }

    /// The matcher made no pattern of this; the node would have to run by itself.
    fn lost(&self, emitter: &Emitter<'_>) -> Error {
        emitter.scope.unsupported(
            self.node,
            "an integer pattern without its operands",
            "the patterns of lowering",
        )
    }
}
