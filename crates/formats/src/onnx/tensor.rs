//! Constants: every way in which a file can store them, and the one in which they are written.

use std::collections::HashMap;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use calipers_ir::{DType, Tensor};

use super::ReadError;
use super::messages::{DataLocation, TensorProto};
use super::types::{code_of, dtype_of};
use crate::file;

/// Reads tensors, and maps the files that hold their data beside the model.
#[derive(Default)]
pub(super) struct TensorReader {
    /// Folder of the model file; `None` when the model did not come from a file.
    folder: Option<PathBuf>,
    maps: HashMap<PathBuf, Bytes>,
}

impl TensorReader {
    /// A reader of a model file in that folder.
    pub fn beside(folder: PathBuf) -> Self {
        TensorReader { folder: Some(folder), maps: HashMap::new() }
    }

    /// A tensor as the file stores it, or what is wrong with it. Raw data are shared, not copied.
    pub fn read(&mut self, proto: TensorProto) -> Result<Tensor, ReadError> {
        let name = proto.name.clone();
        self.decode(proto).map_err(|reason| ReadError::Tensor { tensor: name, reason })
    }

    /// The same, where the place is known from around it.
    pub fn decode(&mut self, proto: TensorProto) -> Result<Tensor, String> {
        let dtype = dtype_of(proto.data_type.into())?;
        let shape = extents(&proto.dims)?;
        if proto.segment.is_some() {
            return Err(String::from(
                "it is stored in segments, which is not supported; save the model again",
            ));
        }
        if proto.data_location == DataLocation::External as i32 {
            let bytes = self.external(dtype, &shape, &proto)?;
            return Tensor::new(dtype, shape, bytes).map_err(|error| error.to_string());
        }
        let lists = [
            ("float_data", proto.float_data.len()),
            ("int32_data", proto.int32_data.len()),
            ("string_data", proto.string_data.len()),
            ("int64_data", proto.int64_data.len()),
            ("raw_data", proto.raw_data.len()),
            ("double_data", proto.double_data.len()),
            ("uint64_data", proto.uint64_data.len()),
        ];
        let filled: Vec<&str> = lists.iter().filter(|(_, len)| *len > 0).map(|(name, _)| *name).collect();
        let expected = list_of(dtype);
        match filled.as_slice() {
            [] => {}
            [only] if *only == expected || (*only == "raw_data" && dtype != DType::String) => {}
            [only] => {
                return Err(format!(
                    "its data are in `{only}`; {dtype} belongs in `raw_data` or `{expected}`"
                ));
            }
            many => return Err(format!("its data are given more than once, in {}", many.join(" and "))),
        }
        if dtype == DType::String {
            return Tensor::from_strings(shape, proto.string_data).map_err(|error| error.to_string());
        }
        let bytes = if filled.is_empty() || filled == ["raw_data"] {
            proto.raw_data
        } else {
            from_list(dtype, &proto)?
        };
        Tensor::new(dtype, shape, bytes).map_err(|error| error.to_string())
    }

    /// Data in a file beside the model. Only files in the model's folder, or below it, are opened.
    fn external(&mut self, dtype: DType, shape: &[usize], proto: &TensorProto) -> Result<Bytes, String> {
        let entry = |key: &str| {
            let entry = proto.external_data.iter().find(|entry| entry.key == key);
            entry.map(|entry| entry.value.as_str())
        };
        let number = |key: &str| {
            let parse = |text: &str| {
                text.parse::<usize>().map_err(|_| format!("external data: `{key}` is `{text}`, not a number"))
            };
            entry(key).map(parse).transpose()
        };
        let location = entry("location").ok_or("external data: no `location` is given")?;
        let offset = number("offset")?.unwrap_or(0);
        let elements = shape.iter().try_fold(1usize, |count, &extent| count.checked_mul(extent));
        let expected = elements
            .and_then(|count| dtype.packed_bytes(count))
            .ok_or_else(|| format!("external data: a tensor of type {dtype} has no byte size"))?;
        let length = number("length")?.unwrap_or(expected);
        let Some(folder) = &self.folder else {
            return Err(format!("its data are in the file `{location}`; read the model from its file"));
        };
        let path = beside(folder, location)?;
        if !self.maps.contains_key(&path) {
            let bytes =
                file::map(&path).map_err(|error| format!("external data in `{location}`: {error}"))?;
            self.maps.insert(path.clone(), bytes);
        }
        let bytes = &self.maps[&path];
        match offset.checked_add(length) {
            Some(end) if end <= bytes.len() => Ok(bytes.slice(offset..end)),
            _ => Err(format!(
                "external data: {length} bytes from byte {offset} of `{location}` were expected, the file has {}",
                bytes.len()
            )),
        }
    }
}

/// The file of that name in the model's folder or below it; names that lead elsewhere are refused, links included.
fn beside(folder: &Path, location: &str) -> Result<PathBuf, String> {
    let relative = Path::new(location);
    let refuse = || format!("external data in `{location}`: only files in the model's folder are read");
    let plain = relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if !plain || location.is_empty() || location.contains(['\\', '\0']) {
        return Err(refuse());
    }
    let real =
        |path: &Path| path.canonicalize().map_err(|error| format!("external data in `{location}`: {error}"));
    let (folder, path) = (real(folder)?, real(&folder.join(relative))?);
    if path.starts_with(&folder) { Ok(path) } else { Err(refuse()) }
}

fn extents(dims: &[i64]) -> Result<Vec<usize>, String> {
    dims.iter()
        .map(|&extent| {
            usize::try_from(extent).map_err(|_| format!("extent {extent} in {dims:?} is negative"))
        })
        .collect()
}

/// The list that holds elements of a type when they are not raw.
fn list_of(dtype: DType) -> &'static str {
    match dtype {
        DType::F32 | DType::Complex64 => "float_data",
        DType::F64 | DType::Complex128 => "double_data",
        DType::I64 => "int64_data",
        DType::U32 | DType::U64 => "uint64_data",
        DType::String => "string_data",
        DType::Bool
        | DType::I2
        | DType::I4
        | DType::I8
        | DType::I16
        | DType::I32
        | DType::U2
        | DType::U4
        | DType::U8
        | DType::U16
        | DType::F4E2M1
        | DType::F8E4M3Fn
        | DType::F8E4M3FnUz
        | DType::F8E5M2
        | DType::F8E5M2FnUz
        | DType::F8E8M0
        | DType::F16
        | DType::BF16 => "int32_data",
    }
}

/// The packed bytes of elements that stand in the list for their type. Floats of up to 16 bits stand there as their
/// bits, elements narrower than a byte as packed bytes.
fn from_list(dtype: DType, proto: &TensorProto) -> Result<Bytes, String> {
    fn little_endian<T: Copy, const N: usize>(list: &[T], bytes: impl Fn(T) -> [u8; N]) -> Vec<u8> {
        list.iter().flat_map(|&element| bytes(element)).collect()
    }
    let narrow = |smallest: i32, largest: i32| match proto
        .int32_data
        .iter()
        .find(|element| !(smallest..=largest).contains(element))
    {
        Some(element) => Err(format!("`int32_data` holds {element}; {dtype} takes {smallest} to {largest}")),
        None => Ok(proto.int32_data.as_slice()),
    };
    let bytes = match dtype {
        DType::F32 | DType::Complex64 => little_endian(&proto.float_data, f32::to_le_bytes),
        DType::F64 | DType::Complex128 => little_endian(&proto.double_data, f64::to_le_bytes),
        DType::I64 => little_endian(&proto.int64_data, i64::to_le_bytes),
        DType::U64 => little_endian(&proto.uint64_data, u64::to_le_bytes),
        DType::U32 => {
            let narrow: Result<Vec<u32>, _> = proto.uint64_data.iter().map(|&e| u32::try_from(e)).collect();
            little_endian(&narrow.map_err(|_| "`uint64_data` holds a number above u32")?, u32::to_le_bytes)
        }
        DType::I32 => little_endian(&proto.int32_data, i32::to_le_bytes),
        DType::I16 => little_endian(narrow(-32768, 32767)?, |element| (element as i16).to_le_bytes()),
        DType::U16 | DType::F16 | DType::BF16 => {
            little_endian(narrow(0, 65535)?, |element| (element as u16).to_le_bytes())
        }
        DType::I8 => little_endian(narrow(-128, 127)?, |element| [element as u8]),
        DType::Bool => little_endian(narrow(0, 1)?, |element| [element as u8]),
        DType::U8
        | DType::F8E4M3Fn
        | DType::F8E4M3FnUz
        | DType::F8E5M2
        | DType::F8E5M2FnUz
        | DType::F8E8M0 => little_endian(narrow(0, 255)?, |element| [element as u8]),
        // Two or four elements to a number, which some writers store with a sign.
        DType::I2 | DType::U2 | DType::I4 | DType::U4 | DType::F4E2M1 => {
            little_endian(narrow(-128, 255)?, |element| [element as u8])
        }
        DType::String => return Err(String::from("strings have no packed bytes")),
    };
    Ok(Bytes::from(bytes))
}

/// A tensor as raw data, or as strings.
pub(super) fn to_proto(name: &str, tensor: &Tensor) -> TensorProto {
    TensorProto {
        name: name.to_owned(),
        data_type: code_of(tensor.dtype()),
        dims: tensor.shape().iter().map(|&extent| extent as i64).collect(),
        raw_data: tensor.bytes(),
        string_data: tensor.strings().map(<[_]>::to_vec).unwrap_or_default(),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests;
