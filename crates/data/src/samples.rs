//! Samples for a model of the user's own: what a source of data gives, whatever kind it is.
//!
//! [`open`] looks at a path, recognises what is there, binds it to the model's inputs and gives an
//! [`Opened`], in which [`Samples`] are:
//!
//! | path | kind | labels |
//! |---|---|---|
//! | folder with a folder of images for each class | [`Kind::ClassFolders`] | position of the class in sorted order |
//! | folder of images | [`Kind::ImageFolder`] | none |
//! | `.npz` | [`Kind::Npz`] | array `labels`, `label` or `y` |
//! | `.npy` | [`Kind::Npy`], for the model's only input | none |
//! | folder of `.npy` | [`Kind::NpyFolder`], one file for each input, named after it | `labels.npy`, ... |
//! | CIFAR-10's folder or archive | [`Kind::Cifar10`] | its own |
//! | `.txt` | [`Kind::Tokens`], one sample a line | behind a tab |
//!
//! ```no_run
//! use calipers_data::samples::{Element, ModelInput, OpenOptions, batches, open, subset};
//!
//! # fn main() -> Result<(), calipers_data::samples::SamplesError> {
//! let shape = vec!["N".into(), 3.into(), 224.into(), 224.into()];
//! let input = ModelInput::new("x", Element::F32, shape);
//! let opened = open("images".as_ref(), &[input], &OpenOptions::default())?;
//! let chosen = subset(opened.samples.as_ref(), 512, 0)?;
//! for batch in batches(opened.samples.as_ref(), &chosen, 32) {
//!     let batch = batch?;
//!     batch.require_finite()?;
//!     // batch.arrays go to the model; of its results, the first batch.indices.len() are meant.
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Nothing holds all samples in memory: images are decoded when they are asked for, arrays are
//! read in slices, and of text only the places of its lines are kept.

mod array;
mod error;
mod model_input;

mod batching;
mod subset;

pub mod arrays;
pub mod images;
pub mod tokens;

mod open;

use std::fmt::Debug;

pub use array::{Element, NamedArray};
pub use batching::{SampleBatch, batches};
pub use error::SamplesError;
pub use images::{ChannelOrder, Crop, Filter, Layout, Preprocessing, PreprocessingOverrides, Resize, Scale};
pub use model_input::{Extent, InputQuantization, ModelInput};
pub use open::{CifarSplit, Kind, OpenOptions, Opened, TokenOptions, open};
pub use subset::subset;

pub(crate) use array::count;
pub(crate) use model_input::listed;

/// How many samples go into one run of the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BatchRule {
    /// As many as one likes.
    Any,
    /// Always this many: the model's batch axis has a fixed extent, or there is none (then one).
    Exactly(usize),
}

/// An input of the model as the samples fill it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleInput {
    /// The model's input.
    pub name: String,
    /// Type of the elements of [`Samples::batch`]: that of the model's input.
    pub element: Element,
    /// Shape of one sample. A batch has the number of its samples before it when `batched`.
    pub shape: Vec<usize>,
    /// Whether the input has a batch axis. If not, a sample is all that the input takes, and
    /// [`Samples::batch_rule`] is [`BatchRule::Exactly`] one.
    pub batched: bool,
}

/// Indexable samples, bound to the inputs of a model, in an order that never changes.
pub trait Samples: Debug + Send + Sync {
    /// How many there are; at least one.
    fn len(&self) -> usize;

    /// Never: a source without samples is refused when it is opened.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The inputs that every batch fills, in the model's order.
    fn inputs(&self) -> &[SampleInput];

    /// How many samples a batch must have.
    fn batch_rule(&self) -> BatchRule;

    /// The chosen samples, in the order given, as one array for each of [`Samples::inputs`].
    /// Holds memory for these samples alone. [`batches`] respects the batch rule for the caller.
    ///
    /// # Errors
    ///
    /// [`SamplesError`] for an index that is not below [`Samples::len`], a number of indices that
    /// [`Samples::batch_rule`] excludes, and samples that cannot be read or converted.
    fn batch(&self, indices: &[usize]) -> Result<Vec<NamedArray>, SamplesError>;

    /// The class of every sample; `None` when the data have no labels.
    fn labels(&self) -> Option<&[u32]>;

    /// Names of the classes, by label; `None` when they have none.
    fn class_names(&self) -> Option<&[String]>;

    /// How messages call a sample: a file, or a position in one.
    fn sample_name(&self, index: usize) -> String;
}

/// Refuses indices that are not samples, and numbers of them that the batch rule excludes.
pub(crate) fn check_indices(samples: &dyn Samples, indices: &[usize]) -> Result<(), SamplesError> {
    if let Some(&found) = indices.iter().find(|&&index| index >= samples.len()) {
        let expected = format!("below {}, the number of samples", samples.len());
        return Err(SamplesError::Request { what: "the position of a sample", found, expected });
    }
    let found = indices.len();
    match samples.batch_rule() {
        BatchRule::Exactly(wanted) if found != wanted => Err(SamplesError::Request {
            what: "the number of samples in a batch",
            found,
            expected: format!("{wanted}, the fixed batch of the model's inputs"),
        }),
        BatchRule::Any if found == 0 => Err(SamplesError::Request {
            what: "the number of samples in a batch",
            found,
            expected: "at least 1".to_owned(),
        }),
        BatchRule::Any | BatchRule::Exactly(_) => Ok(()),
    }
}
