//! Non-maximum suppression of boxes.

use calipers_ir::{DType, Tensor};

use crate::Error;
use crate::inputs::Inputs;
use crate::numbers::Numbers;

/// The smaller and the larger edge along both axes.
type Corners = [f32; 4];

/// Rows of batch, class and box (i64), for each batch and class by falling score: a box is taken unless it overlaps one
/// taken before by more than the threshold.
pub(super) fn select(center_point_box: i64, inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let (boxes, scores) = (inputs.tensor(0)?, inputs.tensor(1)?);
    let fits = match (boxes.shape(), scores.shape()) {
        (&[batches, count, 4], &[score_batches, classes, score_count])
            if batches == score_batches && count == score_count =>
        {
            Some((batches, classes, count))
        }
        _ => None,
    };
    let Some((batches, classes, count)) = fits else {
        return Err(inputs.argument(
            "boxes [batch, count, 4] and scores [batch, classes, count]",
            format!("{:?} and {:?}", boxes.shape(), scores.shape()),
        ));
    };
    let most = match inputs.optional(2) {
        Some(_) => usize::try_from(inputs.integer(2)?).unwrap_or(0),
        None => 0,
    };
    let threshold = |index: usize| match inputs.optional(index) {
        None => Ok(None),
        Some(_) => match inputs.floats(index)?[..] {
            [threshold] => Ok(Some(threshold)),
            ref other => Err(inputs.argument("a threshold of one element", format!("{}", other.len()))),
        },
    };
    let (overlap, least) = (threshold(3)?.unwrap_or(0.0), threshold(4)?);
    let corners: Vec<Corners> =
        inputs.floats(0)?.chunks_exact(4).map(|edges| corners(edges, center_point_box != 0)).collect();
    let scores = inputs.floats(1)?;
    let mut rows = Vec::new();
    for (batch, class) in (0..batches).flat_map(|batch| (0..classes).map(move |class| (batch, class))) {
        let scores = &scores[(batch * classes + class) * count..][..count];
        let corners = &corners[batch * count..][..count];
        let mut candidates: Vec<usize> =
            (0..count).filter(|&index| least.is_none_or(|least| scores[index] > least)).collect();
        candidates.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let mut taken: Vec<usize> = Vec::new();
        for index in candidates {
            if taken.len() >= most {
                break;
            }
            if taken.iter().all(|&other| shared(&corners[index], &corners[other]) <= overlap) {
                taken.push(index);
            }
        }
        rows.extend(taken.iter().flat_map(|&index| [batch as i64, class as i64, index as i64]));
    }
    inputs.result(DType::I64, &[rows.len() / 3, 3], Numbers::I64(rows))
}

/// From two opposite corners `y, x, y, x`, or from center and size `x, y, width, height`.
fn corners(edges: &[f32], centered: bool) -> Corners {
    let [a, b, c, d] = [edges[0], edges[1], edges[2], edges[3]];
    match centered {
        true => [a - c / 2.0, b - d / 2.0, a + c / 2.0, b + d / 2.0],
        false => [a.min(c), b.min(d), a.max(c), b.max(d)],
    }
}

/// Area of the intersection over area of the union; 0 for boxes without an area.
fn shared(a: &Corners, b: &Corners) -> f32 {
    let side = |axis: usize| (a[axis + 2].min(b[axis + 2]) - a[axis].max(b[axis])).max(0.0);
    let area = |corners: &Corners| (corners[2] - corners[0]) * (corners[3] - corners[1]);
    let both = side(0) * side(1);
    let (first, second) = (area(a), area(b));
    if first <= 0.0 || second <= 0.0 { 0.0 } else { both / (first + second - both) }
}
