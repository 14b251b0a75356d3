"""The TensorFlow worker's commands, one function each, in the protocol's words."""

import gc
import importlib.metadata
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from calipers_worker import onnx_graph
from calipers_worker.batches import DataFile
from calipers_worker.errors import BadArgument
from calipers_worker.gaps.command import Gaps
from calipers_worker.onnx_graph import OnnxGraph
from calipers_worker.protocol import Commands, Handles, Reporter, Request
from calipers_worker.recipes import source_of
from calipers_worker.tensor_files import write_tensors
from calipers_worker.tensorflow import (
    checkpoint,
    edge_quantizer,
    fake_quantization,
    parameters,
    paths,
    quantize,
    stored_tensors,
)
from calipers_worker.tensorflow.artefacts import Artefact, save_keras, save_tflite, write_keras
from calipers_worker.tensorflow.build import NativeModel, build
from calipers_worker.tensorflow.keras_artefact import KerasArtefact
from calipers_worker.tensorflow.litert_artefact import LiteRtArtefact
from calipers_worker.tensorflow.train import Trainer, channels_last

PACKAGES = (
    "tf_keras",
    "tensorflow-model-optimization",
    "ai-edge-litert",
    "ai-edge-quantizer",
    "numpy",
    "onnx",
)

Answer = Mapping[str, Any]


@dataclass
class Training:
    """What a trainer's handle stands for. `trainer.model` is TFMOT's where `quantized`."""

    graph: OnnxGraph
    native: NativeModel
    trainer: Trainer
    quantized: bool
    tuned: bool


@dataclass
class Loaded:
    """What an artefact's handle stands for, and the ONNX file that it was made from."""

    artefact: Artefact
    model: Path


class Worker:
    """The state between requests: trainers, loaded artefacts, and the thread count."""

    def __init__(self) -> None:
        self.trainings: Handles[Training] = Handles("trainer")
        self.artefacts: Handles[Loaded] = Handles("handle")
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
        path = request.choice("path", ("keras", "tfmot"))
        if quantized != (path == "tfmot"):
            raise BadArgument(
                f"argument `path`: float is trained on `keras`, qat on `tfmot`, found `{path}`"
            )
        tuned = paths.is_tuned(request, path, "qat" if quantized else "float")
        momentum, decay = request.number("momentum"), request.number("weight_decay")
        graph, native = _build(request, reporter)
        model = native.model
        if quantized:
            with reporter.stage("prepare"):
                fake_quantization.check(model)
                model = (
                    fake_quantization.fake_quantized_from_data(model)
                    if tuned
                    else fake_quantization.fake_quantized(model)
                )
        with reporter.stage("build"):
            trainer = Trainer(model, momentum, decay)
        return {"trainer": self.trainings.add(Training(graph, native, trainer, quantized, tuned))}

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

    def train_save(self, request: Request, reporter: Reporter) -> Answer:
        """Write a checkpoint."""
        training = self.trainings.get(request.integer("trainer"))
        with reporter.stage("save"):
            checkpoint.save(training.trainer, request.path("output"))
        return {}

    def train_restore(self, request: Request, reporter: Reporter) -> Answer:
        """Take over a checkpoint."""
        training = self.trainings.get(request.integer("trainer"))
        with reporter.stage("load"):
            checkpoint.restore(training.trainer, request.path("input"))
        return {}

    def train_finish(self, request: Request, reporter: Reporter) -> Answer:
        """Save the artefact of a trainer, converted where it was quantization-aware; free it."""
        handle = request.integer("trainer")
        training, folder = self.trainings.get(handle), request.path("artefact")
        seconds, functions = 0.0, (write_keras,)
        if training.quantized:
            with reporter.stage("convert") as convert:
                content = fake_quantization.convert_fake_quantized(training.trainer.model)
            seconds, functions = convert.seconds, fake_quantization.RECIPES[training.tuned]
            with reporter.stage("save"):
                saved = save_tflite(content, folder)
        else:
            with reporter.stage("save"):
                saved = save_keras(training.trainer.model, folder)
        self._drop(handle)
        return {**saved.answer(), "convert_seconds": seconds, "recipe": source_of(*functions)}

    def train_drop(self, request: Request, _reporter: Reporter) -> Answer:
        """Free a trainer."""
        self._drop(request.integer("trainer"))
        return {}

    def save_float(self, request: Request, reporter: Reporter) -> Answer:
        """Save the float model: as a Keras file, or as a .tflite file."""
        path = request.choice("path", ("keras", "tflite"))
        paths.is_tuned(request, path, "float")
        _, native = _build(request, reporter)
        folder = request.path("artefact")
        if path == "keras":
            with reporter.stage("save"):
                saved = save_keras(native.model, folder)
            return {**saved.answer(), "recipe": source_of(write_keras)}
        with reporter.stage("convert"):
            content = quantize.convert_float(native.model)
        with reporter.stage("save"):
            saved = save_tflite(content, folder)
        return {**saved.answer(), "recipe": source_of(quantize.convert_float)}

    def quantize(self, request: Request, reporter: Reporter) -> Answer:
        """Quantize trained weights; every tool calibrates on one sample after the other."""
        path = paths.path_of(request)
        variant = paths.variant_of(request, path)
        tuned = paths.is_tuned(request, path, variant)
        if variant not in ("ptq-static", "ptq-dynamic", "weight-only"):
            raise BadArgument(
                f"argument `variant`: {variant} on path `{path}` is not quantization after training"
            )
        request.integer("batch", 1)
        graph, native = _build(request, reporter)

        def calibration() -> DataFile:
            data = _data(request, "data", "calibrate", reporter)
            with reporter.stage("calibrate"):
                data.check_shape(graph.input_shape)
            return data

        if path == "aeq":
            converted = edge_quantizer.quantize_file(
                variant, tuned, native.model, calibration, self.threads, reporter
            )
        elif (path, variant) in quantize.CALIBRATED:
            converted = quantize.convert_calibrated(
                path, variant, native.model, calibration(), reporter
            )
        else:
            converted = quantize.convert_uncalibrated(path, variant, native.model, reporter)
        with reporter.stage("save"):
            saved = save_tflite(converted.content, request.path("artefact"))
        return {
            **saved.answer(),
            "prepare_seconds": converted.prepare_seconds,
            "calibrate_seconds": converted.calibrate_seconds,
            "convert_seconds": converted.convert_seconds,
            "samples": converted.samples,
            "recipe": converted.recipe,
        }

    def load(self, request: Request, reporter: Reporter) -> Answer:
        """Load an artefact from its file alone."""
        path = paths.path_of(request)
        paths.is_tuned(request, path, paths.variant_of(request, path))
        folder, model = request.path("artefact"), request.path("model")
        with reporter.stage("load"):
            artefact = (
                KerasArtefact.load(folder)
                if path == "keras"
                else LiteRtArtefact.load(folder, self.threads)
            )
        return {"handle": self.artefacts.add(Loaded(artefact, model))}

    def read_operators(self, request: Request, reporter: Reporter) -> Answer:
        """What executes in an inference of a loaded artefact."""
        artefact = self.artefacts.get(request.integer("handle")).artefact
        with reporter.stage("load"):
            return {"operators": artefact.operators()}

    def evaluate(self, request: Request, reporter: Reporter) -> Answer:
        """The logits of a loaded artefact."""
        artefact = self.artefacts.get(request.integer("handle")).artefact
        batch = request.integer("batch", 1)
        data = _data(request, "data", "evaluate", reporter)
        with reporter.stage("evaluate"):
            logits, seconds = artefact.evaluate(data, batch, reporter)
            write_tensors(request.path("output"), {"logits": logits})
        return {"seconds": seconds}

    def time(self, request: Request, reporter: Reporter) -> Answer:
        """The latency of a loaded artefact, or its time for a batch."""
        artefact = self.artefacts.get(request.integer("handle")).artefact
        batch, count = request.integer("batch", 1), request.integer("count", 1)
        warm_up = request.integer("warm_up")
        with reporter.stage("time"):
            images = _windows(request, artefact, batch)
            return {"nanoseconds": artefact.time(images, count, warm_up)}

    def profile(self, request: Request, reporter: Reporter) -> Answer:
        """The operators' times of a loaded artefact, one sample at a time."""
        artefact = self.artefacts.get(request.integer("handle")).artefact
        count = request.integer("count", 1)
        with reporter.stage("profile"):
            return artefact.profile(_windows(request, artefact, 1), count)

    def read_weights(self, request: Request, reporter: Reporter) -> Answer:
        """The tensors of a Keras file; those of a .tflite file are read without a framework."""
        loaded = self.artefacts.get(request.integer("handle"))
        if not isinstance(loaded.artefact, KerasArtefact):
            raise BadArgument(
                "argument `handle`: a .tflite file is read as a file, not by a worker"
            )
        with reporter.stage("load"):
            native = build(onnx_graph.load(loaded.model))
            tensors = stored_tensors.read(loaded.artefact.model, native.parameters)
            write_tensors(request.path("output"), stored_tensors.weights(tensors))
        return {"tensors": [tensor.answer() for tensor in tensors]}

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
        "train_save": worker.train_save,
        "train_restore": worker.train_restore,
        "train_finish": worker.train_finish,
        "train_drop": worker.train_drop,
        "save_float": worker.save_float,
        "quantize": worker.quantize,
        "load": worker.load,
        "read_operators": worker.read_operators,
        "evaluate": worker.evaluate,
        "time": worker.time,
        "profile": worker.profile,
        "read_weights": worker.read_weights,
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


def _windows(request: Request, artefact: Artefact, batch: int) -> list[np.ndarray]:
    """Batches [N,H,W,C] of the leading samples of the request's data, each one sample further."""
    samples = request.integer("samples", 1)
    data = DataFile(request.path("data"))
    data.check_shape(artefact.input_shape)
    return [channels_last(images) for images in data.windows(samples, batch)]
