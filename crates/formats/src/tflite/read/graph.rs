//! One subgraph: its inputs, then its operators in the file's order, and the nodes that state each of them.

use std::collections::{BTreeMap, HashMap, HashSet};

use calipers_ir::{
    DType, DequantizeLinear, Dim, Graph, GraphEditor, Op, QuantizeLinear, Requantization, Tensor, TensorType,
    ValueId, infer,
};

use super::super::buffers::{self, File};
use super::super::schema::{BuiltinOperator, Operator, SubGraph};
use super::super::tensors::{Described, Quantization};
use super::super::{ReadError, operators, options, types};
use super::Site;

/// The graph of a subgraph, and the indices of those that its operators run.
pub(super) fn graph(
    file: &File<'_>,
    subgraph: &SubGraph<'_>,
    tensors: &[Described],
    subgraph_names: &[String],
    index: usize,
    place: &str,
) -> Result<(Graph, Vec<usize>), ReadError> {
    let operators: Vec<Operator<'_>> = subgraph.operators().into_iter().flatten().collect();
    let results = operators.iter().flat_map(|operator| operator.outputs().into_iter().flatten());
    let mut editor = GraphEditor::new(subgraph_names[index].clone());
    editor.set_requantization(Requantization::TfLite);
    let mut reader = GraphReader {
        tensors,
        names: Names(tensors.iter().map(|tensor| tensor.name.clone()).collect()),
        values: vec![None; tensors.len()],
        computed: results.filter_map(|result| usize::try_from(result).ok()).collect(),
        named: HashSet::new(),
        parameters: HashMap::new(),
        reals: HashMap::new(),
        editor,
    };
    let at_tensor = |index: i32, reason: String| {
        let found = usize::try_from(index).ok();
        ReadError::Tensor {
            place: place.to_owned(),
            index: found.unwrap_or(usize::MAX),
            tensor: found.and_then(|index| tensors.get(index)).map_or_else(String::new, |t| t.name.clone()),
            reason,
        }
    };
    for id in subgraph.inputs().into_iter().flatten() {
        reader.add_input(id).map_err(|reason| at_tensor(id, reason))?;
    }
    let mut calls = Vec::new();
    for (index, operator) in operators.iter().enumerate() {
        let (op, name) = operator_of(file, operator)
            .map_err(|reason| ReadError::Model { reason: format!("{place}operator {index}: {reason}") })?;
        let first = operator.outputs().filter(|outputs| !outputs.is_empty()).map(|outputs| outputs.get(0));
        let result =
            first.and_then(|id| tensors.get(usize::try_from(id).ok()?)).map(|tensor| tensor.name.clone());
        let arguments = Arguments { file, operator, op, name: &name, subgraph_names };
        reader.add_operator(&arguments, &mut calls).map_err(|reason| ReadError::Operator {
            place: place.to_owned(),
            index,
            op: name.clone(),
            result: result.unwrap_or_default(),
            reason,
        })?;
    }
    for id in subgraph.outputs().into_iter().flatten() {
        let value = usize::try_from(id)
            .map_err(|_| String::from("it is no tensor"))
            .and_then(|index| reader.value(index))
            .map_err(|reason| at_tensor(id, format!("as an output of the model, {reason}")))?;
        reader.editor.add_output(value);
    }
    Ok((reader.editor.build()?, calls))
}

/// Which operator it is, and what it is called.
fn operator_of(file: &File<'_>, operator: &Operator<'_>) -> Result<(BuiltinOperator, String), String> {
    let (codes, index) = (file.model.operator_codes(), operator.opcode_index() as usize);
    let Some(code) = codes.filter(|codes| index < codes.len()).map(|codes| codes.get(index)) else {
        let count = codes.map_or(0, |codes| codes.len());
        return Err(format!("its code is number {index}, the file has {count}"));
    };
    let op = types::operator(code.deprecated_builtin_code(), code.builtin_code());
    let name = match code.custom_code().filter(|_| op == BuiltinOperator::CUSTOM) {
        Some(custom) => custom.to_owned(),
        None => types::operator_name(op),
    };
    Ok((op, name))
}

/// Value and node names that are taken.
pub(in crate::tflite) struct Names(HashSet<String>);

impl Names {
    /// `wanted`, or `wanted` with a number.
    pub(in crate::tflite) fn fresh(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        let mut number = 0;
        while !self.0.insert(name.clone()) {
            number += 1;
            name = format!("{wanted}_{number}");
        }
        name
    }
}

/// An operator of the file.
struct Arguments<'r, 'a> {
    file: &'r File<'a>,
    operator: &'r Operator<'a>,
    op: BuiltinOperator,
    name: &'r str,
    subgraph_names: &'r [String],
}

/// A graph under construction.
pub(in crate::tflite) struct GraphReader<'r> {
    pub(in crate::tflite) tensors: &'r [Described],
    pub(in crate::tflite) editor: GraphEditor,
    pub(in crate::tflite) names: Names,
    /// Values of tensors as the file stores them.
    values: Vec<Option<ValueId>>,
    /// Tensors that some operator computes.
    computed: HashSet<usize>,
    /// Constants of which the name is given to a value.
    named: HashSet<usize>,
    /// Scale and zero point of quantized tensors.
    parameters: HashMap<usize, (ValueId, Option<ValueId>)>,
    /// What tensors stand for: dequantized, permuted.
    reals: HashMap<(usize, Vec<usize>), ValueId>,
}

impl GraphReader<'_> {
    fn add_input(&mut self, id: i32) -> Result<(), String> {
        let index = self.index(id)?;
        let tensor = &self.tensors[index];
        if tensor.constant.is_some() {
            return Err(String::from("it is an input of the model and has data of its own"));
        }
        if self.values[index].is_some() {
            return Err(String::from("it is twice among the inputs of the model"));
        }
        let value = self.editor.add_input(tensor.name.clone(), tensor.ty.clone());
        self.values[index] = Some(value.map_err(|error| error.to_string())?);
        Ok(())
    }

    fn add_operator(&mut self, arguments: &Arguments<'_, '_>, calls: &mut Vec<usize>) -> Result<(), String> {
        let Arguments { file, operator, .. } = arguments;
        let called = std::cell::RefCell::new(Vec::new());
        let subgraph = |index: i64| {
            let found = usize::try_from(index).ok().filter(|index| *index > 0);
            let name = found.and_then(|index| arguments.subgraph_names.get(index));
            called.borrow_mut().extend(found);
            name.cloned().ok_or_else(|| format!("{index} is no subgraph that can be run by another"))
        };
        let stored = options::Stored {
            first: (operator.builtin_options_type(), operator.builtin_options()),
            second: (operator.builtin_options_2_type(), operator.builtin_options_2()),
        };
        let options = options::attributes(&stored, subgraph)?;
        calls.append(&mut called.into_inner());
        let custom = match operator.custom_options().map(|options| options.bytes()) {
            Some(bytes) if !bytes.is_empty() => Some(file.bytes.slice_ref(bytes)),
            _ => buffers::outside(
                file.bytes,
                operator.large_custom_options_offset(),
                operator.large_custom_options_size(),
            )?,
        };
        let inputs = operator.inputs().into_iter().flatten();
        let inputs = inputs.map(|id| if id == -1 { Ok(None) } else { self.index(id).map(Some) });
        let inputs = inputs.collect::<Result<Vec<_>, _>>()?;
        let outputs = operator.outputs().into_iter().flatten().map(|id| self.index(id));
        let outputs = outputs.collect::<Result<Vec<_>, _>>()?;
        let inner = operator.intermediates().into_iter().flatten();
        let intermediates = inner.map(|id| self.index(id)).collect::<Result<Vec<_>, _>>()?;
        for (position, &output) in outputs.iter().enumerate() {
            let name = &self.tensors[output].name;
            if self.values[output].is_some() || outputs[..position].contains(&output) {
                return Err(format!(
                    "its result `{name}` is an input of the model or another operator's result"
                ));
            }
            if self.tensors[output].constant.is_some() {
                return Err(format!("its result `{name}` has data of its own"));
            }
        }
        let name = arguments.name;
        let site =
            Site { graph: self, op: arguments.op, name, options, custom, inputs, outputs, intermediates };
        operators::add(site)
    }

    fn index(&self, id: i32) -> Result<usize, String> {
        let index = usize::try_from(id).ok().filter(|index| *index < self.tensors.len());
        index.ok_or_else(|| format!("it names tensor {id}, the subgraph has {}", self.tensors.len()))
    }

    /// A tensor as the file stores it.
    pub(in crate::tflite) fn value(&mut self, index: usize) -> Result<ValueId, String> {
        let Some(tensor) = self.tensors.get(index) else {
            return Err(format!("tensor {index} is not there"));
        };
        if let Some(value) = self.values[index] {
            return Ok(value);
        }
        let name = &tensor.name;
        let constant = match (&tensor.constant, tensor.ty.known_shape()) {
            (Some(constant), _) => constant.clone(),
            // What has no elements needs no buffer.
            (None, Some(shape)) if shape.contains(&0) && !self.computed.contains(&index) => {
                buffers::constant(tensor.ty.dtype, &shape, bytes::Bytes::new())?
            }
            (None, _) if tensor.variable => {
                return Err(format!(
                    "variable `{name}` is read, which is only supported as the state of an LSTM"
                ));
            }
            (None, _) if self.computed.contains(&index) => {
                return Err(format!("`{name}` is read before it is computed"));
            }
            (None, _) => return Err(format!("`{name}` is read, and nothing defines it")),
        };
        let name = self.own_name(index);
        let value = self.editor.add_constant(name, constant).map_err(|error| error.to_string())?;
        self.values[index] = Some(value);
        Ok(value)
    }

    /// What a tensor stands for: dequantized where it is quantized; axis `i` is axis `permutation[i]` of the file, in
    /// the file's order where that is empty. Constants are permuted here, other values by a node.
    pub(in crate::tflite) fn real(&mut self, index: usize, permutation: &[usize]) -> Result<ValueId, String> {
        let tensor = &self.tensors[index];
        if tensor.quantization.is_none() && permutation.is_empty() {
            return self.value(index);
        }
        let key = (index, permutation.to_vec());
        if let Some(&value) = self.reals.get(&key) {
            return Ok(value);
        }
        let mut value = match &tensor.constant {
            Some(constant) if !permutation.is_empty() => {
                let permuted = permuted(constant, permutation)?;
                let name = self.own_name(index);
                self.editor.add_constant(name, permuted).map_err(|error| error.to_string())?
            }
            _ => self.value(index)?,
        };
        if tensor.constant.is_none() && !permutation.is_empty() {
            let op = Op::Transpose { permutation: permutation.to_vec() };
            let name = self.names.fresh(&format!("{}_Transpose", tensor.name));
            let ty = TensorType::unranked(tensor.ty.dtype);
            value = self.node(&name, op, &[Some(value)], vec![(name.clone(), ty)])?[0];
        }
        if let Some(quantization) = &tensor.quantization {
            value = self.dequantize(index, quantization, value, permutation)?;
        }
        self.reals.insert(key, value);
        Ok(value)
    }

    /// The tensor's name, once; later that name with an ending.
    fn own_name(&mut self, index: usize) -> String {
        let name = &self.tensors[index].name;
        if self.named.insert(index) { name.clone() } else { self.names.fresh(&format!("{name}_reordered")) }
    }

    /// Adds a DequantizeLinear node on a value that has a tensor's parameters, in the order of the permutation.
    pub(in crate::tflite) fn dequantize(
        &mut self,
        index: usize,
        quantization: &Quantization,
        value: ValueId,
        permutation: &[usize],
    ) -> Result<ValueId, String> {
        if quantization.block_size > 0 && !permutation.is_empty() {
            return Err(String::from("its weights are quantized in blocks, which is not supported for them"));
        }
        let name = self.tensors[index].name.clone();
        let (scale, zero_point) = self.parameters(index, quantization)?;
        let axis = match permutation.iter().position(|&axis| axis == quantization.axis) {
            Some(axis) if !quantization.per_tensor() => axis,
            _ => quantization.axis,
        };
        let op =
            Op::DequantizeLinear(DequantizeLinear { axis: axis as i64, block_size: quantization.block_size });
        let node = self.names.fresh(&format!("{name}_DequantizeLinear"));
        let output = self.names.fresh(&format!("{name}_DequantizeLinear_Output"));
        let ty = TensorType { dtype: DType::F32, shape: self.editor.value(value).ty.shape.clone() };
        Ok(self.node(&node, op, &[Some(value), Some(scale), zero_point], vec![(output, ty)])?[0])
    }

    /// Adds a QuantizeLinear node that makes a tensor of the file.
    pub(in crate::tflite) fn quantize(
        &mut self,
        index: usize,
        quantization: &Quantization,
        real: ValueId,
        node: &str,
    ) -> Result<(), String> {
        let tensor = &self.tensors[index];
        let positive =
            quantization.scale.as_f32().is_some_and(|scales| scales.iter().all(|&scale| scale > 0.0));
        if !positive {
            return Err(format!("its result `{}` has a scale of 0", tensor.name));
        }
        let (scale, zero_point) = self.parameters(index, quantization)?;
        let op = Op::QuantizeLinear(QuantizeLinear {
            axis: quantization.axis as i64,
            block_size: quantization.block_size,
            saturate: true,
            dtype: tensor.ty.dtype,
        });
        self.define(index, node, op, &[Some(real), Some(scale), zero_point])
    }

    /// Scale and zero point of a tensor.
    pub(in crate::tflite) fn parameters(
        &mut self,
        index: usize,
        quantization: &Quantization,
    ) -> Result<(ValueId, Option<ValueId>), String> {
        if let Some(&pair) = self.parameters.get(&index) {
            return Ok(pair);
        }
        let name = self.tensors[index].name.clone();
        let scale = self.constant(&format!("{name}_scale"), quantization.scale.clone())?;
        let zero_point = match &quantization.zero_point {
            Some(zero_point) => Some(self.constant(&format!("{name}_zero_point"), zero_point.clone())?),
            None => None,
        };
        self.parameters.insert(index, (scale, zero_point));
        Ok((scale, zero_point))
    }

    /// Adds a constant of about that name.
    pub(in crate::tflite) fn constant(&mut self, name: &str, tensor: Tensor) -> Result<ValueId, String> {
        let name = self.names.fresh(name);
        self.editor.add_constant(name, tensor).map_err(|error| error.to_string())
    }

    /// Adds a node whose only result is a tensor of the file.
    pub(in crate::tflite) fn define(
        &mut self,
        index: usize,
        node: &str,
        op: Op,
        inputs: &[Option<ValueId>],
    ) -> Result<(), String> {
        let tensor = &self.tensors[index];
        let values = self.node(node, op, inputs, vec![(tensor.name.clone(), tensor.ty.clone())])?;
        self.values[index] = values.first().copied();
        Ok(())
    }

    /// Lets a constant be a tensor of the file that an operator makes.
    pub(in crate::tflite) fn define_constant(&mut self, index: usize, tensor: Tensor) -> Result<(), String> {
        let name = self.tensors[index].name.clone();
        let value = self.editor.add_constant(name, tensor).map_err(|error| error.to_string())?;
        self.values[index] = Some(value);
        Ok(())
    }

    /// Lets the result of a node be a tensor of the file.
    pub(in crate::tflite) fn set_value(&mut self, index: usize, value: ValueId) {
        self.values[index] = Some(value);
    }

    /// Adds a node. Its results have the types that the operator's rule gives, as far as it knows them, and else the
    /// stated ones.
    pub(in crate::tflite) fn node(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[Option<ValueId>],
        outputs: Vec<(String, TensorType)>,
    ) -> Result<Vec<ValueId>, String> {
        let inputs = &inputs[..inputs.iter().rposition(Option::is_some).map_or(0, |last| last + 1)];
        let types: Vec<_> = inputs.iter().map(|input| input.map(|id| &self.editor.value(id).ty)).collect();
        let constants: Vec<_> =
            inputs.iter().map(|input| input.and_then(|id| self.editor.constant(id))).collect();
        let inferred = infer(&op, &types, &constants).map_err(|error| error.to_string())?;
        let typed = outputs
            .into_iter()
            .enumerate()
            .map(|(position, (name, stated))| match inferred.as_ref().and_then(|types| types.get(position)) {
                Some(found) if found.dtype != stated.dtype => {
                    Err(format!("it gives {found}, but the file declares `{name}` as {stated}"))
                }
                Some(found) => Ok((name, merged(found, stated))),
                None => Ok((name, stated)),
            })
            .collect::<Result<Vec<_>, _>>()?;
        self.editor.add_typed_node(name, op, inputs, typed).map_err(|error| error.to_string())
    }

    /// Sets what the file says of a node beside its meaning.
    pub(in crate::tflite) fn note(&mut self, node: &str, notes: BTreeMap<String, String>) {
        self.editor.set_metadata(node, notes);
    }
}

/// The found type, with stated extents where it leaves them open.
fn merged(found: &TensorType, stated: TensorType) -> TensorType {
    let shape = match (&found.shape, stated.shape) {
        (Some(found), Some(stated)) if found.len() == stated.len() => {
            let known = |(found, stated): (&Dim, Dim)| match (found, stated) {
                (Dim::Symbolic(_), Dim::Known(extent)) => Dim::Known(extent),
                (found, _) => found.clone(),
            };
            Some(found.iter().zip(stated).map(known).collect())
        }
        (Some(found), _) => Some(found.clone()),
        (None, stated) => stated,
    };
    TensorType { dtype: found.dtype, shape }
}

/// A constant whose axis `i` is axis `permutation[i]` of the given one.
pub(in crate::tflite) fn permuted(tensor: &Tensor, permutation: &[usize]) -> Result<Tensor, String> {
    let shape = tensor.shape();
    let bits = tensor.dtype().bits().unwrap_or_default();
    if permutation.len() != shape.len() || bits == 0 {
        return Err(format!("its weights are of rank {}, expected {}", shape.len(), permutation.len()));
    }
    let extents: Vec<usize> = permutation.iter().map(|&axis| shape[axis]).collect();
    if tensor.is_empty() {
        return tensor.reshaped(extents).map_err(|error| error.to_string());
    }
    let mut steps = vec![1usize; shape.len()];
    for axis in (1..shape.len()).rev() {
        steps[axis - 1] = steps[axis] * shape[axis];
    }
    let steps: Vec<usize> = permutation.iter().map(|&axis| steps[axis]).collect();
    let source = tensor.bytes();
    let mut result = vec![0u8; source.len()];
    let mut position = vec![0usize; extents.len()];
    let mut from = 0;
    for to in 0..tensor.len() {
        if bits >= 8 {
            let width = bits / 8;
            result[to * width..(to + 1) * width].copy_from_slice(&source[from * width..(from + 1) * width]);
        } else {
            let (per_byte, mask) = (8 / bits, (1u8 << bits) - 1);
            let element = source[from / per_byte] >> (from % per_byte * bits) & mask;
            result[to / per_byte] |= element << (to % per_byte * bits);
        }
        for axis in (0..extents.len()).rev() {
            position[axis] += 1;
            from += steps[axis];
            if position[axis] < extents[axis] {
                break;
            }
            from -= steps[axis] * extents[axis];
            position[axis] = 0;
        }
    }
    Tensor::new(tensor.dtype(), extents, result.into()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::permuted;
    use calipers_ir::{DType, Tensor};

    #[test]
    fn constants_are_permuted() {
        let tensor = Tensor::from_vec([2, 3], vec![1i16, 2, 3, 4, 5, 6]).unwrap();
        let turned = permuted(&tensor, &[1, 0]).unwrap();
        assert_eq!(turned.shape(), [3, 2]);
        assert_eq!(turned.to_integers().unwrap(), [1, 4, 2, 5, 3, 6]);
        assert!(permuted(&tensor, &[0]).is_err());
    }

    #[test]
    fn packed_constants_are_permuted() {
        let tensor = Tensor::new(DType::I4, [3, 2], vec![0x21, 0x43, 0x65].into()).unwrap();
        assert_eq!(permuted(&tensor, &[1, 0]).unwrap().bytes().as_ref(), [0x31, 0x25, 0x64]);
    }
}
