//! Moving elements without changing them.

/// Writes `input`, of row-major extents `shape`, with its axes permuted: output axis i is input axis
/// `permutation[i]`.
pub fn permute<T: Copy>(shape: &[usize], permutation: &[usize], input: &[T], output: &mut [T]) {
    assert_eq!(shape.len(), permutation.len(), "one source for each axis");
    assert!(input.len() == output.len() && input.len() == shape.iter().product::<usize>(), "lengths");
    if input.is_empty() {
        return;
    }
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    // Neighbouring axes that stay neighbours are one axis; axes of extent 1 are none.
    let mut axes: Vec<(usize, usize)> = Vec::new();
    for &axis in permutation {
        let (extent, stride) = (shape[axis], strides[axis]);
        match axes.last_mut() {
            _ if extent == 1 => {}
            Some((last_extent, last_stride)) if *last_stride == stride * extent => {
                *last_extent *= extent;
                *last_stride = stride;
            }
            _ => axes.push((extent, stride)),
        }
    }
    match axes.as_slice() {
        [] | [(_, 1)] => output.copy_from_slice(input),
        [outer @ .., (rows, row_stride), (columns, column_stride)] => {
            for (index, output) in output.chunks_exact_mut(rows * columns).enumerate() {
                let mut rest = index;
                let mut start = 0;
                for (extent, stride) in outer.iter().rev() {
                    start += rest % extent * stride;
                    rest /= extent;
                }
                for (row, output) in output.chunks_exact_mut(*columns).enumerate() {
                    let from = start + row * row_stride;
                    if *column_stride == 1 {
                        output.copy_from_slice(&input[from..from + columns]);
                    } else {
                        for (column, to) in output.iter_mut().enumerate() {
                            *to = input[from + column * column_stride];
                        }
                    }
                }
            }
        }
        // One axis with a stride: a permutation of axes of extent 1 around it, which has stride 1.
        [(_, stride)] => {
            for (index, to) in output.iter_mut().enumerate() {
                *to = input[index * stride];
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::permute;

    // numpy.arange(24).reshape(shape).transpose(permutation).ravel()
    #[test]
    fn equals_numpy() {
        let input: Vec<u8> = (0..24).collect();
        let cases: [(&[usize], &[usize], [u8; 24]); 5] = [
            (
                &[1, 2, 3, 4],
                &[0, 2, 3, 1],
                [0, 12, 1, 13, 2, 14, 3, 15, 4, 16, 5, 17, 6, 18, 7, 19, 8, 20, 9, 21, 10, 22, 11, 23],
            ),
            (
                &[1, 3, 4, 2],
                &[0, 3, 1, 2],
                [0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23],
            ),
            (
                &[4, 6],
                &[1, 0],
                [0, 6, 12, 18, 1, 7, 13, 19, 2, 8, 14, 20, 3, 9, 15, 21, 4, 10, 16, 22, 5, 11, 17, 23],
            ),
            (
                &[2, 3, 4],
                &[1, 0, 2],
                [0, 1, 2, 3, 12, 13, 14, 15, 4, 5, 6, 7, 16, 17, 18, 19, 8, 9, 10, 11, 20, 21, 22, 23],
            ),
            (
                &[1, 24, 1],
                &[2, 0, 1],
                [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23],
            ),
        ];
        for (shape, permutation, expected) in cases {
            let mut output = vec![0; 24];
            permute(shape, permutation, &input, &mut output);
            assert_eq!(output, expected, "{shape:?} by {permutation:?}");
        }
    }
}
