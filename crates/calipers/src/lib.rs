//! The library behind the `calipers` command: [`study`] runs and reports experiments, [`workers`] drives the Python
//! frameworks and their environments.
#![forbid(unsafe_code)]

pub use calipers_study as study;
pub use calipers_workers as workers;
