//! Operators that move elements, take some of them, or make tensors of indices and shapes.

use super::family::family;
use crate::{DType, Tensor};

family! {
    /// Operators that move or repeat elements.
    Movement {
        Concat = "Concat", 1..=any { axis: i64 = 0 },
        /// Inputs `input`, optional `split` (i64, the extents); without it `num_outputs` parts, the last one smaller.
        Split = "Split", 1..=2 { axis: i64 = 0, num_outputs: Option<i64> = None },
        /// Inputs `data`, `starts`, `ends`, optional `axes`, optional `steps`.
        Slice = "Slice", 3..=5,
        /// Inputs `data`, `pads` (i64), optional value, optional `axes`; `mode` is `constant`, `reflect`, `edge`,
        /// `wrap`, or `symmetric` of TFLite.
        Pad = "Pad", 2..=4 { mode: String = String::from("constant") },
        /// Inputs `data`, optional `axes` (i64).
        Squeeze = "Squeeze", 1..=2,
        /// Inputs `data`, `axes` (i64).
        Unsqueeze = "Unsqueeze", 2..=2,
        /// Inputs `data`, `shape` (i64).
        Expand = "Expand", 2..=2,
        /// Inputs `data`, `repeats` (i64).
        Tile = "Tile", 2..=2,
        /// `mode` is `DCR` or `CRD`; data `[batch, channels, height, width]`.
        DepthToSpace = "DepthToSpace", 1..=1 { blocksize: i64 = 1, mode: String = String::from("DCR") },
        /// Data `[batch, channels, height, width]`.
        SpaceToDepth = "SpaceToDepth", 1..=1 { blocksize: i64 = 1 },
        /// Inputs `data`, `sequence_lens`.
        ReverseSequence = "ReverseSequence", 2..=2 { batch_axis: i64 = 1, time_axis: i64 = 0 },
        /// Along the axes of input 1 (i32), of TFLite's REVERSE_V2.
        Reverse = "Reverse", 2..=2,
        /// The triangle above (or below) diagonal `k`, input 1.
        Trilu = "Trilu", 1..=2 { upper: bool = true },
        /// Inputs `input`, `shape` (i64).
        CenterCropPad = "CenterCropPad", 2..=2 { axes: Option<Vec<i64>> = None },
    }
}

family! {
    /// Operators that read or write elements by position.
    Indexing {
        Gather = "Gather", 2..=2 {
            axis: i64 = 0,
            /// Leading axes that data and indices share, of TFLite.
            batch_dims: i64 = 0,
        },
        GatherElements = "GatherElements", 2..=2 { axis: i64 = 0 },
        GatherNd = "GatherND", 2..=2 { batch_dims: i64 = 0 },
        /// `reduction` is `none`, `add`, `mul`, `max` or `min`.
        ScatterElements = "ScatterElements", 3..=3 {
            axis: i64 = 0,
            reduction: String = String::from("none"),
        },
        /// `reduction` is `none`, `add`, `mul`, `max` or `min`.
        ScatterNd = "ScatterND", 3..=3 { reduction: String = String::from("none") },
        /// Inputs `past`, `update`, optional `write_indices`; `mode` is `linear` or `circular`.
        TensorScatter = "TensorScatter", 2..=3 { axis: i64 = -2, mode: String = String::from("linear") },
        /// Inputs `input`, `condition`.
        Compress = "Compress", 2..=2 { axis: Option<i64> = None },
        /// Inputs `indices`, `depth`, `values`.
        OneHot = "OneHot", 3..=3 { axis: i64 = -1 },
        /// Positions (i64) `[rank, count]`; of TFLite's WHERE transposed.
        NonZero = "NonZero", 1..=1,
        /// Outputs: values, first positions, inverse positions, counts.
        Unique = "Unique", 1..=1 { axis: Option<i64> = None, sorted: bool = true },
        /// Inputs `boxes`, `scores`, optional `max_output_boxes_per_class`, `iou_threshold`, `score_threshold`.
        NonMaxSuppression = "NonMaxSuppression", 2..=5 { center_point_box: i64 = 0 },
    }
}

family! {
    /// Operators whose result is about shapes, or made from numbers alone.
    Creation {
        Shape = "Shape", 1..=1 { start: i64 = 0, end: Option<i64> = None },
        Size = "Size", 1..=1,
        /// Inputs `start`, `limit`, `delta`.
        Range = "Range", 3..=3,
        /// Input `shape` (i64); `value` has one element, f32 0 when absent.
        ConstantOfShape = "ConstantOfShape", 1..=1 { value: Option<Tensor> = None },
        EyeLike = "EyeLike", 1..=1 { dtype: Option<DType> = None, k: i64 = 0 },
        /// Input `size`; `output_datatype` f32 by default.
        BlackmanWindow = "BlackmanWindow", 1..=1 { output_datatype: DType = DType::F32, periodic: bool = true },
        HammingWindow = "HammingWindow", 1..=1 { output_datatype: DType = DType::F32, periodic: bool = true },
        HannWindow = "HannWindow", 1..=1 { output_datatype: DType = DType::F32, periodic: bool = true },
        /// Inputs: bins, length of the transform, sample rate, lower edge, upper edge.
        MelWeightMatrix = "MelWeightMatrix", 5..=5 { output_datatype: DType = DType::F32 },
    }
}
