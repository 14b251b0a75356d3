//! LSTM and GRU: as one layer, as a cell, and as cells in a row. Gates stand in PyTorch's order in what is drawn, and in
//! ONNX's order in the graph.

use calipers_ir::{BinaryKind, EditError, Indexing, Movement, Op, Recurrent, UnaryKind, ValueId};

use super::products::Made;
use crate::builder::Builder;
use crate::layer::Around;

const WIDTH: usize = 64;
const STEPS: usize = 8;
/// PyTorch's input, forget, cell, output as ONNX's input, output, forget, cell.
const LSTM_ORDER: &[usize] = &[0, 3, 1, 2];
/// PyTorch's reset, update, new as ONNX's update, reset, hidden.
const GRU_ORDER: &[usize] = &[1, 0, 2];

pub fn lstm(builder: &mut Builder, around: Around) -> Made {
    let op = Recurrent::Lstm {
        activation_alpha: Vec::new(),
        activation_beta: Vec::new(),
        activations: Vec::new(),
        clip: None,
        direction: String::from("forward"),
        hidden_size: Some(WIDTH as i64),
        input_forget: false,
        layout: 0,
    };
    sequence(builder, around.before, op, LSTM_ORDER)
}

pub fn gru(builder: &mut Builder, around: Around) -> Made {
    let op = Recurrent::Gru {
        activation_alpha: Vec::new(),
        activation_beta: Vec::new(),
        activations: Vec::new(),
        clip: None,
        direction: String::from("forward"),
        hidden_size: Some(WIDTH as i64),
        layout: 0,
        linear_before_reset: true,
    };
    sequence(builder, around.before, op, GRU_ORDER)
}

/// The layer over `[1, time, 64]`, with `layer.weight_ih_l0` and so on.
fn sequence(builder: &mut Builder, x: ValueId, op: Recurrent, order: &[usize]) -> Made {
    let Parameters { w, r, b_w, b_r } = Parameters::draw(builder, "_l0", order.len());
    let rows = order.len() * WIDTH;
    let ordered = |values: &[f32]| -> Vec<f32> {
        let gate = values.len() / order.len();
        order.iter().flat_map(|&from| &values[from * gate..][..gate]).copied().collect()
    };
    let w = builder.constant("layer.w", &[1, rows, WIDTH], ordered(&w))?;
    let r = builder.constant("layer.r", &[1, rows, WIDTH], ordered(&r))?;
    let b = builder.constant("layer.b", &[1, 2 * rows], [ordered(&b_w), ordered(&b_r)].concat())?;
    let time_first = builder.transpose(x, &[1, 0, 2])?;
    let inputs = [Some(time_first), Some(w), Some(r), Some(b)];
    let made = builder.op_of_many("layer", Op::Recurrent(op), &inputs, 1)?[0];
    let direction = builder.integers(&[1])?;
    let made = builder.op("squeeze", Op::Movement(Movement::Squeeze), &[made, direction])?;
    builder.transpose(made, &[1, 0, 2])
}

/// What a recurrent layer is made of, gates in PyTorch's order.
struct Parameters {
    w: Vec<f32>,
    r: Vec<f32>,
    b_w: Vec<f32>,
    b_r: Vec<f32>,
}

impl Parameters {
    fn draw(builder: &mut Builder, end: &str, gates: usize) -> Parameters {
        let rows = gates * WIDTH;
        Parameters {
            w: builder.draw_product(&format!("layer.weight_ih{end}"), &[rows, WIDTH], WIDTH),
            r: builder.draw_product(&format!("layer.weight_hh{end}"), &[rows, WIDTH], WIDTH),
            b_w: builder.draw_bias(&format!("layer.bias_ih{end}"), rows),
            b_r: builder.draw_bias(&format!("layer.bias_hh{end}"), rows),
        }
    }
}

pub fn lstm_cell(builder: &mut Builder, around: Around) -> Made {
    let mut cell = Cell::new(builder, 4);
    cell.lstm(builder, around.before)
}

pub fn gru_cell(builder: &mut Builder, around: Around) -> Made {
    let mut cell = Cell::new(builder, 3);
    cell.gru(builder, around.before)
}

pub fn lstm_unrolled(builder: &mut Builder, around: Around) -> Made {
    let cell = Cell::new(builder, 4);
    unrolled(builder, around.before, cell, Cell::lstm)
}

pub fn gru_unrolled(builder: &mut Builder, around: Around) -> Made {
    let cell = Cell::new(builder, 3);
    unrolled(builder, around.before, cell, Cell::gru)
}

fn unrolled(
    builder: &mut Builder,
    x: ValueId,
    mut cell: Cell,
    step: fn(&mut Cell, &mut Builder, ValueId) -> Made,
) -> Made {
    let mut states = Vec::new();
    let axis = builder.integers(&[1])?;
    for time in 0..STEPS {
        let index = builder.integers(&[time as i64])?;
        let at =
            builder.op("step", Op::Indexing(Indexing::Gather { axis: 1, batch_dims: 0 }), &[x, index])?;
        let at = builder.reshape(at, &[1, WIDTH as i64])?;
        let state = step(&mut cell, builder, at)?;
        states.push(builder.op("state", Op::Movement(Movement::Unsqueeze), &[state, axis])?);
    }
    builder.concat(1, &states)
}

/// A cell and its state, which starts at zero.
struct Cell {
    parameters: Parameters,
    gates: usize,
    hidden: Option<ValueId>,
    memory: Option<ValueId>,
}

impl Cell {
    fn new(builder: &mut Builder, gates: usize) -> Cell {
        Cell { parameters: Parameters::draw(builder, "", gates), gates, hidden: None, memory: None }
    }

    /// The gates' sums over the input and over the state.
    fn sums(&self, builder: &mut Builder, x: ValueId) -> Result<(ValueId, ValueId), EditError> {
        let shape = [self.gates * WIDTH, WIDTH];
        let Parameters { w, r, b_w, b_r } = &self.parameters;
        let of_input = builder.product("input", x, w, Some(b_w.clone()), shape)?;
        let hidden = match self.hidden {
            Some(hidden) => hidden,
            None => builder.constant("zero", &[1, WIDTH], vec![0.0; WIDTH])?,
        };
        let of_state = builder.product("hidden", hidden, r, Some(b_r.clone()), shape)?;
        Ok((of_input, of_state))
    }

    fn lstm(&mut self, builder: &mut Builder, x: ValueId) -> Made {
        let (of_input, of_state) = self.sums(builder, x)?;
        let sum = builder.binary(BinaryKind::Add, of_input, of_state)?;
        let gates = builder.split(sum, 4)?;
        let input = builder.unary(UnaryKind::Sigmoid, gates[0])?;
        let cell = builder.unary(UnaryKind::Tanh, gates[2])?;
        let mut memory = builder.binary(BinaryKind::Mul, input, cell)?;
        if let Some(former) = self.memory {
            let forget = builder.unary(UnaryKind::Sigmoid, gates[1])?;
            let kept = builder.binary(BinaryKind::Mul, forget, former)?;
            memory = builder.binary(BinaryKind::Add, kept, memory)?;
        }
        let output = builder.unary(UnaryKind::Sigmoid, gates[3])?;
        let shown = builder.unary(UnaryKind::Tanh, memory)?;
        let hidden = builder.binary(BinaryKind::Mul, output, shown)?;
        (self.hidden, self.memory) = (Some(hidden), Some(memory));
        Ok(hidden)
    }

    /// `h' = (1 - z) n + z h = n + z (h - n)`.
    fn gru(&mut self, builder: &mut Builder, x: ValueId) -> Made {
        let (of_input, of_state) = self.sums(builder, x)?;
        let (of_input, of_state) = (builder.split(of_input, 3)?, builder.split(of_state, 3)?);
        let mut gate = |at: usize| {
            let sum = builder.binary(BinaryKind::Add, of_input[at], of_state[at])?;
            builder.unary(UnaryKind::Sigmoid, sum)
        };
        let (reset, update) = (gate(0)?, gate(1)?);
        let kept = builder.binary(BinaryKind::Mul, reset, of_state[2])?;
        let sum = builder.binary(BinaryKind::Add, of_input[2], kept)?;
        let new = builder.unary(UnaryKind::Tanh, sum)?;
        let moved = match self.hidden {
            Some(hidden) => {
                let difference = builder.binary(BinaryKind::Sub, hidden, new)?;
                builder.binary(BinaryKind::Mul, update, difference)?
            }
            None => {
                let negative = builder.unary(UnaryKind::Neg, new)?;
                builder.binary(BinaryKind::Mul, update, negative)?
            }
        };
        let hidden = builder.binary(BinaryKind::Add, new, moved)?;
        self.hidden = Some(hidden);
        Ok(hidden)
    }
}
