//! What is made of a report for people, and that all of it is documented.

#[path = "../../tests/page/fixture.rs"]
pub(super) mod fixture;

use std::collections::BTreeSet;

use super::{
    CellError, Gates, Report, Status, changes, checks, csv, figures, html, markdown, paper, read, row,
    summary, table, write,
};
use crate::cell::{Cell, Framework, Origin, Tuning, Variant};
use crate::spec::Source;
use fixture::{interval, report, with_second_seed, without_numbers};

const DOCUMENTATION: &str = include_str!("../../../../docs/report.md");

fn fail(report: &mut Report, index: usize, message: &str, details: &str) {
    let error = CellError {
        stage: Some(String::from("convert")),
        message: message.to_owned(),
        details: Some(details.to_owned()),
    };
    report.cells[index] = without_numbers(report.cells[index].cell.clone(), Status::Failed, error);
}

/// A few cells of two frameworks, so that a snapshot can be read.
fn few() -> Report {
    let mut report = report(1);
    report.study.frameworks.retain(|framework, paths| {
        paths.retain(|path| ["eager", "eager-2023", "keras", "tflite", "native"].contains(&path.as_str()));
        ![Framework::OnnxRuntime, Framework::OpenVino].contains(framework)
    });
    let kept: BTreeSet<String> = report.study.cells(1).iter().map(Cell::folder).collect();
    report.cells.retain(|cell| kept.contains(&cell.cell.folder()));
    report
        .frameworks
        .retain(|facts| ![Framework::OnnxRuntime, Framework::OpenVino].contains(&facts.framework));
    report
        .gates
        .parity
        .retain(|gate| ![Framework::OnnxRuntime, Framework::OpenVino].contains(&gate.framework));
    report
}

/// Place of a cell in a report.
fn place(report: &Report, framework: Framework, path: &str, variant: Variant, weights: Origin) -> usize {
    let wanted = |cell: &Cell| {
        (cell.framework, cell.path.as_str(), cell.variant, cell.weights, cell.tuning)
            == (framework, path, variant, weights, Tuning::Default)
    };
    report.cells.iter().position(|cell| wanted(&cell.cell)).expect("a cell of the fixture")
}

/// Panics unless every element is closed in order, every place is there once, and every link leads to one.
fn assert_sound(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    let mut rest = page;
    let (mut places, mut links) = (BTreeSet::new(), BTreeSet::new());
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
        let attribute = |name: &str| tag.split_once(name)?.1.split('"').next();
        if let Some(id) = attribute(" id=\"") {
            assert!(places.insert(id), "two places are called {id}");
        }
        links.extend(attribute(" href=\"#"));
    }
    assert!(open.is_empty(), "left open: {open:?}");
    for link in links {
        assert!(places.contains(link), "no place is called {link}");
    }
}

fn all(report: &Report) -> [String; 4] {
    [table(report), markdown(report), html(report), csv(report)]
}

#[test]
fn the_table_in_the_terminal() {
    let text = table(&report(1));
    insta::assert_snapshot!("table", text);
    let mut worse = with_second_seed(report(1));
    fail(&mut worse, 8, "the converter gave up on operator 7:\nnot\u{1b}[31m supported", "Traceback");
    let timing = worse.timing.as_mut().unwrap();
    timing.trustworthy = false;
    (timing.null_tests[1].passed, timing.null_tests[1].ratio) = (false, interval(1.0, 0.97, 1.03));
    let seeds = table(&worse);
    insta::assert_snapshot!("table_of_two_seeds", seeds);
    let mut untrained = report(1);
    (untrained.study.train, untrained.study.qat) = (None, None);
    untrained.cells = Vec::new();
    for line in text.lines().chain(seeds.lines()).chain(table(&untrained).lines()) {
        assert!(line.chars().count() <= 110, "{} columns: {line}", line.chars().count());
    }
    assert!(!seeds.contains('\u{1b}'));
}

#[test]
fn the_report_in_markdown() {
    let mut report = few();
    let index = place(&report, Framework::TensorFlow, "tflite", Variant::PtqStatic, Origin::Own);
    fail(&mut report, index, "tag <b> and | pipe", "Traceback:\n```\n  converter.py, line 3");
    insta::assert_snapshot!("markdown", markdown(&report));
}

#[test]
fn the_cells_as_csv() {
    let mut report = few();
    report.cells.truncate(6);
    fail(&mut report, 2, "a, \"quoted\"\nmessage", "Traceback");
    let text = csv(&report);
    insta::assert_snapshot!("csv", text.replace("\r\n", "\n"));
    assert!(text.ends_with("\r\n") && text.contains("\"a, \"\"quoted\"\"\nmessage\"\r\n"));
    let mut reader = text.split("\r\n").map(|line| line.split(',').count());
    let columns = reader.next().unwrap();
    assert_eq!(reader.next(), Some(columns));
    for (name, _) in super::csv::COLUMNS {
        assert!(
            DOCUMENTATION.contains(&format!("`{name}`")),
            "docs/report.md does not tell what `{name}` is"
        );
    }
}

#[test]
fn the_page_is_well_formed_and_needs_nothing_else() {
    let page = html(&report(3));
    assert_sound(&page);
    for outside in ["http:", "https:", "src=", "url(h", "url(/", "@import", "<link", "<script"] {
        assert!(!page.contains(outside), "{outside}");
    }
    assert!(page.contains("gave up on &lt;script&gt;alert(1)&lt;/script&gt; &amp; &quot;operator&quot; 7"));
    assert!(page.contains("<summary>Details</summary><pre>Traceback (most recent call last)"));
    assert!(page.contains("at <code>convert</code>"));
    assert!(page.contains("no quantization-aware training of its own"));
    assert!(page.contains("--out &#39;runs/my study&#39;"));
    assert!(page.contains("about 1,900") && page.contains("10.76") && page.contains("1.44 to 1.54"));
    assert!(page.contains("# a &lt; b &amp; c"), "recipes are shown");
    for chart in ["paper-accuracy", "paper-latency", "trade", "latency", "bytes", "operator-profiles"] {
        assert!(page.contains(&format!("id=\"{chart}\"")), "{chart}");
    }
}

#[test]
fn no_parity_no_comparison() {
    let mut report = report(1);
    let index = report.gates.parity.iter().position(|gate| gate.framework == Framework::TensorFlow).unwrap();
    (report.gates.parity[index].passed, report.gates.parity[index].difference) = (false, Some(0.31));
    let of_fx = place(&report, Framework::PyTorch, "fx", Variant::PtqStatic, Origin::Own);
    let fx = report.cells[of_fx].metrics.clone();
    let milliseconds = fx.latency.as_ref().unwrap().p50;
    for (text, written) in all(&report).iter().zip([3, 3, 3, 17]) {
        let number = match written {
            3 => calipers_inspect::number::three(milliseconds),
            _ => milliseconds.to_string(),
        };
        assert!(!text.contains(&number), "{number} of PyTorch fx ptq-static is left");
        assert!(!text.contains("is the fastest") && !text.contains("Every null test passed"));
    }
    for text in &all(&report)[..3] {
        assert!(text.contains("No parity, no comparison."), "{text}");
        assert!(text.contains("0.914"), "the float rows stay");
    }
    let page = html(&report);
    assert_sound(&page);
    assert!(!page.contains("prepare(model, mapping=&quot;fx ptq-static&quot;)"));
    assert!(table(&report).contains("gate: withheld") && csv(&report).contains(",withheld,"));
    // A framework that could not be asked takes only its own rows along.
    let mut absent = report.clone();
    absent.gates.parity[index].difference = None;
    absent.gates.parity[index].error = Some(String::from("the worker could not be started"));
    let rows = row::rows(&absent);
    for row in rows.iter().filter(|row| row::is_quantized(row.variant)) {
        assert_eq!(row.withheld, row.framework == Framework::TensorFlow, "{}", row.full_name());
    }
    assert!(html(&absent).contains("could not be started"));
}

#[test]
fn a_noisy_machine_names_no_winner() {
    let mut report = report(1);
    let timing = report.timing.as_mut().unwrap();
    (timing.trustworthy, timing.fastest, timing.fastest_batch) = (false, None, None);
    timing.null_tests[1].passed = false;
    timing.null_tests[1].ratio = interval(1.05, 1.01, 1.09);
    for text in &all(&report)[..3] {
        assert!(text.contains("too noisy to name a winner in speed: two processes of one"), "{text}");
        assert!(!text.contains("is the fastest") && !text.contains("Every null test passed"));
        assert!(text.contains("1 of 5 null tests did not pass"), "{text}");
        assert!(text.contains("1.050") && text.contains("Null test: not passed"), "{text}");
    }
}

#[test]
fn a_winner_is_named_with_those_that_cannot_be_told_from_it() {
    let mut report = report(1);
    let level = answer(&report, "Most accurate");
    assert!(level.sure.contains("overlap with its own"), "{level:?}");
    let winner = place(&report, Framework::OnnxRuntime, "qdq", Variant::PtqStatic, Origin::Shared);
    report.cells[winner].metrics.accuracy = Some(fixture::accuracy(1_990));
    let alone = answer(&report, "Most accurate");
    assert!(alone.answer.starts_with("ONNX Runtime qdq ptq-static: 99.50 %"), "{alone:?}");
    assert!(alone.sure.contains("lies above those of all"), "{alone:?}");
    assert!(summary::headline(&report).text.starts_with("ONNX Runtime qdq ptq-static is the most accurate"));

    // A better one of another origin, of float, of weights alone, or with little in 8 bit is no winner of this question.
    for (framework, path, variant, weights) in [
        (Framework::TensorFlow, "tflite", Variant::PtqStatic, Origin::Own),
        (Framework::OnnxRuntime, "qdq", Variant::Float, Origin::Shared),
        (Framework::OpenVino, "nncf", Variant::WeightOnly, Origin::Shared),
        (Framework::PyTorch, "fx", Variant::Qat, Origin::Own),
        (Framework::PyTorch, "eager", Variant::PtqDynamic, Origin::Own),
    ] {
        let other = place(&report, framework, path, variant, weights);
        report.cells[other].metrics.accuracy = Some(fixture::accuracy(2_000));
    }
    assert_eq!(answer(&report, "Most accurate").answer, alone.answer);
    let aware = answer(&report, "Quantization-aware training");
    assert!(aware.answer.starts_with("above it: PyTorch fx qat (+8.20 ["), "{aware:?}");
    assert!(aware.answer.contains("; of the rest, none of 5 can be told from it (-0.10 to "), "{aware:?}");

    // Of untrained weights, accuracy is chance.
    (report.study.train, report.study.qat) = (None, None);
    assert!(summary::answers(&report).iter().all(|answer| !answer.question.starts_with("Most accurate")));
    assert!(html(&report).contains("accuracy means nothing here"));
}

/// The answer to the question that begins so.
fn answer(report: &Report, question: &str) -> summary::Answer {
    let all = summary::answers(report);
    let found = all.into_iter().find(|answer| answer.question.starts_with(question));
    found.unwrap_or_else(|| panic!("no answer to {question}"))
}

#[test]
fn why_no_fastest_is_named() {
    let why = |change: &dyn Fn(&mut Report)| {
        let mut report = report(1);
        change(&mut report);
        let found = answer(&report, "Fastest, one");
        assert_eq!(found.answer, "No winner is named");
        let headline = summary::headline(&report).text;
        assert!(!headline.contains("is the fastest"));
        format!("{headline} {}", found.sure)
    };
    let timing = |report: &mut Report| report.timing.clone().unwrap();
    let level = why(&|report| report.timing = Some(super::Timing { fastest: None, ..timing(report) }));
    assert!(level.contains("ratio reaches 1"), "{level}");
    let alone = why(&|report| {
        report.timing = Some(super::Timing { fastest: None, ..timing(report) });
        report.cells[1..].iter_mut().for_each(|cell| cell.metrics.latency = None);
    });
    assert!(alone.contains("Fewer than two cells were timed"), "{alone}");
    let wide = why(&|report| {
        let mut timing = timing(report);
        timing.trustworthy = false;
        (timing.null_tests[0].passed, timing.null_tests[0].ratio) = (false, interval(1.0, 0.97, 1.03));
        report.timing = Some(timing);
    });
    assert!(wide.contains("is not known to 3 %") && !wide.contains("differed"), "{wide}");
    let untested = why(&|report| {
        report.timing = Some(super::Timing { trustworthy: false, null_tests: Vec::new(), ..timing(report) });
    });
    assert!(untested.contains("not every framework has a null test"), "{untested}");
}

#[test]
fn what_failed_with_a_seed_is_the_best_of_nothing() {
    let mut report = with_second_seed(report(1));
    let winner = place(&report, Framework::OnnxRuntime, "qdq", Variant::PtqStatic, Origin::Shared);
    report.cells[winner].metrics.accuracy = Some(fixture::accuracy(2_000));
    report.cells[winner].metrics.file_bytes = Some(1);
    let second = Cell { seed: 2, ..report.cells[winner].cell.clone() };
    let second = report.cells.iter().position(|cell| cell.cell == second).unwrap();
    report.cells[second].metrics.accuracy = Some(fixture::accuracy(2_000));
    for question in ["Most accurate", "Smallest file"] {
        assert!(answer(&report, question).answer.starts_with("ONNX Runtime qdq ptq-static"), "{question}");
    }
    fail(&mut report, second, "the converter gave up", "Traceback");
    for question in ["Most accurate", "Smallest file"] {
        assert!(!answer(&report, question).answer.starts_with("ONNX Runtime qdq ptq-static"), "{question}");
    }
}

#[test]
fn more_seeds_are_no_more_samples() {
    let report = with_second_seed(report(1));
    // 1,827 and 1,835 of 2,000: Wilson's formula of 1,831 of 2,000, by hand.
    let found = row::rows(&report)[0].mean_accuracy().unwrap();
    assert!((found.value - 0.915_5).abs() < 1e-12);
    assert!((found.low - 0.902_499).abs() < 1e-5 && (found.high - 0.926_908).abs() < 1e-5, "{found:?}");
}

#[test]
fn losses_are_told_by_mcnemars_test_on_all_seeds() {
    let mut report = with_second_seed(report(1));
    let first = place(&report, Framework::Calipers, "native", Variant::PtqStatic, Origin::Shared);
    let cell = report.cells[first].cell.clone();
    for found in report.cells.iter_mut().filter(|found| Cell { seed: 1, ..found.cell.clone() } == cell) {
        let against = found.metrics.against_float.as_mut().unwrap();
        (against.gained, against.lost) = (Some(11), Some(23));
    }
    let direction = |report: &Report| {
        row::rows(report).into_iter().find(|row| row.holds(&cell)).and_then(|row| row.direction())
    };
    // Twice the binomial tail up to 22 of 68 at 1/2 is 0.0049, that up to 11 of 34 is 0.0576.
    assert_eq!(direction(&report), Some(std::cmp::Ordering::Less));
    report.cells.retain(|found| found.cell.seed == 1);
    assert_eq!(direction(&report), None);
    // The largest change is the largest in either direction.
    let against = report.cells[first].metrics.against_float.as_mut().unwrap();
    against.difference = Some(interval(0.05, 0.04, 0.06));
    let kept = answer(&report, "What quantization costs");
    assert!(kept.sure.contains("The largest change: Calipers native ptq-static, +5.00 ["), "{kept:?}");
}

#[test]
fn what_is_not_timed_has_the_times_of_its_twin() {
    let report = report(1);
    let points = figures::trade(&report);
    let all = row::rows(&report);
    let own = place(&report, Framework::TensorFlow, "tflite", Variant::PtqStatic, Origin::Own);
    let time = report.cells[own].metrics.latency.as_ref().unwrap().p50;
    let shared = points.iter().find(|point| point.1 == "cell-tensorflow-tflite-ptq-static-shared").unwrap();
    assert_eq!(shared.3, time);
    let lines = summary::schemes(&report);
    let titles: Vec<&str> = lines.iter().map(|line| line[0].as_str()).collect();
    assert!(
        titles.contains(&"dynamic, 8 bit") && titles.contains(&"dynamic, mostly not in 8 bit"),
        "{titles:?}"
    );
    let ratio = |row: &row::Row<'_>| row.to_float().unwrap().value;
    let least = all.iter().filter(|row| row.variant == Variant::PtqStatic && row.to_float().is_some());
    let least = least.map(ratio).fold(f64::INFINITY, f64::min);
    assert!(lines[0][4].starts_with(&calipers_inspect::number::ratio(least)), "{lines:?}");
    for text in [markdown(&report), html(&report)] {
        assert!(text.contains("The cells of TensorFlow on shared weights are not timed"));
    }
}

#[test]
fn model_and_data_differ_from_the_papers_each_for_itself() {
    let mut report = report(1);
    let mut caveat = |name: &str, batch_norm, source| {
        report.study.model.name = name.to_owned();
        (report.study.model.batch_norm, report.study.data.source) = (batch_norm, source);
        paper::caveat(&report)
    };
    let same = caveat("resnet18", false, Source::Cifar10);
    assert!(!same.contains("another model") && !same.contains("other data"));
    let model = caveat("resnet18", true, Source::Cifar10);
    assert!(model.contains("another model") && !model.contains("other data"), "{model}");
    let data = caveat("resnet18", false, Source::Shapes10);
    assert!(!data.contains("another model") && data.contains("other data"), "{data}");
}

#[test]
fn notes_are_shown_to_people() {
    let mut report = report(1);
    report.notes.push(String::from("calipers native float: no profile: the worker died"));
    for text in &all(&report)[..3] {
        assert!(text.contains("calipers native float: no profile: the worker died"), "{text}");
    }
}

#[test]
fn the_lenders_rows_are_of_the_shared_weights_too() {
    let report = report(1);
    let all = row::rows(&report);
    let shared = row::shared(&report, &all);
    let has =
        |framework, variant| shared.iter().any(|row| row.framework == framework && row.variant == variant);
    assert!(has(Framework::PyTorch, Variant::PtqStatic) && !has(Framework::PyTorch, Variant::Qat));
    // Trained on, they are other weights, also where Calipers runs them.
    assert!(shared.iter().all(|row| row.variant != Variant::FloatFinetuned));
    assert!(shared.iter().all(|row| row.framework != Framework::TensorFlow || row.weights == Origin::Shared));
    let paper = row::as_in_the_paper(&report, &all);
    assert!(paper.iter().all(|row| row.framework != Framework::TensorFlow || row.weights == Origin::Own));
    assert!(paper.iter().any(|row| row.framework == Framework::OpenVino));
}

#[test]
fn reasons_of_several_cells_are_told_once() {
    let texts: Vec<String> = checks::checks(&report(1)).into_iter().map(|sentence| sentence.text).collect();
    let of = |words: &str| texts.iter().filter(|text| text.contains(words)).collect::<Vec<_>>();
    assert_eq!(of("the converter gave up").len(), 1);
    assert!(of("the converter gave up")[0].starts_with("Not measured: 2 cells tensorflow tflite-int16x8"));
    assert!(!of("there is no GPU")[0].contains("hint"), "hints stand with the cell");
}

#[test]
fn what_is_not_a_number_is_not_shown() {
    let mut report = report(1);
    for cell in &mut report.cells {
        if let Some(against) = &mut cell.metrics.against_float {
            (against.agreement, against.mcnemar) = (f64::NAN, Some(f64::NAN));
            against.difference = Some(interval(f64::NAN, f64::NAN, f64::NAN));
        }
        if let Some(accuracy) = &mut cell.metrics.accuracy {
            (accuracy.correct, accuracy.total) = (0, 0);
            accuracy.share = interval(f64::NAN, 0.0, 1.0);
        }
        if let Some(training) = &mut cell.metrics.training {
            (training.seconds_per_step, training.seconds_per_epoch) = (f64::INFINITY, f64::NAN);
        }
        if let Some(latency) = &mut cell.metrics.latency {
            (latency.p50, latency.of_blocks) = (f64::NAN, [f64::NAN; 5]);
        }
        if let Some(profile) = &mut cell.metrics.profile {
            profile.wall_nanoseconds = f64::NAN;
            profile.kinds.iter_mut().for_each(|kind| kind.nanoseconds = f64::NAN);
        }
    }
    report.gates.steps[0].weights = Some(f64::NAN);
    report.timing.as_mut().unwrap().null_tests[0].ratio = interval(f64::NAN, f64::NAN, f64::NAN);
    for text in all(&report) {
        assert!(!text.contains("NaN") && !text.contains(">inf"), "{text:.3000}");
    }
    // Nothing at all.
    report.cells.clear();
    report.frameworks.clear();
    report.gates = Gates::default();
    report.timing = None;
    for text in &all(&report)[..3] {
        assert!(text.contains("Nothing was timed."), "{text}");
    }
    assert_sound(&html(&report));
}

#[test]
fn seeds_are_averaged() {
    let report = with_second_seed(report(1));
    let rows = row::rows(&report);
    assert_eq!(rows.len(), report.cells.len() / 2);
    // (0.9135 + 0.9175) / 2, and |difference| / sqrt(2).
    assert_eq!(row::text(rows[0].accuracy(), |share| format!("{share:.4}")), "0.9155 ± 0.0028");
    let page = html(&report);
    assert_sound(&page);
    assert!(page.contains("91.55 <small>± 0.28</small>") && page.contains("Accuracy of each seed"));
}

fn keys(value: &serde_json::Value, found: &mut BTreeSet<String>) {
    match value {
        serde_json::Value::Object(fields) => {
            for (key, value) in fields {
                // These hold names that come from outside: packages, kinds, keys of a study.
                let is_named_outside = key == "versions" && value.is_object()
                    || key == "operators" && value.is_object()
                    || key == "study" && value.is_object();
                if !is_named_outside {
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
    let report = with_second_seed(report(2));
    let folder = tempfile::tempdir().unwrap();
    let files = write(folder.path(), &report).unwrap();
    let names: Vec<_> = files.iter().filter_map(|file| file.file_name()?.to_str()).collect();
    assert_eq!(names, ["report.html", "report.md", "report.csv", "report.json"]);
    let back = read(folder.path()).unwrap();
    assert_eq!((&back.gates, &back.notes, &back.timing), (&report.gates, &report.notes, &report.timing));
    assert_eq!((&back.study, &back.cells), (&report.study, &report.cells));
    let mut found = BTreeSet::new();
    keys(&serde_json::to_value(&report).unwrap(), &mut found);
    keys(&serde_json::to_value(changes(&report, &report)).unwrap(), &mut found);
    assert!(found.len() > 120, "{found:?}");
    for key in found {
        assert!(DOCUMENTATION.contains(&format!("`{key}`")), "docs/report.md does not tell what `{key}` is");
    }
}

#[test]
fn what_cannot_be_read_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let refusal = |text: Option<&str>| {
        if let Some(text) = text {
            std::fs::write(folder.path().join("report.json"), text).unwrap();
        }
        read(folder.path()).unwrap_err().to_string()
    };
    assert!(refusal(None).contains("there is no report.json\nhint: give the folder"));
    assert!(refusal(Some("{\"version\": 2, ")).contains("is no report: EOF while parsing"));
    assert!(refusal(Some("[]")).contains("it has no field `version`"));
    assert!(
        refusal(Some("{\"version\": 1}")).contains("version 1, expected 2\nhint: it was made by an older")
    );
    assert!(refusal(Some("{\"version\": 3}")).contains("hint: it was made by a newer"));
    assert!(refusal(Some("{\"version\": 2}")).contains("missing field `calipers`"));
}

#[test]
fn changes_are_told_in_words() {
    let older = few();
    let mut newer = few();
    newer.cells[3].metrics.accuracy = Some(fixture::accuracy(1_500));
    fail(&mut newer, 4, "no", "Traceback");
    newer.frameworks[0].versions.insert(String::from("torch"), String::from("3.0"));
    newer.cells.remove(0);
    let text = changes(&older, &newer).text();
    insta::assert_snapshot!("changes", text);
    assert!(text.lines().all(|line| line.chars().count() <= 110));
}
