//! TFLite's UNIDIRECTIONAL_SEQUENCE_LSTM on floats, in f64.
//!
//! Inputs in the format's order: data; weights of the input and of the last output, each of the gates input, forget,
//! cell, output; peephole weights of the gates input, forget, output; biases of the four gates; weights and bias of the
//! projection; the states of output and cell; coefficients of layer normalization of the four gates.

use calipers_ir::{DType, Tensor};

use crate::Error;
use crate::inputs::Inputs;
use crate::numbers::Numbers;

const INPUT_WEIGHTS: usize = 1;
const RECURRENT_WEIGHTS: usize = 5;
const PEEPHOLES: usize = 9;
const BIASES: usize = 12;
const PROJECTION: usize = 16;
const STATES: [usize; 2] = [18, 19];
const COEFFICIENTS: usize = 20;

/// Added to the variance in layer normalization.
const EPSILON: f64 = 1e-8;

/// What is stated beside the inputs.
pub(super) struct Limits {
    pub cell: f32,
    pub projection: f32,
    pub time_major: bool,
}

struct Gate {
    input: Vec<f64>,
    recurrent: Vec<f64>,
    peephole: Option<Vec<f64>>,
    bias: Option<Vec<f64>>,
    coefficients: Option<Vec<f64>>,
}

struct Extents {
    inputs: usize,
    cells: usize,
    outputs: usize,
}

/// The outputs of all steps. Per step `i, f, o = sigmoid(gate)`, `g = tanh(gate)`, `c = f c + i g` limited to
/// `+-cell`, `h = o tanh(c)`, which the projection makes the output, limited to `+-projection`. Without an input
/// gate `i = 1 - f`. A gate is `w x + r h + p c + b`; with layer normalization that is normalized before the bias is
/// added. States that are absent begin at zero.
pub(super) fn evaluate(limits: &Limits, inputs: &Inputs<'_>) -> Result<Vec<Tensor>, Error> {
    let float = |index: usize| inputs.optional(index).is_none_or(|tensor| tensor.dtype() == DType::F32);
    if !(0..inputs.len()).all(float) {
        return Err(inputs.unsupported(
            "a layer on integer tensors, which the runtime's kernels define",
            "RNN, GRU and LSTM, and this layer on floats",
        ));
    }
    let shape = |index: usize| inputs.tensor(index).map(|tensor| tensor.shape().to_vec());
    let (data, forget, recurrent) = (shape(0)?, shape(INPUT_WEIGHTS + 1)?, shape(RECURRENT_WEIGHTS + 1)?);
    let (&[first, second, found], &[cells, width], &[rows, outputs]) =
        (&data[..], &forget[..], &recurrent[..])
    else {
        return Err(inputs.argument("data of rank 3 and weights of rank 2", format!("{data:?}, {forget:?}")));
    };
    if found != width || rows != cells {
        return Err(
            inputs.argument("weights that fit the data", format!("{data:?}, {forget:?}, {recurrent:?}"))
        );
    }
    let extents = Extents { inputs: width, cells, outputs };
    let (time, batch) = if limits.time_major { (first, second) } else { (second, first) };
    let count = inputs.count(&[first, second, outputs])?;
    let x = inputs.doubles(0)?;
    let gates = [0, 1, 2, 3].map(|gate| read_gate(inputs, &extents, gate));
    let [input, forget, cell, output] = gates;
    let (input, forget, cell, output) = (input?, forget?, cell?, output?);
    let (Some(forget), Some(cell), Some(output)) = (forget, cell, output) else {
        return Err(inputs.argument("weights of the gates forget, cell and output", "none"));
    };
    let projection = sized(inputs, PROJECTION, outputs.saturating_mul(cells))?;
    let projection_bias = sized(inputs, PROJECTION + 1, outputs)?;
    if projection.is_none() && outputs != cells {
        return Err(inputs.argument(format!("a projection of {cells} to {outputs}"), "none"));
    }
    let state = |index: usize, extent: usize| -> Result<Vec<f64>, Error> {
        let count = inputs.count(&[batch, extent])?;
        Ok(sized(inputs, index, count)?.unwrap_or_else(|| vec![0.0; count]))
    };
    let (mut hidden, mut memory) = (state(STATES[0], outputs)?, state(STATES[1], cells)?);
    let mut y = vec![0.0; count];
    for step in 0..time {
        for sample in 0..batch {
            let row = if limits.time_major { step * batch + sample } else { sample * time + step };
            let x = &x[row * width..][..width];
            let h = &mut hidden[sample * outputs..][..outputs];
            let c = &mut memory[sample * cells..][..cells];
            let f = gate(&forget, &extents, x, h, c, sigmoid);
            let i = match &input {
                Some(input) => gate(input, &extents, x, h, c, sigmoid),
                None => f.iter().map(|f| 1.0 - f).collect(),
            };
            let g = gate(&cell, &extents, x, h, c, f64::tanh);
            for (index, c) in c.iter_mut().enumerate() {
                *c = limited(f[index] * *c + i[index] * g[index], limits.cell);
            }
            let o = gate(&output, &extents, x, h, c, sigmoid);
            let inner: Vec<f64> = o.iter().zip(&*c).map(|(o, c)| o * c.tanh()).collect();
            for (index, h) in h.iter_mut().enumerate() {
                *h = match &projection {
                    None => inner[index],
                    Some(weights) => {
                        let bias = projection_bias.as_ref().map_or(0.0, |bias| bias[index]);
                        limited(bias + dot(&weights[index * cells..][..cells], &inner), limits.projection)
                    }
                };
            }
            y[row * outputs..][..outputs].copy_from_slice(h);
        }
    }
    Ok(vec![inputs.result(DType::F32, &[first, second, outputs], Numbers::F64(y))?])
}

/// The parts of a gate; `None` for one without weights of the input.
fn read_gate(inputs: &Inputs<'_>, extents: &Extents, gate: usize) -> Result<Option<Gate>, Error> {
    let &Extents { inputs: width, cells, outputs } = extents;
    let Some(input) = sized(inputs, INPUT_WEIGHTS + gate, cells.saturating_mul(width))? else {
        return Ok(None);
    };
    let Some(recurrent) = sized(inputs, RECURRENT_WEIGHTS + gate, cells.saturating_mul(outputs))? else {
        return Err(inputs.argument(format!("an input {}", RECURRENT_WEIGHTS + gate), "none"));
    };
    let peephole = match gate {
        0 | 1 => sized(inputs, PEEPHOLES + gate, cells)?,
        3 => sized(inputs, PEEPHOLES + 2, cells)?,
        _ => None,
    };
    let bias = sized(inputs, BIASES + gate, cells)?;
    let coefficients = sized(inputs, COEFFICIENTS + gate, cells)?;
    Ok(Some(Gate { input, recurrent, peephole, bias, coefficients }))
}

/// The elements of an input that may be absent, as many as expected.
fn sized(inputs: &Inputs<'_>, index: usize, expected: usize) -> Result<Option<Vec<f64>>, Error> {
    match inputs.optional(index) {
        None => Ok(None),
        Some(tensor) if tensor.len() == expected => inputs.doubles(index).map(Some),
        Some(tensor) => Err(inputs.argument(
            format!("{expected} elements in input {index}"),
            format!("shape {:?}", tensor.shape()),
        )),
    }
}

fn gate(
    gate: &Gate,
    extents: &Extents,
    x: &[f64],
    h: &[f64],
    c: &[f64],
    function: fn(f64) -> f64,
) -> Vec<f64> {
    let &Extents { inputs, cells, outputs } = extents;
    let mut sums: Vec<f64> = (0..cells)
        .map(|cell| {
            let seen = gate.peephole.as_ref().map_or(0.0, |peephole| peephole[cell] * c[cell]);
            let recurrent = dot(&gate.recurrent[cell * outputs..][..outputs], h);
            dot(&gate.input[cell * inputs..][..inputs], x) + recurrent + seen
        })
        .collect();
    if let Some(coefficients) = &gate.coefficients {
        let count = cells as f64;
        let mean = sums.iter().sum::<f64>() / count;
        let variance = sums.iter().map(|sum| (sum - mean) * (sum - mean)).sum::<f64>() / count;
        let factor = 1.0 / (variance + EPSILON).sqrt();
        for (sum, coefficient) in sums.iter_mut().zip(coefficients) {
            *sum = (*sum - mean) * factor * coefficient;
        }
    }
    let bias = |cell: usize| gate.bias.as_ref().map_or(0.0, |bias| bias[cell]);
    sums.iter().enumerate().map(|(cell, sum)| function(sum + bias(cell))).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// Within the limit; 0 stands for none.
fn limited(x: f64, limit: f32) -> f64 {
    if limit > 0.0 { x.clamp(-f64::from(limit), f64::from(limit)) } else { x }
}
