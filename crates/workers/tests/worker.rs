//! Every way in which a worker can answer, fail and die, shown on a fake one.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use std::{fs, thread};

use calipers_workers::protocol::{Load, Loaded, Progress, Stage, Tuning, Variant};
use calipers_workers::worker::End;
use calipers_workers::{Launch, Worker, WorkerError};

/// Long enough for the slowest machine; no test waits for it where the code is right.
const PLENTY: Duration = Duration::from_secs(60);

fn launch() -> Launch {
    let mut launch = Launch::new("fake", "python3");
    launch.arguments = vec![concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fake_worker.py").into()];
    launch
}

fn worker() -> Worker {
    Worker::spawn(launch()).expect("python3 starts")
}

fn load(worker: &mut Worker, how: &str) -> Result<Loaded, WorkerError> {
    load_within(worker, how, PLENTY, &mut |_| {})
}

fn load_within(
    worker: &mut Worker,
    how: &str,
    limit: Duration,
    progress: &mut dyn FnMut(Progress),
) -> Result<Loaded, WorkerError> {
    let request = Load {
        path: how.into(),
        tuning: Tuning::Default,
        variant: Variant::Float,
        model: "model.onnx".into(),
        artefact: "artefact".into(),
    };
    worker.call(request, progress, Some(limit))
}

/// Whether a process still runs; a zombie that its new parent has not collected yet does not.
fn is_alive(pid: u64) -> bool {
    fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("stat"))
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PLENTY, "{what}");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn progress_comes_before_the_result() {
    let mut worker = worker();
    let mut seen = Vec::new();
    let loaded =
        load_within(&mut worker, "steps", PLENTY, &mut |progress| seen.push(progress)).expect("loads");
    assert_eq!(loaded, Loaded { handle: 1 });
    let steps: Vec<(Stage, u64, Option<u64>)> =
        seen.iter().map(|step| (step.stage, step.done, step.total)).collect();
    assert_eq!(steps, [(Stage::Load, 1, Some(3)), (Stage::Load, 2, Some(3)), (Stage::Load, 3, Some(3))]);
    assert_eq!(seen[0].detail.as_deref(), Some("step 1"));
    worker.shutdown(PLENTY).expect("ends");
}

#[test]
fn an_error_answer_leaves_the_worker_running() {
    let mut worker = worker();
    let error = load(&mut worker, "error").expect_err("fails");
    let WorkerError::Failed { failure, command, .. } = &error else { panic!("{error:?}") };
    assert_eq!((*command, failure.stage, failure.kind.as_str()), ("load", Stage::Convert, "RuntimeError"));
    assert_eq!(error.details(), Some("at x"));
    assert!(error.to_string().contains("no such layer"), "{error}");
    assert!(worker.is_running());
    load(&mut worker, "steps").expect("goes on");
}

#[test]
fn a_missing_package_is_named_however_it_is_told() {
    let mut told = worker();
    let error = load(&mut told, "missing").expect_err("fails");
    assert!(matches!(&error, WorkerError::MissingPackage { package, .. } if package == "torch"), "{error:?}");

    let mut launch = launch();
    launch.arguments.push("import".into());
    let mut died = Worker::spawn(launch).expect("python3 starts");
    let error = load(&mut died, "steps").expect_err("is dead");
    assert!(
        matches!(&error, WorkerError::MissingPackage { package, .. } if package == "a_package_that_is_not_there"),
        "{error:?}"
    );
}

#[test]
fn chatter_on_standard_error_blocks_nothing_and_is_kept() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let log = folder.path().join("logs/fake.log");
    let mut launch = launch();
    launch.log = Some(log.clone());
    let mut worker = Worker::spawn(launch).expect("python3 starts");
    load(&mut worker, "chatter").expect("loads");
    wait_until("the log holds the last line", || {
        fs::read_to_string(&log).is_ok_and(|text| text.ends_with("chatter 19999\n"))
    });
    assert!(fs::read_to_string(&log).expect("is there").starts_with("chatter 0\n"));
    wait_until("the tail holds the last line", || worker.stderr().ends_with("chatter 19999\n"));
    assert_eq!(worker.stderr().len(), 64 << 10);
}

#[test]
fn a_signal_is_told_with_stage_and_last_words() {
    let mut worker = worker();
    let error = load(&mut worker, "killed").expect_err("dies");
    let WorkerError::Died { end, stage, stderr, .. } = &error else { panic!("{error:?}") };
    assert_eq!((*end, *stage, stderr.as_str()), (End::Signal(9), Stage::Prepare, "the last words\n"));
    let text = error.to_string();
    assert!(text.contains("SIGKILL") && text.contains("the last words") && text.contains("hint:"), "{text}");

    assert!(!worker.is_running());
    let error = load(&mut worker, "steps").expect_err("is dead");
    assert!(matches!(error, WorkerError::Stopped { .. }), "{error:?}");
}

#[test]
fn an_exit_in_the_middle_is_told_with_its_status() {
    let error = load(&mut worker(), "exit").expect_err("dies");
    assert!(
        matches!(error, WorkerError::Died { end: End::Exit(3), stage: Stage::Calibrate, .. }),
        "{error:?}"
    );
}

#[test]
fn a_dead_worker_is_noticed_while_its_child_holds_the_output() {
    let error = load(&mut worker(), "dies before its child").expect_err("dies");
    assert!(matches!(error, WorkerError::Died { end: End::Signal(11), stage: Stage::Load, .. }), "{error:?}");
}

#[test]
fn a_closed_output_ends_the_worker() {
    let mut worker = worker();
    let pid = u64::from(worker.id());
    let error = load(&mut worker, "closed").expect_err("dies");
    assert!(matches!(error, WorkerError::Died { end: End::ClosedOutput, .. }), "{error:?}");
    assert!(!is_alive(pid));
}

#[test]
fn a_time_out_kills_the_worker() {
    let mut worker = worker();
    let pid = u64::from(worker.id());
    let start = Instant::now();
    let limit = Duration::from_secs(2);
    let error = load_within(&mut worker, "deaf", limit, &mut |_| {}).expect_err("takes too long");
    assert!(matches!(error, WorkerError::TimedOut { stage: Stage::Convert, .. }), "{error:?}");
    assert!(start.elapsed() >= limit);
    assert!(!is_alive(pid) && !worker.is_running());
}

#[test]
fn the_cancellation_flag_ends_a_call() {
    let launch = launch();
    let cancelled = Arc::clone(&launch.cancelled);
    let mut worker = Worker::spawn(launch).expect("python3 starts");
    let pid = u64::from(worker.id());
    let error = load_within(&mut worker, "deaf", PLENTY, &mut |_| cancelled.store(true, Ordering::Relaxed))
        .expect_err("is cancelled");
    assert!(matches!(error, WorkerError::Cancelled { stage: Stage::Convert, .. }), "{error:?}");
    assert!(!is_alive(pid));
}

#[test]
fn a_line_that_is_no_answer_is_shown() {
    for (how, shown, reason) in
        [("garbage", "Epoch 1/3 done", "expected"), ("wrong result", "\"one\"", "invalid type")]
    {
        let error = load(&mut worker(), how).expect_err("breaks the protocol");
        let WorkerError::Protocol { line, reason: found, .. } = &error else { panic!("{how}: {error:?}") };
        assert!(line.contains(shown) && found.contains(reason), "{how}: {error}");
    }
}

#[test]
fn an_answer_to_another_request_is_refused() {
    let error = load(&mut worker(), "stranger").expect_err("breaks the protocol");
    assert!(matches!(&error, WorkerError::Protocol { reason, .. } if reason.contains("101")), "{error:?}");
}

#[test]
fn dropping_a_worker_kills_what_it_started() {
    let mut worker = worker();
    let child = load(&mut worker, "child").expect("loads").handle;
    assert!(is_alive(child));
    drop(worker);
    wait_until("the child is gone", || !is_alive(child));
}

#[test]
fn shutdown_ends_the_input_and_waits() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let mut launch = launch();
    let log = folder.path().join("log");
    launch.arguments.extend(["lingers".into(), "trace".into()]);
    launch.log = Some(log.clone());
    let worker = Worker::spawn(launch).expect("python3 starts");
    worker.shutdown(PLENTY).expect("answers");
    wait_until("the end of the input was seen", || {
        fs::read_to_string(&log).is_ok_and(|text| text.contains("saw the end of the input"))
    });
}

#[test]
fn variables_are_set_for_the_process() {
    let mut launch = launch();
    launch.variables.push(("OMP_NUM_THREADS".into(), "5".into()));
    let mut worker = Worker::spawn(launch).expect("python3 starts");
    assert_eq!(load(&mut worker, "variables").expect("loads").handle, 5);
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let error = Worker::spawn(Launch::new("fake", "/no/such/program")).expect_err("is not there");
    let WorkerError::Start { what, .. } = &error else { panic!("{error:?}") };
    assert_eq!(what, Path::new("/no/such/program"));
}

#[cfg(unix)]
#[test]
fn a_path_that_json_cannot_hold_is_refused_before_sending() {
    use std::os::unix::ffi::OsStringExt;
    let mut worker = worker();
    let name = std::ffi::OsString::from_vec(vec![0xff]);
    let request = Load {
        path: "steps".into(),
        tuning: Tuning::Tuned,
        variant: Variant::Qat,
        model: name.into(),
        artefact: "a".into(),
    };
    let error = worker.call(request, &mut |_| {}, Some(PLENTY)).expect_err("is refused");
    assert!(matches!(error, WorkerError::Request { .. }), "{error:?}");
    load(&mut worker, "steps").expect("goes on");
}
