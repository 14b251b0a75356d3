"""The commands `probe` and `capability`, the same for all frameworks: one cell, one question."""

import importlib
import os
import pkgutil
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from calipers_worker.errors import BadArgument
from calipers_worker.gaps import isolate
from calipers_worker.gaps.stages import enter_stage
from calipers_worker.protocol import Command, Reporter, Request
from calipers_worker.tensor_files import read_tensors

PLANTED_FACTOR = 4.0
"""What the weights of the layer are multiplied by in the control that must come out wrong."""


class Gaps:
    """The gap probes of one framework. Its modules are imported at the first request."""

    def __init__(self, framework: str) -> None:
        self.package = f"calipers_worker.gaps.{framework}"
        self._modules: list[ModuleType] = []

    def commands(self) -> Mapping[str, Command]:
        """The commands by name."""
        return {"probe": self.probe, "capability": self.capability}

    def probe(self, request: Request, reporter: Reporter) -> dict[str, Any]:  # noqa: ARG002
        """One layer through one path."""
        layer, path = request.text("layer"), request.text("path")
        folder = request.path("folder")
        tensors = read_tensors(request.path("tensors"))
        limit = request.number("limit_seconds")
        # Looked up before the fork: an unknown name is a wrong request, not a finding.
        cell = self._cell(layer, path)
        samples, expected = _samples(tensors)
        weights = _under(tensors, "weight")
        folder.mkdir(parents=True, exist_ok=True)
        return isolate.run(lambda: cell(weights, samples, expected, folder), limit)

    def capability(self, request: Request, reporter: Reporter) -> dict[str, Any]:  # noqa: ARG002
        """One question about the framework, answered by trying."""
        ask = self._find("capability", request.text("name"))
        folder = request.path("folder")
        folder.mkdir(parents=True, exist_ok=True)
        return isolate.run(lambda: ask(folder), request.number("limit_seconds"))

    def _cell(self, layer: str, path: str) -> Callable[..., Mapping[str, Any]]:
        run_cell = self._find("run", "cell")
        apply = self._find("path", path)
        match layer:
            case "control_float":
                native, apply = self._find("layer", "conv2d"), self._find("path", "none")
            case "control_quantized" | "control_wrong":
                native = self._find("layer", "conv2d")
            case "control_tiny":
                native = self._find("layer", "linear_small")
            case "control_not_compiled":
                native = self._find("layer", "conv2d")
                apply = self._find("path", f"{path}-not-compiled")
            case "control_killed":
                return _die
            case "control_hangs":
                return _hang
            case _:
                native = self._find("layer", layer)

        def cell(
            weights: dict[str, np.ndarray],
            samples: list[dict[str, np.ndarray]],
            expected: list[np.ndarray],
            folder: Path,
        ) -> Mapping[str, Any]:
            planted = None
            if layer == "control_wrong":
                planted = {**weights, "layer.weight": weights["layer.weight"] * PLANTED_FACTOR}
            return run_cell(native, apply, weights, samples, expected, folder, planted=planted)

        return cell

    def _find(self, kind: str, name: str) -> Callable[..., Any]:
        if not self._modules:
            package = importlib.import_module(self.package)
            self._modules = [
                importlib.import_module(f"{self.package}.{info.name}")
                for info in pkgutil.iter_modules(package.__path__)
            ]
            importlib.import_module(f"{self.package}.cell").warm()
        attribute = f"{kind}_{name.replace('-', '_')}"
        for module in self._modules:
            if hasattr(module, attribute):
                return getattr(module, attribute)
        start = f"{kind}_"
        known = sorted(
            name.removeprefix(start)
            for module in self._modules
            for name in vars(module)
            if name.startswith(start)
        )
        raise BadArgument(f"{kind} `{name}`: expected one of {', '.join(dict.fromkeys(known))}")


def _samples(
    tensors: Mapping[str, np.ndarray],
) -> tuple[list[dict[str, np.ndarray]], list[np.ndarray]]:
    """The samples by input name, and the expected outputs; each tensor holds them all, stacked."""
    expected = list(tensors["expected"])
    inputs = _under(tensors, "input")
    samples = [{name: value[i] for name, value in inputs.items()} for i in range(len(expected))]
    return samples, expected


def _under(tensors: Mapping[str, np.ndarray], kind: str) -> dict[str, np.ndarray]:
    start = f"{kind}/"
    return {
        name.removeprefix(start): value for name, value in tensors.items() if name.startswith(start)
    }


def _die(*_: object) -> dict[str, Any]:
    """The control that must be seen to end by a signal."""
    enter_stage("convert")
    os.kill(os.getpid(), signal.SIGSEGV)
    return {}


def _hang(*_: object) -> dict[str, Any]:
    """The control that must be seen to exceed its limit."""
    enter_stage("calibrate")
    while True:
        time.sleep(1)
