//! The paper's table of issues of 2023, each statement held against what was found.

use calipers_workers::protocol::Verdict;

use crate::framework::Framework;
use crate::path::{PATHS, Scheme};
use crate::report::{Capability, Cell, PaperRow, Report, Today};
use crate::state::State;

/// A statement with the question that decides it.
struct Statement {
    framework: Framework,
    topic: &'static str,
    text: &'static str,
    test: Test,
}

/// How a statement is decided.
enum Test {
    /// It is true while the answer to this question is no.
    Asked(&'static str),
    /// It is true while no path of integer arithmetic quantizes any of these layers, and changed where some do.
    Layers(&'static [&'static str]),
    /// As `Layers`, on these paths alone.
    Paths(&'static [&'static str], &'static [&'static str]),
    /// It needs an accelerator to be tried, and this question says what the build registers.
    Setup(&'static str),
    /// It says what training quantization-aware costs, as a ratio.
    Overhead(f64),
}

use Framework::{PyTorch, TensorFlow};

const STATEMENTS: &[Statement] = &[
    Statement {
        framework: PyTorch,
        topic: "hardware",
        text: "No general TPU support; no quantization on GPU.",
        test: Test::Asked("accelerator"),
    },
    Statement {
        framework: TensorFlow,
        topic: "hardware",
        text: "GPU and TPU set-up is convoluted.",
        test: Test::Setup("accelerator"),
    },
    Statement {
        framework: TensorFlow,
        topic: "profiler",
        text: "The profiler conflicts with model layers.",
        test: Test::Asked("profile_training"),
    },
    Statement {
        framework: TensorFlow,
        topic: "profiler",
        text: "There is no profiler for inference of quantized models.",
        test: Test::Asked("profile_quantized_inference"),
    },
    Statement {
        framework: PyTorch,
        topic: "quantization",
        text: "Layers must be fused by hand.",
        test: Test::Asked("automatic_fusion"),
    },
    Statement {
        framework: PyTorch,
        topic: "quantization",
        text: "Stubs must be placed by hand.",
        test: Test::Asked("without_stubs"),
    },
    Statement {
        framework: PyTorch,
        topic: "quantization",
        text: "CPU only.",
        test: Test::Asked("accelerator"),
    },
    Statement {
        framework: PyTorch,
        topic: "quantization",
        text: "The automatic mode is in beta.",
        test: Test::Paths(&["conv2d", "linear", "residual", "functional"], &["fx", "pt2e"]),
    },
    Statement {
        framework: PyTorch,
        topic: "quantization",
        text: "Embedding layers are not supported.",
        test: Test::Layers(&["embedding", "embedding_bag", "embedding_tied"]),
    },
    Statement {
        framework: PyTorch,
        topic: "quantization",
        text: "(In its code, not in its text:) prepare_qat was given get_default_qconfig, and trained without fake quantization.",
        test: Test::Asked("qat_with_default_qconfig"),
    },
    Statement {
        framework: TensorFlow,
        topic: "quantization",
        text: "Unsupported layers need special annotation, which is not documented.",
        test: Test::Asked("without_stubs"),
    },
    Statement {
        framework: TensorFlow,
        topic: "quantization",
        text: "The quantized model needs a special interpreter.",
        test: Test::Asked("without_special_interpreter"),
    },
    Statement {
        framework: TensorFlow,
        topic: "quantization",
        text: "Quantization-aware training costs three times PyTorch's (+218 % an epoch, against +95 %).",
        test: Test::Overhead(3.18),
    },
    Statement {
        framework: TensorFlow,
        topic: "quantization",
        text: "Embedding layers are not supported.",
        test: Test::Layers(&["embedding", "embedding_tied"]),
    },
    Statement {
        framework: TensorFlow,
        topic: "quantization",
        text: "BatchNorm is not supported.",
        test: Test::Layers(&["batch_norm_folded", "batch_norm_unfoldable", "batch_norm_alone"]),
    },
    Statement {
        framework: TensorFlow,
        topic: "quantization",
        text: "The functional API is not supported.",
        test: Test::Layers(&["functional", "residual"]),
    },
    Statement {
        framework: PyTorch,
        topic: "analysis",
        text: "Stubs do not allow probing inside.",
        test: Test::Asked("read_activations"),
    },
    Statement {
        framework: TensorFlow,
        topic: "analysis",
        text: "TFLite models are bytes: there is no access to layers.",
        test: Test::Asked("read_weights"),
    },
];

/// The table, for the frameworks of a report.
pub fn rows(report: &Report) -> Vec<PaperRow> {
    let here = |framework: Framework| report.paths.iter().any(|path| path.framework == framework);
    STATEMENTS
        .iter()
        .filter(|statement| here(statement.framework))
        .map(|statement| row(report, statement))
        .collect()
}

fn row(report: &Report, statement: &Statement) -> PaperRow {
    let framework = statement.framework;
    let (today, finding, evidence) = match statement.test {
        Test::Asked(question) => asked(report, framework, question),
        Test::Layers(layers) => probed(report, framework, layers, None),
        Test::Paths(layers, paths) => probed(report, framework, layers, Some(paths)),
        Test::Setup(question) => {
            let (_, finding, evidence) = asked(report, framework, question);
            (Today::NotProbed, finding, evidence)
        }
        Test::Overhead(then) => overhead(report, framework, then),
    };
    PaperRow {
        framework,
        topic: statement.topic.to_owned(),
        statement: statement.text.to_owned(),
        today,
        finding,
        evidence,
    }
}

type Finding = (Today, String, Vec<String>);

fn not_probed() -> Finding {
    (Today::NotProbed, String::new(), Vec::new())
}

fn answer<'r>(report: &'r Report, framework: Framework, question: &str) -> Option<&'r Capability> {
    let of = |capability: &&Capability| capability.framework == framework && capability.name == question;
    report.capabilities.iter().find(of).filter(|capability| capability.answer.is_some())
}

/// The statements deny what the questions ask for.
fn asked(report: &Report, framework: Framework, question: &str) -> Finding {
    let Some(capability) = answer(report, framework, question) else { return not_probed() };
    let today = match capability.answer {
        Some(Verdict::No) => Today::StillTrue,
        Some(Verdict::Yes) => Today::NoLonger,
        Some(Verdict::Partly) | None => Today::Changed,
    };
    (today, capability.summary.clone(), vec![format!("{framework}/{question}")])
}

/// The best state of each layer over the static paths of a framework.
fn probed(report: &Report, framework: Framework, layers: &[&str], paths: Option<&[&str]>) -> Finding {
    let fixed = |cell: &&Cell| {
        let path = PATHS.iter().find(|path| path.framework == cell.framework && path.name == cell.path);
        path.is_some_and(|path| path.scheme == Scheme::Static)
            && paths.is_none_or(|paths| paths.contains(&cell.path.as_str()))
    };
    let mut good = 0;
    let mut sentences = Vec::new();
    let mut evidence = Vec::new();
    let mut seen = 0;
    for layer in layers {
        let cells: Vec<&Cell> = report
            .cells
            .iter()
            .filter(|cell| {
                cell.framework == framework && cell.layer == *layer && cell.state != State::NotInstalled
            })
            .filter(fixed)
            .collect();
        if cells.is_empty() {
            continue;
        }
        seen += 1;
        let on = |kind: fn(&State) -> bool| -> Vec<&str> {
            cells.iter().filter(|cell| kind(&cell.state)).map(|cell| cell.path.as_str()).collect()
        };
        let quantized = on(|state| *state == State::Quantized);
        let in_part = on(|state| matches!(state, State::WeightOnly | State::Dynamic | State::Partial { .. }));
        let mut parts = Vec::new();
        if !quantized.is_empty() {
            let share = format!("{} of {} static paths", quantized.len(), cells.len());
            parts.push(format!("quantized on {share} ({})", quantized.join(", ")));
        }
        if !in_part.is_empty() {
            parts.push(format!("in part on {}", in_part.join(", ")));
        }
        if parts.is_empty() {
            let mut states: Vec<String> = cells.iter().map(|cell| cell.state.to_string()).collect();
            states.sort();
            states.dedup();
            parts.push(format!("on no path ({})", states.join(", ")));
        } else {
            good += 1;
        }
        sentences.push(format!("{layer}: {}", parts.join(", ")));
        evidence.extend(cells.iter().map(|cell| cell.key()));
    }
    if seen == 0 {
        return not_probed();
    }
    let whole = report
        .cells
        .iter()
        .filter(|cell| cell.framework == framework && layers.contains(&cell.layer.as_str()));
    let all_paths = whole.filter(fixed).all(|cell| cell.state == State::Quantized);
    let today = match good {
        0 => Today::StillTrue,
        _ if good == seen && all_paths => Today::NoLonger,
        _ => Today::Changed,
    };
    (today, sentences.join("; "), evidence)
}

fn overhead(report: &Report, framework: Framework, then: f64) -> Finding {
    let question = "qat_overhead";
    let Some(capability) = answer(report, framework, question) else { return not_probed() };
    let Some(ratio) = capability.numbers.get("ratio") else {
        return (Today::Changed, capability.summary.clone(), vec![format!("{framework}/{question}")]);
    };
    let today = if *ratio < then / 1.5 { Today::NoLonger } else { Today::StillTrue };
    let finding = format!(
        "{}, on a small convolutional network (then {then:.2} times, an epoch of ResNet18)",
        capability.summary
    );
    (today, finding, vec![format!("{framework}/{question}")])
}
