//! A report as a study makes it, and what is made of it for people.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Accuracy, Artefact, CalibrationMetrics, CellError, CellReport, DataFacts, FrameworkFacts, Gates,
    LatencyMetrics, Metrics, ModelFacts, ParityGate, Report, Status, StepGate, Timing, TrainingMetrics,
    VERSION, html, markdown, row, table, verdict,
};
use crate::cell::{Cell, Framework, Variant};
use crate::machine::Machine;
use crate::spec::Spec;
use crate::statistics::{Interval, wilson};

const DOCUMENTATION: &str = include_str!("../../../../docs/report.md");

fn interval(value: f64, low: f64, high: f64) -> Interval {
    Interval { value, low, high }
}

fn cell(framework: Framework, path: &str, variant: Variant) -> Cell {
    Cell { framework, path: path.to_owned(), variant, seed: 1 }
}

/// A measured cell: correct of 2,000, agreement, bytes, and p50 with its ratio to float.
fn ok(cell: Cell, correct: usize, agreement: f64, bytes: u64, p50: f64, to_float: f64) -> CellReport {
    let folder = format!("artefacts/{}", cell.folder());
    let is_float = cell.variant == Variant::Float;
    let near = |value: f64| interval(value, value * 0.985, value * 1.015);
    let metrics = Metrics {
        accuracy: Some(Accuracy { correct, total: 2000, share: wilson(correct, 2000) }),
        agreement_with_float: Some(agreement),
        file_bytes: Some(bytes),
        latency: Some(LatencyMetrics {
            p50,
            p90: p50 * 1.08,
            p99: p50 * 1.6,
            inferences: 4_200,
            to_float: (!is_float).then(|| near(to_float)),
            to_first: None,
        }),
        ..Metrics::default()
    };
    CellReport {
        artefact: Some(Artefact { file: format!("{folder}/model.bin"), folder }),
        cell,
        status: Status::Ok,
        metrics,
        error: None,
    }
}

fn trained(mut report: CellReport, seconds_per_step: f64, overhead: Option<f64>) -> CellReport {
    report.metrics.training = Some(TrainingMetrics {
        epochs: 2,
        seconds_per_step,
        seconds_per_epoch: 125.0 * seconds_per_step,
        seconds: 250.0 * seconds_per_step,
        final_loss: 0.21,
        overhead: overhead.map(|value| interval(value, value - 0.04, value + 0.04)),
    });
    report
}

fn calibrated(mut report: CellReport, calibrate_seconds: f64) -> CellReport {
    report.metrics.calibration = Some(CalibrationMetrics {
        samples: 512,
        prepare_seconds: 0.21,
        calibrate_seconds,
        convert_seconds: 0.17,
    });
    report.metrics.quantized_operators = BTreeMap::from([("Conv".to_owned(), 9), ("Add".to_owned(), 3)]);
    report.metrics.float_operators = BTreeMap::from([("Softmax".to_owned(), 1)]);
    report
}

fn without_numbers(cell: Cell, status: Status, error: CellError) -> CellReport {
    CellReport { cell, status, metrics: Metrics::default(), artefact: None, error: Some(error) }
}

fn parity(weights: &str, framework: Framework, difference: f64) -> ParityGate {
    ParityGate {
        seed: 1,
        weights: weights.to_owned(),
        framework,
        reference: Framework::PyTorch,
        difference: Some(difference),
        allowed: 6.1e-4,
        samples: 256,
        passed: difference <= 6.1e-4,
        error: None,
    }
}

/// The quick study on a quiet machine, with the one cell missing that Calipers cannot make yet.
pub(super) fn fixture() -> Report {
    use Framework::{Calipers, PyTorch, TensorFlow};
    use Variant::{Float, FloatFinetuned, PtqStatic, Qat};
    let skipped = CellError {
        stage: None,
        message: String::from(
            "Calipers does not train yet, so it has no quantization-aware training of its own",
        ),
        details: None,
    };
    let cells = vec![
        trained(ok(cell(PyTorch, "eager", Float), 1827, 1.0, 325_380, 0.912, 1.0), 0.0482, None),
        trained(ok(cell(PyTorch, "eager", FloatFinetuned), 1835, 0.971, 325_380, 0.915, 1.003), 0.0479, None),
        calibrated(ok(cell(PyTorch, "eager", PtqStatic), 1804, 0.9715, 118_312, 0.431, 0.473), 1.92),
        calibrated(ok(cell(PyTorch, "fx", PtqStatic), 1823, 0.993, 121_004, 0.452, 0.496), 2.05),
        trained(ok(cell(PyTorch, "eager", Qat), 1833, 0.968, 118_312, 0.433, 0.475), 0.0963, Some(1.98)),
        trained(ok(cell(PyTorch, "fx", Qat), 1831, 0.967, 121_004, 0.455, 0.499), 0.1011, Some(2.09)),
        trained(ok(cell(TensorFlow, "keras", Float), 1827, 0.9995, 331_224, 1.21, 1.0), 0.0611, None),
        trained(
            ok(cell(TensorFlow, "keras", FloatFinetuned), 1830, 0.97, 331_224, 1.22, 1.008),
            0.0615,
            None,
        ),
        calibrated(ok(cell(TensorFlow, "tflite", PtqStatic), 1820, 0.9885, 104_880, 0.377, 0.311), 3.31),
        trained(ok(cell(TensorFlow, "tfmot", Qat), 1832, 0.966, 105_120, 0.379, 0.313), 0.1702, Some(2.78)),
        ok(cell(Calipers, "native", Float), 1827, 1.0, 318_006, 0.702, 1.0),
        ok(cell(Calipers, "native", FloatFinetuned), 1835, 0.971, 318_006, 0.701, 0.999),
        calibrated(ok(cell(Calipers, "native", PtqStatic), 1821, 0.9905, 101_377, 0.304, 0.433), 1.13),
        without_numbers(cell(Calipers, "native", Qat), Status::Skipped, skipped),
    ];
    let framework = |framework, packages: &[(&str, &str)], python: Option<&str>| FrameworkFacts {
        framework,
        versions: packages.iter().map(|&(name, version)| (name.to_owned(), version.to_owned())).collect(),
        python: python.map(str::to_owned),
        threads: Some(2),
    };
    let step = |framework| StepGate {
        seed: 1,
        framework,
        reference: PyTorch,
        steps: 5,
        weights: Some(4.6e-6),
        statistics: Some(8.8e-7),
        worst: Some(String::from("stage2.conv1.weight")),
        allowed: 1e-4,
        passed: true,
        error: None,
    };
    Report {
        version: VERSION,
        calipers: String::from("0.1.0"),
        command: ["calipers", "study", "--out", "runs/my study"].map(str::to_owned).to_vec(),
        started: String::from("2025-03-04T10:11:12Z"),
        finished: String::from("2025-03-04T10:16:40Z"),
        machine: Machine {
            processor: String::from("Example Processor 9000 @ 2.70GHz"),
            features: ["avx2", "fma", "avx512f", "avx512_vnni"].map(str::to_owned).to_vec(),
            cores: 2,
            governor: Some(String::from("performance")),
            memory_bytes: Some(8 << 30),
            system: String::from("linux x86_64"),
        },
        threads: 2,
        study: Spec::quick().unwrap(),
        model: ModelFacts { name: String::from("resnet8"), parameters: 78_666, onnx_bytes: 318_006 },
        data: DataFacts {
            name: String::from("shapes10"),
            train: 8000,
            test: 2000,
            calibration: 512,
            train_hash: "5d".repeat(32),
            test_hash: "a1".repeat(32),
            dropped_from_training: 0,
        },
        frameworks: vec![
            framework(PyTorch, &[("numpy", "2.4.0"), ("torch", "2.15.0")], Some("3.11.2")),
            framework(TensorFlow, &[("tensorflow-cpu", "2.21.0"), ("tf-keras", "2.21.0")], Some("3.11.2")),
            framework(Calipers, &[("calipers", "0.1.0")], None),
        ],
        gates: Gates {
            parity: vec![
                parity("initial", TensorFlow, 2.4e-6),
                parity("initial", Calipers, 1.9e-6),
                parity("trained by pytorch", TensorFlow, 7.15e-6),
                parity("trained by pytorch", Calipers, 6.2e-6),
            ],
            steps: vec![step(TensorFlow)],
        },
        cells,
        timing: Some(Timing {
            rounds: 30,
            null_cell: cell(PyTorch, "eager", Float),
            null_ratio: interval(1.002, 0.996, 1.009),
            trustworthy: true,
            fastest: Some(cell(Calipers, "native", PtqStatic)),
        }),
        notes: vec![String::from(
            "Post-training quantization is calibrated on 512 training images, as in the paper.",
        )],
    }
}

fn fail(report: &mut Report, index: usize, message: &str, details: &str) {
    let cell = report.cells[index].cell.clone();
    let error = CellError {
        stage: Some(String::from("convert")),
        message: message.to_owned(),
        details: Some(details.to_owned()),
    };
    report.cells[index] = without_numbers(cell, Status::Failed, error);
}

fn second_seed(report: &mut Report) {
    report.study.seeds = vec![1, 2];
    let mut second = report.cells.clone();
    for cell in &mut second {
        cell.cell.seed = 2;
        cell.metrics.latency = None;
        if let Some(accuracy) = &mut cell.metrics.accuracy {
            accuracy.correct += 20;
            accuracy.share = wilson(accuracy.correct, 2000);
        }
    }
    report.cells.extend(second);
}

/// Panics unless every element is closed in order.
fn assert_balanced(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        let end = start + rest[start..].find('>').expect("a tag ends");
        let tag = &rest[start + 1..end];
        rest = &rest[end + 1..];
        let name =
            tag.trim_start_matches('/').split(|c: char| c.is_whitespace() || c == '/').next().unwrap_or("");
        if tag.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "closed in order, before: {:.60}", rest);
        } else if !tag.starts_with('!') && !tag.ends_with('/') && !["meta", "br"].contains(&name) {
            assert!(!name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric()), "a tag: {tag:?}");
            open.push(name);
        }
    }
    assert!(open.is_empty(), "left open: {open:?}");
}

fn all(report: &Report) -> [String; 3] {
    [table(report), markdown(report), html(report)]
}

#[test]
fn the_table_in_the_terminal() {
    let text = table(&fixture());
    insta::assert_snapshot!("table", text);
    let mut worse = fixture();
    second_seed(&mut worse);
    fail(&mut worse, 8, "the converter gave up on operator 7:\nnot\u{1b}[31m supported", "Traceback");
    worse.timing.as_mut().unwrap().trustworthy = false;
    let seeds = table(&worse);
    insta::assert_snapshot!("table_of_two_seeds", seeds);
    for line in text.lines().chain(seeds.lines()) {
        assert!(line.chars().count() <= 110, "{} columns: {line}", line.chars().count());
    }
}

#[test]
fn the_report_in_markdown() {
    let mut report = fixture();
    fail(&mut report, 8, "tag <b> and | pipe", "Traceback:\n```\n  converter.py, line 3");
    insta::assert_snapshot!("markdown", markdown(&report));
}

#[test]
fn the_page_is_well_formed_and_needs_nothing_else() {
    let mut report = fixture();
    fail(&mut report, 8, "converter <script>alert(1)</script> & \"quoted\"", "Traceback <script>\nline 2");
    let page = html(&report);
    assert_balanced(&page);
    for outside in ["http:", "https:", "src=", "url(", "@import", "<link", "<script"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("converter &lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;quoted&quot;"));
    assert!(page.contains("<details><summary>Details</summary><pre>Traceback &lt;script&gt;\nline 2</pre>"));
    assert!(page.contains("at <code>convert</code>"));
    assert!(page.contains("no quantization-aware training of its own"));
    assert!(page.contains("--out &#39;runs/my study&#39;"));
    assert!(page.contains("about 1,900") && page.contains("10.76"));
}

#[test]
fn no_parity_no_comparison() {
    let mut report = fixture();
    report.gates.parity[2] = parity("trained by pytorch", Framework::TensorFlow, 0.31);
    for text in all(&report) {
        assert!(text.contains("No parity, no comparison."), "{text}");
        // PTQ and QAT of PyTorch fx, of which no number may be left.
        for number in ["0.452", "0.455", "91.15", "91.55", "2.09", "costs", "fastest, with"] {
            assert!(!text.contains(number), "{number} in {text}");
        }
        assert!(text.contains("0.912"), "the float rows stay");
    }
    assert_balanced(&html(&report));
    assert!(table(&report).contains("gate: withheld"));
    // A framework that could not be asked takes only its own rows along.
    let mut absent = fixture();
    absent.gates.parity[2].passed = false;
    absent.gates.parity[2].difference = None;
    absent.gates.parity[2].error = Some(String::from("the worker could not be started"));
    let page = html(&absent);
    assert!(page.contains("0.452") && !page.contains("0.377") && page.contains("could not be started"));
}

#[test]
fn a_noisy_machine_names_no_winner() {
    let mut report = fixture();
    let timing = report.timing.as_mut().unwrap();
    (timing.trustworthy, timing.fastest, timing.null_ratio) = (false, None, interval(1.05, 1.01, 1.09));
    for text in all(&report) {
        assert!(text.contains("too noisy to name a winner"), "{text}");
        assert!(!text.contains("as fast") && !text.contains("fastest, with"), "{text}");
    }
}

#[test]
fn a_difference_is_stated_only_where_the_interval_supports_it() {
    let report = fixture();
    let texts: Vec<String> = verdict::sentences(&report).into_iter().map(|sentence| sentence.text).collect();
    let of = |who: &str| texts.iter().find(|text| text.contains(who)).unwrap();
    assert!(of("costs PyTorch eager").contains("costs PyTorch eager 1.15 points"), "{texts:?}");
    assert!(of("costs PyTorch eager").contains("2.11× as fast"), "{texts:?}");
    assert!(of("costs PyTorch fx").contains("no measurable accuracy (-0.20 points"), "{texts:?}");
    assert!(of("training with TensorFlow").contains("ends where the same epochs in float do"), "{texts:?}");

    let mut alone = fixture();
    alone.study.frameworks.retain(|framework, _| *framework == Framework::Calipers);
    alone.cells.retain(|report| report.cell.framework == Framework::Calipers);
    alone.gates = Gates::default();
    let page = html(&alone);
    assert!(!page.contains("points"), "untrained weights have no accuracy to lose");
    assert!(page.contains("there was nothing to compare"));
}

// Approval of a prime minister asked twice, 1,600 people, 150 and 86 of whom changed their minds: -0.04 with a standard
// error of 0.0095 (Agresti, "Categorical Data Analysis", 2nd edition, section 10.1).
#[test]
fn the_paired_interval() {
    let mut report = fixture();
    for (index, correct) in [(0, 944), (2, 880)] {
        let accuracy = report.cells[index].metrics.accuracy.as_mut().unwrap();
        (accuracy.correct, accuracy.total) = (correct, 1600);
    }
    report.cells[2].metrics.agreement_with_float = Some(1.0 - 236.0 / 1600.0);
    let rows = row::rows(&report);
    let cost = verdict::cost(&rows[2], &rows).unwrap();
    assert!((cost.value + 0.04).abs() < 1e-12, "{cost:?}");
    let error = (cost.high - cost.low) / 2.0 / 1.96;
    assert!(
        (error - 0.0095).abs() < 0.0001 && ((cost.low + cost.high) / 2.0 + 0.04).abs() < 0.0001,
        "{cost:?}"
    );
}

#[test]
fn what_is_not_a_number_is_not_shown() {
    let mut report = fixture();
    for cell in &mut report.cells {
        cell.metrics.agreement_with_float = Some(f64::NAN);
        if let Some(accuracy) = &mut cell.metrics.accuracy {
            accuracy.share = wilson(0, 0);
        }
        if let Some(training) = &mut cell.metrics.training {
            (training.seconds_per_step, training.seconds_per_epoch) = (f64::INFINITY, f64::NAN);
        }
        if let Some(latency) = &mut cell.metrics.latency {
            latency.p50 = f64::NAN;
        }
    }
    report.gates.steps[0].weights = Some(f64::NAN);
    report.timing.as_mut().unwrap().null_ratio = interval(f64::NAN, f64::NAN, f64::NAN);
    for text in all(&report) {
        assert!(!text.contains("NaN") && !text.contains(">inf"), "{text}");
        assert!(text.contains('–'));
    }
    // Nothing at all.
    report.cells.clear();
    report.frameworks.clear();
    report.timing = None;
    for text in all(&report) {
        assert!(text.contains("Nothing was timed."), "{text}");
    }
    assert_balanced(&html(&report));
}

#[test]
fn seeds_are_averaged() {
    let mut report = fixture();
    second_seed(&mut report);
    let rows = row::rows(&report);
    assert_eq!(rows.len(), 14);
    // (0.9135 + 0.9235) / 2, and |difference| / sqrt(2).
    assert_eq!(row::text(rows[0].accuracy(), |share| format!("{share:.4}")), "0.9185 ± 0.0071");
    assert!(html(&report).contains("91.85 <small>± 0.71</small>"));
}

fn keys(value: &serde_json::Value, found: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                // These hold names that come from outside.
                if !["versions", "quantized_operators", "float_operators", "study"].contains(&key.as_str()) {
                    keys(value, found);
                }
                found.insert(key.clone());
            }
        }
        serde_json::Value::Array(values) => values.iter().for_each(|value| keys(value, found)),
        _ => {}
    }
}

#[test]
fn report_json_reads_back_and_is_documented() {
    let mut report = fixture();
    fail(&mut report, 8, "no", "Traceback");
    let latency = report.cells[1].metrics.latency.as_mut().unwrap();
    latency.to_first = Some(interval(1.0, 0.9, 1.1));
    report.cells[0].metrics.convert_seconds = Some(0.25);
    let text = serde_json::to_string_pretty(&report).unwrap();
    let back: Report = serde_json::from_str(&text).unwrap();
    assert_eq!((back.gates, back.notes), (report.gates.clone(), report.notes.clone()));
    assert_eq!((back.study, &back.cells[8]), (report.study.clone(), &report.cells[8]));
    let mut found = BTreeSet::new();
    keys(&serde_json::to_value(&report).unwrap(), &mut found);
    assert!(found.len() > 80, "{found:?}");
    for key in found {
        assert!(DOCUMENTATION.contains(&format!("`{key}`")), "docs/report.md does not tell what `{key}` is");
    }
}
