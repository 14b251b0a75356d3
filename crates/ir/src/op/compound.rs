//! Operators with an algorithm of their own: products, attention, recurrence, images, signals, control flow.

use super::family::{Subgraph, family};

family! {
    /// Products other than convolution, Gemm and MatMul.
    Product {
        Einsum = "Einsum", 1..=any { equation: String = String::new() },
        Det = "Det", 1..=1,
        /// Inputs `a`, `b` (8 bits), optional zero points; i32 sums.
        MatMulInteger = "MatMulInteger", 2..=4,
        /// Inputs `q`, `k`, `v`, optional `mask`, `past_key`, `past_value`, `nonpad_kv_seqlen`; outputs `y`, optional
        /// `present_key`, `present_value`, `qk_matmul_output`.
        Attention = "Attention", 3..=7 {
            is_causal: bool = false,
            kv_num_heads: Option<i64> = None,
            q_num_heads: Option<i64> = None,
            qk_matmul_output_mode: i64 = 0,
            scale: Option<f32> = None,
            softcap: f32 = 0.0,
            softmax_precision: Option<i64> = None,
        },
        /// Inputs `x`, `cos_cache`, `sin_cache`, optional `position_ids`.
        RotaryEmbedding = "RotaryEmbedding", 3..=4 {
            interleaved: bool = false,
            num_heads: i64 = 0,
            rotary_embedding_dim: i64 = 0,
        },
    }
}

family! {
    /// Recurrent layers: inputs `x` `[time, batch, input]`, `w`, `r`, optional `b`, `sequence_lens`, `initial_h`, and
    /// for LSTM `initial_c`, `p`; outputs `y`, `y_h`, for LSTM `y_c`. Gate order as on the ONNX page (LSTM: i, o, f, c).
    Recurrent {
        Rnn = "RNN", 3..=6 {
            activation_alpha: Vec<f32> = Vec::new(),
            activation_beta: Vec<f32> = Vec::new(),
            activations: Vec<String> = Vec::new(),
            clip: Option<f32> = None,
            direction: String = String::from("forward"),
            hidden_size: Option<i64> = None,
            layout: i64 = 0,
        },
        Gru = "GRU", 3..=6 {
            activation_alpha: Vec<f32> = Vec::new(),
            activation_beta: Vec<f32> = Vec::new(),
            activations: Vec<String> = Vec::new(),
            clip: Option<f32> = None,
            direction: String = String::from("forward"),
            hidden_size: Option<i64> = None,
            layout: i64 = 0,
            linear_before_reset: bool = false,
        },
        Lstm = "LSTM", 3..=8 {
            activation_alpha: Vec<f32> = Vec::new(),
            activation_beta: Vec<f32> = Vec::new(),
            activations: Vec<String> = Vec::new(),
            clip: Option<f32> = None,
            direction: String = String::from("forward"),
            hidden_size: Option<i64> = None,
            input_forget: bool = false,
            layout: i64 = 0,
        },
        /// TFLite's UNIDIRECTIONAL_SEQUENCE_LSTM on integer tensors, inputs in its order. What QDQ cannot say of its
        /// inner tensors is stated here: scale and zero point of each of its inputs, intermediates and its output, in
        /// that order; 0 stands for an absent one.
        TfliteLstm = "UnidirectionalSequenceLstm", 1..=24 {
            cell_clip: f32 = 0.0,
            projection_clip: f32 = 0.0,
            time_major: bool = false,
            /// Whether hybrid arithmetic quantizes activations with a zero point.
            asymmetric_quantize_inputs: bool = false,
            input_scales: Vec<f32> = Vec::new(),
            input_zero_points: Vec<i64> = Vec::new(),
            intermediate_scales: Vec<f32> = Vec::new(),
            intermediate_zero_points: Vec<i64> = Vec::new(),
            output_scale: f32 = 0.0,
            output_zero_point: i64 = 0,
        },
    }
}

family! {
    /// Operators on images `[batch, channels, spatial...]`.
    Image {
        /// Inputs `x`, optional `roi`, `scales`, `sizes`.
        Resize = "Resize", 1..=4 {
            antialias: bool = false,
            axes: Option<Vec<i64>> = None,
            coordinate_transformation_mode: String = String::from("half_pixel"),
            cubic_coeff_a: f32 = -0.75,
            exclude_outside: bool = false,
            extrapolation_value: f32 = 0.0,
            keep_aspect_ratio_policy: String = String::from("stretch"),
            mode: String = String::from("nearest"),
            nearest_mode: String = String::from("round_prefer_floor"),
        },
        GridSample = "GridSample", 2..=2 {
            align_corners: bool = false,
            mode: String = String::from("linear"),
            padding_mode: String = String::from("zeros"),
        },
        /// Inputs `theta`, `size`.
        AffineGrid = "AffineGrid", 2..=2 { align_corners: bool = false },
        /// Inputs `x`, `rois`, `batch_indices`.
        RoiAlign = "RoiAlign", 3..=3 {
            coordinate_transformation_mode: String = String::from("half_pixel"),
            mode: String = String::from("avg"),
            output_height: i64 = 1,
            output_width: i64 = 1,
            sampling_ratio: i64 = 0,
            spatial_scale: f32 = 1.0,
        },
        /// Inputs `x`, `rois`.
        MaxRoiPool = "MaxRoiPool", 2..=2 { pooled_shape: Vec<i64> = Vec::new(), spatial_scale: f32 = 1.0 },
        /// Inputs `x`, `indices`, optional output shape.
        MaxUnpool = "MaxUnpool", 2..=3 {
            kernel_shape: Vec<i64> = Vec::new(),
            pads: Vec<i64> = Vec::new(),
            strides: Vec<i64> = Vec::new(),
        },
        /// Inputs `input`, `image_shape`, `block_shape`.
        Col2Im = "Col2Im", 3..=3 {
            dilations: Vec<i64> = Vec::new(),
            pads: Vec<i64> = Vec::new(),
            strides: Vec<i64> = Vec::new(),
        },
        /// Inputs `x`, `w`, `offset`, optional `b`, `mask`.
        DeformConv = "DeformConv", 3..=5 {
            dilations: Vec<i64> = Vec::new(),
            group: i64 = 1,
            kernel_shape: Vec<i64> = Vec::new(),
            offset_group: i64 = 1,
            pads: Vec<i64> = Vec::new(),
            strides: Vec<i64> = Vec::new(),
        },
    }
}

family! {
    /// Transforms of signals.
    Signal {
        /// Inputs `input` `[.., signal, .., 1 or 2]`, optional `dft_length`, optional `axis`.
        Dft = "DFT", 1..=3 { inverse: bool = false, onesided: bool = false },
        /// Inputs `signal`, `frame_step`, optional `window`, optional `frame_length`.
        Stft = "STFT", 2..=4 { onesided: bool = true },
    }
}

family! {
    /// Operators that run graphs of [`crate::Model::subgraphs`]. The last `captures` inputs of the node are what those
    /// graphs read from outside; they are the last inputs of each of them, in the same order.
    Control {
        /// Input `condition`, then captures; both graphs take the captures alone.
        If = "If", 1..=any {
            then_branch: Subgraph = Subgraph::default(),
            else_branch: Subgraph = Subgraph::default(),
            captures: i64 = 0,
        },
        /// Inputs optional `trip_count`, optional `condition`, carried values, captures. The body takes iteration
        /// (i64), condition, carried values, captures, and gives condition, carried values, scan outputs.
        Loop = "Loop", 0..=any { body: Subgraph = Subgraph::default(), captures: i64 = 0 },
        /// Inputs states, scanned tensors, captures.
        Scan = "Scan", 1..=any {
            body: Subgraph = Subgraph::default(),
            num_scan_inputs: i64 = 1,
            scan_input_axes: Vec<i64> = Vec::new(),
            scan_input_directions: Vec<i64> = Vec::new(),
            scan_output_axes: Vec<i64> = Vec::new(),
            scan_output_directions: Vec<i64> = Vec::new(),
            captures: i64 = 0,
        },
        /// Of TFLite: inputs are the carried values; `cond` gives one boolean of them, `body` their next values.
        While = "While", 0..=any { cond: Subgraph = Subgraph::default(), body: Subgraph = Subgraph::default() },
    }
}
