//! Paths that are none of the kinds, and options that belong to other kinds.

use std::fs;

use calipers_data::samples::{Element, OpenOptions, PreprocessingOverrides, Scale, TokenOptions, open};

use crate::{assert_says, input, opened, refusal, testdata};

#[test]
fn what_is_not_recognised_is_described() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let model = [input("x", Element::F32, &[0, 3, 8, 8])];
    fs::create_dir(at("empty")).unwrap();
    fs::write(at("table.csv"), "1,2").unwrap();
    fs::write(at("table"), "1,2").unwrap();
    fs::create_dir_all(at("mixed/class")).unwrap();
    fs::copy(testdata().join("images/dot.png"), at("mixed/dot.png")).unwrap();
    for (name, part) in [
        ("nowhere", "nowhere: there is no such file or folder"),
        ("empty", "empty: is a folder of 0 files without images or arrays"),
        ("table.csv", "table.csv: is a file of the kind .csv"),
        ("table", "table: is a file without an ending"),
        ("mixed", "mixed: is a folder of 1 images, 0 .npy files and 1 folders"),
    ] {
        assert_says(
            &refusal(&at(name), &model),
            &[part, "expected a folder with a folder of images for each class"],
        );
    }
    // The version of CIFAR-10 for Python is told apart.
    fs::create_dir_all(at("python/cifar-10-batches-py")).unwrap();
    assert_says(&refusal(&at("python"), &model), &["these are the files of the Python version"]);
    fs::write(at("other.tar.gz"), "no archive").unwrap();
    assert_says(&refusal(&at("other.tar.gz"), &model), &["should be cifar-10-binary.tar.gz"]);
}

#[test]
fn options_for_other_kinds_of_data_are_refused() {
    let arrays = testdata().join("arrays/version1.npy");
    let image = testdata().join("images/dot.png");
    let overrides = PreprocessingOverrides { scale: Some(Scale::Raw), ..Default::default() };
    let tokens = TokenOptions { length: Some(4), pad: None };
    let default = OpenOptions::default;
    for (path, options, part) in [
        (&arrays, OpenOptions { overrides, ..default() }, "a setting for images is given; expected none"),
        (
            &image,
            OpenOptions { tokens, ..default() },
            "a setting for token ids is given; expected none for an image",
        ),
        (&image, OpenOptions { classes: Some(Vec::new()), ..default() }, "the list of class names is given"),
    ] {
        let error = open(path, &[input("x", Element::F32, &[0, 3, 8, 8])], &options).unwrap_err();
        assert_says(&error.to_string(), &[part]);
    }
}

#[test]
fn accuracy_asks_for_labels_that_the_model_can_give() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ids.txt");
    let model = [input("ids", Element::I64, &[0, 2])];
    fs::write(&path, "1 2\t0\n3 4\t9\n").unwrap();
    let data = opened(&path, &model);
    assert_eq!(data.require_labels(10).unwrap(), [0, 9]);
    let error = data.require_labels(9).unwrap_err().to_string();
    assert_says(&error, &["ids.txt, line 2 has the class 9; expected 0 to 8"]);

    fs::write(&path, "1 2\n3 4\n").unwrap();
    let error = opened(&path, &model).require_labels(10).unwrap_err().to_string();
    assert_says(&error, &["lines of token ids have none", "hint: end each line with a tab and the class"]);
}
