//! One array where it lies: in its file, in an archive, or unpacked into a temporary file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::samples::{Element, SampleInput, SamplesError, count};

use super::header::{self, Header};

/// Unpacked arrays up to this size stay in memory; larger ones go to a temporary file.
const IN_MEMORY: usize = 16 << 20;

/// Most memory for bringing an array from Fortran to C order.
const BLOCK: usize = 64 << 20;

trait Source: Read + Seek + Send {}
impl<T: Read + Seek + Send> Source for T {}

/// An array of which samples can be read one at a time.
pub(super) struct Store {
    pub file: PathBuf,
    pub element: Element,
    pub shape: Vec<usize>,
    start: u64,
    source: Mutex<Box<dyn Source>>,
}

impl Store {
    /// The array of an `.npy` file.
    pub fn open(path: &Path) -> Result<Store, SamplesError> {
        let mut file = File::open(path).map_err(SamplesError::io(path, "open the file"))?;
        let length = file.metadata().map_err(SamplesError::io(path, "open the file"))?.len();
        let header = header::read(&mut file, length, path)?;
        Store::within(path, file, 0, header)
    }

    /// The array whose header begins `offset` bytes into `file`.
    pub fn within(path: &Path, file: File, offset: u64, header: Header) -> Result<Store, SamplesError> {
        let start = offset.saturating_add(header.start);
        Store::new(path, Box::new(file), start, header)
    }

    /// The array whose elements `source` is about to give, its header having been read.
    pub fn unpacked(path: &Path, source: &mut dyn Read, header: Header) -> Result<Store, SamplesError> {
        let mut unpacked = tempfile::spooled_tempfile(IN_MEMORY);
        let mut limited = source.take(header.bytes.saturating_add(1));
        let copied =
            std::io::copy(&mut limited, &mut unpacked).map_err(SamplesError::io(path, "unpack the array"))?;
        if copied != header.bytes {
            return Err(SamplesError::Array {
                file: path.to_owned(),
                problem: format!(
                    "unpacks to {} bytes of elements; expected {}, as its header and the archive say",
                    if copied > header.bytes { "more".to_owned() } else { copied.to_string() },
                    header.bytes
                ),
                hint: "write the file again",
            });
        }
        Store::new(path, Box::new(unpacked), 0, header)
    }

    fn new(
        path: &Path,
        mut source: Box<dyn Source>,
        mut start: u64,
        header: Header,
    ) -> Result<Store, SamplesError> {
        let extents_above_one = header.shape.iter().filter(|&&extent| extent > 1).count();
        if header.fortran && extents_above_one > 1 {
            source = to_c_order(path, source.as_mut(), start, &header, BLOCK)?;
            start = 0;
        }
        let Header { element, shape, .. } = header;
        Ok(Store { file: path.to_owned(), element, shape, start, source: Mutex::new(source) })
    }

    /// How many samples the first axis counts; zero for an array without axes.
    pub fn samples(&self) -> usize {
        self.shape.first().copied().unwrap_or(0)
    }

    /// Appends sample `index` to `output`, converted for `input`. `name` says what the sample is
    /// called.
    pub fn append(
        &self,
        index: usize,
        input: &SampleInput,
        output: &mut Vec<u8>,
        name: impl Fn() -> String,
    ) -> Result<(), SamplesError> {
        let stored = self.read(index, 1)?;
        let elements = stored.chunks_exact(self.element.bytes());
        if self.element == input.element && self.element != Element::Bool {
            output.extend_from_slice(&stored);
        } else if self.element.is_float() && input.element.is_float() {
            for bytes in elements {
                input.element.write_float(self.element.read_float(bytes), output);
            }
        } else {
            let (least, greatest) = input.element.range().unwrap_or((0, 0));
            for (position, bytes) in elements.enumerate() {
                let value = self.element.read_integer(bytes);
                if !(least..=greatest).contains(&value) {
                    return Err(SamplesError::Value {
                        input: input.name.clone(),
                        sample: name(),
                        value: value.to_string(),
                        position,
                        least,
                        greatest,
                    });
                }
                input.element.write_integer(value, output);
            }
        }
        Ok(())
    }

    /// The elements of `samples` samples from `first` on, as they are stored, in C order.
    pub fn read(&self, first: usize, samples: usize) -> Result<Vec<u8>, SamplesError> {
        let sample = count(self.shape.get(1..).unwrap_or_default()).unwrap_or(0) * self.element.bytes();
        let mut bytes = vec![0u8; sample * samples.min(self.samples().saturating_sub(first))];
        let mut source = self.source.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        source
            .seek(SeekFrom::Start(self.start + first as u64 * sample as u64))
            .and_then(|_| source.read_exact(&mut bytes))
            .map_err(SamplesError::io(&self.file, "read the array"))?;
        Ok(bytes)
    }
}

impl std::fmt::Display for Store {
    /// `f32 [100, 3, 32, 32]`.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {:?}", self.element, self.shape)
    }
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {self}", self.file.display())
    }
}

/// Copies an array whose first axis is fastest into a file of its own in which the last one is.
/// Reads the samples that fit into `block` bytes at a time: for these, each element of a sample is
/// one run in the source.
fn to_c_order(
    path: &Path,
    source: &mut dyn Source,
    start: u64,
    header: &Header,
    block: usize,
) -> Result<Box<dyn Source>, SamplesError> {
    let (width, samples) = (header.element.bytes(), header.shape.first().copied().unwrap_or(0));
    let axes = header.shape.get(1..).unwrap_or_default();
    let per_sample = count(axes).unwrap_or(0);
    let at_once = (block / (per_sample * width).max(1)).clamp(1, samples.max(1));
    let mut target = tempfile::spooled_tempfile(IN_MEMORY);
    let failed = |error| SamplesError::io(path, "bring the array from Fortran to C order")(error);
    let mut run = vec![0u8; at_once * width];
    for first in (0..samples).step_by(at_once) {
        let here = at_once.min(samples - first);
        let run = &mut run[..here * width];
        let mut ordered = vec![0u8; here * per_sample * width];
        let mut position = vec![0usize; axes.len()];
        for element in 0..per_sample {
            let offset = (element as u64 * samples as u64 + first as u64) * width as u64;
            source
                .seek(SeekFrom::Start(start + offset))
                .and_then(|_| source.read_exact(run))
                .map_err(failed)?;
            let place = position.iter().zip(axes).fold(0, |place, (at, extent)| place * extent + at);
            let places = ordered.chunks_exact_mut(per_sample * width);
            for (sample, value) in places.zip(run.chunks_exact(width)) {
                sample[place * width..(place + 1) * width].copy_from_slice(value);
            }
            for (at, &extent) in position.iter_mut().zip(axes) {
                *at += 1;
                if *at < extent {
                    break;
                }
                *at = 0;
            }
        }
        target.write_all(&ordered).map_err(failed)?;
    }
    Ok(Box::new(target))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fortran_order_is_turned_in_blocks_of_any_size() {
        // Element [i, j, k] of an array [5, 2, 3] is 100 i + 10 j + k.
        let shape = vec![5, 2, 3];
        let value = |i: usize, j: usize, k: usize| ((100 * i + 10 * j + k) as u16).to_le_bytes();
        let mut fortran = vec![0xAAu8; 7];
        let mut c = Vec::new();
        for k in 0..3 {
            for j in 0..2 {
                (0..5).for_each(|i| fortran.extend(value(i, j, k)));
            }
        }
        for i in 0..5 {
            for j in 0..2 {
                (0..3).for_each(|k| c.extend(value(i, j, k)));
            }
        }
        let header = Header { element: Element::U16, fortran: true, shape, start: 7, bytes: 60 };
        for block in [1, 12, 24, 1000] {
            let mut source = std::io::Cursor::new(fortran.clone());
            let mut turned = to_c_order(Path::new("x"), &mut source, 7, &header, block).unwrap();
            let mut found = Vec::new();
            turned.rewind().unwrap();
            turned.read_to_end(&mut found).unwrap();
            assert_eq!(found, c, "{block}");
        }
    }
}
