//! Which elements of two operands meet.

/// The extents of the result of two operands: aligned at the end, where one operand has extent 1 it is repeated.
pub fn shape(left: &[usize], right: &[usize]) -> Vec<usize> {
    let rank = left.len().max(right.len());
    (0..rank)
        .map(|axis| {
            let [left, right] = [extent(left, rank, axis), extent(right, rank, axis)];
            assert!(left == right || left == 1 || right == 1, "extents that can be broadcast");
            if left == 1 { right } else { left }
        })
        .collect()
}

fn extent(shape: &[usize], rank: usize, axis: usize) -> usize {
    (axis + shape.len()).checked_sub(rank).map_or(1, |axis| shape[axis])
}

/// Calls `each` with the positions of the elements of both operands, in the order of the result's elements.
pub(crate) fn for_each(left: &[usize], right: &[usize], mut each: impl FnMut(usize, usize)) {
    let extents = shape(left, right);
    let rank = extents.len();
    let strides = |operand: &[usize]| -> Vec<usize> {
        let mut stride = 1;
        let mut strides = vec![0; rank];
        for axis in (0..rank).rev() {
            let extent = extent(operand, rank, axis);
            strides[axis] = if extent == 1 { 0 } else { stride };
            stride *= extent;
        }
        strides
    };
    let (left_strides, right_strides) = (strides(left), strides(right));
    let mut index = vec![0; rank];
    let (mut left, mut right) = (0, 0);
    for _ in 0..extents.iter().product() {
        each(left, right);
        for axis in (0..rank).rev() {
            index[axis] += 1;
            left += left_strides[axis];
            right += right_strides[axis];
            if index[axis] < extents[axis] {
                break;
            }
            index[axis] = 0;
            left -= left_strides[axis] * extents[axis];
            right -= right_strides[axis] * extents[axis];
        }
    }
}
