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
