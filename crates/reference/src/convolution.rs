//! Convolution, transposed too, of floats and of integers.

use calipers_ir::{Conv, ConvTranspose, DType, Layout, Tensor};

mod deformable;

use crate::Error;
use crate::accumulate::{Accumulate, add_scaled};
use crate::inputs::Inputs;
use crate::numbers::Numbers;
use crate::spatial::{Axis, Spatial, check_window, for_each_tap};

pub(crate) use deformable::{Deformable, deformable};

/// `y[n, o, p] = bias[o] + sum over channels c of its group and taps t of w[o, c, t] x[n, c, stride p + dilation t - pad]`.
pub(crate) fn evaluate(conv: &Conv, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let plan = Plan::forward(conv, inputs)?;
    let dtype = inputs.tensor(0)?.dtype();
    let numbers = match inputs.numbers(0)? {
        Numbers::F32(x) => Numbers::F32(plan.run(
            x,
            &inputs.floats(1)?,
            plan.bias(inputs, |inputs, index| inputs.floats(index))?.as_deref(),
        )),
        Numbers::F64(x) => Numbers::F64(plan.run(
            x,
            &inputs.doubles(1)?,
            plan.bias(inputs, |inputs, index| inputs.doubles(index))?.as_deref(),
        )),
        Numbers::I64(_) | Numbers::U64(_) | Numbers::Bool(_) => {
            return Err(inputs.unsupported_type(dtype, "floats; integers by ConvInteger"));
        }
    };
    Ok(vec![inputs.result(dtype, &plan.out.shape(plan.layout), numbers)?])
}

/// The adjoint of a convolution: input element `p` adds `w[c, o, t] x[n, c, p]` to output element
/// `stride p + dilation t - pad`.
pub(crate) fn transposed(conv: &ConvTranspose, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let plan = Plan::transposed(conv, inputs)?;
    let dtype = inputs.tensor(0)?.dtype();
    let numbers = match inputs.numbers(0)? {
        Numbers::F32(x) => Numbers::F32(plan.run(
            x,
            &inputs.floats(1)?,
            plan.bias(inputs, |inputs, index| inputs.floats(index))?.as_deref(),
        )),
        Numbers::F64(x) => Numbers::F64(plan.run(
            x,
            &inputs.doubles(1)?,
            plan.bias(inputs, |inputs, index| inputs.doubles(index))?.as_deref(),
        )),
        Numbers::I64(_) | Numbers::U64(_) | Numbers::Bool(_) => {
            return Err(inputs.unsupported_type(dtype, "floats"));
        }
    };
    Ok(vec![inputs.result(dtype, &plan.out.shape(plan.layout), numbers)?])
}

/// A convolution of `x - x_zero_point` with `w - w_zero_point` in i32. Padding stands for elements at the zero point.
pub(crate) fn integer(conv: &Conv, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let plan = Plan::forward(conv, inputs)?;
    let mut x = inputs.integers(0)?;
    let mut weight = inputs.integers(1)?;
    match inputs.optional_integers(2)?.as_deref() {
        None => {}
        Some(&[zero_point]) => x.iter_mut().for_each(|value| *value = value.wrapping_sub(zero_point)),
        Some(zero_points) => {
            return Err(inputs.argument("one zero point of the input", format!("{}", zero_points.len())));
        }
    }
    if let Some(zero_points) = inputs.optional_integers(3)? {
        let channels = plan.out.channels;
        if zero_points.len() != 1 && zero_points.len() != channels {
            let expected = format!("1 or {channels} zero points of the weight");
            return Err(inputs.argument(expected, format!("{}", zero_points.len())));
        }
        let filter = (weight.len() / channels.max(1)).max(1);
        for (values, channel) in weight.chunks_exact_mut(filter).zip(0..) {
            let zero_point = zero_points[channel % zero_points.len()];
            values.iter_mut().for_each(|value| *value = value.wrapping_sub(zero_point));
        }
    }
    let sums = Numbers::I64(plan.run(x, &weight, None));
    Ok(vec![inputs.result(DType::I32, &plan.out.shape(plan.layout), sums)?])
}

/// A convolution whose arguments fit together.
struct Plan {
    layout: Layout,
    groups: usize,
    transposed: bool,
    x: Spatial,
    out: Spatial,
    axes: Vec<Axis>,
    taps: usize,
}

impl Plan {
    fn forward(conv: &Conv, inputs: &Inputs<'_>) -> Result<Plan, Error> {
        let axes = conv.window.axes();
        check_window(inputs, &conv.window, axes)?;
        let x = Spatial::of(inputs, 0, conv.layout, Some(axes))?;
        let weight = Spatial::of(inputs, 1, Layout::Nchw, Some(axes))?;
        let groups = conv.groups;
        if groups == 0
            || weight.channels.checked_mul(groups) != Some(x.channels)
            || !weight.batch.is_multiple_of(groups)
        {
            return Err(inputs.argument(
                format!("channels of the weight in {groups} groups, {} input channels in all", x.channels),
                format!("weight of shape {:?}", inputs.tensor(1)?.shape()),
            ));
        }
        let extents: Option<Vec<usize>> = (0..axes)
            .map(|axis| conv.window.output_extent(axis, x.extents[axis], weight.extents[axis], false))
            .collect();
        let Some(extents) = extents else {
            return Err(inputs.argument(
                format!("a window of taps {:?} within the padded input", weight.extents),
                format!("extents {:?}, {:?}", x.extents, conv.window),
            ));
        };
        let out = Spatial { batch: x.batch, channels: weight.batch, extents };
        inputs.count(&out.shape(conv.layout))?;
        Ok(Plan {
            layout: conv.layout,
            groups,
            transposed: false,
            axes: pointwise_joined(Axis::all(&conv.window, &weight.extents, &out.extents, &x.extents)),
            taps: weight.plane(),
            x,
            out,
        })
    }

    fn transposed(conv: &ConvTranspose, inputs: &Inputs<'_>) -> Result<Plan, Error> {
        let axes = conv.window.axes();
        check_window(inputs, &conv.window, axes)?;
        let x = Spatial::of(inputs, 0, conv.layout, Some(axes))?;
        let weight = Spatial::of(inputs, 1, Layout::Nchw, Some(axes))?;
        let groups = conv.groups;
        if groups == 0 || weight.batch != x.channels || !x.channels.is_multiple_of(groups) {
            return Err(inputs.argument(
                format!("a weight for {} input channels in {groups} equal groups", x.channels),
                format!("weight of shape {:?}", inputs.tensor(1)?.shape()),
            ));
        }
        let extents: Option<Vec<usize>> = (0..axes)
            .map(|axis| {
                conv.output_padding.get(axis)?;
                conv.output_extent(axis, x.extents[axis], weight.extents[axis])
            })
            .collect();
        let channels = weight.channels.checked_mul(groups);
        let (Some(extents), Some(channels)) = (extents, channels) else {
            return Err(inputs.argument(
                format!("pads that leave something of each axis, {axes} output paddings"),
                format!("extents {:?}, {:?}", x.extents, conv.window),
            ));
        };
        let out = Spatial { batch: x.batch, channels, extents };
        inputs.count(&out.shape(conv.layout))?;
        Ok(Plan {
            layout: conv.layout,
            groups,
            transposed: true,
            axes: Axis::all(&conv.window, &weight.extents, &x.extents, &out.extents),
            taps: weight.plane(),
            x,
            out,
        })
    }

    /// The bias, one element for each output channel, if there is one.
    fn bias<T>(
        &self,
        inputs: &Inputs<'_>,
        read: impl Fn(&Inputs<'_>, usize) -> Result<Vec<T>, Error>,
    ) -> Result<Option<Vec<T>>, Error> {
        let Some(bias) = inputs.optional(2) else { return Ok(None) };
        if bias.shape() != [self.out.channels] {
            let expected = format!("a bias of shape [{}]", self.out.channels);
            return Err(inputs.argument(expected, format!("shape {:?}", bias.shape())));
        }
        read(inputs, 2).map(Some)
    }

    fn run<T: Accumulate>(&self, x: Vec<T>, weight: &[T], bias: Option<&[T]>) -> Vec<T> {
        let x = self.x.channels_first(self.layout, x);
        let (in_plane, out_plane) = (self.x.plane(), self.out.plane());
        let (channels_in, channels_out) = (self.x.channels, self.out.channels);
        let (group_in, group_out) = (channels_in / self.groups, channels_out / self.groups);
        let stride = self.axes.last().map_or(1, |axis| axis.stride);
        let mut out = vec![T::default(); self.out.batch * channels_out * out_plane];
        if in_plane == 0 || out_plane == 0 {
            return self.out.in_layout(self.layout, out);
        }
        if let Some(bias) = bias {
            for (plane, &bias) in out.chunks_exact_mut(out_plane).zip(bias.iter().cycle()) {
                plane.fill(bias);
            }
        }
        for_each_tap(&self.axes, |tap, runs| {
            for (number, out) in out.chunks_exact_mut(out_plane).enumerate() {
                let (sample, channel_out) = (number / channels_out, number % channels_out);
                let (group, within) = (channel_out / group_out, channel_out % group_out);
                for channel in 0..group_in {
                    let channel_in = group * group_in + channel;
                    let x = &x[(sample * channels_in + channel_in) * in_plane..][..in_plane];
                    let row = match self.transposed {
                        false => channel_out * group_in + channel,
                        true => channel_in * group_out + within,
                    };
                    let factor = weight[row * self.taps + tap];
                    for run in runs {
                        match (self.transposed, stride) {
                            (false, 1) => {
                                let out = &mut out[run.sliding..run.sliding + run.count];
                                add_scaled(out, factor, &x[run.covered..run.covered + run.count]);
                            }
                            (false, _) => {
                                let out = &mut out[run.sliding..run.sliding + run.count];
                                for (out, &x) in out.iter_mut().zip(x[run.covered..].iter().step_by(stride)) {
                                    *out = out.plus_product(factor, x);
                                }
                            }
                            (true, _) => {
                                let x = &x[run.sliding..run.sliding + run.count];
                                for (out, &x) in out[run.covered..].iter_mut().step_by(stride).zip(x) {
                                    *out = out.plus_product(factor, x);
                                }
                            }
                        }
                    }
                }
            }
        });
        self.out.in_layout(self.layout, out)
    }
}

/// The axes of a window of one tap that visits every element, as one long axis; others as they are.
fn pointwise_joined(axes: Vec<Axis>) -> Vec<Axis> {
    let plain =
        |axis: &Axis| axis.taps == 1 && axis.stride == 1 && axis.pad == 0 && axis.sliding == axis.covered;
    if axes.len() > 1 && axes.iter().all(plain) {
        let extent = axes.iter().map(|axis| axis.sliding).product();
        return vec![Axis { sliding: extent, covered: extent, ..axes[0] }];
    }
    axes
}
