"""A .tflite file, run by LiteRT."""

from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from calipers_worker.errors import BadData
from calipers_worker.latency import time_calls
from calipers_worker.operators import profiled
from calipers_worker.tensorflow import litert_profile
from calipers_worker.tensorflow.artefacts import TFLITE_FILE, Artefact, existing
from calipers_worker.tensorflow.operators import seen_kernels


class LiteRtArtefact(Artefact):
    """A .tflite file in LiteRT: one interpreter for batches, one kept at a batch of one."""

    def __init__(self, path: Path, threads: int) -> None:
        self.path, self.threads = path, threads
        self.content = path.read_bytes()
        self._batched = _Runner(self.content, threads)
        self._single = _Runner(self.content, threads)
        _, height, width, channels = self._single.input_shape
        super().__init__((None, channels, height, width))

    @classmethod
    def load(cls, folder: Path, threads: int) -> "LiteRtArtefact":
        """Load `model.tflite` from `folder` for `threads` threads."""
        return cls(existing(folder / TFLITE_FILE), threads)

    def operators(self) -> list[dict[str, Any]]:
        """The kernels that LiteRT's profiler sees in an inference."""
        image = np.zeros(self._single.input_shape, np.float32)
        seen = litert_profile.profile(self.path, [image], 1, self.threads, warm_up=0)
        return [kernel.executed() for kernel in seen_kernels(self.content, seen.kernels)]

    def logits(self, images: np.ndarray) -> np.ndarray:
        """The logits of a batch of images [N,H,W,C]."""
        self._batched.resize(len(images))
        return self._batched(images)

    def time(self, images: list[np.ndarray], count: int, warm_up: int) -> list[int]:
        """Times setting the input, invoking and getting the output."""
        runner = self._single
        if len(images[0]) != 1:
            runner = self._batched
            runner.resize(len(images[0]))
        return time_calls(runner, images, count, warm_up)

    def profile(self, images: list[np.ndarray], count: int) -> dict[str, Any]:
        """LiteRT's kernels, by its profiler."""
        result = litert_profile.profile(self.path, images, count, self.threads, warm_up=count)
        return {
            "profiler": litert_profile.PROFILER,
            "resolution_nanoseconds": litert_profile.RESOLUTION_NANOSECONDS,
            "wall_nanoseconds": result.wall_nanoseconds,
            "bytes_are": litert_profile.BYTES_ARE,
            "operators": [
                profiled(
                    one.kernel.name,
                    one.kind,
                    calls=1,
                    nanoseconds=one.kernel.nanoseconds,
                    memory=one.output_bytes,
                )
                for one in seen_kernels(self.content, result.kernels)
            ],
        }


class _Runner:
    """One interpreter with float32 input and output: sets, invokes, gets."""

    def __init__(self, content: bytes, threads: int) -> None:
        self.interpreter = Interpreter(model_content=content, num_threads=threads)
        self.interpreter.allocate_tensors()
        (given,), (made,) = (
            self.interpreter.get_input_details(),
            self.interpreter.get_output_details(),
        )
        if given["dtype"] != np.float32 or made["dtype"] != np.float32:
            raise BadData(
                "the .tflite file must have float32 input and output, found "
                f"{np.dtype(given['dtype']).name} and {np.dtype(made['dtype']).name}"
            )
        self.input_shape: list[int] = [int(size) for size in given["shape"]]
        self._input, self._output = given["index"], made["index"]

    def resize(self, batch: int) -> None:
        """Take batches of `batch` from now on."""
        if self.input_shape[0] != batch:
            self.input_shape[0] = batch
            self.interpreter.resize_tensor_input(self._input, self.input_shape, strict=True)
            self.interpreter.allocate_tensors()

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.interpreter.set_tensor(self._input, images)
        self.interpreter.invoke()
        return self.interpreter.get_tensor(self._output)
