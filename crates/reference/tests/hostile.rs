//! Whatever the inputs are, an operator gives results or an error, and never panics.

use std::panic::{AssertUnwindSafe, catch_unwind};

use calipers_ir::{Attribute, Attributes, DType, Op, Tensor};
use calipers_reference::evaluate;

/// A multiplicative generator, enough to vary inputs.
struct Draws(u64);

impl Draws {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.0 >> 33) % bound as u64) as usize
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn shape(&mut self) -> Vec<usize> {
        let huge = self.below(40) == 0;
        if huge {
            return vec![0, 1 << self.below(63), 1 << self.below(40)];
        }
        let rank = self.pick(&[0, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5]);
        (0..rank).map(|_| self.pick(&[0, 1, 1, 2, 2, 3, 3, 4])).collect()
    }

    fn tensor(&mut self, dtype: DType, shape: Vec<usize>) -> Option<Tensor> {
        let count = shape.iter().try_fold(1usize, |count, &extent| count.checked_mul(extent))?;
        Some(match dtype {
            DType::String => {
                Tensor::from_strings(shape, (0..count).map(|_| vec![b'0' + self.below(3) as u8]).collect())
                    .ok()?
            }
            DType::I64 => {
                const EDGES: [i64; 12] = [0, 1, 2, 3, -1, -2, -3, 1 << 31, i64::MAX, i64::MIN, 1 << 40, 7];
                let edges = self.pick(&[4, 7, 12]);
                Tensor::from_vec(shape, (0..count).map(|_| self.pick(&EDGES[..edges])).collect()).ok()?
            }
            DType::F32 => {
                const EDGES: [f32; 9] =
                    [0.0, 1.0, -1.5, 0.3, 2.0, 1e30, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
                let edges = self.pick(&[5, 9]);
                Tensor::from_vec(shape, (0..count).map(|_| self.pick(&EDGES[..edges])).collect()).ok()?
            }
            _ => {
                let bytes: Vec<u8> = (0..dtype.packed_bytes(count)?)
                    .map(|_| self.pick(&[0, 1, 2, 0x80, 0xff, 0x7f]))
                    .collect();
                let bytes =
                    if dtype == DType::Bool { bytes.iter().map(|byte| byte & 1).collect() } else { bytes };
                Tensor::new(dtype, shape, bytes.into()).ok()?
            }
        })
    }
}

const OPERATORS: &[(&str, &[(&str, i64)])] = &[
    ("Add", &[]),
    ("Div", &[]),
    ("Mod", &[]),
    ("Mod", &[("fmod", 1)]),
    ("Pow", &[]),
    ("BitShift", &[]),
    ("FloorDiv", &[]),
    ("FloorMod", &[]),
    ("SquaredDifference", &[]),
    ("Equal", &[]),
    ("And", &[]),
    ("PRelu", &[]),
    ("Max", &[]),
    ("Mean", &[]),
    ("Neg", &[]),
    ("Abs", &[]),
    ("Exp", &[]),
    ("Cast", &[]),
    ("BitCast", &[]),
    ("Where", &[]),
    ("Limit", &[]),
    ("ReduceMax", &[]),
    ("ReduceMean", &[("keepdims", 0)]),
    ("ReduceLogSumExp", &[]),
    ("ReduceProd", &[("noop_with_empty_axes", 1)]),
    ("ArgMax", &[]),
    ("ArgMin", &[("axis", -1), ("keepdims", 0)]),
    ("CumSum", &[]),
    ("CumProd", &[("reverse", 1), ("exclusive", 1)]),
    ("Softmax", &[]),
    ("LogSoftmax", &[("axis", 1), ("flatten", 1)]),
    ("Hardmax", &[]),
    ("TopK", &[]),
    ("Reshape", &[]),
    ("Flatten", &[("axis", 2)]),
    ("Concat", &[("axis", 1)]),
    ("Split", &[]),
    ("Split", &[("num_outputs", 2)]),
    ("Slice", &[]),
    ("Pad", &[]),
    ("Squeeze", &[]),
    ("Unsqueeze", &[]),
    ("Expand", &[]),
    ("Tile", &[]),
    ("DepthToSpace", &[("blocksize", 2)]),
    ("SpaceToDepth", &[("blocksize", 2)]),
    ("ReverseSequence", &[]),
    ("Reverse", &[]),
    ("Trilu", &[]),
    ("CenterCropPad", &[]),
    ("Gather", &[]),
    ("Gather", &[("axis", 1), ("batch_dims", 1)]),
    ("GatherElements", &[]),
    ("GatherND", &[]),
    ("GatherND", &[("batch_dims", 1)]),
    ("ScatterElements", &[]),
    ("ScatterND", &[]),
    ("TensorScatter", &[]),
    ("Compress", &[]),
    ("Compress", &[("axis", 0)]),
    ("OneHot", &[]),
    ("NonZero", &[]),
    ("Unique", &[]),
    ("Unique", &[("axis", 0)]),
    ("NonMaxSuppression", &[]),
    ("Shape", &[("start", -2)]),
    ("Size", &[]),
    ("Range", &[]),
    ("ConstantOfShape", &[]),
    ("EyeLike", &[]),
    ("HannWindow", &[]),
    ("MelWeightMatrix", &[]),
    ("MatMul", &[]),
    ("Gemm", &[]),
    ("Det", &[]),
    ("MatMulInteger", &[]),
    ("Attention", &[]),
    ("RotaryEmbedding", &[]),
    ("RNN", &[]),
    ("GRU", &[]),
    ("LSTM", &[]),
    ("Resize", &[]),
    ("GridSample", &[]),
    ("AffineGrid", &[]),
    ("RoiAlign", &[]),
    ("MaxRoiPool", &[]),
    ("MaxUnpool", &[]),
    ("Col2Im", &[]),
    ("DeformConv", &[]),
    ("DFT", &[]),
    ("STFT", &[]),
    ("LayerNormalization", &[]),
    ("RMSNormalization", &[]),
    ("GroupNormalization", &[]),
    ("InstanceNormalization", &[]),
    ("LpNormalization", &[]),
    ("MeanVarianceNormalization", &[]),
    ("LRN", &[]),
    ("BatchNormalization", &[]),
    ("DequantizeLinear", &[]),
    ("DequantizeLinear", &[("block_size", 2)]),
    ("DynamicQuantizeLinear", &[]),
    ("GlobalMaxPool", &[]),
    ("GlobalAveragePool", &[]),
];

const WORDS: &[(&str, &str, &[&str])] = &[
    ("Pad", "mode", &["reflect", "edge", "wrap", "symmetric"]),
    ("ScatterElements", "reduction", &["add", "mul", "max", "min"]),
    ("ScatterND", "reduction", &["add", "mul", "max", "min"]),
    ("TensorScatter", "mode", &["circular"]),
    ("BitShift", "direction", &["RIGHT"]),
    ("DepthToSpace", "mode", &["CRD"]),
];

#[test]
fn no_input_makes_an_operator_panic() {
    let mut draws = Draws(7);
    let mut panicked = Vec::new();
    let mut computed = 0;
    for &(name, integers) in OPERATORS {
        for _ in 0..200 {
            let mut attributes: Attributes =
                integers.iter().map(|&(key, value)| (key.to_owned(), Attribute::Int(value))).collect();
            if name.ends_with("Cast") {
                attributes.insert(String::from("to"), Attribute::Type(draws.pick(&DType::ALL)));
            }
            if let Some((_, key, words)) = WORDS.iter().find(|(operator, ..)| *operator == name)
                && draws.below(2) == 0
            {
                let word = draws.pick(words);
                attributes.insert((*key).to_owned(), Attribute::String(word.as_bytes().to_vec()));
            }
            let op = Op::from_attributes(name, attributes).unwrap();
            let (least, most) = op.input_arity();
            let count = least + draws.below(most.min(least + 4) - least + 1);
            let first = draws.pick(&DType::ALL);
            let first = draws.pick(&[first, DType::F32, DType::F32, DType::I64]);
            let shape = draws.shape();
            let inputs: Vec<Option<Tensor>> = (0..count)
                .map(|index| {
                    let any = draws.pick(&DType::ALL);
                    let dtype = draws.pick(&[first, first, DType::I64, any]);
                    let shape = if draws.below(3) == 0 { shape.clone() } else { draws.shape() };
                    let tensor = draws.tensor(if index == 0 { first } else { dtype }, shape);
                    tensor.filter(|_| draws.below(12) > 0)
                })
                .collect();
            let given: Vec<Option<&Tensor>> = inputs.iter().map(Option::as_ref).collect();
            match catch_unwind(AssertUnwindSafe(|| evaluate(&op, &given, 4))) {
                Ok(result) => computed += usize::from(result.is_ok()),
                Err(_) => {
                    let types: Vec<String> = inputs
                        .iter()
                        .map(|input| {
                            input.as_ref().map_or(String::from("none"), |t| t.tensor_type().to_string())
                        })
                        .collect();
                    panicked.push(format!("{name}({})", types.join(", ")));
                }
            }
        }
    }
    assert!(panicked.is_empty(), "{} panicked: {}", panicked.len(), panicked.join("\n"));
    assert!(computed > 2500, "only {computed} inputs were accepted, which tests little");
}
