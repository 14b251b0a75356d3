//! CIFAR-10 in the layout of the official binary archive: six files of 10,000 records, each one
//! label byte and 3,072 pixel bytes (red, green and blue planes of 32 x 32).
//!
//! Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, and
//! <https://www.cs.toronto.edu/~kriz/cifar.html>.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use crate::{DataError, Dataset, DuplicatePolicy, ImageShape, Splits};

/// Names of the classes, by label.
pub const CLASS_NAMES: [&str; 10] =
    ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Shape of every image.
pub const SHAPE: ImageShape = ImageShape { channels: 3, height: 32, width: 32 };

const TRAIN_FILES: [&str; 5] =
    ["data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin", "data_batch_5.bin"];
const TEST_FILE: &str = "test_batch.bin";
const FOLDER: &str = "cifar-10-batches-bin";
const RECORDS: usize = 10_000;
const RECORD_BYTES: usize = 1 + 3 * 32 * 32;
const FILE_BYTES: u64 = (RECORDS * RECORD_BYTES) as u64;

const EXPECTED: &str = "the folder cifar-10-batches-bin, the folder that holds it, or cifar-10-binary.tar.gz";
const HINT: &str = "download the binary version, cifar-10-binary.tar.gz, from \
                    https://www.cs.toronto.edu/~kriz/cifar.html and name it or its unpacked folder";
const HINT_PYTHON: &str = "these are the files of the Python version; the binary version is \
                           needed, cifar-10-binary.tar.gz from \
                           https://www.cs.toronto.edu/~kriz/cifar.html";
const HINT_DAMAGED: &str = "download or unpack the archive again";

/// Reads all of CIFAR-10 from `path`: the folder `cifar-10-batches-bin`, the folder that holds it,
/// or the archive `cifar-10-binary.tar.gz` (which is read without being unpacked).
///
/// The test split is the official one, whole. Training samples whose image is also a test image
/// are dropped from the training split and listed in [`Splits::report`]; the official order is
/// kept otherwise.
///
/// # Errors
///
/// [`DataError`] for a path that is not there, an absent file, a file of the wrong length, a label
/// above 9, and a refusal of the operating system.
pub fn read(path: &Path) -> Result<Splits, DataError> {
    let metadata = std::fs::metadata(path).map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => {
            DataError::PathNotFound { path: path.to_owned(), expected: EXPECTED, hint: HINT }
        }
        _ => io(path, "look at the path")(source),
    })?;
    let (train, test) = if metadata.is_dir() { read_folder(path)? } else { read_archive(path)? };
    Splits::disjoint(
        train.into_dataset("cifar10/train")?,
        test.into_dataset("cifar10/test")?,
        DuplicatePolicy::DropFromTraining,
    )
}

/// Pixels and labels of the files read so far.
#[derive(Default)]
struct Samples {
    images: Vec<u8>,
    labels: Vec<u32>,
}

impl Samples {
    fn with_files(files: usize) -> Samples {
        Samples {
            images: Vec::with_capacity(files * RECORDS * SHAPE.bytes()),
            labels: Vec::with_capacity(files * RECORDS),
        }
    }

    /// Appends all records of one file, which must be of `size` bytes.
    fn append(&mut self, file: &Path, size: u64, source: impl Read) -> Result<(), DataError> {
        let wrong_size = |found| DataError::FileSize {
            file: file.to_owned(),
            expected: FILE_BYTES,
            found,
            hint: HINT_DAMAGED,
        };
        if size != FILE_BYTES {
            return Err(wrong_size(size));
        }
        let mut source = BufReader::with_capacity(1 << 20, source);
        let mut record = [0u8; RECORD_BYTES];
        for position in 0..RECORDS {
            source.read_exact(&mut record).map_err(|error| match error.kind() {
                std::io::ErrorKind::UnexpectedEof => wrong_size((position * RECORD_BYTES) as u64),
                _ => io(file, "read the file")(error),
            })?;
            let [label, pixels @ ..] = &record;
            if usize::from(*label) >= CLASS_NAMES.len() {
                return Err(DataError::LabelOutOfRange {
                    file: file.to_owned(),
                    record: position,
                    value: u32::from(*label),
                    classes: CLASS_NAMES.len(),
                    hint: HINT_DAMAGED,
                });
            }
            self.labels.push(u32::from(*label));
            self.images.extend_from_slice(pixels);
        }
        Ok(())
    }

    fn into_dataset(self, name: &str) -> Result<Dataset, DataError> {
        let classes = CLASS_NAMES.map(str::to_owned).to_vec();
        Dataset::new(name, classes, SHAPE, self.images, self.labels)
    }
}

fn read_folder(path: &Path) -> Result<(Samples, Samples), DataError> {
    let inner = path.join(FOLDER);
    let folder = if inner.is_dir() { &inner } else { path };
    let absent: Vec<String> = TRAIN_FILES
        .into_iter()
        .chain([TEST_FILE])
        .filter(|name| !folder.join(name).is_file())
        .map(str::to_owned)
        .collect();
    if !absent.is_empty() {
        let python = ["data_batch_1", "cifar-10-batches-py"].iter().any(|name| folder.join(name).exists());
        return Err(DataError::MissingFiles {
            path: folder.to_owned(),
            files: absent,
            expected: EXPECTED,
            hint: if python { HINT_PYTHON } else { HINT },
        });
    }
    let append = |samples: &mut Samples, name| {
        let file = folder.join(name);
        let opened = File::open(&file).map_err(io(&file, "open the file"))?;
        let metadata = opened.metadata().map_err(io(&file, "open the file"))?;
        samples.append(&file, metadata.len(), opened)
    };
    let mut train = Samples::with_files(TRAIN_FILES.len());
    for name in TRAIN_FILES {
        append(&mut train, name)?;
    }
    let mut test = Samples::with_files(1);
    append(&mut test, TEST_FILE)?;
    Ok((train, test))
}

/// The files may stand in the archive in any order and under any folder.
fn read_archive(path: &Path) -> Result<(Samples, Samples), DataError> {
    let opened = File::open(path).map_err(io(path, "open the archive"))?;
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(opened));
    let mut found: [Option<Samples>; 6] = Default::default();
    let action = "read the archive, which should be cifar-10-binary.tar.gz";
    for entry in archive.entries().map_err(io(path, action))? {
        let entry = entry.map_err(io(path, action))?;
        let inside = entry.path().map_err(io(path, action))?.into_owned();
        let position = TRAIN_FILES
            .into_iter()
            .chain([TEST_FILE])
            .position(|name| inside.file_name().is_some_and(|found| found == name));
        if let Some(position) = position {
            let file: PathBuf = path.join(&inside);
            let mut samples = Samples::with_files(1);
            samples.append(&file, entry.size(), entry)?;
            found[position] = Some(samples);
        }
    }
    let absent: Vec<String> = TRAIN_FILES
        .into_iter()
        .chain([TEST_FILE])
        .zip(&found)
        .filter(|(_, samples)| samples.is_none())
        .map(|(name, _)| name.to_owned())
        .collect();
    if !absent.is_empty() {
        return Err(DataError::MissingFiles {
            path: path.to_owned(),
            files: absent,
            expected: EXPECTED,
            hint: HINT,
        });
    }
    let mut train = Samples::with_files(TRAIN_FILES.len());
    let [files @ .., test] = found;
    for samples in files.into_iter().flatten() {
        train.images.extend_from_slice(&samples.images);
        train.labels.extend_from_slice(&samples.labels);
    }
    Ok((train, test.unwrap_or_default()))
}

fn io(path: &Path, action: &'static str) -> impl Fn(std::io::Error) -> DataError {
    move |source| DataError::Io { path: path.to_owned(), action, source }
}
