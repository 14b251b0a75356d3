//! Pooling over windows and over everything, of regions, and its inverse.

use calipers_ir::{DType, Layout, Pool, PoolKind, Tensor};

mod regions;
mod unpool;

use crate::Error;
use crate::inputs::Inputs;
use crate::numbers::Numbers;
use crate::spatial::{Axis, Run, Spatial, check_window, for_each_tap};

pub(crate) use regions::{RoiAlign, max_roi_pool, roi_align};
pub(crate) use unpool::max_unpool;

/// The largest element, the mean or the p-norm of each window; for the largest also its positions, counted over the
/// whole of `x`.
pub(crate) fn evaluate(pool: &Pool, inputs: &Inputs<'_>, outputs: usize) -> Result<Vec<Tensor>, Error> {
    let axes = pool.kernel.len();
    check_window(inputs, &pool.window, axes)?;
    let x = Spatial::of(inputs, 0, pool.layout, Some(axes))?;
    let extents: Option<Vec<usize>> = (0..axes)
        .map(|axis| pool.window.output_extent(axis, x.extents[axis], pool.kernel[axis], pool.ceil))
        .collect();
    let Some(extents) = extents else {
        return Err(inputs.argument(
            format!("a window of taps {:?} within the padded input", pool.kernel),
            format!("extents {:?}, {:?}", x.extents, pool.window),
        ));
    };
    let out = Spatial { extents, ..x.clone() };
    inputs.count(&out.shape(pool.layout))?;
    let windows = Windows {
        axes: Axis::all(&pool.window, &pool.kernel, &out.extents, &x.extents),
        pads_end: pool.window.pads_end.clone(),
        x,
        out,
        layout: pool.layout,
    };
    match pool.kind {
        PoolKind::Max => windows.largest(inputs, outputs, pool.column_major),
        PoolKind::Average { count_include_pad } => windows.means(inputs, count_include_pad),
        PoolKind::Lp { p } => windows.norms(inputs, p),
    }
}

/// [`evaluate`] with one window over all of each plane.
pub(crate) fn global(kind: PoolKind, layout: Layout, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let x = Spatial::of(inputs, 0, layout, None)?;
    let out = Spatial { extents: vec![1; x.extents.len()], ..x.clone() };
    let axis = |&taps: &usize| Axis { taps, stride: 1, dilation: 1, pad: 0, sliding: 1, covered: taps };
    let windows = Windows {
        axes: x.extents.iter().map(axis).collect(),
        pads_end: vec![0; x.extents.len()],
        x,
        out,
        layout,
    };
    match kind {
        PoolKind::Max => windows.largest(inputs, 1, false),
        PoolKind::Average { .. } => windows.means(inputs, false),
        PoolKind::Lp { p } => windows.norms(inputs, p),
    }
}

struct Windows {
    layout: Layout,
    x: Spatial,
    out: Spatial,
    axes: Vec<Axis>,
    pads_end: Vec<usize>,
}

impl Windows {
    fn largest(&self, inputs: &Inputs<'_>, outputs: usize, column_major: bool) -> Result<Vec<Tensor>, Error> {
        if outputs > 1 && self.layout == Layout::Nhwc {
            return Err(inputs.unsupported("positions with channels last", "channels first"));
        }
        let dtype = inputs.tensor(0)?.dtype();
        let lowest = dtype.integer_range().map_or(0, |(lowest, _)| lowest);
        let (numbers, positions) = match inputs.numbers(0)? {
            Numbers::F32(x) => {
                let (values, positions) = self.maxima(x, f32::NEG_INFINITY, outputs);
                (Numbers::F32(values), positions)
            }
            Numbers::F64(x) => {
                let (values, positions) = self.maxima(x, f64::NEG_INFINITY, outputs);
                (Numbers::F64(values), positions)
            }
            Numbers::I64(x) => {
                let (values, positions) = self.maxima(x, lowest, outputs);
                (Numbers::I64(values), positions)
            }
            Numbers::U64(x) => {
                let (values, positions) = self.maxima(x, 0, outputs);
                (Numbers::U64(values), positions)
            }
            Numbers::Bool(_) => return Err(inputs.unsupported_type(dtype, "numbers")),
        };
        let shape = self.out.shape(self.layout);
        let mut results = vec![inputs.result(dtype, &shape, numbers)?];
        if outputs > 1 {
            let place = |position: usize| if column_major { self.column_major(position) } else { position };
            let positions = positions.into_iter().map(|position| place(position) as i64).collect();
            results.push(inputs.result(DType::I64, &shape, Numbers::I64(positions))?);
        }
        Ok(results)
    }

    /// The largest elements, and with more than one output their positions; NaN is larger than everything.
    fn maxima<T: Copy + PartialOrd>(&self, x: Vec<T>, lowest: T, outputs: usize) -> (Vec<T>, Vec<usize>) {
        let x = self.x.channels_first(self.layout, x);
        let planes = self.x.batch * self.x.channels;
        let (in_plane, out_plane) = (self.x.plane(), self.out.plane());
        let larger = |value: T, best: T| value > best || value.partial_cmp(&value).is_none();
        let mut best = vec![lowest; planes * out_plane];
        let mut positions = vec![usize::MAX; if outputs > 1 { best.len() } else { 0 }];
        self.for_each_run(|plane, run, stride| {
            let values = x[plane * in_plane + run.covered..].iter().step_by(stride);
            let start = plane * out_plane + run.sliding;
            let best = best[start..start + run.count].iter_mut();
            if positions.is_empty() {
                for (best, &value) in best.zip(values) {
                    if larger(value, *best) {
                        *best = value;
                    }
                }
            } else {
                let positions = positions[start..start + run.count].iter_mut();
                let places = (plane * in_plane + run.covered..).step_by(stride);
                for (((best, &value), position), place) in best.zip(values).zip(positions).zip(places) {
                    if larger(value, *best) || *position == usize::MAX {
                        (*best, *position) = (value, place);
                    }
                }
            }
        });
        // A window that lies in the padding has no position.
        positions.iter_mut().filter(|position| **position == usize::MAX).for_each(|position| *position = 0);
        (self.out.in_layout(self.layout, best), positions)
    }

    /// A position over all planes, with the elements of its plane counted with the last axis outermost.
    fn column_major(&self, position: usize) -> usize {
        let plane = self.x.plane().max(1);
        let (mut rest, mut factor, mut within) = (position % plane, plane, 0);
        for &extent in self.x.extents.iter().rev() {
            factor /= extent;
            within += rest % extent * factor;
            rest /= extent;
        }
        position / plane * plane + within
    }

    fn means(&self, inputs: &Inputs<'_>, count_include_pad: bool) -> Result<Vec<Tensor>, Error> {
        let mut sums = self.sums(inputs, |value| value)?;
        let counts = self.counts(count_include_pad);
        for plane in sums.chunks_exact_mut(counts.len().max(1)) {
            for (sum, &count) in plane.iter_mut().zip(&counts) {
                *sum /= count.max(1) as f64;
            }
        }
        self.float_result(inputs, sums)
    }

    fn norms(&self, inputs: &Inputs<'_>, p: usize) -> Result<Vec<Tensor>, Error> {
        let exponent = p as f64;
        if p == 0 {
            return Err(inputs.argument("p of at least 1", "0"));
        }
        let mut sums =
            self.sums(inputs, |value| if p == 2 { value * value } else { libm::pow(value.abs(), exponent) })?;
        sums.iter_mut()
            .for_each(|sum| *sum = if p == 2 { sum.sqrt() } else { libm::pow(*sum, 1.0 / exponent) });
        self.float_result(inputs, sums)
    }

    fn float_result(&self, inputs: &Inputs<'_>, values: Vec<f64>) -> Result<Vec<Tensor>, Error> {
        let values = Numbers::F64(self.out.in_layout(self.layout, values));
        Ok(vec![inputs.result(inputs.tensor(0)?.dtype(), &self.out.shape(self.layout), values)?])
    }

    /// The sum of `of` each element in each window.
    fn sums(&self, inputs: &Inputs<'_>, of: impl Fn(f64) -> f64) -> Result<Vec<f64>, Error> {
        let x = match inputs.numbers(0)? {
            numbers @ (Numbers::F32(_) | Numbers::F64(_)) => numbers.into_f64(),
            Numbers::I64(_) | Numbers::U64(_) | Numbers::Bool(_) => {
                return Err(inputs.unsupported_type(inputs.tensor(0)?.dtype(), "floats"));
            }
        };
        let mut x = self.x.channels_first(self.layout, x);
        x.iter_mut().for_each(|value| *value = of(*value));
        let (in_plane, out_plane) = (self.x.plane(), self.out.plane());
        let mut sums = vec![0.0; self.x.batch * self.x.channels * out_plane];
        self.for_each_run(|plane, run, stride| {
            let start = plane * out_plane + run.sliding;
            let values = x[plane * in_plane + run.covered..].iter().step_by(stride);
            for (sum, value) in sums[start..start + run.count].iter_mut().zip(values) {
                *sum += value;
            }
        });
        Ok(sums)
    }

    /// Elements of each window of a plane, with the stated padding or without; what rounding up adds never counts.
    fn counts(&self, count_include_pad: bool) -> Vec<usize> {
        let mut counts = vec![1];
        for (axis, &pad_end) in self.axes.iter().zip(&self.pads_end) {
            let within = |position: isize| match count_include_pad {
                true => position < (axis.covered + pad_end) as isize,
                false => (0..axis.covered as isize).contains(&position),
            };
            let along = |at: usize| {
                let place =
                    |tap: usize| (at * axis.stride + tap * axis.dilation) as isize - axis.pad as isize;
                (0..axis.taps).filter(|&tap| within(place(tap))).count()
            };
            let along: Vec<usize> = (0..axis.sliding).map(along).collect();
            counts = counts.iter().flat_map(|count| along.iter().map(move |more| count * more)).collect();
        }
        counts
    }

    /// Calls `each` with the number of a plane, a run of it and the stride of covered elements, for all taps in order.
    fn for_each_run(&self, mut each: impl FnMut(usize, &Run, usize)) {
        let planes = self.x.batch * self.x.channels;
        let stride = self.axes.last().map_or(1, |axis| axis.stride);
        for_each_tap(&self.axes, |_, runs| {
            for plane in 0..planes {
                runs.iter().for_each(|run| each(plane, run, stride));
            }
        });
    }
}
