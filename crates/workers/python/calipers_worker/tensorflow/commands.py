"""The TensorFlow worker's commands, one function each, in the protocol's words."""

import gc
import importlib.metadata
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from calipers_worker import onnx_graph
from calipers_worker.batches import DataFile
from calipers_worker.errors import BadArgument
from calipers_worker.gaps.command import Gaps
from calipers_worker.onnx_graph import OnnxGraph
from calipers_worker.protocol import Commands, Handles, Reporter, Request
from calipers_worker.tensor_files import write_tensors
from calipers_worker.tensorflow import parameters
from calipers_worker.tensorflow.artefacts import (
    Artefact,
    KerasArtefact,
    LiteRtArtefact,
    save_keras,
    save_tflite,
)
from calipers_worker.tensorflow.build import NativeModel, build
from calipers_worker.tensorflow.quantize import (
    convert_fake_quantized,
    fake_quantized,
    quantize_after_training,
)
from calipers_worker.tensorflow.train import Trainer, channels_last

PACKAGES = ("tf_keras", "tensorflow-model-optimization", "ai-edge-litert", "numpy", "onnx")
VARIANTS_OF_PATH = {
    "keras": ("float", "float-finetuned"),
    "tflite": ("ptq-static",),
    "tfmot": ("qat",),
}

Answer = Mapping[str, Any]


@dataclass
class Training:
    """What a trainer's handle stands for. `trainer.model` is TFMOT's where `quantized`."""

    graph: OnnxGraph
    native: NativeModel
    trainer: Trainer
    quantized: bool


class Worker:
    """The state between requests: trainers, loaded artefacts, and the thread count."""

    def __init__(self) -> None:
        self.trainings: Handles[Training] = Handles("trainer")
        self.artefacts: Handles[Artefact] = Handles("handle")
        self.threads = int(os.environ.get("TF_NUM_INTRAOP_THREADS") or 1)

    def hello(self, request: Request, reporter: Reporter) -> Answer:
        """Set the thread count, and say which versions run."""
        threads = request.integer("threads", 1)
        with reporter.stage("start"):
            # One operator at a time, each on all threads: the count is then that of busy cores.
            tf.config.threading.set_intra_op_parallelism_threads(threads)
            tf.config.threading.set_inter_op_parallelism_threads(1)
            # The settings are fixed, and can be asked for, once something was computed.
            tf.reduce_sum(tf.ones([2])).numpy()
            self.threads = tf.config.threading.get_intra_op_parallelism_threads()
            versions = {name: importlib.metadata.version(name) for name in PACKAGES}
        return {
            "framework": "tensorflow",
            "versions": {"tensorflow": tf.__version__, **versions},
            "python": platform.python_version(),
            "threads": self.threads,
            "pid": os.getpid(),
        }

    def logits(self, request: Request, reporter: Reporter) -> Answer:
        """The logits of the native float model in evaluation mode."""
        _, native = _build(request, reporter)
        data = _data(request, "data", "evaluate", reporter)
        with reporter.stage("evaluate"):
            artefact = KerasArtefact(native.model)
            logits, _ = artefact.evaluate(data, request.integer("batch", 1), reporter)
            write_tensors(request.path("output"), {"logits": logits})
        return {}

    def train_begin(self, request: Request, reporter: Reporter) -> Answer:
        """Build a model to train: Keras' own, or TFMOT's for quantization-aware training."""
        quantized = request.choice("mode", ("float", "qat")) == "qat"
        path = request.choice("path", tuple(VARIANTS_OF_PATH))
        if quantized and path != "tfmot":
            raise BadArgument(f"argument `path`: mode `qat` trains on path `tfmot`, found `{path}`")
        momentum, decay = request.number("momentum"), request.number("weight_decay")
        graph, native = _build(request, reporter)
        model = native.model
        if quantized:
            with reporter.stage("prepare"):
                model = fake_quantized(model)
        with reporter.stage("build"):
            trainer = Trainer(model, momentum, decay)
        return {"trainer": self.trainings.add(Training(graph, native, trainer, quantized))}

    def train_epoch(self, request: Request, reporter: Reporter) -> Answer:
        """Train one epoch."""
        training = self.trainings.get(request.integer("trainer"))
        batch = request.integer("batch", 1)
        data = _data(request, "data", "train", reporter)
        with reporter.stage("train"):
            data.check_shape(training.graph.input_shape)
            data.check_labels(training.native.classes)
            rates = request.learning_rates(data.batch_count(batch))
            result = training.trainer.epoch(data, batch, rates, reporter)
        return {
            "steps": len(result.step_seconds),
            "loss": result.loss,
            "accuracy": result.accuracy,
            "seconds": result.seconds,
            "step_seconds": result.step_seconds,
        }

    def train_state(self, request: Request, reporter: Reporter) -> Answer:
        """Write the float weights as they are now."""
        training = self.trainings.get(request.integer("trainer"))
        with reporter.stage("save"):
            values = parameters.read(training.trainer.model, training.native.parameters)
            training.graph.write_weights(request.path("output"), values)
        return {}

    def train_finish(self, request: Request, reporter: Reporter) -> Answer:
        """Save the artefact of a trainer, converted where it was quantization-aware; free it."""
        handle = request.integer("trainer")
        training, folder = self.trainings.get(handle), request.path("artefact")
        seconds = 0.0
        if training.quantized:
            with reporter.stage("convert") as convert:
                content = convert_fake_quantized(training.trainer.model)
            seconds = convert.seconds
            with reporter.stage("save"):
                saved = save_tflite(content, folder)
        else:
            with reporter.stage("save"):
                saved = save_keras(training.trainer.model, folder)
        self._drop(handle)
        return {**saved.answer(), "convert_seconds": seconds}

    def train_drop(self, request: Request, _reporter: Reporter) -> Answer:
        """Free a trainer."""
        self._drop(request.integer("trainer"))
        return {}

    def save_float(self, request: Request, reporter: Reporter) -> Answer:
        """Save the float model as a Keras file."""
        _, native = _build(request, reporter)
        with reporter.stage("save"):
            return save_keras(native.model, request.path("artefact")).answer()

    def quantize(self, request: Request, reporter: Reporter) -> Answer:
        """Quantize trained weights by the TFLite converter; it calibrates with a batch of one."""
        request.choice("path", ("tflite",))
        request.integer("batch", 1)
        graph, native = _build(request, reporter)
        data = _data(request, "data", "calibrate", reporter)
        with reporter.stage("calibrate"):
            data.check_shape(graph.input_shape)
        converted = quantize_after_training(native.model, data, reporter)
        with reporter.stage("save"):
            saved = save_tflite(converted.content, request.path("artefact"))
        return {
            **saved.answer(),
            "prepare_seconds": converted.prepare_seconds,
            "calibrate_seconds": converted.calibrate_seconds,
            "convert_seconds": converted.convert_seconds,
            "samples": data.count,
        }

    def load(self, request: Request, reporter: Reporter) -> Answer:
        """Load an artefact from its file alone."""
        path = request.choice("path", tuple(VARIANTS_OF_PATH))
        request.choice("variant", VARIANTS_OF_PATH[path])
        folder = request.path("artefact")
        with reporter.stage("load"):
            artefact = (
                KerasArtefact.load(folder)
                if path == "keras"
                else LiteRtArtefact.load(folder, self.threads)
            )
        return {
            "handle": self.artefacts.add(artefact),
            "quantized": artefact.counts.quantized,
            "float": artefact.counts.float,
        }

    def evaluate(self, request: Request, reporter: Reporter) -> Answer:
        """The logits of a loaded artefact."""
        artefact = self.artefacts.get(request.integer("handle"))
        batch = request.integer("batch", 1)
        data = _data(request, "data", "evaluate", reporter)
        with reporter.stage("evaluate"):
            logits, seconds = artefact.evaluate(data, batch, reporter)
            write_tensors(request.path("output"), {"logits": logits})
        return {"seconds": seconds}

    def time(self, request: Request, reporter: Reporter) -> Answer:
        """The latency of a loaded artefact, one sample at a time."""
        artefact = self.artefacts.get(request.integer("handle"))
        samples, count = request.integer("samples", 1), request.integer("count", 1)
        data = _data(request, "data", "time", reporter)
        with reporter.stage("time"):
            data.check_shape(artefact.input_shape)
            if samples > data.count:
                raise BadArgument(f"{data.path}: {samples} samples asked for, {data.count} found")
            images = [channels_last(data.sample(index)) for index in range(samples)]
            return {"nanoseconds": artefact.time(images, count)}

    def unload(self, request: Request, _reporter: Reporter) -> Answer:
        """Free a loaded artefact."""
        self.artefacts.remove(request.integer("handle"))
        gc.collect()
        return {}

    def _drop(self, handle: int) -> None:
        self.trainings.remove(handle)
        # A traced function and its model refer to each other.
        gc.collect()


def commands() -> Commands:
    """The commands of a fresh worker, by name."""
    worker = Worker()
    return {
        "hello": worker.hello,
        "logits": worker.logits,
        "train_begin": worker.train_begin,
        "train_epoch": worker.train_epoch,
        "train_state": worker.train_state,
        "train_finish": worker.train_finish,
        "train_drop": worker.train_drop,
        "save_float": worker.save_float,
        "quantize": worker.quantize,
        "load": worker.load,
        "evaluate": worker.evaluate,
        "time": worker.time,
        "unload": worker.unload,
        **Gaps("tensorflow").commands(),
    }


def _build(request: Request, reporter: Reporter) -> tuple[OnnxGraph, NativeModel]:
    with reporter.stage("build"):
        graph = onnx_graph.load(request.path("model"), request.optional_path("weights"))
        return graph, build(graph)


def _data(request: Request, name: str, stage: str, reporter: Reporter) -> DataFile:
    with reporter.stage(stage):
        return DataFile(request.path(name))
