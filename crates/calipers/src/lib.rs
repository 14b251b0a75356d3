//! The library behind the `calipers` command: [`study`] runs and reports experiments, [`gaps`] finds what each framework
//! cannot quantize, [`workers`] drives the Python frameworks and their environments.
#![forbid(unsafe_code)]

pub use calipers_gaps as gaps;
pub use calipers_study as study;
pub use calipers_workers as workers;
