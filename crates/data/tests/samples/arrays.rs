//! Arrays: what numpy wrote comes back, what does not fit is said, what is hostile is refused.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use calipers_data::samples::{BatchRule, Element, Extent, ModelInput, batches};
use zip::write::SimpleFileOptions;

use crate::{assert_says, input, opened, refusal, testdata};

fn arrays(name: &str) -> PathBuf {
    testdata().join("arrays").join(name)
}

/// An `.npy` array of version 1 with that dictionary and those elements.
fn npy(dictionary: &str, elements: &[u8]) -> Vec<u8> {
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((dictionary.len() as u16).to_le_bytes());
    bytes.extend(dictionary.as_bytes());
    bytes.extend(elements);
    bytes
}

fn floats(shape: &str, values: &[f32]) -> Vec<u8> {
    let dictionary = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}\n");
    npy(&dictionary, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
}

fn integers(shape: &str, values: &[i64]) -> Vec<u8> {
    let dictionary = format!("{{'descr': '<i8', 'fortran_order': False, 'shape': {shape}, }}\n");
    npy(&dictionary, &values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>())
}

fn npz(path: &Path, members: &[(&str, Vec<u8>)]) {
    let mut writer = zip::ZipWriter::new(fs::File::create(path).unwrap());
    for (name, bytes) in members {
        let options = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
        writer.start_file(format!("{name}.npy"), options).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap();
}

/// What is wrong, the members of an archive, the model's inputs, and what the message says.
type Misfit = (&'static str, Vec<(&'static str, Vec<u8>)>, Vec<ModelInput>, &'static [&'static str]);

fn f32_input(name: &str, shape: &[usize]) -> ModelInput {
    input(name, Element::F32, shape)
}

#[test]
fn every_type_order_and_packing_of_numpy_comes_back() {
    let types = [
        ("f2", Element::F16, Element::F32),
        ("f4", Element::F32, Element::F32),
        ("f8", Element::F64, Element::F32),
        ("i1", Element::I8, Element::I64),
        ("i2", Element::I16, Element::I16),
        ("i4", Element::I32, Element::I64),
        ("i8", Element::I64, Element::I8),
        ("u1", Element::U8, Element::U8),
        ("u2", Element::U16, Element::I32),
        ("u4", Element::U32, Element::U8),
        ("u8", Element::U64, Element::I64),
    ];
    for file in ["stored.npz", "deflated.npz"] {
        for wanted in ["as stored", "converted"] {
            let mut inputs = Vec::new();
            for (code, stored, other) in types {
                let element = if wanted == "converted" { other } else { stored };
                inputs.push(input(&format!("{code}_c"), element, &[0, 2, 2]));
                inputs.push(input(&format!("{code}_fortran"), element, &[0, 2, 2]));
            }
            let opened = opened(&arrays(file), &inputs);
            let samples = opened.samples.as_ref();
            assert_eq!((samples.len(), samples.batch_rule()), (3, BatchRule::Any));
            for (found, input) in samples.batch(&[0, 1, 2]).unwrap().iter().zip(&inputs) {
                let context = format!("{file} {}", input.name);
                assert_eq!((&found.name, found.element), (&input.name, input.element), "{context}");
                assert_eq!(found.shape, [3, 2, 2], "{context}");
                assert_eq!(
                    found.to_f32(),
                    (0..12).map(|value| value as f32).collect::<Vec<_>>(),
                    "{context}"
                );
            }
            for found in samples.batch(&[2, 0]).unwrap() {
                assert_eq!(found.to_f32(), [8., 9., 10., 11., 0., 1., 2., 3.], "{file} {}", found.name);
            }
        }
    }
    let truth = opened(&arrays("truth.npz"), &[input("x", Element::Bool, &[0, 2, 2])]);
    assert_eq!(truth.samples.batch(&[0]).unwrap()[0].bytes, [1, 0, 0, 1]);
    for version in 1..=3 {
        let opened = opened(&arrays(&format!("version{version}.npy")), &[f32_input("any", &[0, 2, 2])]);
        assert_eq!(opened.samples.batch(&[1]).unwrap()[0].to_f32(), [4., 5., 6., 7.]);
    }
}

#[test]
fn types_that_are_not_read_are_named() {
    for (file, parts) in [
        ("object.npy", &["Python objects (pickled); reading it would run code", "numpy.asarray"][..]),
        ("big.npy", &["type '>f4' is big endian", "newbyteorder"]),
        ("fields.npy", &["has fields", "array of its own"]),
        ("complex.npy", &["type '<c8' is not read", "astype"]),
        ("text.npy", &["type '<U3' is not read"]),
    ] {
        let message = refusal(&arrays(file), &[f32_input("x", &[0, 2, 2])]);
        assert_says(&message, parts);
        assert_says(&message, &[file]);
    }
}

#[test]
fn names_types_and_shapes_that_do_not_fit_are_listed_with_what_does() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.npz");
    let six = floats("(3, 2)", &[0.0; 6]);
    let cases: [Misfit; 10] = [
        (
            "a near name",
            vec![("imput", six.clone())],
            vec![f32_input("input", &[0, 2])],
            &[
                "'imput' is not an input of the model",
                "the model's inputs: input: f32 [?, 2]",
                "found: imput: f32 [3, 2]",
                "did you mean 'input'?",
            ],
        ),
        (
            "a stranger",
            vec![("arr_0", six.clone())],
            vec![f32_input("x", &[0, 2])],
            &["hint: name each array after an input", "numpy.savez(path, **{\"x\": array})"],
        ),
        (
            "an input without array",
            vec![("a", six.clone())],
            vec![f32_input("a", &[0, 2]), f32_input("b", &[0, 2])],
            &["there is no array for the input 'b'"],
        ),
        (
            "integers for floats",
            vec![("x", integers("(3, 2)", &[0; 6]))],
            vec![f32_input("x", &[0, 2])],
            &["'x' is i64 [3, 2] for the input x: f32 [?, 2]: i64 is not converted to f32", "float32"],
        ),
        (
            "another extent",
            vec![("x", six.clone())],
            vec![f32_input("x", &[0, 4])],
            &["axis 1 is 2; expected 4"],
        ),
        (
            "another rank",
            vec![("x", six.clone())],
            vec![f32_input("x", &[0, 2, 2, 2])],
            &["2 axes, samples first; expected 4"],
        ),
        (
            "other numbers of samples",
            vec![("a", six.clone()), ("b", floats("(2, 2)", &[0.0; 4]))],
            vec![f32_input("a", &[0, 2]), f32_input("b", &[0, 2])],
            &["2 samples, but 'a' has 3"],
        ),
        (
            "a symbol of two extents",
            vec![("a", six.clone()), ("b", floats("(3, 1)", &[0.0; 3]))],
            ["a", "b"]
                .map(|name| ModelInput::new(name, Element::F32, vec!["N".into(), "seq".into()]))
                .to_vec(),
            &["axis 1 is 1, but seq is 2 in 'a'"],
        ),
        (
            "two labels",
            vec![("x", six.clone()), ("y", integers("(3,)", &[0; 3])), ("label", integers("(3,)", &[0; 3]))],
            vec![f32_input("x", &[0, 2])],
            &["both 'y' and 'label' would be labels"],
        ),
        (
            "a single number",
            vec![("x", floats("()", &[1.0]))],
            vec![f32_input("x", &[0, 2])],
            &["a single number has no samples"],
        ),
    ];
    for (what, members, inputs, parts) in cases {
        npz(&path, &members);
        let message = refusal(&path, &inputs);
        println!("{what}: {message}");
        assert_says(&message, parts);
    }
    let message = refusal(&arrays("version1.npy"), &[f32_input("a", &[0, 2, 2]), f32_input("b", &[0])]);
    assert_says(&message, &["one array for a model with 2 inputs", "give an .npz file"]);
}

#[test]
fn labels_stand_beside_the_inputs_and_are_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.npz");
    let inputs = [f32_input("x", &[0, 2])];
    let six = floats("(3, 2)", &[0.0; 6]);
    for (name, shape) in [("labels", "(3,)"), ("label", "(3, 1)"), ("y", "(3L,)")] {
        npz(&path, &[(name, integers(shape, &[2, 0, 7])), ("x", six.clone())]);
        assert_eq!(opened(&path, &inputs).samples.labels(), Some(&[2, 0, 7][..]), "{name}");
    }
    for (array, part) in [
        (integers("(3,)", &[0, -1, 0]), "sample 1 has -1"),
        (integers("(3,)", &[0, 0, 1 << 32]), "sample 2 has 4294967296"),
        (integers("(2,)", &[0, 0]), "found i64 [2] for 3 samples"),
        (floats("(3,)", &[0.0; 3]), "found f32 [3] for 3 samples"),
    ] {
        npz(&path, &[("x", six.clone()), ("y", array)]);
        assert_says(&refusal(&path, &inputs), &["labels: ", part]);
    }
    // A model may have an input of that name.
    npz(&path, &[("y", six)]);
    assert_eq!(opened(&path, &[f32_input("y", &[0, 2])]).samples.labels(), None);
}

#[test]
fn the_batch_axis_decides_how_samples_are_put_together() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.npy");
    fs::write(&path, floats("(5, 2)", &[0., 1., 2., 3., 4., 5., 6., 7., 8., 9.])).unwrap();
    let of = |shape: &[usize]| opened(&path, &[f32_input("x", shape)]);

    let free = of(&[0, 2]);
    let shapes: Vec<_> = batches(free.samples.as_ref(), &[4, 0, 1], 2)
        .map(|batch| batch.map(|batch| (batch.arrays[0].shape.clone(), batch.padded)).unwrap())
        .collect();
    assert_eq!(shapes, [(vec![2, 2], 0), (vec![1, 2], 0)]);

    // A fixed batch is filled up with the last sample.
    let fixed = of(&[3, 2]);
    assert_eq!(fixed.samples.batch_rule(), BatchRule::Exactly(3));
    let last = batches(fixed.samples.as_ref(), &[0, 1, 2, 4], 64).last().unwrap().unwrap();
    assert_eq!((last.indices.as_slice(), last.padded), (&[4][..], 2));
    assert_eq!(last.arrays[0].to_f32(), [8., 9., 8., 9., 8., 9.]);
    assert!(fixed.samples.batch(&[0]).unwrap_err().to_string().contains("expected 3"));

    // One axis more than the input has: each sample is all that the input takes.
    let all = of(&[2]);
    assert_eq!(all.samples.batch_rule(), BatchRule::Exactly(1));
    assert_eq!(all.samples.batch(&[3]).unwrap()[0].shape, [2]);
    assert!(all.samples.batch(&[5]).unwrap_err().to_string().contains("below 5"));
    let unknown = ModelInput { shape: None, ..f32_input("x", &[]) };
    assert_eq!(opened(&path, &[unknown]).samples.batch(&[1, 2]).unwrap()[0].shape, [2, 2]);
}

#[test]
fn numbers_that_are_not_finite_or_do_not_fit_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.npz");
    let values = [0.0, 1.0, 2.0, f32::NEG_INFINITY, f32::NAN, 5.0];
    npz(&path, &[("x", floats("(3, 2)", &values))]);
    let data = opened(&path, &[f32_input("x", &[0, 2])]);
    let whole = batches(data.samples.as_ref(), &[0, 2, 1], 8).next().unwrap().unwrap();
    let message = whole.require_finite().unwrap_err().to_string();
    assert_says(&message, &["data.npz, sample 2: 'x' has the value NaN at element 0"]);
    let second = batches(data.samples.as_ref(), &[1], 8).next().unwrap().unwrap();
    assert_says(
        &second.require_finite().unwrap_err().to_string(),
        &["sample 1: 'x' has the value -inf at element 1"],
    );
    let first = batches(data.samples.as_ref(), &[0], 8).next().unwrap().unwrap();
    first.require_finite().unwrap();

    npz(&path, &[("x", integers("(2, 2)", &[0, 127, 128, 0]))]);
    let data = opened(&path, &[input("x", Element::I8, &[0, 2])]);
    assert_eq!(data.samples.batch(&[0]).unwrap()[0].bytes, [0, 127]);
    let message = data.samples.batch(&[1]).unwrap_err().to_string();
    assert_says(&message, &["data.npz, sample 1: 'x' has the value 128 at element 0; expected -128 to 127"]);
}

#[test]
fn a_folder_of_arrays_is_bound_by_the_names_of_its_files() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.npy"), floats("(2, 1)", &[1., 2.])).unwrap();
    fs::write(folder.path().join("b.npy"), floats("(2, 1)", &[3., 4.])).unwrap();
    fs::write(folder.path().join("y.npy"), integers("(2,)", &[1, 0])).unwrap();
    fs::write(folder.path().join("notes.md"), "made").unwrap();
    let data = opened(folder.path(), &[f32_input("b", &[0, 1]), f32_input("a", &[0, 1])]);
    let found: Vec<_> = data.samples.batch(&[1]).unwrap().iter().map(|array| array.to_f32()).collect();
    assert_eq!(found, [[4.], [2.]]);
    assert_eq!(data.samples.labels(), Some(&[1, 0][..]));
    assert_says(&data.notes.join("\n"), &["left aside as no .npy files: 1", "notes.md"]);
}

#[test]
fn damaged_headers_are_refused_without_much_memory() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.npy");
    let dictionary = |shape: &str| format!("{{'descr': '<f4', 'fortran_order': True, 'shape': {shape}}}");
    let mut long = b"\x93NUMPY\x02\x00".to_vec();
    long.extend(u32::MAX.to_le_bytes());
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (Vec::new(), "ends within the header"),
        (b"\x93NUMPX\x01\x00\x00\x00".to_vec(), "does not begin as an .npy array"),
        (b"\x93NUMPY\x07\x00\x00\x00".to_vec(), "version 7"),
        (b"\x93NUMPY\x01\x00\xff\x00{".to_vec(), "ends within the header"),
        (long, "a header of 4294967295 bytes"),
        (npy(&dictionary("(18446744073709551615, 3)"), &[0; 12]), "does not take the 12 bytes"),
        (npy(&dictionary("(4294967296, 4294967296)"), &[0; 12]), "does not take the 12 bytes"),
        (npy(&dictionary("(99999999999999999999999,)"), &[0; 12]), "where an extent was expected"),
        (npy(&dictionary("(-3,)"), &[0; 12]), "where an extent was expected"),
        (npy(&dictionary("(1000000000000, 0)"), &[]), "holds no element"),
        (npy(&dictionary("(3,)"), &[0; 13]), "does not take the 13 bytes"),
        (npy(&dictionary("(3,)"), &[0; 11]), "does not take the 11 bytes"),
        (npy("{'descr': '<f4'}", &[]), "lacks one of the keys"),
        (npy("{'descr': '<f4', 'descr': '<f4'}", &[]), "the key 'descr' twice"),
        (npy("{'other': 1}", &[]), "unknown key 'other'"),
        (npy("{'descr': '<f4", &[]), "a text without end"),
        (npy("{'descr': [('a', '<f4')", &[]), "a list without end"),
        (npy("{'fortran_order': Maybe}", &[]), "where True or False was expected"),
        (npy("__import__('os')", &[]), "where '{' was expected"),
        (npy(&format!("{} + 1", dictionary("(3,)")), &[0; 12]), "goes on behind its dictionary"),
        (npy("\u{fffd}", &[]), "where '{' was expected"),
    ];
    let inputs = [f32_input("x", &[0])];
    for (bytes, part) in cases {
        fs::write(&path, bytes).unwrap();
        assert_says(&refusal(&path, &inputs), &[part, "hint: "]);
    }
}

#[test]
fn damaged_archives_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data.npz");
    let inputs = [f32_input("x", &[0, 1])];
    fs::write(&path, "not an archive").unwrap();
    assert_says(&refusal(&path, &inputs), &["is not an .npz (ZIP) archive"]);

    let mut writer = zip::ZipWriter::new(fs::File::create(&path).unwrap());
    writer.start_file("readme.txt", SimpleFileOptions::default()).unwrap();
    writer.finish().unwrap();
    assert_says(&refusal(&path, &inputs), &["readme.txt: is not an .npy array"]);

    // Sizes that the archive claims and its members do not have, up to ones that would fill a disk.
    let values = vec![0.0f32; 4096];
    for method in [zip::CompressionMethod::Stored, zip::CompressionMethod::Deflated] {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        writer.start_file("x.npy", SimpleFileOptions::default().compression_method(method)).unwrap();
        writer.write_all(&floats("(4096, 1)", &values)).unwrap();
        let sound = writer.finish().unwrap().into_inner();
        fs::write(&path, &sound).unwrap();
        assert_eq!(opened(&path, &inputs).samples.len(), 4096);

        let directory = sound.windows(4).rposition(|window| window == b"PK\x01\x02").unwrap();
        for size in [0u32, 1, 16_000, 20_000, 1 << 30, u32::MAX - 1] {
            let mut claimed = sound.clone();
            for at in [directory + 24, 22] {
                claimed[at..at + 4].copy_from_slice(&size.to_le_bytes());
            }
            fs::write(&path, &claimed).unwrap();
            assert_says(&refusal(&path, &inputs), &["data.npz"]);
        }
        // Every single byte changed, and every length cut: an error or the same samples, no panic.
        for at in
            (0..sound.len()).step_by(if sound.len() > 4000 { 97 } else { 1 }).chain(directory..sound.len())
        {
            let mut damaged = sound.clone();
            damaged[at] ^= 0x55;
            fs::write(&path, &damaged).unwrap();
            let options = calipers_data::samples::OpenOptions::default();
            if let Ok(data) = calipers_data::samples::open(&path, &inputs, &options) {
                let _ = data.samples.batch(&[0, data.samples.len() - 1]);
            }
            fs::write(&path, &sound[..at]).unwrap();
            assert!(calipers_data::samples::open(&path, &inputs, &options).is_err(), "{at}");
        }
    }
}

#[test]
fn extents_are_shown_as_they_are_written() {
    let input = ModelInput::new("x", Element::I64, vec![Extent::from("N"), 3.into(), "".into()]);
    assert_eq!(input.to_string(), "x: i64 [N, 3, ?]");
}
