//! Products: matrices, Einsum, determinants, attention, rotary positions.

use calipers_ir::{DType, Gemm, Product, Tensor};

mod attention;
mod determinant;
mod einsum;
mod rotary;

use crate::Error;
use crate::accumulate::{Accumulate, add_scaled};
use crate::inputs::Inputs;
use crate::numbers::Numbers;
use crate::shape::Walk;
use crate::spatial::swapped;

/// The results of a product.
pub(crate) fn evaluate(product: &Product, inputs: &Inputs<'_>, outputs: usize) -> Result<Vec<Tensor>, Error> {
    match product {
        Product::Einsum { equation } => einsum::einsum(equation, inputs),
        Product::Det => determinant::determinants(inputs),
        Product::MatMulInteger => integer_matrix_product(inputs),
        Product::Attention {
            is_causal,
            kv_num_heads,
            q_num_heads,
            qk_matmul_output_mode,
            scale,
            softcap,
            softmax_precision: _,
        } => attention::attention(
            &attention::Attention {
                is_causal: *is_causal,
                kv_num_heads: *kv_num_heads,
                q_num_heads: *q_num_heads,
                qk_matmul_output_mode: *qk_matmul_output_mode,
                scale: *scale,
                softcap: *softcap,
            },
            inputs,
            outputs,
        ),
        Product::RotaryEmbedding { interleaved, num_heads, rotary_embedding_dim } => {
            rotary::rotate(*interleaved, *num_heads, *rotary_embedding_dim, inputs)
        }
    }
}

/// `alpha a b + beta c`, with `a` and `b` transposed first where asked for.
pub(crate) fn gemm(gemm: &Gemm, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let side = |index: usize, transpose: bool| -> Result<(usize, usize), Error> {
        match inputs.tensor(index)?.shape() {
            &[rows, columns] if transpose => Ok((columns, rows)),
            &[rows, columns] => Ok((rows, columns)),
            shape => Err(inputs.argument(format!("a matrix as input {index}"), format!("shape {shape:?}"))),
        }
    };
    let ((rows, inner), (found, columns)) = (side(0, gemm.transpose_a)?, side(1, gemm.transpose_b)?);
    if inner != found {
        return Err(inputs.argument("matrices that can be multiplied", format!("{inner} and {found} inside")));
    }
    let shape = [rows, columns];
    inputs.count(&shape)?;
    let bias = match inputs.optional(2) {
        None => None,
        Some(bias) if crate::shape::broadcast(&[bias.shape(), &shape]).as_deref() == Some(&shape) => {
            Some(Walk::broadcast(bias.shape(), &shape))
        }
        Some(bias) => {
            let expected = format!("a third input that broadcasts to {shape:?}");
            return Err(inputs.argument(expected, format!("shape {:?}", bias.shape())));
        }
    };
    let dtype = inputs.tensor(0)?.dtype();
    macro_rules! combined {
        ($a:ident, $b:ident, $read:expr, $alpha:expr, $beta:expr, $add:expr) => {{
            let a = if gemm.transpose_a { swapped(&$a, inner, rows) } else { $a };
            let b = if gemm.transpose_b { swapped(&$b, columns, inner) } else { $b };
            let mut out = vec![Default::default(); rows * columns];
            multiply(&mut out, &a, &b, inner, columns);
            out.iter_mut().for_each(|value| *value = $add(Default::default(), $alpha, *value));
            if let Some(places) = bias {
                let c = $read(inputs, 2)?;
                for (value, place) in out.iter_mut().zip(places) {
                    *value = $add(*value, $beta, c[place]);
                }
            }
            out
        }};
    }
    let numbers = match (inputs.numbers(0)?, inputs.numbers(1)?) {
        (Numbers::F32(a), Numbers::F32(b)) => {
            Numbers::F32(combined!(a, b, Inputs::floats, gemm.alpha, gemm.beta, f32::plus_product))
        }
        (Numbers::F64(a), Numbers::F64(b)) => Numbers::F64(combined!(
            a,
            b,
            Inputs::doubles,
            f64::from(gemm.alpha),
            f64::from(gemm.beta),
            f64::plus_product
        )),
        (Numbers::I64(a), Numbers::I64(b)) if whole(gemm) => Numbers::I64(combined!(
            a,
            b,
            Inputs::integers,
            gemm.alpha as i64,
            gemm.beta as i64,
            i64::plus_product
        )),
        _ => {
            return Err(inputs.unsupported_type(dtype, "floats, or signed integers with whole factors"));
        }
    };
    Ok(vec![inputs.result(dtype, &shape, numbers)?])
}

fn whole(gemm: &Gemm) -> bool {
    gemm.alpha.fract() == 0.0 && gemm.beta.fract() == 0.0
}

/// The matrix product of numpy.matmul.
pub(crate) fn matrix_product(inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let dtype = inputs.tensor(0)?.dtype();
    let batches = Batches::new(inputs)?;
    let numbers = match (inputs.numbers(0)?, inputs.numbers(1)?) {
        (Numbers::F32(a), Numbers::F32(b)) => Numbers::F32(batches.multiply(&a, &b)),
        (Numbers::F64(a), Numbers::F64(b)) => Numbers::F64(batches.multiply(&a, &b)),
        (Numbers::I64(a), Numbers::I64(b)) => Numbers::I64(batches.multiply(&a, &b)),
        (Numbers::U64(a), Numbers::U64(b)) => Numbers::U64(batches.multiply(&a, &b)),
        _ => return Err(inputs.unsupported_type(dtype, "two inputs of one type of numbers")),
    };
    Ok(vec![inputs.result(dtype, &batches.shape, numbers)?])
}

/// The product of `a - a_zero_point` and `b - b_zero_point` in i32. A vector of zero points has one for each row of
/// `a`, or for each column of `b`; one of a higher rank broadcasts.
fn integer_matrix_product(inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let batches = Batches::new(inputs)?;
    let centred = |index: usize, along_rows: bool| -> Result<Vec<i64>, Error> {
        let mut values = inputs.integers(index)?;
        let Some(zero_point) = inputs.optional(index + 2) else { return Ok(values) };
        let shape = inputs.tensor(index)?.shape();
        let zero_shape = match zero_point.shape() {
            [1] => Vec::new(),
            &[rows] if along_rows => vec![rows, 1],
            other => other.to_vec(),
        };
        if crate::shape::broadcast(&[&zero_shape, shape]).as_deref() != Some(shape) {
            return Err(inputs.argument(
                format!("a zero point that broadcasts to {shape:?}"),
                format!("shape {:?}", zero_point.shape()),
            ));
        }
        let zero_points = inputs.integers(index + 2)?;
        for (value, place) in values.iter_mut().zip(Walk::broadcast(&zero_shape, shape)) {
            *value = value.wrapping_sub(zero_points[place]);
        }
        Ok(values)
    };
    let sums = batches.multiply(&centred(0, true)?, &centred(1, false)?);
    Ok(vec![inputs.result(DType::I32, &batches.shape, Numbers::I64(sums))?])
}

/// `out += a b`, where `b` has `columns` columns and `a` has `inner` of them.
pub(crate) fn multiply<T: Accumulate>(out: &mut [T], a: &[T], b: &[T], inner: usize, columns: usize) {
    if inner == 0 || columns == 0 {
        return;
    }
    for (out, row) in out.chunks_exact_mut(columns).zip(a.chunks_exact(inner)) {
        for (&factor, values) in row.iter().zip(b.chunks_exact(columns)) {
            add_scaled(out, factor, values);
        }
    }
}

/// Matrix products over broadcast outer axes.
struct Batches {
    /// Of the result.
    shape: Vec<usize>,
    outer: [Vec<usize>; 2],
    batch: Vec<usize>,
    rows: usize,
    inner: usize,
    columns: usize,
}

impl Batches {
    fn new(inputs: &Inputs<'_>) -> Result<Batches, Error> {
        let (a, b) = (inputs.tensor(0)?.shape(), inputs.tensor(1)?.shape());
        let wrong =
            || Err(inputs.argument("shapes that can be multiplied as matrices", format!("{a:?} and {b:?}")));
        let (outer_a, rows, inner) = match *a {
            [] => return wrong(),
            [inner] => (&a[..0], None, inner),
            [ref outer @ .., rows, inner] => (outer, Some(rows), inner),
        };
        let (outer_b, found, columns) = match *b {
            [] => return wrong(),
            [inner] => (&b[..0], inner, None),
            [ref outer @ .., inner, columns] => (outer, inner, Some(columns)),
        };
        if inner != found {
            return wrong();
        }
        let batch = inputs.broadcast(&[outer_a, outer_b])?;
        let shape: Vec<usize> = batch.iter().copied().chain(rows).chain(columns).collect();
        inputs.count(&shape)?;
        Ok(Batches {
            shape,
            outer: [outer_a.to_vec(), outer_b.to_vec()],
            batch,
            rows: rows.unwrap_or(1),
            inner,
            columns: columns.unwrap_or(1),
        })
    }

    fn multiply<T: Accumulate>(&self, a: &[T], b: &[T]) -> Vec<T> {
        let (size_a, size_b) = (self.rows * self.inner, self.inner * self.columns);
        let size = self.rows * self.columns;
        let mut out = vec![T::default(); crate::shape::count(&self.shape).unwrap_or(0)];
        let places =
            Walk::broadcast(&self.outer[0], &self.batch).zip(Walk::broadcast(&self.outer[1], &self.batch));
        for (out, (place_a, place_b)) in out.chunks_exact_mut(size.max(1)).zip(places) {
            let (a, b) = (&a[place_a * size_a..][..size_a], &b[place_b * size_b..][..size_b]);
            multiply(out, a, b, self.inner, self.columns);
        }
        out
    }
}
