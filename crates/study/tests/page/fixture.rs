//! A report as a study makes it: every cell there is, with some that failed and some that were not tried.
//!
//! The numbers follow from places and names alone; nothing was measured.

use std::collections::BTreeMap;

use calipers_study::report::{
    Accuracy, AgainstFloat, Artefact, CalibrationMetrics, CellError, CellReport, DataFacts, EpochPoint,
    FrameworkFacts, Gates, Histogram, IntegerShares, KindTime, LatencyMetrics, Ledger, LedgerEntry, Memory,
    Metrics, ModelFacts, NullTest, ParityGate, Profile, Report, Start, Status, StepGate, ThroughputMetrics,
    Timing, TrainingMetrics, VERSION, WeightReport,
};
use calipers_study::{Cell, Framework, Interval, Machine, Origin, Spec, Tuning, VARIANTS, Variant};
use calipers_workers::protocol::{Kind, ProfiledOperator};

/// Test samples.
pub const SAMPLES: usize = 2_000;

pub fn interval(value: f64, low: f64, high: f64) -> Interval {
    Interval { value, low, high }
}

fn near(value: f64) -> Interval {
    interval(value, value * 0.985, value * 1.015)
}

/// Wilson's interval, to a thousandth of what the program computes.
pub fn accuracy(correct: usize) -> Accuracy {
    let share = correct as f64 / SAMPLES as f64;
    let half = 1.96 * (share * (1.0 - share) / SAMPLES as f64).sqrt();
    Accuracy { correct, total: SAMPLES, share: interval(share, share - half, share + half) }
}

/// A number from 0 to 1 that follows from a text.
fn draw(text: &str) -> f64 {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

/// The quick study with every path of every framework.
pub fn spec() -> Spec {
    let mut spec = Spec::quick().expect("the embedded study");
    spec.variants = VARIANTS.to_vec();
    spec.tunings = vec![Tuning::Default, Tuning::Tuned];
    spec.frameworks = Framework::ALL
        .into_iter()
        .map(|framework| (framework, framework.routes().iter().map(|route| route.path.to_owned()).collect()))
        .collect();
    spec
}

/// Milliseconds of a framework's float model, and what an 8-bit one takes of them.
fn speed(framework: Framework) -> (f64, f64) {
    match framework {
        Framework::PyTorch => (0.912, 0.47),
        Framework::TensorFlow => (1.21, 0.31),
        Framework::OnnxRuntime => (0.744, 0.52),
        Framework::OpenVino => (0.688, 0.49),
        Framework::Calipers => (0.702, 0.433),
    }
}

fn is_float(variant: Variant) -> bool {
    matches!(variant, Variant::Float | Variant::FloatFinetuned)
}

/// Whether it is the float cell that others are held against.
fn is_their_float(cell: &Cell) -> bool {
    cell.float_cells()[0] == *cell
}

/// Whether it is timed: of the first seed, and of a framework that has two sets of weights on its own.
fn is_timed(cell: &Cell) -> bool {
    cell.seed == 1 && (cell.weights == Origin::Own || !cell.framework.trains())
}

/// Two-sided p-value of the binomial test at 1/2.
fn mcnemar(gained: usize, lost: usize) -> f64 {
    let (n, least) = (gained + lost, gained.min(lost));
    let ways = |k: usize| (0..k).map(|i| (n - i) as f64 / (i + 1) as f64).product::<f64>();
    (2.0 * (0..=least).map(ways).sum::<f64>() / 2.0_f64.powi(n as i32)).min(1.0)
}

fn memory(idle: u64, above: f64) -> Memory {
    Memory { idle, peak: idle + (above * f64::from(1 << 20)) as u64 }
}

fn metrics(cell: &Cell, layers: usize) -> Metrics {
    let name = cell.to_string();
    let chance = draw(&name);
    let float = is_float(cell.variant);
    let (milliseconds, fraction) = speed(cell.framework);
    let fraction = match cell.variant {
        Variant::Float | Variant::FloatFinetuned => 1.0 + 0.02 * (chance - 0.5),
        Variant::PtqStatic | Variant::Qat => fraction * (1.0 + 0.2 * (chance - 0.5)),
        Variant::PtqDynamic => 0.8 + 0.5 * chance,
        Variant::WeightOnly => 1.0 + 0.3 * chance,
    };
    let p50 = milliseconds * fraction;
    let lost = match cell.variant {
        Variant::Float => 0,
        Variant::PtqStatic => 14 + (40.0 * chance) as usize,
        _ => 6 + (8.0 * chance) as usize,
    };
    let gained =
        lost / 2 + if matches!(cell.variant, Variant::Qat | Variant::FloatFinetuned) { 14 } else { 0 };
    let base =
        if cell.weights == Origin::Own && cell.framework == Framework::TensorFlow { 1822 } else { 1827 };
    let seed = 8 * (cell.seed as usize - 1);
    let difference = (gained as f64 - lost as f64) / SAMPLES as f64;
    let half = 1.96 * ((gained + lost) as f64).sqrt() / SAMPLES as f64;
    let bytes = if float { 325_380 } else { 101_000 + (20_000.0 * chance) as u64 };
    let share = if float { 0.0 } else { 0.993 };
    let stays_float = matches!(cell.variant, Variant::WeightOnly);
    Metrics {
        accuracy: Some(accuracy(base + gained - lost + seed)),
        against_float: (!is_their_float(cell)).then(|| AgainstFloat {
            agreement: 1.0 - 1.3 * (gained + lost) as f64 / SAMPLES as f64,
            gained: Some(gained),
            lost: Some(lost),
            difference: Some(interval(difference, difference - half, difference + half)),
            mcnemar: Some(mcnemar(gained, lost)),
        }),
        file_bytes: Some(bytes),
        ledger: (cell.seed == 1).then(|| Ledger {
            entries: vec![
                LedgerEntry {
                    name: String::from("stage3.conv2.weight"),
                    dtype: String::from(if float { "float32" } else { "int8" }),
                    elements: 36_864,
                    bytes: if float { 147_456 } else { 36_864 },
                    why_float: None,
                },
                LedgerEntry {
                    name: String::from("stage3.conv1.weight"),
                    dtype: String::from(if float { "float32" } else { "int8" }),
                    elements: 18_432,
                    bytes: if float { 73_728 } else { 18_432 },
                    why_float: None,
                },
                LedgerEntry {
                    name: String::from("classifier.weight"),
                    dtype: String::from("float32"),
                    elements: 640,
                    bytes: 2_560,
                    why_float: (!float).then(|| String::from("the recipe leaves the last layer in float")),
                },
                LedgerEntry {
                    name: String::from("stage3.conv2.bias"),
                    dtype: String::from("int32"),
                    elements: 64,
                    bytes: 256,
                    why_float: None,
                },
            ],
            rest: 9_812,
        }),
        weight_bytes: Some(bytes - 9_812),
        integer: Some(IntegerShares {
            stored_weights: share,
            weights: if stays_float { 0.0 } else { share },
            macs: match (cell.framework, cell.path.as_str(), cell.variant) {
                _ if stays_float => 0.0,
                // Linear layers alone.
                (Framework::PyTorch, "eager" | "fx", Variant::PtqDynamic) => 0.000_05,
                _ => share * 0.98,
            },
            all_weights: 77_360,
            all_macs: 12_501_632,
        }),
        training: matches!(cell.variant, Variant::FloatFinetuned | Variant::Qat | Variant::Float)
            .then(|| training(cell, chance))
            .filter(|_| cell.weights == Origin::Own),
        calibration: match cell.variant {
            Variant::PtqStatic | Variant::PtqDynamic | Variant::WeightOnly => Some(CalibrationMetrics {
                samples: if cell.variant == Variant::PtqStatic { 512 } else { 0 },
                prepare_seconds: 0.21,
                calibrate_seconds: if cell.variant == Variant::PtqStatic { 1.0 + 3.0 * chance } else { 0.0 },
                convert_seconds: 0.17,
                memory: Some(memory(310 << 20, 80.0 + 60.0 * chance)),
            }),
            Variant::Float | Variant::FloatFinetuned | Variant::Qat => None,
        },
        convert_seconds: (cell.variant == Variant::Qat).then_some(0.25),
        start: is_timed(cell).then(|| Start {
            import_seconds: 0.4 + 2.0 * chance,
            first_inference_seconds: 0.6 + 2.2 * chance,
            memory: Some(memory(300 << 20, 18.0 + 30.0 * chance)),
        }),
        latency: is_timed(cell).then(|| LatencyMetrics {
            p50,
            p90: p50 * 1.08,
            p99: p50 * 1.6,
            of_blocks: [0.96, 0.985, 1.0, 1.02, 1.0 + 0.3 * chance].map(|factor| factor * p50),
            inferences: 4_200,
            cores: Some(1.9),
            to_float: (!is_their_float(cell)).then(|| near(fraction)),
            to_first: (cell.framework != Framework::PyTorch || !is_their_float(cell) || cell.path != "eager")
                .then(|| near(p50 / 0.912)),
        }),
        throughput: is_timed(cell).then(|| ThroughputMetrics {
            batch: 32,
            samples_per_second: 1_800.0 / p50,
            p50: 17.8 * p50,
            inferences: 310,
            to_float: (!is_their_float(cell)).then(|| near(fraction)),
        }),
        operators: operators(cell.variant),
        profile: is_timed(cell).then(|| profile(p50, float)),
        weights: if cell.seed == 1 {
            (0..layers).map(|layer| weights(layer, layers, float, cell.variant)).collect()
        } else {
            Vec::new()
        },
        recipe: format!(
            "model.eval()\nprepared = prepare(model, mapping=\"{}\")\nfor inputs in batches:\n    prepared(inputs)\n\
             converted = convert(prepared)  # a < b & c\n",
            cell.name()
        ),
    }
}

fn training(cell: &Cell, chance: f64) -> TrainingMetrics {
    let seconds_per_step = if cell.variant == Variant::Qat { 0.0963 + 0.05 * chance } else { 0.0482 };
    let (first, epochs) = if cell.variant == Variant::Float { (0, 5) } else { (5, 2) };
    TrainingMetrics {
        epochs,
        seconds_per_step,
        seconds_per_epoch: 125.0 * seconds_per_step,
        seconds: 125.0 * seconds_per_step * epochs as f64,
        final_loss: 0.21,
        curve: (0..epochs)
            .map(|epoch| EpochPoint {
                epoch: first + epoch,
                rate: 0.1,
                loss: 1.4 / (1.0 + epoch as f64) + 0.1,
                accuracy: 0.9,
            })
            .collect(),
        overhead: (cell.variant == Variant::Qat).then(|| near(seconds_per_step / 0.0482)),
        memory: Some(memory(330 << 20, 210.0)),
    }
}

fn operators(variant: Variant) -> BTreeMap<String, BTreeMap<String, u64>> {
    let class = match variant {
        Variant::Float | Variant::FloatFinetuned => "float",
        Variant::PtqStatic | Variant::Qat => "integer",
        Variant::PtqDynamic => "dynamic",
        Variant::WeightOnly => "weight-only",
    };
    let one = |class: &str, count| BTreeMap::from([(class.to_owned(), count)]);
    BTreeMap::from([
        (String::from("convolution"), one(class, 9)),
        (String::from("matrix-product"), one(class, 1)),
        (String::from("elementwise"), one("float", 3)),
    ])
}

fn profile(p50: f64, float: bool) -> Profile {
    let wall = 1.15e6 * p50;
    let shares = if float {
        [
            (Kind::Convolution, 0.71, 9),
            (Kind::MatrixProduct, 0.05, 1),
            (Kind::Elementwise, 0.09, 3),
            (Kind::Pooling, 0.04, 1),
        ]
    } else {
        [
            (Kind::Convolution, 0.42, 9),
            (Kind::Conversion, 0.27, 4),
            (Kind::Elementwise, 0.12, 3),
            (Kind::Movement, 0.06, 2),
        ]
    };
    let kinds = shares
        .iter()
        .map(|&(kind, share, calls)| KindTime { kind, calls, nanoseconds: share * wall, bytes: Some(65_536) })
        .collect();
    let operators = shares
        .iter()
        .flat_map(|&(kind, share, calls)| {
            (0..calls).map(move |call| ProfiledOperator {
                name: format!("{kind:?}_{call} <fused>"),
                kind,
                calls: 1,
                nanoseconds: share * wall / calls as f64,
                bytes: Some(65_536 / calls),
            })
        })
        .collect();
    Profile {
        profiler: String::from("torch.profiler"),
        resolution_nanoseconds: 1_000,
        wall_nanoseconds: wall,
        bytes_are: String::from("allocated while it ran"),
        kinds,
        operators,
        trace: String::from("artefacts/trace.json"),
    }
}

fn weights(layer: usize, layers: usize, float: bool, variant: Variant) -> WeightReport {
    let bell = |bin: usize, bins: usize, wide: f64| {
        let x = (bin as f64 + 0.5) / bins as f64 * 6.0 - 3.0;
        (9_000.0 * (-x * x / wide).exp()) as u64
    };
    let (bins, wide) = (128, 1.2 + 0.2 * (layer % 5) as f64);
    let histogram = |low, high, counts| Histogram { low, high, counts };
    let float_counts: Vec<u64> = (0..bins).map(|bin| bell(bin, bins, wide)).collect();
    let real = (0..bins)
        .map(|bin| match (float, bin % 4) {
            (true, _) => float_counts[bin],
            (false, 0) => 3 * float_counts[bin],
            (false, _) => float_counts[bin] / 3,
        })
        .collect();
    let stored = !matches!(variant, Variant::Float | Variant::FloatFinetuned);
    WeightReport {
        name: if layer + 1 == layers {
            String::from("classifier.weight")
        } else {
            format!("stage{layer}.conv.weight")
        },
        stored_as: format!("layers.{layer}.weight"),
        dtype: String::from(if stored { "int8" } else { "float32" }),
        elements: 36_864,
        float: histogram(-0.41, 0.43, float_counts),
        real: histogram(-0.41, 0.43, real),
        integers: stored
            .then(|| histogram(-128.0, 128.0, (0..256).map(|bin| bell(bin, 256, wide)).collect())),
    }
}

fn measured(cell: Cell, layers: usize) -> CellReport {
    let folder = format!("artefacts/{}", cell.folder());
    CellReport {
        artefact: Some(Artefact { file: format!("{folder}/model.bin"), folder }),
        metrics: metrics(&cell, layers),
        cell,
        status: Status::Ok,
        error: None,
    }
}

pub fn without_numbers(cell: Cell, status: Status, error: CellError) -> CellReport {
    CellReport { cell, status, metrics: Metrics::default(), artefact: None, error: Some(error) }
}

fn reported(cell: Cell, layers: usize) -> CellReport {
    let error = |stage: Option<&str>, message: &str, details: Option<&str>| CellError {
        stage: stage.map(str::to_owned),
        message: message.to_owned(),
        details: details.map(str::to_owned),
    };
    let skipped = "Calipers does not train, so it has no quantization-aware training of its own";
    let no_gpu =
        "there is no GPU: torch.cuda.is_available() is false\nhint: run the study on a machine that has one";
    let traceback = "Traceback (most recent call last):\n  File \"convert.py\", line 3, in <module>\nRuntimeError: tag <b> and | pipe";
    match (cell.framework, cell.path.as_str(), cell.variant) {
        (Framework::Calipers, _, Variant::Qat) => {
            without_numbers(cell, Status::Skipped, error(None, skipped, None))
        }
        (Framework::PyTorch, "gpu", _) => {
            without_numbers(cell, Status::Failed, error(Some("load"), no_gpu, None))
        }
        (Framework::TensorFlow, "tflite-int16x8", _) => {
            let message = "the converter gave up on <script>alert(1)</script> & \"operator\" 7";
            without_numbers(cell, Status::Failed, error(Some("convert"), message, Some(traceback)))
        }
        _ => measured(cell, layers),
    }
}

fn parity(weights: &str, framework: Framework) -> ParityGate {
    ParityGate {
        seed: 1,
        weights: weights.to_owned(),
        framework,
        reference: Framework::PyTorch,
        difference: Some(2.4e-6),
        allowed: 6.1e-4,
        samples: 256,
        passed: true,
        error: None,
    }
}

fn null_test(framework: Framework) -> NullTest {
    let mut routes = framework.routes().iter();
    let first = routes.find(|route| route.default.contains(&Variant::PtqStatic)).expect("it quantizes").path;
    let weights = if framework.trains() { Origin::Own } else { Origin::Shared };
    let cell = Cell {
        framework,
        path: first.to_owned(),
        tuning: Tuning::Default,
        variant: Variant::PtqStatic,
        weights,
        seed: 1,
    };
    NullTest { cell, ratio: interval(1.002, 0.996, 1.009), passed: true }
}

/// Every cell of one seed, with this many layers of weights each.
pub fn report(layers: usize) -> Report {
    let spec = spec();
    let cells: Vec<CellReport> = spec.cells(1).into_iter().map(|cell| reported(cell, layers)).collect();
    let fastest = cells
        .iter()
        .filter(|cell| cell.metrics.latency.is_some())
        .min_by(|a, b| {
            let time = |cell: &CellReport| cell.metrics.latency.as_ref().map_or(f64::INFINITY, |it| it.p50);
            time(a).total_cmp(&time(b))
        })
        .map(|cell| cell.cell.clone());
    let framework = |framework, packages: &[(&str, &str)], python: Option<&str>| FrameworkFacts {
        framework,
        versions: packages.iter().map(|&(name, version)| (name.to_owned(), version.to_owned())).collect(),
        python: python.map(str::to_owned),
        threads: Some(2),
    };
    Report {
        version: VERSION,
        calipers: String::from("0.1.0"),
        command: ["calipers", "study", "--out", "runs/my study"].map(str::to_owned).to_vec(),
        started: String::from("2025-03-04T10:11:12Z"),
        finished: String::from("2025-03-04T10:56:40Z"),
        machine: Machine {
            processor: String::from("Example Processor 9000 @ 2.70GHz"),
            features: ["avx2", "fma", "avx512f", "avx512_vnni"].map(str::to_owned).to_vec(),
            cores: 2,
            governor: Some(String::from("performance")),
            memory_bytes: Some(8 << 30),
            system: String::from("linux x86_64"),
        },
        threads: 2,
        study: spec,
        model: ModelFacts {
            name: String::from("resnet8"),
            parameters: 78_666,
            onnx_bytes: 318_006,
            macs: 12_501_632,
            classes: Some(10),
        },
        data: DataFacts {
            name: String::from("shapes10"),
            train: 8_000,
            test: SAMPLES,
            calibration: 512,
            train_hash: "5d".repeat(32),
            test_hash: "a1".repeat(32),
            dropped_from_training: 0,
            has_labels: true,
        },
        frameworks: vec![
            framework(Framework::PyTorch, &[("numpy", "2.4.0"), ("torch", "2.15.0")], Some("3.11.2")),
            framework(
                Framework::TensorFlow,
                &[("tensorflow-cpu", "2.21.0"), ("tf-keras", "2.21.0")],
                Some("3.11.2"),
            ),
            framework(Framework::OnnxRuntime, &[("onnxruntime", "1.25.0")], Some("3.11.2")),
            framework(Framework::OpenVino, &[("nncf", "3.1.0"), ("openvino", "2026.1.0")], Some("3.11.2")),
            framework(Framework::Calipers, &[("calipers", "0.1.0")], None),
        ],
        gates: Gates {
            parity: Framework::ALL[1..]
                .iter()
                .flat_map(|&framework| {
                    ["initial", "trained by pytorch"].map(|weights| parity(weights, framework))
                })
                .collect(),
            steps: vec![StepGate {
                seed: 1,
                framework: Framework::TensorFlow,
                reference: Framework::PyTorch,
                steps: 5,
                weights: Some(4.6e-6),
                statistics: Some(8.8e-7),
                worst: Some(String::from("stage2.conv1.weight")),
                allowed: 1e-4,
                passed: true,
                error: None,
            }],
        },
        cells,
        timing: Some(Timing {
            rounds: 30,
            batch: 32,
            null_tests: Framework::ALL.into_iter().map(null_test).collect(),
            trustworthy: true,
            fastest: fastest.clone(),
            fastest_batch: fastest,
        }),
        notes: vec![String::from(
            "Post-training quantization is calibrated on 512 training images, as in the paper.",
        )],
    }
}

/// Everything once more with seed 2, eight more samples right, and not timed.
pub fn with_second_seed(mut report: Report) -> Report {
    report.study.seeds = vec![1, 2];
    let second: Vec<CellReport> = report.study.cells(2).into_iter().map(|cell| reported(cell, 0)).collect();
    report.cells.extend(second);
    report
}
