"""Probes of layers that multiply by a constant: linear, convolutions, embeddings."""

from types import ModuleType
from typing import Any

import tensorflow as tf

from calipers_worker.gaps.stages import NoApi
from calipers_worker.gaps.tensorflow.layers_sandwich import (
    Symbolic,
    Weights,
    conv2d,
    dense,
    image_input,
    sequence_input,
    token_input,
    vector_input,
)


def layer_linear(keras: ModuleType, weights: Weights) -> Any:
    """Dense."""
    x = sequence_input(keras)
    h = dense(keras, weights, "before", x)
    h = dense(keras, weights, "layer", h)
    return keras.Model(x, dense(keras, weights, "after", h))


def layer_linear_rows(keras: ModuleType, weights: Weights) -> Any:
    """Dense on inputs of rank 2."""
    x = vector_input(keras)
    h = dense(keras, weights, "before", x)
    h = dense(keras, weights, "layer", h)
    return keras.Model(x, dense(keras, weights, "after", h))


def layer_linear_small(keras: ModuleType, weights: Weights) -> Any:
    """Dense with fewer weights than the converter quantizes on the dynamic path."""
    return layer_linear(keras, weights)


def layer_conv1d(keras: ModuleType, weights: Weights) -> Any:
    """Conv1D over the last axis of PyTorch's N, C, L, which Keras wants in the middle."""
    x = sequence_input(keras)
    h = dense(keras, weights, "before", x)
    h = keras.layers.Permute((2, 1))(h)
    layer = keras.layers.Conv1D(32, 3, padding="same", name="layer")
    h = layer(h)
    layer.set_weights([weights["layer.weight"].transpose(2, 1, 0), weights["layer.bias"]])
    h = keras.layers.Permute((2, 1))(h)
    return keras.Model(x, dense(keras, weights, "after", h))


def layer_conv2d(keras: ModuleType, weights: Weights) -> Any:
    """Conv2D."""
    x = image_input(keras)
    h = conv2d(keras, weights, "before", x)
    h = conv2d(keras, weights, "layer", h)
    return keras.Model(x, conv2d(keras, weights, "after", h))


def layer_channels_last(keras: ModuleType, weights: Weights) -> Any:
    """Conv2D with channels last, which is how Keras and TFLite lay images out anyway."""
    x = image_input(keras)
    h = conv2d(keras, weights, "before", x)
    h = conv2d(keras, weights, "layer", h, data_format="channels_last")
    return keras.Model(x, conv2d(keras, weights, "after", h))


def layer_conv2d_depthwise(keras: ModuleType, weights: Weights) -> Any:
    """DepthwiseConv2D: PyTorch's [channels, 1, h, w] as [h, w, channels, 1]."""
    x = image_input(keras)
    h = conv2d(keras, weights, "before", x)
    layer = keras.layers.DepthwiseConv2D(3, padding="same", name="layer")
    h = layer(h)
    layer.set_weights([weights["layer.weight"].transpose(2, 3, 0, 1), weights["layer.bias"]])
    return keras.Model(x, conv2d(keras, weights, "after", h))


def layer_conv2d_grouped(keras: ModuleType, weights: Weights) -> Any:
    """Conv2D with 4 groups."""
    x = image_input(keras)
    h = conv2d(keras, weights, "before", x)
    h = conv2d(keras, weights, "layer", h, groups=4)
    return keras.Model(x, conv2d(keras, weights, "after", h))


def layer_conv2d_dilated(keras: ModuleType, weights: Weights) -> Any:
    """Conv2D with dilation 2."""
    x = image_input(keras)
    h = conv2d(keras, weights, "before", x)
    h = conv2d(keras, weights, "layer", h, dilation_rate=2)
    return keras.Model(x, conv2d(keras, weights, "after", h))


def layer_conv2d_strided(keras: ModuleType, weights: Weights) -> Any:
    """Conv2D with stride 2; `same` would pad an even image on one side only."""
    x = image_input(keras)
    h = conv2d(keras, weights, "before", x)
    h = keras.layers.ZeroPadding2D(1)(h)
    h = conv2d(keras, weights, "layer", h, strides=2, padding="valid")
    return keras.Model(x, conv2d(keras, weights, "after", h))


def layer_conv3d(keras: ModuleType, weights: Weights) -> Any:
    """Conv3D on the sequence seen as 32 channels of 4 x 4 x 4."""
    x = sequence_input(keras)
    h = dense(keras, weights, "before", x)
    h = keras.layers.Permute((2, 1))(h)
    h = keras.layers.Reshape((4, 4, 4, 32))(h)
    layer = keras.layers.Conv3D(16, 3, padding="same", name="layer")
    h = layer(h)
    layer.set_weights([weights["layer.weight"].transpose(2, 3, 4, 1, 0), weights["layer.bias"]])
    h = keras.layers.Reshape((64, 16))(h)
    h = keras.layers.Permute((2, 1))(h)
    return keras.Model(x, dense(keras, weights, "after", h))


def transposed_convolution(keras: ModuleType, weights: Weights) -> Any:
    """Conv2DTranspose: [in, out, h, w] as [h, w, out, in]; PyTorch's padding is a crop of 1."""
    x = image_input(keras)
    h = conv2d(keras, weights, "before", x)
    weight = weights["layer.weight"]
    layer = keras.layers.Conv2DTranspose(
        weight.shape[1], 3, strides=2, padding="valid", name="layer"
    )
    h = layer(h)
    layer.set_weights([weight.transpose(2, 3, 1, 0), weights["layer.bias"]])
    h = keras.layers.Cropping2D(((1, 0), (1, 0)))(h)
    return keras.Model(x, conv2d(keras, weights, "after", h))


def layer_conv_transpose2d(keras: ModuleType, weights: Weights) -> Any:
    """Conv2DTranspose with as many channels out as in."""
    return transposed_convolution(keras, weights)


def layer_conv_transpose2d_channels(keras: ModuleType, weights: Weights) -> Any:
    """Conv2DTranspose from 16 to 24 channels."""
    return transposed_convolution(keras, weights)


def layer_embedding(keras: ModuleType, weights: Weights) -> Any:
    """Embedding."""
    ids = token_input(keras)
    layer = keras.layers.Embedding(200, 64, name="layer")
    h = layer(ids)
    layer.set_weights([weights["layer.weight"]])
    return keras.Model(ids, dense(keras, weights, "after", h))


def layer_embedding_bag(keras: ModuleType, weights: Weights) -> Any:  # noqa: ARG001
    """Embedding and mean as one layer: Keras has none."""
    raise NoApi(f"{keras.__name__}.layers has no EmbeddingBag, nor another layer for it")


def layer_embedding_tied(keras: ModuleType, weights: Weights) -> Any:
    """One table that is looked up and, transposed, is the last product."""

    class OwnReversibleEmbedding(keras.layers.Embedding):
        """An embedding that also multiplies by its table, as Keras 3 has one."""

        def call(self, inputs: Symbolic, reverse: bool = False) -> Symbolic:
            """Rows of the table, or one number for each row."""
            if reverse:
                return tf.matmul(inputs, self.embeddings, transpose_b=True)
            return super().call(inputs)

    ids = token_input(keras)
    kind = getattr(keras.layers, "ReversibleEmbedding", OwnReversibleEmbedding)
    layer = kind(200, 64, name="layer")
    h = dense(keras, weights, "middle", layer(ids))
    logits = layer(h, reverse=True)
    layer.set_weights([weights["layer.weight"]])
    return keras.Model(ids, logits)


def layer_several_inputs(keras: ModuleType, weights: Weights) -> Any:
    """A sequence and the embedding of tokens, added by the layer Add."""
    x: Symbolic = sequence_input(keras)
    ids = token_input(keras)
    h = dense(keras, weights, "before", x)
    layer = keras.layers.Embedding(200, 64, name="layer")
    e = layer(ids)
    layer.set_weights([weights["layer.weight"]])
    h = keras.layers.Add()([h, e])
    return keras.Model([x, ids], dense(keras, weights, "after", h))
