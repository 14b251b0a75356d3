//! The language that is spoken with a worker: one JSON object a line, each way.
//!
//! A request is `{"id": 7, "command": "evaluate", ...arguments...}` on the worker's standard input. Any number of
//! `progress` answers follow on its standard output, then exactly one `result` or `error`. A worker exits when its
//! input has ended and everything is answered, and at once when the process that asks has died. Tensors never travel in the lines: they are safetensors
//! files, named by path.
//!
//! Weights files hold f32 tensors in ONNX layout, by the names of the ONNX initializers. Data files are of two forms.
//! One holds `images` (u8 `[N, C, H, W]`) and `table` (f32 `[C, 256]`), for a model of one input
//! `x[n, c, h, w] = table[c, images[n, c, h, w]]`. The other holds `input/NAME` for each of the model's inputs, of the
//! input's own type, `[N, ...]`. Both may hold `labels` (i64 `[N]`), which training needs. Logits files hold `logits`
//! (f32 `[N, K]`), the model's first output.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

mod artefact;
mod gaps;
mod training;

pub use artefact::{
    Evaluate, Evaluated, ExecutedOperator, Kind, Load, Loaded, Operators, Profile, Profiled,
    ProfiledOperator, Quantize, Quantized, ReadOperators, ReadWeights, SaveFloat, Saved, StoredTensor,
    StoredTensors, Time, Timed, Tuning, Unload, Variant,
};
pub use gaps::{
    AskCapability, Asked, Class, Ending, Found, Operator, Outcome, Probe, Probed, Role, StoredWeight, Verdict,
};
pub use training::{
    Epoch, Finished, TrainBegin, TrainDrop, TrainEpoch, TrainFinish, TrainMode, TrainRestore, TrainSave,
    TrainState, Trainer,
};

/// One command of the protocol: its arguments are the implementing struct's fields.
pub trait Command: Into<Request> {
    /// What the command answers with.
    type Response: Serialize + DeserializeOwned;
    /// Its name in a request's `command`.
    const NAME: &'static str;
    /// Where it is before its first progress answer.
    const FIRST_STAGE: Stage;

    /// Wraps a response for [`serve`](crate::serve), so that a command cannot be answered with another one's response.
    ///
    /// # Errors
    /// Fails with stage [`Stage::Start`] where the response cannot be written as JSON (a path that is not UTF-8).
    fn answer(&self, response: &Self::Response) -> Result<Reply, Failure> {
        serde_json::to_value(response)
            .map(Reply)
            .map_err(|error| Failure::new(Stage::Start, "Unserializable", error))
    }
}

/// A finished command's response, made by [`Command::answer`].
#[derive(Debug, Clone, PartialEq)]
pub struct Reply(pub(crate) serde_json::Value);

macro_rules! commands {
    ($($command:ident $name:literal $stage:ident => $response:ty),* $(,)?) => {
        /// Any request, as it stands in a line.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "command")]
        #[allow(missing_docs, reason = "each variant holds the struct of its name, which is documented")]
        pub enum Request { $(#[serde(rename = $name)] $command($command)),* }

        $(
            impl From<$command> for Request {
                fn from(command: $command) -> Request { Request::$command(command) }
            }
            impl Command for $command {
                type Response = $response;
                const NAME: &'static str = $name;
                const FIRST_STAGE: Stage = Stage::$stage;
            }
        )*
    };
}

commands! {
    Hello "hello" Start => Greeting,
    Logits "logits" Build => Nothing,
    TrainBegin "train_begin" Build => Trainer,
    TrainEpoch "train_epoch" Train => Epoch,
    TrainState "train_state" Save => Nothing,
    TrainSave "train_save" Save => Nothing,
    TrainRestore "train_restore" Load => Nothing,
    TrainFinish "train_finish" Convert => Finished,
    TrainDrop "train_drop" Other => Nothing,
    SaveFloat "save_float" Build => Saved,
    Quantize "quantize" Build => Quantized,
    Load "load" Load => Loaded,
    Evaluate "evaluate" Evaluate => Evaluated,
    Time "time" Time => Timed,
    Profile "profile" Profile => Profiled,
    ReadOperators "read_operators" Load => Operators,
    ReadWeights "read_weights" Load => StoredTensors,
    Unload "unload" Other => Nothing,
    Probe "probe" Build => Probed,
    AskCapability "capability" Build => Asked,
    Shutdown "shutdown" Other => Nothing,
}

/// The first command: sets the number of threads, and says who answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// Threads that one operator may use.
    pub threads: usize,
}

/// Answer to [`Hello`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Greeting {
    /// `pytorch`, `tensorflow`, or the name of an engine of our own.
    pub framework: String,
    /// Package name to version.
    pub versions: BTreeMap<String, String>,
    /// Version of the Python interpreter; absent for a worker that is not Python.
    #[serde(default)]
    pub python: Option<String>,
    /// Threads as the framework itself reports them.
    pub threads: usize,
    /// Process id of the worker.
    pub pid: u32,
    /// Accelerators that the framework can compute on, in its own words; none on a machine without them.
    #[serde(default)]
    pub devices: Vec<String>,
}

/// Computes the logits of the native float model in evaluation mode.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Logits {
    /// ONNX file.
    pub model: PathBuf,
    /// Weights file; `None` takes the model file's own initializers.
    pub weights: Option<PathBuf>,
    /// Data file.
    pub data: PathBuf,
    /// Samples per step.
    pub batch: usize,
    /// Logits file to write.
    pub output: PathBuf,
}

/// Ends the worker, after the answer, with exit status 0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shutdown {}

/// The response of commands that only do something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Nothing {}

/// The part of a command that a progress or an error answer belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// The process and its imports.
    Start,
    /// Making the native model.
    Build,
    /// Training steps.
    Train,
    /// Putting observers or fake quantization in.
    Prepare,
    /// Calibration.
    Calibrate,
    /// Making the quantized model.
    Convert,
    /// Writing an artefact.
    Save,
    /// Reading an artefact.
    Load,
    /// Running over a data set.
    Evaluate,
    /// Timing.
    Time,
    /// Profiling.
    Profile,
    /// A stage that this version does not know.
    #[serde(other)]
    Other,
}

impl std::fmt::Display for Stage {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Stage::Start => "start",
            Stage::Build => "build",
            Stage::Train => "train",
            Stage::Prepare => "prepare",
            Stage::Calibrate => "calibrate",
            Stage::Convert => "convert",
            Stage::Save => "save",
            Stage::Load => "load",
            Stage::Evaluate => "evaluate",
            Stage::Time => "time",
            Stage::Profile => "profile",
            Stage::Other => "other",
        })
    }
}

/// How far a command is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// What is being done.
    pub stage: Stage,
    /// Units done: steps, samples or inferences, as the stage has them.
    pub done: u64,
    /// Units in all, where known.
    #[serde(default)]
    pub total: Option<u64>,
    /// A few words for a person, such as `loss 1.52`.
    #[serde(default)]
    pub detail: Option<String>,
}

/// A command that failed while the worker lives on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Where it failed.
    pub stage: Stage,
    /// Name of the exception or error.
    #[serde(rename = "type")]
    pub kind: String,
    /// The error's own words.
    pub message: String,
    /// Python's traceback, or the chain of causes; may be empty.
    #[serde(default)]
    pub traceback: String,
}

impl Failure {
    /// A failure without a traceback.
    pub fn new(stage: Stage, kind: impl Into<String>, message: impl std::fmt::Display) -> Failure {
        Failure { stage, kind: kind.into(), message: message.to_string(), traceback: String::new() }
    }
}

/// A request with its number, as one line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// Chosen by the asker; every answer repeats it.
    pub id: u64,
    /// What is asked.
    #[serde(flatten)]
    pub request: Request,
}

/// One line of a worker's answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// Number of the request; `None` where the request's line could not be understood.
    pub id: Option<u64>,
    /// What is answered.
    #[serde(flatten)]
    pub body: AnswerBody,
}

/// The kinds of answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AnswerBody {
    /// Not finished yet.
    Progress(Progress),
    /// Finished: the response of the command, as [`Command::Response`] has it.
    Result {
        /// The response.
        value: serde_json::Value,
    },
    /// Failed.
    Error(Failure),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: u64, request: impl Into<Request>) -> String {
        serde_json::to_string(&Question { id, request: request.into() }).expect("writes")
    }

    #[test]
    fn a_request_is_one_flat_object() {
        let load = Load {
            path: "fx".into(),
            tuning: Tuning::Tuned,
            variant: Variant::PtqStatic,
            model: "m.onnx".into(),
            artefact: "a".into(),
        };
        assert_eq!(
            line(7, load.clone()),
            r#"{"id":7,"command":"load","path":"fx","tuning":"tuned","variant":"ptq-static","model":"m.onnx","artefact":"a"}"#
        );
        assert_eq!(line(1, Shutdown {}), r#"{"id":1,"command":"shutdown"}"#);
        let begin = r#"{"id":2,"command":"train_begin","model":"m","weights":null,"mode":"qat","path":"fx","tuning":"default","momentum":0.9,"weight_decay":0}"#;
        let question: Question = serde_json::from_str(begin).expect("reads");
        let Request::TrainBegin(begin) = question.request else { panic!("{question:?}") };
        assert_eq!((begin.mode, begin.weights, begin.momentum), (TrainMode::Qat, None, 0.9));
    }

    #[test]
    fn an_operator_says_no_more_than_it_has() {
        let text =
            r#"{"name":"conv","kind":"convolution","class":"integer","macs":100,"activation_bits":null}"#;
        let conv: ExecutedOperator = serde_json::from_str(text).expect("reads");
        assert_eq!((conv.kind, conv.class, conv.macs), (Kind::Convolution, Class::Integer, 100));
        assert_eq!((conv.weights, conv.weight_bits, conv.activation_bits), (0, 0, None));
    }

    #[test]
    fn answers_are_read() {
        let read = |text: &str| serde_json::from_str::<Answer>(text).map(|answer| (answer.id, answer.body));
        let progress = r#"{"id": 7, "kind": "progress", "stage": "train", "done": 120, "total": 391, "detail": "loss 1.52"}"#;
        assert_eq!(
            read(progress).expect("reads"),
            (
                Some(7),
                AnswerBody::Progress(Progress {
                    stage: Stage::Train,
                    done: 120,
                    total: Some(391),
                    detail: Some("loss 1.52".into()),
                })
            )
        );
        let error = r#"{"id": null, "kind": "error", "stage": "convert", "type": "RuntimeError", "message": "no", "traceback": "t"}"#;
        assert_eq!(
            read(error).expect("reads"),
            (
                None,
                AnswerBody::Error(Failure {
                    stage: Stage::Convert,
                    kind: "RuntimeError".into(),
                    message: "no".into(),
                    traceback: "t".into(),
                })
            )
        );
        assert!(read(r#"{"id": 7, "kind": "result", "value": {"seconds": NaN}}"#).is_err());
        assert!(read(r#"{"id": 7, "kind": "verdict", "value": {}}"#).is_err());
    }
}
