//! Names of values without what quantization tools add to them.

/// What the writers of QDQ files add to the name of a value, here and elsewhere.
const ENDINGS: [&str; 8] = [
    "_QuantizeLinear_Output",
    "_DequantizeLinear_Output",
    "_QuantizeLinear_Input",
    "_DequantizeLinear_Input",
    "_QuantizeLinear",
    "_DequantizeLinear",
    "_quantized",
    "_dequantized",
];

/// The name without the endings that quantization tools add, as often as they stand there.
pub fn bare_name(name: &str) -> &str {
    let mut bare = name;
    while let Some(shorter) = ENDINGS.iter().find_map(|ending| bare.strip_suffix(ending)) {
        if shorter.is_empty() {
            break;
        }
        bare = shorter;
    }
    bare
}

/// A name of at most `width` characters: the middle of a longer one is left out.
pub fn shortened(name: &str, width: usize) -> String {
    let letters: Vec<char> = name.chars().collect();
    if letters.len() <= width || width < 3 {
        return name.to_owned();
    }
    // The end tells more than the beginning: paths of modules begin alike.
    let front = (width - 1) / 3;
    let back = width - 1 - front;
    let start: String = letters[..front].iter().collect();
    let end: String = letters[letters.len() - back..].iter().collect();
    format!("{start}…{end}")
}

#[cfg(test)]
mod tests {
    use super::{bare_name, shortened};

    #[test]
    fn endings_of_quantization_tools_are_taken_off() {
        for (name, bare) in [
            ("conv1", "conv1"),
            ("conv1_QuantizeLinear_Output", "conv1"),
            ("conv1_DequantizeLinear_Output", "conv1"),
            ("logits_QuantizeLinear_Input", "logits"),
            ("x_quantized_DequantizeLinear_Output", "x"),
            ("_quantized", "_quantized"),
        ] {
            assert_eq!(bare_name(name), bare);
        }
    }

    #[test]
    fn long_names_lose_their_middle() {
        assert_eq!(shortened("model/layers/3/conv", 10), "mod…3/conv");
        assert_eq!(shortened("conv", 10), "conv");
    }
}
