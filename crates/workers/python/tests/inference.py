"""What the tests of frameworks that only infer share: requests, weights, and models of tokens."""

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import load_file, save_file

from calipers_worker.batches import DataFile
from tests import models
from tests.client import Worker

SAMPLES = 12

MACS = [3 * 9 * 8 * 64, 8 * 9 * 8 * 16, 8 * 9 * 8 * 16, 8 * 9 * 12 * 4, 12 * 9 * 12 * 4, 8 * 12 * 4]
"""Products of the convolutions of `models.residual`: in x window x out x pixels."""

HEAD_MACS = 12 * models.CLASSES


class Setting:
    """A model, a weights file that differs from the model's own, data, and one worker."""

    def __init__(self, framework: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self.worker = Worker(framework)
        self.model = models.residual(self.folder / "model.onnx", batch_norm=True)
        other = models.residual(self.folder / "other.onnx", batch_norm=True, seed=5)
        self.weights = self.folder / "weights.safetensors"
        save_file(models.initializers(other), self.weights)
        self.data = models.data(self.folder / "data.safetensors", SAMPLES)
        self.expected = reference_logits(other, DataFile(self.data).feed(0, SAMPLES, ["image"]))
        self.worker.call("hello", threads=1)

    def close(self) -> None:
        """End the worker and remove the files."""
        self.worker.close()
        self._folder.cleanup()

    def quantize(self, path: str, tuning: str, variant: str, **other: Any) -> dict[str, Any]:
        """An artefact in the folder `path-tuning-variant`, by `save_float` or `quantize`."""
        made = {"path": path, "tuning": tuning, "model": self.model, "weights": self.weights}
        made |= {"artefact": self.artefact(path, tuning, variant), **other}
        if variant == "float":
            return self.worker.call("save_float", **made)
        made |= {"data": self.data, "batch": 5, "variant": variant, **other}
        return self.worker.call("quantize", **made)

    def artefact(self, path: str, tuning: str, variant: str) -> Path:
        """The artefact's folder."""
        return self.folder / f"{path}-{tuning}-{variant}"

    def load(self, path: str, tuning: str, variant: str, **other: Any) -> dict[str, Any]:
        """The answers to `load` and `read_operators`."""
        known = {"path": path, "tuning": tuning, "variant": variant, "model": self.model}
        loaded = self.worker.call(
            "load", **{**known, "artefact": self.artefact(path, tuning, variant), **other}
        )
        return loaded | self.worker.call("read_operators", **loaded)

    def evaluate(self, handle: int, data: Path | None = None) -> np.ndarray:
        """The logits of a loaded artefact."""
        output = self.folder / "logits.safetensors"
        self.worker.call("evaluate", handle=handle, data=data or self.data, batch=5, output=output)
        return load_file(output)["logits"]


def reference_logits(model: Path, feed: Mapping[str, np.ndarray]) -> np.ndarray:
    """What ONNX's own reference evaluator gives."""
    return ReferenceEvaluator(str(model)).run(None, dict(feed))[0]


def products(operators: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The operators that multiply."""
    return [one for one in operators if one["macs"]]


def two_inputs(path: Path, batch: int | str) -> Path:
    """Tokens [batch, 6] from a table of 10 x 4, times a matrix, plus an offset [batch, 3]."""
    random = np.random.default_rng(3)
    table, matrix = random.normal(size=(10, 4)), random.normal(size=(24, 3))
    rows = 1 if batch == 1 else -1
    constants = {
        "table": table.astype(np.float32),
        "matrix": matrix.astype(np.float32),
        "flat": np.array([rows, 24], np.int64),
    }
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["table", "tokens"], ["rows"], "embed"),
            helper.make_node("Reshape", ["rows", "flat"], ["row"], "flatten"),
            helper.make_node("MatMul", ["row", "matrix"], ["product"], "product"),
            helper.make_node("Add", ["product", "offset"], ["logits"], "sum"),
        ],
        "tokens",
        [
            helper.make_tensor_value_info("tokens", TensorProto.INT64, [batch, 6]),
            helper.make_tensor_value_info("offset", TensorProto.FLOAT, [batch, 3]),
        ],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [batch, 3])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)
    return path


def token_data(path: Path) -> tuple[Path, dict[str, np.ndarray]]:
    """A data file for `two_inputs`, and what is in it."""
    random = np.random.default_rng(4)
    feed = {
        "tokens": random.integers(0, 10, (SAMPLES, 6)),
        "offset": random.normal(size=(SAMPLES, 3)).astype(np.float32),
    }
    save_file({f"input/{name}": value for name, value in feed.items()}, path)
    return path, feed
