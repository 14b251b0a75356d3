//! MEAN, SUM, REDUCE_PROD, REDUCE_MAX and REDUCE_MIN.

use super::element::{Element, Unsupported, require, saturate, truncate};
use super::fixed::FixedMultiplier;
use crate::quantize::Params;

/// Which axes of a tensor are reduced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axes {
    /// The input's extents.
    pub shape: Vec<usize>,
    /// Whether each axis is reduced.
    pub reduced: Vec<bool>,
}

impl Axes {
    /// Elements that one result is reduced from.
    pub fn count(&self) -> usize {
        self.extents(true)
    }

    /// Results.
    pub fn results(&self) -> usize {
        self.extents(false)
    }

    fn extents(&self, reduced: bool) -> usize {
        let axes = self.shape.iter().zip(&self.reduced);
        axes.filter(|(_, is_reduced)| **is_reduced == reduced).map(|(extent, _)| extent).product()
    }

    /// Calls `each` with every element's result, in the order of the elements.
    fn for_each(&self, mut each: impl FnMut(usize, usize)) {
        let mut strides = vec![0; self.shape.len()];
        let mut stride = 1;
        for axis in (0..self.shape.len()).rev().filter(|axis| !self.reduced[*axis]) {
            strides[axis] = stride;
            stride *= self.shape[axis];
        }
        let mut index = vec![0; self.shape.len()];
        let mut result = 0;
        for element in 0..self.shape.iter().product() {
            each(element, result);
            for axis in (0..self.shape.len()).rev() {
                index[axis] += 1;
                result += strides[axis];
                if index[axis] < self.shape[axis] {
                    break;
                }
                index[axis] = 0;
                result -= strides[axis] * self.shape[axis];
            }
        }
    }

    fn check(&self, input: usize, output: usize) {
        assert_eq!(self.shape.len(), self.reduced.len(), "a choice for each axis");
        assert_eq!(input, self.shape.iter().product::<usize>(), "input length");
        assert_eq!(output, self.results(), "output length");
    }
}

/// SUM and MEAN, sums in 32 bits.
///
/// `saturate(multiplier.apply(sum of x - count * zero point) + output zero point)`, but for SUM of `i8` and `i16`:
/// `saturate(round_half_away(sum of x * scale - zero point * scale * count) + output zero point)` in f32 with `scale =
/// input scale / output scale`. That is what LiteRT's optimized kernel computes; its reference kernel takes SUM's data
/// for `u8` whatever its type.
#[derive(Clone, Debug, PartialEq)]
pub struct Sum {
    axes: Axes,
    input_zero_point: i32,
    output_zero_point: i32,
    scaling: Scaling,
}

#[derive(Clone, Debug, PartialEq)]
enum Scaling {
    Fixed(FixedMultiplier),
    Real { scale: f32, offset: f32 },
}

impl Sum {
    /// Prepares SUM.
    pub fn new<T: Element>(axes: Axes, input: Params, output: Params) -> Result<Sum, Unsupported> {
        let mut sum = Sum::fixed(axes, input, output)?;
        if T::MIN < 0 {
            let scale = input.scale / output.scale;
            let offset = input.zero_point.wrapping_neg() as f32 * scale * sum.axes.count() as f32;
            sum.scaling = Scaling::Real { scale, offset };
        }
        Ok(sum)
    }

    /// Prepares MEAN: the count divides the mantissa after as many bits as fit, and the quotient is cut off.
    pub fn mean(axes: Axes, input: Params, output: Params) -> Result<Sum, Unsupported> {
        let mut sum = Sum::fixed(axes, input, output)?;
        let count = sum.axes.count() as i64;
        require(count > 0, "elements of a mean", "at least one", count as f64)?;
        if let Scaling::Fixed(FixedMultiplier { mantissa, shift }) = &mut sum.scaling {
            let bits = (63 - count.leading_zeros() as i32).min(32).min(31 + *shift);
            *mantissa = ((i64::from(*mantissa) << bits) / count) as i32;
            *shift -= bits;
        }
        Ok(sum)
    }

    fn fixed(axes: Axes, input: Params, output: Params) -> Result<Sum, Unsupported> {
        let multiplier = FixedMultiplier::new(f64::from(input.scale) / f64::from(output.scale))?;
        Ok(Sum {
            axes,
            input_zero_point: input.zero_point,
            output_zero_point: output.zero_point,
            scaling: Scaling::Fixed(multiplier),
        })
    }

    /// Computes sums or means.
    pub fn run<T: Element>(&self, input: &[T], output: &mut [T]) {
        self.axes.check(input.len(), output.len());
        let mut sums = vec![0i32; output.len()];
        self.axes
            .for_each(|element, result| sums[result] = sums[result].wrapping_add(input[element].widen()));
        let zero_points = (self.axes.count() as i32).wrapping_mul(self.input_zero_point);
        for (output, sum) in output.iter_mut().zip(sums) {
            let scaled = match self.scaling {
                Scaling::Fixed(multiplier) => multiplier.apply(sum.wrapping_sub(zero_points)),
                Scaling::Real { scale, offset } => truncate((sum as f32 * scale + offset).round()),
            };
            *output = saturate(scaled.wrapping_add(self.output_zero_point));
        }
    }
}

/// The product of `i8` or `i16` elements, requantized after every factor.
#[derive(Clone, Debug, PartialEq)]
pub struct Product {
    axes: Axes,
    input_zero_point: i32,
    output_zero_point: i32,
    multiplier: FixedMultiplier,
}

impl Product {
    /// Prepares REDUCE_PROD: a factor's multiplier is `input scale / output scale^(1 / count)`.
    pub fn new(axes: Axes, input: Params, output: Params) -> Result<Product, Unsupported> {
        let root = libm::pow(f64::from(output.scale), 1.0 / axes.count().max(1) as f64);
        Ok(Product {
            axes,
            input_zero_point: input.zero_point,
            output_zero_point: output.zero_point,
            multiplier: FixedMultiplier::new(f64::from(input.scale) / root)?,
        })
    }

    /// Computes products.
    pub fn run<T: Element>(&self, input: &[T], output: &mut [T]) {
        self.axes.check(input.len(), output.len());
        let mut products: Vec<Option<i32>> = vec![None; output.len()];
        self.axes.for_each(|element, result| {
            let factor = input[element].widen().wrapping_sub(self.input_zero_point);
            products[result] = Some(match products[result] {
                None => factor,
                Some(product) => self.multiplier.apply_wide(i64::from(product) * i64::from(factor)),
            });
        });
        for (output, product) in output.iter_mut().zip(products) {
            let scaled = self.multiplier.apply_wide(i64::from(product.unwrap_or(1)));
            *output = saturate(scaled.wrapping_add(self.output_zero_point));
        }
    }
}

/// REDUCE_MAX: the largest integers; input and output have equal parameters.
pub fn max<T: Element>(axes: &Axes, input: &[T], output: &mut [T]) {
    choose(axes, input, output, T::MIN, |x, y| x > y);
}

/// REDUCE_MIN: the smallest integers; input and output have equal parameters.
pub fn min<T: Element>(axes: &Axes, input: &[T], output: &mut [T]) {
    choose(axes, input, output, T::MAX, |x, y| x < y);
}

fn choose<T: Element>(axes: &Axes, input: &[T], output: &mut [T], empty: i32, wins: impl Fn(T, T) -> bool) {
    axes.check(input.len(), output.len());
    output.fill(T::narrow(empty));
    axes.for_each(|element, result| {
        if wins(input[element], output[result]) {
            output[result] = input[element];
        }
    });
}
