//! TFLite files, run by a session, against LiteRT's reference kernels: networks, and models of one operator each, which
//! are those that the kernels' own tests make.
//!
//! Single operators need CALIPERS_TENSORFLOW_PYTHON, an interpreter with ai-edge-litert and safetensors.

#[path = "../../../kernels/tests/litert/binary.rs"]
mod binary;
#[path = "../../../kernels/tests/litert/convolution.rs"]
mod convolution;
#[path = "../../../kernels/tests/litert/hybrid.rs"]
mod hybrid;
#[path = "../../../kernels/tests/litert/lstm.rs"]
mod lstm;
#[path = "../../../kernels/tests/litert/matmul.rs"]
mod matmul;
#[path = "../../../kernels/tests/litert/reduce.rs"]
mod reduce;
#[path = "../../../kernels/tests/litert/spatial.rs"]
mod spatial;
#[path = "../../../kernels/tests/litert/suite.rs"]
mod suite;
#[path = "../../../kernels/tests/litert/unary.rs"]
mod unary;

mod networks;

use std::path::Path;

use calipers_formats::tflite;
use calipers_ir::{DType, Tensor};
use calipers_runtime::{Session, SessionOptions};
use safetensors::tensor::Dtype;
use suite::{Data, Ours, Output};

/// Cases of an operator and type.
const CASES_OF_A_KIND: Option<usize> = Some(30);

/// Types as the representation and safetensors call them.
const TYPES: [(DType, Dtype); 7] = [
    (DType::I8, Dtype::I8),
    (DType::U8, Dtype::U8),
    (DType::I16, Dtype::I16),
    (DType::I32, Dtype::I32),
    (DType::I64, Dtype::I64),
    (DType::Bool, Dtype::BOOL),
    (DType::F32, Dtype::F32),
];

/// The outputs of a case, by a session on the model that LiteRT ran.
fn compute(model: &Path, inputs: &[(&Data, &[usize])], _: Ours) -> Result<Vec<Output>, String> {
    let model = tflite::read(model).map_err(|error| error.to_string())?;
    let kept = model.graph.nodes().iter().find(|node| matches!(node.op, calipers_ir::Op::Opaque(_)));
    if let Some(node) = kept {
        return Err(format!("`{}` is kept as it is: {:?}", node.name, node.metadata));
    }
    let graph = model.graph.to_string();
    let names: Vec<String> =
        model.graph.inputs().iter().map(|&id| model.graph.value(id).name.clone()).collect();
    let fed = names.iter().zip(inputs).map(|(name, (data, shape))| {
        let dtype = TYPES.iter().find(|(_, dtype)| *dtype == data.kind().1).map(|types| types.0);
        let tensor = Tensor::new(dtype.unwrap(), *shape, data.bytes().into()).unwrap();
        (name.as_str(), tensor)
    });
    let fed: Vec<_> = fed.collect();
    let mut session = Session::with_subgraphs(model.graph, model.subgraphs, SessionOptions::default())
        .map_err(|error| error.to_string())?;
    let outputs = session.run(&fed, &mut ()).map_err(|error| format!("{error}\n{graph}"))?;
    let outputs = outputs.iter().map(|output| {
        let dtype = TYPES.iter().find(|(dtype, _)| *dtype == output.dtype()).map(|types| types.1);
        (dtype.unwrap(), output.bytes().to_vec())
    });
    Ok(outputs.collect())
}
