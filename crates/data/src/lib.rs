//! Data sets to batches: what is learned from, in which order, and as which bytes.
//!
//! A reader or generator gives [`Splits`]; [`epoch`] puts a split in the order and under the
//! augmentation of one epoch; [`Batches`] hands it to Calipers' own runtime and
//! [`write_worker_file`] to the workers. Pixels stay `u8` up to the one [`Normalization`] table, so
//! that every framework computes from the same bytes.
#![forbid(unsafe_code)]

mod error;

mod dataset;
mod splits;

pub mod cifar10;
pub mod shapes10;

mod augment;
mod epoch;

mod batches;
mod normalize;
mod worker_file;

pub mod fetch;
pub mod samples;

pub use augment::Augmentation;
pub use batches::{Batch, Batches};
pub use dataset::{ChannelStatistics, Dataset, ImageShape};
pub use epoch::{EpochData, Order, epoch};
pub use error::DataError;
pub use normalize::Normalization;
pub use splits::{DuplicatePolicy, SharedImage, SplitReport, Splits, calibration_subset};
pub use worker_file::write_worker_file;
