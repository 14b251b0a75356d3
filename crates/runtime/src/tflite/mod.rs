//! Operators in TFLite's integer arithmetic, on tensors: which form of an operator has one, and its call.

mod call;
mod elementwise;
mod products;
mod reductions;

mod hybrid;
mod recurrent;

use calipers_ir::{
    Activation, BinaryKind, DType, Normalize, Op, PoolKind, Recurrent, Reduce, Scanning, Tensor, UnaryKind,
};
use calipers_kernels::quantize::Params;
use calipers_kernels::tflite;

use crate::error::Error;
use call::Call;
pub(crate) use hybrid::Rule;

/// What an argument is: integers under parameters, or plain numbers where there are none.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Operand {
    pub(crate) dtype: DType,
    /// One for the tensor or one for each slice of the output channels; empty for plain numbers.
    pub(crate) params: Vec<Params>,
}

/// Of a result that is not quantized.
const NO_PARAMS: Params = Params { scale: 1.0, zero_point: 0 };

/// An operator on integers.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Unit {
    work: Work,
    operands: Vec<Option<Operand>>,
    /// Of the result; those of booleans and floats mean nothing.
    output: Params,
    dtype: DType,
    shape: Vec<usize>,
}

#[derive(Clone, Debug, PartialEq)]
enum Work {
    /// Floats to integers or back, `inner` elements between neighbours of the parameters' axis.
    Quantization {
        params: Vec<Params>,
        inner: usize,
    },
    /// Integers under other parameters.
    Requantization,
    Operator(Op, tflite::Activation),
    /// A sum of 16-bit operands that are shifted to the output's scale.
    PowersOfTwo(Op, tflite::Activation),
    /// A product of floats and integer weights.
    Hybrid(Op, tflite::Activation, Rule),
    /// An LSTM on the tensors of the file.
    Recurrent(Recurrent),
    /// A limit between two real numbers.
    Clamp([f32; 2]),
}

impl Unit {
    /// Quantize or Dequantize by itself.
    pub(crate) fn quantization(from: DType, to: DType, params: Vec<Params>, inner: usize) -> Option<Unit> {
        let integers = |dtype| matches!(dtype, DType::I8 | DType::U8 | DType::I16);
        let wide = integers(from) || from == DType::I32;
        let known = (from == DType::F32 && integers(to)) || (wide && to == DType::F32);
        let output = *params.first()?;
        let operands = vec![Some(Operand { dtype: from, params: Vec::new() })];
        let work = Work::Quantization { params, inner };
        known.then_some(Unit { work, operands, output, dtype: to, shape: Vec::new() })
    }

    /// An operator on operands that were dequantized, with the parameters of the Quantize node after it; `None` where
    /// TFLite has no integer arithmetic for it.
    pub(crate) fn of(
        op: &Op,
        activation: Activation,
        operands: Vec<Option<Operand>>,
        output: Option<Params>,
        dtype: DType,
        shape: &[usize],
    ) -> Option<Unit> {
        let first = operands.first()?.as_ref()?;
        let quantized = |index: usize| {
            let operand = operands.get(index).and_then(Option::as_ref);
            operand.is_some_and(|operand| operand.params.len() == 1)
        };
        let same = |index: usize| {
            operands.get(index).and_then(Option::as_ref).is_some_and(|operand| operand.dtype == first.dtype)
        };
        let stored = |dtype| matches!(dtype, DType::I8 | DType::U8 | DType::I16);
        if matches!(op, Op::DequantizeLinear(_)) && first.dtype == DType::I32 && quantized(0) {
            let output = output.filter(|_| stored(dtype))?;
            let work = Work::Requantization;
            return Some(Unit { work, operands, output, dtype, shape: shape.to_vec() });
        }
        if !stored(first.dtype) || !quantized(0) {
            return None;
        }
        let both = quantized(1) && same(1);
        let signed = first.dtype != DType::U8;
        let to_itself = output.is_some() && dtype == first.dtype;
        let fused = fused(activation);
        let work = match op {
            Op::DequantizeLinear(_) if output.is_some() && (stored(dtype) || dtype == DType::I32) => {
                Work::Requantization
            }
            Op::Unary(UnaryKind::Relu) if to_itself => Work::Clamp([0.0, f32::INFINITY]),
            Op::Clip(clip) if to_itself => Work::Clamp([clip.min, clip.max]),
            Op::Binary(kind, _) => {
                let relation = elementwise::relation(kind).is_some() && dtype == DType::Bool && both;
                let arithmetic = elementwise::operation(kind).is_some() && to_itself && both;
                let slopes = *kind == BinaryKind::PRelu && to_itself && quantized(1);
                (relation || arithmetic || slopes).then(|| Some(Work::Operator(op.clone(), fused?)))??
            }
            Op::Conv(_) | Op::ConvTranspose(_) | Op::Gemm(_) => {
                let weights = operands.get(1)?.as_ref()?;
                let weighted = !weights.params.is_empty()
                    && matches!(weights.dtype, DType::I8 | DType::U8 | DType::I16 | DType::I4);
                let bias = match operands.get(2).and_then(Option::as_ref) {
                    None => true,
                    Some(bias) => matches!(bias.dtype, DType::I32 | DType::I64) && !bias.params.is_empty(),
                };
                (weighted && bias && to_itself && products::has_form(op))
                    .then(|| Some(Work::Operator(op.clone(), fused?)))??
            }
            Op::MatMul if to_itself && quantized(1) => Work::Operator(op.clone(), fused?),
            Op::Pool(pool) if to_itself && pool.kind == (PoolKind::Average { count_include_pad: false }) => {
                Work::Operator(op.clone(), fused?)
            }
            Op::Unary(kind) if to_itself && elementwise::has_form(kind, first.dtype) => {
                Work::Operator(op.clone(), fused?)
            }
            Op::Reduce(Reduce::Mean { .. } | Reduce::Sum { .. }) if to_itself => {
                Work::Operator(op.clone(), fused?)
            }
            Op::Reduce(Reduce::Prod { .. }) if to_itself && signed => Work::Operator(op.clone(), fused?),
            Op::Scanning(Scanning::Softmax { flatten: false, axis, .. })
                if output.is_some() && stored(dtype) =>
            {
                let last = *axis == -1 || *axis + 1 == shape.len() as i64;
                last.then(|| Some(Work::Operator(op.clone(), fused?)))??
            }
            Op::Scanning(Scanning::LogSoftmax { flatten: false, axis })
                if to_itself && first.dtype != DType::I16 =>
            {
                let last = *axis == -1 || *axis + 1 == shape.len() as i64;
                last.then(|| Some(Work::Operator(op.clone(), fused?)))??
            }
            Op::Normalize(Normalize::Lp { p: 2, .. }) if to_itself => Work::Operator(op.clone(), fused?),
            Op::Image(image) if to_itself && reductions::resizes(image) => Work::Operator(op.clone(), fused?),
            _ => return None,
        };
        let output = output.unwrap_or(NO_PARAMS);
        Some(Unit { work, operands, output, dtype, shape: shape.to_vec() })
    }

    /// The same, where sums of 16-bit operands are computed by shifts.
    pub(crate) fn with_powers_of_two(mut self) -> Unit {
        if let Work::Operator(op @ Op::Binary(..), activation) = &self.work {
            self.work = Work::PowersOfTwo(op.clone(), *activation);
        }
        self
    }

    /// A product of f32 data and dequantized weights, which LiteRT computes on integers; `None` where it does not.
    pub(crate) fn hybrid(
        op: &Op,
        operands: Vec<Option<Operand>>,
        rule: Rule,
        shape: &[usize],
    ) -> Option<Unit> {
        let is_float = |index: usize| {
            operands
                .get(index)
                .and_then(Option::as_ref)
                .is_none_or(|operand: &Operand| operand.dtype == DType::F32 && operand.params.is_empty())
        };
        let weights = operands.get(1)?.as_ref()?;
        let narrow = matches!(weights.dtype, DType::I8 | DType::I4)
            && !weights.params.is_empty()
            && weights.params.iter().all(|params| params.zero_point == 0);
        let known = matches!(op, Op::MatMul) || products::has_form(op);
        if !is_float(0) || !is_float(2) || !narrow || !known {
            return None;
        }
        let work = Work::Hybrid(op.clone(), fused(op.activation())?, rule);
        Some(Unit { work, operands, output: NO_PARAMS, dtype: DType::F32, shape: shape.to_vec() })
    }

    /// An LSTM that reads the tensors of the file, of these types; `None` where all of them are floats.
    pub(crate) fn recurrent(
        layer: &Recurrent,
        types: &[Option<DType>],
        dtype: DType,
        shape: &[usize],
    ) -> Option<Unit> {
        let of = |index: usize| types.get(index).copied().flatten();
        let whole = of(0) == Some(DType::I8) && dtype == DType::I8;
        let hybrid = of(0) == Some(DType::F32) && dtype == DType::F32;
        if !(whole || hybrid) || of(2) != Some(DType::I8) {
            return None;
        }
        let operand = |dtype: &Option<DType>| dtype.map(|dtype| Operand { dtype, params: Vec::new() });
        let operands = types.iter().map(operand).collect();
        let work = Work::Recurrent(layer.clone());
        Some(Unit { work, operands, output: NO_PARAMS, dtype, shape: shape.to_vec() })
    }

    /// The name of the step in a profile.
    pub(crate) fn name(&self) -> String {
        let of = self.operands.first().and_then(Option::as_ref).map_or(self.dtype, |operand| operand.dtype);
        match &self.work {
            Work::Quantization { .. } => format!("quantize {of} to {} as TFLite", self.dtype),
            Work::Requantization => format!("requantize {of} to {} as TFLite", self.dtype),
            Work::Operator(op, _) | Work::PowersOfTwo(op, _) => format!("{op} {of} as TFLite"),
            Work::Hybrid(op, ..) => format!("{op} {of} by integers as TFLite"),
            Work::Recurrent(layer) => {
                format!("{} {of} by integers as TFLite", Op::Recurrent(layer.clone()).name())
            }
            Work::Clamp(_) => format!("Clip {of} as TFLite"),
        }
    }

    /// Computes the result.
    ///
    /// # Errors
    /// Parameters that LiteRT refuses, too.
    pub(crate) fn run(&self, node: &str, inputs: &[Option<&Tensor>]) -> Result<Vec<Tensor>, Error> {
        let call = Call { unit: self, node, inputs };
        let result = match &self.work {
            Work::Quantization { params, inner } => elementwise::quantization(&call, params, *inner),
            Work::Requantization => elementwise::requantization(&call),
            Work::Clamp(bounds) => elementwise::clamp(&call, *bounds),
            Work::Hybrid(op, activation, rule) => hybrid::run(&call, op, *activation, *rule),
            Work::Recurrent(layer) => recurrent::run(&call, layer),
            Work::PowersOfTwo(op, activation) => match op {
                Op::Binary(kind, _) => elementwise::binary(&call, kind, *activation, true),
                other => call.refuse(other.to_string()),
            },
            Work::Operator(op, activation) => match op {
                Op::Binary(kind, _) => elementwise::binary(&call, kind, *activation, false),
                Op::Unary(kind) => elementwise::unary(&call, kind),
                Op::Conv(_) | Op::ConvTranspose(_) | Op::Gemm(_) | Op::MatMul => {
                    products::run(&call, op, *activation)
                }
                _ => reductions::run(&call, op, *activation),
            },
        }?;
        Ok(vec![result])
    }
}

/// The activation as TFLite names it.
fn fused(activation: Activation) -> Option<tflite::Activation> {
    Some(match activation {
        Activation::None => tflite::Activation::None,
        Activation::Relu => tflite::Activation::Relu,
        Activation::Clip(clip) if (clip.min, clip.max) == (0.0, 6.0) => tflite::Activation::Relu6,
        Activation::Clip(clip) if (clip.min, clip.max) == (-1.0, 1.0) => tflite::Activation::ReluN1To1,
        Activation::Clip(_) => return None,
    })
}
