//! A report of the size of a full run, made from the small one: every layer on every path, with evidence as frameworks give it.

use calipers_gaps::report::{Cell, Evidence, LayerFacts, PathFacts, Report};
use calipers_gaps::{PATHS, State};
use calipers_workers::protocol::{Class, Operator, Role, StoredWeight};

const LAYERS: &[(&str, &[&str])] = &[
    (
        "Products",
        &[
            "linear",
            "conv1d",
            "conv2d",
            "conv2d_depthwise",
            "conv2d_grouped",
            "conv2d_dilated",
            "conv2d_strided",
            "conv3d",
            "conv_transpose2d",
            "conv_transpose2d_channels",
            "matmul",
        ],
    ),
    (
        "Normalization",
        &[
            "batch_norm_folded",
            "batch_norm_unfoldable",
            "batch_norm_alone",
            "layer_norm",
            "group_norm",
            "instance_norm",
            "rms_norm",
        ],
    ),
    (
        "Activations",
        &[
            "relu",
            "relu6",
            "leaky_relu",
            "prelu",
            "silu",
            "gelu",
            "gelu_tanh",
            "hardswish",
            "hardsigmoid",
            "sigmoid",
            "tanh",
            "softmax",
        ],
    ),
    (
        "Pooling and resizing",
        &[
            "max_pool2d",
            "avg_pool2d",
            "adaptive_avg_pool2d",
            "global_avg_pool2d",
            "upsample_nearest",
            "upsample_bilinear",
        ],
    ),
    ("Operators", &["add", "add_layer", "mul", "mul_layer", "concat", "concat_layer", "dropout"]),
    ("Embeddings", &["embedding", "embedding_bag", "embedding_tied"]),
    ("Recurrent", &["lstm", "gru", "lstm_cell", "gru_cell", "lstm_unrolled", "gru_unrolled"]),
    (
        "Attention",
        &[
            "multihead_attention",
            "multihead_attention_sequence_first",
            "scaled_dot_product_attention",
            "transformer_decoder_layer",
        ],
    ),
    (
        "Structure",
        &[
            "residual",
            "nested",
            "functional",
            "subclassed",
            "data_dependent_branch",
            "channels_last",
            "several_inputs",
            "two_outputs",
            "no_bias",
            "long_sequence",
            "large_kernel",
        ],
    ),
];

/// As many layers and paths as a full run has. The same numbers every time.
pub fn large(small: &Report) -> Report {
    let mut report = small.clone();
    report.layers = LAYERS
        .iter()
        .flat_map(|(group, names)| names.iter().map(move |name| (group, name)))
        .map(|(group, name)| LayerFacts {
            name: (*name).to_owned(),
            title: name.replace('_', " "),
            group: (*group).to_owned(),
        })
        .collect();
    report.paths = PATHS
        .iter()
        .map(|path| PathFacts {
            framework: path.framework,
            name: path.name.to_owned(),
            title: path.title.to_owned(),
            scheme: path.scheme,
        })
        .collect();
    report.command = ["calipers", "gaps", "--out", "docs/gaps"].map(str::to_owned).to_vec();
    report.controls.retain(|control| control.passed);
    report.model = None;
    report.cells.clear();
    let mut chance = Chance(7);
    for layer in &report.layers {
        for path in PATHS.iter().filter(|path| path.takes(&layer.name)) {
            let state = match (layer.name.as_str(), path.name, chance.below(100)) {
                ("lstm", "fx", _) => "fails at convert".parse().expect("a state"),
                (_, _, 0..50) => match path.scheme {
                    calipers_gaps::Scheme::Static => State::Quantized,
                    calipers_gaps::Scheme::Dynamic => State::Dynamic,
                    calipers_gaps::Scheme::WeightOnly => State::WeightOnly,
                },
                (_, _, chance) => State::KINDS[(chance as usize - 50) % 12],
            };
            report.cells.push(cell(&mut chance, &layer.name, path, state));
        }
    }
    report
}

fn cell(chance: &mut Chance, layer: &str, path: &calipers_gaps::Path, state: State) -> Cell {
    let ran = !matches!(state, State::Fails(_) | State::Killed | State::TimesOut | State::NoApi);
    let number = chance.below(1000);
    let error = format!("RuntimeError: could not lower {layer} on {} at 0x{number:x}", path.name);
    let operator = |name: String, role, class, kind: &str| Operator {
        name,
        role,
        class,
        weighted: true,
        inputs: vec![kind.to_owned(), String::from("qint8"), String::from("float32")],
        outputs: vec![kind.to_owned()],
        kernel: number.is_multiple_of(3).then(|| String::from("Fully Connected (NC, QS8, QC8W) GEMM")),
        count: None,
    };
    let mut evidence = Evidence {
        reason: format!(
            "{} of the layer's products computes on integers; number {number} says so.",
            number % 3
        ),
        warnings: (0..number % 3)
            .map(|index| format!("DeprecationWarning: part {index} of {} is deprecated", path.name))
            .collect(),
        log: (0..24)
            .map(|line| format!("INFO step {line} of {}: {}\n", path.name, chance.below(40)))
            .collect(),
        ..Evidence::default()
    };
    if ran {
        evidence.operators = vec![
            operator(String::from("aten::quantize_per_tensor"), Role::Before, Class::Convert, "quint8"),
            operator(String::from("quantized::conv2d_relu"), Role::Before, Class::Integer, "quint8"),
            operator(format!("quantized::{layer}"), Role::Layer, Class::Integer, "quint8"),
            operator(format!("aten::{layer}"), Role::Layer, Class::Float, "float32"),
            operator(String::from("quantized::linear"), Role::After, Class::Integer, "quint8"),
        ];
        evidence.weights = vec![StoredWeight {
            name: String::from("layer.weight"),
            dtype: String::from("qint8"),
            shape: vec![64, 64],
        }];
        evidence.reference = Some(String::from("convert_to_reference_fx"));
        evidence.reference_error = Some(0.0101);
    } else {
        let lines = (0..14).map(|line| {
            format!("  File \"torch/ao/quantization/{}.py\", line {}, in convert\n", path.name, number + line)
        });
        evidence.traceback = Some(lines.chain([error.clone()]).collect());
    }
    Cell {
        framework: path.framework,
        path: path.name.to_owned(),
        layer: layer.to_owned(),
        state,
        gap: state.is_gap(path.scheme),
        max_error: ran.then_some(0.001 * number as f64),
        float_range: Some(1.75),
        stage: (!ran).then(|| String::from("convert")),
        error: (!ran).then_some(error),
        evidence,
        seconds: 0.01 * number as f64,
    }
}

/// A multiplicative congruential generator (Lehmer, modulus 2^31 - 1).
struct Chance(u64);

impl Chance {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0 * 48_271 % 0x7fff_ffff;
        self.0 % limit
    }
}
