//! Recurrent layers, in f64: directions, layouts and lengths here, the cells in modules of their own.

use calipers_ir::{Recurrent, Tensor};

mod activations;
mod cells;
mod tflite;

use crate::Error;
use crate::inputs::Inputs;
use crate::numbers::Numbers;
use activations::Activations;
use cells::{Cell, Kind};

/// The attributes that all recurrent layers share.
struct Attributes<'a> {
    alpha: &'a [f32],
    beta: &'a [f32],
    activations: &'a [String],
    clip: Option<f32>,
    direction: &'a str,
    hidden_size: Option<i64>,
    layout: i64,
}

/// `y`, and where asked for the last `y_h` and, of an LSTM, `y_c`.
pub(crate) fn evaluate(
    recurrent: &Recurrent,
    inputs: &Inputs<'_>,
    outputs: usize,
) -> Result<Vec<Tensor>, Error> {
    let (kind, attributes) = match recurrent {
        Recurrent::Rnn {
            activation_alpha,
            activation_beta,
            activations,
            clip,
            direction,
            hidden_size,
            layout,
        } => (
            Kind::Rnn,
            Attributes {
                alpha: activation_alpha,
                beta: activation_beta,
                activations,
                clip: *clip,
                direction,
                hidden_size: *hidden_size,
                layout: *layout,
            },
        ),
        Recurrent::Gru {
            activation_alpha,
            activation_beta,
            activations,
            clip,
            direction,
            hidden_size,
            layout,
            linear_before_reset,
        } => (
            Kind::Gru { linear_before_reset: *linear_before_reset },
            Attributes {
                alpha: activation_alpha,
                beta: activation_beta,
                activations,
                clip: *clip,
                direction,
                hidden_size: *hidden_size,
                layout: *layout,
            },
        ),
        Recurrent::Lstm {
            activation_alpha,
            activation_beta,
            activations,
            clip,
            direction,
            hidden_size,
            input_forget,
            layout,
        } => (
            Kind::Lstm { input_forget: *input_forget },
            Attributes {
                alpha: activation_alpha,
                beta: activation_beta,
                activations,
                clip: *clip,
                direction,
                hidden_size: *hidden_size,
                layout: *layout,
            },
        ),
        Recurrent::TfliteLstm { cell_clip, projection_clip, time_major, .. } => {
            let limits =
                tflite::Limits { cell: *cell_clip, projection: *projection_clip, time_major: *time_major };
            return tflite::evaluate(&limits, inputs);
        }
    };
    run(kind, &attributes, inputs, outputs)
}

/// The extents of a layer.
struct Extents {
    time: usize,
    batch: usize,
    input: usize,
    hidden: usize,
    directions: usize,
    batch_first: bool,
}

impl Extents {
    fn of(kind: Kind, attributes: &Attributes<'_>, inputs: &Inputs<'_>) -> Result<Extents, Error> {
        let directions = match attributes.direction {
            "forward" | "reverse" => 1,
            "bidirectional" => 2,
            other => {
                return Err(
                    inputs.unsupported(format!("direction {other}"), "forward, reverse, bidirectional")
                );
            }
        };
        let batch_first = match attributes.layout {
            0 => false,
            1 => true,
            other => return Err(inputs.unsupported(format!("layout {other}"), "0, 1")),
        };
        let shapes = (inputs.tensor(0)?.shape(), inputs.tensor(1)?.shape(), inputs.tensor(2)?.shape());
        let gates = kind.gates();
        let (&[first, second, input], &[found, rows, columns], &[also, more_rows, hidden]) = shapes else {
            return Err(inputs.argument("inputs 0 to 2 of rank 3", format!("{shapes:?}")));
        };
        let fits = found == directions
            && also == directions
            && columns == input
            && hidden.checked_mul(gates).is_some_and(|expected| rows == expected && more_rows == expected);
        if !fits || attributes.hidden_size.is_some_and(|size| usize::try_from(size) != Ok(hidden)) {
            return Err(inputs.argument(
                format!("weights [{directions}, {gates} hidden, {input}] and [{directions}, {gates} hidden, hidden]"),
                format!("{shapes:?}, hidden_size {:?}", attributes.hidden_size),
            ));
        }
        let (time, batch) = if batch_first { (second, first) } else { (first, second) };
        Ok(Extents { time, batch, input, hidden, directions, batch_first })
    }

    /// Where the row of a step of a sample starts in `x`.
    fn x_row(&self, step: usize, sample: usize) -> usize {
        let row = if self.batch_first { sample * self.time + step } else { step * self.batch + sample };
        row * self.input
    }

    /// Where the row of a step of a sample starts in `y`.
    fn y_row(&self, step: usize, direction: usize, sample: usize) -> usize {
        let row = match self.batch_first {
            true => (sample * self.time + step) * self.directions + direction,
            false => (step * self.directions + direction) * self.batch + sample,
        };
        row * self.hidden
    }

    fn y_shape(&self) -> [usize; 4] {
        match self.batch_first {
            true => [self.batch, self.time, self.directions, self.hidden],
            false => [self.time, self.directions, self.batch, self.hidden],
        }
    }

    /// Where the state of a sample starts in an initial or a last state.
    fn state_row(&self, direction: usize, sample: usize) -> usize {
        let row = match self.batch_first {
            true => sample * self.directions + direction,
            false => direction * self.batch + sample,
        };
        row * self.hidden
    }

    fn state_shape(&self) -> [usize; 3] {
        match self.batch_first {
            true => [self.batch, self.directions, self.hidden],
            false => [self.directions, self.batch, self.hidden],
        }
    }
}

fn run(
    kind: Kind,
    attributes: &Attributes<'_>,
    inputs: &Inputs<'_>,
    outputs: usize,
) -> Result<Vec<Tensor>, Error> {
    let extents = Extents::of(kind, attributes, inputs)?;
    let Extents { time, batch, input, hidden, directions, .. } = extents;
    let gates = kind.gates();
    let count = inputs.count(&extents.y_shape())?;
    let state_count = inputs.count(&extents.state_shape())?;
    let sized = |index: usize, expected: usize| -> Result<Option<Vec<f64>>, Error> {
        let Some(tensor) = inputs.optional(index) else { return Ok(None) };
        match tensor.len() == expected {
            true => inputs.doubles(index).map(Some),
            false => Err(inputs.argument(
                format!("{expected} elements in input {index}"),
                format!("shape {:?}", tensor.shape()),
            )),
        }
    };
    let bias = sized(3, directions * 2 * gates * hidden)?;
    let lengths = match inputs.optional_integers(4)? {
        None => vec![time; batch],
        Some(lengths) => {
            let within = |&length: &i64| usize::try_from(length).ok().filter(|&length| length <= time);
            let checked: Option<Vec<usize>> = lengths.iter().map(within).collect();
            checked.filter(|lengths| lengths.len() == batch).ok_or_else(|| {
                inputs.argument(format!("{batch} lengths of at most {time}"), format!("{lengths:?}"))
            })?
        }
    };
    let mut states = sized(5, state_count)?.unwrap_or_else(|| vec![0.0; state_count]);
    let mut memories = vec![0.0; state_count];
    let mut peepholes = None;
    if let Kind::Lstm { .. } = kind {
        memories = sized(6, state_count)?.unwrap_or(memories);
        peepholes = sized(7, directions * 3 * hidden)?;
    }
    let activations = Activations::new(kind.activations(), directions, attributes, inputs)?;
    let (x, weights, recurrences) = (inputs.doubles(0)?, inputs.doubles(1)?, inputs.doubles(2)?);
    let mut y = vec![0.0; count];
    for direction in 0..directions {
        let rows = gates * hidden;
        let mut cell = Cell {
            kind,
            input,
            hidden,
            weight: &weights[direction * rows * input..][..rows * input],
            recurrence: &recurrences[direction * rows * hidden..][..rows * hidden],
            bias: bias.as_ref().map(|bias| &bias[direction * 2 * rows..][..2 * rows]),
            peephole: peepholes.as_ref().map(|all| &all[direction * 3 * hidden..][..3 * hidden]),
            activations: activations.of(direction),
            clip: attributes.clip.map_or(f64::INFINITY, f64::from),
            gates: vec![0.0; rows],
        };
        let backwards = direction == 1 || attributes.direction == "reverse";
        for (sample, &length) in lengths.iter().enumerate() {
            let at = extents.state_row(direction, sample);
            let (state, memory) = (&mut states[at..at + hidden], &mut memories[at..at + hidden]);
            for number in 0..length {
                let step = if backwards { length - 1 - number } else { number };
                cell.step(&x[extents.x_row(step, sample)..][..input], state, memory);
                y[extents.y_row(step, direction, sample)..][..hidden].copy_from_slice(state);
            }
        }
    }
    let dtype = inputs.tensor(0)?.dtype();
    let mut results = vec![inputs.result(dtype, &extents.y_shape(), Numbers::F64(y))?];
    if outputs > 1 {
        results.push(inputs.result(dtype, &extents.state_shape(), Numbers::F64(states))?);
    }
    if let Kind::Lstm { .. } = kind
        && outputs > 2
    {
        results.push(inputs.result(dtype, &extents.state_shape(), Numbers::F64(memories))?);
    }
    Ok(results)
}
