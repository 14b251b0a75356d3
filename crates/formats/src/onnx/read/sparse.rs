//! Sparse constants, made dense.

use calipers_ir::Tensor;

use super::super::messages::SparseTensorProto;
use super::super::tensor::TensorReader;

/// Bytes of a dense tensor for each byte that the file stores of it. A tensor that is sparser is refused, since the
/// file's size could not justify the memory.
const LARGEST_GROWTH: usize = 1024;

/// The dense tensor of the same elements, or what is wrong with the sparse one.
pub(super) fn to_dense(sparse: SparseTensorProto, tensors: &mut TensorReader) -> Result<Tensor, String> {
    let values = tensors.decode(sparse.values.ok_or("the sparse tensor has no values")?)?;
    let indices = tensors.decode(sparse.indices.ok_or("the sparse tensor has no indices")?)?;
    let shape: Vec<usize> = sparse
        .dims
        .iter()
        .map(|&extent| usize::try_from(extent).map_err(|_| format!("extent {extent} is negative")))
        .collect::<Result<_, _>>()?;
    let width = match values.dtype().bits() {
        Some(bits) if bits.is_multiple_of(8) => bits / 8,
        _ => return Err(format!("a sparse tensor of {} is not supported", values.dtype())),
    };
    let count = values.len();
    let elements = shape.iter().try_fold(1usize, |count, &extent| count.checked_mul(extent));
    let bytes = elements.and_then(|elements| elements.checked_mul(width));
    let allowed = (count + 1).saturating_mul(width + 8).saturating_mul(LARGEST_GROWTH);
    let Some((elements, bytes)) = elements.zip(bytes).filter(|&(_, bytes)| bytes <= allowed) else {
        return Err(format!(
            "the sparse tensor of shape {shape:?} holds {count} elements; made dense it may take {allowed} bytes: \
             store it as a dense one"
        ));
    };
    let positions = indices.to_integers().ok_or("the indices of a sparse tensor must be integers")?;
    let linear: Vec<i64> = match indices.shape() {
        [found] if *found == count => positions,
        [found, rank] if *found == count && *rank == shape.len() && *rank > 0 => positions
            .chunks_exact(*rank)
            .map(|place| {
                let inside = place.iter().zip(&shape).all(|(&at, &extent)| at >= 0 && at < extent as i64);
                if !inside {
                    return Err(format!("index {place:?} is outside of the shape {shape:?}"));
                }
                Ok(place.iter().zip(&shape).fold(0, |sum, (&at, &extent)| sum * extent as i64 + at))
            })
            .collect::<Result<_, String>>()?,
        other => return Err(format!("{count} values have indices of shape {other:?}")),
    };
    let source = values.bytes();
    let mut dense = vec![0u8; bytes];
    for (value, &at) in source.chunks_exact(width).zip(&linear) {
        let at = usize::try_from(at).ok().filter(|&at| at < elements);
        let at = at.ok_or_else(|| format!("an index is outside of the shape {shape:?}"))? * width;
        dense[at..at + width].copy_from_slice(value);
    }
    Tensor::new(values.dtype(), shape, dense.into()).map_err(|error| error.to_string())
}
