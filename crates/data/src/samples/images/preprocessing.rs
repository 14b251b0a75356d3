//! What is done to an image before a model sees it: the settings, their defaults, their checks.

use serde::{Deserialize, Serialize};

use crate::Normalization;
use crate::samples::images::Target;
use crate::samples::{Element, ModelInput, SamplesError};

/// Largest side of an image that goes into a model, and that a resize may ask for.
pub(super) const LARGEST: usize = 8_192;

/// Mean and deviation of the images of ImageNet, as torchvision's weights use them.
const IMAGENET: ([f32; 3], [f32; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);

/// From an image file to the input of a model, in this order: decode (colours or gray), resize,
/// crop, scale, `(value - mean) / deviation`, element type, layout.
///
/// Orientation tags and transparency of a file are not regarded, as in torchvision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// Resize of the whole image.
    pub resize: Resize,
    /// How pixels are computed where the resize changes the size.
    pub filter: Filter,
    /// The part of the resized image that is taken; `None` takes all of it.
    pub crop: Option<Crop>,
    /// Channels and their order.
    pub channels: ChannelOrder,
    /// What the pixels 0 to 255 become before mean and deviation.
    pub scale: Scale,
    /// Subtracted, one for each channel in the order of `channels`, of scaled pixels.
    pub mean: Vec<f32>,
    /// Divided by, one for each channel.
    pub deviation: Vec<f32>,
    /// Order of the axes.
    pub layout: Layout,
    /// Type of the elements.
    pub element: Element,
}

/// How the whole image is resized.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// Not at all.
    None,
    /// To this shorter side, the longer one in proportion (rounded down, as in torchvision).
    ShorterSide(usize),
    /// To this size, whatever the proportions.
    Exact {
        /// Rows.
        height: usize,
        /// Columns.
        width: usize,
    },
}

/// How a resized pixel is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Filter {
    /// Triangle as wide as the reduction, so that nothing is skipped: PIL's `BILINEAR`,
    /// torchvision's `antialias=True`, to the same bits as PIL's.
    Bilinear,
    /// The nearest pixel: PIL's `NEAREST`.
    Nearest,
}

/// A rectangle in the middle. Where the image is smaller, black is added around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Crop {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

/// Channels and their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChannelOrder {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// One channel, by the weights of ITU-R 601-2 as in PIL's mode `L`.
    Gray,
}

impl ChannelOrder {
    /// How many channels there are.
    pub fn count(self) -> usize {
        match self {
            ChannelOrder::Rgb | ChannelOrder::Bgr => 3,
            ChannelOrder::Gray => 1,
        }
    }
}

/// What the pixels 0 to 255 become.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// 0 to 1: divided by 255.
    Unit,
    /// 0 to 255, as they are.
    Raw,
}

/// Order of an image's axes behind the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// Channels, rows, columns: PyTorch and ONNX.
    Nchw,
    /// Rows, columns, channels: TensorFlow and TFLite.
    Nhwc,
}

/// Settings of [`Preprocessing`] that a user gave; what is `None` keeps its default.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct PreprocessingOverrides {
    /// Rows and columns of the model's input, where its shape leaves them open.
    pub size: Option<Crop>,
    /// See [`Preprocessing::resize`].
    pub resize: Option<Resize>,
    /// See [`Preprocessing::filter`].
    pub filter: Option<Filter>,
    /// See [`Preprocessing::crop`]; `Some(None)` takes the whole image.
    pub crop: Option<Option<Crop>>,
    /// See [`Preprocessing::channels`].
    pub channels: Option<ChannelOrder>,
    /// See [`Preprocessing::scale`].
    pub scale: Option<Scale>,
    /// See [`Preprocessing::mean`]; one value stands for all channels.
    pub mean: Option<Vec<f32>>,
    /// See [`Preprocessing::deviation`]; one value stands for all channels.
    pub deviation: Option<Vec<f32>>,
    /// See [`Preprocessing::layout`].
    pub layout: Option<Layout>,
}

impl Preprocessing {
    /// The default for a model's input, by its shape and type alone.
    ///
    /// - three channels of at least 64 x 64: resize the shorter side to 8/7 of the larger extent
    ///   (224 to 256), crop the middle, scale to 0..1, ImageNet's mean and deviation: what most of
    ///   torchvision's weights take;
    /// - smaller images, and one channel: resize to exactly the input's size, scale to 0..1;
    /// - an integer input that is not quantized: the same resize, and pixels as they are.
    ///
    /// # Errors
    ///
    /// [`SamplesError::Preprocessing`] when the input is not one for images, or leaves rows or
    /// columns open.
    pub fn for_input(input: &ModelInput) -> Result<Preprocessing, SamplesError> {
        Ok(Preprocessing::for_target(&Target::new(input, &PreprocessingOverrides::default())?))
    }

    /// The same preprocessing for another model's input: size, layout and element type become the
    /// input's, everything else stays.
    ///
    /// # Errors
    ///
    /// As [`Preprocessing::for_input`], and when the number of channels differs.
    pub fn adapted_to(&self, input: &ModelInput) -> Result<Preprocessing, SamplesError> {
        let target = Target::new(input, &PreprocessingOverrides::default())?;
        let mut adapted = self.clone();
        let size = target.size();
        if self.output_size() != Some(size) {
            let default = Preprocessing::for_target(&target);
            (adapted.resize, adapted.crop) = (default.resize, default.crop);
        }
        adapted.layout = target.layout;
        adapted.element = target.element;
        adapted.check(&target)?;
        Ok(adapted)
    }

    pub(crate) fn for_target(target: &Target) -> Preprocessing {
        let size = target.size();
        let large = target.channels == 3 && size.height.min(size.width) >= 64;
        let (resize, crop) = if large {
            let larger = size.height.max(size.width);
            (Resize::ShorterSide((larger * 8 + 3) / 7), Some(size))
        } else {
            (Resize::Exact { height: size.height, width: size.width }, None)
        };
        let raw = target.element.is_integer() && target.quantization.is_none();
        let (mean, deviation) = if large && !raw {
            (IMAGENET.0.to_vec(), IMAGENET.1.to_vec())
        } else {
            (vec![0.0; target.channels], vec![1.0; target.channels])
        };
        Preprocessing {
            resize,
            filter: Filter::Bilinear,
            crop,
            channels: if target.channels == 1 { ChannelOrder::Gray } else { ChannelOrder::Rgb },
            scale: if raw { Scale::Raw } else { Scale::Unit },
            mean,
            deviation,
            layout: target.layout,
            element: target.element,
        }
    }

    /// These settings with those of `overrides` in their place.
    pub fn with(mut self, overrides: &PreprocessingOverrides) -> Preprocessing {
        let PreprocessingOverrides {
            size: _,
            resize,
            filter,
            crop,
            channels,
            scale,
            mean,
            deviation,
            layout,
        } = overrides.clone();
        self.resize = resize.unwrap_or(self.resize);
        self.filter = filter.unwrap_or(self.filter);
        self.crop = crop.unwrap_or(self.crop);
        self.channels = channels.unwrap_or(self.channels);
        self.scale = scale.unwrap_or(self.scale);
        self.layout = layout.unwrap_or(self.layout);
        let count = self.channels.count();
        let for_all = |values: Vec<f32>| match values[..] {
            [value] => vec![value; count],
            _ => values,
        };
        self.mean = mean.map_or(self.mean, for_all);
        self.deviation = deviation.map_or(self.deviation, for_all);
        self
    }

    /// Size of what comes out, where it does not depend on the image.
    pub(crate) fn output_size(&self) -> Option<Crop> {
        match (self.crop, self.resize) {
            (Some(crop), _) => Some(crop),
            (None, Resize::Exact { height, width }) => Some(Crop { height, width }),
            (None, Resize::None | Resize::ShorterSide(_)) => None,
        }
    }

    /// Refuses settings that cannot be computed with or do not give what `target` takes.
    pub(crate) fn check(&self, target: &Target) -> Result<(), SamplesError> {
        let refuse = |setting, found: String, expected: String| {
            Err(SamplesError::Preprocessing { setting, found, expected })
        };
        let size = target.size();
        let output = self.output_size();
        if output != Some(size) {
            let found = output.map_or("that of each image".to_owned(), |crop| crop.to_string());
            return refuse("the size after resize and crop", found, format!("{size}, as the model's input"));
        }
        let sides = match self.resize {
            Resize::None => [1, 1],
            Resize::ShorterSide(side) => [side, side],
            Resize::Exact { height, width } => [height, width],
        };
        if let Some(side) = sides.iter().find(|&&side| side == 0 || side > LARGEST) {
            return refuse("the size of the resize", side.to_string(), format!("1 to {LARGEST}"));
        }
        let channels = self.channels.count();
        if channels != target.channels {
            let expected = format!("{}, as the model's input", target.channels);
            return refuse("the number of channels", channels.to_string(), expected);
        }
        for (setting, values) in
            [("the number of means", &self.mean), ("the number of deviations", &self.deviation)]
        {
            if values.len() != channels {
                let expected = format!("{channels}, one for each channel");
                return refuse(setting, values.len().to_string(), expected);
            }
        }
        Normalization::new(&self.mean, &self.deviation)?;
        if self.layout != target.layout {
            let expected = format!("{:?}, as the model's input", target.layout);
            return refuse("the layout", format!("{:?}", self.layout), expected);
        }
        if self.element != target.element {
            let expected = format!("{}, as the model's input", target.element);
            return refuse("the element type", self.element.to_string(), expected);
        }
        let plain = self.scale == Scale::Raw
            && self.mean.iter().all(|&mean| mean == 0.0)
            && self.deviation.iter().all(|&deviation| deviation == 1.0);
        if !self.element.is_float() && target.quantization.is_none() && !plain {
            let found = "scaled or normalized".to_owned();
            let expected = "raw, with mean 0 and deviation 1, for an integer input".to_owned();
            return refuse("the pixels", found, expected);
        }
        Ok(())
    }
}

impl std::fmt::Display for Crop {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} x {}", self.height, self.width)
    }
}
