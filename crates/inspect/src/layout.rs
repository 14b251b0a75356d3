//! The same numbers in another order of axes: channels last, as in TFLite, to channels first, as in ONNX.

/// A shape `[N, spatial..., C]` as `[N, C, spatial...]`.
pub(crate) fn channels_first_shape(shape: &[usize]) -> Vec<usize> {
    match shape {
        [batch, spatial @ .., channels] if !spatial.is_empty() => {
            let mut first = vec![*batch, *channels];
            first.extend_from_slice(spatial);
            first
        }
        shape => shape.to_vec(),
    }
}

/// A shape `[N, C, spatial...]` as `[N, spatial..., C]`.
pub(crate) fn channels_last_shape(shape: &[usize]) -> Vec<usize> {
    match shape {
        [batch, channels, spatial @ ..] if !spatial.is_empty() => {
            let mut last = vec![*batch];
            last.extend_from_slice(spatial);
            last.push(*channels);
            last
        }
        shape => shape.to_vec(),
    }
}

/// Numbers of shape `[N, spatial..., C]` in the order `[N, C, spatial...]`.
pub(crate) fn to_channels_first<T: Copy>(numbers: &[T], shape: &[usize]) -> Vec<T> {
    let [_, spatial @ .., channels] = shape else { return numbers.to_vec() };
    let (places, channels) = (spatial.iter().product::<usize>(), *channels);
    swap(numbers, places, channels)
}

/// Numbers of shape `[N, C, spatial...]` in the order `[N, spatial..., C]`.
pub(crate) fn to_channels_last<T: Copy>(numbers: &[T], shape: &[usize]) -> Vec<T> {
    let [_, channels, spatial @ ..] = shape else { return numbers.to_vec() };
    let (places, channels) = (spatial.iter().product::<usize>(), *channels);
    swap(numbers, channels, places)
}

/// `[N, rows, columns]` as `[N, columns, rows]`.
fn swap<T: Copy>(numbers: &[T], rows: usize, columns: usize) -> Vec<T> {
    let mut swapped = Vec::with_capacity(numbers.len());
    for matrix in numbers.chunks_exact((rows * columns).max(1)) {
        for column in 0..columns {
            swapped.extend(matrix.iter().skip(column).step_by(columns.max(1)).copied());
        }
    }
    swapped
}

#[cfg(test)]
mod tests {
    use super::{channels_first_shape, channels_last_shape, to_channels_first, to_channels_last};

    // numpy: np.arange(12).reshape(1, 2, 2, 3).transpose(0, 3, 1, 2).ravel()
    #[test]
    fn orders_of_axes() {
        let last: Vec<u8> = (0..12).collect();
        let first = to_channels_first(&last, &[1, 2, 2, 3]);
        assert_eq!(first, [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]);
        assert_eq!(channels_first_shape(&[1, 2, 2, 3]), [1, 3, 2, 2]);
        assert_eq!(to_channels_last(&first, &[1, 3, 2, 2]), last);
        assert_eq!(channels_last_shape(&[1, 3, 2, 2]), [1, 2, 2, 3]);
    }
}
