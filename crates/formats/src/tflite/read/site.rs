//! One operator of the file, and the ways to state it as nodes.

use std::collections::BTreeMap;

use bytes::Bytes;
use calipers_ir::{
    Activation, Attribute, Attributes, Clip, DType, Dim, Op, Select, Tensor, TensorType, UnaryKind, ValueId,
};

use super::super::keys;
use super::super::schema::BuiltinOperator;
use super::super::tensors::Described;
use super::graph::GraphReader;

/// Why an operator is not stated as nodes.
pub(in crate::tflite) enum Refusal {
    /// The file breaks a rule of the operator: it is refused.
    Malformed(String),
    /// The representation has no place for it: it is kept as it is.
    Keep(String),
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Refusal::Malformed(reason)
    }
}

impl From<&str> for Refusal {
    fn from(reason: &str) -> Self {
        Refusal::Malformed(reason.to_owned())
    }
}

/// The outcome of stating an operator.
pub(in crate::tflite) type Mapped<T = ()> = Result<T, Refusal>;

/// A reason to keep an operator as it is.
pub(in crate::tflite) fn keep<T>(reason: impl Into<String>) -> Mapped<T> {
    Err(Refusal::Keep(reason.into()))
}

/// Which numbers a node works on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::tflite) enum Numbers {
    /// Those that the file stores.
    Stored,
    /// The real numbers that they stand for.
    Real,
}

/// An operator of the file, its tensors and options.
pub(in crate::tflite) struct Site<'g, 'r> {
    pub graph: &'g mut GraphReader<'r>,
    pub op: BuiltinOperator,
    /// Its name in the format, or the one that the file gives a custom operator.
    pub name: &'g str,
    pub options: Attributes,
    pub custom: Option<Bytes>,
    /// Tensors that it reads; `None` for an absent one.
    pub inputs: Vec<Option<usize>>,
    /// Tensors that it makes.
    pub outputs: Vec<usize>,
    /// Tensors inside it.
    pub intermediates: Vec<usize>,
}

impl Site<'_, '_> {
    /// Checks the number of inputs and outputs.
    pub fn arity(&self, least: usize, most: usize, outputs: usize) -> Mapped {
        let (found, made) = (self.inputs.len(), self.outputs.len());
        let present = self.inputs.iter().take(least).all(Option::is_some);
        if !(least..=most).contains(&found) || !present || made != outputs {
            let expected = if least == most { least.to_string() } else { format!("{least} to {most}") };
            return Err(Refusal::Malformed(format!(
                "{expected} inputs and {outputs} outputs were expected, found {found} and {made}"
            )));
        }
        Ok(())
    }

    /// The tensor of an input.
    pub fn input(&self, position: usize) -> Mapped<usize> {
        let found = self.inputs.get(position).copied().flatten();
        found.ok_or_else(|| Refusal::Malformed(format!("input {position} is absent")))
    }

    /// What the file says of an input.
    pub fn described(&self, position: usize) -> Mapped<&Described> {
        Ok(&self.graph.tensors[self.input(position)?])
    }

    /// What the file says of an output.
    pub fn result(&self, position: usize) -> Mapped<&Described> {
        let index = self.outputs.get(position);
        let found = index.map(|&index| &self.graph.tensors[index]);
        found.ok_or_else(|| Refusal::Malformed(format!("output {position} is absent")))
    }

    /// An input as the file stores it.
    pub fn stored(&mut self, position: usize) -> Mapped<ValueId> {
        let index = self.input(position)?;
        Ok(self.graph.value(index)?)
    }

    /// The real numbers of an input.
    pub fn real(&mut self, position: usize) -> Mapped<ValueId> {
        self.permuted(position, &[])
    }

    /// The real numbers of an input; axis `i` is axis `permutation[i]` of the file.
    pub fn permuted(&mut self, position: usize, permutation: &[usize]) -> Mapped<ValueId> {
        let index = self.input(position)?;
        Ok(self.graph.real(index, permutation)?)
    }

    /// The real numbers of an input that may be absent.
    pub fn optional(&mut self, position: usize) -> Mapped<Option<ValueId>> {
        match self.inputs.get(position).copied().flatten() {
            Some(index) => Ok(Some(self.graph.real(index, &[])?)),
            None => Ok(None),
        }
    }

    /// An input as these numbers.
    pub fn numbers(&mut self, position: usize, numbers: Numbers) -> Mapped<ValueId> {
        match numbers {
            Numbers::Stored => self.stored(position),
            Numbers::Real => self.real(position),
        }
    }

    /// The stored numbers where all these inputs and all outputs have the same parameters, else the real ones.
    pub fn shared(&self, inputs: &[usize]) -> Mapped<Numbers> {
        let mut first = None;
        for &position in inputs {
            let quantization = &self.described(position)?.quantization;
            if *first.get_or_insert(quantization) != quantization {
                return Ok(Numbers::Real);
            }
        }
        let outputs = self.outputs.iter().map(|&index| &self.graph.tensors[index].quantization);
        let same = outputs.into_iter().all(|quantization| first.is_none_or(|first| first == quantization));
        // Axes move, so that parameters along one would have to follow.
        let whole = first.and_then(Option::as_ref).is_none_or(|quantization| quantization.per_tensor());
        Ok(if same && whole { Numbers::Stored } else { Numbers::Real })
    }

    /// The type of an input, as far as it is known so far.
    pub fn ty(&mut self, position: usize) -> Mapped<TensorType> {
        let value = self.stored(position)?;
        Ok(self.graph.editor.value(value).ty.clone())
    }

    /// The shape of an input; its rank must be known.
    pub fn shape(&mut self, position: usize) -> Mapped<Vec<Dim>> {
        match self.ty(position)?.shape {
            Some(shape) => Ok(shape),
            None => keep(format!("the rank of input {position} is not known")),
        }
    }

    /// The data of an input, where it is a constant.
    pub fn constant(&self, position: usize) -> Option<&Tensor> {
        self.described(position).ok()?.constant.as_ref()
    }

    /// The integers of an input, where it is a constant.
    pub fn integers(&self, position: usize) -> Option<Vec<i64>> {
        self.constant(position).and_then(Tensor::to_integers)
    }

    /// The one integer of an input, where it is a constant.
    pub fn integer(&self, position: usize) -> Option<i64> {
        match self.integers(position)?.as_slice() {
            [one] => Some(*one),
            _ => None,
        }
    }

    /// An input of integers as a list of type i64.
    pub fn list(&mut self, position: usize) -> Mapped<ValueId> {
        if let Some(integers) = self.integers(position) {
            return self.integer_list(&format!("input_{position}"), integers);
        }
        let value = self.stored(position)?;
        let ty = self.graph.editor.value(value).ty.clone();
        if ty.rank() == Some(0) {
            let shape = self.integer_list("shape", vec![1])?;
            let value = self.step("Reshape", Op::Reshape, &[Some(value), Some(shape)], ty.dtype)?;
            return self.wide(value, "i64");
        }
        self.wide(value, "i64")
    }

    /// A value of integers as type i64.
    pub fn wide(&mut self, value: ValueId, ending: &str) -> Mapped<ValueId> {
        if self.graph.editor.value(value).ty.dtype == DType::I64 {
            return Ok(value);
        }
        self.step(&format!("Cast_{ending}"), cast(DType::I64), &[Some(value)], DType::I64)
    }

    /// A constant list of type i64, called after the operator's first result.
    pub fn integer_list(&mut self, ending: &str, integers: Vec<i64>) -> Mapped<ValueId> {
        self.add_constant(ending, Tensor::from_vec([integers.len()], integers))
    }

    /// A constant called after the operator's first result.
    pub fn add_constant(
        &mut self,
        ending: &str,
        tensor: Result<Tensor, calipers_ir::TensorError>,
    ) -> Mapped<ValueId> {
        let tensor = tensor.map_err(|error| error.to_string())?;
        let name = format!("{}_{ending}", self.result(0)?.name);
        Ok(self.graph.constant(&name, tensor)?)
    }

    /// A node before the operator's last one.
    pub fn step(
        &mut self,
        ending: &str,
        op: Op,
        inputs: &[Option<ValueId>],
        dtype: DType,
    ) -> Mapped<ValueId> {
        self.step_typed(ending, op, inputs, TensorType::unranked(dtype))
    }

    /// A node before the operator's last one, of which the file tells the type.
    pub fn step_typed(
        &mut self,
        ending: &str,
        op: Op,
        inputs: &[Option<ValueId>],
        ty: TensorType,
    ) -> Mapped<ValueId> {
        let name = format!("{}_{ending}", self.result(0)?.name);
        let name = self.graph.names.fresh(&name);
        let values = self.graph.node(&name, op, inputs, vec![(name.clone(), ty)])?;
        values.first().copied().ok_or_else(|| Refusal::Malformed(String::from("a node has no result")))
    }

    /// The node that makes an output, as the file stores it. It is called as the output is.
    pub fn store(&mut self, position: usize, op: Op, inputs: &[Option<ValueId>]) -> Mapped {
        let name = self.result(position)?.name.clone();
        let index = self.outputs[position];
        Ok(self.graph.define(index, &name, op, inputs)?)
    }

    /// The node that makes an output in these numbers, with what is applied to its result. It is called as the output is;
    /// the nodes after it are called after it.
    pub fn make(
        &mut self,
        position: usize,
        numbers: Numbers,
        op: Op,
        inputs: &[Option<ValueId>],
        activation: Activation,
    ) -> Mapped {
        let (op, after) = match (op.with_activation(activation), activation) {
            (Some(op), _) => (op, None),
            (None, Activation::None) => (op, None),
            (None, Activation::Relu) => (op, Some(Op::Unary(UnaryKind::Relu))),
            (None, Activation::Clip(clip)) => (op, Some(Op::Clip(clip))),
        };
        let index = *self.outputs.get(position).ok_or("an output is absent")?;
        let described = &self.graph.tensors[index];
        let (name, ty) = (described.name.clone(), described.ty.clone());
        let quantization = described.quantization.as_ref().filter(|_| numbers == Numbers::Real);
        let Some(quantization) = quantization.cloned() else {
            let Some(after) = after else { return self.store(position, op, inputs) };
            let inner = self.graph.names.fresh(&format!("{name}_{}_Input", after.name()));
            let value = self.graph.node(&name, op, inputs, vec![(inner, ty)])?;
            let node = self.graph.names.fresh(&format!("{name}_{}", after.name()));
            return Ok(self.graph.define(index, &node, after, &[value.first().copied()])?);
        };
        let ty = TensorType { dtype: DType::F32, shape: ty.shape };
        let mut real = self.graph.names.fresh(&format!("{name}_QuantizeLinear_Input"));
        let before = after.as_ref().map(|after| format!("{name}_{}_Input", after.name()));
        let before = before.map(|wanted| self.graph.names.fresh(&wanted));
        let first = before.clone().unwrap_or_else(|| std::mem::take(&mut real));
        let mut value = self.graph.node(&name, op, inputs, vec![(first, ty.clone())])?;
        if let Some(after) = after {
            let node = self.graph.names.fresh(&format!("{name}_{}", after.name()));
            value = self.graph.node(&node, after, &[value.first().copied()], vec![(real, ty)])?;
        }
        let value = value.first().copied().ok_or("a node has no result")?;
        let node = self.graph.names.fresh(&format!("{name}_QuantizeLinear"));
        Ok(self.graph.quantize(index, &quantization, value, &node)?)
    }

    /// [`Site::make`] of the only output in real numbers, without anything after it.
    pub fn make_real(&mut self, op: Op, inputs: &[Option<ValueId>]) -> Mapped {
        self.make(0, Numbers::Real, op, inputs, Activation::None)
    }

    /// [`Site::make`] of the only output, without anything after it.
    pub fn make_plain(&mut self, numbers: Numbers, op: Op, inputs: &[Option<ValueId>]) -> Mapped {
        self.make(0, numbers, op, inputs, Activation::None)
    }

    /// The node that makes an output and gives positions of type i64, in the type that the file declares.
    pub fn store_positions(&mut self, position: usize, op: Op, inputs: &[Option<ValueId>]) -> Mapped {
        match self.result(position)?.ty.dtype {
            DType::I64 => self.store(position, op, inputs),
            dtype => {
                let name = op.name().to_owned();
                let value = self.step(&name, op, inputs, DType::I64)?;
                self.store(position, cast(dtype), &[Some(value)])
            }
        }
    }

    /// The node that makes all outputs, as the file stores them. It is called as the first one is.
    pub fn store_all(&mut self, op: Op, inputs: &[Option<ValueId>]) -> Mapped {
        let results = self.outputs.iter().map(|&index| &self.graph.tensors[index]);
        let outputs: Vec<_> = results.map(|tensor| (tensor.name.clone(), tensor.ty.clone())).collect();
        let name = self.result(0)?.name.clone();
        let values = self.graph.node(&name, op, inputs, outputs)?;
        for (&index, value) in self.outputs.iter().zip(values) {
            self.graph.set_value(index, value);
        }
        Ok(())
    }

    /// The node that makes the first output and something of that type, which is returned.
    pub fn store_first(&mut self, op: Op, inputs: &[Option<ValueId>], dtype: DType) -> Mapped<ValueId> {
        let tensor = self.result(0)?;
        let (name, ty) = (tensor.name.clone(), tensor.ty.clone());
        let second = self.graph.names.fresh(&format!("{name}_{}_1", op.name()));
        let outputs = vec![(name.clone(), ty), (second, TensorType::unranked(dtype))];
        let values = self.graph.node(&name, op, inputs, outputs)?;
        let [first, second] = values[..] else { return Err("a node has no second result".into()) };
        self.graph.set_value(self.outputs[0], first);
        Ok(second)
    }

    /// The positions of an axis as values of their own, which keep the axis.
    pub fn split_steps(&mut self, x: ValueId, axis: i64, parts: usize, dtype: DType) -> Mapped<Vec<ValueId>> {
        let name = format!("{}_Split", self.result(0)?.name);
        let node = self.graph.names.fresh(&name);
        let outputs = (0..parts)
            .map(|part| (self.graph.names.fresh(&format!("{name}_{part}")), TensorType::unranked(dtype)))
            .collect();
        let num_outputs = Some(parts as i64);
        let op = Op::Movement(calipers_ir::Movement::Split { axis, num_outputs });
        Ok(self.graph.node(&node, op, &[Some(x)], outputs)?)
    }

    /// Keeps the operator as it is.
    pub fn opaque(&mut self, domain: &str, reason: &str) -> Result<(), String> {
        let mut attributes = self.options.clone();
        if let Some(custom) = &self.custom {
            attributes.insert(String::from("custom_options"), Attribute::String(custom.to_vec()));
        }
        let mut notes = BTreeMap::from([(keys::KEPT.to_owned(), reason.to_owned())]);
        let mut inputs = Vec::with_capacity(self.inputs.len());
        for (position, &input) in self.inputs.iter().enumerate() {
            let described = input.map(|index| &self.graph.tensors[index]);
            if let Some(quantized) =
                described.and_then(|tensor| Some((tensor, tensor.quantization.as_ref()?)))
            {
                notes.insert(format!("{}input:{position}", keys::QUANTIZATION), stated(quantized.0));
            }
            inputs.push(match input {
                // What it keeps between runs is its own.
                Some(index) if !described.is_some_and(|tensor| tensor.variable) => {
                    Some(self.graph.value(index)?)
                }
                _ => None,
            });
        }
        let mut outputs = Vec::with_capacity(self.outputs.len());
        for (position, &index) in self.outputs.iter().enumerate() {
            let tensor = &self.graph.tensors[index];
            if tensor.quantization.is_some() {
                notes.insert(format!("{}output:{position}", keys::QUANTIZATION), stated(tensor));
            }
            outputs.push((tensor.name.clone(), tensor.ty.clone()));
        }
        let node = match outputs.first() {
            Some((name, _)) => name.clone(),
            None => self.graph.names.fresh(self.name),
        };
        let op = Op::Opaque(calipers_ir::Opaque {
            domain: domain.to_owned(),
            op_type: self.name.to_owned(),
            attributes,
        });
        let values = self.graph.node(&node, op, &inputs, outputs)?;
        for (&index, value) in self.outputs.iter().zip(values) {
            self.graph.set_value(index, value);
        }
        self.graph.note(&node, notes);
        Ok(())
    }
}

/// Options.
impl Site<'_, '_> {
    /// A number that the operator must have.
    pub fn int(&self, name: &str) -> Mapped<i64> {
        match self.options.get(name) {
            Some(Attribute::Int(number)) => Ok(*number),
            _ => Err(Refusal::Malformed(format!("it has no option `{name}`"))),
        }
    }

    /// A count that the operator must have.
    pub fn size(&self, name: &str) -> Mapped<usize> {
        let number = self.int(name)?;
        usize::try_from(number).map_err(|_| Refusal::Malformed(format!("its option `{name}` is {number}")))
    }

    /// A switch, off where it is absent.
    pub fn flag(&self, name: &str) -> bool {
        matches!(self.options.get(name), Some(Attribute::Int(1)))
    }

    /// A float that the operator must have.
    pub fn float(&self, name: &str) -> Mapped<f32> {
        match self.options.get(name) {
            Some(Attribute::Float(number)) => Ok(*number),
            _ => Err(Refusal::Malformed(format!("it has no option `{name}`"))),
        }
    }

    /// One of several words; the first one where it is absent.
    pub fn word(&self, name: &str) -> Mapped<&str> {
        match self.options.get(name) {
            None => Ok(""),
            Some(Attribute::String(word)) => Ok(std::str::from_utf8(word).unwrap_or_default()),
            Some(_) => Err(Refusal::Malformed(format!("its option `{name}` is unknown"))),
        }
    }

    /// The name of a subgraph.
    pub fn subgraph(&self, name: &str) -> Mapped<calipers_ir::Subgraph> {
        match self.options.get(name) {
            Some(Attribute::Graph(graph)) => Ok(calipers_ir::Subgraph(graph.clone())),
            _ => Err(Refusal::Malformed(format!("it has no option `{name}`"))),
        }
    }

    /// What is applied to the result.
    pub fn activation(&self) -> Mapped<Activation> {
        match self.word("fused_activation_function")? {
            "" | "none" => Ok(Activation::None),
            "relu" => Ok(Activation::Relu),
            "relu_n1_to_1" => Ok(Activation::Clip(Clip { min: -1.0, max: 1.0 })),
            "relu6" => Ok(Activation::Clip(Clip { min: 0.0, max: 6.0 })),
            other => keep(format!("its kernels in LiteRT leave out its activation `{other}`")),
        }
    }
}

/// A conversion to another storage type.
pub(in crate::tflite) fn cast(to: DType) -> Op {
    Op::Select(Select::Cast { to, saturate: true, round_mode: String::from("up") })
}

/// Scales and zero points as text.
fn stated(tensor: &Described) -> String {
    let Some(quantization) = &tensor.quantization else { return String::new() };
    let scales = quantization.scale.as_f32().map(|scales| scales.into_owned()).unwrap_or_default();
    let points = quantization.zero_point.as_ref().and_then(Tensor::to_integers).unwrap_or_default();
    format!("axis {}, scales {scales:?}, zero points {points:?}", quantization.axis)
}
