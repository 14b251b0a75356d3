//! What stands in an image of `shapes10` besides its shape, and how all of it is drawn by chance.

use calipers_random::Random;

use super::canvas::{Area, Canvas, Colour, SIDE};
use super::outline::Outline;

/// Draws one image with `outline` in it.
pub(super) fn draw(outline: Outline, random: &mut Random, canvas: &mut Canvas) {
    let ground_brightness = between(random, 60.0, 120.0);
    let ground = Shade::of_brightness(random, ground_brightness);
    let figure_brightness = ground_brightness + between(random, 40.0, 100.0);
    let figure = Shade::of_brightness(random, figure_brightness);
    let waves = Waves::drawn(random);
    canvas.cover(|x, y| {
        let wave = waves.at(x, y);
        ground.at(x, y).map(|value| value + wave)
    });

    for _ in 0..random.range(1, 4) {
        let shade = Shade::drawn(random);
        canvas.paint(&Stroke::drawn(random, 0.5, 1.1, 3.0, 9.0), |x, y| shade.at(x, y));
    }

    let shape = Placed::drawn(random, outline);
    canvas.paint(&shape, |x, y| figure.at(x, y));

    for _ in 0..random.range(0, 3) {
        let shade = Shade::drawn(random);
        let stroke = shape.crossed_by(random);
        canvas.paint(&stroke, |x, y| shade.at(x, y));
    }
    let deviation = between(random, 6.0, 20.0);
    canvas.add_noise(random, deviation);
}

/// A shape at its place in the image.
struct Placed {
    outline: Outline,
    x: f32,
    y: f32,
    radius: f32,
    /// From pixels to the shape's units: its first row gives u, its second v.
    to_units: [[f32; 2]; 2],
    /// Pixels a unit, the lesser of the two directions.
    pixels: f32,
}

impl Placed {
    fn drawn(random: &mut Random, outline: Outline) -> Placed {
        let radius = between(random, 7.5, 12.5);
        let middle = SIDE as f32 / 2.0;
        let reach = (middle - 0.8 * radius).min(5.0);
        let x = middle + between(random, -reach, reach);
        let y = middle + between(random, -reach, reach);
        let (sine, cosine) = tilt(random);
        let stretch = between(random, 0.8, 1.25);
        let (wide, high) = (radius * stretch, radius / stretch);
        Placed {
            outline,
            x,
            y,
            radius: 1.45 * wide.max(high),
            to_units: [[cosine / wide, sine / wide], [-sine / high, cosine / high]],
            pixels: wide.min(high),
        }
    }

    /// A stroke over a part of the shape.
    fn crossed_by(&self, random: &mut Random) -> Stroke {
        let mut stroke = Stroke::drawn(random, 0.7, 1.6, 4.0, 10.0);
        let reach = 0.6 * self.pixels;
        stroke.x = self.x + between(random, -reach, reach);
        stroke.y = self.y + between(random, -reach, reach);
        stroke
    }
}

impl Area for Placed {
    fn bounds(&self) -> (f32, f32, f32) {
        (self.x, self.y, self.radius)
    }

    fn depth(&self, x: f32, y: f32) -> f32 {
        let (x, y) = (x - self.x, y - self.y);
        let [u, v] = self.to_units.map(|row| row[0] * x + row[1] * y);
        self.outline.depth(u, v) * self.pixels
    }
}

/// A line with round ends.
struct Stroke {
    x: f32,
    y: f32,
    sine: f32,
    cosine: f32,
    half_length: f32,
    half_width: f32,
}

impl Stroke {
    fn drawn(random: &mut Random, thin: f32, thick: f32, short: f32, long: f32) -> Stroke {
        let side = SIDE as f32;
        let (sine, cosine) = turn(random);
        Stroke {
            x: between(random, 0.0, side),
            y: between(random, 0.0, side),
            sine,
            cosine,
            half_length: between(random, short, long) / 2.0,
            half_width: between(random, thin, thick),
        }
    }
}

impl Area for Stroke {
    fn bounds(&self) -> (f32, f32, f32) {
        (self.x, self.y, self.half_length + self.half_width)
    }

    fn depth(&self, x: f32, y: f32) -> f32 {
        let (x, y) = (x - self.x, y - self.y);
        let along = (x * self.cosine + y * self.sine).abs() - self.half_length;
        let across = y * self.cosine - x * self.sine;
        let beyond = along.max(0.0);
        self.half_width - libm::sqrtf(beyond * beyond + across * across)
    }
}

/// A colour that changes steadily across the image.
struct Shade {
    colour: Colour,
    /// Change a pixel to the right and a pixel down, by channel.
    slopes: [[f32; 2]; 3],
}

impl Shade {
    fn drawn(random: &mut Random) -> Shade {
        let colour = colour(random);
        Shade::sloping(random, colour)
    }

    /// A drawn colour, less saturated, whose channels have the mean `brightness`.
    fn of_brightness(random: &mut Random, brightness: f32) -> Shade {
        let mut colour = colour(random);
        let mean = (colour[0] + colour[1] + colour[2]) / 3.0;
        for value in &mut colour {
            *value = 0.6 * (*value - mean) + brightness;
        }
        Shade::sloping(random, colour)
    }

    fn sloping(random: &mut Random, colour: Colour) -> Shade {
        let mut slope = || between(random, -1.5, 1.5);
        Shade { colour, slopes: std::array::from_fn(|_| [slope(), slope()]) }
    }

    fn at(&self, x: f32, y: f32) -> Colour {
        let middle = SIDE as f32 / 2.0;
        std::array::from_fn(|channel| {
            let [right, down] = self.slopes[channel];
            self.colour[channel] + right * (x - middle) + down * (y - middle)
        })
    }
}

/// Stripes of brightness in one direction.
struct Waves {
    right: f32,
    down: f32,
    start: f32,
    height: f32,
}

impl Waves {
    fn drawn(random: &mut Random) -> Waves {
        let (sine, cosine) = turn(random);
        let length = between(random, 4.0, 16.0);
        Waves {
            right: cosine / length,
            down: sine / length,
            start: between(random, 100.0, 101.0),
            height: between(random, 0.0, 20.0),
        }
    }

    /// A triangle wave between `-height` and `height`.
    fn at(&self, x: f32, y: f32) -> f32 {
        let phase = self.start + self.right * x + self.down * y;
        // The start keeps the phase positive, where the cast takes the whole part away.
        let part = phase - (phase as i32) as f32;
        self.height * ((part - 0.5).abs() * 4.0 - 1.0)
    }
}

fn colour(random: &mut Random) -> Colour {
    std::array::from_fn(|_| between(random, 25.0, 230.0))
}

fn between(random: &mut Random, low: f32, high: f32) -> f32 {
    low + (high - low) * random.uniform_f32()
}

/// Sine and cosine of a drawn angle of at most 30 degrees to either side.
fn tilt(random: &mut Random) -> (f32, f32) {
    libm::sincosf(between(random, -0.52, 0.52))
}

/// Sine and cosine of a uniformly drawn angle.
fn turn(random: &mut Random) -> (f32, f32) {
    libm::sincosf(random.uniform_f32() * 2.0 * std::f32::consts::PI)
}
