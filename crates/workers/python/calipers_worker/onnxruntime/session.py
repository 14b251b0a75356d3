"""A model that ONNX Runtime runs: its inferences, what executes in one, and its profile."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from calipers_worker.errors import Unsupported
from calipers_worker.onnxruntime import executed, trace

Feed = Mapping[str, np.ndarray]


def open_session(file: Path, threads: int, precise: bool) -> onnxruntime.InferenceSession:
    """The model in `file` on the CPU."""
    return onnxruntime.InferenceSession(
        file, session_options(threads, precise), providers=["CPUExecutionProvider"]
    )


def session_options(threads: int, precise: bool) -> onnxruntime.SessionOptions:
    """The defaults (all graph optimizations), `threads` in an operator, one operator at a time."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    if precise:
        # Without VNNI, sums of two products of 8 bit saturate at 16 bit otherwise.
        options.add_session_config_entry("session.x64quantprecision", "1")
    return options


class Session:
    """The model in one file; `precise` is for files that use all 8 bits of their weights."""

    def __init__(self, file: Path, threads: int, *, precise: bool = False) -> None:
        self.file = file
        self.threads = threads
        self.precise = precise
        self.session = open_session(file, threads, precise)
        self.first = [self.session.get_outputs()[0].name]

    def prepare(self, feed: Feed) -> None:
        """Sessions take every shape as it comes."""

    def run(self, feed: Feed) -> np.ndarray:
        """The first output, as the caller's own array."""
        return self.session.run(self.first, feed)[0]

    def operators(self, feed: Feed) -> list[dict[str, Any]]:
        """What ran in one inference, from ONNX Runtime's own profile of it."""
        with tempfile.TemporaryDirectory() as folder:
            ran = self._traced(Path(folder) / "run", [feed])
            plain = None
            if ran.is_blocked:
                options = self._options()
                options.graph_optimization_level = trace.BEFORE_BLOCKING
                plain = trace.run(self.file, options, Path(folder) / "plain", [feed], self.first)
        return executed.operators(ran, plain)

    def profile(self, feeds: Sequence[Feed], count: int) -> dict[str, Any]:
        """Means over `count` inferences, after as many that warm up."""
        turns = [feeds[index % len(feeds)] for index in range(count)]
        with tempfile.TemporaryDirectory() as folder:
            ran = self._traced(Path(folder) / "run", [*turns, *turns])
        return executed.profile(ran, count)

    def stored_tensors(self, model: Path, output: Path) -> list[dict[str, Any]]:  # noqa: ARG002
        """Nothing to add to what anybody reads in an ONNX file."""
        raise Unsupported(f"{self.file}: is an ONNX file, whose tensors are read from it itself")

    def _options(self) -> onnxruntime.SessionOptions:
        return session_options(self.threads, self.precise)

    def _traced(self, folder: Path, feeds: Sequence[Feed]) -> trace.Trace:
        return trace.run(self.file, self._options(), folder, feeds, self.first)
