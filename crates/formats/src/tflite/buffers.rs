//! Bytes of constants and metadata, inside the flatbuffer or after it.

use bytes::Bytes;
use calipers_ir::{DType, Tensor};

use super::schema::{Buffer, Model};

/// A file whose tables are verified.
pub(super) struct File<'a> {
    pub bytes: &'a Bytes,
    pub model: Model<'a>,
}

impl<'a> File<'a> {
    /// The bytes of a buffer; `None` when it holds none. They are shared, not copied.
    pub fn buffer(&self, index: u32) -> Result<Option<Bytes>, String> {
        let buffers = self.model.buffers();
        let count = buffers.map_or(0, |buffers| buffers.len());
        let buffer = buffers.filter(|_| (index as usize) < count).map(|buffers| buffers.get(index as usize));
        match buffer {
            Some(buffer) => self.bytes_of(&buffer),
            // The first buffer is empty by convention, and left out by some writers.
            None if index == 0 => Ok(None),
            None => Err(format!("its data are in buffer {index}; the file has {count}")),
        }
    }

    fn bytes_of(&self, buffer: &Buffer<'a>) -> Result<Option<Bytes>, String> {
        if let Some(data) = buffer.data().map(|data| data.bytes()).filter(|data| !data.is_empty()) {
            return Ok(Some(self.bytes.slice_ref(data)));
        }
        outside(self.bytes, buffer.offset(), buffer.size())
    }
}

/// Bytes that stand after the flatbuffer, by their place in the file. Places below 2 mean that there are none.
pub(super) fn outside(bytes: &Bytes, offset: u64, size: u64) -> Result<Option<Bytes>, String> {
    if offset < 2 {
        return Ok(None);
    }
    let range = usize::try_from(offset).ok().zip(usize::try_from(size).ok());
    match range.and_then(|(begin, size)| Some(begin..begin.checked_add(size)?)) {
        Some(range) if range.end <= bytes.len() => Ok(Some(bytes.slice(range))),
        _ => Err(format!("{size} bytes from byte {offset} were expected, the file has {}", bytes.len())),
    }
}

/// A constant of that type and shape, of which the bytes must be neither too few nor too many.
pub(super) fn constant(dtype: DType, shape: &[usize], bytes: Bytes) -> Result<Tensor, String> {
    let tensor = match dtype {
        DType::String => Tensor::from_strings(shape, strings(&bytes)?),
        _ => Tensor::new(dtype, shape, bytes),
    };
    tensor.map_err(|error| error.to_string())
}

/// Strings as a buffer holds them: their count, the place of each and of the end of the last, then their bytes. All
/// numbers are little-endian and of 32 bits.
fn strings(bytes: &[u8]) -> Result<Vec<Vec<u8>>, String> {
    let number = |index: usize| {
        let begin = index.checked_mul(4)?;
        let found = bytes.get(begin..)?.first_chunk::<4>()?;
        usize::try_from(i32::from_le_bytes(*found)).ok()
    };
    let count = number(0).ok_or("its buffer has no count of strings")?;
    if count > bytes.len() / 4 {
        return Err(format!("{count} strings were expected, its buffer has {} bytes", bytes.len()));
    }
    (1..=count)
        .map(|index| {
            let range = number(index).zip(number(index + 1));
            range.and_then(|(begin, end)| bytes.get(begin..end)).map(<[u8]>::to_vec)
        })
        .collect::<Option<_>>()
        .ok_or_else(|| String::from("a string ends outside its buffer"))
}

#[cfg(test)]
mod tests {
    use super::{outside, strings};
    use bytes::Bytes;

    #[test]
    fn strings_are_found_by_their_places() {
        let bytes = [2, 0, 0, 0, 16, 0, 0, 0, 17, 0, 0, 0, 19, 0, 0, 0, b'a', b'b', b'c'];
        assert_eq!(strings(&bytes), Ok(vec![b"a".to_vec(), b"bc".to_vec()]));
        assert!(strings(&bytes[..18]).is_err());
        assert!(strings(&[255, 255, 255, 127]).is_err());
        assert!(strings(&[]).is_err());
    }

    #[test]
    fn places_are_checked() {
        let bytes = Bytes::from_static(b"0123456789");
        assert_eq!(outside(&bytes, 4, 2), Ok(Some(Bytes::from_static(b"45"))));
        assert_eq!(outside(&bytes, 1, 2), Ok(None));
        assert!(outside(&bytes, 4, 7).is_err());
        assert!(outside(&bytes, u64::MAX, u64::MAX).is_err());
    }
}
