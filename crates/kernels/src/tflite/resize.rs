//! RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR.

use super::element::{Element, truncate};

/// A resize of `[batch, height, width, channel]` integers; parameters stay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resize {
    /// Images.
    pub batch: usize,
    /// Extents of an input image, height and width, at least 1.
    pub input: [usize; 2],
    /// Extents of an output image.
    pub output: [usize; 2],
    /// Channels.
    pub channels: usize,
    /// Whether the outermost pixels' centres meet.
    pub align_corners: bool,
    /// Whether a pixel's centre lies at half a pixel.
    pub half_pixel_centers: bool,
}

/// Where an output row or column lies: the neighbours in the input, and the distance to the first.
#[derive(Clone, Copy)]
struct Position<D> {
    neighbours: [usize; 2],
    distance: D,
}

impl Resize {
    /// The pixel at `floor((index + half) * scale)` (rounded half away from zero with `align_corners`), in f32.
    pub fn nearest<T: Element>(&self, input: &[T], output: &mut [T]) {
        let source = |axis: usize, index: usize| {
            let (from, to) = (self.input[axis], self.output[axis]);
            let scale = if self.align_corners && to > 1 {
                (from - 1) as f32 / (to - 1) as f32
            } else {
                from as f32 / to as f32
            };
            let position = (index as f32 + if self.half_pixel_centers { 0.5 } else { 0.0 }) * scale;
            let rounded = if self.align_corners { position.round() } else { position.floor() };
            (truncate(rounded).max(0) as usize).min(from - 1)
        };
        self.for_each_pixel(input, output, |image, row, column, channel| {
            image[(source(0, row) * self.input[1] + source(1, column)) * self.channels + channel]
        });
    }

    /// Interpolates `i8` or `i16` in integers: positions have ten bits after the point, results are rounded half away
    /// from zero.
    pub fn bilinear<T: Element>(&self, input: &[T], output: &mut [T]) {
        const ONE: i64 = 1 << 10;
        let position = |axis: usize, index: usize| -> Position<i64> {
            let (from, to) = (self.input[axis] as i64, self.output[axis] as i64);
            let scale = if self.align_corners && to > 1 {
                (ONE * (from - 1) + (to - 1) / 2) / (to - 1)
            } else {
                (ONE * from + to / 2) / to
            };
            let mut scaled = index as i64 * scale;
            if self.half_pixel_centers {
                scaled += scale / 2 - (1 << 9);
            }
            let lower = (scaled / ONE).max(0);
            let upper = ((scaled + ONE - 1) / ONE).min(from - 1).max(0);
            Position { neighbours: [lower as usize, upper as usize], distance: scaled - ONE * lower }
        };
        self.for_each_pixel(input, output, |image, row, column, channel| {
            let (y, x) = (position(0, row), position(1, column));
            let mut sum = 0;
            for (row, weight) in y.neighbours.into_iter().zip([ONE - y.distance, y.distance]) {
                for (column, other) in x.neighbours.into_iter().zip([ONE - x.distance, x.distance]) {
                    let pixel = image[(row * self.input[1] + column) * self.channels + channel];
                    sum += i64::from(pixel.widen()) * weight * other;
                }
            }
            let half = if sum > 0 { 1 << 19 } else { -(1 << 19) };
            T::narrow(((sum + half) / (1 << 20)) as i32)
        });
    }

    /// Interpolates `u8` in f32 and rounds by cutting off after adding a half.
    pub fn bilinear_unsigned(&self, input: &[u8], output: &mut [u8]) {
        let position = |axis: usize, index: usize| -> Position<f32> {
            let (from, to) = (self.input[axis], self.output[axis]);
            let scale = if self.align_corners && to > 1 {
                (from - 1) as f32 / (to - 1) as f32
            } else {
                from as f32 / to as f32
            };
            let scaled = if self.half_pixel_centers {
                (index as f32 + 0.5) * scale - 0.5
            } else {
                index as f32 * scale
            };
            let lower = truncate(scaled.floor()).max(0) as usize;
            let upper = (truncate(scaled.ceil()).max(0) as usize).min(from - 1);
            Position { neighbours: [lower, upper], distance: scaled - lower as f32 }
        };
        self.for_each_pixel(input, output, |image, row, column, channel| {
            let (y, x) = (position(0, row), position(1, column));
            let pixel = |row: usize, column: usize| {
                let pixel = y.neighbours[row] * self.input[1] + x.neighbours[column];
                f32::from(image[pixel * self.channels + channel])
            };
            let sum = pixel(0, 0) * (1.0 - y.distance) * (1.0 - x.distance)
                + pixel(1, 0) * y.distance * (1.0 - x.distance)
                + pixel(0, 1) * (1.0 - y.distance) * x.distance
                + pixel(1, 1) * y.distance * x.distance
                + 0.5;
            truncate(sum) as u8
        });
    }

    fn for_each_pixel<T: Copy>(
        &self,
        input: &[T],
        output: &mut [T],
        result: impl Fn(&[T], usize, usize, usize) -> T,
    ) {
        let image = self.input[0] * self.input[1] * self.channels;
        let resized = self.output[0] * self.output[1] * self.channels;
        assert_eq!(input.len(), self.batch * image, "input length");
        assert_eq!(output.len(), self.batch * resized, "output length");
        if image == 0 || resized == 0 {
            return;
        }
        for (input, output) in input.chunks_exact(image).zip(output.chunks_exact_mut(resized)) {
            for (index, output) in output.iter_mut().enumerate() {
                let (pixel, channel) = (index / self.channels, index % self.channels);
                *output = result(input, pixel / self.output[1], pixel % self.output[1], channel);
            }
        }
    }
}
