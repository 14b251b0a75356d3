//! Arithmetic on two integers or floats where a plain operator could fail or means something else.

/// Division towards zero; by zero it gives 0.
pub(super) fn quotient(a: i64, b: i64) -> i64 {
    if b == 0 { 0 } else { a.wrapping_div(b) }
}

/// Division rounded down; by zero it gives 0.
pub(super) fn floored_quotient(a: i64, b: i64) -> i64 {
    let quotient = quotient(a, b);
    if remainder(a, b) != 0 && (a < 0) != (b < 0) { quotient - 1 } else { quotient }
}

/// The remainder with the sign of `a`; by zero it gives 0.
pub(super) fn remainder(a: i64, b: i64) -> i64 {
    if b == 0 { 0 } else { a.wrapping_rem(b) }
}

/// The remainder with the sign of `b`; by zero it gives 0.
pub(super) fn floored_remainder(a: i64, b: i64) -> i64 {
    let remainder = remainder(a, b);
    if remainder != 0 && (remainder < 0) != (b < 0) { remainder + b } else { remainder }
}

/// The remainder with the sign of `b`, as Python's `%`.
pub(super) fn floored_float_remainder(a: f64, b: f64) -> f64 {
    let remainder = a % b;
    if remainder == 0.0 {
        0f64.copysign(b)
    } else if (remainder < 0.0) != (b < 0.0) {
        remainder + b
    } else {
        remainder
    }
}

/// `a` to the power of `b`, wrapping; a negative power is the inverse cut to an integer.
pub(super) fn power(a: i64, b: i64) -> i64 {
    match (u64::try_from(b), a) {
        (Ok(exponent), _) => unsigned_power(a as u64, exponent) as i64,
        (Err(_), 1) => 1,
        (Err(_), -1) => 1 - 2 * (b & 1),
        (Err(_), _) => 0,
    }
}

/// `a` to the power of `b`, wrapping.
pub(super) fn unsigned_power(mut a: u64, mut b: u64) -> u64 {
    let mut result = 1u64;
    while b > 0 {
        if b & 1 == 1 {
            result = result.wrapping_mul(a);
        }
        a = a.wrapping_mul(a);
        b >>= 1;
    }
    result
}

/// `a` moved by `b` bits; by 64 or more it gives 0.
pub(super) fn shifted(a: u64, b: u64, left: bool) -> u64 {
    let by = u32::try_from(b).unwrap_or(u32::MAX);
    if left { a.checked_shl(by) } else { a.checked_shr(by) }.unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{floored_float_remainder, floored_quotient, floored_remainder, power};

    // Python: a // b, a % b, and pow.
    #[test]
    fn signs_are_those_of_python() {
        for (a, b, quotient, remainder) in [(7, 3, 2, 1), (-7, 3, -3, 2), (7, -3, -3, -2), (-7, -3, 2, -1)] {
            assert_eq!((floored_quotient(a, b), floored_remainder(a, b)), (quotient, remainder));
            assert_eq!(floored_float_remainder(a as f64, b as f64), remainder as f64);
        }
        assert_eq!((floored_quotient(i64::MIN, -1), floored_remainder(5, 0)), (i64::MIN, 0));
        assert_eq!((power(-3, 3), power(2, -1), power(-1, -3)), (-27, 0, -1));
    }
}
