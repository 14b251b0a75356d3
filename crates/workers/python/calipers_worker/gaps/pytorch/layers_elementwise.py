"""Layers that change values or shapes one by one: activations, pooling, sums, resizing, dropout."""

# ruff: noqa: D102 - forward computes what its class says

import torch
from torch import nn

from calipers_worker.gaps.pytorch.layers_sandwiches import (
    SkipSandwich,
    Weights,
    between_convs,
    between_linears,
    conv,
    loaded,
)


def layer_relu(weights: Weights) -> nn.Module:
    """ReLU."""
    return between_convs(weights, nn.ReLU(), ["before", "layer"])


def layer_relu6(weights: Weights) -> nn.Module:
    """ReLU6."""
    return between_convs(weights, nn.ReLU6())


def layer_leaky_relu(weights: Weights) -> nn.Module:
    """LeakyReLU."""
    return between_convs(weights, nn.LeakyReLU(0.01))


def layer_prelu(weights: Weights) -> nn.Module:
    """PReLU with a slope for each channel."""
    return between_convs(weights, loaded(nn.PReLU(16), weights, "layer"))


def layer_silu(weights: Weights) -> nn.Module:
    """SiLU."""
    return between_convs(weights, nn.SiLU())


def layer_hardswish(weights: Weights) -> nn.Module:
    """Hardswish."""
    return between_convs(weights, nn.Hardswish())


def layer_hardsigmoid(weights: Weights) -> nn.Module:
    """Hardsigmoid."""
    return between_convs(weights, nn.Hardsigmoid())


def layer_sigmoid(weights: Weights) -> nn.Module:
    """Sigmoid."""
    return between_convs(weights, nn.Sigmoid())


def layer_tanh(weights: Weights) -> nn.Module:
    """Tanh."""
    return between_convs(weights, nn.Tanh())


def layer_gelu(weights: Weights) -> nn.Module:
    """GELU by the error function."""
    return between_linears(weights, nn.GELU())


def layer_gelu_tanh(weights: Weights) -> nn.Module:
    """GELU in its tanh form."""
    return between_linears(weights, nn.GELU(approximate="tanh"))


def layer_softmax(weights: Weights) -> nn.Module:
    """Softmax over the last axis."""
    return between_linears(weights, nn.Softmax(-1))


def layer_max_pool2d(weights: Weights) -> nn.Module:
    """MaxPool2d."""
    return between_convs(weights, nn.MaxPool2d(2))


def layer_avg_pool2d(weights: Weights) -> nn.Module:
    """AvgPool2d."""
    return between_convs(weights, nn.AvgPool2d(2))


def layer_adaptive_avg_pool2d(weights: Weights) -> nn.Module:
    """AdaptiveAvgPool2d to 4 x 4."""
    return between_convs(weights, nn.AdaptiveAvgPool2d(4))


def layer_global_avg_pool2d(weights: Weights) -> nn.Module:
    """AdaptiveAvgPool2d to 1 x 1."""
    return between_convs(weights, nn.AdaptiveAvgPool2d(1))


class Add(nn.Module):
    """Sum by Python's operator."""

    def forward(self, h: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return h + x


class Multiply(nn.Module):
    """Product by Python's operator."""

    def forward(self, h: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return h * x


class Concatenate(nn.Module):
    """Concatenation of channels by torch.cat."""

    def forward(self, h: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([h, x], 1)


class Functional(nn.Module):
    """One function of FloatFunctional, which eager mode asks for instead of operators."""

    def __init__(self, function: str) -> None:
        super().__init__()
        self.function = function
        self.functional = torch.ao.nn.quantized.FloatFunctional()

    def forward(self, h: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        if self.function == "cat":
            return self.functional.cat([h, x], 1)
        return self.functional.add(h, x) if self.function == "add" else self.functional.mul(h, x)


def with_input(weights: Weights, layer: nn.Module) -> SkipSandwich:
    """`layer` of a convolution's output and the model's input."""
    return SkipSandwich(conv(weights, "before"), layer, conv(weights, "after"))


def layer_add(weights: Weights) -> nn.Module:
    """Sum by Python's operator."""
    return with_input(weights, Add())


def layer_add_layer(weights: Weights) -> nn.Module:
    """Sum by FloatFunctional."""
    return with_input(weights, Functional("add"))


def layer_mul(weights: Weights) -> nn.Module:
    """Product by Python's operator."""
    return with_input(weights, Multiply())


def layer_mul_layer(weights: Weights) -> nn.Module:
    """Product by FloatFunctional."""
    return with_input(weights, Functional("mul"))


def layer_concat(weights: Weights) -> nn.Module:
    """Concatenation by torch.cat."""
    return with_input(weights, Concatenate())


def layer_concat_layer(weights: Weights) -> nn.Module:
    """Concatenation by FloatFunctional."""
    return with_input(weights, Functional("cat"))


def layer_upsample_nearest(weights: Weights) -> nn.Module:
    """Upsample by repetition."""
    return between_convs(weights, nn.Upsample(scale_factor=2, mode="nearest"))


def layer_upsample_bilinear(weights: Weights) -> nn.Module:
    """Upsample by linear interpolation."""
    layer = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
    return between_convs(weights, layer)


def layer_dropout(weights: Weights) -> nn.Module:
    """Dropout."""
    return between_convs(weights, nn.Dropout(0.5))
