//! Every fuzz target over the hostile files and bounded seeded mutations of real ones: no panic, every refusal in words,
//! and no more memory than the size of a file justifies.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use calipers_formats::{onnx, tflite};
use calipers_ir::text;
use calipers_random::Random;
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// What reading may take whatever the file is.
const FIXED: usize = 4 << 20;
/// What reading, printing and writing may take for each byte of a file: a node of a few bytes becomes structures with names.
const FOR_A_BYTE: usize = 400;

/// What memory is taken at once is one number for the process: tests that look at it wait for each other.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs a target and holds it to the memory that so many bytes justify.
fn bounded<T>(name: &str, bytes: usize, target: impl FnOnce() -> T) -> T {
    ALLOCATED.reset_peak_usage();
    let before = ALLOCATED.current_usage();
    let result = target();
    let taken = ALLOCATED.peak_usage().saturating_sub(before);
    let allowed = FIXED + FOR_A_BYTE * bytes;
    assert!(taken <= allowed, "{name}: {taken} bytes of memory for a file of {bytes}, allowed are {allowed}");
    result
}

fn testdata(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata").join(folder)
}

/// The files of a folder with this ending, in the order of their names.
fn files(folder: &str, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(testdata(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<PathBuf> =
        entries.filter(|path| path.extension().is_some_and(|found| found == ending)).collect();
    paths.sort();
    assert!(!paths.is_empty(), "{folder} has no {ending} file");
    paths
}

/// Holds every hostile file of a kind to the words of its refusal; one without words may be read, within the bounds.
fn refused(kind: &str, expected: &[(&str, &str)], read: impl Fn(&Path) -> Result<(), String>) {
    let _alone = alone();
    let paths = files(&format!("hostile/{kind}"), kind);
    let names: Vec<_> = paths.iter().map(|path| path.file_stem().unwrap().to_str().unwrap()).collect();
    let mut wanted: Vec<_> = expected.iter().map(|(name, _)| *name).collect();
    wanted.sort_unstable();
    assert_eq!(names, wanted, "the files and what is expected of them");
    let mut wrong = Vec::new();
    for (name, words) in expected {
        let path = testdata(&format!("hostile/{kind}/{name}.{kind}"));
        let size = fs::metadata(&path).unwrap().len() as usize;
        match bounded(name, size, || read(&path)) {
            Ok(()) if words.is_empty() => {}
            Ok(()) => wrong.push(format!("{name}: is accepted")),
            Err(error) if error.contains(words) => {}
            Err(error) => wrong.push(format!("{name}: expected `{words}`, found `{error}`")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn hostile_onnx_files_are_refused() {
    let expected = [
        ("cut", "cut short"),
        ("cycle", "the graph has a cycle"),
        ("deep_groups", "not an ONNX file: wire type 3"),
        ("deep_subgraphs", "recursion limit reached"),
        ("external_absolute", "only files in the model's folder"),
        ("external_huge_offset", "24 bytes from byte 18446744073709551615"),
        ("external_longer_than_the_file", "4611686018427387904 bytes from byte 0"),
        ("external_negative", "`offset` is `-8`"),
        ("external_outside", "only files in the model's folder"),
        ("external_past_the_end", "24 bytes from byte 1000000"),
        ("function_calls_itself", "calls itself"),
        ("functions_call_each_other", "calls itself"),
        ("functions_double", "more than 24 deep"),
        ("length_past_the_end", "only 8 are left"),
        ("made_twice", "the name `y` is taken"),
        ("node_without_operator", "names no operator"),
        ("reads_itself", "the graph has a cycle"),
        ("split_into_too_many", ""),
        ("shape_absurd", "takes 4398046511104 bytes, found 0"),
        ("shape_negative", "extent -2"),
        ("shape_of_other_size", "takes 4000000 bytes, found 24"),
        ("shape_overflows", "has no byte size"),
    ];
    refused("onnx", &expected, |path| onnx::read(path).map(drop).map_err(|error| error.to_string()));
}

#[test]
fn hostile_tflite_files_are_refused() {
    let expected = [
        ("buffer_past_the_end", "buffer 77; the file has 2"),
        ("cut", "out of bounds"),
        ("cycle", "read before it is computed"),
        ("input_past_the_end", "tensor 2147483647, the subgraph has 3"),
        ("no_subgraph", "holds no subgraph"),
        ("offset_outside", "24 bytes from byte 9223372036854775808"),
        ("operator_code_past_the_end", "code is number 9"),
        ("other_version", "schema version 77"),
        ("root_is_itself", "schema version 0"),
        ("root_past_the_end", "out of bounds"),
        ("shape_absurd", "takes 8589934588 bytes, found 24"),
        ("shape_negative", "negative extent"),
        ("shape_overflows", "no byte size"),
        ("size_outside", "9223372036854775808 bytes from byte 400"),
        ("subgraph_runs_itself", "no subgraph that can be run by another"),
        ("tensor_negative", "it is no tensor"),
        ("tensor_past_the_end", "tensor 1000, the subgraph has 3"),
    ];
    refused("tflite", &expected, |path| tflite::read(path).map(drop).map_err(|error| error.to_string()));
}

#[test]
fn hostile_texts_are_refused() {
    let expected = [
        ("brackets", "expected a name"),
        ("few_elements", "takes 17179869184 bytes, found 4"),
        ("not_utf8", "invalid utf-8"),
        ("open_quote", "a string that ends on its line"),
        ("overflow", "no byte size"),
    ];
    refused("text", &expected, |path| {
        let bytes = fs::read(path).unwrap();
        let text = String::from_utf8(bytes).map_err(|error| error.to_string())?;
        text::parse(&text).map(drop).map_err(|error| error.to_string())
    });
}

#[test]
fn seeds_of_texts_are_graphs() {
    for path in files("text", "graph") {
        let graph = text::parse(&fs::read_to_string(&path).unwrap());
        assert!(graph.is_ok(), "{}: {}", path.display(), graph.unwrap_err());
    }
}

/// A file with some bytes, numbers or stretches of it changed.
fn mutated(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut changed = bytes.to_vec();
    for _ in 0..1 + random.below(4) {
        if changed.len() < 9 {
            break;
        }
        let at = random.below(changed.len() as u64 - 8) as usize;
        let length = 1 + random.below((changed.len() - at).min(64) as u64 - 1) as usize;
        match random.below(6) {
            0 => changed[at] ^= 1 << random.below(8),
            1 => changed[at] = random.next_u64() as u8,
            2 => {
                const EDGES: [u64; 6] = [0, 1, u64::MAX, i64::MAX as u64, i32::MAX as u64, 1 << 40];
                let number = EDGES[random.below(6) as usize].to_le_bytes();
                let width = [4, 8][random.below(2) as usize];
                changed[at..at + width].copy_from_slice(&number[..width]);
            }
            3 => drop(changed.drain(at..at + length)),
            4 => {
                let stretch = changed[at..at + length].to_vec();
                let to = random.below(changed.len() as u64) as usize;
                changed.splice(to..to, stretch);
            }
            _ => {
                let stretch = changed[at..at + length].to_vec();
                let to = random.below((changed.len() - length) as u64 + 1) as usize;
                changed[to..to + length].copy_from_slice(&stretch);
            }
        }
    }
    changed
}

/// How often each file is changed, so that all of it takes seconds; `CALIPERS_FUZZ_ROUNDS` says otherwise.
fn rounds(usual: u64) -> u64 {
    std::env::var("CALIPERS_FUZZ_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

fn replay(target: fn(&[u8]), folders: &[(&str, &str)], usual: u64) {
    let _alone = alone();
    for path in folders.iter().flat_map(|(folder, ending)| files(folder, ending)) {
        let name = path.file_name().unwrap().to_str().unwrap();
        let bytes = fs::read(&path).unwrap();
        bounded(name, bytes.len(), || target(&bytes));
        for round in 0..rounds(usual) {
            let changed = mutated(&bytes, &mut Random::new(round, name));
            bounded(&format!("{name}, round {round}"), changed.len(), || target(&changed));
        }
    }
}

#[test]
fn changed_onnx_files_keep_the_promises_of_the_reader() {
    replay(calipers_fuzzing::onnx, &[("hostile/onnx", "onnx"), ("models", "onnx")], 150);
}

#[test]
fn changed_tflite_files_keep_the_promises_of_the_reader() {
    replay(calipers_fuzzing::tflite, &[("hostile/tflite", "tflite"), ("tflite", "tflite")], 150);
}

#[test]
fn changed_texts_keep_the_promises_of_the_parser() {
    replay(calipers_fuzzing::text, &[("hostile/text", "text"), ("text", "graph")], 150);
}

#[test]
fn random_programs_compute_what_their_operators_mean() {
    for round in 0..rounds(400) {
        let mut random = Random::new(round, "programs");
        let length = 20 + random.below(140);
        let bytes: Vec<u8> = (0..length).map(|_| random.next_u64() as u8).collect();
        calipers_fuzzing::programs(&bytes);
    }
}
