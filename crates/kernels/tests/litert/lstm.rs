//! Recurrent layers.

use calipers_kernels::quantize::Params;
use calipers_kernels::tflite::lstm::{Gate, Layer, Lstm, Normalization, Projection};
use serde_json::json;

use calipers_kernels::tflite::hybrid_lstm::{HybridGate, HybridLstm, HybridProjection};

use crate::suite::{CLOSE, Numbers, Suite, Tensor};

/// A gate's tensors.
#[derive(Clone)]
struct Values {
    input: Vec<i8>,
    input_scale: f32,
    recurrent: Vec<i8>,
    recurrent_scale: f32,
    bias: Vec<i32>,
    peephole: Option<(Vec<i16>, f32)>,
    normalization: Option<(Vec<i16>, f32, f32)>,
}

impl Values {
    fn gate(&self) -> Gate<'_> {
        Gate {
            input_weights: &self.input,
            input_scale: self.input_scale,
            recurrent_weights: &self.recurrent,
            recurrent_scale: self.recurrent_scale,
            bias: &self.bias,
            peephole: self.peephole.as_ref().map(|(weights, scale)| (&weights[..], *scale)),
            normalization: self.normalization.as_ref().map(|(coefficients, scale, sum_scale)| {
                Normalization { coefficients, scale: *scale, sum_scale: *sum_scale }
            }),
        }
    }
}

#[test]
#[ignore = "needs CALIPERS_TENSORFLOW_PYTHON"]
fn recurrent_layers_equal_litert() {
    let mut suite = Suite::default();
    let numbers = &mut Numbers(10);
    for index in 0..160 {
        let (coupled, peepholes, projected, normalized) =
            (index & 1 != 0, index & 2 != 0, index & 4 != 0, index & 8 != 0);
        let time_major = numbers.of(&[true, false]);
        let (batch, steps) = (numbers.extent(1, 3), numbers.extent(1, 5));
        let (inputs, cells) = (numbers.extent(1, 12), numbers.extent(2, 10));
        let outputs = if projected { numbers.extent(1, cells) } else { cells };
        let input = Params { scale: numbers.scale(-8.0, -4.0), zero_point: numbers.zero_point::<i8>() };
        let output = Params { scale: numbers.scale(-8.0, -6.0), zero_point: numbers.zero_point::<i8>() };
        let hidden = if projected {
            Params { scale: numbers.scale(-8.0, -6.0), zero_point: numbers.within(-127, 127) as i32 }
        } else {
            output
        };
        let cell_scale = 2f32.powi(numbers.within(-15, -9) as i32);
        let mut values = |has_peephole: bool| Values {
            input: numbers.weights(cells * inputs),
            input_scale: numbers.scale(-9.0, -5.0),
            recurrent: numbers.weights(cells * outputs),
            recurrent_scale: numbers.scale(-9.0, -5.0),
            bias: (0..cells).map(|_| numbers.within(-5000, 5000) as i32).collect(),
            peephole: has_peephole.then(|| (numbers.integers(cells), numbers.scale(-18.0, -14.0))),
            normalization: normalized
                .then(|| (numbers.integers(cells), numbers.scale(-18.0, -13.0), numbers.scale(-13.0, -9.0))),
        };
        let input_gate = (!coupled).then(|| values(peepholes));
        let gates = [values(peepholes), values(false), values(peepholes)];
        let projection = projected.then(|| {
            let bias: Vec<i32> = (0..outputs).map(|_| numbers.within(-3000, 3000) as i32).collect();
            (
                numbers.weights(outputs * cells),
                numbers.scale(-9.0, -6.0),
                numbers.of(&[true, false]).then_some(bias),
            )
        });
        let cell_clip = numbers.of(&[0.0f32, 0.0, 0.7]);
        let projection_clip = if projected { numbers.of(&[0.0f32, 0.3]) } else { 0.0 };
        let x: Vec<i8> = numbers.integers(batch * steps * inputs);

        let symmetric = |scale: f32| Params { scale, zero_point: 0 };
        let weights = |gate: Option<&Values>, recurrent: bool| {
            gate.map(|gate| {
                let (values, scale, columns) = if recurrent {
                    (&gate.recurrent, gate.recurrent_scale, outputs)
                } else {
                    (&gate.input, gate.input_scale, inputs)
                };
                Tensor::constant(&[cells, columns], values.clone()).with(symmetric(scale))
            })
        };
        let all = [input_gate.as_ref(), Some(&gates[0]), Some(&gates[1]), Some(&gates[2])];
        let sequence = if time_major { [steps, batch] } else { [batch, steps] };
        let mut tensors =
            vec![Some(Tensor::input(&[sequence[0], sequence[1], inputs], x.clone()).with(input))];
        tensors.extend(all.map(|gate| weights(gate, false)));
        tensors.extend(all.map(|gate| weights(gate, true)));
        for gate in [all[0], all[1], all[3]] {
            tensors.push(
                gate.and_then(|gate| gate.peephole.as_ref()).map(|(weights, scale)| {
                    Tensor::constant(&[cells], weights.clone()).with(symmetric(*scale))
                }),
            );
        }
        tensors.extend(all.map(|gate| {
            gate.map(|gate| {
                let scale = gate.input_scale * input.scale;
                Tensor::constant(&[cells], gate.bias.clone()).with(symmetric(scale))
            })
        }));
        tensors.push(projection.as_ref().map(|(weights, scale, _)| {
            Tensor::constant(&[outputs, cells], weights.clone()).with(symmetric(*scale))
        }));
        tensors.push(projection.as_ref().and_then(|(_, scale, bias)| {
            let bias = bias.clone()?;
            Some(Tensor::constant(&[outputs], bias).with(symmetric(scale * hidden.scale)))
        }));
        tensors.push(Some(Tensor::variable::<i8>(&[batch, outputs]).with(output)));
        tensors.push(Some(Tensor::variable::<i16>(&[batch, cells]).with(symmetric(cell_scale))));
        tensors.extend(all.map(|gate| {
            gate.and_then(|gate| gate.normalization.as_ref()).map(|(coefficients, scale, _)| {
                Tensor::constant(&[cells], coefficients.clone()).with(symmetric(*scale))
            })
        }));
        let mut intermediates: Vec<Tensor> = all
            .map(|gate| {
                let scale = gate
                    .and_then(|gate| gate.normalization.as_ref())
                    .map_or(2f32.powi(-12), |values| values.2);
                Tensor::output::<i16>(&[0]).with(symmetric(scale))
            })
            .into();
        intermediates.push(Tensor::output::<i8>(&[0]).with(hidden));
        let options = json!({
            "type": "UnidirectionalSequenceLSTMOptions",
            "fusedActivationFunction": 4,
            "cellClip": f64::from(cell_clip),
            "projClip": f64::from(projection_clip),
            "timeMajor": time_major,
        });
        let results = vec![Tensor::output::<i8>(&[sequence[0], sequence[1], outputs]).with(output)];
        let kind = [
            (coupled, " coupled"),
            (peepholes, " with peepholes"),
            (projected, " projected"),
            (normalized, " normalized"),
        ]
        .iter()
        .filter(|(is, _)| *is)
        .fold("INT8".to_string(), |kind, (_, name)| kind + name);
        let operator = "UNIDIRECTIONAL_SEQUENCE_LSTM";
        suite.add_with_intermediates(operator, &kind, options, tensors, results, intermediates, move || {
            let layer = Layer {
                inputs,
                cells,
                outputs,
                input,
                output,
                hidden,
                cell_scale,
                input_gate: input_gate.as_ref().map(Values::gate),
                forget_gate: gates[0].gate(),
                cell_gate: gates[1].gate(),
                output_gate: gates[2].gate(),
                projection: projection.as_ref().map(|(weights, scale, bias)| Projection {
                    weights,
                    scale: *scale,
                    bias: bias.as_deref(),
                }),
                cell_clip,
                projection_clip,
            };
            let lstm = Lstm::new(layer).expect("valid scales");
            let mut output_state = vec![output.zero_point as i8; batch * outputs];
            let mut cell_state = vec![0i16; batch * cells];
            let mut result = vec![0i8; batch * steps * outputs];
            lstm.run([batch, steps], time_major, &x, &mut output_state, &mut cell_state, &mut result);
            vec![result.into()]
        });
    }
    suite.compare();
}

/// A gate's tensors.
#[derive(Clone)]
struct HybridValues {
    input: Vec<i8>,
    input_scale: f32,
    recurrent: Vec<i8>,
    recurrent_scale: f32,
    bias: Vec<f32>,
    peephole: Option<(Vec<i8>, f32)>,
    normalization: Option<Vec<f32>>,
}

impl HybridValues {
    fn gate(&self) -> HybridGate<'_> {
        HybridGate {
            input_weights: &self.input,
            input_scale: self.input_scale,
            recurrent_weights: &self.recurrent,
            recurrent_scale: self.recurrent_scale,
            bias: &self.bias,
            peephole: self.peephole.as_ref().map(|(weights, scale)| (&weights[..], *scale)),
            normalization: self.normalization.as_deref(),
        }
    }
}

#[test]
#[ignore = "needs CALIPERS_TENSORFLOW_PYTHON"]
fn hybrid_recurrent_layers_are_close_to_litert() {
    let mut suite = Suite::default();
    let numbers = &mut Numbers(12);
    for index in 0..160 {
        let (coupled, peepholes, projected, normalized) =
            (index & 1 != 0, index & 2 != 0, index & 4 != 0, index & 8 != 0);
        let time_major = numbers.of(&[true, false]);
        let asymmetric = numbers.of(&[true, false]);
        let (batch, steps) = (numbers.extent(1, 3), numbers.extent(1, 4));
        let (inputs, cells) = (numbers.extent(1, 12), numbers.extent(2, 10));
        let outputs = if projected { numbers.extent(1, cells) } else { cells };
        let mut values = |has_peephole: bool| HybridValues {
            input: numbers.weights(cells * inputs),
            input_scale: numbers.scale(-10.0, -7.0),
            recurrent: numbers.weights(cells * outputs),
            recurrent_scale: numbers.scale(-10.0, -7.0),
            bias: numbers.reals(cells, 1.0),
            peephole: has_peephole.then(|| (numbers.weights(cells), numbers.scale(-10.0, -7.0))),
            normalization: normalized.then(|| numbers.reals(cells, 1.0)),
        };
        let input_gate = (!coupled).then(|| values(peepholes));
        let gates = [values(peepholes), values(false), values(peepholes)];
        let projection = projected.then(|| {
            let bias = numbers.of(&[true, false]).then(|| numbers.reals(outputs, 0.2));
            (numbers.weights(outputs * cells), numbers.scale(-10.0, -8.0), bias)
        });
        let cell_clip = numbers.of(&[0.0f32, 0.0, 0.7]);
        let projection_clip = if projected { numbers.of(&[0.0f32, 0.3]) } else { 0.0 };
        let x = numbers.reals(batch * steps * inputs, 2.0);

        let symmetric = |scale: f32| Params { scale, zero_point: 0 };
        let weights = |gate: Option<&HybridValues>, recurrent: bool| {
            gate.map(|gate| {
                let (values, scale, columns) = if recurrent {
                    (&gate.recurrent, gate.recurrent_scale, outputs)
                } else {
                    (&gate.input, gate.input_scale, inputs)
                };
                Tensor::constant(&[cells, columns], values.clone()).with(symmetric(scale))
            })
        };
        let all = [input_gate.as_ref(), Some(&gates[0]), Some(&gates[1]), Some(&gates[2])];
        let sequence = if time_major { [steps, batch] } else { [batch, steps] };
        let mut tensors = vec![Some(Tensor::input(&[sequence[0], sequence[1], inputs], x.clone()))];
        tensors.extend(all.map(|gate| weights(gate, false)));
        tensors.extend(all.map(|gate| weights(gate, true)));
        for gate in [all[0], all[1], all[3]] {
            tensors.push(
                gate.and_then(|gate| gate.peephole.as_ref()).map(|(weights, scale)| {
                    Tensor::constant(&[cells], weights.clone()).with(symmetric(*scale))
                }),
            );
        }
        tensors.extend(all.map(|gate| gate.map(|gate| Tensor::constant(&[cells], gate.bias.clone()))));
        tensors.push(projection.as_ref().map(|(weights, scale, _)| {
            Tensor::constant(&[outputs, cells], weights.clone()).with(symmetric(*scale))
        }));
        tensors.push(
            projection.as_ref().and_then(|(_, _, bias)| Some(Tensor::constant(&[outputs], bias.clone()?))),
        );
        tensors.push(Some(Tensor::variable::<f32>(&[batch, outputs])));
        tensors.push(Some(Tensor::variable::<f32>(&[batch, cells])));
        tensors.extend(all.map(|gate| {
            gate.and_then(|gate| gate.normalization.as_ref())
                .map(|coefficients| Tensor::constant(&[cells], coefficients.clone()))
        }));
        let options = json!({
            "type": "UnidirectionalSequenceLSTMOptions",
            "fusedActivationFunction": 4,
            "cellClip": f64::from(cell_clip),
            "projClip": f64::from(projection_clip),
            "timeMajor": time_major,
            "asymmetricQuantizeInputs": asymmetric,
        });
        let results = vec![Tensor::output::<f32>(&[sequence[0], sequence[1], outputs])];
        let kind = format!("hybrid, {CLOSE}");
        suite.add("UNIDIRECTIONAL_SEQUENCE_LSTM", &kind, options, tensors, results, move || {
            let lstm = HybridLstm {
                inputs,
                cells,
                outputs,
                asymmetric,
                input_gate: input_gate.as_ref().map(HybridValues::gate),
                forget_gate: gates[0].gate(),
                cell_gate: gates[1].gate(),
                output_gate: gates[2].gate(),
                projection: projection.as_ref().map(|(weights, scale, bias)| HybridProjection {
                    weights,
                    scale: *scale,
                    bias: bias.as_deref(),
                }),
                cell_clip,
                projection_clip,
            };
            let mut output_state = vec![0.0; batch * outputs];
            let mut cell_state = vec![0.0; batch * cells];
            let mut result = vec![0.0; batch * steps * outputs];
            lstm.run([batch, steps], time_major, &x, &mut output_state, &mut cell_state, &mut result);
            vec![result.into()]
        });
    }
    suite.compare();
}
