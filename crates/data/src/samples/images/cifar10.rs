//! CIFAR-10's records as pictures.

use std::path::Path;

use crate::cifar10::{self, Split};
use crate::samples::SamplesError;
use crate::samples::images::{Picture, Pictures, Preprocessing, Resize, Target, decode};

/// Mean and deviation that the studies normalise CIFAR-10 with.
const STUDY: ([f32; 3], [f32; 3]) = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]);

/// One split of CIFAR-10 in the official order.
pub(crate) struct Records {
    split: Split,
    class_names: Vec<String>,
    name: &'static str,
}

impl Records {
    /// Opens the folder or archive.
    pub fn open(path: &Path, test: bool) -> Result<Records, SamplesError> {
        Ok(Records {
            split: cifar10::open_split(path, test)?,
            class_names: cifar10::CLASS_NAMES.map(str::to_owned).to_vec(),
            name: if test { "cifar10/test" } else { "cifar10/train" },
        })
    }

    /// The default for these images: exactly the input's size, and the studies' normalization for
    /// colours that are scaled at all.
    pub fn preprocessing(target: &Target) -> Preprocessing {
        let mut preprocessing = Preprocessing::for_target(target);
        let size = target.size();
        preprocessing.resize = Resize::Exact { height: size.height, width: size.width };
        preprocessing.crop = None;
        let scaled = preprocessing.scale == crate::samples::Scale::Unit;
        if scaled && target.channels == 3 {
            (preprocessing.mean, preprocessing.deviation) = (STUDY.0.to_vec(), STUDY.1.to_vec());
        }
        preprocessing
    }
}

impl Pictures for Records {
    fn len(&self) -> usize {
        self.split.labels.len()
    }

    fn picture(&self, index: usize, gray: bool) -> Result<Picture, SamplesError> {
        let planes = cifar10::pixels(&self.split, index)?;
        let (width, height) = (cifar10::SHAPE.width, cifar10::SHAPE.height);
        let plane = cifar10::SHAPE.plane();
        let pixels: Vec<u8> =
            (0..plane).flat_map(|at| planes.iter().skip(at).step_by(plane)).copied().collect();
        Ok(if gray {
            Picture { width, height, channels: 1, pixels: decode::luma(&pixels) }
        } else {
            Picture { width, height, channels: 3, pixels }
        })
    }

    fn labels(&self) -> Option<&[u32]> {
        Some(&self.split.labels)
    }

    fn class_names(&self) -> Option<&[String]> {
        Some(&self.class_names)
    }

    fn name(&self, index: usize) -> String {
        format!("{}, record {index}", self.name)
    }
}

impl std::fmt::Debug for Records {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({} records)", self.name, self.len())
    }
}
