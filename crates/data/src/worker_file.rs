//! The file in which samples reach a worker.

use std::collections::HashMap;
use std::path::Path;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensorError};

use crate::{DataError, EpochData, Normalization};

/// Writes `data` as a safetensors file of `images` u8 `[N, C, H, W]`, `labels` i64 `[N]` and
/// `table` f32 `[C, 256]`: the value that pixel `p` of channel `c` stands for is `table[c][p]`.
///
/// The file appears under its name only when it is whole. The pixels are written from where they
/// are, without a copy of them in memory.
///
/// # Errors
///
/// [`DataError::Io`] when the file cannot be written, [`DataError::Setting`] when `normalization`
/// is for another number of channels.
pub fn write_worker_file(
    path: &Path,
    data: &EpochData,
    normalization: &Normalization,
) -> Result<(), DataError> {
    let shape = data.shape;
    if normalization.channels() != shape.channels {
        return Err(DataError::Setting {
            name: path.display().to_string(),
            what: "the number of channels of the normalization",
            found: normalization.channels().to_string(),
            expected: format!("{}, as in the images", shape.channels),
        });
    }
    let labels: Vec<u8> = data.labels.iter().flat_map(|v| v.to_le_bytes()).collect();
    let table: Vec<u8> = normalization.table().iter().flat_map(|v| v.to_le_bytes()).collect();
    let images_shape = vec![data.len(), shape.channels, shape.height, shape.width];
    let view =
        |dtype, shape, bytes| TensorView::new(dtype, shape, bytes).map_err(|error| refused(path, error));
    let tensors = [
        ("images", view(Dtype::U8, images_shape, &data.images)?),
        ("labels", view(Dtype::I64, vec![data.len()], &labels)?),
        ("table", view(Dtype::F32, vec![shape.channels, 256], &table)?),
    ];

    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let partial = tempfile::Builder::new()
        .prefix(".partial-")
        .tempfile_in(folder)
        .map_err(|error| failed(folder, "make a file in the folder", error))?;
    let metadata: Option<HashMap<String, String>> = None;
    safetensors::serialize_to_file(tensors, metadata, partial.path())
        .map_err(|error| refused(path, error))?;
    partial.persist(path).map_err(|error| failed(path, "put the finished file in its place", error.error))?;
    Ok(())
}

fn refused(path: &Path, error: SafeTensorError) -> DataError {
    let source = match error {
        SafeTensorError::IoError(error) => error,
        other => std::io::Error::other(other),
    };
    failed(path, "write the file", source)
}

fn failed(path: &Path, action: &'static str, source: std::io::Error) -> DataError {
    DataError::Io { path: path.to_owned(), action, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ImageShape;

    fn three_samples() -> EpochData {
        EpochData {
            shape: ImageShape { channels: 1, height: 2, width: 2 },
            images: (0..12).collect(),
            labels: vec![2, 0, 1],
        }
    }

    #[test]
    fn the_file_holds_the_tensors_under_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("epoch.safetensors");
        std::fs::write(&path, "what was there before").unwrap();
        let normalization = Normalization::new(&[0.5], &[0.25]).unwrap();
        write_worker_file(&path, &three_samples(), &normalization).unwrap();

        let bytes = std::fs::read(&path).unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let images = file.tensor("images").unwrap();
        assert_eq!((images.dtype(), images.shape()), (Dtype::U8, &[3, 1, 2, 2][..]));
        assert_eq!(images.data(), (0..12).collect::<Vec<u8>>());
        let labels = file.tensor("labels").unwrap();
        assert_eq!((labels.dtype(), labels.shape()), (Dtype::I64, &[3][..]));
        let first_bytes: Vec<u8> = labels.data().iter().copied().step_by(8).collect();
        assert_eq!(first_bytes, [2, 0, 1]);
        let table = file.tensor("table").unwrap();
        assert_eq!((table.dtype(), table.shape()), (Dtype::F32, &[1, 256][..]));
        assert_eq!(table.data()[..4], (-2.0f32).to_le_bytes());
        assert_eq!(table.data()[1020..], 2.0f32.to_le_bytes());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("absent/epoch.safetensors");
        let normalization = Normalization::new(&[0.5], &[0.25]).unwrap();
        let error = write_worker_file(&path, &three_samples(), &normalization).unwrap_err();
        assert!(error.to_string().contains("absent"), "{error}");
    }

    #[test]
    fn a_normalization_of_other_channels_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("epoch.safetensors");
        let normalization = Normalization::new(&[0.5, 0.5], &[1.0, 1.0]).unwrap();
        assert!(write_worker_file(&path, &three_samples(), &normalization).is_err());
        assert!(!path.exists());
    }
}
