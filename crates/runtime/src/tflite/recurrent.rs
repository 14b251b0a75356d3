//! LSTM layers on integers, and on f32 with `i8` weights.

use calipers_ir::{Element, Recurrent, Tensor};
use calipers_kernels::quantize::Params;
use calipers_kernels::tflite::hybrid_lstm::{HybridGate, HybridLstm, HybridProjection};
use calipers_kernels::tflite::lstm::{Gate, Layer, Lstm, Normalization, Projection};

use super::call::Call;
use crate::error::Error;

const INPUT_WEIGHTS: usize = 1;
const RECURRENT_WEIGHTS: usize = 5;
const BIASES: usize = 12;
const PROJECTION: usize = 16;
const CELL_STATE: usize = 19;
const NORMALIZATION: usize = 20;
/// Where the weights of the cell state are, by gate.
const PEEPHOLES: [Option<usize>; 4] = [Some(9), Some(10), None, Some(11)];
/// Index of the intermediate tensor that is the hidden state before its projection.
const HIDDEN: usize = 4;

/// The extents of a call.
struct Extents {
    batch: usize,
    steps: usize,
    inputs: usize,
    cells: usize,
    outputs: usize,
}

impl Extents {
    fn of(call: &Call<'_>, time_major: bool) -> Result<Extents, Error> {
        let (&[first, second, inputs], &[cells, columns], &[rows, outputs]) =
            (call.shape(0)?, call.shape(INPUT_WEIGHTS + 1)?, call.shape(RECURRENT_WEIGHTS + 1)?)
        else {
            return call.refuse("data of another rank than 3 or weights of another rank than 2");
        };
        let [steps, batch] = if time_major { [first, second] } else { [second, first] };
        let extents = Extents { batch, steps, inputs, cells, outputs };
        let whole = [batch, steps, inputs, cells, outputs].iter().all(|&extent| extent > 0);
        let projected = call.has(PROJECTION) || outputs == cells;
        if !whole || !projected || columns != inputs || rows != cells {
            return call.refuse("weights of other shapes than [cells, inputs] and [cells, outputs]");
        }
        if call.unit.shape != [first, second, outputs] {
            return call.refuse(format!("a result of shape {:?}", call.unit.shape));
        }
        Ok(extents)
    }
}

/// What one gate reads; biases, peepholes and coefficients of normalization in their types.
struct Values<B, P, N> {
    input_weights: Vec<i8>,
    recurrent_weights: Vec<i8>,
    bias: Vec<B>,
    peephole: Option<Vec<P>>,
    coefficients: Option<Vec<N>>,
}

impl<B: Element, P: Element, N: Element> Values<B, P, N> {
    /// The gates input, forget, cell, output. The first may be absent.
    fn gates(call: &Call<'_>, extents: &Extents) -> Result<(Option<Self>, [Self; 3]), Error> {
        let input = match call.has(INPUT_WEIGHTS) {
            true => Some(Values::gate(call, extents, 0)?),
            false => None,
        };
        let others = [
            Values::gate(call, extents, 1)?,
            Values::gate(call, extents, 2)?,
            Values::gate(call, extents, 3)?,
        ];
        Ok((input, others))
    }

    fn gate(call: &Call<'_>, extents: &Extents, gate: usize) -> Result<Self, Error> {
        let &Extents { inputs, cells, outputs, .. } = extents;
        Ok(Values {
            input_weights: narrow(call, INPUT_WEIGHTS + gate, cells.saturating_mul(inputs))?,
            recurrent_weights: narrow(call, RECURRENT_WEIGHTS + gate, cells.saturating_mul(outputs))?,
            bias: sized(call, BIASES + gate, cells)?,
            peephole: match PEEPHOLES[gate] {
                Some(index) => optional(call, index, cells)?,
                None => None,
            },
            coefficients: optional(call, NORMALIZATION + gate, cells)?,
        })
    }
}

fn checked<T>(call: &Call<'_>, index: usize, expected: usize, elements: Vec<T>) -> Result<Vec<T>, Error> {
    if elements.len() == expected {
        return Ok(elements);
    }
    call.refuse(format!("{} elements of input {index} instead of {expected}", elements.len()))
}

fn sized<T: Element>(call: &Call<'_>, index: usize, expected: usize) -> Result<Vec<T>, Error> {
    checked(call, index, expected, call.elements(index)?)
}

fn narrow(call: &Call<'_>, index: usize, expected: usize) -> Result<Vec<i8>, Error> {
    checked(call, index, expected, call.narrow(index)?)
}

fn optional<T: Element>(call: &Call<'_>, index: usize, expected: usize) -> Result<Option<Vec<T>>, Error> {
    if call.has(index) { sized(call, index, expected).map(Some) } else { Ok(None) }
}

fn parameters(call: &Call<'_>, scale: Option<f32>, zero_point: Option<i64>) -> Result<Params, Error> {
    match (scale, zero_point.map(i32::try_from)) {
        (Some(scale), Some(Ok(zero_point))) if scale.is_finite() && scale > 0.0 => {
            Ok(Params { scale, zero_point })
        }
        found => call.refuse(format!("scale and zero point {found:?} of a tensor")),
    }
}

pub(super) fn run(call: &Call<'_>, layer: &Recurrent) -> Result<Tensor, Error> {
    let Recurrent::TfliteLstm {
        cell_clip,
        projection_clip,
        time_major,
        asymmetric_quantize_inputs,
        input_scales,
        input_zero_points,
        intermediate_scales,
        intermediate_zero_points,
        output_scale,
        output_zero_point,
    } = layer
    else {
        return call.refuse("another layer than an LSTM");
    };
    let extents = Extents::of(call, *time_major)?;
    let &Extents { batch, steps, inputs, cells, outputs } = &extents;
    let scale = |index: usize| input_scales.get(index).copied().unwrap_or_default();
    let projection = match call.has(PROJECTION) {
        true => Some(narrow(call, PROJECTION, outputs.saturating_mul(cells))?),
        false => None,
    };
    if call.dtype(0) == calipers_ir::DType::F32 {
        let (input_gate, gates) = Values::<f32, i8, f32>::gates(call, &extents)?;
        let gate = |index: usize, values| hybrid_gate(values, index, &scale);
        let bias = optional(call, PROJECTION + 1, outputs)?;
        let lstm = HybridLstm {
            inputs,
            cells,
            outputs,
            asymmetric: *asymmetric_quantize_inputs,
            input_gate: input_gate.as_ref().map(|values| gate(0, values)),
            forget_gate: gate(1, &gates[0]),
            cell_gate: gate(2, &gates[1]),
            output_gate: gate(3, &gates[2]),
            projection: projection.as_ref().map(|weights| HybridProjection {
                weights,
                scale: scale(PROJECTION),
                bias: bias.as_deref(),
            }),
            cell_clip: *cell_clip,
            projection_clip: *projection_clip,
        };
        let x = call.elements::<f32>(0)?;
        let (mut output_state, mut cell_state) = (vec![0.0; batch * outputs], vec![0.0; batch * cells]);
        return call.fill::<f32>(|y| {
            lstm.run([batch, steps], *time_major, &x, &mut output_state, &mut cell_state, y);
            Ok(())
        });
    }
    let (input_gate, gates) = Values::<i32, i16, i16>::gates(call, &extents)?;
    let inner = |index: usize| intermediate_scales.get(index).copied().unwrap_or_default();
    let gate = |index: usize, values| integer_gate(values, index, &scale, inner(index));
    let output = parameters(call, Some(*output_scale), Some(*output_zero_point))?;
    let hidden = match intermediate_scales.get(HIDDEN) {
        None => output,
        scale => parameters(call, scale.copied(), intermediate_zero_points.get(HIDDEN).copied())?,
    };
    let bias = optional(call, PROJECTION + 1, outputs)?;
    let lstm = call.accept(Lstm::new(Layer {
        inputs,
        cells,
        outputs,
        input: parameters(call, Some(scale(0)), input_zero_points.first().copied())?,
        output,
        hidden,
        cell_scale: scale(CELL_STATE),
        input_gate: input_gate.as_ref().map(|values| gate(0, values)),
        forget_gate: gate(1, &gates[0]),
        cell_gate: gate(2, &gates[1]),
        output_gate: gate(3, &gates[2]),
        projection: projection.as_ref().map(|weights| Projection {
            weights,
            scale: scale(PROJECTION),
            bias: bias.as_deref(),
        }),
        cell_clip: *cell_clip,
        projection_clip: *projection_clip,
    }))?;
    let x = call.elements::<i8>(0)?;
    let first = output.zero_point.clamp(-128, 127) as i8;
    let (mut output_state, mut cell_state) = (vec![first; batch * outputs], vec![0; batch * cells]);
    call.fill::<i8>(|y| {
        lstm.run([batch, steps], *time_major, &x, &mut output_state, &mut cell_state, y);
        Ok(())
    })
}

fn peephole<'a, P>(
    values: &'a Option<Vec<P>>,
    gate: usize,
    scale: &impl Fn(usize) -> f32,
) -> Option<(&'a [P], f32)> {
    Some((values.as_deref()?, scale(PEEPHOLES[gate]?)))
}

fn hybrid_gate<'a>(
    values: &'a Values<f32, i8, f32>,
    gate: usize,
    scale: &impl Fn(usize) -> f32,
) -> HybridGate<'a> {
    HybridGate {
        input_weights: &values.input_weights,
        input_scale: scale(INPUT_WEIGHTS + gate),
        recurrent_weights: &values.recurrent_weights,
        recurrent_scale: scale(RECURRENT_WEIGHTS + gate),
        bias: &values.bias,
        peephole: peephole(&values.peephole, gate, scale),
        normalization: values.coefficients.as_deref(),
    }
}

fn integer_gate<'a>(
    values: &'a Values<i32, i16, i16>,
    gate: usize,
    scale: &impl Fn(usize) -> f32,
    sum_scale: f32,
) -> Gate<'a> {
    Gate {
        input_weights: &values.input_weights,
        input_scale: scale(INPUT_WEIGHTS + gate),
        recurrent_weights: &values.recurrent_weights,
        recurrent_scale: scale(RECURRENT_WEIGHTS + gate),
        bias: &values.bias,
        peephole: peephole(&values.peephole, gate, scale),
        normalization: values.coefficients.as_deref().map(|coefficients| Normalization {
            coefficients,
            scale: scale(NORMALIZATION + gate),
            sum_scale,
        }),
    }
}
