//! Specifications as users write them.

use super::{Overrides, Spec};

const PAPER: &str = include_str!("../../../../studies/paper.toml");

#[test]
fn both_studies_of_the_project_are_valid() {
    let quick = Spec::quick().unwrap();
    let names: Vec<String> = quick.cells(1).iter().map(ToString::to_string).collect();
    assert_eq!(names.len(), 14);
    assert_eq!(names[0], "pytorch eager float (seed 1)");
    let paper = Spec::parse(PAPER, "paper").unwrap();
    assert_eq!((paper.train.epochs, paper.train.rate(49)), (50, 0.1));
}

#[test]
fn the_rate_falls_at_milestones() {
    let mut train = Spec::parse(PAPER, "paper").unwrap().train;
    train.milestones = vec![1, 2];
    assert!((train.rate(2) - 0.001).abs() < 1e-12);
    assert!((train.rate(0) - 0.1).abs() < 1e-12);
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
    assert!(path.contains("frameworks.pytorch") && path.contains("eager, fx"), "{path}");
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
