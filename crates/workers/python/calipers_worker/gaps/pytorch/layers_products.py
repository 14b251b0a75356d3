"""Layers that multiply by weights: linear, convolutions, embeddings; and matrix products."""

# ruff: noqa: D102 - forward computes what its class says

import torch
from torch import nn
from torch.ao.quantization import DeQuantStub, QuantStub

from calipers_worker.gaps.pytorch.layers_sandwiches import (
    Sandwich,
    TokenSandwich,
    Weights,
    between_convs,
    between_linears,
    conv,
    linear,
    loaded,
)


def layer_linear(weights: Weights) -> nn.Module:
    """Linear."""
    return between_linears(weights, linear(weights, "layer"))


def layer_linear_rows(weights: Weights) -> nn.Module:
    """Linear, on inputs of rank 2."""
    return layer_linear(weights)


def layer_conv1d(weights: Weights) -> nn.Module:
    """Conv1d over sequences: positions are its channels."""
    return between_linears(weights, loaded(nn.Conv1d(32, 32, 3, padding=1), weights, "layer"))


def layer_conv2d(weights: Weights) -> nn.Module:
    """Conv2d."""
    return between_convs(weights, conv(weights, "layer"))


def layer_conv2d_depthwise(weights: Weights) -> nn.Module:
    """Conv2d with as many groups as channels."""
    layer = nn.Conv2d(128, 128, 3, padding=1, groups=128)
    return between_convs(weights, loaded(layer, weights, "layer"))


def layer_conv2d_grouped(weights: Weights) -> nn.Module:
    """Conv2d in four groups."""
    layer = nn.Conv2d(32, 32, 3, padding=1, groups=4)
    return between_convs(weights, loaded(layer, weights, "layer"))


def layer_conv2d_dilated(weights: Weights) -> nn.Module:
    """Conv2d with dilation 2."""
    layer = nn.Conv2d(16, 16, 3, padding=2, dilation=2)
    return between_convs(weights, loaded(layer, weights, "layer"))


def layer_conv2d_strided(weights: Weights) -> nn.Module:
    """Conv2d with stride 2."""
    layer = nn.Conv2d(16, 16, 3, padding=1, stride=2)
    return between_convs(weights, loaded(layer, weights, "layer"))


class SequenceConv3d(nn.Module):
    """A Conv3d that takes a sequence for 32 channels of 4 x 4 x 4."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.conv = inner

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return self.conv(h.reshape(1, 32, 4, 4, 4)).reshape(1, 16, 64)


def layer_conv3d(weights: Weights) -> nn.Module:
    """Conv3d."""
    inner = loaded(nn.Conv3d(32, 16, 3, padding=1), weights, "layer")
    return between_linears(weights, SequenceConv3d(inner))


def layer_conv_transpose2d(weights: Weights) -> nn.Module:
    """ConvTranspose2d with as many outputs as inputs."""
    layer = nn.ConvTranspose2d(16, 16, 3, stride=2, padding=1, output_padding=1)
    return between_convs(weights, loaded(layer, weights, "layer"))


def layer_conv_transpose2d_channels(weights: Weights) -> nn.Module:
    """ConvTranspose2d with more outputs than inputs."""
    layer = nn.ConvTranspose2d(16, 24, 3, stride=2, padding=1, output_padding=1)
    return between_convs(weights, loaded(layer, weights, "layer"))


class ChannelsLast(Sandwich):
    """A sandwich in channels-last memory format, its inputs too."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x.contiguous(memory_format=torch.channels_last))


def layer_channels_last(weights: Weights) -> nn.Module:
    """Conv2d in channels-last memory format."""
    model = ChannelsLast(conv(weights, "before"), conv(weights, "layer"), conv(weights, "after"))
    return model.to(memory_format=torch.channels_last)


class MatMul(nn.Module):
    """A product of two activations."""

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return torch.matmul(h, h.transpose(-1, -2))


def layer_matmul(weights: Weights) -> nn.Module:
    """Matmul of an activation with its transpose."""
    return between_linears(weights, MatMul())


def layer_embedding(weights: Weights) -> nn.Module:
    """Embedding."""
    layer = loaded(nn.Embedding(200, 64), weights, "layer")
    return TokenSandwich(layer, linear(weights, "after"))


def layer_embedding_bag(weights: Weights) -> nn.Module:
    """EmbeddingBag that takes the mean."""
    layer = loaded(nn.EmbeddingBag(200, 64, mode="mean"), weights, "layer")
    return TokenSandwich(layer, linear(weights, "after"))


class TiedEmbedding(nn.Module):
    """An embedding whose table is also the weight of the last product."""

    def __init__(self, layer: nn.Module, middle: nn.Module) -> None:
        super().__init__()
        self.fuse: list[list[str]] = []
        self.layer = layer
        self.quant = QuantStub()
        self.middle = middle
        self.dequant = DeQuantStub()

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        h = self.middle(self.quant(self.layer(ids)))
        return self.dequant(nn.functional.linear(h, self.layer.weight))


def layer_embedding_tied(weights: Weights) -> nn.Module:
    """Embedding with tied output weights."""
    layer = loaded(nn.Embedding(200, 64), weights, "layer")
    return TiedEmbedding(layer, linear(weights, "middle"))


class TwoInputs(nn.Module):
    """Adds an embedding of `ids` to a linear layer of `x`."""

    def __init__(self, before: nn.Module, layer: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.fuse: list[list[str]] = []
        self.quant = QuantStub()
        self.quant_embedded = QuantStub()
        self.before = before
        self.layer = layer
        self.sum = torch.ao.nn.quantized.FloatFunctional()
        self.after = after
        self.dequant = DeQuantStub()

    def forward(self, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
        h = self.before(self.quant(x))
        embedded = self.quant_embedded(self.layer(ids))
        return self.dequant(self.after(self.sum.add(h, embedded)))


def layer_several_inputs(weights: Weights) -> nn.Module:
    """A model with two inputs, one of them integers."""
    layer = loaded(nn.Embedding(200, 64), weights, "layer")
    return TwoInputs(linear(weights, "before"), layer, linear(weights, "after"))
