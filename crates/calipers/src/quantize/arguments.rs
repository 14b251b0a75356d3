//! The flags of `calipers quantize`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use calipers_quant::{ActivationType, ObserverKind, PRECISIONS, averaging_constant};
use clap::builder::PossibleValuesParser;
use clap::{Args, ValueEnum};

use crate::data_arguments::DataArguments;

/// Arguments of `calipers quantize`.
#[derive(Debug, Args)]
pub struct QuantizeArguments {
    /// The float model, an ONNX file.
    pub model: PathBuf,
    /// Where the quantized model is written; its recipe, calibration table and assignment are written beside it
    /// [default: MODEL with the precision before `.onnx`].
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Rules for the nodes of the model, a JSON file such as the one that is written beside every output.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["precision", "mode", "activations"])]
    pub recipe: Option<PathBuf>,
    /// Leave in float what has this name, where `*` stands for any text and `?` for any character. May be given again.
    #[arg(long, value_name = "NAME")]
    pub exclude: Vec<String>,
    /// Bits of weights and activations [default: w8a8]. `w8` and `w4` quantize weights alone.
    #[arg(long, value_parser = PossibleValuesParser::new(PRECISIONS.map(|(name, _)| name)))]
    pub precision: Option<String>,
    /// How activations are quantized [default: as the precision says].
    #[arg(long, value_enum)]
    pub mode: Option<Mode>,
    /// Storage type of activations [default: u8, or u16 where the precision says 16 bits].
    #[arg(long, value_enum)]
    pub activations: Option<Activations>,
    /// How the ranges of activations are found: auto (for each value the one that changes least what its readers
    /// compute), min-max, moving-average[:CONSTANT], percentile[:PERCENT], entropy or mse [default: auto].
    #[arg(long, value_name = "KIND", value_parser = observer)]
    pub observer: Option<ObserverKind>,
    /// Samples to calibrate on, drawn evenly over the classes and always the same ones.
    #[arg(long, value_name = "N", default_value = "128")]
    pub samples: NonZeroUsize,
    /// Threads [default: all cores].
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
    /// Print the result as JSON.
    #[arg(long)]
    pub json: bool,
    /// Data to calibrate on and to compare both models on. `--limit` bounds the samples of the comparison.
    #[command(flatten)]
    pub data: DataArguments,
}

/// How activations are quantized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// In ranges that calibration finds. Needs data.
    Static,
    /// While running, in the range of each tensor.
    Dynamic,
    /// Not at all.
    WeightOnly,
}

impl Mode {
    /// As it is said on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Static => "static",
            Mode::Dynamic => "dynamic",
            Mode::WeightOnly => "weight-only",
        }
    }
}

/// Storage types of activations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Activations {
    /// 8 bits without a sign, the fastest in ONNX Runtime.
    U8,
    /// 8 bits with a sign.
    I8,
    /// 16 bits without a sign.
    U16,
    /// 16 bits with a sign.
    I16,
}

impl Activations {
    /// The type that quantization knows.
    pub fn dtype(self) -> ActivationType {
        match self {
            Activations::U8 => ActivationType::U8,
            Activations::I8 => ActivationType::I8,
            Activations::U16 => ActivationType::U16,
            Activations::I16 => ActivationType::I16,
        }
    }
}

fn observer(text: &str) -> Result<ObserverKind, String> {
    let (name, constant) = match text.split_once(':') {
        Some((name, constant)) => {
            let constant: f32 = constant.parse().map_err(|_| format!("`{constant}` is not a number"))?;
            (name, Some(constant))
        }
        None => (text, None),
    };
    match (name, constant) {
        ("auto", None) => Ok(ObserverKind::Auto),
        ("min-max", None) => Ok(ObserverKind::MinMax),
        ("entropy", None) => Ok(ObserverKind::Entropy),
        ("mse", None) => Ok(ObserverKind::Mse),
        ("moving-average", constant) => {
            Ok(ObserverKind::MovingAverage { constant: constant.unwrap_or_else(averaging_constant) })
        }
        ("percentile", percent) => Ok(ObserverKind::Percentile { percent: percent.unwrap_or(99.99) }),
        _ => Err(String::from(
            "expected auto, min-max, moving-average[:CONSTANT], percentile[:PERCENT], entropy or mse",
        )),
    }
}

#[cfg(test)]
mod tests {
    use calipers_quant::ObserverKind;

    use super::observer;

    #[test]
    fn observers_by_name() {
        assert_eq!(observer("auto"), Ok(ObserverKind::Auto));
        assert_eq!(observer("percentile:99.9"), Ok(ObserverKind::Percentile { percent: 99.9 }));
        assert_eq!(observer("moving-average"), Ok(ObserverKind::MovingAverage { constant: 0.01 }));
        assert!(
            observer("minmax").is_err() && observer("mse:1").is_err() && observer("percentile:x").is_err()
        );
    }
}
