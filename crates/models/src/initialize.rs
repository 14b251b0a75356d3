//! Initial parameters: one stream of the seeded generator per tensor, so that no value depends on the order of building.

use calipers_random::Random;

/// Weight of a convolution, `[outputs, inputs, kernel, kernel]` in row-major order: normal with mean 0 and deviation
/// `sqrt(2 / (outputs * kernel * kernel))`, drawn in f64 and rounded to f32 (He et al., "Delving Deep into
/// Rectifiers", 2015, equation 14, fan-out mode, as torchvision initialises its residual networks).
pub fn he_fan_out(seed: u64, name: &str, [outputs, inputs, height, width]: [usize; 4]) -> Vec<f32> {
    let deviation = (2.0 / (outputs * height * width) as f64).sqrt();
    let mut random = stream(seed, name);
    (0..outputs * inputs * height * width).map(|_| (random.normal_f64() * deviation) as f32).collect()
}

/// Weight or bias of a linear layer: uniform on `[-b, b)` with `b = 1 / sqrt(inputs)`, drawn in f64 and rounded to
/// f32 (the default of PyTorch's `Linear` for both).
pub fn linear(seed: u64, name: &str, count: usize, inputs: usize) -> Vec<f32> {
    let bound = 1.0 / (inputs as f64).sqrt();
    let mut random = stream(seed, name);
    (0..count).map(|_| ((2.0 * random.uniform_f64() - 1.0) * bound) as f32).collect()
}

fn stream(seed: u64, name: &str) -> Random {
    Random::new(seed, &format!("init/{name}"))
}
