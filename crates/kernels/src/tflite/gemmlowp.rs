//! The fixed-point arithmetic of gemmlowp, which TFLite's softmax, logarithm, LSTM and normalization compute in.
//!
//! A number of `BITS` bits (16 or 32), held in an `i32`, with `m` integer bits stands for `raw * 2^(m + 1 - BITS)`.

/// The largest raw value.
const fn max<const BITS: u32>() -> i32 {
    (((1i64) << (BITS - 1)) - 1) as i32
}

/// The smallest raw value.
const fn min<const BITS: u32>() -> i32 {
    -max::<BITS>() - 1
}

/// The low bits, as of an addition that wraps.
#[inline(always)]
fn wrap<const BITS: u32>(value: i32) -> i32 {
    if BITS == 16 { i32::from(value as i16) } else { value }
}

#[inline(always)]
fn add<const BITS: u32>(a: i32, b: i32) -> i32 {
    wrap::<BITS>(a.wrapping_add(b))
}

#[inline(always)]
fn subtract<const BITS: u32>(a: i32, b: i32) -> i32 {
    wrap::<BITS>(a.wrapping_sub(b))
}

/// A constant that is given with 32 bits.
#[inline(always)]
const fn constant<const BITS: u32>(raw: i32) -> i32 {
    if BITS == 16 {
        let rounded = (raw as i64 + (1 << 15)) >> 16;
        if rounded > max::<16>() as i64 { max::<16>() } else { rounded as i32 }
    } else {
        raw
    }
}

/// `a * b / 2^(BITS - 1)`, halves rounded up; `MIN * MIN` saturates.
#[inline(always)]
pub(crate) fn high_mul<const BITS: u32>(a: i32, b: i32) -> i32 {
    if a == b && a == min::<BITS>() {
        return max::<BITS>();
    }
    let product = i64::from(a) * i64::from(b);
    let half = 1i64 << (BITS - 2);
    let nudge = if product >= 0 { half } else { 1 - half };
    wrap::<BITS>(((product + nudge) / (1i64 << (BITS - 1))) as i32)
}

/// `x / 2^exponent`, halves away from zero, for `exponent` in `0..BITS`.
///
/// The reference comes here with other exponents too; these give what x86-64's shifts give.
#[inline(always)]
pub(crate) fn divide_by_power<const BITS: u32>(x: i32, exponent: i32) -> i32 {
    let mask = wrap::<BITS>(1i64.wrapping_shl(exponent as u32).wrapping_sub(1) as i32);
    let remainder = x & mask;
    let threshold = (mask >> 1) + i32::from(x < 0);
    wrap::<BITS>((x >> (exponent & 31)).wrapping_add(i32::from(remainder > threshold)))
}

/// `x * 2^exponent`, saturated.
#[inline(always)]
pub(crate) fn multiply_by_power<const BITS: u32>(x: i32, exponent: i32) -> i32 {
    if exponent <= 0 {
        return if exponent == 0 { x } else { divide_by_power::<BITS>(x, -exponent) };
    }
    let threshold = ((1i64 << (BITS as i32 - 1 - exponent)) - 1) as i32;
    if x > threshold {
        max::<BITS>()
    } else if x < -threshold {
        min::<BITS>()
    } else {
        wrap::<BITS>(x << exponent)
    }
}

/// The same number with `to` instead of `from` integer bits.
#[inline(always)]
pub(crate) fn rescale<const BITS: u32>(x: i32, from: i32, to: i32) -> i32 {
    multiply_by_power::<BITS>(x, from - to)
}

/// `(a + b) / 2`, halves away from zero.
#[inline(always)]
pub(crate) fn rounding_half_sum(a: i32, b: i32) -> i32 {
    let sum = i64::from(a) + i64::from(b);
    ((sum + if sum >= 0 { 1 } else { -1 }) / 2) as i32
}

/// `exp(a)` for `a` in `-1/4..0`; no integer bits.
#[inline(always)]
fn exp_near_zero<const BITS: u32>(a: i32) -> i32 {
    let mul = high_mul::<BITS>;
    let constant_term = constant::<BITS>(1_895_147_668); // exp(-1/8)
    let one_third = constant::<BITS>(715_827_883);
    let x = add::<BITS>(a, 1 << (BITS - 4));
    let x2 = mul(x, x);
    let x3 = mul(x2, x);
    let x4 = mul(x2, x2);
    let x4_over_4 = divide_by_power::<BITS>(x4, 2);
    let higher_terms =
        divide_by_power::<BITS>(add::<BITS>(mul(add::<BITS>(x4_over_4, x3), one_third), x2), 1);
    let sum = mul(constant_term, add::<BITS>(x, higher_terms));
    if BITS == 16 {
        (constant_term + sum).clamp(min::<16>(), max::<16>())
    } else {
        constant_term.wrapping_add(sum)
    }
}

/// `exp(a)` for `a <= 0` with `integer_bits`; the result has none.
#[inline(always)]
pub(crate) fn exp_on_negative_values<const BITS: u32>(a: i32, integer_bits: i32) -> i32 {
    // exp(-2^exponent) for exponents from -2 on.
    const POWERS: [i32; 7] =
        [1_672_461_947, 1_302_514_674, 790_015_084, 290_630_308, 39_332_535, 720_401, 242];
    let fractional_bits = BITS as i32 - 1 - integer_bits;
    let one_quarter = 1 << (fractional_bits - 2);
    let residue = (a & (one_quarter - 1)) - one_quarter;
    let mut result = exp_near_zero::<BITS>(rescale::<BITS>(residue, integer_bits, 0));
    let remainder = subtract::<BITS>(residue, a);
    for (index, power) in POWERS.into_iter().enumerate() {
        let exponent = index as i32 - 2;
        if integer_bits > exponent && remainder & (1 << (fractional_bits + exponent)) != 0 {
            result = high_mul::<BITS>(result, constant::<BITS>(power));
        }
    }
    if integer_bits > 5 && a < -(1 << (BITS as i32 - 1 - integer_bits + 5)) {
        result = 0;
    }
    if a == 0 { max::<BITS>() } else { result }
}

/// `2 / (1 + a)` by Newton's method, for `a` in `0..=1`; the result has two integer bits.
#[inline(always)]
fn two_over_one_plus<const BITS: u32>(a: i32) -> i32 {
    let mul = high_mul::<BITS>;
    let half_denominator = rounding_half_sum(a, max::<BITS>());
    let one = 1 << (BITS - 3);
    let mut x = add::<BITS>(
        constant::<BITS>(1_515_870_810),                         // 48/17
        mul(half_denominator, constant::<BITS>(-1_010_580_540)), // -32/17
    );
    for _ in 0..3 {
        let error = subtract::<BITS>(one, mul(half_denominator, x));
        x = add::<BITS>(x, rescale::<BITS>(mul(x, error), 4, 2));
    }
    x
}

/// `1 / (1 + a)` for `a` in `0..=1`; no integer bits.
#[inline(always)]
pub(crate) fn one_over_one_plus<const BITS: u32>(a: i32) -> i32 {
    rescale::<BITS>(two_over_one_plus::<BITS>(a), 1, 0)
}

/// `(1 - a) / (1 + a)` for `a` in `0..=1`; no integer bits.
#[inline(always)]
fn one_minus_over_one_plus<const BITS: u32>(a: i32) -> i32 {
    rescale::<BITS>(subtract::<BITS>(two_over_one_plus::<BITS>(a), 1 << (BITS - 3)), 2, 0)
}

/// `1 / (1 + exp(-a))`; the result has no integer bits.
#[inline(always)]
pub(crate) fn logistic<const BITS: u32>(a: i32, integer_bits: i32) -> i32 {
    if a == 0 {
        return 1 << (BITS - 2);
    }
    let magnitude = if a > 0 { a } else { wrap::<BITS>(a.wrapping_neg()) };
    let exponent = wrap::<BITS>(magnitude.wrapping_neg());
    let positive = one_over_one_plus::<BITS>(exp_on_negative_values::<BITS>(exponent, integer_bits));
    if a > 0 { positive } else { subtract::<BITS>(max::<BITS>(), positive) }
}

/// `tanh(a)`; the result has no integer bits.
#[inline(always)]
pub(crate) fn tanh<const BITS: u32>(a: i32, integer_bits: i32) -> i32 {
    if a == 0 {
        return 0;
    }
    let negative = if a < 0 { a } else { -a };
    // Twice the number is the same raw value with one integer bit more.
    let result = one_minus_over_one_plus::<BITS>(exp_on_negative_values::<BITS>(negative, integer_bits + 1));
    if a < 0 { wrap::<BITS>(-result) } else { result }
}

/// `1 / x` of a number with `integer_bits`, as `result * 2^-bits_over_unit` where the result has no integer bits;
/// gives result and bits over the unit.
#[inline(always)]
pub(crate) fn reciprocal(x: i32, integer_bits: i32) -> (i32, i32) {
    let headroom_plus_one = x.leading_zeros() as i32;
    let shifted = (x as u32).checked_shl(headroom_plus_one as u32).unwrap_or(0).wrapping_sub(1 << 31) as i32;
    (one_over_one_plus::<32>(shifted), integer_bits - headroom_plus_one)
}

/// `1 / sqrt(x)` of an integer as mantissa and shift to the left, for a `FixedMultiplier`; 0 counts as 1.
#[inline(always)]
pub(crate) fn inverse_square_root(x: i32) -> (i32, i32) {
    if x <= 1 {
        return (i32::MAX, 0);
    }
    let mul = high_mul::<32>;
    let mut x = x;
    let mut right_shift = 11;
    while x >= 1 << 29 {
        x /= 4;
        right_shift += 1;
    }
    let bit_pairs = (x.leading_zeros() as i32 - 1) / 2 - 1;
    right_shift -= bit_pairs;
    x <<= 2 * bit_pairs;
    let input = x >> 1;
    let half_input = divide_by_power::<32>(input, 1);
    let half_three = (1 << 28) + (1 << 27);
    let mut root = 1 << 28;
    for _ in 0..5 {
        let cube = rescale::<32>(mul(mul(root, root), root), 9, 3);
        root = rescale::<32>(mul(half_three, root).wrapping_sub(mul(half_input, cube)), 6, 3);
    }
    root = mul(root, 1_518_500_250); // sqrt(2) / 2
    if right_shift < 0 {
        root <<= -right_shift;
        right_shift = 0;
    }
    (root, -right_shift)
}

/// `ln(x)` for a number of `input_bits` integer bits that is at least 1; the result has `output_bits`.
#[inline(always)]
pub(crate) fn logarithm(x: i32, input_bits: i32, output_bits: i32) -> i32 {
    const LN_2: i32 = 1_488_522_236;
    const FOURTH_ROOT_HALF: i32 = 1_805_811_301;
    const ROOT_HALF: i32 = 1_518_500_250;
    const ONE_QUARTER: i32 = 536_870_912;
    const ALPHA_N: i32 = 117_049_297; // 11/240 * 2^(1/4)
    const ALPHA_D: i32 = 127_690_142; // 1/20 * 2^(1/4)
    const ALPHA_I: i32 = 1_057_819_769; // 2/2^(1/4) - 2^(1/4)
    const ALPHA_F: i32 = 638_450_708; // 1/4 * 2^(1/4)
    let mul = high_mul::<32>;
    let sum_bits = output_bits + 1;
    let shifted_quarter = rescale::<32>(ONE_QUARTER, 0, sum_bits);

    let a_headroom_plus_one = x.leading_zeros() as i32;
    let a_normalized = multiply_by_power::<32>(x, a_headroom_plus_one - 1);
    let a = multiply_by_power::<32>(mul(a_normalized, ROOT_HALF), 1);
    let a_power = multiply_by_power::<32>(input_bits - a_headroom_plus_one, 31 - sum_bits)
        .saturating_add(shifted_quarter);

    let b_headroom = mul(x, ROOT_HALF).leading_zeros() as i32 - 1;
    let b = multiply_by_power::<32>(x, b_headroom);
    let b_power =
        multiply_by_power::<32>(input_bits - b_headroom, 31 - sum_bits).saturating_sub(shifted_quarter);

    let r = a.min(b);
    let power = a_power.max(b_power);
    let p = rounding_half_sum(r, FOURTH_ROOT_HALF);
    let q = r.wrapping_sub(FOURTH_ROOT_HALF);
    let q = q.wrapping_add(q);
    let square = mul(q, q);
    let numerator = mul(q, r).wrapping_add(mul(mul(q, square), ALPHA_N));
    let denominator =
        mul(p, ALPHA_I.wrapping_add(q).wrapping_add(mul(ALPHA_D, square))).wrapping_add(mul(ALPHA_F, q));
    let scaled = mul(rescale::<32>(numerator, 0, sum_bits), one_over_one_plus::<32>(denominator));
    rescale::<32>(mul(power, LN_2).wrapping_add(scaled), sum_bits, output_bits)
}
