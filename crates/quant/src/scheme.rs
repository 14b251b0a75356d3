//! How numbers are quantized: storage types, ranges and granularity of activations and weights.

use serde::{Deserialize, Serialize};

use crate::{IntegerType, ObserverKind};

/// How a node is quantized statically.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scheme {
    /// For the values that it makes, and those it reads that no quantized node makes.
    #[serde(default)]
    pub activation: ActivationScheme,
    /// For its weights.
    #[serde(default)]
    pub weight: WeightScheme,
}

/// How activations are quantized: one scale and zero point for each value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivationScheme {
    /// Storage type.
    #[serde(default, rename = "type")]
    pub dtype: ActivationType,
    /// Whether the range is widened to `[-m, m]`.
    #[serde(default)]
    pub symmetric: bool,
    /// How the range is found.
    #[serde(default)]
    pub observer: ObserverKind,
}

/// Storage types of activations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActivationType {
    /// 0 to 255. ONNX Runtime is two to six times faster with it than with `i8`.
    #[default]
    U8,
    /// -128 to 127; -127 to 127 when symmetric.
    I8,
    /// 0 to 65,535.
    U16,
    /// -32,768 to 32,767; -32,767 to 32,767 when symmetric.
    I16,
}

impl ActivationType {
    /// The type of the integers.
    pub fn integer(self) -> IntegerType {
        match self {
            ActivationType::U8 => IntegerType::U8,
            ActivationType::I8 => IntegerType::I8,
            ActivationType::U16 => IntegerType::U16,
            ActivationType::I16 => IntegerType::I16,
        }
    }
}

/// How weights are quantized.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightScheme {
    /// Storage type.
    #[serde(default, rename = "type")]
    pub dtype: WeightType,
    /// What shares a scale.
    #[serde(default)]
    pub granularity: Granularity,
    /// Whether zero points are 0 (the middle of an unsigned type); else the integers cover the range of the weights.
    #[serde(default = "yes")]
    pub symmetric: bool,
    /// How the range is found.
    #[serde(default)]
    pub range: WeightRange,
}

fn yes() -> bool {
    true
}

impl Default for WeightScheme {
    /// i8, one scale for each output channel, symmetric.
    fn default() -> Self {
        WeightScheme {
            dtype: WeightType::I8,
            granularity: Granularity::PerChannel,
            symmetric: true,
            range: WeightRange::Max,
        }
    }
}

impl WeightScheme {
    /// i4 in groups of 32 with the range of the least squared error, symmetric.
    pub fn four_bits() -> WeightScheme {
        WeightScheme {
            dtype: WeightType::I4,
            granularity: Granularity::PerGroup(32),
            symmetric: true,
            range: WeightRange::Mse,
        }
    }
}

/// Storage types of weights.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightType {
    /// -128 to 127; -127 to 127 when symmetric.
    #[default]
    I8,
    /// 0 to 255.
    U8,
    /// -8 to 7.
    I4,
    /// 0 to 15.
    U4,
}

impl WeightType {
    /// The type of the integers.
    pub fn integer(self) -> IntegerType {
        match self {
            WeightType::I8 => IntegerType::I8,
            WeightType::U8 => IntegerType::U8,
            WeightType::I4 => IntegerType::I4,
            WeightType::U4 => IntegerType::U4,
        }
    }
}

/// What shares a scale.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Granularity {
    /// All of a weight.
    PerTensor,
    /// All that leads to one output channel; of an embedding, a row.
    #[default]
    PerChannel,
    /// That many weights that lie next to each other along the axis that is summed over. ONNX Runtime computes with 4-bit
    /// weights directly when it is a power of two from 16. Where that axis is shorter, as per channel.
    PerGroup(usize),
}

/// How the range of weights is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightRange {
    /// It holds all of them.
    #[default]
    Max,
    /// The one of several that has the least squared error. See [`crate::Parameters::of_weight`].
    Mse,
}
