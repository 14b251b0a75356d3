//! From 32-bit accumulators to 8-bit results: the one definition of requantization.

use crate::storage::Quantized;
use crate::tflite::FixedMultiplier;

/// How an accumulator becomes a result, with the multipliers: one for all output channels or one for each.
///
/// A multiplier stands for `input scale * weight scale / output scale`. The rules agree but for rounding, so that
/// converting between them changes results; a graph carries its rule by name.
#[derive(Clone, Debug, PartialEq)]
pub enum Rule {
    /// ONNX Runtime's (MLAS): `clamp(round_half_even(f32(accumulator) * multiplier), min - zero point, max - zero
    /// point) + zero point`, all in f32 with one rounding per operation.
    OnnxRuntime(Vec<f32>),
    /// TFLite's: `clamp(multiplier.apply(accumulator) + zero point, min, max)`, in integers.
    TfLite(Vec<FixedMultiplier>),
    /// TFLite's for fully connected layers: `clamp(round_half_away(f64(accumulator) * multiplier) + zero point, min,
    /// max)`.
    TfLiteFullyConnected(Vec<f64>),
}

/// The parameters of a requantization to one tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Requantization {
    /// The rule.
    pub rule: Rule,
    /// The zero point of the output.
    pub zero_point: i32,
    /// The smallest result: the storage type's, or the zero point when a Relu is fused.
    pub min: i32,
    /// The largest result.
    pub max: i32,
}

impl Requantization {
    /// ONNX Runtime's rule: multipliers `(input * weight) / output`, computed in f32 from left to right.
    ///
    /// `range` is the inclusive range of results, within the storage type's.
    pub fn onnx_runtime(
        input_scale: f32,
        weight_scales: &[f32],
        output_scale: f32,
        zero_point: i32,
        range: [i32; 2],
    ) -> Requantization {
        Requantization {
            rule: Rule::OnnxRuntime(
                weight_scales.iter().map(|weight| input_scale * weight / output_scale).collect(),
            ),
            zero_point,
            min: range[0],
            max: range[1],
        }
    }

    /// The result for one accumulator: the definition.
    #[inline(always)]
    pub fn apply(&self, accumulator: i32, channel: usize) -> i32 {
        match &self.rule {
            Rule::OnnxRuntime(multipliers) => {
                round_into(accumulator as f32 * of_channel(multipliers, channel), self.bounds())
                    + self.zero_point
            }
            Rule::TfLite(multipliers) => self.clamp(of_channel(multipliers, channel).apply(accumulator)),
            Rule::TfLiteFullyConnected(multipliers) => {
                self.clamp(round_away(f64::from(accumulator) * of_channel(multipliers, channel)))
            }
        }
    }

    /// The result for one accumulator of 64 bits, by TFLite's rules alone (its 16-bit activations have these).
    #[inline(always)]
    pub fn apply_wide(&self, accumulator: i64, channel: usize) -> i32 {
        match &self.rule {
            Rule::OnnxRuntime(_) => unreachable!("ONNX Runtime has no accumulators of 64 bits"),
            Rule::TfLite(multipliers) => self.clamp(of_channel(multipliers, channel).apply_wide(accumulator)),
            Rule::TfLiteFullyConnected(multipliers) => {
                self.clamp(round_away(accumulator as f64 * of_channel(multipliers, channel)))
            }
        }
    }

    /// Results for consecutive channels beginning with `first`: `output[i] = apply(accumulators[i] + offsets[i])`.
    #[inline(always)]
    pub(crate) fn apply_row<T: Quantized>(
        &self,
        accumulators: &[i32],
        offsets: &[i32],
        first: usize,
        output: &mut [T],
    ) {
        let bounds = self.bounds();
        let zero_point = self.zero_point;
        let count = output.len();
        let accumulators = &accumulators[..count];
        let offsets = &offsets[..count];
        match &self.rule {
            Rule::OnnxRuntime(multipliers) if multipliers.len() == 1 => {
                let multiplier = multipliers[0];
                for index in 0..count {
                    let sum = accumulators[index].wrapping_add(offsets[index]);
                    output[index] = T::narrow(round_into(sum as f32 * multiplier, bounds) + zero_point);
                }
            }
            Rule::OnnxRuntime(multipliers) => {
                let multipliers = &multipliers[first..first + count];
                for index in 0..count {
                    let sum = accumulators[index].wrapping_add(offsets[index]);
                    output[index] =
                        T::narrow(round_into(sum as f32 * multipliers[index], bounds) + zero_point);
                }
            }
            Rule::TfLite(_) | Rule::TfLiteFullyConnected(_) => {
                for index in 0..count {
                    let sum = accumulators[index].wrapping_add(offsets[index]);
                    output[index] = T::narrow(self.apply(sum, first + index));
                }
            }
        }
    }

    #[inline(always)]
    fn clamp(&self, scaled: i32) -> i32 {
        scaled.wrapping_add(self.zero_point).max(self.min).min(self.max)
    }

    #[inline(always)]
    fn bounds(&self) -> [f32; 2] {
        [self.min.wrapping_sub(self.zero_point) as f32, self.max.wrapping_sub(self.zero_point) as f32]
    }
}

/// `round_half_even(clamp(value, bounds))`; not-a-number becomes the lower bound.
///
/// Bounds are whole numbers of magnitude below 2^22. There adding 1.5 * 2^23 rounds half to even, and the sum's low
/// bits are the whole number: two instructions on every machine, where a cast also has to handle what is out of range.
#[inline(always)]
pub(crate) fn round_into(value: f32, bounds: [f32; 2]) -> i32 {
    const SHIFT: f32 = 12_582_912.0;
    let value = if value > bounds[0] { value } else { bounds[0] };
    let value = if value < bounds[1] { value } else { bounds[1] };
    ((value + SHIFT).to_bits() as i32).wrapping_sub(SHIFT.to_bits() as i32)
}

/// Rounds half away from zero; what does not fit 32 bits becomes the smallest integer, as on x86-64.
#[inline(always)]
fn round_away(value: f64) -> i32 {
    let rounded = value.round();
    if (-2_147_483_648.0..2_147_483_648.0).contains(&rounded) { rounded as i32 } else { i32::MIN }
}

#[inline(always)]
fn of_channel<M: Copy>(multipliers: &[M], channel: usize) -> M {
    if multipliers.len() == 1 { multipliers[0] } else { multipliers[channel] }
}

#[cfg(test)]
mod tests {
    use super::{Requantization, round_into};

    #[test]
    fn halves_go_to_the_even_neighbour() {
        let requantization = Requantization::onnx_runtime(1.0, &[0.5], 1.0, 10, [0, 255]);
        let results: Vec<i32> = [-5, -3, -1, 0, 1, 3, 5].map(|sum| requantization.apply(sum, 0)).into();
        assert_eq!(results, [8, 8, 10, 10, 10, 12, 12]);
    }

    #[test]
    fn results_stay_in_the_range() {
        let requantization = Requantization::onnx_runtime(1.0, &[3.0], 1.0, -3, [-3, 100]);
        assert_eq!(requantization.apply(i32::MIN, 0), -3);
        assert_eq!(requantization.apply(i32::MAX, 0), 100);
        assert_eq!(requantization.apply(2, 0), 3);
    }

    #[test]
    fn not_a_number_is_the_lower_bound() {
        assert_eq!(round_into(f32::NAN, [-7.0, 9.0]), -7);
        assert_eq!(round_into(f32::INFINITY, [-7.0, 9.0]), 9);
    }
}
