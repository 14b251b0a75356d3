//! CIFAR-10 in the layout of the official binary archive: six files of 10,000 records, each one
//! label byte and 3,072 pixel bytes (red, green and blue planes of 32 x 32).
//!
//! Source: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009, and
//! <https://www.cs.toronto.edu/~kriz/cifar.html>.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
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
const ALL_FILES: [&str; 6] = {
    let [a, b, c, d, e] = TRAIN_FILES;
    [a, b, c, d, e, TEST_FILE]
};
const PYTHON_NAMES: [&str; 2] = ["data_batch_1", "cifar-10-batches-py"];
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

    fn append_file(&mut self, file: &Path) -> Result<(), DataError> {
        let opened = File::open(file).map_err(io(file, "open the file"))?;
        let metadata = opened.metadata().map_err(io(file, "open the file"))?;
        self.append(file, metadata.len(), opened)
    }

    fn joined(files: Vec<Samples>) -> Samples {
        let mut joined = Samples::with_files(files.len());
        for samples in files {
            joined.images.extend_from_slice(&samples.images);
            joined.labels.extend_from_slice(&samples.labels);
        }
        joined
    }

    fn into_dataset(self, name: &str) -> Result<Dataset, DataError> {
        let classes = CLASS_NAMES.map(str::to_owned).to_vec();
        Dataset::new(name, classes, SHAPE, self.images, self.labels)
    }
}

fn read_folder(path: &Path) -> Result<(Samples, Samples), DataError> {
    let mut files = folder_files(path, &ALL_FILES)?;
    let test = files.split_off(TRAIN_FILES.len());
    let read = |files: &[PathBuf]| {
        let mut samples = Samples::with_files(files.len());
        files.iter().try_for_each(|file| samples.append_file(file)).map(|()| samples)
    };
    Ok((read(&files)?, read(&test)?))
}

/// The files of these names in `path` or in its folder `cifar-10-batches-bin`.
fn folder_files(path: &Path, names: &[&str]) -> Result<Vec<PathBuf>, DataError> {
    let inner = path.join(FOLDER);
    let folder = if inner.is_dir() { &inner } else { path };
    let absent: Vec<String> =
        names.iter().filter(|name| !folder.join(name).is_file()).map(|name| name.to_string()).collect();
    if !absent.is_empty() {
        let python = PYTHON_NAMES.iter().any(|name| folder.join(name).exists());
        return Err(DataError::MissingFiles {
            path: folder.to_owned(),
            files: absent,
            expected: EXPECTED,
            hint: if python { HINT_PYTHON } else { HINT },
        });
    }
    Ok(names.iter().map(|name| folder.join(name)).collect())
}

fn read_archive(path: &Path) -> Result<(Samples, Samples), DataError> {
    let mut files = archive_files(path, &ALL_FILES)?;
    let test = files.pop().unwrap_or_default();
    Ok((Samples::joined(files), test))
}

/// The files of these names, which may stand in the archive in any order and under any folder.
fn archive_files(path: &Path, names: &[&str]) -> Result<Vec<Samples>, DataError> {
    let opened = File::open(path).map_err(io(path, "open the archive"))?;
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(opened));
    let mut found: Vec<Option<Samples>> = names.iter().map(|_| None).collect();
    let action = "read the archive, which should be cifar-10-binary.tar.gz";
    for entry in archive.entries().map_err(io(path, action))? {
        let entry = entry.map_err(io(path, action))?;
        let inside = entry.path().map_err(io(path, action))?.into_owned();
        let is_inside = |name: &&str| inside.file_name().is_some_and(|found| found == *name);
        if let Some((_, place)) = names.iter().zip(&mut found).find(|(name, _)| is_inside(name)) {
            let file: PathBuf = path.join(&inside);
            let mut samples = Samples::with_files(1);
            samples.append(&file, entry.size(), entry)?;
            *place = Some(samples);
        }
    }
    let absent: Vec<String> = names
        .iter()
        .zip(&found)
        .filter(|(_, samples)| samples.is_none())
        .map(|(name, _)| name.to_string())
        .collect();
    if !absent.is_empty() {
        return Err(DataError::MissingFiles {
            path: path.to_owned(),
            files: absent,
            expected: EXPECTED,
            hint: HINT,
        });
    }
    Ok(found.into_iter().flatten().collect())
}

/// One split, without its pixels where these can be read from the files again.
pub(crate) struct Split {
    /// `RECORDS` labels for each file.
    pub labels: Vec<u32>,
    pub pixels: Pixels,
}

/// Where the pixels of a split are.
pub(crate) enum Pixels {
    /// In these files, in order.
    Files(Vec<PathBuf>),
    /// Here, image after image.
    Memory(Vec<u8>),
}

/// Whether `path` looks like CIFAR-10, in the binary version or the one for Python.
pub(crate) fn recognise(path: &Path) -> bool {
    if path.is_file() {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        return name.ends_with(".tar.gz") || name.ends_with(".tgz");
    }
    ALL_FILES.iter().chain(&PYTHON_NAMES).chain([&FOLDER]).any(|name| path.join(name).exists())
}

/// Checks one split and reads its labels, and from an archive its pixels too.
pub(crate) fn open_split(path: &Path, test: bool) -> Result<Split, DataError> {
    let names = if test { &[TEST_FILE][..] } else { &TRAIN_FILES[..] };
    if !path.is_dir() {
        let samples = Samples::joined(archive_files(path, names)?);
        return Ok(Split { labels: samples.labels, pixels: Pixels::Memory(samples.images) });
    }
    let files = folder_files(path, names)?;
    let mut labels = Vec::new();
    for file in &files {
        let mut samples = Samples::with_files(1);
        samples.append_file(file)?;
        labels.append(&mut samples.labels);
    }
    Ok(Split { labels, pixels: Pixels::Files(files) })
}

/// The pixels `[3, 32, 32]` of one record of a split.
pub(crate) fn pixels(split: &Split, index: usize) -> Result<Vec<u8>, DataError> {
    let absent = || io(Path::new("cifar10"), "find the record")(std::io::ErrorKind::NotFound.into());
    match &split.pixels {
        Pixels::Memory(images) => {
            images.chunks_exact(SHAPE.bytes()).nth(index).map(<[u8]>::to_vec).ok_or_else(absent)
        }
        Pixels::Files(files) => {
            let file = files.get(index / RECORDS).ok_or_else(absent)?;
            let offset = (index % RECORDS * RECORD_BYTES + 1) as u64;
            let mut pixels = vec![0u8; SHAPE.bytes()];
            let mut opened = File::open(file).map_err(io(file, "open the file"))?;
            opened
                .seek(SeekFrom::Start(offset))
                .and_then(|_| opened.read_exact(&mut pixels))
                .map_err(io(file, "read the file"))?;
            Ok(pixels)
        }
    }
}

fn io(path: &Path, action: &'static str) -> impl Fn(std::io::Error) -> DataError {
    move |source| DataError::Io { path: path.to_owned(), action, source }
}
