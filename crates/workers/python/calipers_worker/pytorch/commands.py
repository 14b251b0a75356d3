"""The protocol's commands, done with PyTorch."""

import os
import platform
from importlib import metadata
from typing import Any

import numpy as np
import torch
from torch import nn

from calipers_worker import onnx_graph
from calipers_worker.batches import DataFile
from calipers_worker.gaps.command import Gaps
from calipers_worker.latency import time_calls
from calipers_worker.onnx_graph import OnnxGraph
from calipers_worker.protocol import Commands, Handles, Reporter, Request
from calipers_worker.pytorch import artefacts, checkpoint, exported, methods, stored
from calipers_worker.pytorch.build import build, read_weights
from calipers_worker.pytorch.deployed import Deployed, deployed
from calipers_worker.pytorch.methods import FLOAT, Method
from calipers_worker.pytorch.profiles import profile_of
from calipers_worker.pytorch.train import Trainer, train_epoch
from calipers_worker.tensor_files import write_tensors

PACKAGES = ("torch", "torchao", "numpy", "onnx", "safetensors")
POST_TRAINING = ("ptq-static", "ptq-dynamic", "weight-only")


def commands() -> Commands:
    """The commands by name."""
    worker = _Worker()
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
        **Gaps("pytorch").commands(),
    }


class _Worker:
    """What is kept between requests: trainers with the method that each ends in, loaded models."""

    def __init__(self) -> None:
        self.trainers: Handles[tuple[Trainer, Method]] = Handles("trainer")
        self.loaded: Handles[Deployed] = Handles("model")

    def hello(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        with reporter.stage("start"):
            threads = request.integer("threads", minimum=1)
            torch.set_num_threads(threads)
            if torch.get_num_interop_threads() != 1:
                torch.set_num_interop_threads(1)
            return {
                "framework": "pytorch",
                "versions": {name: metadata.version(name) for name in PACKAGES},
                "python": platform.python_version(),
                "threads": torch.get_num_threads(),
                "pid": os.getpid(),
                "devices": [
                    torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())
                ],
            }

    def logits(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        graph = _graph(request, reporter)
        with reporter.stage("build"):
            model = Deployed(graph, FLOAT, build(graph, stubs=False).eval())
        _write_logits(model, request, reporter)
        return {}

    def train_begin(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        mode = request.choice("mode", ("float", "qat"))
        path = request.choice("path", methods.PATHS)
        tuning = request.choice("tuning", methods.TUNINGS)
        momentum, weight_decay = request.number("momentum"), request.number("weight_decay")
        method = FLOAT if mode == "float" else methods.method(path, tuning, "qat")
        graph = _graph(request, reporter)
        with reporter.stage("build" if mode == "float" else "prepare"):
            model = methods.prepared(method, graph)
        trainer = Trainer(graph, model, mode, path, momentum, weight_decay)
        return {"trainer": self.trainers.add((trainer, method))}

    def train_epoch(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        trainer, _ = self.trainers.get(request.integer("trainer"))
        batch = request.integer("batch", minimum=1)
        with reporter.stage("train"):
            data = _data(request, trainer.graph)
            data.check_labels(trainer.graph.classes)
            rates = request.learning_rates(data.batch_count(batch))
            epoch = train_epoch(trainer, data, batch, rates, reporter)
        return {
            "steps": len(epoch.step_seconds),
            "loss": epoch.loss,
            "accuracy": epoch.accuracy,
            "seconds": epoch.seconds,
            "step_seconds": epoch.step_seconds,
        }

    def train_state(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        trainer, _ = self.trainers.get(request.integer("trainer"))
        with reporter.stage("save"):
            weights = read_weights(trainer.graph, exported.native(trainer.model))
            trainer.graph.write_weights(request.path("output"), weights)
        return {}

    def train_save(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        trainer, _ = self.trainers.get(request.integer("trainer"))
        with reporter.stage("save"):
            checkpoint.save(trainer, request.path("output"))
        return {}

    def train_restore(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        trainer, _ = self.trainers.get(request.integer("trainer"))
        with reporter.stage("load"):
            checkpoint.restore(trainer, request.path("input"))
        return {}

    def train_finish(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        handle = request.integer("trainer")
        trainer, method = self.trainers.get(handle)
        with reporter.stage("convert") as watch:
            model = methods.converted(method, trainer.model)
        with reporter.stage("save"):
            saved = artefacts.save(method, model, trainer.graph, request.path("artefact"))
        self.trainers.remove(handle)
        return {**saved, "convert_seconds": watch.seconds if trainer.mode == "qat" else 0.0}

    def train_drop(self, request: Request, reporter: Reporter) -> dict[str, Any]:  # noqa: ARG002
        self.trainers.remove(request.integer("trainer"))
        return {}

    def save_float(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        method = _method(request, "float")
        graph = _graph(request, reporter)
        with reporter.stage("build"):
            model = methods.converted(method, methods.prepared(method, graph))
        with reporter.stage("save"):
            return artefacts.save(method, model, graph, request.path("artefact"))

    def quantize(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        method = _method(request, request.choice("variant", POST_TRAINING))
        batch = request.integer("batch", minimum=1)
        graph = _graph(request, reporter)
        samples = 0
        with reporter.stage("prepare") as prepare_watch:
            model = methods.prepared(method, graph)
        with reporter.stage("calibrate") as calibrate_watch:
            if method.calibrates:
                samples = _calibrate(model, _data(request, graph), batch, reporter)
        with reporter.stage("convert") as convert_watch:
            model = methods.converted(method, model)
        with reporter.stage("save"):
            saved = artefacts.save(method, model, graph, request.path("artefact"))
        return {
            **saved,
            "prepare_seconds": prepare_watch.seconds,
            "calibrate_seconds": calibrate_watch.seconds if samples else 0.0,
            "convert_seconds": convert_watch.seconds,
            "samples": samples,
        }

    def load(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        method = _method(request, request.choice("variant", methods.VARIANTS))
        with reporter.stage("load"):
            graph = onnx_graph.load_structure(request.path("model"))
            model = artefacts.load(method, graph, request.path("artefact"))
            ready = deployed(request.text("path"), method, graph, model)
        return {"handle": self.loaded.add(ready)}

    def read_operators(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        model = self.loaded.get(request.integer("handle"))
        with reporter.stage("load"):
            return {"operators": model.operators}

    def evaluate(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        model = self.loaded.get(request.integer("handle"))
        return {"seconds": _write_logits(model, request, reporter)}

    def time(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        model = self.loaded.get(request.integer("handle"))
        batch = request.integer("batch", minimum=1)
        count = request.integer("count", minimum=1)
        warm_up = request.integer("warm_up")
        with reporter.stage("time"), model.without_gradients():
            inputs = _inputs(request, model.graph, batch)
            # What a model does once for a size of batch, such as to compile, is no inference.
            model(inputs[0])
            return {"nanoseconds": time_calls(model, inputs, count, warm_up)}

    def profile(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        model = self.loaded.get(request.integer("handle"))
        count = request.integer("count", minimum=1)
        with reporter.stage("profile"):
            return profile_of(model, _inputs(request, model.graph, 1), count)

    def read_weights(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        model = self.loaded.get(request.integer("handle"))
        with reporter.stage("load"):
            return {"tensors": stored.write(model.graph, model.model, request.path("output"))}

    def unload(self, request: Request, reporter: Reporter) -> dict[str, Any]:  # noqa: ARG002
        self.loaded.remove(request.integer("handle"))
        return {}


def _method(request: Request, variant: str) -> Method:
    path = request.choice("path", methods.PATHS)
    return methods.method(path, request.choice("tuning", methods.TUNINGS), variant)


def _graph(request: Request, reporter: Reporter) -> OnnxGraph:
    with reporter.stage("build"):
        return onnx_graph.load(request.path("model"), request.optional_path("weights"))


def _data(request: Request, graph: OnnxGraph) -> DataFile:
    data = DataFile(request.path("data"))
    data.check_shape(graph.input_shape)
    return data


def _inputs(request: Request, graph: OnnxGraph, batch: int) -> list[torch.Tensor]:
    """The batches to time or to profile."""
    windows = _data(request, graph).windows(request.integer("samples", minimum=1), batch)
    return [torch.from_numpy(window) for window in windows]


def _calibrate(model: nn.Module, data: DataFile, batch: int, reporter: Reporter) -> int:
    """Let the observers see all samples; gives their number."""
    total = data.batch_count(batch)
    with torch.no_grad():
        for done, images in enumerate(data.batches(batch), start=1):
            model(torch.from_numpy(images))
            reporter.progress(done, total)
    return data.count


def _write_logits(model: Deployed, request: Request, reporter: Reporter) -> float:
    """Write the model's logits for a data file; gives the seconds of the pass, files excluded."""
    batch = request.integer("batch", minimum=1)
    output = request.path("output")
    with reporter.stage("evaluate"):
        data = _data(request, model.graph)
        total = data.batch_count(batch)
        parts: list[np.ndarray] = []
        with reporter.stage("evaluate") as watch, model.without_gradients():
            for done, images in enumerate(data.batches(batch), start=1):
                parts.append(model(torch.from_numpy(images)).numpy())
                reporter.progress(done, total)
        write_tensors(output, {"logits": np.concatenate(parts)})
    return watch.seconds
