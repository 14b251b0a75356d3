//! Between data and models: what the inputs of a model take, and samples as tensors.

use bytes::Bytes;
use calipers_data::samples::{
    BatchRule, Element, Extent, InputQuantization, ModelInput, NamedArray, Preprocessing, SampleBatch,
    SampleInput, Samples, SamplesError,
};
use calipers_ir::{DType, Dim, Tensor};
use serde::{Deserialize, Serialize};

use crate::{InspectError, OpenedModel};

/// What a recipe keeps about the data that a model was quantized with: the value of its key `data`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataSettings {
    /// What is done to images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preprocessing: Option<Preprocessing>,
    /// The classes by label, for folders of classes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub classes: Option<Vec<String>>,
    /// Tokens of a sample.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length: Option<usize>,
    /// The token behind the end of a line that is shorter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pad: Option<i64>,
}

impl DataSettings {
    /// The settings in a recipe.
    ///
    /// # Errors
    /// What is not understood.
    pub fn from_recipe(data: serde_json::Value) -> Result<DataSettings, serde_json::Error> {
        serde_json::from_value(data)
    }

    /// As a recipe keeps them.
    ///
    /// # Errors
    /// A number that JSON cannot say.
    pub fn to_recipe(&self) -> Result<serde_json::Value, serde_json::Error> {
        serde_json::to_value(self)
    }
}

/// The inputs of a model as data fill them.
///
/// # Errors
/// An input of a type that data do not have (strings, complex and 8-bit floating-point numbers).
pub fn model_inputs(opened: &OpenedModel) -> Result<Vec<ModelInput>, InspectError> {
    let graph = opened.graph();
    let input = |&id: &calipers_ir::ValueId| {
        let value = graph.value(id);
        let element = element(value.ty.dtype).ok_or_else(|| InspectError::Input {
            path: opened.path.clone(),
            input: value.name.clone(),
            found: value.ty.dtype.to_string(),
            hint: "export the model with inputs of f32 or of integers",
        })?;
        let extent = |dim: &Dim| match dim {
            Dim::Known(extent) => Extent::Known(*extent),
            Dim::Symbolic(name) => Extent::Symbolic(name.to_string()),
        };
        // One scale and zero point; images are not quantized by channel.
        let quantization = graph.quant_params(id).filter(|_| element.is_integer()).and_then(|parameters| {
            match (parameters.scale[..].as_ref(), parameters.zero_point[..].as_ref()) {
                (&[scale], &[zero_point]) => Some(InputQuantization { scale, zero_point }),
                _ => None,
            }
        });
        let shape = value.ty.shape.as_ref().map(|shape| shape.iter().map(extent).collect());
        Ok(ModelInput { name: value.name.clone(), element, shape, quantization })
    };
    graph.inputs().iter().map(input).collect()
}

fn element(dtype: DType) -> Option<Element> {
    Some(match dtype {
        DType::Bool => Element::Bool,
        DType::I8 => Element::I8,
        DType::I16 => Element::I16,
        DType::I32 => Element::I32,
        DType::I64 => Element::I64,
        DType::U8 => Element::U8,
        DType::U16 => Element::U16,
        DType::U32 => Element::U32,
        DType::U64 => Element::U64,
        DType::F16 => Element::F16,
        DType::F32 => Element::F32,
        DType::F64 => Element::F64,
        DType::I2
        | DType::I4
        | DType::U2
        | DType::U4
        | DType::F4E2M1
        | DType::F8E4M3Fn
        | DType::F8E4M3FnUz
        | DType::F8E5M2
        | DType::F8E5M2FnUz
        | DType::F8E8M0
        | DType::BF16
        | DType::Complex64
        | DType::Complex128
        | DType::String => return None,
    })
}

fn dtype(element: Element) -> DType {
    match element {
        Element::F16 => DType::F16,
        Element::F32 => DType::F32,
        Element::F64 => DType::F64,
        Element::I8 => DType::I8,
        Element::I16 => DType::I16,
        Element::I32 => DType::I32,
        Element::I64 => DType::I64,
        Element::U8 => DType::U8,
        Element::U16 => DType::U16,
        Element::U32 => DType::U32,
        Element::U64 => DType::U64,
        Element::Bool => DType::Bool,
    }
}

/// An array as a tensor; the bytes are taken over. `None` when they are not those of type and shape.
pub fn tensor_of(array: NamedArray) -> Option<(String, Tensor)> {
    let tensor = Tensor::new(dtype(array.element), array.shape, Bytes::from(array.bytes)).ok()?;
    Some((array.name, tensor))
}

/// The inputs of one run, by name.
///
/// # Errors
/// An array whose bytes are not those of its type and shape.
pub fn named_tensors(batch: SampleBatch) -> Result<Vec<(String, Tensor)>, InspectError> {
    let tensor = |array: NamedArray| {
        let name = array.name.clone();
        tensor_of(array).ok_or_else(|| InspectError::Request {
            path: name.into(),
            problem: String::from("an array of another length than its type and shape ask for"),
            hint: String::from("check the file of arrays"),
        })
    };
    batch.arrays.into_iter().map(tensor).collect()
}

/// Inputs with f32 in the place of quantized integers, for data of real numbers. `None` when no input is quantized.
pub fn real_inputs(inputs: &[ModelInput]) -> Option<Vec<ModelInput>> {
    let real = |input: &ModelInput| match input.quantization {
        Some(_) => ModelInput { element: Element::F32, quantization: None, ..input.clone() },
        None => input.clone(),
    };
    let any = inputs.iter().any(|input| input.quantization.is_some());
    any.then(|| inputs.iter().map(real).collect())
}

/// Samples that were opened for [`real_inputs`], as integers for the `inputs` themselves.
pub fn quantizing(samples: Box<dyn Samples>, inputs: &[ModelInput]) -> Box<dyn Samples> {
    let of = |input: &SampleInput| {
        let found = inputs.iter().find(|other| other.name == input.name);
        SampleInput { element: found.map_or(input.element, |found| found.element), ..input.clone() }
    };
    let bound = samples.inputs().iter().map(of).collect();
    Box::new(Quantizing { samples, inputs: inputs.to_vec(), bound })
}

/// Samples of real numbers for inputs of quantized integers.
#[derive(Debug)]
struct Quantizing {
    samples: Box<dyn Samples>,
    inputs: Vec<ModelInput>,
    bound: Vec<SampleInput>,
}

impl Quantizing {
    fn quantized(&self, array: NamedArray) -> NamedArray {
        let input = self.inputs.iter().find(|input| input.name == array.name);
        let Some((input, by)) = input.and_then(|input| Some((input, input.quantization?))) else {
            return array;
        };
        let Some((low, high)) = input.element.range() else { return array };
        let mut bytes = Vec::with_capacity(array.bytes.len() / 4 * input.element.bytes());
        for real in array.to_f32() {
            let integer = (real / by.scale).round_ties_even() as i128 + i128::from(by.zero_point);
            let integer = integer.clamp(low, high).to_le_bytes();
            bytes.extend_from_slice(integer.get(..input.element.bytes()).unwrap_or_default());
        }
        NamedArray { element: input.element, bytes, ..array }
    }
}

impl Samples for Quantizing {
    fn len(&self) -> usize {
        self.samples.len()
    }

    fn inputs(&self) -> &[SampleInput] {
        &self.bound
    }

    fn batch_rule(&self) -> BatchRule {
        self.samples.batch_rule()
    }

    fn batch(&self, indices: &[usize]) -> Result<Vec<NamedArray>, SamplesError> {
        Ok(self.samples.batch(indices)?.into_iter().map(|array| self.quantized(array)).collect())
    }

    fn labels(&self) -> Option<&[u32]> {
        self.samples.labels()
    }

    fn class_names(&self) -> Option<&[String]> {
        self.samples.class_names()
    }

    fn sample_name(&self, index: usize) -> String {
        self.samples.sample_name(index)
    }
}
