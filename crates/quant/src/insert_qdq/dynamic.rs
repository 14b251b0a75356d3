//! Products whose activations are quantized while running.

use calipers_ir::{
    Activation, BinaryKind, Conv, DType, Node, Op, Product, Select, Tensor, TensorType, ValueId,
};

use super::Insertion;
use crate::{ConstantAssignment, QuantError};

impl Insertion<'_> {
    /// Before: `y = MatMul(x, w)`, `Gemm(x, w, b)` or `Conv(x, w, b)`. After: `q, s, z = DynamicQuantizeLinear(x)`,
    /// `i = MatMulInteger(q, w_quantized, z)` or `ConvInteger`, `y = Cast(i) * (s * w_scale) + b`.
    pub(super) fn add_dynamic(
        &mut self,
        node: &Node,
        constants: &[ConstantAssignment],
    ) -> Result<(), QuantError> {
        let ([weight], Some(x), Some(w), [output]) =
            (constants, node.input(0), node.input(1), node.outputs.as_slice())
        else {
            return Err(not_dynamic(node, "one constant weight"));
        };
        let graph = self.graph;
        let result = graph.value(*output);
        let Some(tensor) = graph.constant(w) else { return Err(super::not_constant(&weight.name)) };
        let (op, transposed, spatial, activation) = match &node.op {
            Op::MatMul => (Op::Product(Product::MatMulInteger), false, 0, Activation::None),
            Op::Gemm(gemm) => (Op::Product(Product::MatMulInteger), gemm.transpose_b, 0, gemm.activation),
            Op::Conv(conv) => {
                let integer = Conv { activation: Activation::None, ..conv.clone() };
                (Op::ConvInteger(integer), false, conv.window.axes(), conv.activation)
            }
            other => return Err(not_dynamic(node, &format!("MatMul, Gemm or Conv instead of {other}"))),
        };
        let [q, scale, zero_point] = self.add_dynamic_quantization(x)?;

        let name = &weight.name;
        let mut integers = weight.parameters.quantize(name, tensor)?;
        if transposed {
            integers = transpose(&integers).ok_or_else(|| not_dynamic(node, "a matrix of bytes"))?;
        }
        let wrong = |_| not_dynamic(node, "scales that fit a tensor");
        // Scales stand along the output channels: the last axis of a product, the second of a convolution.
        let mut channels = vec![weight.parameters.scale.len()];
        channels.extend(vec![1; spatial]);
        if weight.parameters.axis.is_none() {
            channels.clear();
        }
        let w_scale =
            Tensor::from_vec(channels.as_slice(), weight.parameters.scale.clone()).map_err(wrong)?;
        let w_zero_point = weight.parameters.zero_point_tensor(tensor.shape()).map_err(wrong)?;
        let w_q = self.add_integer_tensor(name, integers)?;
        let made = self.fresh(format!("{name}_scale"));
        let w_scale = self.editor.add_constant(made, w_scale)?;
        let mut inputs = vec![Some(q), Some(w_q), Some(zero_point)];
        if weight.parameters.zero_point.iter().any(|&z| z != 0) {
            // Of a convolution, one number for all: its weights are symmetric around the middle.
            let w_zero_point = if spatial > 0 { first(&w_zero_point) } else { Some(w_zero_point) };
            let w_zero_point = w_zero_point.ok_or_else(|| not_dynamic(node, "a zero point"))?;
            let made = self.fresh(format!("{name}_zero_point"));
            inputs.push(Some(self.editor.add_constant(made, w_zero_point)?));
        }
        let ty = |dtype| TensorType { dtype, ..result.ty.clone() };
        let sums = self.fresh(format!("{}_integers", result.name));
        let sums =
            self.editor.add_typed_node(node.name.clone(), op, &inputs, vec![(sums, ty(DType::I32))])?[0];

        let cast =
            Op::Select(Select::Cast { to: DType::F32, saturate: true, round_mode: String::from("up") });
        let real = self.step(&result.name, "Cast", cast, &[sums], None, ty(DType::F32))?;
        let scales_ty = TensorType::new(DType::F32, channels);
        let multiply = |activation| Op::Binary(BinaryKind::Mul, activation);
        let scales = self.step(
            &result.name,
            "scales_Mul",
            multiply(Activation::None),
            &[scale, w_scale],
            None,
            scales_ty,
        )?;
        let bias = node.input(2).map(|bias| self.add_bias(bias, spatial)).transpose()?;
        let last = Some(result.name.clone());
        let made = match bias {
            None => {
                self.step(&result.name, "Mul", multiply(activation), &[real, scales], last, ty(DType::F32))?
            }
            Some(bias) => {
                let scaled = multiply(Activation::None);
                let scaled = self.step(&result.name, "Mul", scaled, &[real, scales], None, ty(DType::F32))?;
                let add = Op::Binary(BinaryKind::Add, activation);
                self.step(&result.name, "Add", add, &[scaled, bias], last, ty(DType::F32))?
            }
        };
        self.finish_node(node, vec![made], false)
    }

    /// A node `<value>_<what>` that makes `output`, or else a value of its own name with `_Output`.
    fn step(
        &mut self,
        value: &str,
        what: &str,
        op: Op,
        inputs: &[ValueId],
        output: Option<String>,
        ty: TensorType,
    ) -> Result<ValueId, QuantError> {
        let node = self.fresh(format!("{value}_{what}"));
        let output = output.unwrap_or_else(|| self.fresh(format!("{node}_Output")));
        let inputs: Vec<_> = inputs.iter().copied().map(Some).collect();
        Ok(self.editor.add_typed_node(node, op, &inputs, vec![(output, ty)])?[0])
    }

    /// Integers, scale and zero point of a value, once for all its readers.
    fn add_dynamic_quantization(&mut self, value: ValueId) -> Result<[ValueId; 3], QuantError> {
        if let Some(known) = self.dynamic.get(&value) {
            return Ok(*known);
        }
        let x = self.source(value, false);
        let ty = self.editor.value(x).ty.clone();
        let name = &self.graph.value(value).name;
        let node = self.fresh(format!("{name}_DynamicQuantizeLinear"));
        let scalar = |dtype| TensorType::new(dtype, Vec::<usize>::new());
        let outputs = vec![
            (self.fresh(format!("{name}_quantized")), TensorType { dtype: DType::U8, ..ty }),
            (self.fresh(format!("{name}_scale")), scalar(DType::F32)),
            (self.fresh(format!("{name}_zero_point")), scalar(DType::U8)),
        ];
        let made = self.editor.add_typed_node(node, Op::DynamicQuantizeLinear, &[Some(x)], outputs)?;
        let made = [made[0], made[1], made[2]];
        self.dynamic.insert(value, made);
        Ok(made)
    }

    /// A bias as something that broadcasts to a result with that many spatial axes.
    fn add_bias(&mut self, bias: ValueId, spatial: usize) -> Result<ValueId, QuantError> {
        let Some(tensor) = self.graph.constant(bias).filter(|_| spatial > 0) else {
            return Ok(self.source(bias, false));
        };
        let mut shape = tensor.shape().to_vec();
        shape.extend(vec![1; spatial]);
        let name = &self.graph.value(bias).name;
        let reshaped = tensor.reshaped(shape).map_err(|error| QuantError::Assignment {
            place: format!("constant `{name}`"),
            expected: String::from("a bias"),
            found: error.to_string(),
        })?;
        let made = self.fresh(format!("{name}_channels"));
        Ok(self.editor.add_constant(made, reshaped)?)
    }
}

/// The transpose of a matrix of bytes.
fn transpose(matrix: &Tensor) -> Option<Tensor> {
    let &[rows, columns] = matrix.shape() else { return None };
    let bytes = matrix.bytes();
    if bytes.len() != rows * columns {
        return None;
    }
    let turned: Vec<u8> = (0..columns)
        .flat_map(|column| (0..rows).map(move |row| (row, column)))
        .map(|(row, column)| bytes[row * columns + column])
        .collect();
    Tensor::new(matrix.dtype(), [columns, rows], turned.into()).ok()
}

/// The first of several bytes, as a scalar.
fn first(bytes: &Tensor) -> Option<Tensor> {
    let one = bytes.bytes().get(..1)?.to_vec();
    Tensor::new(bytes.dtype(), Vec::new(), one.into()).ok()
}

fn not_dynamic(node: &Node, expected: &str) -> QuantError {
    QuantError::Assignment {
        place: format!("node `{}`", node.name),
        expected: format!("{expected} in a product that is quantized dynamically"),
        found: String::from("something else"),
    }
}
