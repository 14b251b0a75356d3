//! Shape inference against shapes that PyTorch and the ONNX operator pages give.

use super::infer;
use crate::{
    Activation, BinaryKind, Conv, DType, Dim, Gemm, Layout, Op, Pool, PoolKind, QuantizeLinear, Tensor,
    TensorType, Window,
};

fn f32(shape: &[&str]) -> TensorType {
    let dims = shape.iter().map(|dim| dim.parse().map_or_else(|_| Dim::symbolic(*dim), Dim::Known));
    TensorType::new(DType::F32, dims)
}

fn one(op: &Op, types: &[&TensorType]) -> Result<String, String> {
    let types: Vec<_> = types.iter().map(|&ty| Some(ty)).collect();
    let constants = vec![None; types.len()];
    infer(op, &types, &constants)
        .map(|types| types.unwrap()[0].to_string())
        .map_err(|error| error.to_string())
}

fn conv(groups: usize, window: Window, layout: Layout) -> Op {
    Op::Conv(Conv { groups, window, layout, activation: Activation::None })
}

#[test]
fn convolution_keeps_a_symbolic_batch() {
    let op = conv(1, Window::uniform(2, 2, 3), Layout::Nchw);
    let result = one(&op, &[&f32(&["N", "3", "32", "32"]), &f32(&["64", "3", "7", "7"])]);
    assert_eq!(result.unwrap(), "f32[N, 64, 16, 16]");
    let op = conv(4, Window::uniform(2, 1, 1), Layout::Nhwc);
    let result = one(&op, &[&f32(&["1", "H", "8", "4"]), &f32(&["4", "1", "3", "3"])]);
    assert_eq!(result.unwrap(), "f32[1, pool(H,3,1,1,2), 8, 4]");
}

#[test]
fn convolution_refuses_channels_that_do_not_match() {
    let op = conv(1, Window::uniform(2, 1, 1), Layout::Nchw);
    assert_eq!(
        one(&op, &[&f32(&["N", "4", "8", "8"]), &f32(&["8", "3", "3", "3"])]).unwrap_err(),
        "Conv: expected input channels = 1 groups x 3 of the weight, found 4 input channels"
    );
    let too_large = one(&op, &[&f32(&["N", "3", "8", "8"]), &f32(&["8", "3", "11", "3"])]);
    assert!(too_large.unwrap_err().contains("a window of 11 taps"));
}

#[test]
fn pooling_and_flattening() {
    let pool = Op::Pool(Pool {
        kind: PoolKind::Max,
        kernel: vec![3, 3],
        window: Window::uniform(2, 2, 1),
        ceil: false,
        column_major: false,
        layout: Layout::Nchw,
    });
    assert_eq!(one(&pool, &[&f32(&["N", "64", "16", "16"])]).unwrap(), "f32[N, 64, 8, 8]");
    let global = Op::GlobalPool(PoolKind::Average { count_include_pad: false }, Layout::Nchw);
    assert_eq!(one(&global, &[&f32(&["N", "64", "8", "8"])]).unwrap(), "f32[N, 64, 1, 1]");
    assert_eq!(one(&Op::Flatten { axis: 1 }, &[&f32(&["N", "64", "1", "1"])]).unwrap(), "f32[N, 64]");
    assert_eq!(one(&Op::Flatten { axis: 0 }, &[&f32(&["N", "6"])]).unwrap(), "f32[1, N*6]");
}

#[test]
fn reshape_solves_the_rest() {
    let reshape = |from: &[&str], to: Vec<i64>| {
        let from = f32(from);
        let target = Tensor::from_vec([to.len()], to).unwrap();
        let ty = target.tensor_type();
        infer(&Op::Reshape, &[Some(&from), Some(&ty)], &[None, Some(&target)])
            .map(|types| types.unwrap()[0].to_string())
            .map_err(|error| error.to_string())
    };
    assert_eq!(reshape(&["N", "64", "2", "2"], vec![0, -1]).unwrap(), "f32[N, 256]");
    assert_eq!(reshape(&["N", "64", "1", "1"], vec![-1, 64]).unwrap(), "f32[N, 64]");
    assert_eq!(reshape(&["2", "6"], vec![3, -1]).unwrap(), "f32[3, 4]");
    assert!(reshape(&["2", "6"], vec![5, -1]).unwrap_err().contains("same element count"));
    assert!(reshape(&["2", "6"], vec![-1, -1]).unwrap_err().contains("at most one -1"));
}

#[test]
fn products_and_broadcasts() {
    let gemm = Op::Gemm(Gemm {
        alpha: 1.0,
        beta: 1.0,
        transpose_a: false,
        transpose_b: true,
        activation: Activation::None,
    });
    let types = [&f32(&["N", "64"]), &f32(&["10", "64"]), &f32(&["10"])];
    assert_eq!(one(&gemm, &types).unwrap(), "f32[N, 10]");
    let batched = one(&Op::MatMul, &[&f32(&["B", "1", "3", "4"]), &f32(&["5", "4", "2"])]);
    assert_eq!(batched.unwrap(), "f32[B, 5, 3, 2]");
    let add = Op::Binary(BinaryKind::Add, Activation::Relu);
    assert_eq!(one(&add, &[&f32(&["N", "3", "1"]), &f32(&["4"])]).unwrap(), "f32[N, 3, 4]");
    assert!(one(&add, &[&f32(&["2", "3"]), &f32(&["4"])]).unwrap_err().contains("broadcast"));
}

#[test]
fn quantization_checks_its_scales() {
    let per_axis =
        Op::QuantizeLinear(QuantizeLinear { axis: 0, block_size: 0, saturate: true, dtype: DType::I8 });
    let weight = f32(&["8", "3", "3", "3"]);
    assert_eq!(one(&per_axis, &[&weight, &f32(&["8"])]).unwrap(), "i8[8, 3, 3, 3]");
    assert_eq!(
        one(&per_axis, &[&weight, &f32(&["3"])]).unwrap_err(),
        "QuantizeLinear: expected a scalar scale, or 8 scales along axis 0, found f32[3]"
    );
}
