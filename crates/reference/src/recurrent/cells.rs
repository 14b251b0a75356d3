//! One step of each kind of recurrent cell, with the equations of the ONNX pages.

use super::activations::Activation;

/// A kind of recurrent cell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Rnn,
    Gru { linear_before_reset: bool },
    Lstm { input_forget: bool },
}

impl Kind {
    /// Blocks of rows of its weights.
    pub(super) fn gates(self) -> usize {
        match self {
            Kind::Rnn => 1,
            Kind::Gru { .. } => 3,
            Kind::Lstm { .. } => 4,
        }
    }

    /// Its activations unless others are given.
    pub(super) fn activations(self) -> &'static [&'static str] {
        match self {
            Kind::Rnn => &["Tanh"],
            Kind::Gru { .. } => &["Sigmoid", "Tanh"],
            Kind::Lstm { .. } => &["Sigmoid", "Tanh", "Tanh"],
        }
    }
}

/// A cell of one direction; `gates` is room for one step.
pub(super) struct Cell<'a> {
    pub kind: Kind,
    pub input: usize,
    pub hidden: usize,
    pub weight: &'a [f64],
    pub recurrence: &'a [f64],
    pub bias: Option<&'a [f64]>,
    pub peephole: Option<&'a [f64]>,
    pub activations: &'a [Activation],
    pub clip: f64,
    pub gates: Vec<f64>,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

impl Cell<'_> {
    /// Advances the state (and an LSTM's memory) by one row of input.
    pub(super) fn step(&mut self, x: &[f64], state: &mut [f64], memory: &mut [f64]) {
        match self.kind {
            Kind::Rnn => self.simple(x, state),
            Kind::Gru { linear_before_reset } => self.gated(x, state, linear_before_reset),
            Kind::Lstm { input_forget } => self.long_short(x, state, memory, input_forget),
        }
    }

    /// An activation of a sum within the clip's bounds.
    fn activate(&self, number: usize, sum: f64) -> f64 {
        self.activations[number].apply(self.limited(sum))
    }

    fn limited(&self, value: f64) -> f64 {
        if value.is_nan() { value } else { value.max(-self.clip).min(self.clip) }
    }

    /// Row `row` of the weight times the input.
    fn of_input(&self, row: usize, x: &[f64]) -> f64 {
        dot(&self.weight[row * self.input..][..self.input], x)
    }

    /// Row `row` of the recurrence times the state.
    fn of_state(&self, row: usize, state: &[f64]) -> f64 {
        dot(&self.recurrence[row * self.hidden..][..self.hidden], state)
    }

    /// The biases of a row: of the input, and of the state.
    fn biases(&self, row: usize) -> (f64, f64) {
        self.bias.map_or((0.0, 0.0), |bias| (bias[row], bias[bias.len() / 2 + row]))
    }

    /// A row's sum of everything.
    fn sum(&self, row: usize, x: &[f64], state: &[f64]) -> f64 {
        let (input, recurrent) = self.biases(row);
        self.of_input(row, x) + self.of_state(row, state) + input + recurrent
    }

    /// `h = f(W x + R h + Wb + Rb)`.
    fn simple(&mut self, x: &[f64], state: &mut [f64]) {
        for row in 0..self.hidden {
            self.gates[row] = self.activate(0, self.sum(row, x, state));
        }
        state.copy_from_slice(&self.gates);
    }

    /// Gates z and r, candidate n: `h = (1 - z) n + z h`, where the reset multiplies the state before its matrix, or
    /// after it with `linear_before_reset`.
    fn gated(&mut self, x: &[f64], state: &mut [f64], linear_before_reset: bool) {
        let hidden = self.hidden;
        for row in 0..2 * hidden {
            self.gates[row] = self.activate(0, self.sum(row, x, state));
        }
        let reset: Vec<f64> =
            state.iter().zip(&self.gates[hidden..]).map(|(state, reset)| state * reset).collect();
        for unit in 0..hidden {
            let row = 2 * hidden + unit;
            let (input, recurrent) = self.biases(row);
            let sum = match linear_before_reset {
                true => {
                    self.of_input(row, x)
                        + self.gates[hidden + unit] * (self.of_state(row, state) + recurrent)
                        + input
                }
                false => self.of_input(row, x) + self.of_state(row, &reset) + recurrent + input,
            };
            self.gates[row] = self.activate(1, sum);
        }
        let (updates, candidates) = (&self.gates[..hidden], &self.gates[2 * hidden..]);
        for ((state, update), candidate) in state.iter_mut().zip(updates).zip(candidates) {
            *state = (1.0 - update) * candidate + update * *state;
        }
    }

    /// Gates i, o, f and candidate c with peepholes: `C = f C + i c`, `h = o act(C)`; with `input_forget` f is `1 - i`.
    fn long_short(&mut self, x: &[f64], state: &mut [f64], memory: &mut [f64], input_forget: bool) {
        let hidden = self.hidden;
        for row in 0..4 * hidden {
            self.gates[row] = self.sum(row, x, state);
        }
        for unit in 0..hidden {
            let peephole = |gate: usize| self.peephole.map_or(0.0, |weights| weights[gate * hidden + unit]);
            let gate = |gate: usize| self.gates[gate * hidden + unit];
            let before = memory[unit];
            let input = self.activate(0, gate(0) + peephole(0) * before);
            let forget = match input_forget {
                true => 1.0 - input,
                false => self.activate(0, gate(2) + peephole(2) * before),
            };
            let after = forget * before + input * self.activate(1, gate(3));
            let output = self.activate(0, gate(1) + peephole(1) * after);
            memory[unit] = after;
            // The clip is for sums of gates; the memory is none.
            state[unit] = output * self.activations[2].apply(after);
        }
    }
}
