//! Cases of single operators that are run in LiteRT, all in one process, and compared bit by bit.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use calipers_kernels::quantize::Params;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize_to_file};
use serde_json::{Value, json};

/// The values of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    I8(Vec<i8>),
    U8(Vec<u8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    Bool(Vec<bool>),
    F32(Vec<f32>),
}

macro_rules! from_values {
    ($($variant:ident($type:ty)),*) => {$(
        impl From<Vec<$type>> for Data {
            fn from(values: Vec<$type>) -> Data {
                Data::$variant(values)
            }
        }
    )*};
}

from_values!(I8(i8), U8(u8), I16(i16), I32(i32), I64(i64), Bool(bool), F32(f32));

impl Data {
    /// The type, as LiteRT and as safetensors call it.
    pub fn kind(&self) -> (&'static str, Dtype) {
        match self {
            Data::I8(_) => ("INT8", Dtype::I8),
            Data::U8(_) => ("UINT8", Dtype::U8),
            Data::I16(_) => ("INT16", Dtype::I16),
            Data::I32(_) => ("INT32", Dtype::I32),
            Data::I64(_) => ("INT64", Dtype::I64),
            Data::Bool(_) => ("BOOL", Dtype::BOOL),
            Data::F32(_) => ("FLOAT32", Dtype::F32),
        }
    }

    /// The elements, little-endian.
    pub fn bytes(&self) -> Vec<u8> {
        match self {
            Data::I8(values) => values.iter().map(|value| *value as u8).collect(),
            Data::U8(values) => values.clone(),
            Data::I16(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Data::I32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Data::I64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Data::Bool(values) => values.iter().map(|value| u8::from(*value)).collect(),
            Data::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        }
    }
}

/// A type that tensors have.
pub trait Typed: Copy {
    const NAME: &'static str;
}

macro_rules! typed {
    ($($type:ty: $name:literal),*) => {$(
        impl Typed for $type {
            const NAME: &'static str = $name;
        }
    )*};
}

typed!(i8: "INT8", u8: "UINT8", i16: "INT16", i32: "INT32", i64: "INT64", bool: "BOOL", f32: "FLOAT32");

/// A tensor of a case.
#[derive(Clone, Debug)]
pub struct Tensor {
    description: Value,
    data: Option<Data>,
}

impl Tensor {
    /// A tensor that is fed.
    pub fn input(shape: &[usize], data: impl Into<Data>) -> Tensor {
        let data = data.into();
        Tensor { description: json!({"type": data.kind().0, "shape": shape}), data: Some(data) }
    }

    /// A tensor that is part of the model.
    pub fn constant(shape: &[usize], data: impl Into<Data>) -> Tensor {
        let mut tensor = Tensor::input(shape, data);
        tensor.description["constant"] = true.into();
        tensor
    }

    /// A result, whose shape LiteRT infers.
    pub fn output<T: Typed>(shape: &[usize]) -> Tensor {
        Tensor { description: json!({"type": T::NAME, "shape": shape}), data: None }
    }

    /// A state that begins as zero.
    pub fn variable<T: Typed>(shape: &[usize]) -> Tensor {
        Tensor { description: json!({"type": T::NAME, "shape": shape, "variable": true}), data: None }
    }

    /// The tensor with one set of parameters.
    pub fn with(mut self, params: Params) -> Tensor {
        self.description["scale"] = json!([f64::from(params.scale)]);
        self.description["zero_point"] = json!([params.zero_point]);
        self
    }

    /// The tensor with scales along an axis, zero points zero.
    pub fn scales(mut self, scales: &[f32], axis: usize) -> Tensor {
        self.description["scale"] = scales.iter().map(|scale| f64::from(*scale)).collect::<Vec<_>>().into();
        self.description["axis"] = axis.into();
        self
    }
}

/// The end of a kind that is compared with the optimized kernels, for lack of a (right) reference kernel.
pub const OPTIMIZED: &str = "of optimized kernels";

/// The end of a kind whose 16-bit results may differ by one.
pub const WITHIN_ONE: &str = "within 1";

fn within_one(ours: &[u8], theirs: &[u8]) -> bool {
    let values = |bytes: &[u8]| -> Vec<i32> {
        bytes.chunks_exact(2).map(|bytes| i32::from(i16::from_le_bytes([bytes[0], bytes[1]]))).collect()
    };
    ours.len() == theirs.len()
        && values(ours).iter().zip(values(theirs)).all(|(ours, theirs)| (ours - theirs).abs() <= 1)
}

/// The end of a kind whose f32 results of magnitude up to 1 may differ by a hundred-thousandth.
pub const CLOSE: &str = "within 1e-5";

fn nearly_equal(ours: &[u8], theirs: &[u8]) -> bool {
    let values = |bytes: &[u8]| -> Vec<f32> {
        bytes.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four bytes"))).collect()
    };
    ours.len() == theirs.len()
        && values(ours).iter().zip(values(theirs)).all(|(ours, theirs)| (ours - theirs).abs() <= 1e-5)
}

/// Computes all outputs of a case.
pub type Ours = Box<dyn FnOnce() -> Vec<Data>>;

/// An output as its type and bytes.
pub type Output = (Dtype, Vec<u8>);

struct Case {
    label: String,
    json: Value,
    ours: Ours,
}

/// Cases to compare.
#[derive(Default)]
pub struct Suite {
    cases: Vec<Case>,
    values: Vec<(String, Data, Vec<usize>)>,
}

impl Suite {
    /// Adds a case, counted under the operator's name and `kind`. `ours` computes all outputs.
    pub fn add(
        &mut self,
        operator: &str,
        kind: &str,
        options: Value,
        inputs: Vec<Option<Tensor>>,
        outputs: Vec<Tensor>,
        ours: impl FnOnce() -> Vec<Data> + 'static,
    ) {
        self.add_with_intermediates(operator, kind, options, inputs, outputs, Vec::new(), ours);
    }

    /// Adds a case of an operator whose intermediate tensors have parameters.
    #[allow(clippy::too_many_arguments)]
    pub fn add_with_intermediates(
        &mut self,
        operator: &str,
        kind: &str,
        options: Value,
        inputs: Vec<Option<Tensor>>,
        outputs: Vec<Tensor>,
        intermediates: Vec<Tensor>,
        ours: impl FnOnce() -> Vec<Data> + 'static,
    ) {
        let label = format!("{operator} {kind}");
        let alike = self.cases.iter().filter(|case| case.label == label).count();
        if crate::CASES_OF_A_KIND.is_some_and(|most| alike >= most) {
            return;
        }
        let name = format!("{}_{}_{}", operator.to_lowercase(), kind.replace(' ', "_"), self.cases.len());
        let mut describe = |tensors: Vec<Option<Tensor>>, role: &str| -> Vec<Value> {
            let describe = |(index, tensor): (usize, Option<Tensor>)| {
                let Some(mut tensor) = tensor else { return Value::Null };
                if let Some(data) = tensor.data {
                    let key = format!("{name}.{role}{index}");
                    tensor.description["value"] = key.clone().into();
                    let shape = serde_json::from_value(tensor.description["shape"].clone()).expect("a shape");
                    self.values.push((key, data, shape));
                }
                tensor.description
            };
            tensors.into_iter().enumerate().map(describe).collect()
        };
        let mut case = json!({
            "name": name,
            "operator": operator,
            "inputs": describe(inputs, "input"),
            "outputs": describe(outputs.into_iter().map(Some).collect(), "output"),
            "intermediates": describe(intermediates.into_iter().map(Some).collect(), "intermediate"),
        });
        if !options.is_null() {
            case["options"] = options;
        }
        if kind.ends_with(OPTIMIZED) {
            case["resolver"] = "BUILTIN_WITHOUT_DEFAULT_DELEGATES".into();
        }
        self.cases.push(Case { label, json: case, ours: Box::new(ours) });
    }

    /// Runs all cases in LiteRT and compares; prints how many were.
    pub fn compare(self) {
        let Ok(python) = std::env::var("CALIPERS_TENSORFLOW_PYTHON") else {
            println!("left out: LiteRT (CALIPERS_TENSORFLOW_PYTHON is not set)");
            return;
        };
        let folder = tempfile::tempdir().expect("a temporary folder");
        let [cases, values, results] =
            ["cases.json", "values.safetensors", "results.safetensors"].map(|name| folder.path().join(name));
        let list: Vec<&Value> = self.cases.iter().map(|case| &case.json).collect();
        std::fs::write(&cases, serde_json::to_vec(&list).expect("JSON")).expect("a written file");
        let bytes: Vec<Vec<u8>> = self.values.iter().map(|(_, data, _)| data.bytes()).collect();
        let views = self.values.iter().zip(&bytes).map(|((key, data, shape), bytes)| {
            (key, TensorView::new(data.kind().1, shape.clone(), bytes).expect("a tensor"))
        });
        serialize_to_file(views, None, &values).expect("a written file");

        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../kernels/tests/litert/single_operator.py");
        let models = match std::env::var_os("CALIPERS_LITERT_MODELS") {
            Some(saved) => saved.into(),
            None => folder.path().join("models"),
        };
        let mut command = Command::new(python);
        command.arg(script).args([&cases, &values, &results]).arg("--save").arg(&models);
        let run = command.output().expect("a started interpreter");
        let errors = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{} {errors}", run.status);
        let answer: Value = serde_json::from_slice(&run.stdout).expect("an answer");
        let results = std::fs::read(results).expect("results");
        let results = SafeTensors::deserialize(&results).expect("safetensors");

        let mut counts: BTreeMap<String, usize> = BTreeMap::new();
        let mut faults: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for case in self.cases {
            let name = case.json["name"].as_str().expect("a name");
            if let Some(reason) = answer["refused"].get(name) {
                faults.entry(case.label).or_default().push(format!("{name}: LiteRT refused it: {reason}"));
                continue;
            }
            let described = case.json["inputs"].as_array().into_iter().flatten();
            let fed = described.filter(|input| !input["value"].is_null() && input["constant"] != true);
            let fed: Vec<_> = fed
                .filter_map(|input| self.values.iter().find(|(key, ..)| input["value"] == key.as_str()))
                .map(|(_, data, shape)| (data, shape.as_slice()))
                .collect();
            let ours = match crate::compute(&models.join(format!("{name}.tflite")), &fed, case.ours) {
                Ok(ours) => ours,
                Err(reason) => {
                    faults.entry(case.label).or_default().push(format!("{name}: {reason}"));
                    continue;
                }
            };
            let mut equal = true;
            for (index, (dtype, ours_bytes)) in ours.into_iter().enumerate() {
                let theirs = results.tensor(&format!("{name}.{index}")).expect("an output");
                let theirs_bytes = theirs.data();
                let close = case.label.ends_with(WITHIN_ONE) && within_one(&ours_bytes, theirs_bytes)
                    || case.label.ends_with(CLOSE) && nearly_equal(&ours_bytes, theirs_bytes);
                if dtype != theirs.dtype() || ours_bytes != theirs_bytes && !close {
                    let size = (theirs.dtype().bitsize() / 8).max(1);
                    let pairs = || ours_bytes.chunks(size).zip(theirs_bytes.chunks(size));
                    let different = pairs().filter(|(ours, theirs)| ours != theirs).count();
                    let first = pairs().position(|(ours, theirs)| ours != theirs);
                    let pair = pairs().find(|(ours, theirs)| ours != theirs);
                    faults.entry(case.label.clone()).or_default().push(format!(
                        "{name} output {index}: {different} of {} elements ({} of LiteRT) differ, the first at \
                         {first:?}, ours and theirs {pair:?}; {}",
                        ours_bytes.len() / size,
                        theirs_bytes.len() / size,
                        case.json,
                    ));
                    equal = false;
                }
            }
            *counts.entry(case.label).or_default() += usize::from(equal);
        }
        println!(
            "LiteRT {}, equal bit by bit where nothing else is said:",
            answer["version"].as_str().unwrap_or_default()
        );
        for (label, count) in &counts {
            println!("  {label}: {count}");
        }
        println!("  in all: {}", counts.values().sum::<usize>());
        assert!(
            faults.is_empty(),
            "{}",
            faults
                .iter()
                .map(|(label, faults)| format!("{label}: {} differ\n  {}\n", faults.len(), faults[0]))
                .collect::<String>()
        );
        assert!(counts.values().sum::<usize>() > 0, "no case was compared");
    }
}

/// Numbers to make cases of (SplitMix64).
pub struct Numbers(pub u64);

impl Numbers {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A whole number in `low..=high`.
    pub fn within(&mut self, low: i64, high: i64) -> i64 {
        low + (self.next() % (high - low + 1) as u64) as i64
    }

    /// An extent in `low..=high`.
    pub fn extent(&mut self, low: usize, high: usize) -> usize {
        self.within(low as i64, high as i64) as usize
    }

    /// One of some things.
    pub fn of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.extent(0, choices.len() - 1)]
    }

    /// A real number in `low..high`.
    pub fn real(&mut self, low: f64, high: f64) -> f64 {
        low + (self.next() >> 11) as f64 / (1u64 << 53) as f64 * (high - low)
    }

    /// A scale between powers of two.
    pub fn scale(&mut self, low: f64, high: f64) -> f32 {
        self.real(low, high).exp2() as f32
    }

    /// A zero point, often at an end of the range; 0 for types of 16 bits and more.
    pub fn zero_point<T: calipers_kernels::tflite::Element>(&mut self) -> i32 {
        let (min, max) = (i64::from(T::MIN), i64::from(T::MAX));
        let zero_point = match self.within(0, 5) {
            _ if max > 255 => 0,
            0 => min,
            1 => max,
            2 => (min + max) / 2,
            _ => self.within(min, max),
        };
        zero_point as i32
    }

    /// Integers of a type, the ends among them.
    pub fn integers<T: calipers_kernels::tflite::Element>(&mut self, count: usize) -> Vec<T> {
        let (min, max) = (i64::from(T::MIN), i64::from(T::MAX));
        (0..count)
            .map(|_| match self.within(0, 15) {
                0 => T::narrow(T::MIN),
                1 => T::narrow(T::MAX),
                _ => T::narrow(self.within(min, max) as i32),
            })
            .collect()
    }

    /// Weights in `-127..=127`.
    pub fn weights(&mut self, count: usize) -> Vec<i8> {
        (0..count).map(|_| self.within(-127, 127) as i8).collect()
    }

    /// Reals of about a magnitude.
    pub fn reals(&mut self, count: usize, magnitude: f64) -> Vec<f32> {
        (0..count).map(|_| self.real(-magnitude, magnitude) as f32).collect()
    }
}
