//! Rotary position embedding.

use calipers_ir::Tensor;

use crate::Error;
use crate::inputs::Inputs;
use crate::numbers::Numbers;

/// Pairs of elements of each head, rotated by the angle of their position: `(a cos - b sin, a sin + b cos)`. The pairs
/// are the halves of the first `rotary` elements, or neighbours with `interleaved`.
pub(super) fn rotate(
    interleaved: bool,
    num_heads: i64,
    rotary: i64,
    inputs: &Inputs<'_>,
) -> Result<Vec<Tensor>, Error> {
    let tensor = inputs.tensor(0)?;
    // Extents of batch, sequence, heads and head, and the strides of the first three.
    let (batch, sequence, heads, size, strides) = match *tensor.shape() {
        [batch, heads, sequence, size] => {
            (batch, sequence, heads, size, [heads * sequence * size, size, sequence * size])
        }
        [batch, sequence, hidden] => match usize::try_from(num_heads) {
            Ok(heads) if heads > 0 && hidden % heads == 0 => {
                let size = hidden / heads;
                (batch, sequence, heads, size, [sequence * hidden, hidden, size])
            }
            _ => {
                return Err(
                    inputs.argument(format!("num_heads that divides {hidden}"), format!("{num_heads}"))
                );
            }
        },
        ref shape => return Err(inputs.argument("an input of rank 3 or 4", format!("shape {shape:?}"))),
    };
    let rotary = match usize::try_from(rotary) {
        Ok(0) => size,
        Ok(rotary) if rotary <= size => rotary,
        _ => {
            return Err(
                inputs.argument(format!("rotary_embedding_dim of at most {size}"), format!("{rotary}"))
            );
        }
    };
    let half = rotary / 2;
    let positions = inputs.optional_integers(3)?;
    let rows = match &positions {
        // Caches [positions, half].
        Some(positions) if positions.len() == batch * sequence => {
            let cache = inputs.tensor(1)?.shape();
            let most = cache.first().copied().filter(|_| cache.len() == 2).unwrap_or(0);
            let row = |&position: &i64| usize::try_from(position).ok().filter(|&position| position < most);
            positions.iter().map(row).collect::<Option<Vec<usize>>>()
        }
        Some(_) => None,
        // Caches [batch, sequence, half].
        None => Some((0..batch * sequence).collect()),
    };
    let Some(rows) = rows else {
        return Err(
            inputs.argument("a position within the caches for each element of the sequence", "others")
        );
    };
    let (cosines, sines) = (inputs.doubles(1)?, inputs.doubles(2)?);
    let needed = rows.iter().max().map_or(0, |row| (row + 1) * half);
    for index in [1, 2] {
        let cache = inputs.tensor(index)?;
        if cache.shape().last() != Some(&half) || cache.len() < needed || rotary % 2 != 0 {
            return Err(inputs.argument(
                format!("a cache of {half} angles for each position as input {index}, an even rotary size"),
                format!("shape {:?}, {rotary} elements to rotate", cache.shape()),
            ));
        }
    }
    let mut values = inputs.doubles(0)?;
    for (row, at) in rows.iter().zip(0..) {
        for head in 0..heads {
            let start = at / sequence * strides[0] + at % sequence * strides[1] + head * strides[2];
            for pair in 0..half {
                let (first, second) =
                    if interleaved { (2 * pair, 2 * pair + 1) } else { (pair, half + pair) };
                let (cosine, sine) = (cosines[row * half + pair], sines[row * half + pair]);
                let (a, b) = (values[start + first], values[start + second]);
                values[start + first] = a * cosine - b * sine;
                values[start + second] = a * sine + b * cosine;
            }
        }
    }
    Ok(vec![inputs.result(tensor.dtype(), tensor.shape(), Numbers::F64(values))?])
}
