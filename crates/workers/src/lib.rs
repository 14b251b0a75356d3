//! Python frameworks as typed calls: the only room that starts a process.
//!
//! A [`Worker`] is a process that answers the requests of [`protocol`]; [`serve`] is the other side of the same
//! protocol, for a worker that is written in Rust. [`environment`] makes the Python environment that a framework
//! needs, and [`sources`] unpacks the worker's Python files, which are embedded in the program.
#![forbid(unsafe_code)]

pub mod environment;
mod process;
pub mod protocol;
pub mod serve;
pub mod sources;
pub mod worker;

pub use environment::{Environment, EnvironmentError, Framework, Host, Interpreter};
pub use protocol::{Command, Failure, Progress, Request, Stage};
pub use worker::{Launch, Worker, WorkerError};
