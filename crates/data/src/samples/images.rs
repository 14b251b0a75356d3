//! Images as samples: folders of PNG and JPEG files, and CIFAR-10's records, brought to the input
//! of a model by a [`Preprocessing`] that recipes keep.

mod decode;
mod folder;
mod preprocessing;
mod target;
mod resize;
mod tensor;

mod cifar10;

use std::path::Path;

use crate::samples::{
    BatchRule, ModelInput, NamedArray, SampleInput, Samples, SamplesError, check_indices, listed,
};

pub use preprocessing::{
    ChannelOrder, Crop, Filter, Layout, Preprocessing, PreprocessingOverrides, Resize, Scale,
};

pub(crate) use cifar10::Records;
pub(crate) use folder::{Files, Listing, is_image, list};
pub(crate) use target::Target;

/// An image as it was stored: 8 bits a channel, pixel by pixel, row by row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Picture {
    pub width: usize,
    pub height: usize,
    /// 1 (gray) or 3 (red, green, blue).
    pub channels: usize,
    /// `[height, width, channels]`.
    pub pixels: Vec<u8>,
}

/// Where pictures come from.
pub(crate) trait Pictures: std::fmt::Debug + Send + Sync {
    /// How many there are.
    fn len(&self) -> usize;
    /// One of them, gray when `gray` and in colours otherwise.
    fn picture(&self, index: usize, gray: bool) -> Result<Picture, SamplesError>;
    fn labels(&self) -> Option<&[u32]>;
    fn class_names(&self) -> Option<&[String]>;
    fn name(&self, index: usize) -> String;
}

/// Pictures that are decoded and preprocessed when they are asked for.
#[derive(Debug)]
pub struct ImageSamples {
    pictures: Box<dyn Pictures>,
    preprocessing: Preprocessing,
    target: Target,
    input: [SampleInput; 1],
    rule: BatchRule,
}

impl ImageSamples {
    /// `pictures` for `target`, which was made of the model's only input.
    ///
    /// # Errors
    ///
    /// [`SamplesError::Preprocessing`] when the preprocessing does not give what the input takes.
    pub(crate) fn new(
        pictures: Box<dyn Pictures>,
        target: Target,
        preprocessing: Preprocessing,
    ) -> Result<ImageSamples, SamplesError> {
        preprocessing.check(&target)?;
        let input = SampleInput {
            name: target.name.clone(),
            element: preprocessing.element,
            shape: target.sample_shape(preprocessing.layout),
            batched: target.batched,
        };
        let rule = target.batch.map_or(BatchRule::Any, BatchRule::Exactly);
        Ok(ImageSamples { pictures, preprocessing, target, input: [input], rule })
    }

    /// What is done to every picture.
    pub fn preprocessing(&self) -> &Preprocessing {
        &self.preprocessing
    }
}

/// The input of a model that takes images: its only one.
pub(crate) fn image_input<'a>(path: &Path, inputs: &'a [ModelInput]) -> Result<&'a ModelInput, SamplesError> {
    match inputs {
        [input] => Ok(input),
        _ => Err(SamplesError::Inputs {
            path: path.to_owned(),
            problem: format!("images for a model with {} inputs", inputs.len()),
            expected: listed(inputs),
            found: "images, which fill one input".to_owned(),
            hint: "give an .npz file with an array for each input".to_owned(),
        }),
    }
}

impl Samples for ImageSamples {
    fn len(&self) -> usize {
        self.pictures.len()
    }

    fn inputs(&self) -> &[SampleInput] {
        &self.input
    }

    fn batch_rule(&self) -> BatchRule {
        self.rule
    }

    fn batch(&self, indices: &[usize]) -> Result<Vec<NamedArray>, SamplesError> {
        check_indices(self, indices)?;
        let [input] = &self.input;
        let gray = self.preprocessing.channels == ChannelOrder::Gray;
        let mut bytes = Vec::new();
        for &index in indices {
            let picture = self.pictures.picture(index, gray)?;
            let picture = resize::fit(&picture, &self.preprocessing).ok_or_else(|| SamplesError::Image {
                path: self.pictures.name(index).into(),
                problem: format!(
                    "has {} x {} pixels and would be longer than {} when resized",
                    picture.width,
                    picture.height,
                    resize::LONGEST
                ),
            })?;
            tensor::append(&picture, &self.preprocessing, self.target.quantization, &mut bytes);
        }
        let mut shape = input.shape.clone();
        if input.batched {
            shape.insert(0, indices.len());
        }
        Ok(vec![NamedArray { name: input.name.clone(), element: input.element, shape, bytes }])
    }

    fn labels(&self) -> Option<&[u32]> {
        self.pictures.labels()
    }

    fn class_names(&self) -> Option<&[String]> {
        self.pictures.class_names()
    }

    fn sample_name(&self, index: usize) -> String {
        self.pictures.name(index)
    }
}
