"""What the tests of the TensorFlow worker share: one worker, a folder, data, and its commands."""

import tempfile
import unittest
from pathlib import Path

import numpy as np
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import load_file

from calipers_worker.batches import DataFile
from tests import models
from tests.client import Worker

COUNT = 70


def decibels(signal: np.ndarray, found: np.ndarray) -> float:
    """Signal-to-noise ratio of `found` as a form of `signal`."""
    return float(10 * np.log10(np.square(signal).sum() / np.square(found - signal).sum()))


class WithWorker(unittest.TestCase):
    """One worker process for all tests of a class, and a folder of their own for each."""

    worker: Worker

    @classmethod
    def setUpClass(cls) -> None:
        cls.worker = Worker("tensorflow")
        cls.addClassCleanup(cls.worker.close)
        cls.hello = cls.worker.call("hello", threads=2)

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.data = models.data(self.folder / "data", COUNT)

    def logits(self, model: Path, weights: Path | None = None) -> np.ndarray:
        output = self.folder / "logits"
        self.worker.call(
            "logits", model=model, weights=weights, data=self.data, batch=32, output=output
        )
        return load_file(output)["logits"]

    def reference(self, model: Path) -> np.ndarray:
        images = DataFile(self.data).floats(0, COUNT)
        (logits,) = ReferenceEvaluator(str(model)).run(None, {"image": images})
        return logits

    def load(self, worker: Worker | None = None, **arguments: object) -> dict[str, object]:
        worker = worker or self.worker
        loaded = worker.call("load", **{"tuning": "default", **arguments})
        return loaded | worker.call("read_operators", **loaded)

    def evaluate(self, handle: int, worker: Worker | None = None, batch: int = 32) -> np.ndarray:
        output = self.folder / "evaluated"
        (worker or self.worker).call(
            "evaluate", handle=handle, data=self.data, batch=batch, output=output
        )
        return load_file(output)["logits"]

    def loaded_logits(self, worker: Worker, batch: int = 32, **arguments: object) -> np.ndarray:
        handle = self.load(worker, **arguments)["handle"]
        logits = self.evaluate(handle, worker, batch)
        worker.call("unload", handle=handle)
        return logits

    def begin(self, model: Path, **arguments: object) -> int:
        given = {"mode": "float", "path": "keras", "momentum": 0.9, "weight_decay": 1e-2}
        given |= {"weights": None, "tuning": "default", **arguments}
        return self.worker.call("train_begin", model=model, **given)["trainer"]

    def train(self, trainer: int, rates: list[float], batch: int = 32) -> dict[str, object]:
        return self.worker.call(
            "train_epoch", trainer=trainer, data=self.data, batch=batch, learning_rates=rates
        )

    def state(self, trainer: int) -> dict[str, np.ndarray]:
        output = self.folder / "state"
        self.worker.call("train_state", trainer=trainer, output=output)
        return load_file(output)

    def save_float(self, model: Path, folder: Path, path: str = "keras") -> dict[str, object]:
        return self.worker.call(
            "save_float", path=path, tuning="default", model=model, weights=None, artefact=folder
        )

    def quantized(self, model: Path, folder: Path, **arguments: object) -> dict[str, object]:
        given = {"path": "tflite", "variant": "ptq-static", "tuning": "default", "batch": 32}
        given |= {"weights": None, "data": self.data, **arguments}
        return self.worker.call("quantize", model=model, artefact=folder, **given)

    def qat(
        self, model: Path, folder: Path, epochs: int, tuning: str = "default"
    ) -> dict[str, object]:
        trainer = self.begin(model, mode="qat", path="tfmot", tuning=tuning)
        for _ in range(epochs):
            self.train(trainer, [0.02])
        self.state(trainer)
        return self.worker.call("train_finish", trainer=trainer, artefact=folder)
