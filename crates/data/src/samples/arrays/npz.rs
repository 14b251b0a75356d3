//! `.npz`: a ZIP archive of `.npy` arrays, each under its name.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use zip::{CompressionMethod, ZipArchive};

use crate::samples::SamplesError;

use super::header;
use super::store::Store;

/// Deflate makes at most 1,032 bytes out of one.
const MOST_PER_BYTE: u64 = 1_032;

/// Most arrays that an archive may hold.
const MOST_ARRAYS: usize = 4_096;

/// All arrays of the archive, by name, in its order.
pub(super) fn arrays(path: &Path) -> Result<Vec<(String, Store)>, SamplesError> {
    let refuse = |member: Option<&str>, problem: String| SamplesError::Array {
        file: member.map_or(path.to_owned(), |name| path.join(name)),
        problem,
        hint: "write the file with numpy.savez or numpy.savez_compressed",
    };
    let open = || File::open(path).map_err(SamplesError::io(path, "open the file"));
    let file = open()?;
    let length = file.metadata().map_err(SamplesError::io(path, "open the file"))?.len();
    let mut archive = ZipArchive::new(file)
        .map_err(|error| refuse(None, format!("is not an .npz (ZIP) archive: {error}")))?;
    if archive.len() > MOST_ARRAYS {
        return Err(refuse(None, format!("holds {} files; expected at most {MOST_ARRAYS}", archive.len())));
    }
    let mut arrays: Vec<(String, Store)> = Vec::with_capacity(archive.len());
    for index in 0..archive.len() {
        let mut member = archive
            .by_index(index)
            .map_err(|error| refuse(None, format!("file {index} of the archive: {error}")))?;
        let full_name = member
            .name()
            .map_err(|error| refuse(None, format!("file {index} of the archive: {error}")))?
            .into_owned();
        let Some(name) = full_name.strip_suffix(".npy").map(str::to_owned) else {
            return Err(refuse(Some(&full_name), "is not an .npy array".to_owned()));
        };
        if arrays.iter().any(|(other, _)| *other == name) {
            return Err(refuse(Some(&full_name), "occurs twice in the archive".to_owned()));
        }
        let place = path.join(&full_name);
        let (packed, size) = (member.compressed_size(), member.size());
        let store = match member.compression() {
            CompressionMethod::Stored => {
                let start = member.data_start().filter(|start| {
                    packed == size && start.checked_add(size).is_some_and(|end| end <= length)
                });
                let Some(start) = start else {
                    return Err(refuse(Some(&full_name), "lies beyond the end of the archive".to_owned()));
                };
                drop(member);
                let mut file = open()?;
                file.seek(SeekFrom::Start(start)).map_err(SamplesError::io(path, "read the archive"))?;
                let header = header::read(&mut (&mut file).take(size), size, &place)?;
                Store::within(&place, file, start, header)?
            }
            CompressionMethod::Deflated => {
                if packed > length || size > packed.saturating_mul(MOST_PER_BYTE) {
                    return Err(refuse(
                        Some(&full_name),
                        format!("claims to unpack {packed} bytes to {size}, which deflate cannot"),
                    ));
                }
                let header = header::read(&mut member, size, &place)?;
                Store::unpacked(&place, &mut member, header)?
            }
            other => {
                return Err(refuse(
                    Some(&full_name),
                    format!("is packed by {other}; expected stored or deflated"),
                ));
            }
        };
        arrays.push((name, store));
    }
    Ok(arrays)
}
