//! From a path to samples: recognises what is there and binds it to a model's inputs.

use std::path::{Path, PathBuf};

use crate::cifar10;
use crate::samples::arrays::ArraySamples;
use crate::samples::images::{
    Files, ImageSamples, Listing, Pictures, Records, Target, image_input, is_image, list,
};
use crate::samples::tokens::TokenSamples;
use crate::samples::{ModelInput, Preprocessing, PreprocessingOverrides, Samples, SamplesError};

const EXPECTED: &str = "a folder with a folder of images for each class, a folder of images (.png, .jpg, \
                        .jpeg) or of .npy files, an image, an .npz or .npy file, a .txt file of token ids, or \
                        CIFAR-10's folder or .tar.gz";

/// What a path was recognised as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A folder with a folder of images for each class.
    ClassFolders,
    /// A folder of images without classes.
    ImageFolder,
    /// One image.
    ImageFile,
    /// CIFAR-10's folder or archive.
    Cifar10,
    /// An `.npz` file.
    Npz,
    /// An `.npy` file.
    Npy,
    /// A folder of `.npy` files.
    NpyFolder,
    /// A text file of token ids.
    Tokens,
}

impl Kind {
    /// Where labels would stand.
    fn label_hint(self) -> &'static str {
        match self {
            Kind::ClassFolders | Kind::ImageFolder | Kind::ImageFile | Kind::Cifar10 => {
                "put the images into a folder for each class"
            }
            Kind::Npz => "add an array called labels, whole numbers [N]",
            Kind::Npy | Kind::NpyFolder => "put labels.npy, whole numbers [N], beside a file for each input",
            Kind::Tokens => "end each line with a tab and the class",
        }
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Kind::ClassFolders => "images in a folder for each class",
            Kind::ImageFolder => "images",
            Kind::ImageFile => "an image",
            Kind::Cifar10 => "CIFAR-10",
            Kind::Npz => ".npz arrays",
            Kind::Npy => "an .npy array",
            Kind::NpyFolder => ".npy arrays",
            Kind::Tokens => "lines of token ids",
        })
    }
}

/// Which part of CIFAR-10 is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CifarSplit {
    /// The 50,000 training images: to calibrate from.
    Train,
    /// The 10,000 test images: to measure accuracy on.
    #[default]
    Test,
}

/// How text files of token ids are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TokenOptions {
    /// Tokens of a sample, where the model leaves it open.
    pub length: Option<usize>,
    /// The id behind the end of a line that is shorter; 0 unless given.
    pub pad: Option<i64>,
}

/// What a user said about the data beside where they are. Everything has a default.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OpenOptions {
    /// The preprocessing that a recipe keeps, in place of the default.
    pub preprocessing: Option<Preprocessing>,
    /// Single settings of the preprocessing, above the former.
    pub overrides: PreprocessingOverrides,
    /// For CIFAR-10.
    pub split: CifarSplit,
    /// For text files.
    pub tokens: TokenOptions,
    /// For folders of classes: the classes by label, each the name of a folder. Without them, the
    /// sorted names of the folders are the classes.
    pub classes: Option<Vec<String>>,
}

/// Samples, and what was found out on the way to them.
#[derive(Debug)]
pub struct Opened {
    /// Where they come from, as given.
    pub path: PathBuf,
    /// The samples.
    pub samples: Box<dyn Samples>,
    /// What the path was recognised as.
    pub kind: Kind,
    /// For images, all that is done to them, to be kept in the recipe.
    pub preprocessing: Option<Preprocessing>,
    /// What a user should be told: files that are no samples, lines that are cut.
    pub notes: Vec<String>,
}

impl Opened {
    /// The class of every sample, each below `classes`, the number of the model's classes.
    ///
    /// # Errors
    ///
    /// [`SamplesError::Labels`] when the data have none, and when one is too large.
    pub fn require_labels(&self, classes: usize) -> Result<&[u32], SamplesError> {
        let refuse = |problem, hint| SamplesError::Labels { path: self.path.clone(), problem, hint };
        let Some(labels) = self.samples.labels() else {
            let problem = format!("{} have none, and accuracy needs them", self.kind);
            return Err(refuse(problem, self.kind.label_hint()));
        };
        match labels.iter().enumerate().find(|(_, label)| **label as usize >= classes) {
            None => Ok(labels),
            Some((sample, label)) => Err(refuse(
                format!(
                    "{} has the class {label}; expected 0 to {}, the model's classes",
                    self.samples.sample_name(sample),
                    classes.saturating_sub(1)
                ),
                "count classes from 0, as the model does",
            )),
        }
    }
}

/// Opens the data at `path` for a model with these inputs.
///
/// Labels are there when the data have them; whoever needs them asks [`Samples::labels`].
///
/// # Errors
///
/// [`SamplesError`] when nothing is there that is known, when it is damaged, when it does not fit
/// the model's inputs, and when an option does not belong to this kind of data. Images are decoded
/// later, when [`Samples::batch`] asks for them.
pub fn open(path: &Path, inputs: &[ModelInput], options: &OpenOptions) -> Result<Opened, SamplesError> {
    let found = recognise(path)?;
    check_options(found.kind, options)?;
    let mut notes = Vec::new();
    let mut preprocessing = None;
    let samples: Box<dyn Samples> = match found.kind {
        Kind::ClassFolders | Kind::ImageFolder | Kind::ImageFile => {
            let target = target(path, inputs, options)?;
            let files = if found.kind == Kind::ClassFolders {
                Files::by_class(path, &found.listing, options.classes.as_deref())?
            } else {
                let folder = if found.kind == Kind::ImageFile { path.parent() } else { Some(path) };
                Files::flat(folder.unwrap_or(Path::new("")), &found.listing)
            };
            note_ignored(&mut notes, files.ignored.0, files.ignored.1.as_deref(), "images");
            let chosen = settle(Preprocessing::for_target(&target), &target, options);
            preprocessing = Some(chosen.clone());
            Box::new(ImageSamples::new(Box::new(files), target, chosen)?)
        }
        Kind::Cifar10 => {
            let target = target(path, inputs, options)?;
            let records = Records::open(path, options.split == CifarSplit::Test)?;
            let chosen = settle(Records::preprocessing(&target), &target, options);
            preprocessing = Some(chosen.clone());
            let pictures: Box<dyn Pictures> = Box::new(records);
            Box::new(ImageSamples::new(pictures, target, chosen)?)
        }
        Kind::Npz => Box::new(ArraySamples::open_npz(path, inputs)?),
        Kind::Npy => Box::new(ArraySamples::open_npy(path, inputs)?),
        Kind::NpyFolder => {
            let (arrays, others): (Vec<PathBuf>, Vec<PathBuf>) =
                found.listing.files.into_iter().partition(|file| is_npy(file));
            let first = others.first().or(found.listing.folders.first()).map(PathBuf::as_path);
            note_ignored(&mut notes, others.len() + found.listing.folders.len(), first, ".npy files");
            Box::new(ArraySamples::open_folder(path, &arrays, inputs)?)
        }
        Kind::Tokens => {
            let TokenOptions { length, pad } = options.tokens;
            let samples = TokenSamples::open(path, inputs, length, pad.unwrap_or(0))?;
            if samples.cut > 0 {
                notes.push(format!(
                    "{} of {} lines are longer than {} tokens and lose their end",
                    samples.cut,
                    samples.len(),
                    samples.length()
                ));
            }
            Box::new(samples)
        }
    };
    if preprocessing.is_none() && options.preprocessing.is_some() {
        notes.push(format!("{} are taken as they are, without the recipe's preprocessing", found.kind));
    }
    Ok(Opened { path: path.to_owned(), samples, kind: found.kind, preprocessing, notes })
}

struct Found {
    kind: Kind,
    listing: Listing,
}

fn recognise(path: &Path) -> Result<Found, SamplesError> {
    let refuse = |found: String| {
        Err(SamplesError::Kind { path: path.to_owned(), found, expected: EXPECTED.to_owned() })
    };
    let of = |kind| Ok(Found { kind, listing: Listing::default() });
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return refuse("there is no such file or folder".to_owned());
        }
        Err(error) => return Err(SamplesError::io(path, "look at the path")(error)),
    };
    if cifar10::recognise(path) {
        return of(Kind::Cifar10);
    }
    if !metadata.is_dir() {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        return match ending.as_str() {
            "npz" => of(Kind::Npz),
            "npy" => of(Kind::Npy),
            "txt" => of(Kind::Tokens),
            _ if is_image(path) => {
                let listing = Listing { folders: Vec::new(), files: vec![path.to_owned()] };
                Ok(Found { kind: Kind::ImageFile, listing })
            }
            "" => refuse("is a file without an ending that says what it is".to_owned()),
            _ => refuse(format!("is a file of the kind .{ending}")),
        };
    }
    let listing = list(path)?;
    let images = listing.files.iter().filter(|file| is_image(file)).count();
    let arrays = listing.files.iter().filter(|file| is_npy(file)).count();
    let folders = listing.folders.len();
    let kind = match (images, arrays, folders) {
        (1.., 0, 0) => Kind::ImageFolder,
        (0, 1.., _) => Kind::NpyFolder,
        (0, 0, 1..) => Kind::ClassFolders,
        (0, 0, 0) => {
            return refuse(format!("is a folder of {} files without images or arrays", listing.files.len()));
        }
        _ => {
            return refuse(format!(
                "is a folder of {images} images, {arrays} .npy files and {folders} folders, which could be \
                 taken in more than one way"
            ));
        }
    };
    Ok(Found { kind, listing })
}

fn is_npy(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("npy"))
}

fn check_options(kind: Kind, options: &OpenOptions) -> Result<(), SamplesError> {
    let refuse = |setting, found: &str| {
        Err(SamplesError::Preprocessing {
            setting,
            found: found.to_owned(),
            expected: format!("none for {kind}"),
        })
    };
    let images = matches!(kind, Kind::ClassFolders | Kind::ImageFolder | Kind::ImageFile | Kind::Cifar10);
    if !images && options.overrides != PreprocessingOverrides::default() {
        return refuse("a setting for images", "given");
    }
    if kind != Kind::Tokens && options.tokens != TokenOptions::default() {
        return refuse("a setting for token ids", "given");
    }
    if kind != Kind::ClassFolders && options.classes.is_some() {
        return refuse("the list of class names", "given");
    }
    Ok(())
}

/// The model's input for images. Where its shape leaves size or layout open, the user's settings
/// and then the recipe's decide.
fn target(path: &Path, inputs: &[ModelInput], options: &OpenOptions) -> Result<Target, SamplesError> {
    let mut overrides = options.overrides.clone();
    if let Some(kept) = &options.preprocessing {
        overrides.size = overrides.size.or(kept.output_size());
        overrides.layout = overrides.layout.or(Some(kept.layout));
    }
    Target::new(image_input(path, inputs)?, &overrides)
}

fn settle(default: Preprocessing, target: &Target, options: &OpenOptions) -> Preprocessing {
    let chosen = options.preprocessing.clone().unwrap_or(default);
    let mut chosen = chosen.with(&options.overrides);
    // A resize that leaves the size open needs a crop, unless the user spoke against it.
    if options.overrides.crop.is_none() && chosen.output_size().is_none() {
        chosen.crop = Some(target.size());
    }
    chosen
}

fn note_ignored(notes: &mut Vec<String>, count: usize, first: Option<&Path>, kind: &str) {
    if let Some(first) = first {
        notes.push(format!("left aside as no {kind}: {count} (the first is {})", first.display()));
    }
}
