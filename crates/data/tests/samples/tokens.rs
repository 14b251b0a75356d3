//! Text files of token ids: what the inputs get, and lines that are not ids.

use std::fs;

use calipers_data::samples::{BatchRule, Element, Kind, ModelInput, OpenOptions, TokenOptions, open};

use crate::{assert_says, input, opened, refusal};

fn encoder() -> Vec<ModelInput> {
    vec![
        input("input_ids", Element::I64, &[0, 0]),
        input("attention_mask", Element::F32, &[0, 0]),
        input("token_type_ids", Element::I32, &[0, 0]),
        input("position_ids", Element::I64, &[0, 0]),
    ]
}

fn length(length: usize, pad: i64) -> OpenOptions {
    OpenOptions { tokens: TokenOptions { length: Some(length), pad: Some(pad) }, ..Default::default() }
}

#[test]
fn ids_masks_segments_and_positions_are_filled() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ids.txt");
    fs::write(&path, "\u{feff}5 6 7\t1\r\n8,9\t0\n1, 2, 3  ,4\t12\n\n  \n").unwrap();

    let data = opened(&path, &encoder());
    let samples = data.samples.as_ref();
    assert_eq!((data.kind, samples.len(), samples.batch_rule()), (Kind::Tokens, 3, BatchRule::Any));
    assert_eq!(samples.labels(), Some(&[1, 0, 12][..]));
    let arrays = samples.batch(&[1, 2]).unwrap();
    let values: Vec<_> = arrays.iter().map(|array| (array.name.as_str(), array.to_f32())).collect();
    assert_eq!(
        values,
        [
            ("input_ids", vec![8., 9., 0., 0., 1., 2., 3., 4.]),
            ("attention_mask", vec![1., 1., 0., 0., 1., 1., 1., 1.]),
            ("token_type_ids", vec![0.; 8]),
            ("position_ids", vec![0., 1., 2., 3., 0., 1., 2., 3.]),
        ]
    );
    assert!(arrays.iter().all(|array| array.shape == [2, 4]));
    assert_eq!(arrays[2].element, Element::I32);
    assert!(samples.sample_name(0).ends_with("ids.txt, line 1"));
    assert!(data.notes.is_empty());

    // Padded and cut to the length that was asked for, with the pad that was.
    let data = open(&path, &encoder(), &length(3, 99)).unwrap();
    let arrays = data.samples.batch(&[0, 1, 2]).unwrap();
    assert_eq!(arrays[0].to_f32(), [5., 6., 7., 8., 9., 99., 1., 2., 3.]);
    assert_says(&data.notes.join(""), &["1 of 3 lines are longer than 3 tokens"]);

    // The model's own length, and inputs without a batch axis.
    let data = opened(&path, &[input("tokens", Element::I32, &[1, 2])]);
    assert_eq!(data.samples.batch_rule(), BatchRule::Exactly(1));
    assert_eq!(data.samples.batch(&[0]).unwrap()[0].to_f32(), [5., 6.]);
    let data = opened(&path, &[input("tokens", Element::I32, &[5])]);
    assert_eq!(data.samples.batch(&[1]).unwrap()[0].shape, [5]);

    fs::write(&path, (0..600).map(|id| id.to_string()).collect::<Vec<_>>().join(" ")).unwrap();
    let data = opened(&path, &encoder());
    assert_eq!(data.samples.inputs()[0].shape, [512]);
    assert_eq!(data.samples.labels(), None);
    assert_says(&data.notes.join(""), &["1 of 1 lines are longer than 512 tokens"]);
}

#[test]
fn lines_that_are_not_samples_are_named_by_line_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ids.txt");
    for (text, parts) in [
        ("1 2\n3 x4 5\n", ["line 2, column 3", "'x4' is not a token id; expected a whole number from 0 to"]),
        ("1 -2\n", ["line 1, column 3", "'-2' is not a token id"]),
        ("1 1.5\n", ["line 1, column 3", "'1.5' is not a token id"]),
        ("1 9223372036854775808\n", ["line 1, column 3", "from 0 to 9223372036854775807"]),
        ("1\n\n2\n", ["line 2, column 1", "the line is empty"]),
        ("", ["line 1, column 1", "the file has no sample"]),
        ("\t3\n", ["line 1, column 1", "no token id"]),
        ("1 2\tcat\n", ["line 1, column 5", "'cat' is not a label"]),
        ("1 2\t\n", ["line 1, column 5", "expected one label behind the tab"]),
        ("1 2\t3 4\n", ["line 1, column 5", "expected one label behind the tab"]),
        ("1 2\t4294967296\n", ["line 1, column 5", "is not a label"]),
        ("1\t0\n2\n", ["line 2, column 2", "no label, but the lines before have one"]),
        ("1\n2\t0\n", ["line 2, column 2", "a label, but the lines before have none"]),
    ] {
        fs::write(&path, text).unwrap();
        assert_says(&refusal(&path, &encoder()), &parts);
    }
    fs::write(&path, b"1 \xff\xfe\n").unwrap();
    assert_says(&refusal(&path, &encoder()), &["line 1, column 3", "is not a token id"]);
    fs::write(&path, "1 128\n").unwrap();
    assert_says(&refusal(&path, &[input("ids", Element::I8, &[0, 2])]), &["column 3", "from 0 to 127"]);
    fs::write(&path, vec![b' '; (16 << 20) + 1]).unwrap();
    assert_says(&refusal(&path, &encoder()), &["line 1, column 1: more than 16777216 bytes in one line"]);
}

#[test]
fn inputs_that_ids_cannot_fill_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("ids.txt");
    fs::write(&path, "1 2\n").unwrap();
    let ids = |name: &str, shape: &[usize]| input(name, Element::I64, shape);
    for (inputs, part) in [
        (vec![ids("a", &[0, 0]), ids("b", &[0, 0])], "both 'a' and 'b' might take the ids"),
        (vec![ids("mask", &[0, 0])], "no input takes token ids"),
        (vec![input("x", Element::F32, &[0, 0])], "the input 'x' is not of whole numbers"),
        (vec![ids("x", &[0, 3, 4])], "the input 'x' is not of that shape"),
        (vec![ids("x", &[0, 3]), ids("mask", &[0, 4])], "the input 'mask' takes 4 tokens"),
        (vec![ids("x", &[2, 3]), ids("mask", &[1, 3])], "the input 'mask' takes a batch of its own"),
    ] {
        assert_says(&refusal(&path, &inputs), &[part, "the model's inputs: "]);
    }
    let error = |options| open(&path, &[ids("x", &[0, 3])], &options).unwrap_err().to_string();
    assert_says(&error(length(4, 0)), &["4 tokens were asked for, and the model takes 3"]);
    assert_says(&error(length(3, -1)), &["the id for padding is -1"]);
    let error = open(&path, &[ids("x", &[0, 0])], &length(0, 0)).unwrap_err().to_string();
    assert_says(&error, &["a sample of 0 tokens"]);
}
