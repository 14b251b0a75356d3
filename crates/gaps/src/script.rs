//! The stand-alone script of a cell: the worker's own code for the layer and the path, cut out of its modules, so that
//! what the matrix says can be seen without Calipers.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::{LazyLock, Mutex, PoisonError};

use calipers_ir::{DType, EditError};
use calipers_workers::sources;

use crate::draw::Drawn;
use crate::error::GapsError;
use crate::framework::Framework;
use crate::layer::{Layer, Probe};
use crate::material::SAMPLES;
use crate::native::comparable;
use crate::path::{Path, Scheme};
use crate::report::Cell;
use crate::slice::Modules;
use crate::state::State;
use crate::task::cell as cell_of;

const PACKAGE: &str = "calipers_worker";
/// What the half of a script consists of that imports no framework.
const OUTER: &[&str] = &["reproduce", "CHILD"];

/// The script of a cell, in parts that are to be joined; the same parts recur in the scripts of other cells.
pub fn parts(cell: &Cell) -> Vec<String> {
    let Ok((path, layer)) = cell_of(&cell.key()) else { return Vec::new() };
    let found = format!("Found: {}. {}", cell.state, cell.evidence.reason);
    script(path, layer, &found).unwrap_or_default()
}

/// The script of a layer on a path; `found` is what its first comment says of it.
///
/// # Errors
/// None for the layers of [`LAYERS`](crate::LAYERS).
pub fn script(path: &Path, layer: &Layer, found: &str) -> Result<Vec<String>, GapsError> {
    let failed =
        |error: EditError| GapsError::Layer { layer: layer.name.to_owned(), reason: error.to_string() };
    match modules(path.framework) {
        Some(modules) => Ok(of_python(modules, path, layer, &layer.probe().map_err(failed)?, found)),
        None => Ok(vec![of_calipers(path, layer, found)]),
    }
}

/// The worker's modules that scripts of a framework are cut out of; none for our own engine, which is no Python.
fn modules(framework: Framework) -> Option<&'static Modules> {
    static PYTORCH: LazyLock<Modules> = LazyLock::new(|| parsed("pytorch"));
    static TENSORFLOW: LazyLock<Modules> = LazyLock::new(|| parsed("tensorflow"));
    static ONNXRUNTIME: LazyLock<Modules> = LazyLock::new(|| parsed("onnxruntime"));
    match framework {
        Framework::PyTorch => Some(&PYTORCH),
        Framework::TensorFlow => Some(&TENSORFLOW),
        Framework::OnnxRuntime => Some(&ONNXRUNTIME),
        Framework::Calipers => None,
    }
}

fn parsed(framework: &str) -> Modules {
    let own = format!("{PACKAGE}/gaps/{framework}/");
    let shared = ["stages", "judge", "draw", "reproduce"].map(|name| format!("{PACKAGE}/gaps/{name}.py"));
    // Questions are no part of a probe.
    let kept = |name: &str| {
        (name.starts_with(&own) && !name.contains("capabilities")) || shared.iter().any(|one| one == name)
    };
    let files = sources::files().iter().copied();
    Modules::new(files.filter(|(name, _)| kept(name)), PACKAGE)
}

fn of_python(modules: &Modules, path: &Path, layer: &Layer, probe: &Probe, found: &str) -> Vec<String> {
    let layer_function = format!("layer_{}", layer.name);
    let path_function = format!("path_{}", path.name.replace('-', "_"));
    let outer = modules.cut(OUTER, &BTreeSet::new());
    let have = modules.names(OUTER);
    let tensors = tensors(probe);
    let draws = ["drawn", "drawn_integers"].into_iter().filter(|name| tensors.contains(&format!(" {name}(")));
    let roots: Vec<&str> = [layer_function.as_str(), path_function.as_str(), "run_cell", "answer_of"]
        .into_iter()
        .chain(draws)
        .collect();
    let inner = modules.cut(&roots, &have);

    let mut parts = vec![header(path, layer, found)];
    parts.push(outer.imports.join("\n") + "\n\n\n");
    parts.extend(outer.definitions.iter().map(|text| format!("{text}\n\n\n")));
    parts.push(gate(path, layer, probe));
    parts.push(inner.imports.iter().filter(|line| !outer.imports.contains(line)).fold(
        String::from("import tempfile\nfrom pathlib import Path\n"),
        |all, line| {
            if all.contains(&format!("{line}\n")) { all } else { all + line + "\n" }
        },
    ));
    parts.push(String::from("\n\n"));
    parts.extend(inner.definitions.iter().map(|text| format!("{text}\n\n\n")));
    parts.push(tensors);
    parts.push(format!(
        "\n\ndef probe():\n    with tempfile.TemporaryDirectory() as folder:\n        return run_cell(\n            \
         {layer_function}, {path_function}, WEIGHTS, SAMPLES, None, Path(folder)\n        )\n\n\nanswer_of(probe)\n"
    ));
    parts
}

fn header(path: &Path, layer: &Layer, found: &str) -> String {
    let mut out = format!(
        "# {}: {} ({}/{}/{})\n#\n# A {} between two layers that are certainly quantized. Exits with 1 while it falls short of\n\
         # what the path promises, and with 0 when it does not. Needs {}.\n#\n",
        path.framework.title(),
        path.title,
        path.framework,
        path.name,
        layer.name,
        layer.title,
        needs(path.framework),
    );
    for line in found.lines().take(6) {
        let line: String = line.chars().take(180).collect();
        let _ = writeln!(out, "# {line}");
    }
    out.push('\n');
    out
}

/// What a script of a framework may import beside the standard library.
fn needs(framework: Framework) -> &'static str {
    match framework {
        Framework::PyTorch => "torch, torchao and numpy",
        Framework::TensorFlow => {
            "tensorflow, keras, tf_keras, ai-edge-litert, numpy, and the\n# quantizer of the path"
        }
        Framework::OnnxRuntime => "onnxruntime, numpy, and what its tools import:\n# onnx, onnx_ir, sympy",
        Framework::Calipers => "calipers",
    }
}

/// Where the outer half ends: without the argument that makes this process the child, nothing more is executed.
fn gate(path: &Path, layer: &Layer, probe: &Probe) -> String {
    let states = [State::Quantized, State::Dynamic, State::WeightOnly, State::NothingToQuantize];
    let promised = states.into_iter().filter(|state| !path.falls_short(layer.name, *state));
    let promised: Vec<String> = promised.map(|state| format!("\"{state}\"")).collect();
    let comparable = comparable_to(layer, path.scheme).filter(|_| !path.trains);
    let comparable = comparable.map_or_else(|| String::from("None"), |error| format!("{error:.4}"));
    let own: Vec<String> = probe.own_constants().map(|count| count.to_string()).collect();
    format!(
        "if CHILD not in sys.argv:\n    sys.exit(\n        reproduce(\n            scheme=\"{}\",\n            \
         explained={},\n            own_constants=[{}],\n            smallest_constant={},\n            \
         comparable={comparable},\n            promised=({},),\n        )\n    )\n\n",
        path.scheme.name(),
        path.explained,
        own.join(", "),
        path.smallest_constant,
        promised.join(", ")
    )
}

/// [`comparable`] of each layer and scheme, computed once.
fn comparable_to(layer: &Layer, scheme: Scheme) -> Option<f64> {
    static KNOWN: Mutex<BTreeMap<(&str, Scheme), Option<f64>>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    *known.entry((layer.name, scheme)).or_insert_with(|| comparable(layer, scheme))
}

/// The weights and the samples of a probe, drawn from their streams.
fn tensors(probe: &Probe) -> String {
    let shape = |drawn: &Drawn, samples: bool| {
        let samples = samples.then_some(SAMPLES);
        let extents: Vec<String> =
            samples.into_iter().chain(drawn.shape.iter().copied()).map(|extent| extent.to_string()).collect();
        format!("({},)", extents.join(", "))
    };
    let mut out = String::from("WEIGHTS = {\n");
    for drawn in &probe.weights {
        let Drawn { name, stream, low, high, .. } = drawn;
        let shape = shape(drawn, false);
        let _ = writeln!(out, "    \"{name}\": drawn({stream:#x}, {shape}, {low:?}, {high:?}),");
    }
    out.push_str("}\nINPUTS = {\n");
    for (drawn, &id) in probe.inputs.iter().zip(probe.graph.inputs()) {
        let Drawn { name, stream, low, high, .. } = drawn;
        let shape = shape(drawn, true);
        let integers = probe.graph.value(id).ty.dtype == DType::I64;
        let _ = if integers {
            writeln!(out, "    \"{name}\": drawn_integers({stream:#x}, {shape}, {}),", Probe::IDS)
        } else {
            writeln!(out, "    \"{name}\": drawn({stream:#x}, {shape}, {low:?}, {high:?}),")
        };
    }
    let _ = write!(
        out,
        "}}\nSAMPLES = [{{name: value[i] for name, value in INPUTS.items()}} for i in range({SAMPLES})]\n"
    );
    out
}

fn of_calipers(path: &Path, layer: &Layer, found: &str) -> String {
    let mut out = format!(
        "#!/bin/sh\n# Calipers: {} ({}/{}/{})\n#\n# Exits with 1 while {} falls short of what the path promises, and with 0 when it does not.\n",
        path.title, path.framework, path.name, layer.name, layer.title
    );
    for line in found.lines().take(6) {
        let _ = writeln!(out, "# {line}");
    }
    let _ = writeln!(
        out,
        "exec calipers gaps --framework calipers --path {} --layer {} --fail-on-gap --out \"$(mktemp -d)\"",
        path.name, layer.name
    );
    out
}

#[cfg(test)]
mod tests {
    use super::{modules, script};
    use crate::framework::Framework;
    use crate::layers::LAYERS;
    use crate::path::PATHS;

    #[test]
    fn every_layer_and_path_has_its_code() {
        for framework in Framework::ALL {
            let Some(modules) = modules(framework) else { continue };
            for layer in LAYERS {
                assert!(modules.defines(&format!("layer_{}", layer.name)), "{framework}: {}", layer.name);
            }
            for path in PATHS.iter().filter(|path| path.framework == framework) {
                let name = format!("path_{}", path.name.replace('-', "_"));
                assert!(modules.defines(&name), "{framework}: {name}");
            }
        }
    }

    #[test]
    fn scripts_know_nothing_of_calipers() {
        for path in PATHS.iter().filter(|path| path.framework != Framework::Calipers) {
            for layer in LAYERS {
                let text = script(path, layer, "Found: nothing.").expect("is a layer").concat();
                assert!(!text.contains("calipers"), "{}/{}", path.name, layer.name);
                assert!(text.lines().count() < 1200, "{}/{}", path.name, layer.name);
            }
        }
    }
}
