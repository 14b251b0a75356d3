//! Ranges from histograms against numpy on all numbers and against ONNX Runtime's calibration.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use calipers_quant::{ActivationScheme, Observer, ObserverKind};
use calipers_random::Random;
use serde::Deserialize;

#[derive(Deserialize)]
struct Expected {
    quantiles: BTreeMap<String, [f64; 2]>,
    percentile: BTreeMap<String, [f64; 2]>,
    least_error: f64,
    our_error: f64,
    entropy: [f64; 2],
    onnx_runtime_entropy: Option<[f64; 2]>,
}

/// Numbers whose largest magnitude is just below 4, where a bin is as wide as one of ONNX Runtime's 2,048.
fn data() -> Vec<(&'static str, Vec<f32>)> {
    const COUNT: usize = 40_000;
    let mut random = Random::new(11, "ranges");
    let mut draw = |shape: &dyn Fn(f64, f64) -> f64| -> Vec<f32> {
        let mut numbers: Vec<f32> = (0..COUNT)
            .map(|_| {
                let (normal, uniform) = (random.normal_f64(), random.uniform_f64());
                shape(normal, uniform).clamp(-3.9, 3.9) as f32
            })
            .collect();
        let largest = f32::from_bits(4f32.to_bits() - 1);
        let negative = numbers.iter().any(|&x| x < 0.0);
        numbers[COUNT / 2] = largest;
        if negative {
            numbers[COUNT / 3] = -largest;
        }
        numbers
    };
    vec![
        ("normal", draw(&|normal, _| 0.8 * normal)),
        ("narrow", draw(&|normal, _| 0.05 * normal)),
        ("skewed", draw(&|normal, _| 0.5 * normal + 0.3 * normal * normal)),
        ("two_humps", draw(&|normal, uniform| if uniform < 0.3 { 2.0 } else { -0.5 } + 0.2 * normal)),
        ("heavy", draw(&|normal, uniform| 0.1 * normal / uniform.max(1e-3))),
        ("relu", draw(&|normal, _| normal.max(0.0))),
    ]
}

#[test]
#[ignore = "needs a Python with onnxruntime"]
fn ranges_are_those_of_numpy_and_onnx_runtime() {
    let Some(python) = std::env::var_os("CALIPERS_ONNXRUNTIME_PYTHON") else {
        println!(
            "left out: ranges of ONNX Runtime; set CALIPERS_ONNXRUNTIME_PYTHON to a Python with onnxruntime"
        );
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let scheme = ActivationScheme::default();
    let mut observers = BTreeMap::new();
    for (name, numbers) in data() {
        let mut observer = Observer::new(ObserverKind::Auto);
        for tensor in numbers.chunks(7_000) {
            observer.observe(tensor).unwrap();
        }
        fs::write(folder.path().join(format!("{name}.bin")), bytemuck::cast_slice(&numbers)).unwrap();
        let mse = observer.range_by(ObserverKind::Mse, &scheme).unwrap();
        fs::write(folder.path().join(format!("{name}.mse")), format!("{} {}", mse.min, mse.max)).unwrap();
        observers.insert(name.to_owned(), observer);
    }
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ranges.py");
    let answer = Command::new(python).arg(script).arg(folder.path()).output().unwrap();
    assert!(answer.status.success(), "{}", String::from_utf8_lossy(&answer.stderr));
    let expected: BTreeMap<String, Expected> = serde_json::from_slice(&answer.stdout).unwrap();
    assert_eq!(expected.len(), 6);

    // The widest bin: 512 to the octave from 2 to 4.
    let bin = 2.0 / 512.0;
    for (name, expected) in &expected {
        // Where numbers are sparse, numpy interpolates between neighbours that lie some bins apart.
        let observer = &observers[name];
        for (source, percentiles, bins) in
            [("numpy", &expected.quantiles, 3.0), ("ONNX Runtime", &expected.percentile, 3.0)]
        {
            for (percent, [low, high]) in percentiles {
                let kind = ObserverKind::Percentile { percent: percent.parse().unwrap() };
                let range = observer.range_by(kind, &scheme).unwrap();
                let apart = (f64::from(range.min) - low).abs().max((f64::from(range.max) - high).abs());
                println!("{name}: {percent} per cent: {range:?}, {source} [{low}, {high}]");
                assert!(
                    apart <= 1.001 * bins * bin,
                    "{name}, {source}, {percent}: {range:?} [{low}, {high}]"
                );
            }
        }
        println!(
            "{name}: squared error {:e}, least of the grid {:e}",
            expected.our_error, expected.least_error
        );
        assert!(expected.our_error <= 1.01 * expected.least_error, "{name}");
        let range = observer.range_by(ObserverKind::Entropy, &scheme).unwrap();
        let apart = |[low, high]: [f64; 2]| {
            (f64::from(range.min) - low).abs().max((f64::from(range.max) - high).abs())
        };
        println!(
            "{name}: entropy {range:?}, numpy {:?}, ONNX Runtime {:?}",
            expected.entropy, expected.onnx_runtime_entropy
        );
        // The minimum is flat, and bins of negative numbers are closed at their other end.
        assert!(apart(expected.entropy) <= 3.0 * bin, "{name}: {range:?} {:?}", expected.entropy);
        // ONNX Runtime rounds its reduced counts down to integers, and so cuts sparse tails somewhat earlier.
        if let Some([low, high]) = expected.onnx_runtime_entropy {
            let share = (high - low) / f64::from(range.max - range.min);
            assert!((0.8..=1.01).contains(&share), "{name}: {range:?} [{low}, {high}]");
        }
    }
}
