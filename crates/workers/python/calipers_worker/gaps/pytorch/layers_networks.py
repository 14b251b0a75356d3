"""Layers that are small networks: a residual, nested, functional, looping and branching one."""

# ruff: noqa: D102 - forward computes what its class says

import torch
from torch import nn

from calipers_worker.gaps.pytorch.layers_sandwiches import Weights, between_convs, conv


class Residual(nn.Module):
    """Two convolutions and a skip connection."""

    def __init__(self, conv1: nn.Module, conv2: nn.Module) -> None:
        super().__init__()
        self.conv1 = conv1
        self.relu = nn.ReLU()
        self.conv2 = conv2
        self.sum = torch.ao.nn.quantized.FloatFunctional()

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return self.sum.add_relu(self.conv2(self.relu(self.conv1(h))), h)


def layer_residual(weights: Weights) -> nn.Module:
    """A residual block."""
    layer = Residual(conv(weights, "conv1"), conv(weights, "conv2"))
    return between_convs(weights, layer, ["layer.conv1", "layer.relu"])


def layer_nested(weights: Weights) -> nn.Module:
    """A model inside a model."""
    inner = nn.Sequential(conv(weights, "conv1"), nn.ReLU())
    layer = nn.Sequential(inner, conv(weights, "conv2"))
    return between_convs(weights, layer, ["layer.0.0", "layer.0.1"])


class FunctionCalls(nn.Module):
    """Convolutions as functions of parameters."""

    def __init__(self, conv1: nn.Module, conv2: nn.Module) -> None:
        super().__init__()
        self.weight1, self.bias1 = conv1.weight, conv1.bias
        self.weight2, self.bias2 = conv2.weight, conv2.bias

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        h = nn.functional.conv2d(h, self.weight1, self.bias1, padding=1)
        h = nn.functional.relu(h)
        return nn.functional.conv2d(h, self.weight2, self.bias2, padding=1)


def layer_functional(weights: Weights) -> nn.Module:
    """A network written with functions instead of modules."""
    return between_convs(weights, FunctionCalls(conv(weights, "conv1"), conv(weights, "conv2")))


class Loop(nn.Module):
    """A loop over a list of modules."""

    def __init__(self, *steps: nn.Module) -> None:
        super().__init__()
        self.steps = nn.ModuleList(steps)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        for step in self.steps:
            h = step(h)
        return h


def layer_subclassed(weights: Weights) -> nn.Module:
    """A network with a loop in Python."""
    layer = Loop(conv(weights, "conv1"), nn.ReLU(), conv(weights, "conv2"))
    return between_convs(weights, layer, ["layer.steps.0", "layer.steps.1"])


class Branch(nn.Module):
    """A ReLU only where the input's sum is positive."""

    def __init__(self, conv1: nn.Module) -> None:
        super().__init__()
        self.conv1 = conv1

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        c = self.conv1(h)
        return torch.relu(c) if h.sum() > 0 else c


def layer_data_dependent_branch(weights: Weights) -> nn.Module:
    """A network whose control flow depends on its data."""
    return between_convs(weights, Branch(conv(weights, "conv1")))
