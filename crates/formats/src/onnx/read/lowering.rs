//! One node of a file as several of the graph.

use calipers_ir::{
    Activation, BinaryKind, DType, DequantizeLinear, Op, QuantizeLinear, Tensor, TensorType, ValueId,
};

use super::super::attributes::NodeAttributes;
use super::super::messages::AttributeProto;
use super::graph::{Fault, GraphReader};
use super::operator::{self, Arguments, Mapping};
use super::upgrade::Call;

/// Most elements of a constant that is made by repeating one; beyond, a node repeats it when the graph runs.
const MOST_REPEATED: usize = 1 << 16;

/// Adds nodes in place of one of the file. One of them, the operator proper, has its name; the others' names say
/// after a slash what they are for.
pub(super) struct Lowering<'a> {
    pub graph: &'a mut GraphReader,
    pub call: &'a Call,
    /// Whether some node has the name of the file's.
    named: bool,
}

/// A quantized tensor of the file: data, scale, zero point.
pub(super) struct Quantized {
    pub data: ValueId,
    pub scale: ValueId,
    pub zero_point: Option<ValueId>,
}

impl<'a> Lowering<'a> {
    pub fn new(graph: &'a mut GraphReader, call: &'a Call) -> Self {
        Lowering { graph, call, named: false }
    }

    pub fn op_type(&self) -> &'a str {
        &self.call.proto.op_type
    }

    pub fn attributes(&self) -> NodeAttributes<'a> {
        NodeAttributes::new(&self.call.proto.attribute)
    }

    pub fn input(&self, index: usize) -> Result<ValueId, Fault> {
        self.call.input(index).ok_or_else(|| Fault::Node(format!("input {index} is missing")))
    }

    pub fn optional(&self, index: usize) -> Option<ValueId> {
        self.call.input(index)
    }

    pub fn ty(&self, id: ValueId) -> &TensorType {
        &self.graph.editor.value(id).ty
    }

    pub fn rank(&self, id: ValueId) -> Option<usize> {
        self.ty(id).rank()
    }

    pub fn data(&self, id: ValueId) -> Option<&Tensor> {
        self.graph.editor.constant(id)
    }

    /// Name of an output of the node that is asked for.
    pub fn output(&self, index: usize) -> Option<&'a String> {
        self.call.proto.output.get(index).filter(|name| !name.is_empty())
    }

    pub fn constant(&mut self, role: &str, tensor: Tensor) -> Result<ValueId, Fault> {
        Ok(self.graph.constant(&format!("{}/{role}", self.call.name), tensor)?)
    }

    pub fn ints(&mut self, role: &str, values: &[i64]) -> Result<ValueId, Fault> {
        let tensor = Tensor::from_vec([values.len()], values.to_vec()).map_err(|error| error.to_string())?;
        self.constant(role, tensor)
    }

    /// A number of a float type as a tensor of rank 0.
    pub fn float(&mut self, role: &str, value: f32, dtype: DType) -> Result<ValueId, Fault> {
        let tensor = match dtype {
            DType::F32 => Tensor::scalar(value),
            DType::F64 => Tensor::scalar(f64::from(value)),
            _ => {
                let wide = self.constant(role, Tensor::scalar(value))?;
                let cast =
                    calipers_ir::Select::Cast { to: dtype, saturate: true, round_mode: String::from("up") };
                return self.add(&format!("{role}_cast"), Op::Select(cast), &[wide]);
            }
        };
        self.constant(role, tensor)
    }

    /// A node on the way, and its only output.
    pub fn add(&mut self, role: &str, op: Op, inputs: &[ValueId]) -> Result<ValueId, Fault> {
        let name = self.graph.fresh_node_name(&format!("{}/{role}", self.call.name));
        let output = self.graph.fresh(&name);
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        self.single(&name, op, &inputs, output)
    }

    /// The operator proper, whose output is not the node's.
    pub fn proper(&mut self, op: Op, inputs: &[Option<ValueId>]) -> Result<ValueId, Fault> {
        self.named = true;
        let name = self.call.name.clone();
        let output = self.graph.fresh(&format!("{name}/result"));
        self.single(&name, op, inputs, output)
    }

    /// The node that gives an output of the file's node.
    pub fn result(&mut self, index: usize, role: &str, op: Op, inputs: &[ValueId]) -> Result<(), Fault> {
        let Some(output) = self.output(index).cloned() else {
            return Err(Fault::Node(format!("output {index} is missing")));
        };
        let name = match self.named {
            false => self.call.name.clone(),
            true => self.graph.fresh_node_name(&format!("{}/{role}", self.call.name)),
        };
        self.named = true;
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        self.single(&name, op, &inputs, output).map(drop)
    }

    fn single(
        &mut self,
        name: &str,
        op: Op,
        inputs: &[Option<ValueId>],
        output: String,
    ) -> Result<ValueId, Fault> {
        let ids = self.graph.add(name, op, inputs, &[output])?;
        ids.first().copied().ok_or_else(|| Fault::Node(String::from("the operator has no output")))
    }

    /// Several outputs of a node on the way.
    pub fn several(
        &mut self,
        role: &str,
        op: Op,
        inputs: &[ValueId],
        outputs: usize,
    ) -> Result<Vec<ValueId>, Fault> {
        let name = self.graph.fresh_node_name(&format!("{}/{role}", self.call.name));
        let names: Vec<String> =
            (0..outputs).map(|index| self.graph.fresh(&format!("{name}_{index}"))).collect();
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        self.graph.add(&name, op, &inputs, &names)
    }

    pub fn binary(&mut self, role: &str, kind: BinaryKind, a: ValueId, b: ValueId) -> Result<ValueId, Fault> {
        self.add(role, Op::Binary(kind, Activation::None), &[a, b])
    }

    /// The operator of that name with these attributes on those values, as if the file had it.
    pub fn mapped(
        &self,
        op_type: &str,
        attribute: Vec<AttributeProto>,
        inputs: &[Option<ValueId>],
    ) -> Result<Op, Fault> {
        let types: Vec<_> = inputs.iter().map(|input| input.map(|id| self.ty(id))).collect();
        let constants: Vec<_> = inputs.iter().map(|input| input.and_then(|id| self.data(id))).collect();
        let arguments = Arguments { types: &types, constants: &constants };
        let proto = super::super::messages::NodeProto {
            op_type: op_type.to_owned(),
            output: vec![String::from("y")],
            attribute,
            ..Default::default()
        };
        match operator::map(&proto, &arguments, &mut Default::default())? {
            Mapping::Operator(op, _) => Ok(op),
            Mapping::Kept(why) => Err(Fault::Node(why)),
        }
    }

    /// Three inputs from a position on: data, scale, zero point.
    pub fn quantized(&self, at: usize) -> Result<Quantized, Fault> {
        Ok(Quantized { data: self.input(at)?, scale: self.input(at + 1)?, zero_point: self.optional(at + 2) })
    }

    /// The real numbers of a quantized tensor.
    pub fn dequantize(&mut self, role: &str, tensor: Quantized, axis: i64) -> Result<ValueId, Fault> {
        let (scale, zero_point) = self.parameters(role, tensor.scale, tensor.zero_point)?;
        let op = Op::DequantizeLinear(DequantizeLinear { axis, block_size: 0 });
        let inputs: Vec<ValueId> = [tensor.data, scale].into_iter().chain(zero_point).collect();
        self.add(role, op, &inputs)
    }

    /// The node's first output: `x` quantized by scale and zero point, u8 without one.
    pub fn quantize(
        &mut self,
        x: ValueId,
        scale: ValueId,
        zero_point: Option<ValueId>,
        axis: i64,
    ) -> Result<(), Fault> {
        let (scale, zero_point) = self.parameters("quantize", scale, zero_point)?;
        let dtype = zero_point.map_or(DType::U8, |id| self.ty(id).dtype);
        let op = Op::QuantizeLinear(QuantizeLinear { axis, block_size: 0, saturate: true, dtype });
        let inputs: Vec<ValueId> = [x, scale].into_iter().chain(zero_point).collect();
        self.result(0, "quantize", op, &inputs)
    }

    /// Scale and zero point of one shape: QLinear operators take one number for all where the other has many, and
    /// vectors of one element as scalars.
    fn parameters(
        &mut self,
        role: &str,
        scale: ValueId,
        zero_point: Option<ValueId>,
    ) -> Result<(ValueId, Option<ValueId>), Fault> {
        let Some(zero_point) = zero_point else { return Ok((scale, None)) };
        let (Some(wanted), Some(found)) = (self.ty(scale).known_shape(), self.ty(zero_point).known_shape())
        else {
            return Ok((scale, Some(zero_point)));
        };
        let count = |shape: &[usize]| shape.iter().product::<usize>();
        if wanted == found {
            return Ok((scale, Some(zero_point)));
        }
        if count(&wanted) == 1 && count(&found) > 1 {
            let spread = self.spread(&format!("{role}_scale"), scale, &found)?;
            return Ok((spread, Some(zero_point)));
        }
        let spread = self.spread(&format!("{role}_zero_point"), zero_point, &wanted)?;
        Ok((scale, Some(spread)))
    }

    /// A constant of one element repeated over a shape.
    fn spread(&mut self, role: &str, value: ValueId, shape: &[usize]) -> Result<ValueId, Fault> {
        let count: usize = shape.iter().product();
        match self.data(value) {
            Some(tensor) if tensor.len() == 1 && count <= MOST_REPEATED => {
                let bytes = tensor.bytes().repeat(count);
                let dtype = tensor.dtype();
                let spread = Tensor::new(dtype, shape, bytes.into()).map_err(|error| error.to_string())?;
                self.constant(role, spread)
            }
            Some(tensor) if tensor.len() == count => {
                let same = tensor.reshaped(shape).map_err(|error| error.to_string())?;
                self.constant(role, same)
            }
            _ => {
                let extents: Vec<i64> = shape.iter().map(|&extent| extent as i64).collect();
                let target = self.ints(&format!("{role}_shape"), &extents)?;
                match self.ty(value).known_shape() {
                    Some(found) if found.iter().product::<usize>() == count => {
                        self.add(role, Op::Reshape, &[value, target])
                    }
                    _ => self.add(role, Op::Movement(calipers_ir::Movement::Expand), &[value, target]),
                }
            }
        }
    }

    /// The product of scales, as a constant where both are.
    pub fn product(&mut self, role: &str, a: ValueId, b: ValueId) -> Result<ValueId, Fault> {
        let numbers = |id: ValueId| self.data(id).and_then(|tensor| Some(tensor.as_f32()?.into_owned()));
        let tensor = match (numbers(a), numbers(b)) {
            (Some(one), Some(many)) if one.len() == 1 => Some((many.iter().map(|x| one[0] * x).collect(), b)),
            (Some(many), Some(one)) if one.len() == 1 => Some((many.iter().map(|x| x * one[0]).collect(), a)),
            _ => None,
        };
        match tensor {
            Some((product, like)) => {
                let product: Vec<f32> = product;
                let shape = self.ty(like).known_shape().unwrap_or_default();
                let tensor = Tensor::from_vec(shape, product).map_err(|error| error.to_string())?;
                self.constant(role, tensor)
            }
            None => self.binary(role, BinaryKind::Mul, a, b),
        }
    }
}
