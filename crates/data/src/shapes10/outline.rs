//! The ten shapes, as depth below the outline.

/// A shape in its own coordinates: centred at the origin, about one unit from centre to rim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outline {
    Disc,
    Ring,
    Square,
    Frame,
    Triangle,
    Star,
    Cross,
    Crescent,
    Heart,
    Bar,
}

impl Outline {
    /// All shapes, by label.
    pub(super) const ALL: [Outline; 10] = [
        Outline::Disc,
        Outline::Ring,
        Outline::Square,
        Outline::Frame,
        Outline::Triangle,
        Outline::Star,
        Outline::Cross,
        Outline::Crescent,
        Outline::Heart,
        Outline::Bar,
    ];

    /// How far (u, v) lies inside the shape, in its units: negative outside. Exact near straight
    /// and round parts of the outline, a bound near corners.
    pub(super) fn depth(self, u: f32, v: f32) -> f32 {
        match self {
            Outline::Disc => 0.85 - length(u, v),
            Outline::Ring => {
                let distance = length(u, v);
                (0.95 - distance).min(distance - 0.55)
            }
            Outline::Square => 0.75 - u.abs().max(v.abs()),
            Outline::Frame => {
                let distance = u.abs().max(v.abs());
                (0.85 - distance).min(distance - 0.48)
            }
            Outline::Triangle => {
                let slanted = 0.5 * v - 0.866_025_4 * u.abs();
                (slanted + 0.55).min(0.55 - v)
            }
            Outline::Star => star_depth(u, v),
            Outline::Cross => {
                let (long, short) = (u.abs().max(v.abs()), u.abs().min(v.abs()));
                (1.0 - long).min(0.3 - short)
            }
            Outline::Crescent => {
                let bite = length(u - 0.45, v) - 0.7;
                (0.95 - length(u, v)).min(bite)
            }
            Outline::Heart => heart_depth(u, v),
            Outline::Bar => (1.0 - u.abs()).min(0.33 - v.abs()),
        }
    }
}

/// A pentagram: the points inside at least four of its five lines.
fn star_depth(u: f32, v: f32) -> f32 {
    /// Outward normals of the five lines, 72 degrees apart.
    const NORMALS: [(f32, f32); 5] = [
        (0.0, 1.0),
        (-0.951_056_5, 0.309_017),
        (-0.587_785_25, -0.809_017),
        (0.587_785_25, -0.809_017),
        (0.951_056_5, 0.309_017),
    ];
    let mut least = f32::INFINITY;
    let mut second = f32::INFINITY;
    for (x, y) in NORMALS {
        let depth = 0.36 - (u * x + v * y);
        second = second.min(depth.max(least));
        least = least.min(depth);
    }
    second
}

/// A square standing on its corner, with discs on its two upper sides.
fn heart_depth(u: f32, v: f32) -> f32 {
    const HALF: f32 = 0.52;
    let v = v - 0.15;
    let a = 0.707_106_77 * (u + v);
    let b = 0.707_106_77 * (u - v);
    let square = HALF - a.abs().max(b.abs());
    let left = HALF - length(a + HALF, b);
    let right = HALF - length(a, b - HALF);
    square.max(left).max(right)
}

fn length(u: f32, v: f32) -> f32 {
    libm::sqrtf(u * u + v * v)
}
