"""A loaded artefact: how it is called, as its users call it, and what executes in it."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn

from calipers_worker.errors import WorkerError
from calipers_worker.onnx_graph import OnnxGraph
from calipers_worker.pytorch import compiled, executed, methods
from calipers_worker.pytorch.methods import Method


class NoGpu(WorkerError):
    """The path needs a GPU that PyTorch can compute on, and there is none."""


@dataclass
class Deployed:
    """A loaded artefact; `model` is what it was read as, which holds its weights."""

    graph: OnnxGraph
    method: Method
    model: nn.Module

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Float32 logits in memory of float32 inputs in memory."""
        return self.model(inputs)

    def without_gradients(self) -> AbstractContextManager[None]:
        """What every call must be made in."""
        return torch.inference_mode()

    def for_profile(self) -> "Deployed":
        """The form of it of which a profiler sees the most."""
        return self

    @cached_property
    def operators(self) -> list[dict[str, Any]]:
        """What executes in one inference, which is watched."""
        return executed.operators(self.model, methods.example_of(self.graph, 1))


class Compiled(Deployed):
    """An exported program, compiled."""

    call: compiled.Model

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Float32 logits in memory of float32 inputs in memory."""
        return self.call(inputs)

    def without_gradients(self) -> AbstractContextManager[None]:
        """Frozen models are guarded against inference mode, under which they compile again."""
        return torch.no_grad()

    def for_profile(self) -> "Compiled":
        """The same program, compiled once more so that generated kernels are seen."""
        other = Compiled(self.graph, self.method, self.model)
        other.call = compiled.compiled(self.model, kernels_in_profile=True)
        return other

    @cached_property
    def operators(self) -> list[dict[str, Any]]:
        """What executes in one inference, which is watched, and must be the first one."""
        return compiled.operators(self.call, methods.example_of(self.graph, 1))


class OnGpu(Deployed):
    """A model in the memory of the first GPU."""

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Float32 logits in memory of float32 inputs in memory, there and back."""
        outputs = self.model(inputs.to("cuda")).to("cpu")
        torch.cuda.synchronize()
        return outputs

    @cached_property
    def operators(self) -> list[dict[str, Any]]:
        """What executes in one inference between the copies, which is watched."""
        return executed.operators(self.model, methods.example_of(self.graph, 1).to("cuda"))


def deployed(path: str, method: Method, graph: OnnxGraph, model: nn.Module) -> Deployed:
    """The model ready to run."""
    if method.form == methods.PROGRAM:
        ready = Compiled(graph, method, model)
        ready.call = compiled.compiled(model)
        return ready
    if path == "gpu":
        if not torch.cuda.is_available():
            raise NoGpu(
                f"path `gpu` needs a GPU, PyTorch {torch.__version__} (CUDA {torch.version.cuda}) "
                "finds none; leave the path out, or do not hide the GPU from the worker "
                "(CUDA_VISIBLE_DEVICES)"
            )
        return OnGpu(graph, method, model.to("cuda"))
    return Deployed(graph, method, model)
