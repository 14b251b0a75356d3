"""Probes of recurrent layers, with PyTorch's gates put into Keras' order."""

from types import ModuleType
from typing import Any

import numpy as np
import tensorflow as tf

from calipers_worker.gaps.tensorflow.layers_sandwich import (
    Weights,
    dense,
    sequence_input,
    vector_input,
)


def lstm_weights(weights: Weights, suffix: str) -> list[np.ndarray]:
    """Kernel, recurrent kernel and bias: the gates stand in the same order, i f g o."""
    return [
        weights[f"layer.weight_ih{suffix}"].T,
        weights[f"layer.weight_hh{suffix}"].T,
        weights[f"layer.bias_ih{suffix}"] + weights[f"layer.bias_hh{suffix}"],
    ]


def gru_weights(weights: Weights, suffix: str) -> list[np.ndarray]:
    """Kernel, recurrent kernel and both biases: PyTorch's gates r z n are Keras' z r h."""

    def reordered(name: str) -> np.ndarray:
        reset, update, new = np.split(weights[f"layer.{name}{suffix}"], 3)
        return np.concatenate([update, reset, new])

    biases = np.stack([reordered("bias_ih"), reordered("bias_hh")])
    return [reordered("weight_ih").T, reordered("weight_hh").T, biases]


def layer_lstm(keras: ModuleType, weights: Weights) -> Any:
    """LSTM."""
    x = sequence_input(keras, 8)
    h = dense(keras, weights, "before", x)
    layer = keras.layers.LSTM(64, return_sequences=True, name="layer")
    h = layer(h)
    layer.set_weights(lstm_weights(weights, "_l0"))
    return keras.Model(x, dense(keras, weights, "after", h))


def layer_gru(keras: ModuleType, weights: Weights) -> Any:
    """GRU."""
    x = sequence_input(keras, 8)
    h = dense(keras, weights, "before", x)
    layer = keras.layers.GRU(64, return_sequences=True, name="layer")
    h = layer(h)
    layer.set_weights(gru_weights(weights, "_l0"))
    return keras.Model(x, dense(keras, weights, "after", h))


def layer_lstm_unrolled(keras: ModuleType, weights: Weights) -> Any:
    """LSTM without a loop in the graph."""
    x = sequence_input(keras, 8)
    h = dense(keras, weights, "before", x)
    layer = keras.layers.LSTM(64, return_sequences=True, unroll=True, name="layer")
    h = layer(h)
    layer.set_weights(lstm_weights(weights, ""))
    return keras.Model(x, dense(keras, weights, "after", h))


def layer_gru_unrolled(keras: ModuleType, weights: Weights) -> Any:
    """GRU without a loop in the graph."""
    x = sequence_input(keras, 8)
    h = dense(keras, weights, "before", x)
    layer = keras.layers.GRU(64, return_sequences=True, unroll=True, name="layer")
    h = layer(h)
    layer.set_weights(gru_weights(weights, ""))
    return keras.Model(x, dense(keras, weights, "after", h))


def layer_lstm_cell(keras: ModuleType, weights: Weights) -> Any:
    """One step of LSTMCell from a state of zeros."""
    x = vector_input(keras)
    h = dense(keras, weights, "before", x)
    cell = keras.layers.LSTMCell(64, name="layer")
    h, _ = cell(h, [tf.zeros((1, 64)), tf.zeros((1, 64))])
    cell.set_weights(lstm_weights(weights, ""))
    return keras.Model(x, dense(keras, weights, "after", h))


def layer_gru_cell(keras: ModuleType, weights: Weights) -> Any:
    """One step of GRUCell from a state of zeros."""
    x = vector_input(keras)
    h = dense(keras, weights, "before", x)
    cell = keras.layers.GRUCell(64, name="layer")
    h, _ = cell(h, [tf.zeros((1, 64))])
    cell.set_weights(gru_weights(weights, ""))
    return keras.Model(x, dense(keras, weights, "after", h))
