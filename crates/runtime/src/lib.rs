//! Runs a graph on this CPU: lowering to steps, planning of memory, sessions, and the hook that looks inside.
//!
//! A plan runs what the graph says: QDQ patterns become integer steps, everything else runs as stated, by a kernel where
//! there is one and by its definition (`calipers_reference`) otherwise. It never chooses a precision. Results are the same bits on every instruction set and for every thread count.
#![forbid(unsafe_code)]

mod error;
mod evaluate;
mod shapes;

mod tflite;

mod kernel;
mod lower;

mod arena;
mod plan;
mod probe;

mod control;
mod program;

mod session;

pub use calipers_kernels::Isa;
pub use error::Error;
pub use evaluate::evaluate;
pub use plan::{Plan, StepInfo};
pub use probe::{Demand, Probe, Profiler, Recorder, StepTime};
pub use session::{Session, SessionOptions};
