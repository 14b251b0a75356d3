//! Axes: which numbers fit, where they stand, and which of them are written.

use calipers_inspect::number::fixed;

/// From which greatest over least number on an axis is logarithmic.
const WIDE: f64 = 40.0;

/// An axis from 0 to 1 across the panel.
#[derive(Clone, Debug)]
pub(in crate::report) struct Axis {
    low: f64,
    high: f64,
    /// Between ticks; none where it is logarithmic.
    step: Option<f64>,
    percent: bool,
}

impl Axis {
    /// An axis that holds all these numbers, and 0 unless it is logarithmic.
    pub fn of(values: &[f64], may_be_logarithmic: bool) -> Axis {
        let finite = || values.iter().copied().filter(|value| value.is_finite());
        let least = finite().fold(f64::INFINITY, f64::min);
        let greatest = finite().fold(f64::NEG_INFINITY, f64::max);
        if may_be_logarithmic && least > 0.0 && greatest / least > WIDE {
            return Axis::logarithmic(values);
        }
        Axis::linear(least.min(0.0), greatest.max(0.0))
    }

    /// A logarithmic axis of positive numbers.
    pub fn logarithmic(values: &[f64]) -> Axis {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = values.iter().copied().fold(0.0, f64::max);
        Axis {
            low: decade(least * 0.98, false),
            high: decade(greatest * 1.02, true),
            step: None,
            percent: false,
        }
    }

    /// A linear axis that need not hold 0.
    pub fn around(values: &[f64]) -> Axis {
        let least = values.iter().copied().fold(f64::INFINITY, f64::min);
        let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Axis::linear(least - 0.05, greatest + 0.05)
    }

    fn linear(low: f64, high: f64) -> Axis {
        let (low, high) = if high > low { (low, high) } else { (0.0, 1.0) };
        let step = nice((high - low) / 4.0);
        Axis {
            low: (low / step).floor() * step,
            high: (high / step).ceil() * step,
            step: Some(step),
            percent: false,
        }
    }

    /// An axis of shares of a whole, in percent.
    pub fn of_shares() -> Axis {
        Axis { low: 0.0, high: 1.0, step: Some(0.25), percent: true }
    }

    /// Whether equal ratios are equally long.
    pub fn is_logarithmic(&self) -> bool {
        self.step.is_none()
    }

    /// Place of a number, from 0 to 1; what does not fit stands at the end.
    pub fn place(&self, value: f64) -> f64 {
        let place = match self.step {
            Some(_) => (value - self.low) / (self.high - self.low),
            None => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        if place.is_nan() { 0.0 } else { place.clamp(0.0, 1.0) }
    }

    /// Numbers that are written at the axis, and how.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        match self.step {
            Some(step) => {
                let count = ((self.high - self.low) / step).round() as i64;
                let decimals = (-step.log10().floor()).max(0.0) as usize;
                let written = |value: f64| {
                    if self.percent {
                        format!("{} %", fixed(100.0 * value, 0))
                    } else {
                        fixed(value, decimals)
                    }
                };
                (0..=count)
                    .map(|tick| {
                        // A zero that was added up would have a sign or be nearly one.
                        let value = ((self.low / step).round() + tick as f64) * step;
                        (value + 0.0, written(value))
                    })
                    .collect()
            }
            None => {
                let exponents = (self.low.log10().floor() as i32)..=(self.high.log10().ceil() as i32);
                let decades = (self.high / self.low).log10();
                let factors: &[f64] = if decades > 3.5 {
                    &[1.0]
                } else if decades > 2.0 {
                    &[1.0, 3.0]
                } else {
                    &[1.0, 2.0, 5.0]
                };
                exponents
                    .flat_map(|exponent| factors.iter().map(move |factor| factor * 10f64.powi(exponent)))
                    .filter(|value| (self.low * 0.999..=self.high * 1.001).contains(value))
                    .map(|value| (value, fixed(value, (-value.log10().floor()).max(0.0) as usize)))
                    .collect()
            }
        }
    }
}

/// The next 1, 2 or 5 times a power of ten, above or below.
fn decade(value: f64, above: bool) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    let found = if above {
        steps.into_iter().find(|step| *step >= value * 0.999)
    } else {
        steps.into_iter().rev().find(|step| *step <= value * 1.001)
    };
    found.unwrap_or(value)
}

/// The next larger 1, 2 or 5 times a power of ten.
fn nice(rough: f64) -> f64 {
    decade(rough, true)
}

#[cfg(test)]
mod tests {
    use super::Axis;

    fn texts(axis: &Axis) -> Vec<String> {
        axis.ticks().into_iter().map(|(_, text)| text).collect()
    }

    #[test]
    fn ticks_are_round_numbers_and_hold_all_values() {
        assert_eq!(texts(&Axis::of(&[3.0, 91.3], false)), ["0", "50", "100"]);
        assert_eq!(texts(&Axis::of(&[-1.3, 0.4], false)), ["-1.5", "-1.0", "-0.5", "0.0", "0.5"]);
        let wide = Axis::of(&[0.3, 90.0], true);
        assert!(wide.is_logarithmic() && !Axis::of(&[0.3, 90.0], false).is_logarithmic());
        assert_eq!(texts(&wide), ["0.3", "1", "3", "10", "30", "100"]);
        assert_eq!(texts(&Axis::of_shares()), ["0 %", "25 %", "50 %", "75 %", "100 %"]);
    }

    #[test]
    fn what_is_not_a_number_has_a_place_all_the_same() {
        for axis in [Axis::of(&[], true), Axis::of(&[f64::NAN, f64::INFINITY], false)] {
            assert_eq!((axis.place(f64::NAN), axis.place(0.0), axis.place(f64::INFINITY)), (0.0, 0.0, 1.0));
            assert!(!axis.ticks().is_empty());
        }
        assert!((Axis::of(&[1.0, 100.0], true).place(10.0) - 0.5).abs() < 1e-9);
    }
}
