//! A small picture in linear colour, drawn with soft edges.

use calipers_random::Random;

/// Rows and columns of the picture.
pub(super) const SIDE: usize = 32;

const PLANE: usize = SIDE * SIDE;

/// Red, green and blue; 0 is dark, 255 is bright. May lie outside before it is written.
pub(super) type Colour = [f32; 3];

/// Three planes of `SIDE` x `SIDE`.
pub(super) struct Canvas {
    planes: [[f32; PLANE]; 3],
}

/// A part of the plane with an outline one pixel soft.
pub(super) trait Area {
    /// Centre and radius of a disc that holds the whole area.
    fn bounds(&self) -> (f32, f32, f32);

    /// How far a point lies inside, in pixels; negative outside.
    fn depth(&self, x: f32, y: f32) -> f32;
}

impl Canvas {
    /// All black.
    pub(super) fn new() -> Canvas {
        Canvas { planes: [[0.0; PLANE]; 3] }
    }

    /// Gives every pixel the colour of its centre.
    pub(super) fn cover(&mut self, colour: impl Fn(f32, f32) -> Colour) {
        for at in 0..PLANE {
            let found = colour((at % SIDE) as f32 + 0.5, (at / SIDE) as f32 + 0.5);
            for (plane, value) in self.planes.iter_mut().zip(found) {
                plane[at] = value;
            }
        }
    }

    /// Lays `area` over what is there, in the colour of each pixel's centre.
    pub(super) fn paint(&mut self, area: &impl Area, colour: impl Fn(f32, f32) -> Colour) {
        let (x, y, radius) = area.bounds();
        let pixels = |centre: f32| {
            // Casts from float to integer saturate, so a bound outside the picture is its edge.
            let first = (centre - radius - 1.0) as usize;
            let last = (centre + radius + 2.0) as usize;
            first.min(SIDE)..last.min(SIDE)
        };
        for row in pixels(y) {
            for column in pixels(x) {
                let (x, y) = (column as f32 + 0.5, row as f32 + 0.5);
                let share = (area.depth(x, y) + 0.5).clamp(0.0, 1.0);
                if share > 0.0 {
                    let at = row * SIDE + column;
                    for (plane, value) in self.planes.iter_mut().zip(colour(x, y)) {
                        plane[at] += share * (value - plane[at]);
                    }
                }
            }
        }
    }

    /// Adds noise of mean 0 and the given deviation to every pixel and channel: sums of four
    /// uniform bytes, which is close to normal.
    pub(super) fn add_noise(&mut self, random: &mut Random, deviation: f32) {
        // Four uniform bytes have mean 510 and variance 4 (256^2 - 1) / 12.
        let scale = deviation / 147.8;
        for plane in &mut self.planes {
            for pair in plane.chunks_exact_mut(2) {
                let bytes = random.next_u64().to_le_bytes();
                for (pixel, four) in pair.iter_mut().zip(bytes.chunks_exact(4)) {
                    let sum: i32 = four.iter().map(|&byte| i32::from(byte)).sum();
                    *pixel += (sum - 510) as f32 * scale;
                }
            }
        }
    }

    /// Appends the pixels, rounded and clamped to `u8`, plane by plane.
    pub(super) fn write(&self, output: &mut Vec<u8>) {
        for plane in &self.planes {
            // The cast truncates and saturates.
            output.extend(plane.iter().map(|value| (value + 0.5) as u8));
        }
    }
}
