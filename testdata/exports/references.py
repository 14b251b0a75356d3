"""Owns what stands beside each exported model: samples and outputs as safetensors, and the manifest of the folder."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

Arrays = dict[str, np.ndarray]


def describe(arrays: Arrays) -> list[dict[str, object]]:
    """Name, type and extents without the first axis, which counts samples, of each array."""
    return [
        {"name": name, "type": str(array.dtype), "sample": list(array.shape[1:])}
        for name, array in arrays.items()
    ]


def largest_difference(expected: Arrays, found: Arrays) -> float:
    """The largest absolute difference between arrays of equal names."""
    return max(
        float(np.max(np.abs(expected[name].astype(np.float64) - found[name])))
        for name in expected
    )


def scale_of(outputs: Arrays) -> float:
    """The largest absolute value."""
    return max(
        float(np.max(np.abs(array.astype(np.float64)))) for array in outputs.values()
    )


def save(folder: Path, name: str, inputs: Arrays, outputs: Arrays) -> None:
    """Writes `NAME.inputs.safetensors` and `NAME.outputs.safetensors`; samples lie along the first axis."""
    for part, arrays in (("inputs", inputs), ("outputs", outputs)):
        whole = {key: np.ascontiguousarray(array) for key, array in arrays.items()}
        save_file(whole, folder / f"{name}.{part}.safetensors")


@dataclass
class Manifest:
    """`manifest-KIND.json`: the models that were exported, and the exports that failed, with the reason."""

    folder: Path
    kind: str
    models: list[dict[str, object]] = field(default_factory=list)
    failures: list[dict[str, str]] = field(default_factory=list)
    start: float = field(default_factory=time.monotonic)

    def fail(self, name: str, error: str) -> None:
        """Records an export that failed, and removes what it left."""
        self.failures.append({"name": name, "error": error[:2000]})
        for path in self.folder.glob(f"{name}.*"):
            path.unlink()

    def write(self) -> None:
        """Writes the file whole, then under its name."""
        path = self.folder / f"manifest-{self.kind}.json"
        content = {
            "kind": self.kind,
            "seconds": round(time.monotonic() - self.start, 1),
            "models": sorted(self.models, key=lambda model: str(model["name"])),
            "failures": sorted(self.failures, key=lambda failure: failure["name"]),
        }
        temporary = path.with_suffix(".json.part")
        temporary.write_text(json.dumps(content, indent=1) + "\n")
        temporary.replace(path)
