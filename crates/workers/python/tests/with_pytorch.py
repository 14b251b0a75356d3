"""What tests of the PyTorch worker share: one worker, small models, and the usual requests."""

import tempfile
import unittest
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file

from tests import models
from tests.client import Worker

BUILDERS = {
    "residual": lambda path: models.residual(path, batch_norm=False),
    "residual_batch_norm": lambda path: models.residual(path, batch_norm=True),
    "assorted": models.assorted,
}


class WithWorker(unittest.TestCase):
    """One worker process for all tests of a class, and a folder of their own for each."""

    worker: Worker

    @classmethod
    def setUpClass(cls) -> None:
        cls.worker = Worker("pytorch")
        cls.addClassCleanup(cls.worker.close)
        # One thread: with these sizes, threads only wait for each other.
        cls.worker.call("hello", threads=1)
        torch.set_num_threads(1)

    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)
        self.data = models.data(self.folder / "data", 70)

    def model(self, name: str) -> Path:
        return BUILDERS[name](self.folder / f"{name}.onnx")

    def logits(self, model: Path, weights: Path | None = None) -> np.ndarray:
        output = self.folder / "logits"
        self.worker.call(
            "logits", model=model, weights=weights, data=self.data, batch=32, output=output
        )
        return load_file(output)["logits"]

    def save_float(self, model: Path, folder: Path, path: str = "eager") -> dict[str, object]:
        given = {"path": path, "tuning": "default", "model": model, "artefact": folder}
        return self.worker.call("save_float", weights=None, **given)

    def quantize(self, model: Path, folder: Path, **arguments: object) -> dict[str, object]:
        given = {"tuning": "default", "variant": "ptq-static", "weights": None, "batch": 32}
        given |= {"data": self.data, **arguments}
        return self.worker.call("quantize", model=model, artefact=folder, **given)

    def load(self, model: Path, folder: Path, **arguments: object) -> dict[str, object]:
        given = {"tuning": "default", **arguments}
        loaded = self.worker.call("load", model=model, artefact=folder, **given)
        return loaded | self.worker.call("read_operators", **loaded)

    def evaluated(self, handle: int, batch: int = 32) -> np.ndarray:
        output = self.folder / "evaluated"
        self.worker.call("evaluate", handle=handle, data=self.data, batch=batch, output=output)
        return load_file(output)["logits"]

    def loaded_logits(self, model: Path, folder: Path, **arguments: object) -> np.ndarray:
        handle = self.load(model, folder, **arguments)["handle"]
        logits = self.evaluated(handle)
        self.worker.call("unload", handle=handle)
        return logits

    def begin(self, model: Path, **arguments: object) -> int:
        given = {"mode": "float", "path": "eager", "tuning": "default", "weights": None}
        given |= {"momentum": 0.9, "weight_decay": 1e-2, **arguments}
        return self.worker.call("train_begin", model=model, **given)["trainer"]

    def train(self, trainer: int, rates: list[float], batch: int = 32) -> dict[str, object]:
        return self.worker.call(
            "train_epoch", trainer=trainer, data=self.data, batch=batch, learning_rates=rates
        )

    def state(self, trainer: int) -> dict[str, np.ndarray]:
        output = self.folder / "state"
        self.worker.call("train_state", trainer=trainer, output=output)
        return load_file(output)
