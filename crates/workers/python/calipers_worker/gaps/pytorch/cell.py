"""One layer through one path of PyTorch: what came out, how far off it is, and what executed."""

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from calipers_worker.gaps.pytorch.layers_sandwiches import Weights
from calipers_worker.gaps.pytorch.paths_executed import Sample
from calipers_worker.gaps.pytorch.paths_quantized import Quantized, weights_held
from calipers_worker.gaps.stages import stage

INPUT_NAMES = ("x", "ids")


IMPORTED_LATE = (
    "networkx",
    "sympy.combinatorics",
    "torch._dynamo",
    "torch._functorch.aot_autograd",
    "torch._inductor.compile_fx",
    "torch._inductor.freezing",
    "torch.export",
    "torch.export._trace",
    "torch.export._unlift",
    "torch.fx.experimental.symbolic_shapes",
    "torch.utils.cpp_extension",
)


def warm() -> None:
    """Import what PyTorch itself would only import at first use."""
    for name in IMPORTED_LATE:
        importlib.import_module(name)


def run_cell(
    layer: Callable[[Weights], nn.Module],
    path: Callable[[nn.Module, list[Sample]], Quantized],
    weights: Weights,
    samples: list[dict[str, np.ndarray]],
    expected: list[np.ndarray] | None,
    folder: Path,
    *,
    planted: Weights | None = None,
) -> dict[str, Any]:
    """Build `layer`, send it through `path`, and measure.

    With `planted`, other weights than those of the float model are quantized.
    """
    torch.manual_seed(0)
    torch.set_num_threads(1)
    with stage("build"):
        model = layer(weights).eval()
        tensors = [sample_tensors(sample) for sample in samples]
        floats = outputs_of(model, tensors)
        source = model if planted is None else layer(planted).eval()
    quantized = path(source, tensors)
    with stage("run"):
        values = outputs_of(quantized.model, tensors)
        finite = all(bool(np.isfinite(value).all()) for value in values)
        answer = {
            "parity": difference(floats, expected) if expected else None,
            "float_range": float(max(map(np.max, floats)) - min(map(np.min, floats))),
            "max_error": difference(values, floats),
            "finite": finite,
            **quantized.trace(quantized.model, tensors[0]),
            "weights": weights_held(quantized.artefact),
        }
        if planted is not None:
            quantized = path(model, tensors)
        answer |= compared_with_reference(quantized, tensors, values, floats)
    answer["files"] = sorted(file.name for file in folder.iterdir())
    return answer


def sample_tensors(sample: dict[str, np.ndarray]) -> Sample:
    """The inputs of one inference in the model's order."""
    return tuple(torch.from_numpy(np.array(sample[name])) for name in INPUT_NAMES if name in sample)


def outputs_of(model: Callable[..., torch.Tensor], samples: list[Sample]) -> list[np.ndarray]:
    """The model's output for each sample."""
    with torch.no_grad():
        return [model(*sample).to(torch.float32).numpy() for sample in samples]


def difference(left: list[np.ndarray], right: list[np.ndarray]) -> float:
    """The largest absolute difference; a NaN anywhere makes it NaN."""
    return float(max(np.abs(a - b).max() for a, b in zip(left, right, strict=True)))


def compared_with_reference(
    quantized: Quantized,
    samples: list[Sample],
    values: list[np.ndarray],
    floats: list[np.ndarray],
) -> dict[str, Any]:
    """How far the reference form is from float, and the quantized model from it."""
    note = None
    # Whether these run or not, the quantized model did.
    try:
        if quantized.fake_quantized is not None:
            simulation = outputs_of(quantized.fake_quantized, samples)
            note = (
                f"the fake-quantized model is off by {difference(simulation, floats):.4f}, "
                f"and the converted one differs from it by {difference(values, simulation):.4f}"
            )
        if quantized.reference is None:
            return {"reference_note": note}
        references = outputs_of(quantized.reference(), samples)
    except Exception as error:  # noqa: BLE001
        return {"reference_note": f"{type(error).__name__}: {error}"}
    return {
        "reference": quantized.reference_name,
        "reference_note": note,
        "reference_error": difference(references, floats),
        "reference_difference": difference(values, references),
    }
