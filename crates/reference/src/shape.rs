//! Shapes: element counts, strides, broadcasting, and walks over all positions of a shape.

/// Number of elements; `None` when it overflows. Empty whatever the other extents are.
pub(crate) fn count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |count, &extent| count.checked_mul(extent))
}

/// Distance of neighbours along each axis in row-major order.
pub(crate) fn strides(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1isize; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis].wrapping_mul(shape[axis] as isize);
    }
    strides
}

/// The shape that all `shapes` broadcast to as in numpy; `None` when they do not.
pub(crate) fn broadcast(shapes: &[&[usize]]) -> Option<Vec<usize>> {
    let rank = shapes.iter().map(|shape| shape.len()).max().unwrap_or(0);
    let mut result = vec![1usize; rank];
    for shape in shapes {
        for (extent, &found) in result[rank - shape.len()..].iter_mut().zip(*shape) {
            match (*extent, found) {
                (_, 1) => {}
                (1, _) => *extent = found,
                (extent, found) if extent == found => {}
                _ => return None,
            }
        }
    }
    Some(result)
}

/// Strides that read a tensor of `shape` as if it had the shape `target`, which it broadcasts to.
pub(crate) fn broadcast_strides(shape: &[usize], target: &[usize]) -> Vec<isize> {
    let mut result = vec![0; target.len()];
    let start = target.len() - shape.len();
    for (axis, stride) in strides(shape).into_iter().enumerate() {
        if shape[axis] != 1 {
            result[start + axis] = stride;
        }
    }
    result
}

/// Extents before an axis multiplied, the axis' own, and those after it multiplied. The shape is one of a tensor.
pub(crate) fn around(shape: &[usize], axis: usize) -> (usize, usize, usize) {
    (shape[..axis].iter().product(), shape[axis], shape[axis + 1..].iter().product())
}

/// The offsets of all positions of a shape in row-major order, for any strides.
pub(crate) struct Walk {
    shape: Vec<usize>,
    strides: Vec<isize>,
    position: Vec<usize>,
    offset: isize,
    left: usize,
}

impl Walk {
    /// From `start` over `shape`, which has as many extents as there are strides and a count that does not overflow.
    pub(crate) fn new(shape: &[usize], strides: &[isize], start: isize) -> Walk {
        Walk {
            shape: shape.to_vec(),
            strides: strides.to_vec(),
            position: vec![0; shape.len()],
            offset: start,
            left: count(shape).unwrap_or(0),
        }
    }

    /// Over `target` while reading a tensor of `shape` that broadcasts to it.
    pub(crate) fn broadcast(shape: &[usize], target: &[usize]) -> Walk {
        Walk::new(target, &broadcast_strides(shape, target), 0)
    }
}

impl Iterator for Walk {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let offset = self.offset;
        for axis in (0..self.shape.len()).rev() {
            self.position[axis] += 1;
            self.offset += self.strides[axis];
            if self.position[axis] < self.shape[axis] {
                break;
            }
            self.offset -= self.strides[axis] * self.shape[axis] as isize;
            self.position[axis] = 0;
        }
        Some(offset as usize)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Walk {}

/// Every position of a shape in row-major order, as coordinates.
pub(crate) fn coordinates(shape: &[usize]) -> impl Iterator<Item = Vec<usize>> + use<> {
    let mut next = Some(vec![0; shape.len()]).filter(|_| !shape.contains(&0));
    let shape = shape.to_vec();
    std::iter::from_fn(move || {
        let current = next.clone()?;
        let position = next.as_mut()?;
        let mut carried = true;
        for axis in (0..shape.len()).rev() {
            position[axis] += 1;
            if position[axis] < shape[axis] {
                carried = false;
                break;
            }
            position[axis] = 0;
        }
        if carried {
            next = None;
        }
        Some(current)
    })
}

#[cfg(test)]
mod tests {
    use super::{Walk, broadcast, coordinates};

    // numpy.broadcast_shapes.
    #[test]
    fn shapes_broadcast_as_in_numpy() {
        assert_eq!(broadcast(&[&[8, 1, 6, 1], &[7, 1, 5]]), Some(vec![8, 7, 6, 5]));
        assert_eq!(broadcast(&[&[], &[0]]), Some(vec![0]));
        assert_eq!(broadcast(&[&[1], &[0]]), Some(vec![0]));
        assert_eq!(broadcast(&[&[2], &[3]]), None);
    }

    // numpy.arange(6).reshape(2, 3): .T.ravel(), [:, ::-1].ravel(), broadcast_to([7, 8], (2, 2)).
    #[test]
    fn walks_go_in_row_major_order() {
        assert_eq!(Walk::new(&[3, 2], &[1, 3], 0).collect::<Vec<_>>(), [0, 3, 1, 4, 2, 5]);
        assert_eq!(Walk::new(&[2, 3], &[3, -1], 2).collect::<Vec<_>>(), [2, 1, 0, 5, 4, 3]);
        assert_eq!(Walk::broadcast(&[2], &[2, 2]).collect::<Vec<_>>(), [0, 1, 0, 1]);
        assert_eq!(Walk::new(&[], &[], 0).collect::<Vec<_>>(), [0]);
        assert_eq!(Walk::new(&[2, 0], &[1, 1], 0).count(), 0);
        assert_eq!(coordinates(&[2, 1]).collect::<Vec<_>>(), [[0, 0], [1, 0]]);
        assert_eq!((coordinates(&[]).count(), coordinates(&[3, 0]).count()), (1, 0));
    }
}
