"""What a user deploys: a Keras file or a .tflite file; saved, loaded, evaluated and timed."""

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
import tf_keras
from ai_edge_litert.interpreter import Interpreter

from calipers_worker.batches import DataFile
from calipers_worker.errors import BadData
from calipers_worker.latency import time_calls
from calipers_worker.onnx_graph import Shape
from calipers_worker.protocol import Reporter
from calipers_worker.tensor_files import replace_file
from calipers_worker.tensorflow.operators import OperatorCounts, count_operators
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


def save_keras(model: tf_keras.Model, folder: Path) -> SavedFile:
    """Save `model` as `model.keras` in `folder`."""

    def write(temporary: Path) -> None:
        # Keras picks the format by the name's end, which a temporary name lacks.
        keras = temporary.with_name(f"{temporary.name}.keras")
        try:
            model.save(keras)
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


class Artefact(ABC):
    """A loaded model that takes f32 [N,H,W,C] and gives f32 [N,K]."""

    counts: OperatorCounts

    def __init__(self, input_shape: Shape) -> None:
        self.input_shape = input_shape

    @abstractmethod
    def logits(self, images: np.ndarray) -> np.ndarray:
        """The logits of a batch of images [N,H,W,C]."""

    @abstractmethod
    def time(self, images: list[np.ndarray], count: int) -> list[int]:
        """Nanoseconds of each of `count` inferences, cycling through `images` [1,H,W,C]."""

    def evaluate(self, data: DataFile, batch: int, reporter: Reporter) -> tuple[np.ndarray, float]:
        """The logits of every sample, f32 [N,K], and the seconds of the pass, files excluded."""
        data.check_shape(self.input_shape)
        outputs, total = [], data.batch_count(batch)
        with reporter.stage("evaluate") as watch:
            for done, (images, _) in enumerate(data.batches(batch), start=1):
                outputs.append(self.logits(channels_last(images)))
                reporter.progress(done, total)
        return np.concatenate(outputs), watch.seconds


class KerasArtefact(Artefact):
    """A Keras model, run as a tf.function: one trace for any batch, one for a batch of one."""

    def __init__(self, model: tf_keras.Model) -> None:
        _, height, width, channels = model.input_shape
        super().__init__((None, channels, height, width))
        self.model = model
        kinds = [
            type(layer).__name__
            for layer in model.layers
            if not isinstance(layer, tf_keras.layers.InputLayer)
        ]
        self.counts = OperatorCounts({}, {kind: kinds.count(kind) for kind in sorted(set(kinds))})

    @classmethod
    def load(cls, folder: Path) -> "KerasArtefact":
        """Load `model.keras` from `folder`; nothing in the file is run as code."""
        path = _existing(folder / KERAS_FILE)
        return cls(tf_keras.models.load_model(path, compile=False, safe_mode=True))

    def _trace(self, batch: int | None) -> Callable[[tf.Tensor], tf.Tensor]:
        infer = tf.function(lambda images: self.model(images, training=False))
        shape = [batch, *self.model.input_shape[1:]]
        return infer.get_concrete_function(tf.TensorSpec(shape, tf.float32))

    @functools.cached_property
    def _infer_batch(self) -> Callable[[tf.Tensor], tf.Tensor]:
        return self._trace(None)

    @functools.cached_property
    def _infer_one(self) -> Callable[[tf.Tensor], tf.Tensor]:
        return self._trace(1)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """The logits of a batch of images [N,H,W,C]."""
        return self._infer_batch(tf.constant(images)).numpy()

    def time(self, images: list[np.ndarray], count: int) -> list[int]:
        """Times the tensor to array call; the images are tensors before the first reading."""
        infer = self._infer_one
        return time_calls(
            lambda image: infer(image).numpy(), [tf.constant(image) for image in images], count
        )


class LiteRtArtefact(Artefact):
    """A .tflite file in LiteRT: one interpreter for batches, one kept at a batch of one."""

    def __init__(self, content: bytes, threads: int) -> None:
        self._batched = _Runner(content, threads)
        self._single = _Runner(content, threads)
        _, height, width, channels = self._single.input_shape
        super().__init__((None, channels, height, width))
        self.counts = count_operators(content)

    @classmethod
    def load(cls, folder: Path, threads: int) -> "LiteRtArtefact":
        """Load `model.tflite` from `folder` for `threads` threads."""
        return cls(_existing(folder / TFLITE_FILE).read_bytes(), threads)

    def logits(self, images: np.ndarray) -> np.ndarray:
        """The logits of a batch of images [N,H,W,C]."""
        self._batched.resize(len(images))
        return self._batched(images)

    def time(self, images: list[np.ndarray], count: int) -> list[int]:
        """Times setting the input, invoking and getting the output."""
        return time_calls(self._single, images, count)


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


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise BadData(f"{path}: expected a saved model, found no file there")
    return path
