//! The operators that are stated in the representation's terms, each in the forms that differ. LiteRT's reference
//! kernels lack ELU, CEIL and ROUND, and leave a channel out of LOCAL_RESPONSE_NORMALIZATION.

use serde_json::{Value, json};

use crate::single::{Argument, Case, case, f, floats, ints, list, out, scalar, state, these};

const SAME: i64 = 0;
const VALID: i64 = 1;
/// Codes of fused activations.
const NONE: i64 = 0;
const RELU: i64 = 1;
const RELU_N1_TO_1: i64 = 2;
const RELU6: i64 = 3;
const TANH: i64 = 4;

const F: &str = "FLOAT32";
const I8: &str = "INT8";
const I32: &str = "INT32";
const I64: &str = "INT64";
const BOOL: &str = "BOOL";

/// All cases.
pub fn all() -> Vec<Case> {
    let families = [
        windows(),
        products(),
        elementwise(),
        reductions(),
        movement(),
        slices(),
        indexing(),
        spatial(),
        quantized(),
    ];
    families.into_iter().flatten().collect()
}

fn given<const N: usize>(inputs: [Argument; N]) -> Vec<Option<Argument>> {
    inputs.into_iter().map(Some).collect()
}

fn conv(padding: i64, stride: i64, activation: i64, dilation: i64) -> Value {
    json!({"type": "Conv2DOptions", "padding": padding, "strideH": stride, "strideW": stride,
        "fusedActivationFunction": activation, "dilationHFactor": dilation, "dilationWFactor": dilation})
}

fn depthwise(padding: i64, stride: i64, multiplier: i64, dilation: i64) -> Value {
    json!({"type": "DepthwiseConv2DOptions", "padding": padding, "strideH": stride, "strideW": stride,
        "depthMultiplier": multiplier, "fusedActivationFunction": NONE, "dilationHFactor": dilation,
        "dilationWFactor": dilation})
}

fn conv3d(padding: i64, stride: i64) -> Value {
    json!({"type": "Conv3DOptions", "padding": padding, "strideD": stride, "strideH": stride, "strideW": stride,
        "dilationDFactor": 1, "dilationHFactor": 1, "dilationWFactor": 1})
}

fn pool(padding: i64, filter: [i64; 2], stride: i64, activation: i64) -> Value {
    json!({"type": "Pool2DOptions", "padding": padding, "filterHeight": filter[0], "filterWidth": filter[1],
        "strideH": stride, "strideW": stride, "fusedActivationFunction": activation})
}

fn transposed(padding: i64, stride: i64) -> Value {
    json!({"type": "TransposeConvOptions", "padding": padding, "strideH": stride, "strideW": stride})
}

fn windows() -> Vec<Case> {
    let x = || f(&[2, 7, 6, 4]);
    let w = |shape: &[usize]| f(shape).constant();
    vec![
        case(
            "CONV_2D same",
            conv(SAME, 2, RELU6, 1),
            given([x(), w(&[5, 3, 2, 4]), w(&[5])]),
            vec![out(F, &[2, 4, 3, 5])],
        ),
        case(
            "CONV_2D valid",
            conv(VALID, 1, NONE, 2),
            given([x(), w(&[5, 2, 3, 4]), w(&[5])]),
            vec![out(F, &[2, 5, 2, 5])],
        ),
        case(
            "DEPTHWISE_CONV_2D same",
            depthwise(SAME, 2, 2, 1),
            given([x(), w(&[1, 3, 3, 8]), w(&[8])]),
            vec![out(F, &[2, 4, 3, 8])],
        ),
        case(
            "DEPTHWISE_CONV_2D dilated",
            depthwise(VALID, 1, 1, 2),
            given([x(), w(&[1, 3, 2, 4]), w(&[4])]),
            vec![out(F, &[2, 3, 4, 4])],
        ),
        case(
            "CONV_3D",
            conv3d(SAME, 2),
            given([f(&[1, 4, 5, 3, 2]), w(&[2, 3, 2, 2, 3]), w(&[3])]),
            vec![out(F, &[1, 2, 3, 2, 3])],
        ),
        case(
            "CONV_3D_TRANSPOSE",
            conv3d(SAME, 2),
            given([list(&[1, 4, 6, 6, 3]), w(&[2, 3, 2, 3, 2]), f(&[1, 2, 3, 3, 2]), w(&[3])]),
            vec![out(F, &[1, 4, 6, 6, 3])],
        ),
        case(
            "TRANSPOSE_CONV same",
            transposed(SAME, 2),
            given([list(&[1, 8, 6, 3]), w(&[3, 3, 3, 2]), f(&[1, 4, 3, 2])]),
            vec![out(F, &[1, 8, 6, 3])],
        ),
        case(
            "TRANSPOSE_CONV odd",
            transposed(SAME, 2),
            given([list(&[1, 7, 5, 3]), w(&[3, 3, 2, 2]), f(&[1, 4, 3, 2])]),
            vec![out(F, &[1, 7, 5, 3])],
        ),
        case(
            "TRANSPOSE_CONV valid",
            transposed(VALID, 2),
            given([list(&[1, 9, 7, 3]), w(&[3, 3, 3, 2]), f(&[1, 4, 3, 2])]),
            vec![out(F, &[1, 9, 7, 3])],
        ),
        case(
            "TRANSPOSE_CONV longer",
            transposed(VALID, 3),
            given([list(&[1, 12, 8, 3]), w(&[3, 2, 2, 2]), f(&[1, 4, 3, 2])]),
            vec![out(F, &[1, 12, 8, 3])],
        ),
        case("AVERAGE_POOL_2D same", pool(SAME, [3, 2], 2, RELU), given([x()]), vec![out(F, &[2, 4, 3, 4])]),
        case(
            "AVERAGE_POOL_2D valid",
            pool(VALID, [2, 3], 1, NONE),
            given([x()]),
            vec![out(F, &[2, 6, 4, 4])],
        ),
        case("MAX_POOL_2D same", pool(SAME, [3, 3], 2, NONE), given([x()]), vec![out(F, &[2, 4, 3, 4])]),
        case("L2_POOL_2D", pool(SAME, [3, 2], 1, NONE), given([x()]), vec![out(F, &[2, 7, 6, 4])]),
    ]
}

fn dense(keep: bool, activation: i64) -> Value {
    json!({"type": "FullyConnectedOptions", "fusedActivationFunction": activation, "keepNumDims": keep})
}

fn products() -> Vec<Case> {
    let w = |shape: &[usize]| f(shape).constant();
    let batched = |x: bool, y: bool| json!({"type": "BatchMatMulOptions", "adjX": x, "adjY": y});
    let lstm = json!({"type": "UnidirectionalSequenceLSTMOptions", "fusedActivationFunction": TANH, "timeMajor": false});
    let mut cell: Vec<Option<Argument>> = vec![Some(f(&[2, 4, 3]))];
    cell.extend((0..4).map(|_| Some(w(&[5, 3]))));
    cell.extend((0..4).map(|_| Some(w(&[5, 5]))));
    cell.extend([None, None, None]);
    cell.extend((0..4).map(|_| Some(w(&[5]))));
    cell.extend([None, None, Some(state(F, &[2, 5])), Some(state(F, &[2, 5]))]);
    let mut peephole = cell.clone();
    peephole.splice(9..12, (0..3).map(|_| Some(w(&[5]))));
    let major = json!({"type": "UnidirectionalSequenceLSTMOptions", "fusedActivationFunction": TANH, "timeMajor": true});
    let clipped = json!({"type": "UnidirectionalSequenceLSTMOptions", "fusedActivationFunction": TANH,
        "timeMajor": false, "cellClip": 0.3, "projClip": 0.2});
    let mut projected = peephole.clone();
    projected.splice(5..9, (0..4).map(|_| Some(w(&[5, 2]))));
    projected.splice(16..19, [Some(w(&[2, 5])), Some(w(&[2])), Some(state(F, &[2, 2]))]);
    let mut normalized = cell.clone();
    normalized.extend((0..4).map(|_| Some(w(&[5]))));
    let mut first = cell.clone();
    first[0] = Some(f(&[4, 2, 3]));
    vec![
        case(
            "FULLY_CONNECTED",
            dense(false, RELU),
            given([f(&[3, 4]), w(&[5, 4]), w(&[5])]),
            vec![out(F, &[3, 5])],
        ),
        case(
            "FULLY_CONNECTED folded",
            dense(true, NONE),
            given([f(&[2, 3, 4]), w(&[5, 4]), w(&[5])]),
            vec![out(F, &[2, 3, 5])],
        ),
        case(
            "FULLY_CONNECTED flat",
            dense(false, NONE),
            given([f(&[2, 3, 4]), w(&[5, 12])]),
            vec![out(F, &[2, 5])],
        ),
        case(
            "BATCH_MATMUL",
            batched(false, false),
            given([f(&[2, 3, 4]), f(&[2, 4, 5])]),
            vec![out(F, &[2, 3, 5])],
        ),
        case(
            "BATCH_MATMUL left",
            batched(true, false),
            given([f(&[2, 4, 3]), f(&[2, 4, 5])]),
            vec![out(F, &[2, 3, 5])],
        ),
        case(
            "BATCH_MATMUL right",
            batched(false, true),
            given([f(&[2, 2, 3, 4]), f(&[2, 1, 5, 4]).constant()]),
            vec![out(F, &[2, 2, 3, 5])],
        ),
        case(
            "EMBEDDING_LOOKUP",
            Value::Null,
            given([these(I32, &[4], &[2, 0, 4, 2]), w(&[5, 3])]),
            vec![out(F, &[4, 3])],
        ),
        case("UNIDIRECTIONAL_SEQUENCE_LSTM projected", clipped.clone(), projected, vec![out(F, &[2, 4, 2])]),
        case("UNIDIRECTIONAL_SEQUENCE_LSTM normalized", lstm.clone(), normalized, vec![out(F, &[2, 4, 5])]),
        case("UNIDIRECTIONAL_SEQUENCE_LSTM", lstm.clone(), cell, vec![out(F, &[2, 4, 5])]),
        case("UNIDIRECTIONAL_SEQUENCE_LSTM peepholes", lstm, peephole, vec![out(F, &[2, 4, 5])]),
        case("UNIDIRECTIONAL_SEQUENCE_LSTM time first", major, first, vec![out(F, &[4, 2, 5])]),
    ]
}

fn unary(name: &str, x: Argument) -> Case {
    case(name, Value::Null, given([x]), vec![out(F, &[3, 4])])
}

fn pair(name: &str, options: Value, a: Argument, b: Argument) -> Case {
    case(name, options, given([a, b]), vec![out(F, &[2, 3, 4])])
}

fn elementwise() -> Vec<Case> {
    let x = || floats(&[3, 4], -8.0, 8.0);
    let positive = || floats(&[3, 4], 0.1, 5.0);
    let (a, b) = (|| floats(&[2, 3, 4], -4.0, 4.0), || floats(&[3, 1], 0.5, 4.0));
    let whole = |low: i64, high: i64| ints(I32, &[2, 3, 4], low, high);
    let flags = || ints(BOOL, &[2, 3, 4], 0, 1);
    let other_flags = || ints(BOOL, &[4], 0, 1);
    let on = |kind: &str| out(kind, &[2, 3, 4]);
    let options = |kind: &str, activation: i64| json!({"type": kind, "fusedActivationFunction": activation});
    let mut cases = vec![
        unary("RELU", x()),
        unary("RELU6", x()),
        unary("RELU_N1_TO_1", x()),
        unary("RELU_0_TO_1", x()),
        unary("LOGISTIC", x()),
        unary("TANH", x()),
        unary("HARD_SWISH", x()),
        unary("ABS", x()),
        unary("EXP", floats(&[3, 4], -3.0, 3.0)),
        unary("LOG", positive()),
        unary("SQRT", positive()),
        unary("RSQRT", positive()),
        unary("SQUARE", x()),
        unary("NEG", x()),
        unary("FLOOR", x()),
        unary("SIN", x()),
        unary("COS", x()),
        unary("SIGN", x()),
        unary("ZEROS_LIKE", x()),
        case(
            "GELU",
            json!({"type": "GeluOptions", "approximate": false}),
            given([x()]),
            vec![out(F, &[3, 4])],
        ),
        case(
            "GELU approximate",
            json!({"type": "GeluOptions", "approximate": true}),
            given([x()]),
            vec![out(F, &[3, 4])],
        ),
        case(
            "LEAKY_RELU",
            json!({"type": "LeakyReluOptions", "alpha": 0.3}),
            given([x()]),
            vec![out(F, &[3, 4])],
        ),
        pair("ADD", options("AddOptions", RELU), a(), b()),
        pair("SUB", options("SubOptions", RELU6), a(), b()),
        pair("MUL", options("MulOptions", RELU_N1_TO_1), a(), b()),
        pair("DIV", options("DivOptions", NONE), a(), b()),
        pair("POW", Value::Null, floats(&[2, 3, 4], 0.2, 3.0), f(&[2, 3, 4])),
        pair("FLOOR_DIV", Value::Null, a(), b()),
        pair("FLOOR_MOD", Value::Null, a(), b()),
        pair("SQUARED_DIFFERENCE", Value::Null, a(), b()),
        pair("ATAN2", Value::Null, a(), floats(&[2, 3, 4], -2.0, 2.0)),
        pair("PRELU", Value::Null, a(), floats(&[1, 3, 4], -1.0, 1.0).constant()),
        pair("MAXIMUM", Value::Null, a(), b()),
        pair("MINIMUM", Value::Null, a(), b()),
        case("ADD_N", Value::Null, given([f(&[3, 4]), f(&[3, 4]), f(&[3, 4])]), vec![out(F, &[3, 4])]),
        case(
            "ADD integers",
            options("AddOptions", NONE),
            given([whole(-9, 9), ints(I32, &[4], -9, 9)]),
            vec![on(I32)],
        ),
        case("DIV integers", options("DivOptions", NONE), given([whole(-9, 9), whole(1, 4)]), vec![on(I32)]),
        case("FLOOR_DIV integers", Value::Null, given([whole(-9, 9), whole(1, 4)]), vec![on(I32)]),
        case(
            "FLOOR_MOD integers",
            Value::Null,
            given([whole(-9, 9), ints(I32, &[1], -4, -4)]),
            vec![on(I32)],
        ),
        case("POW integers", Value::Null, given([whole(-3, 3), whole(0, 4)]), vec![on(I32)]),
        case("BITWISE_XOR", Value::Null, given([whole(0, 99), whole(0, 99)]), vec![on(I32)]),
        case("LOGICAL_AND", Value::Null, given([flags(), other_flags()]), vec![on(BOOL)]),
        case("LOGICAL_OR", Value::Null, given([flags(), other_flags()]), vec![on(BOOL)]),
        case("LOGICAL_NOT", Value::Null, given([flags()]), vec![on(BOOL)]),
        case("CAST to integers", json!({"type": "CastOptions"}), given([x()]), vec![out(I32, &[3, 4])]),
        case("CAST to flags", json!({"type": "CastOptions"}), given([whole(-1, 1)]), vec![on(BOOL)]),
        case("CAST to floats", json!({"type": "CastOptions"}), given([flags()]), vec![on(F)]),
        case("BITCAST", Value::Null, given([x()]), vec![out(I32, &[3, 4])]),
        case(
            "SELECT rows",
            Value::Null,
            given([ints(BOOL, &[2], 0, 1), a(), floats(&[2, 3, 4], 5.0, 6.0)]),
            vec![on(F)],
        ),
        case("SELECT", Value::Null, given([flags(), a(), floats(&[2, 3, 4], 5.0, 6.0)]), vec![on(F)]),
        case("SELECT_V2", Value::Null, given([ints(BOOL, &[3, 1], 0, 1), a(), f(&[4])]), vec![on(F)]),
    ];
    for operator in ["EQUAL", "NOT_EQUAL", "GREATER", "GREATER_EQUAL", "LESS", "LESS_EQUAL"] {
        cases.push(case(
            operator,
            Value::Null,
            given([whole(-2, 2), ints(I32, &[4], -2, 2)]),
            vec![on(BOOL)],
        ));
    }
    cases
}

fn reductions() -> Vec<Case> {
    let x = || f(&[2, 3, 4]);
    let reducer = |keep: bool| json!({"type": "ReducerOptions", "keepDims": keep});
    let mut cases = vec![
        case(
            "SOFTMAX",
            json!({"type": "SoftmaxOptions", "beta": 0.5}),
            given([floats(&[2, 3, 4], -6.0, 6.0)]),
            vec![out(F, &[2, 3, 4])],
        ),
        case("LOG_SOFTMAX", Value::Null, given([floats(&[2, 3, 4], -6.0, 6.0)]), vec![out(F, &[2, 3, 4])]),
        case("L2_NORMALIZATION", json!({"type": "L2NormOptions"}), given([x()]), vec![out(F, &[2, 3, 4])]),
        case(
            "L2_NORMALIZATION small",
            json!({"type": "L2NormOptions"}),
            given([floats(&[2, 3, 4], -1e-6, 1e-6)]),
            vec![out(F, &[2, 3, 4])],
        ),
        case(
            "MEAN nothing",
            reducer(false),
            given([x(), these(I32, &[0], &[]).constant()]),
            vec![out(F, &[2, 3, 4])],
        ),
        case(
            "REDUCE_ANY",
            reducer(false),
            given([ints(BOOL, &[2, 3, 4], 0, 1), list(&[2])]),
            vec![out(BOOL, &[2, 3])],
        ),
        case(
            "REDUCE_ALL",
            reducer(true),
            given([ints(BOOL, &[2, 3, 4], 0, 1), list(&[0])]),
            vec![out(BOOL, &[1, 3, 4])],
        ),
        case(
            "ARG_MAX",
            json!({"type": "ArgMaxOptions", "outputType": 4}),
            given([x(), scalar(-1)]),
            vec![out(I64, &[2, 3])],
        ),
        case(
            "ARG_MIN",
            json!({"type": "ArgMinOptions", "outputType": 2}),
            given([x(), scalar(1)]),
            vec![out(I32, &[2, 4])],
        ),
        case(
            "CUMSUM",
            json!({"type": "CumsumOptions", "exclusive": true, "reverse": true}),
            given([x(), scalar(1)]),
            vec![out(F, &[2, 3, 4])],
        ),
        case("TOPK_V2", Value::Null, given([x(), scalar(2)]), vec![out(F, &[2, 3, 2]), out(I32, &[2, 3, 2])]),
    ];
    for operator in ["MEAN", "SUM", "REDUCE_PROD", "REDUCE_MAX", "REDUCE_MIN"] {
        cases.push(case(operator, reducer(false), given([x(), list(&[0, -1])]), vec![out(F, &[3])]));
        let kept = format!("{operator} kept");
        cases.push(case(&kept, reducer(true), given([x(), scalar(1)]), vec![out(F, &[2, 1, 4])]));
    }
    cases
}

fn movement() -> Vec<Case> {
    let x = || f(&[2, 3, 4]);
    let packing = |axis: i64, count: i64| json!({"type": "PackOptions", "axis": axis, "valuesCount": count});
    let sequence = json!({"type": "ReverseSequenceOptions", "seqDim": 1, "batchDim": 0});
    vec![
        case(
            "RESHAPE",
            json!({"type": "ReshapeOptions", "newShape": [6, -1]}),
            given([x(), list(&[6, -1])]),
            vec![out(F, &[6, 4])],
        ),
        case("RESHAPE computed", Value::Null, given([x(), these(I32, &[2], &[4, 6])]), vec![out(F, &[4, 6])]),
        case(
            "RESHAPE option",
            json!({"type": "ReshapeOptions", "newShape": [4, 6]}),
            given([x()]),
            vec![out(F, &[4, 6])],
        ),
        case(
            "SQUEEZE",
            json!({"type": "SqueezeOptions", "squeezeDims": [-2]}),
            given([f(&[1, 3, 1, 4])]),
            vec![out(F, &[1, 3, 4])],
        ),
        case(
            "SQUEEZE all",
            json!({"type": "SqueezeOptions", "squeezeDims": []}),
            given([f(&[1, 3, 1, 4])]),
            vec![out(F, &[3, 4])],
        ),
        case("EXPAND_DIMS", Value::Null, given([x(), scalar(-1)]), vec![out(F, &[2, 3, 4, 1])]),
        case("TRANSPOSE", Value::Null, given([x(), list(&[2, 0, 1])]), vec![out(F, &[4, 2, 3])]),
        case(
            "CONCATENATION",
            json!({"type": "ConcatenationOptions", "axis": -2}),
            given([x(), f(&[2, 1, 4])]),
            vec![out(F, &[2, 4, 4])],
        ),
        case("PACK", packing(1, 2), given([f(&[3, 4]), f(&[3, 4])]), vec![out(F, &[3, 2, 4])]),
        case(
            "UNPACK",
            json!({"type": "UnpackOptions", "axis": 1, "num": 3}),
            given([x()]),
            vec![out(F, &[2, 4]); 3],
        ),
        case(
            "SPLIT",
            json!({"type": "SplitOptions", "numSplits": 2}),
            given([scalar(-1), x()]),
            vec![out(F, &[2, 3, 2]); 2],
        ),
        case(
            "SPLIT_V",
            json!({"type": "SplitVOptions", "numSplits": 2}),
            given([x(), list(&[1, -1]), scalar(2)]),
            vec![out(F, &[2, 3, 1]), out(F, &[2, 3, 3])],
        ),
        case(
            "PAD",
            Value::Null,
            given([x(), these(I32, &[3, 2], &[0, 1, 2, 0, 1, 1]).constant()]),
            vec![out(F, &[3, 5, 6])],
        ),
        case(
            "PAD computed",
            Value::Null,
            given([x(), these(I32, &[3, 2], &[0, 1, 2, 0, 1, 1])]),
            vec![out(F, &[3, 5, 6])],
        ),
        case(
            "PADV2",
            Value::Null,
            given([
                x(),
                these(I32, &[3, 2], &[0, 1, 2, 0, 1, 1]).constant(),
                floats(&[], 2.0, 3.0).constant(),
            ]),
            vec![out(F, &[3, 5, 6])],
        ),
        case(
            "MIRROR_PAD reflect",
            json!({"type": "MirrorPadOptions", "mode": 0}),
            given([x(), these(I32, &[3, 2], &[0, 1, 2, 0, 1, 1]).constant()]),
            vec![out(F, &[3, 5, 6])],
        ),
        case(
            "MIRROR_PAD symmetric",
            json!({"type": "MirrorPadOptions", "mode": 1}),
            given([x(), these(I32, &[3, 2], &[0, 1, 2, 0, 1, 1]).constant()]),
            vec![out(F, &[3, 5, 6])],
        ),
        case("TILE", Value::Null, given([x(), list(&[2, 1, 2])]), vec![out(F, &[4, 3, 8])]),
        case("BROADCAST_TO", Value::Null, given([f(&[3, 1]), list(&[2, 3, 4])]), vec![out(F, &[2, 3, 4])])
            .version(2),
        case("REVERSE_V2", Value::Null, given([x(), list(&[1])]), vec![out(F, &[2, 3, 4])]),
        case("REVERSE_SEQUENCE", sequence, given([x(), these(I32, &[2], &[2, 3])]), vec![out(F, &[2, 3, 4])]),
        case("SHAPE", json!({"type": "ShapeOptions", "outType": 2}), given([x()]), vec![out(I32, &[3])]),
        case("RANK", Value::Null, given([x()]), vec![out(I32, &[])]),
        case(
            "RANGE",
            Value::Null,
            given([these(I32, &[], &[2]), these(I32, &[], &[11]), these(I32, &[], &[3])]),
            vec![out(I32, &[3])],
        ),
        case("FILL", Value::Null, given([list(&[2, 3]), floats(&[], 1.0, 2.0)]), vec![out(F, &[2, 3])]),
    ]
}

fn masks(begin: i64, end: i64, ellipsis: i64, new_axis: i64, shrink: i64) -> Value {
    json!({"type": "StridedSliceOptions", "beginMask": begin, "endMask": end, "ellipsisMask": ellipsis,
        "newAxisMask": new_axis, "shrinkAxisMask": shrink})
}

fn slices() -> Vec<Case> {
    let x = || f(&[4, 5, 6]);
    let strided = |name: &str, options: Value, bounds: [&[i64]; 3], shape: &[usize]| {
        let [begin, end, steps] = bounds;
        case(
            &format!("STRIDED_SLICE {name}"),
            options,
            given([x(), list(begin), list(end), list(steps)]),
            vec![out(F, shape)],
        )
    };
    let computed = |name: &str, options: Value, bounds: [&[i64]; 3], shape: &[usize]| {
        let [begin, end, steps] = bounds;
        let given =
            given([x(), these(I32, &[begin.len()], begin), these(I32, &[end.len()], end), list(steps)]);
        case(&format!("STRIDED_SLICE {name}"), options, given, vec![out(F, shape)])
    };
    vec![
        case(
            "SLICE",
            Value::Null,
            given([x(), list(&[1, 0, 2]), list(&[2, -1, 3])]),
            vec![out(F, &[2, 5, 3])],
        ),
        case(
            "SLICE computed",
            Value::Null,
            given([x(), these(I32, &[3], &[1, 0, 2]), these(I32, &[3], &[2, -1, 3])]),
            vec![out(F, &[2, 5, 3])],
        ),
        strided("plain", masks(0, 0, 0, 0, 0), [&[1, -4, 0], &[3, 5, -1], &[1, 2, 3]], &[2, 2, 2]),
        strided("backwards", masks(1, 3, 0, 0, 0), [&[0, -1, 5], &[0, 0, 1], &[-1, -2, -1]], &[4, 3, 4]),
        strided("shrunk", masks(2, 2, 0, 0, 5), [&[-1, 0, 2], &[0, 0, 3], &[1, 1, 1]], &[5]),
        strided("new axis", masks(5, 5, 0, 2, 0), [&[0, 0, 0], &[0, 0, 0], &[1, 1, 1]], &[4, 1, 5, 6]),
        strided("ellipsis", masks(0, 0, 1, 0, 2), [&[0, 3], &[0, 4], &[1, 1]], &[4, 5]),
        strided(
            "ellipsis and new axis",
            masks(0, 0, 2, 4, 1),
            [&[1, 0, 0, 2], &[2, 0, 0, 5], &[1, 1, 1, 1]],
            &[5, 1, 3],
        ),
        strided("fewer axes", masks(0, 0, 0, 0, 0), [&[1], &[4], &[2]], &[2, 5, 6]),
        computed("computed", masks(2, 4, 0, 0, 0), [&[1, 3, 2], &[3, 4, 3], &[1, 1, 2]], &[2, 4, 2]),
        computed("computed and shrunk", masks(2, 2, 0, 0, 5), [&[-1, 0, 2], &[0, 0, 3], &[1, 1, 1]], &[5]),
    ]
}

fn indexing() -> Vec<Case> {
    let gather = |axis: i64, batch: i64| json!({"type": "GatherOptions", "axis": axis, "batchDims": batch});
    let hot = |axis: i64| json!({"type": "OneHotOptions", "axis": axis});
    vec![
        case(
            "GATHER",
            gather(1, 0),
            given([f(&[2, 5, 3]), these(I32, &[2, 2], &[4, 0, 1, 1])]),
            vec![out(F, &[2, 2, 2, 3])],
        ),
        case(
            "GATHER batches",
            gather(2, 1),
            given([f(&[2, 3, 5]), these(I32, &[2, 2], &[4, 0, 1, 1])]),
            vec![out(F, &[2, 3, 2])],
        ),
        case(
            "GATHER_ND",
            Value::Null,
            given([f(&[2, 5, 3]), these(I32, &[3, 2], &[0, 4, 1, 0, 1, 2])]),
            vec![out(F, &[3, 3])],
        ),
        case(
            "SCATTER_ND",
            Value::Null,
            given([these(I32, &[3, 1], &[4, 1, 4]), f(&[3, 2]), list(&[6, 2])]),
            vec![out(F, &[6, 2])],
        ),
        case(
            "ONE_HOT",
            hot(-1),
            given([
                these(I32, &[3], &[2, 0, 5]),
                scalar(4),
                floats(&[], 2.0, 3.0).constant(),
                floats(&[], -1.0, 0.0).constant(),
            ]),
            vec![out(F, &[3, 4])],
        ),
        case(
            "ONE_HOT computed",
            hot(0),
            given([these(I32, &[3], &[2, 0, 5]), scalar(4), floats(&[], 2.0, 3.0), floats(&[], -1.0, 0.0)]),
            vec![out(F, &[4, 3])],
        ),
        case("WHERE", Value::Null, given([ints(BOOL, &[3, 4], 0, 1)]), vec![out(I64, &[12, 2])]),
    ]
}

fn spatial() -> Vec<Case> {
    let x = || f(&[2, 4, 6, 3]);
    let resize = |kind: &str, corners: bool, centers: bool| json!({"type": kind, "alignCorners": corners, "halfPixelCenters": centers});
    let mut cases = vec![
        case(
            "SPACE_TO_DEPTH",
            json!({"type": "SpaceToDepthOptions", "blockSize": 2}),
            given([x()]),
            vec![out(F, &[2, 2, 3, 12])],
        ),
        case(
            "DEPTH_TO_SPACE",
            json!({"type": "DepthToSpaceOptions", "blockSize": 2}),
            given([f(&[2, 2, 3, 12])]),
            vec![out(F, &[2, 4, 6, 3])],
        ),
        case(
            "SPACE_TO_BATCH_ND",
            Value::Null,
            given([x(), list(&[2, 3]), these(I32, &[2, 2], &[1, 1, 2, 1]).constant()]),
            vec![out(F, &[12, 3, 3, 3])],
        ),
        case(
            "BATCH_TO_SPACE_ND",
            Value::Null,
            given([f(&[12, 3, 3, 2]), list(&[2, 3]), these(I32, &[2, 2], &[1, 0, 0, 2]).constant()]),
            vec![out(F, &[2, 5, 7, 2])],
        ),
        case(
            "BATCH_TO_SPACE_ND uncut",
            Value::Null,
            given([f(&[12, 3, 3, 2]), list(&[2, 3]), these(I32, &[2, 2], &[0, 0, 0, 0]).constant()]),
            vec![out(F, &[2, 6, 9, 2])],
        ),
    ];
    for (suffix, corners, centers) in
        [("", false, false), (" corners", true, false), (" centers", false, true)]
    {
        for (kind, operator) in [
            ("ResizeBilinearOptions", "RESIZE_BILINEAR"),
            ("ResizeNearestNeighborOptions", "RESIZE_NEAREST_NEIGHBOR"),
        ] {
            for (size, sizes) in [("larger", [7, 12]), ("smaller", [3, 4])] {
                let name = format!("{operator} {size}{suffix}");
                let shape = [2, sizes[0] as usize, sizes[1] as usize, 3];
                cases.push(case(
                    &name,
                    resize(kind, corners, centers),
                    given([x(), list(&sizes)]),
                    vec![out(F, &shape)],
                ));
            }
        }
    }
    cases
}

/// One form of each operator that has integer kernels.
fn quantized() -> Vec<Case> {
    let x = |shape: &[usize]| ints(I8, shape, -128, 127).quantized(0.03, 5);
    let y = |shape: &[usize]| out(I8, shape).quantized(0.05, -7);
    let w = |shape: &[usize], axis: usize| ints(I8, shape, -127, 127).constant().per_axis(0.01, axis);
    let bias = |count: usize, per_axis: bool| {
        let bias = ints(I32, &[count], -900, 900).constant();
        if per_axis { bias.per_axis(0.0003, 0) } else { bias.quantized(0.0003, 0) }
    };
    let same = |shape: &[usize]| out(I8, shape).quantized(0.03, 5);
    let options = |kind: &str, activation: i64| json!({"type": kind, "fusedActivationFunction": activation});
    let image = [1, 5, 6, 4];
    vec![
        case(
            "CONV_2D integers",
            conv(SAME, 2, RELU6, 1),
            given([x(&image), w(&[3, 3, 2, 4], 0), bias(3, true)]),
            vec![y(&[1, 3, 3, 3])],
        ),
        case(
            "DEPTHWISE_CONV_2D integers",
            depthwise(SAME, 1, 2, 1),
            given([x(&image), w(&[1, 3, 3, 8], 3), bias(8, true)]),
            vec![y(&[1, 5, 6, 8])],
        ),
        case(
            "TRANSPOSE_CONV integers",
            transposed(SAME, 2),
            given([list(&[1, 10, 12, 3]), w(&[3, 3, 3, 4], 0), x(&image)]),
            vec![out(I8, &[1, 10, 12, 3]).quantized(0.2, -7)],
        ),
        case(
            "FULLY_CONNECTED integers",
            dense(false, RELU),
            given([x(&[3, 4]), ints(I8, &[5, 4], -127, 127).constant().quantized(0.01, 0), bias(5, false)]),
            vec![y(&[3, 5])],
        ),
        case(
            "FULLY_CONNECTED integers folded",
            dense(true, NONE),
            given([
                x(&[2, 3, 4]),
                ints(I8, &[5, 4], -127, 127).constant().quantized(0.01, 0),
                bias(5, false),
            ]),
            vec![y(&[2, 3, 5])],
        ),
        case(
            "BATCH_MATMUL integers",
            json!({"type": "BatchMatMulOptions", "adjX": false, "adjY": true}),
            given([x(&[2, 3, 4]), x(&[2, 5, 4])]),
            vec![out(I8, &[2, 3, 5]).quantized(0.2, -7)],
        ),
        case(
            "AVERAGE_POOL_2D integers",
            pool(SAME, [2, 2], 2, NONE),
            given([x(&image)]),
            vec![same(&[1, 3, 3, 4])],
        ),
        case(
            "MAX_POOL_2D integers",
            pool(SAME, [2, 2], 2, RELU),
            given([x(&image)]),
            vec![same(&[1, 3, 3, 4])],
        ),
        case(
            "ADD integers8",
            options("AddOptions", RELU),
            given([x(&[2, 3]), x(&[3])]),
            vec![out(I8, &[2, 3]).quantized(0.06, -7)],
        ),
        case(
            "SUB integers8",
            options("SubOptions", NONE),
            given([x(&[2, 3]), x(&[2, 3])]),
            vec![out(I8, &[2, 3]).quantized(0.06, -7)],
        ),
        case(
            "MUL integers8",
            options("MulOptions", NONE),
            given([x(&[2, 3]), x(&[2, 3])]),
            vec![out(I8, &[2, 3]).quantized(0.15, -7)],
        ),
        case(
            "LOGISTIC integers",
            Value::Null,
            given([x(&[2, 30])]),
            vec![out(I8, &[2, 30]).quantized(1.0 / 256.0, -128)],
        ),
        case(
            "TANH integers",
            Value::Null,
            given([x(&[2, 30])]),
            vec![out(I8, &[2, 30]).quantized(1.0 / 128.0, 0)],
        ),
        case(
            "HARD_SWISH integers",
            Value::Null,
            given([x(&[2, 30])]),
            vec![out(I8, &[2, 30]).quantized(0.03, -100)],
        ),
        case(
            "LEAKY_RELU integers",
            json!({"type": "LeakyReluOptions", "alpha": 0.1}),
            given([x(&[2, 30])]),
            vec![y(&[2, 30])],
        ),
        case("RELU integers", Value::Null, given([x(&[2, 30])]), vec![y(&[2, 30])]),
        case(
            "SOFTMAX integers",
            json!({"type": "SoftmaxOptions", "beta": 1.0}),
            given([x(&[2, 10])]),
            vec![out(I8, &[2, 10]).quantized(1.0 / 256.0, -128)],
        ),
        case(
            "MEAN integers",
            json!({"type": "ReducerOptions", "keepDims": false}),
            given([x(&image), list(&[1, 2])]),
            vec![same(&[1, 4])],
        ),
        case(
            "REDUCE_MAX integers",
            json!({"type": "ReducerOptions", "keepDims": false}),
            given([x(&image), list(&[1, 2])]),
            vec![same(&[1, 4])],
        ),
        case(
            "CONCATENATION integers",
            json!({"type": "ConcatenationOptions", "axis": 1}),
            given([x(&[2, 3]), x(&[2, 2])]),
            vec![same(&[2, 5])],
        ),
        case(
            "PAD integers",
            Value::Null,
            given([x(&[2, 3]), these(I32, &[2, 2], &[1, 0, 0, 2]).constant()]),
            vec![same(&[3, 5])],
        ),
        case("MAXIMUM integers", Value::Null, given([x(&[2, 3]), x(&[3])]), vec![same(&[2, 3])]),
        case(
            "RESHAPE integers",
            json!({"type": "ReshapeOptions", "newShape": [3, 2]}),
            given([x(&[2, 3]), list(&[3, 2])]),
            vec![same(&[3, 2])],
        ),
        case(
            "GATHER integers",
            json!({"type": "GatherOptions", "axis": 0, "batchDims": 0}),
            given([x(&[4, 3]), these(I32, &[2], &[3, 1])]),
            vec![same(&[2, 3])],
        ),
        case(
            "RESIZE_BILINEAR integers",
            json!({"type": "ResizeBilinearOptions", "alignCorners": false, "halfPixelCenters": true}),
            given([x(&image), list(&[8, 9])]),
            vec![same(&[1, 8, 9, 4])],
        ),
        case(
            "SPACE_TO_BATCH_ND integers",
            Value::Null,
            given([x(&image), list(&[2, 2]), these(I32, &[2, 2], &[1, 0, 0, 0]).constant()]),
            vec![same(&[4, 3, 3, 4])],
        ),
        case(
            "LESS integers8",
            Value::Null,
            given([x(&[2, 30]), ints(I8, &[2, 30], -100, 100).quantized(0.04, -3)]),
            vec![out(BOOL, &[2, 30])],
        ),
        case("QUANTIZE", Value::Null, given([floats(&[2, 30], -4.0, 4.0)]), vec![y(&[2, 30])]),
        case("QUANTIZE again", Value::Null, given([x(&[2, 30])]), vec![y(&[2, 30])]),
        case("DEQUANTIZE", Value::Null, given([x(&[2, 30])]), vec![out(F, &[2, 30])]),
        case(
            "DEQUANTIZE halves",
            Value::Null,
            given([these("FLOAT16", &[3], &[0x3c00, 0xc000, 0x3555])]),
            vec![out(F, &[3])],
        ),
        case(
            "EMBEDDING_LOOKUP integers",
            Value::Null,
            given([these(I32, &[3], &[2, 0, 4]), ints(I8, &[5, 3], -127, 127).constant().quantized(0.02, 0)]),
            vec![out(F, &[3, 3])],
        ),
    ]
}
