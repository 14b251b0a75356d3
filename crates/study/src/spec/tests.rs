//! Specifications as users write them.

use super::{Overrides, Spec};
use crate::cell::{Origin, Variant};

const PAPER: &str = include_str!("../../../../studies/paper.toml");
const PAPER_BN: &str = include_str!("../../../../studies/paper-bn.toml");

#[test]
fn the_studies_of_the_project_are_valid() {
    let quick = Spec::quick().unwrap();
    let names: Vec<String> = quick.cells(1).iter().map(ToString::to_string).collect();
    assert_eq!(names[0], "pytorch eager float (seed 1)");
    for expected in [
        "pytorch eager-2023 qat (seed 1)",
        "tensorflow aeq ptq-static tuned (seed 1)",
        "tensorflow aeq ptq-static tuned (seed 1, shared weights)",
        "openvino calipers ptq-static (seed 1, shared weights)",
    ] {
        assert!(names.iter().any(|name| name == expected), "{expected}: {names:?}");
    }
    // What is trained starts from a framework's own weights.
    assert!(!names.iter().any(|name| name.starts_with("tensorflow tfmot") && name.contains("shared")));
    let steps = 391;
    let paper = Spec::parse(PAPER, "paper").unwrap().train.unwrap();
    assert_eq!((paper.epochs, paper.rates(49, steps)), (50, vec![0.1]));
    let with_norm = Spec::parse(PAPER_BN, "paper-bn").unwrap().train.unwrap();
    let (first, last) = (with_norm.rates(0, steps), with_norm.rates(49, steps));
    assert_eq!((first.len(), first[0]), (steps, 0.1));
    assert!(last[steps - 1] > 0.0 && last[steps - 1] < 1e-8, "{}", last[steps - 1]);
}

#[test]
fn the_rate_falls_at_milestones() {
    let mut train = Spec::parse(PAPER, "paper").unwrap().train.unwrap();
    train.milestones = vec![1, 2];
    assert!((train.rates(2, 10)[0] - 0.001).abs() < 1e-12);
    assert!((train.rates(0, 10)[0] - 0.1).abs() < 1e-12);
}

#[test]
fn a_model_of_the_users_own_needs_no_training() {
    let train = PAPER.find("[train]").unwrap();
    let calibration = PAPER.find("[calibration]").unwrap();
    let text = format!("{}{}", &PAPER[..train], &PAPER[calibration..]);
    let message = Spec::parse(&text, "mine").unwrap_err().to_string();
    assert!(message.contains("`train` is nothing, expected a table for a built-in model"), "{message}");
    let text = text.replace("\"resnet18\"", "\"mine.onnx\"").replace("classes = 10\n", "");
    let text = text.replace("batch_norm = false\n", "");
    let spec = Spec::parse(&text, "mine").unwrap();
    let cells = spec.cells(1);
    assert!(cells.iter().all(|cell| cell.weights == Origin::Shared), "{cells:?}");
    assert!(!cells.iter().any(|cell| cell.variant == Variant::Qat));
}

#[test]
fn errors_name_the_place() {
    let message = |text: &str| Spec::parse(text, "my.toml").unwrap_err().to_string();
    let unknown = message(&PAPER.replace("epochs = 50", "epoks = 50"));
    assert!(
        unknown.contains("my.toml") && unknown.contains("epoks") && unknown.contains("line"),
        "{unknown}"
    );
    let wrong = message(&PAPER.replace("epochs = 50", "epochs = \"many\""));
    assert!(wrong.contains("invalid type") && wrong.contains("epochs"), "{wrong}");
    let zero = message(&PAPER.replace("batch = 128", "batch = 0"));
    assert!(zero.contains("`train.batch` is 0, expected 1 or more"), "{zero}");
    let path = message(&PAPER.replace("\"fx\"", "\"magic\""));
    assert!(path.contains("frameworks.pytorch") && path.contains("eager, eager-2023, fx"), "{path}");
}

#[test]
fn the_command_line_chooses() {
    let overrides = Overrides {
        frameworks: Some(vec!["calipers".into()]),
        variants: Some(vec!["ptq-static".into()]),
        seeds: Some(vec![3]),
        ..Overrides::default()
    };
    let spec = Spec::quick().unwrap().with(&overrides).unwrap();
    assert_eq!(spec.cells(3).len(), 1);
    let unknown = Overrides { frameworks: Some(vec!["jax".into()]), ..Overrides::default() };
    let message = Spec::quick().unwrap().with(&unknown).unwrap_err().to_string();
    assert!(message.contains("--frameworks") && message.contains("jax"), "{message}");
}
