"""The protocol's commands, done with PyTorch."""

import os
import platform
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
import torch
from torch import nn

from calipers_worker import onnx_graph
from calipers_worker.batches import DataFile
from calipers_worker.errors import BadArgument
from calipers_worker.gaps.command import Gaps
from calipers_worker.latency import time_calls
from calipers_worker.onnx_graph import OnnxGraph
from calipers_worker.protocol import Commands, Handles, Reporter, Request
from calipers_worker.pytorch import artefacts, executed, quantize
from calipers_worker.pytorch.build import build, read_weights
from calipers_worker.pytorch.train import Trainer, train_epoch
from calipers_worker.tensor_files import write_tensors

PACKAGES = ("torch", "numpy", "onnx", "safetensors")


@dataclass(frozen=True)
class Loaded:
    """A model that was read back from its artefact, with the graph that it came from."""

    graph: OnnxGraph
    model: nn.Module


def commands() -> Commands:
    """The commands by name."""
    worker = _Worker()
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
        **Gaps("pytorch").commands(),
    }


class _Worker:
    """What is kept between requests: trainers and loaded models."""

    def __init__(self) -> None:
        self.trainers: Handles[Trainer] = Handles("trainer")
        self.loaded: Handles[Loaded] = Handles("model")

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
            }

    def logits(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        graph = _graph(request, reporter)
        with reporter.stage("build"):
            model = build(graph, stubs=False).eval()
        _write_logits(graph, model, request, reporter)
        return {}

    def train_begin(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        mode = request.choice("mode", ("float", "qat"))
        path = request.choice("path", quantize.PATHS)
        momentum, weight_decay = request.number("momentum"), request.number("weight_decay")
        graph = _graph(request, reporter)
        if mode == "float":
            with reporter.stage("build"):
                model: nn.Module = build(graph, stubs=False)
        else:
            with reporter.stage("prepare"):
                model = quantize.prepare(graph, path, qat=True)
        trainer = Trainer(graph, model, mode, path, momentum, weight_decay)
        return {"trainer": self.trainers.add(trainer)}

    def train_epoch(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        trainer = self.trainers.get(request.integer("trainer"))
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
        trainer = self.trainers.get(request.integer("trainer"))
        with reporter.stage("save"):
            weights = read_weights(trainer.graph, trainer.model)
            trainer.graph.write_weights(request.path("output"), weights)
        return {}

    def train_finish(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        handle = request.integer("trainer")
        trainer = self.trainers.get(handle)
        folder = request.path("artefact")
        convert_seconds = 0.0
        model = trainer.model.eval()
        if trainer.mode == "qat":
            with reporter.stage("convert") as watch:
                model = quantize.convert(model, trainer.path)
            convert_seconds = watch.seconds
        with reporter.stage("save"):
            saved = artefacts.save(model, folder)
        self.trainers.remove(handle)
        return {**saved, "convert_seconds": convert_seconds}

    def train_drop(self, request: Request, reporter: Reporter) -> dict[str, Any]:  # noqa: ARG002
        self.trainers.remove(request.integer("trainer"))
        return {}

    def save_float(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        graph = _graph(request, reporter)
        with reporter.stage("build"):
            model = build(graph, stubs=False).eval()
        with reporter.stage("save"):
            return artefacts.save(model, request.path("artefact"))

    def quantize(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        path = request.choice("path", quantize.PATHS)
        batch = request.integer("batch", minimum=1)
        graph = _graph(request, reporter)
        with reporter.stage("prepare") as prepare_watch:
            model = quantize.prepare(graph, path, qat=False)
        with reporter.stage("calibrate") as calibrate_watch:
            data = _data(request, graph)
            total = data.batch_count(batch)
            with torch.no_grad():
                for done, (images, _) in enumerate(data.batches(batch), start=1):
                    model(torch.from_numpy(images))
                    reporter.progress(done, total)
        with reporter.stage("convert") as convert_watch:
            model = quantize.convert(model, path)
        with reporter.stage("save"):
            saved = artefacts.save(model, request.path("artefact"))
        return {
            **saved,
            "prepare_seconds": prepare_watch.seconds,
            "calibrate_seconds": calibrate_watch.seconds,
            "convert_seconds": convert_watch.seconds,
            "samples": data.count,
        }

    def load(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        path = request.choice("path", quantize.PATHS)
        variant = request.choice("variant", artefacts.VARIANTS)
        graph = _graph(request, reporter, weights=False)
        with reporter.stage("load"):
            model = artefacts.load(graph, request.path("artefact"), path, variant)
            example = torch.zeros([dim or 1 for dim in graph.input_shape])
            found = executed.trace(model, example)
        return {
            "handle": self.loaded.add(Loaded(graph, model)),
            "quantized": dict(found.quantized),
            "float": dict(found.floating),
        }

    def evaluate(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        loaded = self.loaded.get(request.integer("handle"))
        return {"seconds": _write_logits(loaded.graph, loaded.model, request, reporter)}

    def time(self, request: Request, reporter: Reporter) -> dict[str, Any]:
        loaded = self.loaded.get(request.integer("handle"))
        samples = request.integer("samples", minimum=1)
        count = request.integer("count", minimum=1)
        with reporter.stage("time"), torch.inference_mode():
            data = _data(request, loaded.graph)
            if samples > data.count:
                raise BadArgument(f"{data.path}: {samples} samples asked for, {data.count} found")
            inputs = [torch.from_numpy(data.sample(index)) for index in range(samples)]
            return {"nanoseconds": time_calls(loaded.model, inputs, count)}

    def unload(self, request: Request, reporter: Reporter) -> dict[str, Any]:  # noqa: ARG002
        self.loaded.remove(request.integer("handle"))
        return {}


def _graph(request: Request, reporter: Reporter, *, weights: bool = True) -> OnnxGraph:
    with reporter.stage("build"):
        file = request.optional_path("weights") if weights else None
        return onnx_graph.load(request.path("model"), file)


def _data(request: Request, graph: OnnxGraph) -> DataFile:
    data = DataFile(request.path("data"))
    data.check_shape(graph.input_shape)
    return data


def _write_logits(
    graph: OnnxGraph, model: nn.Module, request: Request, reporter: Reporter
) -> float:
    """Write the model's logits for a data file; gives the seconds of the pass, files excluded."""
    batch = request.integer("batch", minimum=1)
    output = request.path("output")
    with reporter.stage("evaluate"):
        data = _data(request, graph)
        total = data.batch_count(batch)
        parts: list[np.ndarray] = []
        with reporter.stage("evaluate") as watch, torch.inference_mode():
            for done, (images, _) in enumerate(data.batches(batch), start=1):
                parts.append(model(torch.from_numpy(images)).numpy())
                reporter.progress(done, total)
        write_tensors(output, {"logits": np.concatenate(parts)})
    return watch.seconds
