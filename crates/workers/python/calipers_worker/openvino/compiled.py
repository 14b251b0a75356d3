"""A model that OpenVINO runs: its inferences, what executes in one, and its profile."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov

from calipers_worker.openvino import executed, stored

ROUNDING = 1e-4
"""What sums in another order differ by at most, as a share of the largest result."""

Feed = Mapping[str, np.ndarray]
Shapes = tuple[tuple[str, tuple[int, ...]], ...]


def compile_model(
    model: ov.Model, threads: int, precision: str | None, **more: Any
) -> ov.CompiledModel:
    """The model for one inference after the other; float32 where `precision` is "f32"."""
    configuration = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": 1,
        "INFERENCE_NUM_THREADS": threads,
        **more,
    }
    if precision is not None:
        configuration["INFERENCE_PRECISION_HINT"] = precision
    return ov.Core().compile_model(model, "CPU", configuration)


class Compiled:
    """A model, compiled once for each set of input shapes that it meets."""

    def __init__(self, model: ov.Model, threads: int, precision: str | None) -> None:
        self.model = model
        self.threads = threads
        self.precision = precision
        self.requests: dict[Shapes, ov.InferRequest] = {}

    def prepare(self, feed: Feed) -> None:
        """Compile for the shapes of `feed`."""
        shapes = _shapes(feed)
        if shapes not in self.requests:
            compiled = compile_model(self._reshaped(feed), self.threads, self.precision)
            self.requests[shapes] = compiled.create_infer_request()

    def run(self, feed: Feed) -> np.ndarray:
        """The first output, as the caller's own array."""
        return self._infer(self.requests[_shapes(feed)], feed)

    def operators(self, feed: Feed) -> list[dict[str, Any]]:
        """What ran in one inference: OpenVINO's graph of execution, with its counters."""
        model = self._reshaped(feed)
        compiled, request = self._counting(model)
        made = self._infer(request, feed)
        kernels = {one.node_name: one.exec_type for one in request.get_profiling_info()}
        graph = compiled.get_runtime_model()
        dynamic = executed.holds_integer_weights(graph, model) and self._quantizes(
            model, feed, made
        )
        return executed.operators(graph, kernels, model, dynamic=dynamic)

    def _quantizes(self, model: ov.Model, feed: Feed, made: np.ndarray) -> bool:
        """Whether results change where OpenVINO may not quantize activations at run time.

        No name of a kernel tells, nor does the graph of execution.
        """
        plain = compile_model(
            model, self.threads, self.precision, DYNAMIC_QUANTIZATION_GROUP_SIZE=0
        )
        difference = np.abs(made - self._infer(plain.create_infer_request(), feed)).max()
        return bool(difference > ROUNDING * np.abs(made).max())

    def profile(self, feeds: Sequence[Feed], count: int) -> dict[str, Any]:
        """Means over `count` inferences, after as many that warm up."""
        model = self._reshaped(feeds[0])
        compiled, request = self._counting(model)
        turns = [feeds[index % len(feeds)] for index in range(count)]
        self.prepare(feeds[0])
        for feed in turns:
            self.run(feed)
        # The first inference also makes kernels and packs weights, and counters never start anew.
        self._infer(request, feeds[0])
        first, wall = executed.microseconds(request.get_profiling_info()), 0
        for feed in turns:
            started = time.perf_counter_ns()
            self._infer(request, feed)
            wall += time.perf_counter_ns() - started
        means = executed.microseconds(request.get_profiling_info())
        spent = {
            name: max(0.0, (mean * (count + 1) - first.get(name, 0)) / count)
            for name, mean in means.items()
        }
        return executed.profile(compiled.get_runtime_model(), spent, wall / count, model)

    def stored_tensors(self, model: Path, output: Path) -> list[dict[str, Any]]:
        """All constants of the file; those of rank 2 and more are written to `output`."""
        return stored.stored_tensors(self.model, model, output)

    def _counting(self, model: ov.Model) -> tuple[ov.CompiledModel, ov.InferRequest]:
        compiled = compile_model(model, self.threads, self.precision, PERF_COUNT=True)
        return compiled, compiled.create_infer_request()

    def _reshaped(self, feed: Feed) -> ov.Model:
        model = self.model.clone()
        model.reshape({name: list(value.shape) for name, value in feed.items()})
        return model

    @staticmethod
    def _infer(request: ov.InferRequest, feed: Feed) -> np.ndarray:
        results = request.infer(feed, share_inputs=True, share_outputs=True)
        return np.array(results[0], np.float32)


def _shapes(feed: Feed) -> Shapes:
    return tuple((name, value.shape) for name, value in feed.items())
