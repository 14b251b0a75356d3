//! How numbers are written, the same in every text and page. What is not finite is written like what is not there.

/// Stands where there is no number.
pub const MISSING: &str = "–";

/// A number with that many significant digits, no exponent from 0.001 up, thousands separated by commas.
pub fn significant(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return MISSING.to_owned();
    }
    if value == 0.0 {
        return String::from("0");
    }
    if value.abs() < 1e-3 {
        return format!("{value:.0$e}", digits.saturating_sub(2).max(1));
    }
    // Rounding may add a digit: 9.996 is 10.0, not 10.00.
    let rounded: f64 = format!("{value:.0$e}", digits.saturating_sub(1)).parse().unwrap_or(value);
    let whole_digits = rounded.abs().log10().floor() as i64 + 1;
    let decimals = (digits as i64 - whole_digits).max(0) as usize;
    fixed(value, decimals)
}

/// A number with that many decimals, thousands separated by commas.
pub fn fixed(value: f64, decimals: usize) -> String {
    if !value.is_finite() {
        return MISSING.to_owned();
    }
    let text = format!("{:.decimals$}", value.abs());
    let (whole, rest) = text.split_at(text.find('.').unwrap_or(text.len()));
    let is_zero = text.bytes().all(|byte| matches!(byte, b'0' | b'.'));
    let sign = if value < 0.0 && !is_zero { "-" } else { "" };
    format!("{sign}{}{rest}", grouped(whole))
}

/// A count, thousands separated by commas.
pub fn count(number: usize) -> String {
    grouped(&number.to_string())
}

/// Three significant digits.
pub fn three(value: f64) -> String {
    significant(value, 3)
}

/// A share as percent without the sign, one decimal.
pub fn percent(share: f64) -> String {
    fixed(100.0 * share, 1)
}

/// A share as percent without the sign, two decimals.
pub fn percent2(share: f64) -> String {
    fixed(100.0 * share, 2)
}

/// A ratio, two decimals (three digits from 10 up).
pub fn ratio(value: f64) -> String {
    if (0.1..10.0).contains(&value) { fixed(value, 2) } else { three(value) }
}

/// Bytes as MiB (1,048,576 bytes).
pub fn mebibytes(bytes: f64) -> f64 {
    bytes / f64::from(1 << 20)
}

fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{fixed, significant};

    #[test]
    fn numbers_have_the_digits_that_they_need() {
        let cases = [
            (42.6151, "42.6"),
            (7.266, "7.27"),
            (9.996, "10.0"),
            (0.0874, "0.0874"),
            (1_899.6, "1,900"),
            (123_456.0, "123,456"),
            (3.14e-6, "3.1e-6"),
            (0.0, "0"),
            (-0.25, "-0.250"),
            (f64::NAN, "–"),
            (f64::INFINITY, "–"),
        ];
        for (value, text) in cases {
            assert_eq!(significant(value, 3), text);
        }
        assert_eq!((fixed(-0.001, 1), fixed(-1234.56, 1)), (String::from("0.0"), String::from("-1,234.6")));
    }
}
