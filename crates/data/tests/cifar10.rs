//! CIFAR-10's reader: on made files of the official layout, on damaged ones, and on the real data
//! where `CALIPERS_CIFAR10` names it.

use std::fs::{self, File};
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use calipers_data::samples::{Element, ModelInput, OpenOptions, open};
use calipers_data::{DataError, Normalization, cifar10};

const FILES: [&str; 6] = [
    "data_batch_1.bin",
    "data_batch_2.bin",
    "data_batch_3.bin",
    "data_batch_4.bin",
    "data_batch_5.bin",
    "test_batch.bin",
];
const RECORD: usize = 3073;
const FILE: u64 = 30_730_000;

/// A file of black images with label 0, sparse on disk.
fn blank(folder: &Path, name: &str, bytes: u64) -> File {
    let file = File::create(folder.join(name)).unwrap();
    file.set_len(bytes).unwrap();
    file
}

fn blank_set(folder: &Path) {
    for name in FILES {
        blank(folder, name, FILE);
    }
}

/// Ten thousand records that differ from those of other files, and from each other where
/// `distinct`; record `i` has label `i % 10`.
fn numbered(file: u8) -> Vec<u8> {
    let mut bytes = vec![0u8; FILE as usize];
    for (index, record) in bytes.chunks_exact_mut(RECORD).enumerate() {
        record[0] = (index % 10) as u8;
        record[1] = file;
        record[1 + 1024..1 + 1026].copy_from_slice(&(index as u16).to_le_bytes());
        record[3072] = 7;
    }
    bytes
}

fn message(path: &Path) -> String {
    cifar10::read(path).unwrap_err().to_string()
}

#[test]
fn folder_parent_and_archive_give_the_same_samples() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("cifar-10-batches-bin");
    fs::create_dir(&folder).unwrap();
    let mut archive =
        tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    // The archive holds its files in another order than they are read in.
    for (number, name) in FILES.into_iter().enumerate().rev() {
        let mut bytes = numbered(number as u8);
        if number == 2 {
            // Record 3 of the third file is record 5 of the test file, under another label.
            bytes[3 * RECORD + 1..4 * RECORD].copy_from_slice(&numbered(5)[5 * RECORD + 1..6 * RECORD]);
        }
        fs::write(folder.join(name), &bytes).unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_size(FILE);
        header.set_mode(0o644);
        archive.append_data(&mut header, format!("cifar-10-batches-bin/{name}"), &bytes[..]).unwrap();
    }
    let packed = parent.path().join("cifar-10-binary.tar.gz");
    fs::write(&packed, archive.into_inner().unwrap().finish().unwrap()).unwrap();

    let splits = cifar10::read(&folder).unwrap();
    assert_eq!(splits.test.len(), 10_000);
    assert_eq!(splits.train.len(), 49_999);
    assert_eq!(splits.train.class_names()[9], "truck");
    let dropped = &splits.report.dropped_from_training;
    assert_eq!(dropped.len(), 1);
    assert_eq!((dropped[0].train_index, dropped[0].test_index), (20_003, 5));

    let image = splits.train.image(12_345);
    assert_eq!(splits.train.labels()[12_345], 5);
    assert_eq!(image[0], 1);
    assert_eq!(image[1024..1026], 2_345u16.to_le_bytes());
    assert_eq!(image[3071], 7);
    // One place further, after the sample that was dropped.
    assert_eq!(splits.train.image(45_000)[1024..1026], 5_001u16.to_le_bytes());

    for other in [parent.path(), &packed] {
        let again = cifar10::read(other).unwrap();
        assert_eq!(again.train.fingerprint(), splits.train.fingerprint());
        assert_eq!(again.test.fingerprint(), splits.test.fingerprint());
        assert_eq!(again.report, splits.report);
    }
}

#[test]
fn a_path_that_is_not_there_is_an_error_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let message = message(&folder.path().join("nowhere"));
    assert!(message.contains("nowhere: there is no such file or folder"), "{message}");
    assert!(message.contains("hint: download the binary version"), "{message}");
}

#[test]
fn absent_files_are_all_named() {
    let folder = tempfile::tempdir().unwrap();
    blank_set(folder.path());
    fs::remove_file(folder.path().join("data_batch_3.bin")).unwrap();
    fs::remove_file(folder.path().join("test_batch.bin")).unwrap();
    let message = message(folder.path());
    assert!(message.contains("missing data_batch_3.bin, test_batch.bin;"), "{message}");
}

#[test]
fn the_python_version_is_recognised() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("cifar-10-batches-py")).unwrap();
    let message = message(folder.path());
    assert!(message.contains("these are the files of the Python version"), "{message}");
}

#[test]
fn a_truncated_file_is_named_with_both_lengths() {
    let folder = tempfile::tempdir().unwrap();
    blank_set(folder.path());
    blank(folder.path(), "data_batch_2.bin", 30_729_999);
    let message = message(folder.path());
    assert!(
        message.contains("data_batch_2.bin: expected 30730000 bytes, found 30729999: the file is truncated"),
        "{message}"
    );
}

#[test]
fn a_file_that_is_too_long_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    blank_set(folder.path());
    blank(folder.path(), "data_batch_1.bin", FILE + 1);
    assert!(matches!(
        cifar10::read(folder.path()).unwrap_err(),
        DataError::FileSize { found: 30_730_001, .. }
    ));
}

#[test]
fn a_label_out_of_range_is_named_with_file_record_and_value() {
    let folder = tempfile::tempdir().unwrap();
    blank_set(folder.path());
    let mut file = blank(folder.path(), "data_batch_1.bin", FILE);
    file.seek(SeekFrom::Start(1_234 * RECORD as u64)).unwrap();
    file.write_all(&[10]).unwrap();
    let message = message(folder.path());
    assert!(message.contains("data_batch_1.bin: record 1234 has label 10; expected 0 to 9"), "{message}");
}

#[test]
fn an_archive_cut_short_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut archive =
        tar::Builder::new(flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast()));
    let mut header = tar::Header::new_gnu();
    header.set_size(FILE);
    archive.append_data(&mut header, FILES[0], &numbered(0)[..]).unwrap();
    let mut packed = archive.into_inner().unwrap().finish().unwrap();

    let path = folder.path().join("cut.tar.gz");
    fs::write(&path, &packed).unwrap();
    assert!(message(&path).contains("missing data_batch_2.bin, "), "{}", message(&path));

    packed.truncate(packed.len() / 2);
    fs::write(&path, &packed).unwrap();
    assert!(message(&path).contains("cut.tar.gz"), "{}", message(&path));
    fs::write(&path, "not an archive").unwrap();
    assert!(message(&path).contains("cut.tar.gz"), "{}", message(&path));
}

#[test]
fn the_real_data_is_read() {
    let Some(path) = std::env::var_os("CALIPERS_CIFAR10") else {
        println!("left out: the_real_data_is_read (CALIPERS_CIFAR10 does not name CIFAR-10)");
        return;
    };
    let splits = cifar10::read(Path::new(&path)).unwrap();
    println!("{:?}", splits.report);
    assert_eq!(splits.test.len(), 10_000);
    assert_eq!(splits.train.len() + splits.report.dropped_from_training.len(), 50_000);
    for label in 0..10 {
        let count = splits.test.labels().iter().filter(|&&found| found == label);
        assert_eq!(count.count(), 1_000);
    }
    // Means and deviations of the training split as others publish them.
    let statistics = splits.train.channel_statistics();
    let published = [(0.4914, 0.2470), (0.4822, 0.2435), (0.4465, 0.2616)];
    for (channel, (mean, deviation)) in published.into_iter().enumerate() {
        assert!((statistics.mean[channel] - mean).abs() < 1e-4, "{statistics:?}");
        assert!((statistics.deviation[channel] - deviation).abs() < 1e-4, "{statistics:?}");
    }

    // As samples of a user's model, the same pixels under the same normalization.
    let table = Normalization::new(&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225]).unwrap().table();
    let model = ModelInput::new("x", Element::F32, vec!["N".into(), 3.into(), 32.into(), 32.into()]);
    let opened = open(Path::new(&path), &[model], &OpenOptions::default()).unwrap();
    assert_eq!(opened.samples.labels(), Some(splits.test.labels()));
    for index in [0, 4_999, 9_999] {
        let image = splits.test.image(index).iter().enumerate();
        let expected: Vec<f32> =
            image.map(|(at, &pixel)| table[at / 1024 * 256 + usize::from(pixel)]).collect();
        assert_eq!(opened.samples.batch(&[index]).unwrap()[0].to_f32(), expected);
    }
}
