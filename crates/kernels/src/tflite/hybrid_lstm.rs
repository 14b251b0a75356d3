//! UNIDIRECTIONAL_SEQUENCE_LSTM with f32 activations that are quantized on the fly and `i8` weights.

use super::hybrid::QuantizedRows;

/// A gate, as the file has it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HybridGate<'a> {
    /// `[cells, inputs]`
    pub input_weights: &'a [i8],
    /// The scale of the weights of the input.
    pub input_scale: f32,
    /// `[cells, outputs]`
    pub recurrent_weights: &'a [i8],
    /// The scale of the weights of the last output.
    pub recurrent_scale: f32,
    /// `[cells]`; with layer normalization it is added after that.
    pub bias: &'a [f32],
    /// `[cells]`, weights of the cell state and their scale.
    pub peephole: Option<(&'a [i8], f32)>,
    /// `[cells]`, coefficients of layer normalization.
    pub normalization: Option<&'a [f32]>,
}

/// The projection of the hidden state to the output.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HybridProjection<'a> {
    /// `[outputs, cells]`
    pub weights: &'a [i8],
    /// The scale of the weights.
    pub scale: f32,
    /// `[outputs]`
    pub bias: Option<&'a [f32]>,
}

/// A layer.
///
/// Per step: `i = logistic(gate)`, `f = logistic(gate)`, `g = tanh(gate)`, `c = f * c + i * g`, `o = logistic(gate)` which
/// sees the new c, `h = o * tanh(c)`; the output is h or its projection. A gate is `bias + sum of q * w * (row scale *
/// weight scale)` of the quantized input, the same of the quantized last output, and the weighted cell state.
///
/// Integer parts equal LiteRT's; functions and normalization differ in last bits, where LiteRT has approximations.
#[derive(Clone, Debug, PartialEq)]
pub struct HybridLstm<'a> {
    /// Elements of an input.
    pub inputs: usize,
    /// Cells.
    pub cells: usize,
    /// Elements of an output; the cells without a projection.
    pub outputs: usize,
    /// Whether rows are quantized asymmetrically.
    pub asymmetric: bool,
    /// The input gate; without it, it is one minus the forget gate.
    pub input_gate: Option<HybridGate<'a>>,
    /// The forget gate.
    pub forget_gate: HybridGate<'a>,
    /// The cell gate, which has no peephole.
    pub cell_gate: HybridGate<'a>,
    /// The output gate.
    pub output_gate: HybridGate<'a>,
    /// The projection.
    pub projection: Option<HybridProjection<'a>>,
    /// The cell state's limit, 0 without.
    pub cell_clip: f32,
    /// The projection's limit, 0 without.
    pub projection_clip: f32,
}

impl HybridLstm<'_> {
    /// Runs a sequence: input `[steps, batch, inputs]` if `time_major`, `[batch, steps, inputs]` else; output likewise;
    /// states `[batch, outputs]` and `[batch, cells]`, which are updated.
    pub fn run(
        &self,
        [batch, steps]: [usize; 2],
        time_major: bool,
        input: &[f32],
        output_state: &mut [f32],
        cell_state: &mut [f32],
        output: &mut [f32],
    ) {
        let (inputs, cells, outputs) = (self.inputs, self.cells, self.outputs);
        assert_eq!(input.len(), batch * steps * inputs, "input length");
        assert_eq!(output.len(), batch * steps * outputs, "output length");
        assert_eq!(output_state.len(), batch * outputs, "length of the output state");
        assert_eq!(cell_state.len(), batch * cells, "length of the cell state");
        for sequence in 0..batch {
            let output_state = &mut output_state[sequence * outputs..][..outputs];
            let cell_state = &mut cell_state[sequence * cells..][..cells];
            for step in 0..steps {
                let index = if time_major { step * batch + sequence } else { sequence * steps + step };
                self.step(&input[index * inputs..][..inputs], output_state, cell_state);
                output[index * outputs..][..outputs].copy_from_slice(output_state);
            }
        }
    }

    fn step(&self, input: &[f32], output_state: &mut [f32], cell_state: &mut [f32]) {
        let input = QuantizedRows::new(self.inputs, input, self.asymmetric);
        let recurrent = QuantizedRows::new(self.outputs, output_state, self.asymmetric);
        let logistic_gate = |gate: &HybridGate<'_>, cell_state: &[f32]| -> Vec<f32> {
            self.gate(gate, &input, &recurrent, cell_state).into_iter().map(logistic).collect()
        };
        let forget_gate = logistic_gate(&self.forget_gate, cell_state);
        let input_gate = match &self.input_gate {
            Some(gate) => logistic_gate(gate, cell_state),
            None => forget_gate.iter().map(|forget| 1.0 - forget).collect(),
        };
        let cell_gate = self.gate(&self.cell_gate, &input, &recurrent, cell_state);
        for (index, cell) in cell_state.iter_mut().enumerate() {
            *cell = forget_gate[index] * *cell + tanh(cell_gate[index]) * input_gate[index];
            if self.cell_clip > 0.0 {
                *cell = cell.clamp(-self.cell_clip, self.cell_clip);
            }
        }
        let output_gate = logistic_gate(&self.output_gate, cell_state);
        let hidden: Vec<f32> =
            cell_state.iter().zip(&output_gate).map(|(cell, gate)| gate * tanh(*cell)).collect();
        let Some(projection) = &self.projection else {
            output_state.copy_from_slice(&hidden);
            return;
        };
        let hidden = QuantizedRows::new(self.cells, &hidden, self.asymmetric);
        for (index, output) in output_state.iter_mut().enumerate() {
            let bias = projection.bias.map_or(0.0, |bias| bias[index]);
            *output = bias + product(&hidden, projection.weights, projection.scale, index);
            if self.projection_clip > 0.0 {
                *output = output.clamp(-self.projection_clip, self.projection_clip);
            }
        }
    }

    /// What the gate's function takes.
    fn gate(
        &self,
        gate: &HybridGate<'_>,
        input: &QuantizedRows,
        recurrent: &QuantizedRows,
        cell_state: &[f32],
    ) -> Vec<f32> {
        let mut sums: Vec<f32> = (0..self.cells)
            .map(|cell| {
                let bias = if gate.normalization.is_some() { 0.0 } else { gate.bias[cell] };
                let mut sum = bias + product(input, gate.input_weights, gate.input_scale, cell);
                sum += product(recurrent, gate.recurrent_weights, gate.recurrent_scale, cell);
                if let Some((weights, scale)) = gate.peephole {
                    sum += scale * f32::from(weights[cell]) * cell_state[cell];
                }
                sum
            })
            .collect();
        if let Some(coefficients) = gate.normalization {
            let count = self.cells as f32;
            let mean = sums.iter().sum::<f32>() / count;
            let variance = sums.iter().map(|sum| (sum - mean) * (sum - mean)).sum::<f32>() / count;
            let inverse = 1.0 / (variance + 1e-8).sqrt();
            for ((sum, coefficient), bias) in sums.iter_mut().zip(coefficients).zip(gate.bias) {
                *sum = (*sum - mean) * inverse * coefficient + bias;
            }
        }
        sums
    }
}

/// The product of a quantized row with a row of the weights.
fn product(row: &QuantizedRows, weights: &[i8], weight_scale: f32, index: usize) -> f32 {
    let depth = row.values.len();
    let zero_point = row.zero_points[0];
    let sum =
        row.values.iter().zip(&weights[index * depth..][..depth]).fold(0i32, |sum, (x, w)| {
            sum.wrapping_add((i32::from(*x) - zero_point).wrapping_mul(i32::from(*w)))
        });
    sum as f32 * (weight_scale * row.scales[0])
}

fn logistic(x: f32) -> f32 {
    1.0 / (1.0 + libm::exp(f64::from(-x)) as f32)
}

fn tanh(x: f32) -> f32 {
    libm::tanh(f64::from(x)) as f32
}
