//! The TFLite definitions against LiteRT's reference kernels, bit by bit.
//!
//! Needs CALIPERS_TENSORFLOW_PYTHON, an interpreter with ai-edge-litert and safetensors. CALIPERS_LITERT_MODELS names a
//! folder to keep the models in.

mod binary;
mod convolution;
mod hybrid;
mod lstm;
mod matmul;
mod reduce;
mod spatial;
mod unary;
mod suite;

use std::path::Path;

use suite::{Data, Ours, Output};

/// Cases of an operator and type: all.
const CASES_OF_A_KIND: Option<usize> = None;

/// The outputs of a case, by the definition; the runtime's tests take the model instead.
fn compute(_: &Path, _: &[(&Data, &[usize])], ours: Ours) -> Result<Vec<Output>, String> {
    Ok(ours().iter().map(|data| (data.kind().1, data.bytes())).collect())
}
