//! Data files as tensors for the inputs of a model.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::{Bytes, BytesMut};
use calipers_ir::Tensor;
use calipers_workers::protocol::{Failure, Stage};
use safetensors::{Dtype, SafeTensors};

use crate::weights::storage_type;

/// What stands before the name of an input in a file that names its inputs.
const INPUT: &str = "input/";

/// The inputs of one inference, by name.
pub(super) type Feed = Vec<(String, Tensor)>;

/// The samples of a data file, in its order.
pub(super) struct DataFile {
    path: PathBuf,
    samples: usize,
    content: Content,
}

enum Content {
    /// Pixels `[N, C, H, W]`, and the 256 values of each channel that they stand for.
    Images { shape: [usize; 3], pixels: Vec<u8>, table: Vec<f32> },
    /// Whole inputs `[N, ...]`.
    Named(BTreeMap<String, Tensor>),
}

impl DataFile {
    /// Reads a file of either form.
    ///
    /// # Errors
    /// A file that is neither, or holds no samples.
    pub fn read(path: &Path) -> Result<DataFile, Failure> {
        let wrong = |what: String| bad_data(path, &what);
        let bytes = fs::read(path).map_err(|error| wrong(error.to_string()))?;
        let file = SafeTensors::deserialize(&bytes).map_err(|error| wrong(error.to_string()))?;
        let mut named = BTreeMap::new();
        for (name, view) in file.iter() {
            let Some(input) = name.strip_prefix(INPUT) else { continue };
            let dtype = storage_type(view.dtype())
                .ok_or_else(|| wrong(format!("input `{input}` is of type {:?}", view.dtype())))?;
            let tensor = Tensor::new(dtype, view.shape(), Bytes::copy_from_slice(view.data()));
            named.insert(input.to_owned(), tensor.map_err(|error| wrong(error.to_string()))?);
        }
        let (samples, content) = if named.is_empty() { images(&file, path)? } else { inputs(named, path)? };
        if samples == 0 {
            return Err(wrong(String::from("holds no samples")));
        }
        Ok(DataFile { path: path.to_owned(), samples, content })
    }

    /// How many samples there are.
    pub fn samples(&self) -> usize {
        self.samples
    }

    /// That there are at least so many samples.
    ///
    /// # Errors
    /// When there are fewer.
    pub fn require(&self, samples: usize) -> Result<(), Failure> {
        if samples <= self.samples {
            return Ok(());
        }
        Err(bad_data(&self.path, &format!("{samples} samples asked for, {} found", self.samples)))
    }

    /// The inputs `names` for a range of samples.
    ///
    /// # Errors
    /// An input that the file does not have, or images for several inputs.
    pub fn feed(&self, samples: Range<usize>, names: &[String]) -> Result<Feed, Failure> {
        match (&self.content, names) {
            (Content::Images { .. }, [name]) => Ok(vec![(name.clone(), self.floats(samples)?)]),
            (Content::Images { .. }, names) => Err(bad_data(
                &self.path,
                &format!("holds images alone, and the model has the inputs {names:?}"),
            )),
            (Content::Named(tensors), names) => names
                .iter()
                .map(|name| {
                    let tensor = tensors.get(name).ok_or_else(|| {
                        let found: Vec<&String> = tensors.keys().collect();
                        bad_data(&self.path, &format!("lacks input `{name}`, found {found:?}"))
                    })?;
                    Ok((name.clone(), self.rows(tensor, samples.clone())?))
                })
                .collect(),
        }
    }

    /// The inputs `names` for `batch` samples from `index` on, taken in turn from the first `samples`.
    ///
    /// # Errors
    /// As [`DataFile::feed`].
    pub fn window(
        &self,
        index: usize,
        samples: usize,
        batch: usize,
        names: &[String],
    ) -> Result<Feed, Failure> {
        let parts = (index..index + batch).map(|at| self.feed(at % samples..at % samples + 1, names));
        let parts = parts.collect::<Result<Vec<Feed>, Failure>>()?;
        let join = |input: usize, name: &String| {
            let first = &parts[0][input].1;
            let mut bytes = BytesMut::with_capacity(first.bytes().len() * batch);
            for part in &parts {
                bytes.extend_from_slice(&part[input].1.bytes());
            }
            let mut shape = first.shape().to_vec();
            shape[0] = batch;
            let tensor = Tensor::new(first.dtype(), shape, bytes.freeze());
            Ok((name.clone(), tensor.map_err(|error| bad_data(&self.path, &error.to_string()))?))
        };
        names.iter().enumerate().map(|(input, name)| join(input, name)).collect()
    }

    fn rows(&self, tensor: &Tensor, samples: Range<usize>) -> Result<Tensor, Failure> {
        let bytes = tensor.bytes();
        let row = bytes.len() / self.samples;
        let mut shape = tensor.shape().to_vec();
        shape[0] = samples.len();
        Tensor::new(tensor.dtype(), shape, bytes.slice(samples.start * row..samples.end * row))
            .map_err(|error| bad_data(&self.path, &error.to_string()))
    }

    /// Images as f32 `[n, C, H, W]`.
    fn floats(&self, samples: Range<usize>) -> Result<Tensor, Failure> {
        let Content::Images { shape: [channels, height, width], pixels, table } = &self.content else {
            return Err(bad_data(&self.path, "holds no images"));
        };
        let (plane, image) = (height * width, channels * height * width);
        let floats: Vec<f32> = pixels[samples.start * image..samples.end * image]
            .chunks_exact(plane.max(1))
            .enumerate()
            .flat_map(|(index, plane)| {
                let table = &table[index % channels * 256..][..256];
                plane.iter().map(|&pixel| table[usize::from(pixel)])
            })
            .collect();
        Tensor::from_vec([samples.len(), *channels, *height, *width], floats)
            .map_err(|error| bad_data(&self.path, &error.to_string()))
    }
}

fn images(file: &SafeTensors<'_>, path: &Path) -> Result<(usize, Content), Failure> {
    let tensor = |name: &str, dtype: Dtype| match file.tensor(name) {
        Ok(view) if view.dtype() == dtype => Ok(view),
        Ok(view) => Err(bad_data(path, &format!("`{name}` is {:?}, expected {dtype:?}", view.dtype()))),
        Err(error) => Err(bad_data(path, &error.to_string())),
    };
    let (images, table) = (tensor("images", Dtype::U8)?, tensor("table", Dtype::F32)?);
    let &[samples, channels, height, width] = images.shape() else {
        return Err(bad_data(path, "`images` is not of rank 4"));
    };
    if table.shape() != [channels, 256] {
        return Err(bad_data(path, "`table` does not have 256 values for each channel"));
    }
    let table = table.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    let content = Content::Images { shape: [channels, height, width], pixels: images.data().to_vec(), table };
    Ok((samples, content))
}

fn inputs(named: BTreeMap<String, Tensor>, path: &Path) -> Result<(usize, Content), Failure> {
    let mut counts: Vec<Option<usize>> =
        named.values().map(|tensor| tensor.shape().first().copied()).collect();
    counts.dedup();
    match counts[..] {
        [Some(samples)] => Ok((samples, Content::Named(named))),
        _ => Err(bad_data(path, &format!("inputs differ in their number of samples: {counts:?}"))),
    }
}

fn bad_data(path: &Path, what: &str) -> Failure {
    Failure::new(Stage::Load, "BadData", format!("{}: {what}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use safetensors::Dtype;
    use safetensors::tensor::TensorView;

    use super::DataFile;

    fn write(path: &Path, tensors: &[(&str, Dtype, &[usize], &[u8])]) {
        let views = tensors.iter().map(|&(name, dtype, shape, bytes)| {
            (name, TensorView::new(dtype, shape.to_vec(), bytes).unwrap())
        });
        std::fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn pixels_become_what_the_table_says_and_windows_wrap_around() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        // Two channels of 1 x 1; channel 0 halves, channel 1 negates.
        let table: Vec<u8> = (0..512)
            .map(|index| if index < 256 { index as f32 / 2.0 } else { 256.0 - index as f32 })
            .flat_map(f32::to_le_bytes)
            .collect();
        let pixels = [10, 1, 20, 2, 30, 3];
        write(
            &path,
            &[("images", Dtype::U8, &[3, 2, 1, 1], &pixels), ("table", Dtype::F32, &[2, 256], &table)],
        );
        let data = DataFile::read(&path).unwrap();
        let feed = data.feed(1..3, &names(&["x"])).unwrap();
        assert_eq!(feed[0].1.as_f32().unwrap().as_ref(), [10.0, -2.0, 15.0, -3.0]);
        let window = data.window(1, 2, 3, &names(&["x"])).unwrap();
        assert_eq!(window[0].1.shape(), [3, 2, 1, 1]);
        assert_eq!(window[0].1.as_f32().unwrap().as_ref(), [10.0, -2.0, 5.0, -1.0, 10.0, -2.0]);
        assert!(data.feed(0..1, &names(&["x", "y"])).unwrap_err().message.contains("images alone"));
        assert!(data.require(4).unwrap_err().message.contains("4 samples asked for, 3 found"));
    }

    #[test]
    fn inputs_by_name_keep_their_type() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data");
        let tokens: Vec<u8> = [1i64, 2, 3, 4].into_iter().flat_map(i64::to_le_bytes).collect();
        let mask = [1, 0];
        let inputs: [(&str, Dtype, &[usize], &[u8]); 2] =
            [("input/tokens", Dtype::I64, &[2, 2], &tokens), ("input/mask", Dtype::BOOL, &[2], &mask)];
        write(&path, &inputs);
        let data = DataFile::read(&path).unwrap();
        let feed = data.feed(1..2, &names(&["mask", "tokens"])).unwrap();
        assert_eq!((feed[0].0.as_str(), &feed[0].1.bytes()[..]), ("mask", &[0][..]));
        assert_eq!(feed[1].1.elements::<i64>().unwrap().as_ref(), [3, 4]);
        assert!(data.feed(0..1, &names(&["other"])).unwrap_err().message.contains("lacks input `other`"));

        write(&path, &[inputs[0], ("input/mask", Dtype::BOOL, &[1], &mask[..1])]);
        let message = DataFile::read(&path).err().unwrap().message;
        assert!(message.contains("differ in their number of samples"), "{message}");
    }
}
