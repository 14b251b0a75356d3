//! Folded parameters against PyTorch's, folded graphs against a naive evaluation, and what is left alone.

use calipers_ir::{Conv, Fate, Graph, Op, text};
use calipers_random::Random;

use super::fold_batch_norm;
use crate::before_after::check;

fn f32_of(graph: &Graph, name: &str) -> Vec<f32> {
    let id = graph.value_named(name).unwrap();
    graph.constant(id).unwrap().as_f32().unwrap().into_owned()
}

#[test]
fn a_convolution_takes_the_normalization_in() {
    let before = "graph g {
      input %x: f32[N, 1, 4]
      const %taps: f32[2, 1, 2] = [1.0, 2.0, 3.0, 4.0]
      const %scale: f32[2] = [1.0, -3.0]
      const %shift: f32[2] = [0.0, 10.0]
      const %mean: f32[2] = [8.0, 1.0]
      const %variance: f32[2] = [4.0, 0.25]
      node conv %conv: f32[N, 2, 3] = Conv(%x, %taps) {strides = [1]}
      node norm %norm: f32[N, 2, 3] = BatchNormalization(%conv, %scale, %shift, %mean, %variance) {epsilon = 0.0}
      node next %next: f32[N, 2, 3] = Relu(%norm)
      output %next
    }";
    let after = "graph g {
      input %x: f32[N, 1, 4]
      const %taps: f32[2, 1, 2] = [0.5, 1.0, -18.0, -24.0]
      const %conv.bias: f32[2] = [-4.0, 16.0]
      node conv %norm: f32[N, 2, 3] = Conv(%x, %taps, %conv.bias) {strides = [1]}
      node next %next: f32[N, 2, 3] = Relu(%norm)
      output %next
    }";
    let result = check(before, after, fold_batch_norm);
    assert_eq!(result.renames.0["conv"], Fate::Fused(String::from("norm")));
    assert_eq!((result.rewrites, result.renames.0.len(), result.notes), (1, 1, vec![]));
}

#[test]
fn a_matrix_product_keeps_alpha_and_gives_up_beta() {
    let before = "graph g {
      input %x: f32[N, 2]
      const %w: f32[2, 3] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
      const %c: f32[] = [8.0]
      const %scale: f32[3] = [2.0, 4.0, 8.0]
      const %shift: f32[3] = [1.0, 1.0, 1.0]
      const %mean: f32[3] = [0.0, 1.0, 2.0]
      const %variance: f32[3] = [1.0, 1.0, 4.0]
      node gemm %gemm: f32[N, 3] = Gemm(%x, %w, %c) {alpha = 3.0, beta = 0.5}
      node norm %y: f32[N, 3] = BatchNormalization(%gemm, %scale, %shift, %mean, %variance) {epsilon = 0.0}
      output %y
    }";
    let after = "graph g {
      input %x: f32[N, 2]
      const %w: f32[2, 3] = [2.0, 8.0, 12.0, 8.0, 20.0, 24.0]
      const %c: f32[3] = [9.0, 13.0, 9.0]
      node gemm %y: f32[N, 3] = Gemm(%x, %w, %c) {alpha = 3.0}
      output %y
    }";
    check(before, after, fold_batch_norm);
}

#[test]
fn one_normalization_after_another_is_folded_too() {
    let before = "graph g {
      input %x: f32[N, 4, 1]
      const %taps: f32[1, 1, 2] = [1.0, 2.0]
      const %bias: f32[1] = [1.0]
      const %three: f32[1] = [3.0]
      const %zero: f32[1] = [0.0]
      const %one: f32[1] = [1.0]
      node conv %conv: f32[N, 3, 1] = Conv(%x, %taps, %bias) {strides = [1], layout = \"nhwc\"}
      node a %a: f32[N, 3, 1] = BatchNormalization(%conv, %three, %zero, %zero, %one) {epsilon = 0.0, layout = \"nhwc\"}
      node b %b: f32[N, 3, 1] = BatchNormalization(%a, %three, %one, %one, %one) {epsilon = 0.0, layout = \"nhwc\"}
      output %b
    }";
    let after = "graph g {
      input %x: f32[N, 4, 1]
      const %taps: f32[1, 1, 2] = [9.0, 18.0]
      const %bias: f32[1] = [7.0]
      node conv %b: f32[N, 3, 1] = Conv(%x, %taps, %bias) {strides = [1], layout = \"nhwc\"}
      output %b
    }";
    let result = check(before, after, fold_batch_norm);
    assert_eq!((result.rewrites, result.notes), (2, vec![]));
    assert_eq!(result.renames.0["conv"], Fate::Fused(String::from("b")));
    assert_eq!(result.renames.0["a"], Fate::Fused(String::from("b")));
}

#[test]
fn a_shared_weight_is_left_to_its_other_readers() {
    let before = "graph g {
      input %x: f32[N, 1, 4]
      const %taps: f32[1, 1, 1] = [1.0]
      const %two: f32[1] = [2.0]
      const %zero: f32[1] = [0.0]
      const %one: f32[1] = [1.0]
      node conv %conv: f32[N, 1, 4] = Conv(%x, %taps, %one) {strides = [1]}
      node norm %norm: f32[N, 1, 4] = BatchNormalization(%conv, %two, %zero, %zero, %one) {epsilon = 0.0}
      node other %other: f32[N, 1, 4] = Conv(%norm, %taps) {strides = [1]}
      output %other
    }";
    let after = "graph g {
      input %x: f32[N, 1, 4]
      const %taps: f32[1, 1, 1] = [1.0]
      const %conv.weight: f32[1, 1, 1] = [2.0]
      const %conv.bias: f32[1] = [2.0]
      node conv %norm: f32[N, 1, 4] = Conv(%x, %conv.weight, %conv.bias) {strides = [1]}
      node other %other: f32[N, 1, 4] = Conv(%norm, %taps) {strides = [1]}
      output %other
    }";
    check(before, after, fold_batch_norm);
}

// PyTorch 2.15, `torch.nn.utils.fusion.fuse_conv_bn_eval` and `fuse_linear_bn_eval`, which compute in f32.
#[test]
fn folded_parameters_are_those_of_pytorch() {
    let graph = "graph g {
      input %x: f32[N, 2, 1, 2]
      input %row: f32[N, 3]
      const %taps: f32[2, 2, 1, 2] = [0.1, -0.2, 0.3, 0.4, -0.5, 0.6, 0.7, -0.8]
      const %w: f32[2, 3] = [0.1, -0.2, 0.3, 0.4, -0.5, 0.6]
      const %bias: f32[2] = [1.0, -2.0]
      const %scale: f32[2] = [0.5, -1.75]
      const %shift: f32[2] = [0.25, 3.0]
      const %mean: f32[2] = [-0.5, 2.0]
      const %variance: f32[2] = [0.3, 4.0]
      node conv %conv: f32[N, 2, 1, 1] = Conv(%x, %taps) {strides = [1, 1]}
      node norm1 %y: f32[N, 2, 1, 1] = BatchNormalization(%conv, %scale, %shift, %mean, %variance) {epsilon = 0.001}
      node gemm %gemm: f32[N, 2] = Gemm(%row, %w, %bias) {transpose_b = 1}
      node norm2 %z: f32[N, 2] = BatchNormalization(%gemm, %scale, %shift, %mean, %variance) {epsilon = 0.001}
      output %y
      output %z
    }";
    let folded = fold_batch_norm(&text::parse(graph).unwrap()).unwrap();
    assert_eq!(folded.rewrites, 2);
    let near = |name: &str, expected: &[f32]| {
        let found = f32_of(&folded.graph, name);
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!(((found - expected) / expected).abs() < 3e-7, "{name}: {found} for {expected}");
        }
    };
    let taps =
        [0.09113533, -0.18227066, 0.273406, 0.36454132, 0.43744534, -0.5249344, -0.6124235, 0.69991255];
    near("taps", &taps);
    near("conv.bias", &[0.7056767, 4.7497816]);
    near("w", &[0.09113533, -0.18227066, 0.273406, -0.34995627, 0.43744534, -0.5249344]);
    near("bias", &[1.6170299, 6.4995627]);
}

#[test]
fn what_cannot_be_folded_stays_and_says_why() {
    let text = "graph g {
      input %x: f32[N, 1, 4]
      input %w: f32[1, 1, 1]
      input %wide: f64[N, 1, 4]
      const %taps: f32[1, 1, 1] = [1.0]
      const %taps64: f64[1, 1, 1] = 0x000000000000f03f
      const %one64: f64[1] = 0x000000000000f03f
      const %square: f32[2, 2] = [1.0, 2.0, 3.0, 4.0]
      const %one: f32[1] = [1.0]
      const %ones: f32[2] = [1.0, 1.0]
      const %negative: f32[1] = [-2.0]
      node relu %relu: f32[N, 1, 4] = Relu(%x)
      node alone %alone: f32[N, 1, 4] = BatchNormalization(%relu, %one, %one, %one, %one)
      node start %start: f32[N, 1, 4] = BatchNormalization(%x, %one, %one, %one, %one)
      node twice %twice: f32[N, 1, 4] = Conv(%alone, %taps) {strides = [1]}
      node n1 %n1: f32[N, 1, 4] = BatchNormalization(%twice, %one, %one, %one, %one)
      node sum %sum: f32[N, 1, 4] = Add(%n1, %twice)
      node active %active: f32[N, 1, 4] = Conv(%sum, %taps) {strides = [1], activation = \"relu\"}
      node n2 %n2: f32[N, 1, 4] = BatchNormalization(%active, %one, %one, %one, %one)
      node given %given: f32[N, 1, 4] = Conv(%n2, %w) {strides = [1]}
      node n3 %n3: f32[N, 1, 4] = BatchNormalization(%given, %one, %one, %one, %one)
      node last %last: f32[N, 1, 4] = Conv(%n3, %taps, %one) {strides = [1]}
      node n4 %n4: f32[N, 1, 4] = BatchNormalization(%last, %one, %one, %one, %negative)
      node double %double: f64[N, 1, 4] = Conv(%wide, %taps64) {strides = [1]}
      node n5 %n5: f64[N, 1, 4] = BatchNormalization(%double, %one64, %one64, %one64, %one64)
      node rows %rows: f32[2, 2] = Gemm(%square, %square, %square)
      node n6 %n6: f32[2, 2] = BatchNormalization(%rows, %ones, %ones, %ones, %ones)
      node turned %turned: f32[N, 1, 4] = Conv(%start, %taps) {strides = [1]}
      node n7 %n7: f32[N, 1, 4] = BatchNormalization(%turned, %four, %four, %four, %four) {layout = \"nhwc\"}
      output %n4
      output %n5
      output %n6
      output %n7
    }"
    .replace("const %one: f32[1]", "const %four: f32[4] = [1.0, 1.0, 1.0, 1.0]\n      const %one: f32[1]");
    let result = check(&text, &text, fold_batch_norm);
    let notes: Vec<String> =
        result.notes.iter().map(|note| format!("{}: {}", note.node, note.reason)).collect();
    assert_eq!(
        notes,
        [
            "alone: `relu` is made by Relu, not by Conv or Gemm",
            "start: no Conv or Gemm makes `x`",
            "n1: `twice` is read elsewhere too",
            "n2: `active` has an activation",
            "n3: `w` is no constant",
            "n4: folded parameters would not be finite",
            "n5: input 1 of `double` is f64, and only f32 is folded",
            "n6: the bias of `rows` is not one number per channel",
            "n7: `turned` has its channels on another axis",
        ]
    );
}

/// Convolution over `x` of shape `[channels, height, width]` by the formula of the ONNX page, with the sum of
/// magnitudes of what is added up.
fn naive_convolution(
    x: &[f64],
    [channels, height, width]: [usize; 3],
    conv: &Conv,
    weight: &[f32],
    shape: &[usize],
    bias: &[f32],
) -> Vec<(f64, f64)> {
    let (outputs, per_group) = (shape[0], shape[1]);
    let extent =
        |axis: usize, size: usize| conv.window.output_extent(axis, size, shape[2 + axis], false).unwrap();
    let mut result = Vec::new();
    for (output, &start) in bias.iter().enumerate() {
        let first = output / (outputs / conv.groups) * per_group;
        assert!(first + per_group <= channels);
        for row in 0..extent(0, height) {
            for column in 0..extent(1, width) {
                let start = f64::from(start);
                let mut sum = (start, start.abs());
                for channel in 0..per_group {
                    for i in 0..shape[2] {
                        for j in 0..shape[3] {
                            let y =
                                (row * conv.window.strides[0] + i).wrapping_sub(conv.window.pads_begin[0]);
                            let z =
                                (column * conv.window.strides[1] + j).wrapping_sub(conv.window.pads_begin[1]);
                            if y < height && z < width {
                                let tap = ((output * per_group + channel) * shape[2] + i) * shape[3] + j;
                                let at = ((first + channel) * height + y) * width + z;
                                let product = f64::from(weight[tap]) * x[at];
                                sum = (sum.0 + product, sum.1 + product.abs());
                            }
                        }
                    }
                }
                result.push(sum);
            }
        }
    }
    result
}

// Each folded parameter is off by half a unit in the last place at most, so that a sum is off by at most 2^-24 of the
// sum of magnitudes; the f64 sums of this test add far less than the hundredth allowed for them.
#[test]
fn a_folded_convolution_computes_the_same() {
    let mut random = Random::new(5, "fold_batch_norm");
    let mut draw = |count: usize, low: f32, high: f32| -> String {
        let numbers: Vec<f32> = (0..count).map(|_| low + (high - low) * random.uniform_f32()).collect();
        format!("{numbers:?}")
    };
    for (bias, groups) in [(false, 1), (true, 1), (false, 2), (true, 2)] {
        let text = format!(
            "graph g {{
              input %x: f32[1, 4, 5, 6]
              const %weight: f32[6, {per_group}, 3, 2] = {weight}
              const %bias: f32[6] = {biases}
              const %scale: f32[6] = {scale}
              const %shift: f32[6] = {shift}
              const %mean: f32[6] = {mean}
              const %variance: f32[6] = {variance}
              node conv %conv: f32[1, 6, 3, 6] = Conv(%x, %weight, {bias_name}) {{groups = {groups}, strides = [2, 1], pads = [1, 0, 1, 1]}}
              node norm %norm: f32[1, 6, 3, 6] = BatchNormalization(%conv, %scale, %shift, %mean, %variance)
              output %norm
            }}",
            per_group = 4 / groups,
            weight = draw(6 * 4 / groups * 6, -1.0, 1.0),
            biases = draw(6, -1.0, 1.0),
            scale = draw(6, -2.0, 2.0),
            shift = draw(6, -1.0, 1.0),
            mean = draw(6, -3.0, 3.0),
            variance = draw(6, 0.01, 4.0),
            bias_name = if bias { "%bias" } else { "_" },
        );
        let graph = text::parse(&text).unwrap();
        let folded = fold_batch_norm(&graph).unwrap();
        assert_eq!(folded.rewrites, 1, "{:?}", folded.notes);
        let Op::Conv(conv) = &graph.nodes()[0].op else { panic!("the first node is the convolution") };

        let x: Vec<f64> = (0..4 * 5 * 6).map(|index| f64::from(index * 37 % 101) / 50.0 - 1.0).collect();
        let run = |graph: &Graph, bias: &[f32]| {
            let shape = [6, 4 / groups, 3, 2];
            naive_convolution(&x, [4, 5, 6], conv, &f32_of(graph, "weight"), &shape, bias)
        };
        let before = run(&graph, &if bias { f32_of(&graph, "bias") } else { vec![0.0; 6] });
        let after = run(&folded.graph, &f32_of(&folded.graph, if bias { "bias" } else { "conv.bias" }));
        let [scale, shift, mean, variance] =
            ["scale", "shift", "mean", "variance"].map(|name| f32_of(&graph, name));
        assert_eq!(before.len(), 6 * 3 * 6);
        for (index, (&(plain, _), &(found, magnitude))) in before.iter().zip(&after).enumerate() {
            let channel = index / 18;
            let [scale, shift, mean, variance] =
                [&scale, &shift, &mean, &variance].map(|parameters| f64::from(parameters[channel]));
            let expected = scale * (plain - mean) / (variance + f64::from(1e-5f32)).sqrt() + shift;
            let bound = 1.01 * magnitude / f64::from(1 << 24);
            assert!((found - expected).abs() <= bound, "{index}: {found} for {expected}, bound {bound}");
        }
    }
}
