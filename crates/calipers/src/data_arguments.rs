//! The flags that say where data are and how they are brought to a model: the same for every command that reads data.

use std::path::{Path, PathBuf};

use calipers_data::samples::{
    ChannelOrder, CifarSplit, Crop, Filter, Layout, OpenOptions, Opened, PreprocessingOverrides, Resize,
    SamplesError, Scale, TokenOptions, open, subset,
};
use calipers_inspect::{DataSettings, OpenedModel, model_inputs, quantizing, real_inputs};
use clap::{Args, ValueEnum};

use crate::Message;

/// Where data are and how they are prepared. What is not said comes from the recipe beside the model when there is one,
/// else from the shape of the model's input.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Data")]
pub struct DataArguments {
    /// Where data are: a folder with a folder of images (PNG, JPEG) for each class, a folder of images, .npz, .npy, a
    /// folder of .npy, CIFAR-10's folder or archive, or a text file of token ids.
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// At most so many samples, drawn evenly over the classes and always the same ones.
    #[arg(long, value_name = "N")]
    pub limit: Option<std::num::NonZeroUsize>,
    /// The part of CIFAR-10 that is read [default: train to calibrate, test otherwise].
    #[arg(long, value_enum, value_name = "PART")]
    pub split: Option<Split>,
    /// Resize of images: N (the shorter side), HxW (both, whatever the proportions) or none.
    #[arg(long, value_name = "SIZE", value_parser = resize)]
    pub resize: Option<Resize>,
    /// The middle of resized images that is taken: N, HxW or none.
    #[arg(long, value_name = "SIZE", value_parser = crop)]
    pub crop: Option<CropArgument>,
    /// Rows and columns of the model's input where its shape leaves them open: N or HxW.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub size: Option<Crop>,
    /// How resized pixels are computed.
    #[arg(long, value_enum)]
    pub filter: Option<FilterArgument>,
    /// What pixels become before mean and deviation: unit (0 to 1) or raw (0 to 255).
    #[arg(long, value_enum)]
    pub scale: Option<ScaleArgument>,
    /// Subtracted from scaled pixels: one number, or one for each channel, such as 0.485,0.456,0.406.
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',', allow_negative_numbers = true)]
    pub mean: Option<Vec<f32>>,
    /// Divided by after that: one number, or one for each channel.
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    pub deviation: Option<Vec<f32>>,
    /// Channels and their order.
    #[arg(long, value_enum)]
    pub channels: Option<ChannelsArgument>,
    /// Where the channels stand, for inputs that could be read both ways.
    #[arg(long, value_enum)]
    pub layout: Option<LayoutArgument>,
    /// Tokens of a sample, where the model leaves it open.
    #[arg(long, value_name = "N")]
    pub length: Option<usize>,
    /// The token behind the end of lines that are shorter.
    #[arg(long, value_name = "ID", allow_negative_numbers = true)]
    pub pad: Option<i64>,
}

/// The parts of CIFAR-10.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Split {
    /// The training images.
    Train,
    /// The test images.
    Test,
}

/// See [`Filter`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FilterArgument {
    /// Triangle as wide as the reduction.
    Bilinear,
    /// The nearest pixel.
    Nearest,
}

/// See [`Scale`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScaleArgument {
    /// 0 to 1.
    Unit,
    /// 0 to 255.
    Raw,
}

/// See [`ChannelOrder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ChannelsArgument {
    /// Red, green, blue.
    Rgb,
    /// Blue, green, red.
    Bgr,
    /// One channel.
    Gray,
}

/// See [`Layout`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LayoutArgument {
    /// Channels, rows, columns.
    Nchw,
    /// Rows, columns, channels.
    Nhwc,
}

/// A crop, or none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CropArgument(pub Option<Crop>);

/// Samples for a model, and which of them are meant.
#[derive(Debug)]
pub struct Data {
    /// The samples and what was found out on the way to them.
    pub opened: Opened,
    /// Positions of the samples that are meant: all, or as many as `--limit` says.
    pub chosen: Vec<usize>,
    /// What a recipe keeps about these data.
    pub settings: DataSettings,
}

impl DataArguments {
    /// Where the data are.
    ///
    /// # Errors
    /// When it was not said; `purpose` is what they are needed for.
    pub fn path(&self, purpose: &str) -> Result<&Path, Message> {
        self.data.as_deref().ok_or_else(|| {
            format!(
                "data are needed {purpose}\nhint: give --data PATH: images, .npz or .npy arrays, CIFAR-10's folder or \
                 a text file of token ids"
            )
        })
    }

    /// Opens the data for a model. `kept` is what a recipe says about data: of the model itself, or of the one that it is
    /// compared with. `split` is the part of CIFAR-10 that is read when the user did not say.
    ///
    /// # Errors
    /// Data that are not there, are damaged or do not fit the model, with what to do.
    pub fn open(
        &self,
        model: &OpenedModel,
        kept: Option<&DataSettings>,
        split: CifarSplit,
        purpose: &str,
    ) -> Result<Data, Message> {
        let path = self.path(purpose)?;
        let inputs = model_inputs(model).map_err(|error| error.to_string())?;
        let options = self.options(&inputs, kept, split)?;
        let opened = match (open(path, &inputs, &options), real_inputs(&inputs)) {
            // Arrays of real numbers for an input of integers.
            (Err(SamplesError::Inputs { .. }), Some(real)) => open(path, &real, &options)
                .map(|opened| Opened { samples: quantizing(opened.samples, &inputs), ..opened }),
            (opened, _) => opened,
        };
        let opened = opened.map_err(|error| error.to_string())?;
        let chosen = match self.limit {
            None => (0..opened.samples.len()).collect(),
            Some(limit) => {
                subset(opened.samples.as_ref(), limit.get(), 0).map_err(|error| error.to_string())?
            }
        };
        let settings = DataSettings {
            preprocessing: opened.preprocessing.clone(),
            classes: opened.samples.class_names().map(<[String]>::to_vec),
            length: options.tokens.length,
            pad: options.tokens.pad,
        };
        Ok(Data { opened, chosen, settings })
    }

    fn options(
        &self,
        inputs: &[calipers_data::samples::ModelInput],
        kept: Option<&DataSettings>,
        split: CifarSplit,
    ) -> Result<OpenOptions, Message> {
        // A recipe may be that of the same network in another layout.
        let preprocessing = match (kept.and_then(|kept| kept.preprocessing.as_ref()), inputs) {
            (Some(preprocessing), [input]) => {
                Some(preprocessing.adapted_to(input).unwrap_or_else(|_| preprocessing.clone()))
            }
            (preprocessing, _) => preprocessing.cloned(),
        };
        let is_tokens = self.data.as_deref().and_then(Path::extension).is_some_and(|ending| ending == "txt");
        let is_folder = self.data.as_deref().is_some_and(Path::is_dir);
        let tokens = TokenOptions {
            length: self.length.or(kept.and_then(|kept| kept.length).filter(|_| is_tokens)),
            pad: self.pad.or(kept.and_then(|kept| kept.pad).filter(|_| is_tokens)),
        };
        Ok(OpenOptions {
            preprocessing,
            overrides: PreprocessingOverrides {
                size: self.size,
                resize: self.resize,
                filter: self.filter.map(|filter| match filter {
                    FilterArgument::Bilinear => Filter::Bilinear,
                    FilterArgument::Nearest => Filter::Nearest,
                }),
                crop: self.crop.map(|crop| crop.0),
                channels: self.channels.map(|channels| match channels {
                    ChannelsArgument::Rgb => ChannelOrder::Rgb,
                    ChannelsArgument::Bgr => ChannelOrder::Bgr,
                    ChannelsArgument::Gray => ChannelOrder::Gray,
                }),
                scale: self.scale.map(|scale| match scale {
                    ScaleArgument::Unit => Scale::Unit,
                    ScaleArgument::Raw => Scale::Raw,
                }),
                mean: self.mean.clone(),
                deviation: self.deviation.clone(),
                layout: self.layout.map(|layout| match layout {
                    LayoutArgument::Nchw => Layout::Nchw,
                    LayoutArgument::Nhwc => Layout::Nhwc,
                }),
            },
            split: match self.split {
                Some(Split::Train) => CifarSplit::Train,
                Some(Split::Test) => CifarSplit::Test,
                None => split,
            },
            tokens,
            classes: kept.and_then(|kept| kept.classes.clone()).filter(|classes| {
                // The folders of other data may be called otherwise, and then decide themselves.
                is_folder
                    && self
                        .data
                        .as_deref()
                        .is_some_and(|folder| classes.iter().all(|class| folder.join(class).is_dir()))
            }),
        })
    }
}

fn side(text: &str) -> Option<usize> {
    text.trim().parse().ok().filter(|&side| side > 0)
}

fn rectangle(text: &str) -> Option<Crop> {
    match text.split_once(['x', 'X', ',']) {
        Some((height, width)) => Some(Crop { height: side(height)?, width: side(width)? }),
        None => side(text).map(|side| Crop { height: side, width: side }),
    }
}

fn resize(text: &str) -> Result<Resize, String> {
    match (text, side(text), rectangle(text)) {
        ("none", ..) => Ok(Resize::None),
        (_, Some(side), _) => Ok(Resize::ShorterSide(side)),
        (_, None, Some(Crop { height, width })) => Ok(Resize::Exact { height, width }),
        (_, None, None) => Err(String::from("expected N (the shorter side), HxW such as 224x224, or none")),
    }
}

fn crop(text: &str) -> Result<CropArgument, String> {
    match (text, rectangle(text)) {
        ("none", _) => Ok(CropArgument(None)),
        (_, Some(rectangle)) => Ok(CropArgument(Some(rectangle))),
        (_, None) => Err(String::from("expected N, HxW such as 224x224, or none")),
    }
}

fn size(text: &str) -> Result<Crop, String> {
    rectangle(text).ok_or_else(|| String::from("expected N, or HxW such as 224x224"))
}

#[cfg(test)]
mod tests {
    use calipers_data::samples::{Crop, Resize};

    use super::{CropArgument, crop, resize, size};

    #[test]
    fn sizes() {
        assert_eq!(resize("256"), Ok(Resize::ShorterSide(256)));
        assert_eq!(resize("32x48"), Ok(Resize::Exact { height: 32, width: 48 }));
        assert_eq!(resize("none"), Ok(Resize::None));
        assert_eq!(crop("none"), Ok(CropArgument(None)));
        assert_eq!(crop("224"), Ok(CropArgument(Some(Crop { height: 224, width: 224 }))));
        assert_eq!(size("1x2"), Ok(Crop { height: 1, width: 2 }));
        assert!(resize("0").is_err() && resize("3x").is_err() && crop("x").is_err() && size("none").is_err());
    }
}
