//! The real environments and the real workers, from an empty cache. Run with `--ignored`, and `CALIPERS_CACHE` if the
//! environments are to be kept.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use calipers_workers::environment::{Phase, State, ensure, state};
use calipers_workers::protocol::Hello;
use calipers_workers::{Environment, Framework, Host, Launch, Worker, sources};

fn installs(environment: Environment) -> (Host, calipers_workers::Interpreter) {
    let host = Host::detect().expect("has a cache");
    let mut last = None;
    let interpreter = ensure(
        environment,
        &host,
        &mut |step| {
            assert!(step.packages_done <= step.packages_total, "{step:?}");
            last = Some(step.phase);
        },
        &AtomicBool::new(false),
    )
    .expect("installs");
    assert!(last.is_none() || last == Some(Phase::Check), "{last:?}");
    assert!(matches!(state(environment, &host), State::Installed(_) | State::Own { .. }));
    (host, interpreter)
}

fn greets(framework: Framework, package: &str) {
    let (host, interpreter) = installs(framework.environment());
    let sources = sources::unpack(&host.cache).expect("unpacks");
    let mut worker = Worker::spawn(Launch::framework(framework, &interpreter, &sources, 2)).expect("starts");
    let limit = Some(Duration::from_secs(300));
    let greeting = worker.call(Hello { threads: 2 }, &mut |_| {}, limit).expect("answers");
    assert_eq!(
        (greeting.framework.as_str(), greeting.threads, greeting.pid),
        (framework.name(), 2, worker.id())
    );
    assert_eq!(greeting.python.as_deref(), Some(interpreter.python.as_str()));
    assert_eq!(greeting.versions.get(package), interpreter.versions.get(package));
    worker.shutdown(Duration::from_secs(60)).expect("ends");
}

#[test]
#[ignore = "installs several gigabytes"]
fn pytorch_is_installed_and_its_worker_answers() {
    greets(Framework::PyTorch, "torch");
}

#[test]
#[ignore = "installs several gigabytes"]
fn tensorflow_is_installed_and_its_worker_answers() {
    greets(Framework::TensorFlow, "tf_keras");
}

#[test]
#[ignore = "installs packages"]
fn onnxruntime_is_installed_and_its_worker_answers() {
    greets(Framework::OnnxRuntime, "onnxruntime");
}

#[test]
#[ignore = "installs packages"]
fn openvino_is_installed_and_its_worker_answers() {
    greets(Framework::OpenVino, "nncf");
}
