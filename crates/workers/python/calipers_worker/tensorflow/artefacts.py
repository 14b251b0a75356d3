"""What a user deploys: the one file of an artefact, and what can be asked of a loaded one."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tf_keras

from calipers_worker.batches import DataFile
from calipers_worker.errors import BadData
from calipers_worker.onnx_graph import Shape
from calipers_worker.protocol import Reporter
from calipers_worker.tensor_files import replace_file
from calipers_worker.tensorflow.train import channels_last

KERAS_FILE = "model.keras"
TFLITE_FILE = "model.tflite"


@dataclass(frozen=True)
class SavedFile:
    """An artefact's one file."""

    path: Path
    bytes: int

    def answer(self) -> dict[str, object]:
        """The protocol's words for it."""
        return {"file": self.path.name, "file_bytes": self.bytes}


def write_keras(model: tf_keras.Model, path: Path) -> None:
    """Write `model` as a Keras file, a zip file of its configuration and its variables."""
    model.save(path)


def save_keras(model: tf_keras.Model, folder: Path) -> SavedFile:
    """Save `model` as `model.keras` in `folder`."""

    def write(temporary: Path) -> None:
        # Keras picks the format by the name's end, which a temporary name lacks.
        keras = temporary.with_name(f"{temporary.name}.keras")
        try:
            write_keras(model, keras)
            keras.replace(temporary)
        finally:
            keras.unlink(missing_ok=True)

    path = folder / KERAS_FILE
    replace_file(path, write)
    return SavedFile(path, path.stat().st_size)


def save_tflite(content: bytes, folder: Path) -> SavedFile:
    """Save `content` as `model.tflite` in `folder`."""
    path = folder / TFLITE_FILE
    replace_file(path, lambda temporary: temporary.write_bytes(content))
    return SavedFile(path, len(content))


def existing(path: Path) -> Path:
    """`path`; BadData where there is no file."""
    if not path.is_file():
        raise BadData(f"{path}: expected a saved model, found no file there")
    return path


class Artefact(ABC):
    """A loaded model that takes f32 [N,H,W,C] and gives f32 [N,K]."""

    def __init__(self, input_shape: Shape) -> None:
        self.input_shape = input_shape

    @abstractmethod
    def operators(self) -> list[dict[str, Any]]:
        """What executes in one inference of one sample, in the protocol's words."""

    @abstractmethod
    def logits(self, images: np.ndarray) -> np.ndarray:
        """The logits of a batch of images [N,H,W,C]."""

    @abstractmethod
    def time(self, images: list[np.ndarray], count: int, warm_up: int) -> list[int]:
        """Nanoseconds of each of `count` inferences, cycling through batches of one size."""

    @abstractmethod
    def profile(self, images: list[np.ndarray], count: int) -> dict[str, Any]:
        """The operators' times in `count` inferences of [1,H,W,C], in the protocol's words."""

    def evaluate(self, data: DataFile, batch: int, reporter: Reporter) -> tuple[np.ndarray, float]:
        """The logits of every sample, f32 [N,K], and the seconds of the pass, files excluded."""
        data.check_shape(self.input_shape)
        outputs, total = [], data.batch_count(batch)
        with reporter.stage("evaluate") as watch:
            for done, images in enumerate(data.batches(batch), start=1):
                outputs.append(self.logits(channels_last(images)))
                reporter.progress(done, total)
        return np.concatenate(outputs), watch.seconds
