//! Processes that start one another: a worker written in Rust answers, and no worker outlives who asks it.
//!
//! This file has its own `main`, because the test's program plays the worker and the asker too.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command as ProcessCommand, Stdio};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

use calipers_workers::protocol::{
    Command, Evaluate, Evaluated, Greeting, Hello, Load, Request, Stage, Tuning, Variant,
};
use calipers_workers::serve::serve_standard_streams;
use calipers_workers::{Failure, Launch, Worker, WorkerError};

/// Which part this process plays.
const ROLE: &str = "CALIPERS_TEST_ROLE";
type Test = fn() -> io::Result<()>;

/// The tests by name.
const TESTS: [(&str, Test); 3] = [
    ("a_worker_in_rust_answers", a_worker_in_rust_answers),
    ("a_busy_worker_in_rust_dies_with_its_asker", || a_busy_worker_dies_with_its_asker("asker of rust")),
    ("a_busy_worker_in_python_dies_with_its_asker", || a_busy_worker_dies_with_its_asker("asker of python")),
];

/// Long enough for the slowest machine; nothing waits for it where the code is right.
const PLENTY: Duration = Duration::from_secs(60);

fn main() -> io::Result<()> {
    match env::var(ROLE).as_deref() {
        Ok("worker") => serve_as_worker()?,
        Ok("asker of rust") => ask_for_ever(
            Evaluate { handle: 1, data: "d".into(), batch: 1, output: "o".into() },
            in_role("worker")?,
        ),
        Ok("asker of python") => ask_for_ever(
            Load {
                path: "deaf".into(),
                tuning: Tuning::Default,
                variant: Variant::Float,
                model: "m".into(),
                artefact: "a".into(),
            },
            python_worker(),
        ),
        Ok(other) => panic!("unknown role {other}"),
        Err(_) => test()?,
    }
    Ok(())
}

/// The part of the standard test harness that test runners ask for: `--list`, `--ignored` (there are none), and the
/// names of the tests to run.
fn test() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let says = |option: &str| arguments.iter().any(|argument| argument == option);
    let names: Vec<&String> = arguments.iter().filter(|argument| !argument.starts_with('-')).collect();
    for (name, test) in TESTS {
        let chosen = names.is_empty() || names.iter().any(|wanted| name.contains(wanted.as_str()));
        if says("--list") && !says("--ignored") {
            println!("{name}: test");
        } else if chosen && !says("--list") {
            test()?;
        }
    }
    Ok(())
}

fn in_role(role: &str) -> io::Result<Launch> {
    let mut launch = Launch::new(role, env::current_exe()?);
    launch.variables.push((ROLE.into(), role.into()));
    Ok(launch)
}

fn python_worker() -> Launch {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut launch = Launch::new("python", "python3");
    launch.arguments = vec![folder.join("tests/fake_worker.py").into(), "lifeline".into()];
    launch.variables.push(("PYTHONPATH".into(), folder.join("python").into()));
    launch.variables.push(("PYTHONDONTWRITEBYTECODE".into(), "1".into()));
    launch
}

/// The worker: `evaluate` never ends.
fn serve_as_worker() -> io::Result<()> {
    serve_standard_streams(&mut |request, reporter| match request {
        Request::Hello(hello) => hello.answer(&Greeting {
            framework: "calipers".into(),
            versions: [("calipers".to_owned(), "0.1.0".to_owned())].into(),
            python: None,
            threads: hello.threads,
            pid: std::process::id(),
            devices: Vec::new(),
        }),
        Request::Evaluate(evaluate) => {
            reporter.report(Stage::Evaluate, 0, None, None);
            thread::sleep(10 * PLENTY);
            evaluate.answer(&Evaluated { seconds: 0.0 })
        }
        other => Err(Failure::new(Stage::Build, "Unsupported", format!("{other:?}"))),
    })
}

/// The asker: prints the worker's process id when the worker is busy, and waits for it.
fn ask_for_ever(command: impl Command, launch: Launch) {
    let mut worker = Worker::spawn(launch).expect("starts");
    let pid = worker.id();
    let result = worker.call(command, &mut |_| println!("{pid}"), None);
    panic!("the worker ended: {:?}", result.err());
}

fn a_worker_in_rust_answers() -> io::Result<()> {
    let mut worker = Worker::spawn(in_role("worker")?).expect("starts");
    let greeting = worker.call(Hello { threads: 3 }, &mut |_| {}, Some(PLENTY)).expect("answers");
    assert_eq!((greeting.threads, greeting.pid, greeting.python), (3, worker.id(), None));
    let load = Load {
        path: "p".into(),
        tuning: Tuning::Default,
        variant: Variant::Qat,
        model: "m".into(),
        artefact: "a".into(),
    };
    let error = worker.call(load, &mut |_| {}, Some(PLENTY)).expect_err("is unsupported");
    assert!(
        matches!(&error, WorkerError::Failed { failure, .. } if failure.kind == "Unsupported"),
        "{error}"
    );
    worker.shutdown(PLENTY).expect("ends");
    Ok(())
}

fn a_busy_worker_dies_with_its_asker(role: &str) -> io::Result<()> {
    let mut asker =
        ProcessCommand::new(env::current_exe()?).env(ROLE, role).stdout(Stdio::piped()).spawn()?;
    let mut line = String::new();
    BufReader::new(asker.stdout.take().expect("is a pipe")).read_line(&mut line)?;
    let stat = Path::new("/proc").join(line.trim()).join("stat");
    assert!(is_alive(&stat), "{role}: the worker {line:?} is busy");
    asker.kill()?;
    asker.wait()?;
    let start = Instant::now();
    while is_alive(&stat) {
        assert!(start.elapsed() < PLENTY, "{role}: the worker outlived who asked it");
        thread::sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Whether a process still runs; a zombie that its new parent has not collected yet does not.
fn is_alive(stat: &Path) -> bool {
    fs::read_to_string(stat)
        .is_ok_and(|stat| !stat.rsplit(')').next().unwrap_or_default().trim_start().starts_with('Z'))
}
