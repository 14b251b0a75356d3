//! Spatial data: the parts of its shape, its two layouts, and which elements the taps of a window join.

use calipers_ir::{Layout, Window};

use crate::Error;
use crate::inputs::Inputs;
use crate::shape::coordinates;

/// Window attributes are below this, so that products of positions do not overflow.
const MOST_REACH: usize = 1 << 28;

/// The parts of a shape of data with channels.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Spatial {
    pub batch: usize,
    pub channels: usize,
    pub extents: Vec<usize>,
}

impl Spatial {
    /// The parts of the shape of input `index`, of at least one spatial axis, or as many as are asked for.
    pub(crate) fn of(
        inputs: &Inputs<'_>,
        index: usize,
        layout: Layout,
        axes: Option<usize>,
    ) -> Result<Spatial, Error> {
        let shape = inputs.tensor(index)?.shape();
        let wrong = match axes {
            Some(axes) => shape.len() != axes + 2,
            None => shape.len() < 3,
        };
        if wrong {
            let expected = axes.map_or(String::from("at least 1"), |axes| axes.to_string());
            let expected = format!("input {index} of batch, channels and {expected} spatial axes");
            return Err(inputs.argument(expected, format!("shape {shape:?}")));
        }
        let first = layout.first_spatial_axis();
        Ok(Spatial {
            batch: shape[0],
            channels: shape[layout.channel_axis(shape.len())],
            extents: shape[first..first + shape.len() - 2].to_vec(),
        })
    }

    /// The shape in a layout.
    pub(crate) fn shape(&self, layout: Layout) -> Vec<usize> {
        let mut shape = vec![self.batch];
        if layout == Layout::Nchw {
            shape.push(self.channels);
        }
        shape.extend(&self.extents);
        if layout == Layout::Nhwc {
            shape.push(self.channels);
        }
        shape
    }

    /// Elements of one channel of one sample.
    pub(crate) fn plane(&self) -> usize {
        self.extents.iter().product()
    }

    /// Elements in a layout, as channels first.
    pub(crate) fn channels_first<T: Copy>(&self, layout: Layout, values: Vec<T>) -> Vec<T> {
        match layout {
            Layout::Nchw => values,
            Layout::Nhwc => swapped(&values, self.plane(), self.channels),
        }
    }

    /// Elements as channels first, in a layout.
    pub(crate) fn in_layout<T: Copy>(&self, layout: Layout, values: Vec<T>) -> Vec<T> {
        match layout {
            Layout::Nchw => values,
            Layout::Nhwc => swapped(&values, self.channels, self.plane()),
        }
    }
}

/// Matrices of `rows` by `columns`, each transposed.
pub(crate) fn swapped<T: Copy>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
    let mut out = Vec::with_capacity(values.len());
    for matrix in values.chunks_exact((rows * columns).max(1)) {
        for column in 0..columns {
            out.extend(matrix[column..].iter().step_by(columns));
        }
    }
    out
}

/// An error unless each list of the window has one number for each axis, none of them absurd.
pub(crate) fn check_window(inputs: &Inputs<'_>, window: &Window, axes: usize) -> Result<(), Error> {
    let lists = [&window.strides, &window.dilations, &window.pads_begin, &window.pads_end];
    let least = [1, 1, 0, 0];
    for (list, least) in lists.into_iter().zip(least) {
        if list.len() != axes || list.iter().any(|&value| value < least || value > MOST_REACH) {
            return Err(inputs.argument(
                format!("strides, dilations (at least 1) and pads for {axes} axes, at most {MOST_REACH}"),
                format!("{window:?}"),
            ));
        }
    }
    Ok(())
}

/// One axis of a sliding window: element `o` of the sliding side and tap `t` meet element
/// `stride * o + dilation * t - pad` of the other.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    pub taps: usize,
    pub stride: usize,
    pub dilation: usize,
    pub pad: usize,
    /// Elements of the side that slides: a convolution's output, a transposed convolution's input.
    pub sliding: usize,
    /// Elements of the other side.
    pub covered: usize,
}

impl Axis {
    /// The axes of a checked window; `sliding` and `covered` are the extents of both sides.
    pub(crate) fn all(window: &Window, taps: &[usize], sliding: &[usize], covered: &[usize]) -> Vec<Axis> {
        (0..taps.len())
            .map(|axis| Axis {
                taps: taps[axis],
                stride: window.strides[axis],
                dilation: window.dilations[axis],
                pad: window.pads_begin[axis],
                sliding: sliding[axis],
                covered: covered[axis],
            })
            .collect()
    }

    /// The covered element that sliding element 0 meets at a tap.
    fn offset(&self, tap: usize) -> isize {
        (tap * self.dilation) as isize - self.pad as isize
    }

    /// The sliding elements (first, and one past the last) that meet covered ones at a tap.
    fn range(&self, tap: usize) -> (usize, usize) {
        let offset = self.offset(tap);
        let first = if offset < 0 { offset.unsigned_abs().div_ceil(self.stride) } else { 0 };
        let room = self.covered as isize - offset;
        let last = if room > 0 { (room as usize).div_ceil(self.stride).min(self.sliding) } else { 0 };
        (first, last)
    }
}

/// A run along the last axis: `count` neighbouring sliding elements from `sliding` on, and the covered elements from
/// `covered` on, a stride apart.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub sliding: usize,
    pub covered: usize,
    pub count: usize,
}

/// Calls `each` for every tap, in row-major order, with its number and its runs over one plane of each side.
pub(crate) fn for_each_tap(axes: &[Axis], mut each: impl FnMut(usize, &[Run])) {
    let Some((last, outer)) = axes.split_last() else {
        return each(0, &[Run { sliding: 0, covered: 0, count: 1 }]);
    };
    let taps: Vec<usize> = axes.iter().map(|axis| axis.taps).collect();
    let mut runs = Vec::new();
    for (number, tap) in coordinates(&taps).enumerate() {
        runs.clear();
        let ranges: Vec<(usize, usize)> = axes.iter().zip(&tap).map(|(axis, &tap)| axis.range(tap)).collect();
        let rows: Vec<usize> = ranges.iter().map(|&(first, end)| end.saturating_sub(first)).collect();
        let (count, outer_rows) = (rows[outer.len()], &rows[..outer.len()]);
        if count > 0 {
            for row in coordinates(outer_rows) {
                let (mut sliding, mut covered) = (0, 0);
                for (index, axis) in outer.iter().enumerate() {
                    let at = ranges[index].0 + row[index];
                    sliding = sliding * axis.sliding + at;
                    // Not negative within the range.
                    covered = covered * axis.covered
                        + ((at * axis.stride) as isize + axis.offset(tap[index])) as usize;
                }
                let first = ranges[outer.len()].0;
                runs.push(Run {
                    sliding: sliding * last.sliding + first,
                    covered: covered * last.covered
                        + ((first * last.stride) as isize + last.offset(tap[outer.len()])) as usize,
                    count,
                });
            }
        }
        each(number, &runs);
    }
}
