"""The protocol's commands for a framework that runs ONNX files and trains nothing.

A framework hands over an `Engine`, which makes, quantizes and opens its own kind of artefact.
"""

import contextlib
import os
import platform
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx

from calipers_worker.batches import DataFile
from calipers_worker.errors import BadArgument, Unsupported
from calipers_worker.latency import time_calls
from calipers_worker.onnx_file import Signature, logits_of, read_model, read_signature
from calipers_worker.protocol import Commands, Handles, Reporter, Request
from calipers_worker.tensor_files import write_tensors

Feed = Mapping[str, np.ndarray]

TUNINGS = ("default", "tuned")

COPIED_FILE = "model.onnx"

CALIBRATED = "ptq-static"
"""The variant that reads samples."""

TRAINING = (
    "train_begin",
    "train_epoch",
    "train_state",
    "train_save",
    "train_restore",
    "train_finish",
    "train_drop",
)


@dataclass(frozen=True)
class Made:
    """An artefact that was written: its main file, the bytes that count, and how it was made."""

    file: str
    file_bytes: int
    recipe: str

    def answer(self) -> dict[str, Any]:
        """The part of an answer that all artefacts have."""
        return {"file": self.file, "file_bytes": self.file_bytes, "recipe": self.recipe}


class Runner(Protocol):
    """An artefact that can be run."""

    def prepare(self, feed: Feed) -> None:
        """Make ready for inputs of these shapes, so that a timed inference does nothing but run."""

    def run(self, feed: Feed) -> np.ndarray:
        """The first output."""

    def operators(self, feed: Feed) -> list[dict[str, Any]]:
        """What executes in one inference, see `operators.executed`."""

    def profile(self, feeds: Sequence[Feed], count: int) -> dict[str, Any]:
        """The answer to `profile`, over `count` inferences after as many that are not measured."""

    def stored_tensors(self, model: Path, output: Path) -> list[dict[str, Any]]:
        """The answer to `read_weights`, whose file is `output`; `model` is the original file."""


class Calibration:
    """Samples for a tool that calibrates and converts in one call: it calibrates while it reads."""

    def __init__(
        self, data: DataFile | None, names: list[str], batch: int, reporter: Reporter
    ) -> None:
        self._data = data
        self._names = names
        self._batch = batch
        self._reporter = reporter
        self._stages = contextlib.ExitStack()
        self._inside = False
        self.seconds = {"prepare": 0.0, "calibrate": 0.0, "convert": 0.0}
        self.samples = 0

    def __len__(self) -> int:
        """The number of batches."""
        return self.data.batch_count(self._batch)

    @property
    def data(self) -> DataFile:
        """The samples; BadArgument where the variant was said to need none."""
        if self._data is None:
            raise BadArgument("a variant that is not calibrated asked for samples")
        return self._data

    def one_by_one(self) -> "Calibration":
        """Itself, with batches of one sample from now on."""
        self._batch = 1
        return self

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Begin with the stage `name`; reading changes it, and the block's end ends it."""
        with self._stages:
            self._inside = True
            try:
                self._enter(name)
                yield
            finally:
                self._inside = False

    def _enter(self, name: str) -> None:
        self._stages.close()
        watch = self._stages.enter_context(self._reporter.stage(name))

        def stop() -> None:
            watch.stop()
            self.seconds[name] += watch.seconds

        self._stages.callback(stop)

    def feeds(self) -> Iterator[dict[str, np.ndarray]]:
        """One pass over all samples, in the file's order; conversion follows it."""
        self._enter("calibrate")
        try:
            for index in range(len(self)):
                start = index * self._batch
                feed = self.data.feed(start, start + self._batch, self._names)
                self.samples = max(self.samples, min(start + self._batch, self.data.count))
                yield feed
                self._reporter.progress(index + 1, len(self))
        finally:
            # A reader that counts closes the pass after the last sample, without asking for more;
            # one that failed closes it when its traceback is gone, after the stage.
            if self._inside:
                self._enter("convert")


class Engine(Protocol):
    """What a framework does."""

    name: str
    packages: tuple[str, ...]
    variants: Mapping[str, tuple[str, ...]]
    """The variants of each path."""
    copied: tuple[str, ...]
    """Paths whose artefact is the file `COPIED_FILE`, which somebody else made."""

    def use_threads(self, threads: int) -> int:
        """Hold everything that is opened from now on to `threads`; what the framework says."""

    def open_float(self, model: onnx.ModelProto, folder: Path) -> Runner:
        """The model in float32, with `folder` for files."""

    def save_float(self, path: str, tuning: str, model: onnx.ModelProto, folder: Path) -> Made:
        """Write the float artefact into `folder`."""

    def quantize(
        self,
        path: str,
        tuning: str,
        variant: str,
        model: onnx.ModelProto,
        calibration: Calibration,
        folder: Path,
    ) -> Made:
        """Write the quantized artefact into `folder`, each part under its stage."""

    def open(self, path: str, tuning: str, variant: str, folder: Path) -> Runner:
        """Read the artefact in `folder` back."""


@dataclass(frozen=True)
class Loaded:
    """An artefact that was read back, with the inputs of the model that it came from."""

    signature: Signature
    runner: Runner


def commands(engine: Engine) -> Commands:
    """The commands by name."""
    worker = _Worker(engine)
    return {
        "hello": worker.hello,
        "logits": worker.logits,
        "save_float": worker.save_float,
        "quantize": worker.quantize,
        "load": worker.load,
        "read_operators": worker.read_operators,
        "evaluate": worker.evaluate,
        "time": worker.time,
        "profile": worker.profile,
        "read_weights": worker.read_weights,
        "unload": worker.unload,
        **dict.fromkeys(TRAINING, worker.train),
    }


class _Worker:
    """What is kept between requests: loaded models."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.loaded: Handles[Loaded] = Handles("model")

    def hello(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        with reporter.stage("start"):
            return {
                "framework": self.engine.name,
                "versions": {name: metadata.version(name) for name in self.engine.packages},
                "python": platform.python_version(),
                "threads": self.engine.use_threads(request.integer("threads", minimum=1)),
                "pid": os.getpid(),
            }

    def train(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        with reporter.stage("train"):
            raise Unsupported(
                f"command `{request.command}`: {self.engine.name} does not train; give it weights "
                "that another framework trained"
            )

    def logits(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        with tempfile.TemporaryDirectory() as folder:
            with reporter.stage("build"):
                model, signature = _model(request, request.optional_path("weights"))
                runner = self.engine.open_float(model, Path(folder))
            _write_logits(signature, runner, request, reporter)
        return {}

    def save_float(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        path, tuning = self._path(request, "float"), request.choice("tuning", TUNINGS)
        with reporter.stage("build"):
            model, _ = _model(request, request.optional_path("weights"))
        with reporter.stage("save"):
            return self.engine.save_float(path, tuning, model, _folder(request)).answer()

    def quantize(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        variant = request.text("variant")
        path, tuning = self._path(request, variant), request.choice("tuning", TUNINGS)
        with reporter.stage("build"):
            model, signature = _model(request, request.optional_path("weights"))
        with reporter.stage("prepare"):
            calibration = self._calibration(request, variant, signature, reporter)
        made = self.engine.quantize(path, tuning, variant, model, calibration, _folder(request))
        seconds = {f"{name}_seconds": spent for name, spent in calibration.seconds.items()}
        return {**made.answer(), **seconds, "samples": calibration.samples}

    def load(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        tuning, variant = request.choice("tuning", TUNINGS), request.text("variant")
        path = self._path(request, variant, loading=True)
        with reporter.stage("load"):
            signature = read_signature(request.path("model"))
            runner = self.engine.open(path, tuning, variant, request.path("artefact"))
        return {"handle": self.loaded.add(Loaded(signature, runner))}

    def read_operators(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        loaded = self.loaded.get(request.integer("handle"))
        with reporter.stage("load"):
            return {"operators": loaded.runner.operators(loaded.signature.example())}

    def evaluate(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        loaded = self.loaded.get(request.integer("handle"))
        return {"seconds": _write_logits(loaded.signature, loaded.runner, request, reporter)}

    def time(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        loaded = self.loaded.get(request.integer("handle"))
        samples, batch = request.integer("samples", minimum=1), request.integer("batch", minimum=1)
        warm_up, count = request.integer("warm_up"), request.integer("count", minimum=1)
        with reporter.stage("time"):
            feeds = _windows(request, loaded.signature, samples, batch)
            inputs = [loaded.signature.parts(feed) for feed in feeds]
            loaded.runner.prepare(inputs[0][0])
            call = _call(loaded)
            return {"nanoseconds": time_calls(call, inputs, count, warm_up)}

    def profile(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        loaded = self.loaded.get(request.integer("handle"))
        samples, count = request.integer("samples", minimum=1), request.integer("count", minimum=1)
        with reporter.stage("profile"):
            feeds = _windows(request, loaded.signature, samples, 1)
            return loaded.runner.profile(feeds, count)

    def read_weights(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        loaded = self.loaded.get(request.integer("handle"))
        with reporter.stage("load"):
            tensors = loaded.runner.stored_tensors(loaded.signature.path, request.path("output"))
            return {"tensors": tensors}

    def unload(self, request: Request, reporter: Reporter) -> dict[str, Any]:  # noqa: ARG002
        self.loaded.remove(request.integer("handle"))
        return {}

    def _path(self, request: Request, variant: str, *, loading: bool = False) -> str:
        """The path, which must have `variant`."""
        path = request.choice("path", tuple(self.engine.variants))
        if variant not in self.engine.variants[path]:
            known = ", ".join(f"`{one}`" for one in self.engine.variants[path])
            raise Unsupported(
                f"path `{path}` of {self.engine.name} has no variant `{variant}`; it has {known}"
            )
        if path in self.engine.copied and not loading:
            raise Unsupported(
                f"path `{path}` of {self.engine.name} makes nothing: put the quantized file into "
                f"the artefact's folder as `{COPIED_FILE}`"
            )
        return path

    def _calibration(
        self, request: Request, variant: str, signature: Signature, reporter: Reporter
    ) -> Calibration:
        batch = request.integer("batch", minimum=1)
        if variant != CALIBRATED:
            return Calibration(None, signature.names, batch, reporter)
        data = DataFile(request.path("data"))
        signature.check(data)
        batch = 1 if signature.one_by_one else batch
        return Calibration(data, signature.names, batch, reporter)


def _model(request: Request, weights: Path | None) -> tuple[onnx.ModelProto, Signature]:
    path = request.path("model")
    return read_model(path, weights), read_signature(path)


def _folder(request: Request) -> Path:
    folder = request.path("artefact")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _windows(
    request: Request, signature: Signature, samples: int, batch: int
) -> list[dict[str, np.ndarray]]:
    """Batches of all inputs, each beginning one sample further."""
    data = DataFile(request.path("data"))
    signature.check(data)
    data.check_count(samples)
    return [data.window(index, samples, batch, signature.names) for index in range(samples)]


def _call(loaded: Loaded) -> Callable[[list[dict[str, np.ndarray]]], list[np.ndarray]]:
    run = loaded.runner.run

    def call(parts: list[dict[str, np.ndarray]]) -> list[np.ndarray]:
        return [run(part) for part in parts]

    return call


def _write_logits(
    signature: Signature, runner: Runner, request: Request, reporter: Reporter
) -> float:
    """Write the logits for a data file; gives the seconds of all inferences."""
    batch, output = request.integer("batch", minimum=1), request.path("output")
    with reporter.stage("evaluate"):
        data = DataFile(request.path("data"))
        signature.check(data)
        total, logits, seconds = data.batch_count(batch), [], 0.0
        for done in range(total):
            feed = data.feed(done * batch, done * batch + batch, signature.names)
            for part in signature.parts(feed):
                runner.prepare(part)
                started = time.perf_counter()
                made = runner.run(part)
                seconds += time.perf_counter() - started
                logits.append(logits_of(made, signature.batch_of(part), signature.path))
            reporter.progress(done + 1, total)
        write_tensors(output, {"logits": np.concatenate(logits)})
    return seconds
