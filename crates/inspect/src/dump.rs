//! Weights and activations of a model as `.npy` files.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use calipers_ir::{DType, Tensor};
use calipers_runtime::Recorder;

use crate::outputs::{real, run};
use crate::{InspectError, OpenedModel, bare_name};

/// What is dumped of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Numbers {
    /// The numbers as they are stored.
    Stored,
    /// The real numbers that they stand for.
    Dequantized,
}

/// A tensor of the model by the name of a value: a constant, or an activation for the `inputs` of one run.
///
/// # Errors
/// A name that the model does not have, with those that are like it; an activation without inputs; a model that does not
/// run; integers whose parameters are not known and that should be dequantized.
pub fn tensor(
    opened: &OpenedModel,
    name: &str,
    inputs: Option<&[(String, Tensor)]>,
    what: Numbers,
    threads: usize,
) -> Result<Tensor, InspectError> {
    let graph = opened.graph();
    let id = graph.value_named(name).ok_or_else(|| {
        let hint = match alike(opened, name).as_slice() {
            [] => String::from("`calipers inspect MODEL --json` lists all names"),
            names => format!("there are {}", names.join(", ")),
        };
        opened.request(format!("the model has no value `{name}`"), hint)
    })?;
    let found = match (graph.constant(id), inputs) {
        (Some(constant), _) => constant.clone(),
        (None, None) => {
            return Err(opened.request(
                format!("`{name}` is an activation, which there is only when the model runs"),
                "give --data PATH to run it on the first samples",
            ));
        }
        (None, Some(inputs)) if graph.inputs().contains(&id) => {
            let given = inputs.iter().find(|(input, _)| input == name);
            let given = given.map(|(_, tensor)| tensor.clone());
            given
                .ok_or_else(|| opened.request(format!("the data do not fill `{name}`"), "give other data"))?
        }
        (None, Some(inputs)) => {
            // The graph as the file has it, so that no value is fused away.
            let mut session = opened.session_of(graph.clone(), threads)?;
            let mut recorder = Recorder::new([name]);
            run(opened, &mut session, inputs, &mut recorder)?;
            recorder.values.remove(name).ok_or_else(|| {
                opened.request(format!("`{name}` was not computed"), "choose a value that the outputs need")
            })?
        }
    };
    if what == Numbers::Stored || found.dtype() == DType::F32 {
        return Ok(found);
    }
    let params = graph.quant_params(id);
    if params.is_none() && found.dtype().integer_range().is_some() {
        return Err(opened.request(
            format!("`{name}` holds integers whose scale is not known"),
            "leave --dequantized out",
        ));
    }
    let numbers = real(&found, params.as_ref()).and_then(|real| Tensor::from_vec(found.shape(), real).ok());
    numbers.ok_or_else(|| {
        opened.request(
            format!("`{name}` is {}, which is not dequantized by itself", found.tensor_type()),
            "dump the value behind its DequantizeLinear node",
        )
    })
}

/// Up to five names that contain the one asked for, or differ from it by what quantization adds.
fn alike(opened: &OpenedModel, name: &str) -> Vec<String> {
    let wanted = bare_name(name).to_lowercase();
    let is_like = |other: &str| !wanted.is_empty() && other.to_lowercase().contains(&wanted);
    let names = opened.graph().values().iter().map(|value| value.name.as_str());
    names.filter(|other| is_like(other)).take(5).map(|other| format!("`{other}`")).collect()
}

/// Writes a tensor as a `.npy` file of version 1.0, in C order, under a temporary name that is then renamed. Elements
/// narrower than a byte, and bf16, are widened.
///
/// # Errors
/// A type that numpy does not have; a file that cannot be written.
pub fn write_npy(path: &Path, tensor: &Tensor) -> Result<(), InspectError> {
    let (kind, bytes) = npy(tensor).ok_or_else(|| InspectError::Request {
        path: path.to_owned(),
        problem: format!("{} is a type that .npy files do not have", tensor.dtype()),
        hint: String::from("give --dequantized"),
    })?;
    let shape: Vec<String> = tensor.shape().iter().map(usize::to_string).collect();
    let shape = match shape.as_slice() {
        [only] => format!("({only},)"),
        shape => format!("({})", shape.join(", ")),
    };
    let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}");
    // Data begin at a multiple of 64, and the header ends in a new line.
    let used = 10 + header.len() + 1;
    header.push_str(&" ".repeat(used.next_multiple_of(64) - used));
    header.push('\n');
    let length = u16::try_from(header.len()).unwrap_or(u16::MAX);
    let io = |source| InspectError::Io { path: path.to_owned(), source };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // Made as any other file is: a temporary file of the library's own could be read by its owner alone.
    let mut file = tempfile::Builder::new().make_in(folder, |path| File::create_new(path)).map_err(io)?;
    let parts: [&[u8]; 4] = [b"\x93NUMPY\x01\x00", &length.to_le_bytes(), header.as_bytes(), &bytes];
    parts.iter().try_for_each(|part| file.write_all(part)).map_err(io)?;
    file.persist(path).map_err(|error| io(error.error))?;
    Ok(())
}

/// numpy's name of a type, and the bytes of that type.
fn npy(tensor: &Tensor) -> Option<(&'static str, Vec<u8>)> {
    let kind = match tensor.dtype() {
        DType::Bool => "|b1",
        DType::I8 => "|i1",
        DType::U8 => "|u1",
        DType::I16 => "<i2",
        DType::U16 => "<u2",
        DType::I32 => "<i4",
        DType::U32 => "<u4",
        DType::I64 => "<i8",
        DType::U64 => "<u8",
        DType::F16 => "<f2",
        DType::F32 => "<f4",
        DType::F64 => "<f8",
        DType::Complex64 => "<c8",
        DType::Complex128 => "<c16",
        DType::I2 | DType::I4 | DType::U2 | DType::U4 => {
            let wide = crate::numbers(tensor)?;
            let signed = matches!(tensor.dtype(), DType::I2 | DType::I4);
            // A narrow integer fits i8 and u8 alike, by its two's complement.
            let bytes = wide.iter().map(|&number| number as i8 as u8).collect();
            return Some((if signed { "|i1" } else { "|u1" }, bytes));
        }
        DType::F4E2M1
        | DType::F8E4M3Fn
        | DType::F8E4M3FnUz
        | DType::F8E5M2
        | DType::F8E5M2FnUz
        | DType::F8E8M0
        | DType::BF16 => {
            let wide = crate::numbers(tensor)?;
            return Some(("<f4", wide.iter().flat_map(|number| number.to_le_bytes()).collect()));
        }
        DType::String => return None,
    };
    Some((kind, tensor.bytes().to_vec()))
}

/// Writes a text under a temporary name that is then renamed.
///
/// # Errors
/// A file that cannot be written.
pub fn write_text(path: &Path, text: &str) -> Result<(), InspectError> {
    let io = |source| InspectError::Io { path: path.to_owned(), source };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut file = tempfile::Builder::new().make_in(folder, |path| File::create_new(path)).map_err(io)?;
    file.write_all(text.as_bytes()).map_err(io)?;
    file.persist(path).map_err(|error| io(error.error))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use calipers_ir::{DType, Tensor};

    use super::{npy, write_npy};

    // The bytes of numpy.save("x.npy", numpy.array([[1, -2]], dtype="i1")).
    #[test]
    fn the_file_is_that_of_numpy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.npy");
        write_npy(&path, &Tensor::from_vec([1, 2], vec![1i8, -2]).unwrap()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(&bytes[..10], b"\x93NUMPY\x01\x00\x76\x00");
        assert!(bytes[10..].starts_with(b"{'descr': '|i1', 'fortran_order': False, 'shape': (1, 2), } "));
        assert_eq!(&bytes[127..], b"\n\x01\xfe");
    }

    #[test]
    fn narrow_integers_are_widened() {
        let four = Tensor::new(DType::I4, [3], Bytes::from_static(&[0xf8, 0x07])).unwrap();
        assert_eq!(npy(&four), Some(("|i1", vec![0xf8, 0xff, 0x07])));
    }
}
