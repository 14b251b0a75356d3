//! UNIDIRECTIONAL_SEQUENCE_LSTM with `i8` activations and weights and an `i16` cell state.

use super::accumulate::dot;
use super::binary::logarithm_of_power_of_two;
use super::element::{Unsupported, require, saturate};
use super::fixed::FixedMultiplier;
use super::gemmlowp::{divide_by_power, inverse_square_root, logistic, tanh};
use crate::quantize::Params;

/// Integer bits of what the gates' activations take.
const GATE_BITS: i32 = 3;

/// A gate, as the file has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gate<'a> {
    /// `[cells, inputs]`
    pub input_weights: &'a [i8],
    /// The scale of the weights of the input.
    pub input_scale: f32,
    /// `[cells, outputs]`
    pub recurrent_weights: &'a [i8],
    /// The scale of the weights of the last output.
    pub recurrent_scale: f32,
    /// `[cells]`, of scale `input scale * input weights' scale`; with layer normalization it is added after that and
    /// has scale `2^-10 * coefficients' scale`.
    pub bias: &'a [i32],
    /// `[cells]`, weights of the cell state and their scale.
    pub peephole: Option<(&'a [i16], f32)>,
    /// Layer normalization of the gate's sum.
    pub normalization: Option<Normalization<'a>>,
}

/// Layer normalization of a gate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalization<'a> {
    /// `[cells]`
    pub coefficients: &'a [i16],
    /// The scale of the coefficients.
    pub scale: f32,
    /// The scale of the sum that is normalized, of the gate's intermediate tensor.
    pub sum_scale: f32,
}

/// The projection of the hidden state to the output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Projection<'a> {
    /// `[outputs, cells]`
    pub weights: &'a [i8],
    /// The scale of the weights.
    pub scale: f32,
    /// `[outputs]`
    pub bias: Option<&'a [i32]>,
}

/// A layer, as the file has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer<'a> {
    /// Elements of an input.
    pub inputs: usize,
    /// Cells.
    pub cells: usize,
    /// Elements of an output; the cells without a projection.
    pub outputs: usize,
    /// The input's parameters.
    pub input: Params,
    /// The parameters of output and output state.
    pub output: Params,
    /// The parameters of the hidden state, of the fifth intermediate tensor.
    pub hidden: Params,
    /// The cell state's scale, a power of two from `2^-15` to `2^-9`.
    pub cell_scale: f32,
    /// The input gate; without it, it is one minus the forget gate.
    pub input_gate: Option<Gate<'a>>,
    /// The forget gate.
    pub forget_gate: Gate<'a>,
    /// The cell gate, which has no peephole.
    pub cell_gate: Gate<'a>,
    /// The output gate.
    pub output_gate: Gate<'a>,
    /// The projection.
    pub projection: Option<Projection<'a>>,
    /// The cell state's limit, 0 without.
    pub cell_clip: f32,
    /// The projection's limit, 0 without.
    pub projection_clip: f32,
}

/// A layer that can be run.
///
/// Per step: `i = logistic(gate)`, `f = logistic(gate)`, `g = tanh(gate)`, `c = f * c + i * g`, `o = logistic(gate)` which
/// sees the new c, `h = o * tanh(c)`; the output is h or its projection. Gates are sums of the products with input and
/// last output (each requantized to `2^-12`, or the normalization's scale, and saturated to 16 bits) and with the cell
/// state. Functions are gemmlowp's in 16 bits.
#[derive(Clone, Debug, PartialEq)]
pub struct Lstm<'a> {
    layer: Layer<'a>,
    input_gate: Option<PreparedGate<'a>>,
    forget_gate: PreparedGate<'a>,
    cell_gate: PreparedGate<'a>,
    output_gate: PreparedGate<'a>,
    cell_power: i32,
    hidden: FixedMultiplier,
    projection: FixedMultiplier,
    projection_bias: Vec<i32>,
    cell_clip: i16,
    projection_clip: i8,
}

#[derive(Clone, Debug, PartialEq)]
struct PreparedGate<'a> {
    gate: Gate<'a>,
    input: FixedMultiplier,
    recurrent: FixedMultiplier,
    peephole: FixedMultiplier,
    normalization: FixedMultiplier,
    variance_guard: i32,
    // Biases with the zero points' parts.
    input_bias: Vec<i32>,
    recurrent_bias: Vec<i32>,
}

impl<'a> Lstm<'a> {
    /// Prepares a layer.
    pub fn new(layer: Layer<'a>) -> Result<Lstm<'a>, Unsupported> {
        let power = logarithm_of_power_of_two(layer.cell_scale).filter(|power| (-15..=-9).contains(power));
        let range = "a power of two from 2^-15 to 2^-9";
        require(power.is_some(), "the cell state's scale", range, layer.cell_scale)?;
        let cell_power = power.unwrap_or_default();
        let has_peephole = layer.forget_gate.peephole.is_some();
        require(
            !has_peephole || layer.outputs <= layer.cells,
            "outputs of a layer with peepholes",
            "at most its cells",
            layer.outputs as f64,
        )?;
        let prepare = |gate: &Gate<'a>| PreparedGate::new(gate, &layer, cell_power);
        let half = 2f64.powi(-15);
        let hidden = (half / f64::from(layer.hidden.scale) * half) as f32;
        let (projection, projection_bias) = match &layer.projection {
            None => (FixedMultiplier::new(0.0)?, Vec::new()),
            Some(projection) => (
                FixedMultiplier::new(f64::from(projection.scale * layer.hidden.scale / layer.output.scale))?,
                bias_with_zero_point(
                    layer.hidden.zero_point,
                    projection.weights,
                    layer.outputs,
                    layer.cells,
                    projection.bias,
                ),
            ),
        };
        let clip =
            |limit: f32, scale: f32, max: f32| if limit > 0.0 { (limit / scale).min(max) } else { 0.0 };
        Ok(Lstm {
            input_gate: layer.input_gate.as_ref().map(prepare).transpose()?,
            forget_gate: prepare(&layer.forget_gate)?,
            cell_gate: prepare(&layer.cell_gate)?,
            output_gate: prepare(&layer.output_gate)?,
            cell_power,
            hidden: FixedMultiplier::new(f64::from(hidden))?,
            projection,
            projection_bias,
            cell_clip: clip(layer.cell_clip, layer.cell_scale, 32767.0) as i16,
            projection_clip: clip(layer.projection_clip, layer.output.scale, 127.0) as i8,
            layer,
        })
    }

    /// Runs a sequence: input `[steps, batch, inputs]` if `time_major`, `[batch, steps, inputs]` else; output likewise;
    /// states `[batch, outputs]` (at first the output's zero point) and `[batch, cells]` (at first 0), which are
    /// updated.
    pub fn run(
        &self,
        [batch, steps]: [usize; 2],
        time_major: bool,
        input: &[i8],
        output_state: &mut [i8],
        cell_state: &mut [i16],
        output: &mut [i8],
    ) {
        let (inputs, cells, outputs) = (self.layer.inputs, self.layer.cells, self.layer.outputs);
        assert_eq!(input.len(), batch * steps * inputs, "input length");
        assert_eq!(output.len(), batch * steps * outputs, "output length");
        assert_eq!(output_state.len(), batch * outputs, "length of the output state");
        assert_eq!(cell_state.len(), batch * cells, "length of the cell state");
        // Sequences are run one after the other, or all of them step by step.
        let (together, apart) = if time_major { (batch, 1) } else { (1, batch) };
        for sequence in 0..apart {
            let output_state = &mut output_state[sequence * together * outputs..][..together * outputs];
            let cell_state = &mut cell_state[sequence * together * cells..][..together * cells];
            for step in 0..steps {
                let index = (sequence * steps + step) * together;
                self.step(&input[index * inputs..][..together * inputs], output_state, cell_state);
                output[index * outputs..][..together * outputs].copy_from_slice(output_state);
            }
        }
    }

    fn step(&self, input: &[i8], output_state: &mut [i8], cell_state: &mut [i16]) {
        let shape = &self.layer;
        let gate = |gate: &PreparedGate<'a>, output_state: &[i8], cell_state: &[i16]| {
            gate.sum(shape, input, output_state, cell_state)
        };
        let sigmoid = |mut sums: Vec<i16>| {
            sums.iter_mut().for_each(|sum| *sum = logistic::<16>(i32::from(*sum), GATE_BITS) as i16);
            sums
        };
        let forget_gate = sigmoid(gate(&self.forget_gate, output_state, cell_state));
        let input_gate = match &self.input_gate {
            Some(prepared) => sigmoid(gate(prepared, output_state, cell_state)),
            None => forget_gate.iter().map(|forget| 32767 - *forget).collect(),
        };
        let cell_gate = gate(&self.cell_gate, output_state, cell_state);
        for (index, cell) in cell_state.iter_mut().enumerate() {
            let candidate = tanh::<16>(i32::from(cell_gate[index]), GATE_BITS);
            let kept = divide_by_power::<32>(i32::from(forget_gate[index]) * i32::from(*cell), 15) as i16;
            let added =
                divide_by_power::<32>(i32::from(input_gate[index]) * candidate, 30 + self.cell_power) as i16;
            *cell = kept.saturating_add(added);
            if self.cell_clip > 0 {
                *cell = (*cell).clamp(-self.cell_clip, self.cell_clip);
            }
        }
        let output_gate = sigmoid(gate(&self.output_gate, output_state, cell_state));
        let hidden = |zero_point: i32, index: usize, cell: i16| -> i8 {
            let squashed = tanh::<16>(i32::from(cell), 15 + self.cell_power);
            let product = i32::from(output_gate[index]) * squashed;
            saturate(self.hidden.apply(product).wrapping_add(zero_point))
        };
        let zero_point = shape.hidden.zero_point;
        let Some(projection) = &shape.projection else {
            for (index, (output, cell)) in output_state.iter_mut().zip(cell_state.iter()).enumerate() {
                *output = hidden(zero_point, index, *cell);
            }
            return;
        };
        let cells = cell_state.iter().enumerate();
        let hidden: Vec<i8> =
            cells.map(|(index, cell)| hidden(zero_point.wrapping_neg(), index, *cell)).collect();
        for (row, output) in
            hidden.chunks_exact(shape.cells).zip(output_state.chunks_exact_mut(shape.outputs))
        {
            for (index, output) in output.iter_mut().enumerate() {
                let weights = &projection.weights[index * shape.cells..][..shape.cells];
                let sum = dot(self.projection_bias[index], row, 0, weights, 0);
                *output = saturate(self.projection.apply(sum).wrapping_add(shape.output.zero_point));
                if self.projection_clip > 0 {
                    *output = (*output).clamp(-self.projection_clip, self.projection_clip);
                }
            }
        }
    }
}

impl<'a> PreparedGate<'a> {
    fn new(gate: &Gate<'a>, layer: &Layer<'a>, cell_power: i32) -> Result<PreparedGate<'a>, Unsupported> {
        let (inputs, cells, outputs) = (layer.inputs, layer.cells, layer.outputs);
        assert_eq!(gate.input_weights.len(), cells * inputs, "length of the input's weights");
        assert_eq!(gate.recurrent_weights.len(), cells * outputs, "length of the recurrent weights");
        let sum_scale = gate.normalization.map_or(2f32.powi(-12), |normalization| normalization.sum_scale);
        let peephole = gate.peephole.map_or(0.0, |(_, scale)| {
            (2f64.powi(cell_power) * f64::from(scale) / f64::from(sum_scale)) as f32
        });
        let normalization = gate.normalization.map_or(1.0, |normalization| normalization.scale);
        let bias = gate.normalization.is_none().then_some(gate.bias);
        Ok(PreparedGate {
            gate: *gate,
            input: FixedMultiplier::new(f64::from(gate.input_scale * layer.input.scale / sum_scale))?,
            recurrent: FixedMultiplier::new(f64::from(
                gate.recurrent_scale * layer.output.scale / sum_scale,
            ))?,
            peephole: FixedMultiplier::new(f64::from(peephole))?,
            normalization: FixedMultiplier::new(f64::from(normalization))?,
            variance_guard: ((10000.0 * normalization) as i32).max(1),
            input_bias: bias_with_zero_point(
                layer.input.zero_point.wrapping_neg(),
                gate.input_weights,
                cells,
                inputs,
                bias,
            ),
            recurrent_bias: bias_with_zero_point(
                layer.output.zero_point.wrapping_neg(),
                gate.recurrent_weights,
                cells,
                outputs,
                None,
            ),
        })
    }

    /// What the gate's activation takes, `[batch, cells]`.
    fn sum(&self, layer: &Layer<'_>, input: &[i8], output_state: &[i8], cell_state: &[i16]) -> Vec<i16> {
        let (inputs, cells, outputs) = (layer.inputs, layer.cells, layer.outputs);
        let mut sums = Vec::with_capacity(cell_state.len());
        for (x, h) in input.chunks_exact(inputs.max(1)).zip(output_state.chunks_exact(outputs.max(1))) {
            for cell in 0..cells {
                let weights = &self.gate.input_weights[cell * inputs..][..inputs];
                let from_input: i16 =
                    saturate(self.input.apply(dot(self.input_bias[cell], x, 0, weights, 0)));
                let weights = &self.gate.recurrent_weights[cell * outputs..][..outputs];
                let recurrent = self.recurrent.apply(dot(self.recurrent_bias[cell], h, 0, weights, 0));
                sums.push(saturate(recurrent.wrapping_add(i32::from(from_input))));
            }
        }
        if let Some((weights, _)) = self.gate.peephole {
            // The reference takes the number of outputs for the number of cells, which a projection makes fewer.
            let count = output_state.len();
            for (index, (sum, cell)) in sums.iter_mut().zip(cell_state).take(count).enumerate() {
                let product = i32::from(weights[index % outputs]) * i32::from(*cell);
                *sum = saturate(self.peephole.apply(product).wrapping_add(i32::from(*sum)));
            }
        }
        if let Some(normalization) = &self.gate.normalization {
            sums.chunks_exact_mut(cells.max(1)).for_each(|row| self.normalize(normalization, row));
        }
        sums
    }

    /// `(x - mean) / deviation * coefficients + bias`, with ten bits after the point in between.
    fn normalize(&self, normalization: &Normalization<'_>, row: &mut [i16]) {
        let count = row.len() as i64;
        let values = || row.iter().map(|value| i64::from(*value));
        let mean = (values().sum::<i64>() * 1024 / count) as i32;
        let squares: i64 = values().map(|value| value * value).sum();
        let variance = squares * ((1 << 20) / count) - i64::from(mean) * i64::from(mean);
        let variance = (variance / (1 << 20)) as i32;
        let variance = if variance < 1 { self.variance_guard } else { variance };
        let (mantissa, shift) = inverse_square_root(variance);
        let inverse_deviation = FixedMultiplier { mantissa, shift };
        let FixedMultiplier { mantissa, shift } = self.normalization;
        let scale = FixedMultiplier { mantissa, shift: shift + 12 };
        for ((value, coefficient), bias) in row.iter_mut().zip(normalization.coefficients).zip(self.gate.bias)
        {
            let normalized = inverse_deviation.apply(1024 * i32::from(*value) - mean);
            let weighted = normalized.wrapping_mul(i32::from(*coefficient)).wrapping_add(*bias);
            let weighted = i64::from(weighted);
            let rounded = if weighted > 0 { weighted + 512 } else { weighted - 512 } / 1024;
            *value = saturate(scale.apply(rounded as i32));
        }
    }
}

/// `bias + zero point * sum of the row's weights`
fn bias_with_zero_point(
    zero_point: i32,
    weights: &[i8],
    rows: usize,
    columns: usize,
    bias: Option<&[i32]>,
) -> Vec<i32> {
    (0..rows)
        .map(|row| {
            let sum: i32 = weights[row * columns..][..columns].iter().map(|weight| i32::from(*weight)).sum();
            bias.map_or(0, |bias| bias[row]).wrapping_add(sum.wrapping_mul(zero_point))
        })
        .collect()
}
