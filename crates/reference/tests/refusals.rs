//! Operators of sums and windows on arguments of every shape: they give results or errors and never panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use calipers_ir::{Attributes, DType, Op, Tensor};
use calipers_reference::evaluate;

/// Operators in the text form's names, with attributes that not every shape fits.
fn operators() -> Vec<Op> {
    let integer = |name: &str, value: i64| (name.to_owned(), calipers_ir::Attribute::Int(value));
    let integers =
        |name: &str, values: &[i64]| (name.to_owned(), calipers_ir::Attribute::Ints(values.to_vec()));
    let word = |name: &str, value: &str| {
        (name.to_owned(), calipers_ir::Attribute::String(value.as_bytes().to_vec()))
    };
    let window = || vec![integers("strides", &[2, 1]), integers("pads", &[1, 0, 2, 1])];
    let mut table: Vec<(&str, Vec<(String, calipers_ir::Attribute)>)> = Vec::new();
    for groups in [0, 1, 2] {
        for name in ["Conv", "ConvTranspose", "ConvInteger"] {
            let attributes = [window(), vec![integer("groups", groups)]].concat();
            table.push((name, [attributes.clone(), vec![word("layout", "nhwc")]].concat()));
            table.push((name, attributes));
        }
        table.push(("DeformConv", vec![integer("group", groups), integer("offset_group", groups)]));
        table.push(("GroupNormalization", vec![integer("num_groups", groups)]));
        table.push(("RotaryEmbedding", vec![integer("num_heads", groups)]));
        let heads = vec![integer("q_num_heads", 2 * groups), integer("kv_num_heads", groups)];
        table.push((
            "Attention",
            [heads, vec![integer("is_causal", 1), integer("qk_matmul_output_mode", 2)]].concat(),
        ));
    }
    for name in ["MaxPool", "AveragePool", "LpPool"] {
        for kernel in [[0, 1], [2, 3]] {
            let attributes = [window(), vec![integers("kernel", &kernel), integer("ceil", 1)]].concat();
            table.push((name, [attributes.clone(), vec![word("layout", "nhwc")]].concat()));
            table.push((name, attributes));
        }
    }
    let absurd = vec![integers("strides", &[i64::MAX, 0]), integers("kernel", &[i64::MAX, i64::MAX])];
    table.push(("MaxPool", absurd));
    table.push(("Conv", vec![integers("strides", &[1, 1]), integers("pads", &[i64::MAX; 4])]));
    for equation in ["", "ij,jk", "...i,...i->...", "ii", "i->j", "a.b", "ij->ii", "é,é"] {
        table.push(("Einsum", vec![word("equation", equation)]));
    }
    for direction in ["forward", "bidirectional", "sideways"] {
        for name in ["RNN", "GRU", "LSTM"] {
            table.push((name, vec![word("direction", direction)]));
            table.push((name, vec![word("direction", direction), integer("layout", 1)]));
        }
    }
    for mode in ["nearest", "linear", "cubic", "other"] {
        for place in ["half_pixel", "align_corners", "tf_crop_and_resize", "other"] {
            let attributes = vec![word("mode", mode), word("coordinate_transformation_mode", place)];
            table.push(("Resize", [attributes.clone(), vec![integer("antialias", 1)]].concat()));
            table.push(("Resize", attributes));
        }
        table.push(("GridSample", vec![word("mode", mode), word("padding_mode", "reflection")]));
    }
    for (axis, block) in [(0, 0), (1, 2), (-3, 0), (7, 1)] {
        let attributes = vec![integer("axis", axis), integer("block_size", block)];
        table.push(("DequantizeLinear", attributes.clone()));
        for dtype in [DType::U8, DType::I4, DType::F8E4M3Fn, DType::F4E2M1, DType::String] {
            let dtype = (String::from("dtype"), calipers_ir::Attribute::Type(dtype));
            table.push(("QuantizeLinear", [attributes.clone(), vec![dtype]].concat()));
        }
        for name in ["LayerNormalization", "RMSNormalization", "LpNormalization"] {
            table.push((name, vec![integer("axis", axis)]));
        }
    }
    for name in ["GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool", "BatchNormalization", "Gemm", "MatMul"]
    {
        table.push((name, Vec::new()));
    }
    for name in
        ["MatMulInteger", "Det", "InstanceNormalization", "MeanVarianceNormalization", "LRN", "AffineGrid"]
    {
        table.push((name, Vec::new()));
    }
    for name in ["RoiAlign", "Col2Im", "DFT", "STFT", "DynamicQuantizeLinear"] {
        table.push((name, Vec::new()));
    }
    table.push(("DFT", vec![integer("inverse", 1), integer("onesided", 1)]));
    table.push(("MaxRoiPool", vec![integers("pooled_shape", &[2, 1])]));
    table.push(("MaxUnpool", vec![integers("kernel_shape", &[2, 2]), integers("strides", &[i64::MAX, 2])]));
    table.push(("MaxUnpool", vec![integers("kernel_shape", &[2, 2])]));
    let op = |(name, attributes): (&str, Vec<_>)| {
        Op::from_attributes(name, attributes.into_iter().collect::<Attributes>()).unwrap()
    };
    table.into_iter().map(op).collect()
}

/// Tensors of every rank with small extents, 0 among them, in the types that operators take.
fn tensors() -> Vec<Tensor> {
    let shapes: [&[usize]; 16] = [
        &[],
        &[0],
        &[1],
        &[2],
        &[4],
        &[5],
        &[2, 2],
        &[2, 5],
        &[0, 3],
        &[2, 3, 2],
        &[1, 8, 2],
        &[2, 0, 3],
        &[1, 2, 3, 3],
        &[2, 2, 2, 2],
        &[1, 18, 2, 2],
        &[1, 0, 2, 0],
    ];
    let mut tensors = Vec::new();
    for shape in shapes {
        let count: usize = shape.iter().product();
        let ramp = 0..count as i64;
        tensors
            .push(Tensor::from_vec(shape, ramp.clone().map(|value| value as f32 - 1.5).collect()).unwrap());
        tensors.push(Tensor::from_vec(shape, ramp.clone().map(|value| value - 1).collect()).unwrap());
        tensors.push(Tensor::from_vec(shape, ramp.clone().map(|_| i64::MAX / 3).collect()).unwrap());
        tensors.push(Tensor::from_vec(shape, ramp.clone().map(|value| value as u8).collect()).unwrap());
        tensors.push(Tensor::from_vec(shape, ramp.map(|_| f32::NAN).collect()).unwrap());
    }
    tensors
}

#[test]
fn no_arguments_make_an_operator_panic() {
    let tensors = tensors();
    // Multiplicative congruence: numbers of the test alone, the same in every run.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let (mut results, mut errors, mut panics) = (0, 0, Vec::new());
    for op in operators() {
        let (least, most) = op.input_arity();
        for _ in 0..4000 {
            let count = least + next(most.min(8) - least + 1);
            let first = next(tensors.len());
            // Often the same shape and type, as operators ask for.
            let inputs: Vec<Option<&Tensor>> = (0..count)
                .map(|_| match next(5) {
                    0 => None,
                    1 | 2 => Some(&tensors[first]),
                    _ => Some(&tensors[next(tensors.len())]),
                })
                .collect();
            let outputs = 1 + next(4);
            match catch_unwind(AssertUnwindSafe(|| evaluate(&op, &inputs, outputs))) {
                Ok(Ok(_)) => results += 1,
                Ok(Err(_)) => errors += 1,
                Err(_) => panics.push(format!(
                    "{op:?} on {:?}",
                    inputs.iter().map(|input| input.map(Tensor::tensor_type)).collect::<Vec<_>>()
                )),
            }
        }
    }
    assert!(panics.is_empty(), "{}", panics.join("\n"));
    assert!(results > 500 && errors > 500, "{results} results, {errors} errors");
}
