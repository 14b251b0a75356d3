//! The edit that follows an assignment: Quantize and Dequantize nodes around what is quantized.

mod dynamic;
mod table;

use std::collections::{HashMap, HashSet};

use calipers_ir::{
    DequantizeLinear, Graph, GraphEditor, Indexing, Node, Op, QuantizeLinear, Tensor, ValueId,
};

use crate::{ConstantAssignment, Parameters, Placement, QuantAssignment, QuantError, ValueAssignment};

/// The graph in QDQ form, as ONNX Runtime's `quantize_static` writes it.
///
/// Before: `x -> Conv(w, b) -> y`. After: `x -> QuantizeLinear -> DequantizeLinear -> Conv(DequantizeLinear(w as i8),
/// DequantizeLinear(b as i32)) -> QuantizeLinear -> DequantizeLinear -> y`.
///
/// Every quantized value gets one pair. Quantized nodes read what comes out of it; float nodes do so where a quantized
/// node makes the value, and else read the value itself. Inputs and outputs of the graph keep name and type. Fused
/// activations stay in their nodes.
///
/// Nodes whose weights alone are quantized read them from a DequantizeLinear. An embedding of 8 bits is taken from its
/// table as integers, with the scales of its rows, and dequantized behind: `Gather(DequantizeLinear(table), i)` would
/// dequantize all of the table in each run. A product that is quantized dynamically becomes `DynamicQuantizeLinear(x) ->
/// MatMulInteger or ConvInteger -> Cast -> Mul by the product of the scales -> Add of the bias`, as ONNX Runtime's
/// `quantize_dynamic` writes it.
///
/// New names, with a number when taken: nodes `<value>_QuantizeLinear` and `<value>_DequantizeLinear`, values
/// `<value>_QuantizeLinear_Output`, `<value>_DequantizeLinear_Output`, `<value>_scale`, `<value>_zero_point`,
/// constants `<constant>_quantized`. A quantized output `<value>` of the graph is what its DequantizeLinear makes; what
/// its node makes is then called `<value>_QuantizeLinear_Input`.
///
/// # Errors
/// A name that graph and assignment do not share, parameters that do not fit, a constant that is not finite.
pub fn insert_qdq(graph: &Graph, assignment: &QuantAssignment) -> Result<Graph, QuantError> {
    check(graph, assignment)?;
    let mut insertion = Insertion {
        graph,
        assignment,
        editor: GraphEditor::new(graph.name()),
        taken: names(graph),
        copies: HashMap::new(),
        dequantized: HashMap::new(),
        roots: HashMap::new(),
        constants: Vec::new(),
        integers: Vec::new(),
        dynamic: HashMap::new(),
    };
    insertion.editor.set_requantization(graph.requantization());
    for &input in graph.inputs() {
        let value = graph.value(input);
        let id = insertion.editor.add_input(value.name.clone(), value.ty.clone())?;
        insertion.copies.insert(input, id);
    }
    for (&id, tensor) in graph.constants() {
        let copy = insertion.editor.add_constant(graph.value(id).name.clone(), tensor.clone())?;
        insertion.copies.insert(id, copy);
    }
    for &input in graph.inputs() {
        insertion.add_pair(input, false)?;
    }
    for node in graph.nodes() {
        insertion.add_node(node)?;
    }
    for output in graph.outputs() {
        let quantized = graph.producer(*output).is_some() && insertion.reads_dequantized(*output, false);
        let source = if quantized { &insertion.dequantized } else { &insertion.copies };
        insertion.editor.add_output(source[output]);
    }
    Ok(insertion.editor.build()?)
}

struct Insertion<'a> {
    graph: &'a Graph,
    assignment: &'a QuantAssignment,
    editor: GraphEditor,
    taken: HashSet<String>,
    /// Values of the old graph in the new one.
    copies: HashMap<ValueId, ValueId>,
    /// What comes out of a value's pair.
    dequantized: HashMap<ValueId, ValueId>,
    /// Scale and zero point by the name of the value that they belong to.
    roots: HashMap<String, (ValueId, ValueId)>,
    /// Dequantized constants, so that nodes that share one share its integers.
    constants: Vec<(String, Parameters, ValueId)>,
    /// Integers of constants.
    integers: Vec<(String, Tensor, ValueId)>,
    /// Integers, scale and zero point of values that are quantized while running.
    dynamic: HashMap<ValueId, [ValueId; 3]>,
}

impl<'a> Insertion<'a> {
    fn add_node(&mut self, node: &Node) -> Result<(), QuantError> {
        let assignment: &'a QuantAssignment = self.assignment;
        let assigned = assignment.nodes.get(&node.name).map(|node| &node.placement);
        let (quantized, constants, activations) = match assigned {
            Some(Placement::Quantized { constants, activations }) => {
                (true, constants.as_slice(), activations.as_slice())
            }
            Some(Placement::Dynamic { constants }) => return self.add_dynamic(node, constants),
            Some(Placement::WeightOnly { constants, .. }) => {
                if let ([table], Op::Indexing(Indexing::Gather { .. })) = (constants.as_slice(), &node.op)
                    && table.parameters.dtype.bits() == 8
                {
                    return self.add_lookup(node, table);
                }
                (false, constants.as_slice(), [].as_slice())
            }
            Some(Placement::Float { .. }) | None => (false, [].as_slice(), [].as_slice()),
        };
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for (index, input) in node.inputs.iter().enumerate() {
            let Some(input) = *input else {
                inputs.push(None);
                continue;
            };
            let constant = constants.iter().find(|constant| constant.input == index);
            inputs.push(Some(match constant {
                Some(constant) => self.add_quantized_constant(constant, input)?,
                None => self.source(input, activations.contains(&index)),
            }));
        }
        let mut outputs = Vec::with_capacity(node.outputs.len());
        for &output in &node.outputs {
            let value = self.graph.value(output);
            let name = if self.is_quantized_output(output, quantized) {
                self.fresh(format!("{}_QuantizeLinear_Input", value.name))
            } else {
                value.name.clone()
            };
            outputs.push((name, value.ty.clone()));
        }
        let ids = self.editor.add_typed_node(node.name.clone(), node.op.clone(), &inputs, outputs)?;
        self.finish_node(node, ids, quantized)
    }

    /// Keeps what the file says of a node, and quantizes what it makes.
    fn finish_node(&mut self, node: &Node, outputs: Vec<ValueId>, quantized: bool) -> Result<(), QuantError> {
        if !node.metadata.is_empty() {
            self.editor.set_metadata(&node.name, node.metadata.clone());
        }
        for (&output, id) in node.outputs.iter().zip(outputs) {
            self.copies.insert(output, id);
            self.add_pair(output, quantized)?;
        }
        Ok(())
    }

    /// What a reader of a value gets.
    fn source(&self, value: ValueId, quantized_reader: bool) -> ValueId {
        if self.reads_dequantized(value, quantized_reader) {
            self.dequantized[&value]
        } else {
            self.copies[&value]
        }
    }

    /// Whether a reader gets what comes out of the value's pair: quantized readers do, and every reader of what a
    /// quantized node makes.
    fn reads_dequantized(&self, value: ValueId, quantized_reader: bool) -> bool {
        let made_quantized = || {
            let producer = self.graph.producer(value);
            producer.is_some_and(|node| self.assignment.is_quantized(&self.graph.node(node).name))
        };
        self.dequantized.contains_key(&value) && (quantized_reader || made_quantized())
    }

    fn is_quantized_output(&self, value: ValueId, quantized_producer: bool) -> bool {
        quantized_producer
            && self.graph.outputs().contains(&value)
            && self.assignment.values.contains_key(&self.graph.value(value).name)
    }

    /// Adds the pair of a value that the assignment lists.
    fn add_pair(&mut self, value: ValueId, quantized_producer: bool) -> Result<(), QuantError> {
        let name = &self.graph.value(value).name;
        let Some(assigned) = self.assignment.values.get(name) else {
            return Ok(());
        };
        let root = match assigned {
            ValueAssignment::Own(_) => name.clone(),
            ValueAssignment::SameAs(root) => root.clone(),
        };
        let Some(parameters) = self.assignment.parameters(name) else {
            return Ok(());
        };
        let (scale, zero_point) = self.add_parameters(&root, parameters, &[])?;
        let quantize =
            QuantizeLinear { axis: 1, block_size: 0, saturate: true, dtype: parameters.dtype.dtype() };
        let node = self.fresh(format!("{name}_QuantizeLinear"));
        let output = self.fresh(format!("{name}_QuantizeLinear_Output"));
        let inputs = [Some(self.copies[&value]), Some(scale), Some(zero_point)];
        let quantized =
            self.editor.add_node(node, Op::QuantizeLinear(quantize), &inputs, &[output.as_str()])?[0];

        let node = self.fresh(format!("{name}_DequantizeLinear"));
        let output = if self.is_quantized_output(value, quantized_producer) {
            name.clone()
        } else {
            self.fresh(format!("{name}_DequantizeLinear_Output"))
        };
        let dequantize = Op::DequantizeLinear(DequantizeLinear { axis: 1, block_size: 0 });
        let inputs = [Some(quantized), Some(scale), Some(zero_point)];
        let dequantized = self.editor.add_node(node, dequantize, &inputs, &[output.as_str()])?[0];
        self.dequantized.insert(value, dequantized);
        Ok(())
    }

    /// Scale and zero point of something of that shape, as constants.
    fn add_parameters(
        &mut self,
        root: &str,
        parameters: &Parameters,
        shape: &[usize],
    ) -> Result<(ValueId, ValueId), QuantError> {
        if let Some(&pair) = self.roots.get(root) {
            return Ok(pair);
        }
        let wrong = |error: calipers_ir::TensorError| QuantError::Assignment {
            place: format!("`{root}`"),
            expected: String::from("scales and zero points that fit a tensor"),
            found: error.to_string(),
        };
        let scale = self.fresh(format!("{root}_scale"));
        let scale = self.editor.add_constant(scale, parameters.scale_tensor(shape).map_err(wrong)?)?;
        let zero_point = self.fresh(format!("{root}_zero_point"));
        let zero_point =
            self.editor.add_constant(zero_point, parameters.zero_point_tensor(shape).map_err(wrong)?)?;
        self.roots.insert(root.to_owned(), (scale, zero_point));
        Ok((scale, zero_point))
    }

    /// The constant as integers behind a DequantizeLinear.
    fn add_quantized_constant(
        &mut self,
        constant: &ConstantAssignment,
        id: ValueId,
    ) -> Result<ValueId, QuantError> {
        let ConstantAssignment { name, parameters, .. } = constant;
        let made = self.constants.iter().find(|made| made.0 == *name && made.1 == *parameters);
        if let Some((.., made)) = made {
            return Ok(*made);
        }
        let (quantized, scale, zero_point) = self.add_integers(constant, id)?;
        let axis = parameters.axis.map_or(1, |axis| axis as i64);
        let node = self.fresh(format!("{name}_DequantizeLinear"));
        let output = self.fresh(format!("{name}_DequantizeLinear_Output"));
        let block_size = parameters.block.unwrap_or(0);
        let dequantize = Op::DequantizeLinear(DequantizeLinear { axis, block_size });
        let inputs = [Some(quantized), Some(scale), Some(zero_point)];
        let dequantized = self.editor.add_node(node, dequantize, &inputs, &[output.as_str()])?[0];
        self.constants.push((name.clone(), parameters.clone(), dequantized));
        Ok(dequantized)
    }

    /// The integers of a constant, their scale and their zero point.
    fn add_integers(
        &mut self,
        constant: &ConstantAssignment,
        id: ValueId,
    ) -> Result<(ValueId, ValueId, ValueId), QuantError> {
        let ConstantAssignment { name, parameters, .. } = constant;
        let Some(tensor) = self.graph.constant(id) else {
            return Err(not_constant(name));
        };
        let integers = parameters.quantize(name, tensor)?;
        // A constant that nodes quantize in different ways has several sets of parameters.
        let again = self.integers.iter().any(|made| made.0 == *name);
        let root = if again { self.fresh(format!("{name}_again")) } else { name.clone() };
        let quantized = self.add_integer_tensor(name, integers)?;
        let (scale, zero_point) = self.add_parameters(&root, parameters, tensor.shape())?;
        Ok((quantized, scale, zero_point))
    }

    /// A constant of integers, once for each name and content.
    fn add_integer_tensor(&mut self, name: &str, integers: Tensor) -> Result<ValueId, QuantError> {
        let same = self.integers.iter().find(|made| made.0 == name && made.1 == integers);
        if let Some((.., id)) = same {
            return Ok(*id);
        }
        let quantized = self.fresh(format!("{name}_quantized"));
        let quantized = self.editor.add_constant(quantized, integers.clone())?;
        self.integers.push((name.to_owned(), integers, quantized));
        Ok(quantized)
    }

    /// A name that neither graph has.
    fn fresh(&mut self, wanted: String) -> String {
        let mut name = wanted.clone();
        let mut number = 0;
        while !self.taken.insert(name.clone()) {
            number += 1;
            name = format!("{wanted}_{number}");
        }
        name
    }
}

fn names(graph: &Graph) -> HashSet<String> {
    let values = graph.values().iter().map(|value| value.name.clone());
    values.chain(graph.nodes().iter().map(|node| node.name.clone())).collect()
}

fn not_constant(name: &str) -> QuantError {
    QuantError::Assignment {
        place: format!("constant `{name}`"),
        expected: String::from("a constant argument of its node"),
        found: String::from("a computed value, another constant or none"),
    }
}

/// Whether the assignment is one of this graph.
fn check(graph: &Graph, assignment: &QuantAssignment) -> Result<(), QuantError> {
    let wrong = |place: String, expected: &str, found: &str| {
        Err(QuantError::Assignment { place, expected: expected.to_owned(), found: found.to_owned() })
    };
    let nodes: HashMap<&str, &Node> = graph.nodes().iter().map(|node| (node.name.as_str(), node)).collect();
    if let Some(node) = graph.nodes().iter().find(|node| !assignment.nodes.contains_key(&node.name)) {
        return wrong(format!("node `{}`", node.name), "a decision", "none");
    }
    for (name, assigned) in &assignment.nodes {
        let Some(node) = nodes.get(name.as_str()) else {
            return wrong(format!("node `{name}`"), "a node of the graph", "none of that name");
        };
        if node.op.name() != assigned.operator {
            return wrong(format!("node `{name}`"), node.op.name(), &assigned.operator);
        }
        for constant in assigned.placement.constants() {
            let tensor = node.input(constant.input).and_then(|id| Some((id, graph.constant(id)?)));
            match tensor {
                Some((id, tensor)) if graph.value(id).name == constant.name => {
                    constant.parameters.check(&constant.name, tensor.shape())?;
                }
                _ => return Err(not_constant(&constant.name)),
            }
        }
    }
    for name in assignment.values.keys() {
        let place = format!("value `{name}`");
        let Some(id) = graph.value_named(name) else {
            return wrong(place, "a value of the graph", "none of that name");
        };
        if graph.constant(id).is_some() {
            return wrong(place, "an input or a computed value", "a constant");
        }
        let Some(parameters) = assignment.parameters(name) else {
            return wrong(place, "parameters of its own, or the name of a value that has them", "neither");
        };
        if parameters.axis.is_some() {
            return wrong(place, "one scale", "scales along an axis");
        }
        parameters.check(name, &[])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
