//! Operators that combine the elements along axes: reductions, scans, softmax and normalizations.

use super::family::family;

family! {
    /// Reductions: inputs `data`, optional `axes` (i64; all when absent or empty, none with
    /// `noop_with_empty_axes`).
    Reduce {
        /// Of booleans, of TFLite.
        All = "ReduceAll", 1..=2 { keepdims: bool = true, noop_with_empty_axes: bool = false },
        /// Of booleans, of TFLite.
        Any = "ReduceAny", 1..=2 { keepdims: bool = true, noop_with_empty_axes: bool = false },
        L1 = "ReduceL1", 1..=2 { keepdims: bool = true, noop_with_empty_axes: bool = false },
        L2 = "ReduceL2", 1..=2 { keepdims: bool = true, noop_with_empty_axes: bool = false },
        LogSum = "ReduceLogSum", 1..=2 { keepdims: bool = true, noop_with_empty_axes: bool = false },
        LogSumExp = "ReduceLogSumExp", 1..=2 { keepdims: bool = true, noop_with_empty_axes: bool = false },
        Max = "ReduceMax", 1..=2 { keepdims: bool = true, noop_with_empty_axes: bool = false },
        Mean = "ReduceMean", 1..=2 { keepdims: bool = true, noop_with_empty_axes: bool = false },
        Min = "ReduceMin", 1..=2 { keepdims: bool = true, noop_with_empty_axes: bool = false },
        Prod = "ReduceProd", 1..=2 { keepdims: bool = true, noop_with_empty_axes: bool = false },
        Sum = "ReduceSum", 1..=2 { keepdims: bool = true, noop_with_empty_axes: bool = false },
        SumSquare = "ReduceSumSquare", 1..=2 { keepdims: bool = true, noop_with_empty_axes: bool = false },
    }
}

family! {
    /// Operators along one axis that keep it, or give positions on it.
    Scanning {
        /// Positions (i64) of the largest elements.
        ArgMax = "ArgMax", 1..=1 { axis: i64 = 0, keepdims: bool = true, select_last_index: bool = false },
        /// Positions (i64) of the smallest elements.
        ArgMin = "ArgMin", 1..=1 { axis: i64 = 0, keepdims: bool = true, select_last_index: bool = false },
        /// Inputs `x` and `axis` (a scalar).
        CumSum = "CumSum", 2..=2 { exclusive: bool = false, reverse: bool = false },
        /// Inputs `x` and `axis` (a scalar).
        CumProd = "CumProd", 2..=2 { exclusive: bool = false, reverse: bool = false },
        /// 1 for the first largest element, else 0. See [`Scanning::Softmax`] for `flatten`.
        Hardmax = "Hardmax", 1..=1 { axis: i64 = -1, flatten: bool = false },
        /// See [`Scanning::Softmax`] for `flatten`.
        LogSoftmax = "LogSoftmax", 1..=1 { axis: i64 = -1, flatten: bool = false },
        /// `exp(beta x) / sum(exp(beta x))`.
        Softmax = "Softmax", 1..=1 {
            axis: i64 = -1,
            /// Over all axes from `axis` on together, as before operator set 13.
            flatten: bool = false,
            /// Factor of the input, of TFLite.
            beta: f32 = 1.0,
        },
        /// Inputs `x` and `k` (i64, one element): values and positions of the `k` largest or smallest.
        TopK = "TopK", 2..=2 { axis: i64 = -1, largest: bool = true, sorted: bool = true },
    }
}

family! {
    /// Normalizations other than batch normalization.
    Normalize {
        /// Inputs `x`, `scale`, optional `bias`; outputs `y`, optional mean and inverse deviation.
        Layer = "LayerNormalization", 2..=3 { axis: i64 = -1, epsilon: f32 = 1e-5, stash_type: i64 = 1 },
        /// Inputs `x`, `scale`: `x / sqrt(mean(x^2) + epsilon) scale`.
        Rms = "RMSNormalization", 2..=2 { axis: i64 = -1, epsilon: f32 = 1e-5, stash_type: i64 = 1 },
        /// Inputs `x`, `scale`, `bias`, one of each per channel.
        Group = "GroupNormalization", 3..=3 {
            num_groups: i64 = 1,
            epsilon: f32 = 1e-5,
            stash_type: i64 = 1,
            /// Whether scale and bias are given for each group, as before operator set 21.
            scale_per_group: bool = false,
        },
        /// Inputs `x`, `scale`, `bias`.
        Instance = "InstanceNormalization", 3..=3 { epsilon: f32 = 1e-5 },
        /// `x / norm`, where a norm of 0 gives 0.
        Lp = "LpNormalization", 1..=1 { axis: i64 = -1, p: i64 = 2 },
        /// `(x - mean) / deviation` over `axes`.
        MeanVariance = "MeanVarianceNormalization", 1..=1 { axes: Vec<i64> = vec![0, 2, 3] },
        /// Across channels.
        LocalResponse = "LRN", 1..=1 {
            alpha: f32 = 1e-4,
            beta: f32 = 0.75,
            bias: f32 = 1.0,
            size: i64 = 1,
        },
    }
}
