//! What can be said on the command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::compare::CompareArguments;
use crate::data::DataCommand;
use crate::eval::EvalArguments;
use crate::gaps::GapsArguments;
use crate::inspect::InspectArguments;
use crate::quantize::QuantizeArguments;
use crate::report::ReportArguments;

/// Neural-network quantization, measured and done: PyTorch, TensorFlow and Calipers' own engine on the same model, the
/// same initial weights and the same batches.
#[derive(Debug, Parser)]
#[command(name = "calipers", version, max_term_width = 100, arg_required_else_help = true)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a comparison and write its report.
    ///
    /// Trains, quantizes, evaluates, profiles and times the model of a study in every framework, and writes report.html,
    /// report.md, report.csv and report.json. A study that was stopped goes on where it was when the same command is given again.
    /// The Python frameworks are installed on first use, each in an environment of its own (see `calipers env`).
    ///
    /// Exit status: 0 when the study ran well, 1 when it ran but a gate or a cell failed, 2 when it could not run or
    /// was stopped.
    Study(StudyArguments),
    /// Render the report of a study again, or say what changed between two.
    ///
    /// Reads report.json in the folder of a study, writes report.html, report.md and report.csv beside it, and prints the
    /// table; with --against, what changed since another study.
    ///
    /// Exit status: 0, or 2 when a report cannot be read or written.
    Report(ReportArguments),
    /// Say what is in a model: layers, weights, scales, multiply-accumulates and where each byte is.
    ///
    /// Exit status: 0, or 2 when the file cannot be read.
    Inspect(Box<InspectArguments>),
    /// Run a model on data: accuracy with its interval, agreement with another model.
    ///
    /// Exit status: 0, or 2 when the model or the data cannot be used.
    Eval(Box<EvalArguments>),
    /// Compare two models layer by layer: which one is to blame for the difference of their outputs.
    ///
    /// Layers are aligned by name, or by operator, shape and order. Each is then computed as the first model does, one at a
    /// time, and the rest of the second model run from there: by what the output error drops, the layer contributes.
    ///
    /// Exit status: 0, or 2 when a model or the data cannot be used.
    Compare(Box<CompareArguments>),
    /// Quantize a float ONNX model, and check the result before it is written.
    ///
    /// Calibrates on samples, decides for each node and value, writes the model with its recipe, assignment and
    /// calibration table beside it, loads what it wrote, runs it, and says what was gained, what it costs and what stayed
    /// in float.
    ///
    /// Exit status: 0 when the model was written, 1 when it did not pass its check, 2 when it could not be made.
    Quantize(Box<QuantizeArguments>),
    /// List or download data sets.
    Data(DataCommand),
    /// Find out what each framework cannot quantize, by running it.
    ///
    /// Sends tiny models of every kind of layer through every way of PyTorch, TensorFlow, ONNX Runtime and Calipers to
    /// quantize, each in a process of its own, and judges by what executed. Writes gaps.html, gaps.md and gaps.json. A run
    /// that was stopped goes on where it was when the same command is given again.
    ///
    /// Exit status: 0, 1 when a control failed (or, with --fail-on-gap, when there is a gap), 2 when it could not run or
    /// was stopped.
    Gaps(Box<GapsArguments>),
    /// List, install or remove the Python environments of the frameworks.
    Env(EnvArguments),
    /// Answer requests of a study on standard input and output.
    #[command(hide = true)]
    Worker,
    /// Answer gap probes on standard input and output.
    #[command(hide = true)]
    GapWorker,
}

/// Arguments of `calipers study`.
#[derive(Debug, Args)]
pub struct StudyArguments {
    /// The study, a TOML file; without it a quick one that is built in (ResNet8 on generated images, about twenty minutes).
    pub spec: Option<PathBuf>,
    /// Where a data set is, such as cifar10=PATH (the folder or archive of CIFAR-10's binary version); files=PATH for a
    /// study of your own data.
    #[arg(long, value_name = "NAME=PATH", value_parser = data_path)]
    pub data: Vec<(String, PathBuf)>,
    /// Epochs of float training.
    #[arg(long, value_name = "N")]
    pub epochs: Option<usize>,
    /// Epochs of quantization-aware training, and of its float control.
    #[arg(long, value_name = "N")]
    pub qat_epochs: Option<usize>,
    /// Threads that each framework may use [default: all cores].
    #[arg(long, value_name = "N")]
    pub threads: Option<std::num::NonZeroUsize>,
    /// Only these of the study's frameworks: pytorch, tensorflow, onnxruntime, openvino, calipers.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub frameworks: Option<Vec<String>>,
    /// Only these variants: float, float-finetuned, ptq-static, ptq-dynamic, weight-only, qat.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub variants: Option<Vec<String>>,
    /// Only these settings of the frameworks' tools: default (as their documentation says), tuned.
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub tunings: Option<Vec<String>>,
    /// Seeds of initial weights and sample order.
    #[arg(long, value_delimiter = ',', value_name = "NUMBERS")]
    pub seeds: Option<Vec<u64>>,
    /// Output folder [default: runs/<study>].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Print the report as JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

fn data_path(text: &str) -> Result<(String, PathBuf), String> {
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() => {
            Ok((name.to_owned(), PathBuf::from(path)))
        }
        _ => Err(String::from("expected NAME=PATH, such as cifar10=data/cifar-10-batches-bin")),
    }
}

/// Arguments of `calipers env`.
#[derive(Debug, Args)]
pub struct EnvArguments {
    /// What to do.
    #[command(subcommand)]
    pub action: EnvAction,
}

/// What to do with environments.
#[derive(Debug, Subcommand)]
pub enum EnvAction {
    /// Show every environment, where it is and how large.
    List,
    /// Install environments; all of them without a name.
    Install {
        /// pytorch, tensorflow, onnxruntime or openvino.
        names: Vec<String>,
    },
    /// Remove environments that Calipers installed.
    Remove {
        /// pytorch, tensorflow, onnxruntime or openvino.
        #[arg(required = true)]
        names: Vec<String>,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::{Arguments, data_path};

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn data_is_a_name_and_a_path() {
        assert_eq!(data_path("cifar10=a=b"), Ok((String::from("cifar10"), "a=b".into())));
        assert!(data_path("cifar10").is_err() && data_path("=x").is_err());
    }
}
