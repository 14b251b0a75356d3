//! Matrix products and embeddings.

use calipers_ir::{Activation, DType, Dim, Gemm, Indexing, Op, QuantizeLinear, TensorType, ValueId};

use super::super::read::{Mapped, Numbers, Site, keep};
use super::window::{hybrid, symmetry};

/// FULLY_CONNECTED: weights `[outputs, inputs]`; data of any rank are rows of `inputs` elements.
pub(super) fn fully_connected(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(2, 3, 1)?;
    if !matches!(site.word("weights_format")?, "" | "default") {
        return keep("its weights are in a shuffled order");
    }
    let weights = &site.described(1)?.ty;
    let Some([outputs, inner]) = weights.known_shape().and_then(|shape| <[usize; 2]>::try_from(shape).ok())
    else {
        return Err(format!("weights of rank 2 were expected, found {weights}").into());
    };
    let activation = site.activation()?;
    let ty = site.ty(0)?;
    let result = match (site.flag("keep_num_dims"), &ty.shape) {
        (false, _) => None,
        (true, None) => return keep("the rank of its data is not known"),
        (true, Some(shape)) if shape.len() == 2 => None,
        (true, Some(shape)) => Some(rows_of(shape, outputs)?),
    };
    let a = if ty.rank() == Some(2) {
        site.real(0)?
    } else {
        let rows = site.integer_list("rows", vec![-1, inner as i64])?;
        let stored = site.stored(0)?;
        let rows = site.step("Reshape", Op::Reshape, &[Some(stored), Some(rows)], ty.dtype)?;
        match site.described(0)?.quantization.clone() {
            Some(quantization) => site.graph.dequantize(site.input(0)?, &quantization, rows, &[])?,
            None => rows,
        }
    };
    let inputs = [Some(a), Some(site.real(1)?), site.optional(2)?];
    let gemm = Op::Gemm(Gemm {
        alpha: 1.0,
        beta: 1.0,
        transpose_a: false,
        transpose_b: true,
        activation: Activation::None,
    });
    let node = match result {
        None => {
            site.make(0, Numbers::Real, gemm, &inputs, activation)?;
            site.result(0)?.name.clone()
        }
        Some(shape) => folded(site, gemm, &inputs, activation, shape)?,
    };
    let how = symmetry(site.flag("asymmetric_quantize_inputs"));
    hybrid(site, &node, [0, 1], how)
}

/// The product of rows, its result folded into a shape of more axes. Returns the name of the product.
fn folded(
    site: &mut Site<'_, '_>,
    gemm: Op,
    inputs: &[Option<ValueId>],
    activation: Activation,
    shape: Vec<i64>,
) -> Mapped<String> {
    let gemm = gemm.with_activation(activation).unwrap_or(gemm);
    let mut rows = site.step("Gemm", gemm, inputs, DType::F32)?;
    let node = site.graph.editor.value(rows).name.clone();
    if let Some(quantization) = site.result(0)?.quantization.clone() {
        let (scale, zero_point) = site.graph.parameters(site.outputs[0], &quantization)?;
        let dtype = site.result(0)?.ty.dtype;
        let quantize = Op::QuantizeLinear(QuantizeLinear { axis: 0, block_size: 0, saturate: true, dtype });
        rows = site.step("QuantizeLinear", quantize, &[Some(rows), Some(scale), zero_point], dtype)?;
    }
    let shape = site.integer_list("shape", shape)?;
    site.store(0, Op::Reshape, &[Some(rows), Some(shape)])?;
    Ok(node)
}

/// The shape with another last extent, of which one may be left open.
fn rows_of(shape: &[Dim], last: usize) -> Mapped<Vec<i64>> {
    let rows = &shape[..shape.len().saturating_sub(1)];
    if rows.iter().filter(|dim| dim.known().is_none()).count() > 1 {
        return keep("several extents of its data are not known");
    }
    let rows = rows.iter().map(|dim| dim.known().map_or(-1, |extent| extent as i64));
    Ok(rows.chain([last as i64]).collect())
}

/// BATCH_MATMUL: the last two axes of either side may be swapped.
pub(super) fn batch_matmul(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(2, 2, 1)?;
    let mut inputs = [None, None];
    for (position, swapped) in [(0, site.flag("adj_x")), (1, site.flag("adj_y"))] {
        let mut permutation = Vec::new();
        if swapped {
            let rank = site.shape(position)?.len();
            permutation = (0..rank).collect();
            if rank < 2 {
                return Err(
                    format!("input {position} of rank 2 or more was expected, found rank {rank}").into()
                );
            }
            permutation.swap(rank - 2, rank - 1);
        }
        inputs[position] = Some(site.permuted(position, &permutation)?);
    }
    if site.result(0)?.ty.dtype == DType::I32 && site.described(0)?.quantization.is_some() {
        return keep("it gives sums of integers");
    }
    site.make_real(Op::MatMul, &inputs)?;
    let node = site.result(0)?.name.clone();
    let how = symmetry(site.flag("asymmetric_quantize_inputs"));
    hybrid(site, &node, [0, 1], how)
}

/// EMBEDDING_LOOKUP: inputs are positions and a table. A quantized table is read before it is dequantized.
pub(super) fn embedding_lookup(site: &mut Site<'_, '_>) -> Mapped {
    site.arity(2, 2, 1)?;
    let gather = Op::Indexing(Indexing::Gather { axis: 0, batch_dims: 0 });
    let positions = site.stored(0)?;
    let (table, result) = (site.described(1)?, site.result(0)?);
    let dequantized = result.quantization.is_none() && result.ty.dtype == DType::F32;
    if let Some(quantization) = table.quantization.clone().filter(|table| dequantized && table.per_tensor()) {
        let (dtype, table) = (table.ty.dtype, site.stored(1)?);
        let rows =
            site.step_typed("Gather", gather, &[Some(table), Some(positions)], TensorType::unranked(dtype))?;
        let (scale, zero_point) = site.graph.parameters(site.input(1)?, &quantization)?;
        let op = Op::DequantizeLinear(calipers_ir::DequantizeLinear { axis: 0, block_size: 0 });
        return site.store(0, op, &[Some(rows), Some(scale), zero_point]);
    }
    let numbers = site.shared(&[1])?;
    let table = site.numbers(1, numbers)?;
    site.make_plain(numbers, gather, &[Some(table), Some(positions)])
}
