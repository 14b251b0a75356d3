"""Layers of normalization, recurrence and attention."""

# ruff: noqa: D102 - forward computes what its class says

import torch
from torch import nn

from calipers_worker.gaps.pytorch.layers_sandwiches import (
    OpenSandwich,
    SkipSandwich,
    Weights,
    between_convs,
    between_linears,
    conv,
    linear,
    loaded,
)


def layer_batch_norm_folded(weights: Weights) -> nn.Module:
    """BatchNorm2d right after a convolution."""
    layer = nn.Sequential(conv(weights, "layer"), loaded(nn.BatchNorm2d(16), weights, "norm"))
    return between_convs(weights, layer, ["layer.0", "layer.1"])


def layer_batch_norm_unfoldable(weights: Weights) -> nn.Module:
    """BatchNorm2d behind a ReLU."""
    layer = nn.Sequential(nn.ReLU(), loaded(nn.BatchNorm2d(16), weights, "norm"))
    return between_convs(weights, layer, ["before", "layer.0"])


def layer_batch_norm_alone(weights: Weights) -> nn.Module:
    """BatchNorm2d of the model's input."""
    layer = loaded(nn.BatchNorm2d(16), weights, "norm")
    return OpenSandwich(layer, conv(weights, "after"))


def layer_layer_norm(weights: Weights) -> nn.Module:
    """LayerNorm."""
    return between_linears(weights, loaded(nn.LayerNorm(64), weights, "layer"))


def layer_group_norm(weights: Weights) -> nn.Module:
    """GroupNorm."""
    return between_convs(weights, loaded(nn.GroupNorm(4, 16), weights, "layer"))


def layer_instance_norm(weights: Weights) -> nn.Module:
    """InstanceNorm2d with weights."""
    layer = nn.InstanceNorm2d(16, affine=True)
    return between_convs(weights, loaded(layer, weights, "layer"))


def layer_rms_norm(weights: Weights) -> nn.Module:
    """RMSNorm."""
    return between_linears(weights, loaded(nn.RMSNorm(64, eps=1e-6), weights, "layer"))


class Outputs(nn.Module):
    """A recurrent layer without its last state."""

    def __init__(self, recurrent: nn.Module) -> None:
        super().__init__()
        self.recurrent = recurrent

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return self.recurrent(h)[0]


def layer_lstm(weights: Weights) -> nn.Module:
    """LSTM."""
    inner = loaded(nn.LSTM(64, 64, batch_first=True), weights, "layer")
    return between_linears(weights, Outputs(inner))


def layer_gru(weights: Weights) -> nn.Module:
    """GRU."""
    inner = loaded(nn.GRU(64, 64, batch_first=True), weights, "layer")
    return between_linears(weights, Outputs(inner))


def layer_lstm_cell(weights: Weights) -> nn.Module:
    """LSTMCell, one step."""
    return between_linears(weights, Outputs(loaded(nn.LSTMCell(64, 64), weights, "layer")))


def layer_gru_cell(weights: Weights) -> nn.Module:
    """GRUCell, one step."""
    return between_linears(weights, loaded(nn.GRUCell(64, 64), weights, "layer"))


class UnrolledLSTM(nn.Module):
    """An LSTMCell in a loop over eight steps."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        state = self.cell(h[:, 0])
        outputs = [state[0]]
        for step in range(1, 8):
            state = self.cell(h[:, step], state)
            outputs.append(state[0])
        return torch.stack(outputs, 1)


def layer_lstm_unrolled(weights: Weights) -> nn.Module:
    """LSTMCell over a sequence."""
    return between_linears(weights, UnrolledLSTM(loaded(nn.LSTMCell(64, 64), weights, "layer")))


class UnrolledGRU(nn.Module):
    """A GRUCell in a loop over eight steps."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell = cell

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        state = self.cell(h[:, 0])
        outputs = [state]
        for step in range(1, 8):
            state = self.cell(h[:, step], state)
            outputs.append(state)
        return torch.stack(outputs, 1)


def layer_gru_unrolled(weights: Weights) -> nn.Module:
    """GRUCell over a sequence."""
    return between_linears(weights, UnrolledGRU(loaded(nn.GRUCell(64, 64), weights, "layer")))


class SelfAttention(nn.Module):
    """Attention of a sequence to itself, without the attention weights as output."""

    def __init__(self, attention: nn.Module) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return self.attention(h, h, h, need_weights=False)[0]


def layer_multihead_attention(weights: Weights) -> nn.Module:
    """MultiheadAttention, batch first."""
    attention = loaded(nn.MultiheadAttention(64, 4, batch_first=True), weights, "layer")
    return between_linears(weights, SelfAttention(attention))


def layer_multihead_attention_sequence_first(weights: Weights) -> nn.Module:
    """MultiheadAttention, sequence first."""
    attention = loaded(nn.MultiheadAttention(64, 4), weights, "layer")
    return between_linears(weights, SelfAttention(attention))


class ScaledDotProduct(nn.Module):
    """Attention of four heads without weights."""

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        heads = h.reshape(1, 32, 4, 16).transpose(1, 2)
        mixed = nn.functional.scaled_dot_product_attention(heads, heads, heads)
        return mixed.transpose(1, 2).reshape(1, 32, 64)


def layer_scaled_dot_product_attention(weights: Weights) -> nn.Module:
    """The function scaled_dot_product_attention."""
    return between_linears(weights, ScaledDotProduct())


class Decoder(nn.Module):
    """A decoder layer with a causal mask."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder
        mask = nn.Transformer.generate_square_subsequent_mask(32)
        self.register_buffer("mask", mask, persistent=False)

    def forward(self, h: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        return self.decoder(h, memory, tgt_mask=self.mask)


def layer_transformer_decoder_layer(weights: Weights) -> nn.Module:
    """TransformerDecoderLayer."""
    decoder = nn.TransformerDecoderLayer(64, 4, dim_feedforward=128, dropout=0.0, batch_first=True)
    layer = Decoder(loaded(decoder, weights, "layer"))
    return SkipSandwich(linear(weights, "before"), layer, linear(weights, "after"))
