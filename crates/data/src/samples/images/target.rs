//! An input of a model as one that takes images: its channels, size and layout.

use crate::samples::images::preprocessing::{Crop, LARGEST, Layout, PreprocessingOverrides};
use crate::samples::{Element, Extent, InputQuantization, ModelInput, SamplesError};

/// An input of a model as one that takes images.
#[derive(Debug, Clone)]
pub(crate) struct Target {
    pub name: String,
    pub element: Element,
    pub quantization: Option<InputQuantization>,
    pub channels: usize,
    pub layout: Layout,
    pub batched: bool,
    pub batch: Option<usize>,
    height: usize,
    width: usize,
}

impl Target {
    /// Reads channels, size and layout from the shape of `input`: `[N, C, H, W]` or
    /// `[N, H, W, C]`, with or without the batch, C being 1 or 3. Where both readings are
    /// possible, `overrides.layout` decides, then the first one is taken. `overrides.size` fills
    /// rows and columns that the shape leaves open.
    pub fn new(input: &ModelInput, overrides: &PreprocessingOverrides) -> Result<Target, SamplesError> {
        let refuse = |found: String| SamplesError::Preprocessing {
            setting: "the model's input",
            found,
            expected: "[N, channels, height, width] or [N, height, width, channels], with 1 or 3 channels, \
                       for images"
                .to_owned(),
        };
        let shape = input.shape.as_deref().unwrap_or_default();
        let (batched, batch, image) = match shape {
            [batch, image @ ..] if image.len() == 3 => (true, batch.known(), image),
            image if image.len() == 3 => (false, Some(1), image),
            _ => return Err(refuse(input.to_string())),
        };
        let [first, second, third] = image else { return Err(refuse(input.to_string())) };
        let is_channels = |extent: &Extent| matches!(extent, Extent::Known(1 | 3));
        let layout = match (is_channels(first), is_channels(third), overrides.layout) {
            (true, true, Some(layout)) => layout,
            (true, _, _) => Layout::Nchw,
            (false, true, _) => Layout::Nhwc,
            (false, false, _) => return Err(refuse(input.to_string())),
        };
        let (channels, height, width) = match layout {
            Layout::Nchw => (first, second, third),
            Layout::Nhwc => (third, first, second),
        };
        let side = |extent: &Extent, given: Option<usize>| match extent.known().or(given) {
            Some(side) if (1..=LARGEST).contains(&side) => Ok(side),
            Some(side) => Err(SamplesError::Preprocessing {
                setting: "a side of the model's input",
                found: side.to_string(),
                expected: format!("1 to {LARGEST}"),
            }),
            None => Err(SamplesError::Preprocessing {
                setting: "the size of images",
                found: format!("left open by the model's input {input}"),
                expected: "rows and columns to be given".to_owned(),
            }),
        };
        if batch == Some(0)
            || !matches!(input.element, Element::U8 | Element::I8) && !input.element.is_float()
        {
            return Err(refuse(input.to_string()));
        }
        if input.element == Element::I8 && input.quantization.is_none() {
            return Err(refuse(format!("{input}, which is not quantized")));
        }
        if let Some(quantization) = input.quantization
            && !(quantization.scale.is_finite() && quantization.scale > 0.0)
        {
            return Err(refuse(format!("{input}, quantized with the scale {}", quantization.scale)));
        }
        Ok(Target {
            name: input.name.clone(),
            element: input.element,
            quantization: input.quantization,
            channels: channels.known().unwrap_or(3),
            layout,
            batched,
            batch,
            height: side(height, overrides.size.map(|size| size.height))?,
            width: side(width, overrides.size.map(|size| size.width))?,
        })
    }

    pub fn size(&self) -> Crop {
        Crop { height: self.height, width: self.width }
    }

    /// Shape of one sample, without the batch.
    pub fn sample_shape(&self, layout: Layout) -> Vec<usize> {
        match layout {
            Layout::Nchw => vec![self.channels, self.height, self.width],
            Layout::Nhwc => vec![self.height, self.width, self.channels],
        }
    }
}
