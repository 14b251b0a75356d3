"""The models around a layer under test: `before`, the layer, `after`, and the stubs of eager mode.

QuantStub and DeQuantStub are where a user of eager mode puts them. Every other path takes them for
the identities that they are.
"""

# ruff: noqa: D102 - forward computes what its class says

import numpy as np
import torch
from torch import nn
from torch.ao.quantization import DeQuantStub, QuantStub

Weights = dict[str, np.ndarray]


def loaded(module: nn.Module, weights: Weights, name: str) -> nn.Module:
    """`module` with the weights whose names start with `name` and a dot."""
    start = f"{name}."
    state = {
        key.removeprefix(start): torch.from_numpy(np.array(array))
        for key, array in weights.items()
        if key.startswith(start)
    }
    # Not strict: a batch norm also counts its batches, which is no weight.
    module.load_state_dict(state, strict=False)
    return module


def conv(weights: Weights, name: str) -> nn.Module:
    """The 3x3 convolution `name`."""
    outputs, inputs = weights[f"{name}.weight"].shape[:2]
    return loaded(nn.Conv2d(inputs, outputs, 3, padding=1), weights, name)


def linear(weights: Weights, name: str) -> nn.Module:
    """The linear layer `name`."""
    outputs, inputs = weights[f"{name}.weight"].shape
    return loaded(nn.Linear(inputs, outputs), weights, name)


class Sandwich(nn.Module):
    """The layer between two that every path quantizes.

    `fuse` holds the groups of module names that a user of eager mode would fuse.
    """

    def __init__(
        self, before: nn.Module, layer: nn.Module, after: nn.Module, *fuse: list[str]
    ) -> None:
        super().__init__()
        self.fuse = list(fuse)
        self.quant = QuantStub()
        self.before = before
        self.layer = layer
        self.after = after
        self.dequant = DeQuantStub()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h = self.before(self.quant(x))
        return self.dequant(self.after(self.layer(h)))


class SkipSandwich(Sandwich):
    """A sandwich whose layer takes the output of `before` and the model's input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.quant(x)
        return self.dequant(self.after(self.layer(self.before(x), x)))


class OpenSandwich(nn.Module):
    """The model's input goes into the layer."""

    def __init__(self, layer: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.fuse: list[list[str]] = []
        self.quant = QuantStub()
        self.layer = layer
        self.after = after
        self.dequant = DeQuantStub()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.dequant(self.after(self.layer(self.quant(x))))


class TokenSandwich(OpenSandwich):
    """The layer takes integers, which no stub quantizes: the stub stands after it."""

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.dequant(self.after(self.quant(self.layer(ids))))


def between_convs(weights: Weights, layer: nn.Module, *fuse: list[str]) -> Sandwich:
    """`layer` between two convolutions."""
    return Sandwich(conv(weights, "before"), layer, conv(weights, "after"), *fuse)


def between_linears(weights: Weights, layer: nn.Module, *fuse: list[str]) -> Sandwich:
    """`layer` between two linear layers."""
    return Sandwich(linear(weights, "before"), layer, linear(weights, "after"), *fuse)
