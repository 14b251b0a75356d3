//! Normalization by stored statistics.

use crate::isa::Execution;

/// Batch normalization of inference, folded to `y = x * factor + shift` for each channel.
#[derive(Clone, Debug, PartialEq)]
pub struct FoldedNormalization {
    /// `scale / sqrt(variance + epsilon)`.
    pub factors: Vec<f32>,
    /// `bias - mean * factor`.
    pub shifts: Vec<f32>,
}

impl FoldedNormalization {
    /// Folds the statistics of the channels; all slices have one element for each.
    pub fn new(
        scale: &[f32],
        bias: &[f32],
        mean: &[f32],
        variance: &[f32],
        epsilon: f32,
    ) -> FoldedNormalization {
        let factors: Vec<f32> =
            scale.iter().zip(variance).map(|(scale, variance)| scale / (variance + epsilon).sqrt()).collect();
        let shifts =
            bias.iter().zip(mean).zip(&factors).map(|((bias, mean), factor)| bias - mean * factor).collect();
        FoldedNormalization { factors, shifts }
    }
}

/// `y[.., c] = x[.., c] * factor[c] + shift[c]` on channels-last data, then limited to `range`.
pub fn normalize(
    execution: Execution,
    input: &[f32],
    folded: &FoldedNormalization,
    range: [f32; 2],
    output: &mut [f32],
) {
    assert_eq!(input.len(), output.len(), "lengths");
    let channels = folded.factors.len();
    execution.split(output, channels.max(1), channels * 2, |first, output| {
        execution.isa.vectorize(
            #[inline(always)]
            || {
                let input = &input[first * channels..][..output.len()];
                for (input, output) in input.chunks_exact(channels).zip(output.chunks_exact_mut(channels)) {
                    let folded = folded.factors.iter().zip(&folded.shifts);
                    for ((y, x), (factor, shift)) in output.iter_mut().zip(input).zip(folded) {
                        *y = crate::gemm::clamp(x * factor + shift, range);
                    }
                }
            },
        );
    });
}

#[cfg(test)]
mod tests {
    use super::{FoldedNormalization, normalize};
    use crate::isa::Execution;

    // torch.nn.functional.batch_norm([[1, -2], [3, 4]], mean [0.5, 1], var [4, 0.25], weight [2, -1], bias [1, 0.5],
    // eps 0) in float64.
    #[test]
    fn equals_the_frameworks() {
        let folded = FoldedNormalization::new(&[2.0, -1.0], &[1.0, 0.5], &[0.5, 1.0], &[4.0, 0.25], 0.0);
        let mut output = [0.0; 4];
        let all = [f32::NEG_INFINITY, f32::INFINITY];
        normalize(Execution::single(), &[1.0, -2.0, 3.0, 4.0], &folded, all, &mut output);
        assert_eq!(output, [1.5, 6.5, 3.5, -5.5]);
    }
}
