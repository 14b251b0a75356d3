"""What a path hands back: the quantized model, how to see what it executes, and its reference."""

import contextlib
import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn
from torchao.utils import TorchAOBaseTensor

from calipers_worker.gaps.pytorch.paths_executed import Sample, Trace, trace_executed
from calipers_worker.gaps.stages import stage

TRAINING_STEPS = 8
LEARNING_RATE = 1e-4


@dataclass
class Quantized:
    """A quantized model; `artefact` is the module that holds its weights.

    `reference` makes the form of it that computes in float what the integers should amount to, and
    `fake_quantized` is the form that was trained, where there is one.
    """

    model: Callable[..., torch.Tensor]
    artefact: nn.Module
    trace: Trace = trace_executed
    reference_name: str | None = None
    reference: Callable[[], Callable[..., torch.Tensor]] | None = None
    fake_quantized: Callable[..., torch.Tensor] | None = None


def calibrated(prepared: nn.Module, samples: list[Sample]) -> None:
    """Let the observers of `prepared` see the samples."""
    with torch.no_grad():
        for sample in samples:
            prepared(*sample)


def trained(prepared: nn.Module, samples: list[Sample], targets: list[torch.Tensor]) -> None:
    """A few steps of quantization-aware training towards the outputs of the float model."""
    optimizer = torch.optim.SGD(prepared.parameters(), lr=LEARNING_RATE)
    for step in range(TRAINING_STEPS):
        index = step % len(samples)
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(prepared(*samples[index]), targets[index])
        loss.backward()
        optimizer.step()


def float_outputs(model: nn.Module, samples: list[Sample]) -> list[torch.Tensor]:
    """The outputs of the float model, which training aims at."""
    with torch.no_grad():
        return [model(*sample) for sample in samples]


def weights_held(model: nn.Module) -> list[dict[str, Any]]:
    """The weights that the model's modules hold and its graph uses, with their types."""
    unused: set[str] = set()
    if isinstance(model, fx.GraphModule):
        used = {node.target for node in model.graph.nodes if node.op == "get_attr"}
        called = tuple(f"{node.target}." for node in model.graph.nodes if node.op == "call_module")
        names = [name for name, _ in [*model.named_parameters(), *model.named_buffers()]]
        unused = {name for name in names if name not in used and not name.startswith(called)}
    weights = []
    for name, module in model.named_modules():
        for key, value in held_by(module).items():
            full = f"{name}.{key}" if name else key
            if full not in unused:
                shape = list(value.shape)
                weights.append({"name": full, "type": held_type(value), "shape": shape})
    return weights


def held_by(module: nn.Module) -> dict[str, torch.Tensor]:
    """The parameters, and weights behind methods or in packed form, with two or more axes."""
    held = dict(module.named_parameters(recurse=False))
    held |= dict(module.named_buffers(recurse=False))
    # What an engine has packed for itself it cannot always unpack.
    with contextlib.suppress(RuntimeError):
        if callable(getattr(module, "weight", None)):
            held["weight"] = module.weight()
        if callable(getattr(module, "get_weight", None)):
            held |= module.get_weight()
    return {key: value.detach() for key, value in held.items() if value.dim() >= 2}


def held_type(value: torch.Tensor) -> str:
    """The element type in which the values are held."""
    if type(value).__name__.startswith("Int4"):
        return "int4"
    data = value.qdata if isinstance(value, TorchAOBaseTensor) else value
    return str(data.dtype).removeprefix("torch.")


def in_float(value: torch.Tensor) -> torch.Tensor:
    """The values that a weight stands for."""
    if isinstance(value, TorchAOBaseTensor) or value.is_quantized:
        return value.dequantize()
    return value


def dequantized(model: nn.Module, quantized: nn.Module) -> nn.Module:
    """A copy of the float model with the weights that `quantized` holds, in float."""
    held = {name: held_by(module) for name, module in quantized.named_modules()}
    copied = copy.deepcopy(model)
    with torch.no_grad():
        for name, parameter in copied.named_parameters():
            module, _, key = name.rpartition(".")
            value = held[module].get(key)
            if value is not None:
                parameter.copy_(in_float(value))
    return copied


def path_none(model: nn.Module, samples: list[Sample]) -> Quantized:
    """The float model through the calls of a path that quantizes."""
    with stage("prepare"):
        prepared = copy.deepcopy(model)
    with stage("calibrate"):
        calibrated(prepared, samples)
    return Quantized(
        prepared,
        prepared,
        reference_name="the float model",
        reference=lambda: model,
    )
