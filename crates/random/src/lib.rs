//! Seeded pseudo-random numbers: the same bits on every platform.
//!
//! A generator is named by a seed and a stream, for example `Random::new(7, "init/conv1.weight")`.
//! Streams of one seed are independent of each other, so a draw never depends on the order in
//! which other parts of a program draw. Nothing here uses the platform's mathematics library.
#![forbid(unsafe_code)]

mod generator;
mod sampling;

pub use generator::{Random, split_mix_output};
