//! Operators that compute each element by itself, and those that combine several tensors element by element.

use super::family::family;
use crate::DType;

family! {
    /// Functions of one input, element by element.
    UnaryKind {
        /// The input itself.
        Identity = "Identity", 1..=1,
        /// `max(x, 0)`.
        Relu = "Relu", 1..=1,
        Abs = "Abs", 1..=1,
        Acos = "Acos", 1..=1,
        Acosh = "Acosh", 1..=1,
        Asin = "Asin", 1..=1,
        Asinh = "Asinh", 1..=1,
        Atan = "Atan", 1..=1,
        Atanh = "Atanh", 1..=1,
        BitwiseNot = "BitwiseNot", 1..=1,
        Ceil = "Ceil", 1..=1,
        /// `max(0, x) + min(0, alpha (exp(x / alpha) - 1))`.
        Celu = "Celu", 1..=1 { alpha: f32 = 1.0 },
        Cos = "Cos", 1..=1,
        Cosh = "Cosh", 1..=1,
        /// `x` for `x >= 0`, else `alpha (exp(x) - 1)`.
        Elu = "Elu", 1..=1 { alpha: f32 = 1.0 },
        Erf = "Erf", 1..=1,
        Exp = "Exp", 1..=1,
        Floor = "Floor", 1..=1,
        /// `x / 2 (1 + erf(x / sqrt 2))`, or with `approximate` = `tanh`
        /// `x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`.
        Gelu = "Gelu", 1..=1 { approximate: String = String::from("none") },
        /// `max(0, min(1, alpha x + beta))`.
        HardSigmoid = "HardSigmoid", 1..=1 { alpha: f32 = 0.2, beta: f32 = 0.5 },
        /// `x max(0, min(1, x / 6 + 0.5))`.
        HardSwish = "HardSwish", 1..=1,
        IsInf = "IsInf", 1..=1 { detect_negative: bool = true, detect_positive: bool = true },
        IsNaN = "IsNaN", 1..=1,
        /// `x` for `x >= 0`, else `alpha x`.
        LeakyRelu = "LeakyRelu", 1..=1 { alpha: f32 = 0.01 },
        Log = "Log", 1..=1,
        /// `x tanh(softplus(x))`.
        Mish = "Mish", 1..=1,
        Neg = "Neg", 1..=1,
        Not = "Not", 1..=1,
        Reciprocal = "Reciprocal", 1..=1,
        /// Half to even.
        Round = "Round", 1..=1,
        /// `1 / sqrt(x)`, of TFLite.
        Rsqrt = "Rsqrt", 1..=1,
        Selu = "Selu", 1..=1 { alpha: f32 = 1.673_263_2, gamma: f32 = 1.050_701 },
        /// `x + bias` below `-lambd`, `x - bias` above `lambd`, else 0.
        Shrink = "Shrink", 1..=1 { bias: f32 = 0.0, lambd: f32 = 0.5 },
        /// `1 / (1 + exp(-x))`.
        Sigmoid = "Sigmoid", 1..=1,
        Sign = "Sign", 1..=1,
        Sin = "Sin", 1..=1,
        Sinh = "Sinh", 1..=1,
        /// `ln(exp(x) + 1)`.
        Softplus = "Softplus", 1..=1,
        /// `x / (1 + |x|)`.
        Softsign = "Softsign", 1..=1,
        Sqrt = "Sqrt", 1..=1,
        /// `x * x`, of TFLite.
        Square = "Square", 1..=1,
        /// `x sigmoid(alpha x)`.
        Swish = "Swish", 1..=1 { alpha: f32 = 1.0 },
        Tan = "Tan", 1..=1,
        Tanh = "Tanh", 1..=1,
        /// `x` above `alpha`, else 0.
        ThresholdedRelu = "ThresholdedRelu", 1..=1 { alpha: f32 = 1.0 },
    }
}

family! {
    /// Functions of two inputs, element by element.
    BinaryKind {
        Add = "Add", 2..=2,
        Sub = "Sub", 2..=2,
        Mul = "Mul", 2..=2,
        /// Integers are divided towards zero.
        Div = "Div", 2..=2,
        And = "And", 2..=2,
        Or = "Or", 2..=2,
        Xor = "Xor", 2..=2,
        BitwiseAnd = "BitwiseAnd", 2..=2,
        BitwiseOr = "BitwiseOr", 2..=2,
        BitwiseXor = "BitwiseXor", 2..=2,
        /// `direction` is `LEFT` or `RIGHT`.
        BitShift = "BitShift", 2..=2 { direction: String = String::from("LEFT") },
        Equal = "Equal", 2..=2,
        Greater = "Greater", 2..=2,
        GreaterOrEqual = "GreaterOrEqual", 2..=2,
        Less = "Less", 2..=2,
        LessOrEqual = "LessOrEqual", 2..=2,
        /// With the sign of the divisor, or with `fmod` of the dividend.
        Mod = "Mod", 2..=2 { fmod: bool = false },
        Pow = "Pow", 2..=2,
        /// `x` for `x >= 0`, else `slope x`; the slope broadcasts to `x`.
        PRelu = "PRelu", 2..=2,
        /// Four-quadrant arc tangent, of TFLite.
        Atan2 = "Atan2", 2..=2,
        /// The quotient rounded down, of TFLite.
        FloorDiv = "FloorDiv", 2..=2,
        /// The remainder with the sign of the divisor, of TFLite.
        FloorMod = "FloorMod", 2..=2,
        /// Of TFLite.
        NotEqual = "NotEqual", 2..=2,
        /// `(a - b)^2`, of TFLite.
        SquaredDifference = "SquaredDifference", 2..=2,
    }
}

family! {
    /// Functions of any number of inputs with numpy broadcasting, element by element.
    VariadicKind {
        Max = "Max", 1..=any,
        Mean = "Mean", 1..=any,
        Min = "Min", 1..=any,
        Sum = "Sum", 1..=any,
    }
}

family! {
    /// Conversions and choices, element by element.
    Select {
        /// Another storage type. `round_mode` (`up`, `down`, `nearest`) is for 8-bit floats of powers of two alone.
        Cast = "Cast", 1..=1 {
            to: DType = DType::F32,
            saturate: bool = true,
            round_mode: String = String::from("up"),
        },
        /// The same bits under another storage type of the same width.
        BitCast = "BitCast", 1..=1 { to: DType = DType::F32 },
        /// Inputs `condition`, `x`, `y`: `x` where the condition holds, else `y`.
        Where = "Where", 3..=3,
        /// Inputs `x`, optional `min`, optional `max`: ONNX's Clip where a bound is computed or not f32.
        Limit = "Limit", 1..=3,
    }
}
