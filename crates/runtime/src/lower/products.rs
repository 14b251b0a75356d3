//! Steps of f32 convolutions and matrix products.

use std::sync::Arc;

use calipers_ir::{Activation, Conv, Gemm, Tensor};
use calipers_kernels::elementwise::Binary;
use calipers_kernels::{convolution, layout, matmul};

use super::alone::{Unit, float_constant, floats};
use super::emit::Emitter;
use super::geometry::{self, Order};
use super::{PackCache, Packed};
use crate::error::Error;
use crate::kernel::{FloatKernel, Kernel};

impl Unit<'_> {
    pub(super) fn convolution(
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

    pub(super) fn gemm(
        &self,
        emitter: &mut Emitter<'_>,
        packs: &mut PackCache,
        gemm: &Gemm,
    ) -> Result<(), Error> {
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

    pub(super) fn matmul(&self, emitter: &mut Emitter<'_>, packs: &mut PackCache) -> Result<(), Error> {
        let scope = emitter.scope;
        let (a, b) = (scope.input(self.node, 0)?, scope.input(self.node, 1)?);
        emitter.require_f32(self.node, a)?;
        let (a_shape, b_shape) = (scope.shape(a).to_vec(), scope.shape(b).to_vec());
        let shape = scope.shape(self.output).to_vec();
        let [.., rows, depth] = a_shape[..] else {
            return Err(scope.unsupported(self.node, "a vector", "operands of rank 2 or more"));
        };
        if b_shape.len() < 2 {
            return Err(scope.unsupported(self.node, "a vector", "operands of rank 2 or more"));
        }
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
