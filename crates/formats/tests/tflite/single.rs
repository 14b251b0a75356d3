//! Models of one operator, computed by the reference as they are read, against LiteRT's reference kernels.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use calipers_formats::tflite;
use calipers_ir::{DType, Op, Tensor};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize_to_file};
use serde_json::{Value, json};

use crate::evaluate;

/// A tensor of a case.
#[derive(Clone)]
pub struct Argument {
    description: Value,
    bytes: Option<Vec<u8>>,
}

/// The element types of cases, as LiteRT, safetensors and the representation call them.
pub const TYPES: [(&str, Dtype, DType); 9] = [
    ("FLOAT32", Dtype::F32, DType::F32),
    ("FLOAT16", Dtype::F16, DType::F16),
    ("INT8", Dtype::I8, DType::I8),
    ("UINT8", Dtype::U8, DType::U8),
    ("INT16", Dtype::I16, DType::I16),
    ("INT32", Dtype::I32, DType::I32),
    ("INT64", Dtype::I64, DType::I64),
    ("UINT32", Dtype::U32, DType::U32),
    ("BOOL", Dtype::BOOL, DType::Bool),
];

impl Argument {
    fn new(kind: &str, shape: &[usize], bytes: Option<Vec<u8>>) -> Self {
        Argument { description: json!({"type": kind, "shape": shape}), bytes }
    }

    /// Part of the model instead of given to it.
    pub fn constant(mut self) -> Self {
        self.description["constant"] = true.into();
        self
    }

    /// With one scale and zero point.
    pub fn quantized(mut self, scale: f32, zero_point: i64) -> Self {
        self.description["scale"] = json!([f64::from(scale)]);
        self.description["zero_point"] = json!([zero_point]);
        self
    }

    /// With scales along an axis, the first one as given and each next one larger by a tenth of it.
    pub fn per_axis(mut self, first: f32, axis: usize) -> Self {
        let count = self.description["shape"][axis].as_u64().unwrap_or_default();
        let scales = (0..count).map(|index| f64::from(first * (1.0 + 0.1 * index as f32)));
        self.description["scale"] = scales.collect::<Vec<_>>().into();
        self.description["axis"] = axis.into();
        self
    }

    fn kind(&self) -> (Dtype, DType) {
        let found = TYPES.iter().find(|(name, ..)| self.description["type"] == *name);
        found.map(|&(_, stored, dtype)| (stored, dtype)).unwrap()
    }

    fn shape(&self) -> Vec<usize> {
        let shape = self.description["shape"].as_array().unwrap();
        shape.iter().map(|extent| extent.as_u64().unwrap() as usize).collect()
    }

    fn is_fed(&self) -> bool {
        self.bytes.is_some() && self.description["constant"] != true
    }

    /// Largest difference that the reference's float arithmetic may have, in the unit of the type.
    fn tolerance(&self) -> f64 {
        match self.description.get("scale") {
            Some(_) => 1.0,
            None => 0.0,
        }
    }
}

/// A result.
pub fn out(kind: &str, shape: &[usize]) -> Argument {
    Argument::new(kind, shape, None)
}

/// A state that begins as zeros.
pub fn state(kind: &str, shape: &[usize]) -> Argument {
    let mut argument = out(kind, shape);
    argument.description["variable"] = true.into();
    argument
}

/// Numbers between two bounds, from a generator that is seeded by the shape.
fn drawn(shape: &[usize], low: f64, high: f64) -> impl Iterator<Item = f64> {
    let count: usize = shape.iter().product();
    let mut state =
        shape.iter().fold(0x9e37_79b9_7f4a_7c15u64, |seed, &extent| seed.rotate_left(7) ^ extent as u64);
    (0..count).map(move |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        low + (high - low) * ((state >> 11) as f64 / (1u64 << 53) as f64)
    })
}

/// Floats between two bounds.
pub fn floats(shape: &[usize], low: f64, high: f64) -> Argument {
    let bytes = drawn(shape, low, high).flat_map(|value| (value as f32).to_le_bytes()).collect();
    Argument::new("FLOAT32", shape, Some(bytes))
}

/// Floats between -1 and 1.
pub fn f(shape: &[usize]) -> Argument {
    floats(shape, -1.0, 1.0)
}

/// Integers of that type from `low` to `high`.
pub fn ints(kind: &str, shape: &[usize], low: i64, high: i64) -> Argument {
    let numbers =
        drawn(shape, low as f64, high as f64 + 1.0).map(|value| (value.floor() as i64).clamp(low, high));
    these(kind, shape, &numbers.collect::<Vec<_>>())
}

/// These integers.
pub fn these(kind: &str, shape: &[usize], numbers: &[i64]) -> Argument {
    let mut argument = Argument::new(kind, shape, None);
    let width = argument.kind().1.bits().unwrap() / 8;
    argument.bytes = Some(numbers.iter().flat_map(|number| number.to_le_bytes()[..width].to_vec()).collect());
    argument
}

/// These integers as a constant of type i32 and rank 1.
pub fn list(numbers: &[i64]) -> Argument {
    these("INT32", &[numbers.len()], numbers).constant()
}

/// One integer as a constant of type i32 and rank 0.
pub fn scalar(number: i64) -> Argument {
    these("INT32", &[], &[number]).constant()
}

/// A model of one operator.
pub struct Case {
    /// The operator, and what is special.
    pub name: String,
    description: Value,
    inputs: Vec<Option<Argument>>,
    outputs: Vec<Argument>,
}

impl Case {
    /// The case with another version of the operator.
    pub fn version(mut self, version: i64) -> Self {
        self.description["version"] = version.into();
        self
    }
}

/// A case; `name` is the operator, or the operator, a blank and what is special.
pub fn case(name: &str, options: Value, inputs: Vec<Option<Argument>>, outputs: Vec<Argument>) -> Case {
    let operator = name.split(' ').next().unwrap_or_default();
    let name = name.replace(' ', "_");
    let mut description = json!({"name": name, "operator": operator});
    if !options.is_null() {
        description["options"] = options;
    }
    Case { name, description, inputs, outputs }
}

/// Runs all cases in LiteRT and as they are read, and compares them. Returns how many were compared.
pub fn compare(python: &std::ffi::OsStr, cases: &[Case]) -> usize {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let mut described = Vec::new();
    let mut values = Vec::new();
    for case in cases {
        let mut description = case.description.clone();
        let key = |index: usize| format!("{}:{index}", case.name);
        let inputs = case.inputs.iter().enumerate().map(|(index, input)| match input {
            None => Value::Null,
            Some(input) => {
                let mut description = input.description.clone();
                if input.bytes.is_some() {
                    description["value"] = key(index).into();
                }
                description
            }
        });
        description["inputs"] = inputs.collect::<Vec<_>>().into();
        description["outputs"] =
            case.outputs.iter().map(|output| output.description.clone()).collect::<Vec<_>>().into();
        described.push(description);
        for (index, input) in case.inputs.iter().enumerate() {
            if let Some((input, bytes)) =
                input.as_ref().and_then(|input| Some((input, input.bytes.as_ref()?)))
            {
                values.push((key(index), TensorView::new(input.kind().0, input.shape(), bytes).unwrap()));
            }
        }
    }
    std::fs::write(path("cases.json"), Value::from(described).to_string()).unwrap();
    serialize_to_file(values, None, &path("values.safetensors")).unwrap();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels/tests/litert/single_operator.py");
    let output = Command::new(python)
        .arg(script)
        .args([path("cases.json"), path("values.safetensors"), path("results.safetensors")])
        .arg("--save")
        .arg(path("models"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let results = std::fs::read(path("results.safetensors")).unwrap();
    let results = SafeTensors::deserialize(&results).unwrap();

    let mut failures = String::new();
    let mut compared = 0;
    for case in cases {
        if let Some(reason) = answer["refused"].get(&case.name) {
            let _ = writeln!(failures, "{}: LiteRT refuses it: {reason}", case.name);
            continue;
        }
        match ours(case, &path("models").join(format!("{}.tflite", case.name))) {
            Err(reason) => {
                let _ = writeln!(failures, "{}: {reason}", case.name);
            }
            Ok(found) => {
                compared += 1;
                for (index, (found, output)) in found.iter().zip(&case.outputs).enumerate() {
                    let expected = results.tensor(&format!("{}.{index}", case.name)).unwrap();
                    if let Some(difference) = difference(found, &expected, output.tolerance()) {
                        let _ = writeln!(failures, "{}, output {index}: {difference}", case.name);
                    }
                }
            }
        }
    }
    assert!(failures.is_empty(), "{failures}");
    compared
}

fn ours(case: &Case, path: &Path) -> Result<Vec<Tensor>, String> {
    let model = tflite::read(path).map_err(|error| error.to_string())?;
    if let Some(node) = model.graph.nodes().iter().find(|node| matches!(node.op, Op::Opaque(_))) {
        return Err(format!("kept as it is: {:?}", node.metadata));
    }
    let fed = case.inputs.iter().flatten().filter(|input| input.is_fed());
    let inputs: Vec<Tensor> = fed
        .map(|input| {
            let bytes = input.bytes.clone().unwrap_or_default();
            Tensor::new(input.kind().1, input.shape(), bytes.into()).unwrap()
        })
        .collect();
    evaluate::run(&model, &inputs).map_err(|error| format!("{error}\n{}", model.graph))
}

/// How two tensors differ, where they differ by more than the tolerance (floats: by 1e-5 of the larger one and of 1).
pub fn difference(found: &Tensor, expected: &TensorView<'_>, tolerance: f64) -> Option<String> {
    // The script gives scalars as lists of one element.
    let scalar = found.shape().is_empty() && expected.shape() == [1];
    if found.shape() != expected.shape() && !scalar {
        return Some(format!("shape {:?} instead of {:?}", found.shape(), expected.shape()));
    }
    let kind = TYPES.iter().find(|(_, stored, _)| *stored == expected.dtype()).map(|&(.., dtype)| dtype);
    if kind != Some(found.dtype()) {
        return Some(format!("type {} instead of {:?}", found.dtype(), expected.dtype()));
    }
    let (found, expected) = (numbers(found.dtype(), &found.bytes()), numbers(found.dtype(), expected.data()));
    let far = |(a, b): (f64, f64)| {
        let near = if kind == Some(DType::F32) { tolerance + 1e-5 * b.abs().max(1.0) } else { tolerance };
        (a - b).abs() > near || a.is_nan() != b.is_nan()
    };
    let pairs = found.iter().copied().zip(expected.iter().copied());
    let wrong = pairs.clone().filter(|&pair| far(pair)).count();
    let worst = pairs.clone().map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    let first: Vec<_> = pairs.filter(|&pair| far(pair)).take(4).collect();
    (wrong > 0).then(|| format!("{wrong} of {} differ, by {worst} at most: {first:?}", found.len()))
}

/// The elements of any type of the cases.
pub fn numbers(dtype: DType, bytes: &[u8]) -> Vec<f64> {
    match dtype {
        DType::F32 => bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b).into()).collect(),
        DType::I8 => bytes.iter().map(|&byte| f64::from(byte as i8)).collect(),
        DType::U8 | DType::Bool => bytes.iter().map(|&byte| byte.into()).collect(),
        DType::I16 => bytes.as_chunks().0.iter().map(|&b| i16::from_le_bytes(b).into()).collect(),
        DType::I32 => bytes.as_chunks().0.iter().map(|&b| i32::from_le_bytes(b).into()).collect(),
        DType::U32 => bytes.as_chunks().0.iter().map(|&b| u32::from_le_bytes(b).into()).collect(),
        DType::I64 => bytes.as_chunks().0.iter().map(|&b| i64::from_le_bytes(b) as f64).collect(),
        other => panic!("no case has results of type {other}"),
    }
}
