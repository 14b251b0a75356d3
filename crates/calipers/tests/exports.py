"""Data for exported networks, and ONNX Runtime on what became of them.

`python exports.py data EXPORTS OUT SAMPLES` writes OUT/NAME.npz for every EXPORTS/NAME.onnx: the network's own inputs
and more that are drawn like them. `python exports.py run OUT` runs every OUT/NAME.int8.onnx on them and writes the
results with and without optimizations, or OUT/NAME.refused with the reason. `python exports.py float EXPORTS OUT NAME` says whether the float network
runs. Needs numpy, safetensors and, to run, onnxruntime.
"""

import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

BATCH = 4


def more_like(known: np.ndarray, samples: int, draw: np.random.Generator) -> np.ndarray:
    """`known` and further samples of its range (integers) or its mean and deviation (floats)."""
    shape = (samples - len(known), *known.shape[1:])
    if np.issubdtype(known.dtype, np.integer):
        drawn = draw.integers(known.min(), known.max() + 1, shape)
    else:
        drawn = draw.normal(known.mean(), known.std(), shape)
    return np.concatenate([known, drawn.astype(known.dtype)])


def write_data(exports: Path, out: Path, samples: int) -> None:
    """Writes the samples of every network."""
    for model in sorted(exports.glob("*.onnx")):
        inputs = load_file(model.with_suffix(".inputs.safetensors"))
        draw = np.random.default_rng(7)
        np.savez(
            out / f"{model.stem}.npz",
            **{name: more_like(inputs[name], samples, draw) for name in sorted(inputs)},
        )


def outputs(
    model: Path, data: Path, *, optimized: bool = True
) -> dict[str, np.ndarray]:
    """Results of a model on all samples, batch by batch."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = (
        levels.ORT_ENABLE_ALL if optimized else levels.ORT_DISABLE_ALL
    )
    session = onnxruntime.InferenceSession(
        model, options, providers=["CPUExecutionProvider"]
    )
    names = [output.name for output in session.get_outputs()]
    with np.load(data) as arrays:
        inputs = {name: arrays[name] for name in arrays.files}
    count = len(next(iter(inputs.values())))
    parts = [
        session.run(
            names,
            {name: array[start : start + BATCH] for name, array in inputs.items()},
        )
        for start in range(0, count, BATCH)
    ]
    return {
        name: np.ascontiguousarray(np.concatenate(part))
        for name, part in zip(names, zip(*parts, strict=True), strict=True)
    }


def run(out: Path) -> None:
    """Runs every quantized network."""
    for model in sorted(out.glob("*.int8.onnx")):
        name = model.name.removesuffix(".int8.onnx")
        data = out / f"{name}.npz"
        # ONNX Runtime has an exception of its own for each status.
        try:
            for ending, optimized in (("optimized", True), ("plain", False)):
                results = outputs(model, data, optimized=optimized)
                save_file(results, out / f"{name}.{ending}.safetensors")
        except Exception as error:
            (out / f"{name}.refused").write_text(str(error))


def run_float(exports: Path, out: Path, name: str) -> None:
    """Runs a float network, or fails."""
    outputs(exports / f"{name}.onnx", out / f"{name}.npz")


match sys.argv[1:]:
    case ["data", exports, out, samples]:
        write_data(Path(exports), Path(out), int(samples))
    case ["run", out]:
        run(Path(out))
    case ["float", exports, out, name]:
        run_float(Path(exports), Path(out), name)
    case _:
        sys.exit(__doc__)
