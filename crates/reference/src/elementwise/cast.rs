//! Conversions between storage types: by value, by bits, and to and from strings.

use calipers_ir::{DType, Tensor};

use crate::Error;
use crate::inputs::Inputs;
use crate::minifloat::{Rounding, exponent};
use crate::numbers::Numbers;

/// The values under another type. Floats become integers towards zero, and numbers beyond an integer's range wrap.
pub(super) fn cast(
    to: DType,
    saturate: bool,
    round_mode: &str,
    inputs: &Inputs<'_>,
) -> Result<Tensor, Error> {
    let x = inputs.tensor(0)?;
    if x.dtype() == to {
        return Ok(x.clone());
    }
    let numbers = match x.strings() {
        Some(strings) => parsed(strings, to, inputs)?,
        None => inputs.numbers_of(x)?,
    };
    let packed = |codes: Vec<u8>| {
        Tensor::new(to, x.shape(), codes.into())
            .map_err(|error| inputs.argument("a result that can be stored", error.to_string()))
    };
    match to {
        DType::String => Tensor::from_strings(x.shape(), printed(numbers))
            .map_err(|error| inputs.argument("a result that can be stored", error.to_string())),
        DType::F8E4M3Fn | DType::F8E4M3FnUz | DType::F8E5M2 | DType::F8E5M2FnUz => {
            packed(numbers.into_codes(to, saturate))
        }
        DType::F8E8M0 => {
            let rounding = match round_mode {
                "up" => Rounding::Up,
                "down" => Rounding::Down,
                "nearest" => Rounding::Nearest,
                other => {
                    return Err(inputs.argument("round_mode = up, down or nearest", format!("`{other}`")));
                }
            };
            packed(numbers.into_f32().into_iter().map(|value| exponent(value, saturate, rounding)).collect())
        }
        DType::Complex64 | DType::Complex128 => Err(inputs.unsupported_type(to, "real numbers")),
        _ => inputs.result(to, x.shape(), numbers),
    }
}

/// The same bits under another type of the same width.
pub(super) fn bit_cast(to: DType, inputs: &Inputs<'_>) -> Result<Tensor, Error> {
    let x = inputs.tensor(0)?;
    if x.dtype().bits().is_none() || x.dtype().bits() != to.bits() {
        return Err(inputs.argument(format!("a type as wide as {}", x.dtype()), to.to_string()));
    }
    Tensor::new(to, x.shape(), x.bytes())
        .map_err(|error| inputs.argument("a result that can be stored", error.to_string()))
}

/// Strings as numbers of the class that `to` needs.
fn parsed(strings: &[Vec<u8>], to: DType, inputs: &Inputs<'_>) -> Result<Numbers, Error> {
    fn each<T: std::str::FromStr>(strings: &[Vec<u8>], inputs: &Inputs<'_>) -> Result<Vec<T>, Error> {
        let parse = |word: &Vec<u8>| {
            let text = String::from_utf8_lossy(word);
            text.trim().parse().map_err(|_| inputs.argument("strings that are numbers", format!("`{text}`")))
        };
        strings.iter().map(parse).collect()
    }
    Ok(match (to.integer_range(), to) {
        (_, DType::U64) => Numbers::U64(each(strings, inputs)?),
        (Some(_), _) => Numbers::I64(each(strings, inputs)?),
        (None, DType::Bool) => {
            Numbers::Bool(strings.iter().map(|word| !matches!(&word[..], b"" | b"0" | b"False")).collect())
        }
        (None, DType::F64) => Numbers::F64(each(strings, inputs)?),
        (None, _) => Numbers::F32(each(strings, inputs)?),
    })
}

/// Numbers as numpy prints them.
fn printed(numbers: Numbers) -> Vec<Vec<u8>> {
    fn bytes<T: ToString>(values: Vec<T>) -> Vec<Vec<u8>> {
        values.into_iter().map(|value| value.to_string().into_bytes()).collect()
    }
    match numbers {
        Numbers::F32(values) => {
            let text = |value: f32| printed_float(f64::from(value), &format!("{value:e}"));
            values.into_iter().map(|value| text(value).into_bytes()).collect()
        }
        Numbers::F64(values) => {
            values.into_iter().map(|value| printed_float(value, &format!("{value:e}")).into_bytes()).collect()
        }
        Numbers::I64(values) => bytes(values),
        Numbers::U64(values) => bytes(values),
        Numbers::Bool(values) => {
            values.into_iter().map(|value| if value { b"True".to_vec() } else { b"False".to_vec() }).collect()
        }
    }
}

/// A float from the shortest digits that give it back, `scientific`: in plain form from 1e-4 to below 1e16.
fn printed_float(value: f64, scientific: &str) -> String {
    let Some((digits, power)) = scientific.split_once('e').filter(|_| value.is_finite()) else {
        return if value.is_nan() { String::from("nan") } else { format!("{value}") };
    };
    let power: i32 = power.parse().unwrap_or(0);
    if value != 0.0 && !(-4..16).contains(&power) {
        let sign = if power < 0 { '-' } else { '+' };
        return format!("{digits}e{sign}{:02}", power.abs());
    }
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    let digits = digits.replace('.', "");
    let places = digits.len() as i32 - 1 - power;
    if power < 0 {
        return format!("{sign}0.{}{digits}", "0".repeat((-power - 1) as usize));
    }
    if places <= 0 {
        return format!("{sign}{digits}{}.0", "0".repeat(-places as usize));
    }
    let (whole, fraction) = digits.split_at(power as usize + 1);
    format!("{sign}{whole}.{fraction}")
}

#[cfg(test)]
mod tests {
    use super::printed_float;

    // numpy: str(numpy.float64(value)).
    #[test]
    fn floats_print_as_in_numpy() {
        for (value, text) in [
            (0.0, "0.0"),
            (-1.5, "-1.5"),
            (1234.5, "1234.5"),
            (100.0, "100.0"),
            (0.00012, "0.00012"),
            (0.000012, "1.2e-05"),
            (1e16, "1e+16"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
        ] {
            assert_eq!(printed_float(value, &format!("{value:e}")), text);
        }
    }
}
