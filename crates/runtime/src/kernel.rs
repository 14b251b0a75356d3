//! What a step computes: a kernel with its packed constants, and its call on bytes of the arena.

use std::sync::Arc;

use bytemuck::{cast_slice, cast_slice_mut};
use calipers_kernels::elementwise::{Addition, Binary, Broadcast};
use calipers_kernels::normalize::FoldedNormalization;
use calipers_kernels::pool::{Ordered, Window};
use calipers_kernels::quantize::{Integer, Params};
use calipers_kernels::{
    Execution, Quantized, Requantization, convolution, elementwise, layout, matmul, normalize, pool, quantize,
};

/// A kernel and everything it knows before it runs. The first input is `x`, the second `y`.
pub(crate) enum Kernel {
    /// Axes in another order, elements of `width` bytes.
    Permute { width: usize, shape: Vec<usize>, permutation: Vec<usize> },
    /// f32 in and out.
    Float(FloatKernel),
    /// `u8` activations.
    Unsigned(ByteKernel<u8>),
    /// `i8` activations.
    Signed(ByteKernel<i8>),
    /// 32-bit accumulators to f32.
    DequantizeSums { params: Vec<Params>, inner: usize },
}

/// Kernels on f32.
pub(crate) enum FloatKernel {
    Convolve {
        geometry: convolution::Geometry,
        weights: Arc<convolution::PackedFloats>,
        bias: Option<Vec<f32>>,
        range: [f32; 2],
    },
    Multiply {
        weights: Arc<matmul::PackedFloats>,
        bias: Option<Vec<f32>>,
        range: [f32; 2],
    },
    /// Products of the matrices of two inputs, pair by pair.
    MultiplyPairs {
        /// First elements of the matrices of both inputs, for each product.
        pairs: Vec<[usize; 2]>,
        rows: usize,
        extent: matmul::Extent,
        /// Whether `y` holds `[outputs, depth]` matrices rather than `[depth, outputs]`.
        transposed: bool,
        range: [f32; 2],
    },
    Binary {
        function: Binary,
        broadcast: Broadcast,
        range: [f32; 2],
    },
    Clip {
        range: [f32; 2],
    },
    Normalize {
        folded: FoldedNormalization,
        range: [f32; 2],
    },
    Max {
        window: Window,
    },
    Average {
        window: Window,
        include_padding: bool,
    },
    GlobalMax {
        pixels: usize,
        channels: usize,
    },
    GlobalAverage {
        pixels: usize,
        channels: usize,
    },
}

/// Kernels on 8-bit integers of type `T`.
pub(crate) enum ByteKernel<T> {
    Convolve {
        geometry: convolution::Geometry,
        weights: Arc<convolution::PackedBytes<T>>,
        requantization: Requantization,
    },
    Multiply {
        weights: Arc<matmul::PackedBytes<T>>,
        requantization: Requantization,
    },
    MultiplyToFloats {
        weights: Arc<matmul::PackedBytes<T>>,
        scales: Vec<f32>,
    },
    Add {
        addition: Addition,
    },
    Max {
        window: Window,
    },
    Average {
        window: Window,
        include_padding: bool,
        from: Params,
        to: Params,
    },
    GlobalMax {
        pixels: usize,
        channels: usize,
    },
    GlobalAverage {
        pixels: usize,
        channels: usize,
        from: Params,
        to: Params,
    },
    Quantize {
        params: Vec<Params>,
        inner: usize,
    },
    Dequantize {
        params: Vec<Params>,
        inner: usize,
    },
}

impl Kernel {
    /// The kernel's name, e.g. `convolve u8`.
    pub(crate) fn name(&self) -> String {
        match self {
            Kernel::Permute { .. } => String::from("permute"),
            Kernel::Float(kernel) => format!("{} f32", kernel.name()),
            Kernel::Unsigned(kernel) => format!("{} u8", kernel.name()),
            Kernel::Signed(kernel) => format!("{} i8", kernel.name()),
            Kernel::DequantizeSums { .. } => String::from("dequantize i32"),
        }
    }

    /// Computes `output` from the inputs, whose bytes are aligned for their elements.
    pub(crate) fn run(&self, execution: Execution, inputs: [&[u8]; 2], output: &mut [u8]) {
        match self {
            Kernel::Permute { width, shape, permutation } => {
                permute(*width, shape, permutation, inputs[0], output)
            }
            Kernel::Float(kernel) => {
                kernel.run(execution, cast_slice(inputs[0]), cast_slice(inputs[1]), cast_slice_mut(output));
            }
            Kernel::Unsigned(kernel) => kernel.run(execution, inputs, output),
            Kernel::Signed(kernel) => kernel.run(execution, inputs, output),
            Kernel::DequantizeSums { params, inner } => {
                let input: &[i32] = cast_slice(inputs[0]);
                quantize::dequantize(execution, input, params, *inner, cast_slice_mut(output));
            }
        }
    }
}

/// [`layout::permute`] on elements of 1, 2, 4 or 8 bytes.
pub(crate) fn permute(width: usize, shape: &[usize], permutation: &[usize], input: &[u8], output: &mut [u8]) {
    fn run<T: bytemuck::Pod>(shape: &[usize], permutation: &[usize], input: &[u8], output: &mut [u8]) {
        layout::permute::<T>(shape, permutation, cast_slice(input), cast_slice_mut(output));
    }
    match width {
        1 => run::<u8>(shape, permutation, input, output),
        2 => run::<u16>(shape, permutation, input, output),
        4 => run::<u32>(shape, permutation, input, output),
        _ => run::<u64>(shape, permutation, input, output),
    }
}

impl FloatKernel {
    fn name(&self) -> &'static str {
        match self {
            FloatKernel::Convolve { .. } => "convolve",
            FloatKernel::Multiply { .. } => "multiply",
            FloatKernel::MultiplyPairs { .. } => "multiply pairs",
            FloatKernel::Binary { function: Binary::Add, .. } => "add",
            FloatKernel::Binary { function: Binary::Sub, .. } => "subtract",
            FloatKernel::Binary { function: Binary::Mul, .. } => "multiply elements",
            FloatKernel::Binary { function: Binary::Div, .. } => "divide",
            FloatKernel::Clip { .. } => "clip",
            FloatKernel::Normalize { .. } => "normalize",
            FloatKernel::Max { .. } => "max pool",
            FloatKernel::Average { .. } => "average pool",
            FloatKernel::GlobalMax { .. } => "global max",
            FloatKernel::GlobalAverage { .. } => "global average",
        }
    }

    fn run(&self, execution: Execution, x: &[f32], y: &[f32], output: &mut [f32]) {
        match self {
            FloatKernel::Convolve { geometry, weights, bias, range } => {
                convolution::convolve_floats(
                    execution,
                    geometry,
                    x,
                    weights,
                    bias.as_deref(),
                    *range,
                    output,
                );
            }
            FloatKernel::Multiply { weights, bias, range } => {
                matmul::multiply_floats(execution, x, weights, bias.as_deref(), *range, output);
            }
            FloatKernel::MultiplyPairs { pairs, rows, extent, transposed, range } => {
                let len = extent.outputs * extent.depth;
                let mut columns = vec![0.0; len];
                for (pair, output) in pairs.iter().zip(output.chunks_exact_mut(rows * extent.outputs)) {
                    let left = &x[pair[0]..pair[0] + rows * extent.depth];
                    let right = &y[pair[1]..pair[1] + len];
                    let packed = if *transposed {
                        matmul::PackedFloats::pack(execution.isa, *extent, right)
                    } else {
                        layout::permute(&[extent.depth, extent.outputs], &[1, 0], right, &mut columns);
                        matmul::PackedFloats::pack(execution.isa, *extent, &columns)
                    };
                    matmul::multiply_floats(execution, left, &packed, None, *range, output);
                }
            }
            FloatKernel::Binary { function, broadcast, range } => {
                elementwise::binary(execution, *function, broadcast, x, y, *range, output);
            }
            FloatKernel::Clip { range } => elementwise::clip(execution, x, *range, output),
            FloatKernel::Normalize { folded, range } => {
                normalize::normalize(execution, x, folded, *range, output)
            }
            FloatKernel::Max { window } => pool::max(execution, window, x, output),
            FloatKernel::Average { window, include_padding } => {
                pool::average_floats(execution, window, *include_padding, x, output);
            }
            FloatKernel::GlobalMax { pixels, channels } => {
                pool::global_max(execution, *pixels, *channels, x, output);
            }
            FloatKernel::GlobalAverage { pixels, channels } => {
                pool::global_average_floats(execution, *pixels, *channels, x, output);
            }
        }
    }
}

impl<T: Quantized + Ordered + Integer + bytemuck::Pod> ByteKernel<T> {
    fn name(&self) -> &'static str {
        match self {
            ByteKernel::Convolve { .. } => "convolve",
            ByteKernel::Multiply { .. } => "multiply",
            ByteKernel::MultiplyToFloats { .. } => "multiply to f32",
            ByteKernel::Add { .. } => "add",
            ByteKernel::Max { .. } => "max pool",
            ByteKernel::Average { .. } => "average pool",
            ByteKernel::GlobalMax { .. } => "global max",
            ByteKernel::GlobalAverage { .. } => "global average",
            ByteKernel::Quantize { .. } => "quantize",
            ByteKernel::Dequantize { .. } => "dequantize",
        }
    }

    fn run(&self, execution: Execution, inputs: [&[u8]; 2], output: &mut [u8]) {
        let x: &[T] = match self {
            ByteKernel::Quantize { .. } => &[],
            _ => cast_slice(inputs[0]),
        };
        match self {
            ByteKernel::Convolve { geometry, weights, requantization } => {
                let output = cast_slice_mut(output);
                convolution::convolve_bytes(execution, geometry, x, weights, requantization, output);
            }
            ByteKernel::Multiply { weights, requantization } => {
                matmul::multiply_bytes(execution, x, weights, requantization, cast_slice_mut(output));
            }
            ByteKernel::MultiplyToFloats { weights, scales } => {
                matmul::multiply_bytes_to_floats(execution, x, weights, scales, cast_slice_mut(output));
            }
            ByteKernel::Add { addition } => {
                let y: &[T] = cast_slice(inputs[1]);
                let output = cast_slice_mut(output);
                // Constants are followed by padding.
                let (x, y) = (&x[..output.len()], &y[..output.len()]);
                elementwise::add_bytes(execution, addition, x, y, output);
            }
            ByteKernel::Max { window } => pool::max::<T>(execution, window, x, cast_slice_mut(output)),
            ByteKernel::Average { window, include_padding, from, to } => {
                let output: &mut [T] = cast_slice_mut(output);
                pool::average_bytes(execution, window, *include_padding, x, *from, *to, output);
            }
            ByteKernel::GlobalMax { pixels, channels } => {
                pool::global_max::<T>(execution, *pixels, *channels, x, cast_slice_mut(output));
            }
            ByteKernel::GlobalAverage { pixels, channels, from, to } => {
                let output: &mut [T] = cast_slice_mut(output);
                pool::global_average_bytes(execution, *pixels, *channels, x, *from, *to, output);
            }
            ByteKernel::Quantize { params, inner } => {
                let output: &mut [T] = cast_slice_mut(output);
                quantize::quantize(execution, cast_slice(inputs[0]), params, *inner, output);
            }
            ByteKernel::Dequantize { params, inner } => {
                quantize::dequantize(execution, x, params, *inner, cast_slice_mut(output));
            }
        }
    }
}
