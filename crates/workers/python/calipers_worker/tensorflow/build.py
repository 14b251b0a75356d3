"""Builds the Keras model that a user of Keras would write for an ONNX graph.

Channels last, as TensorFlow's kernels on a CPU want it. Knows nothing of training or quantization.
"""

from dataclasses import dataclass
from typing import Any

import tensorflow as tf
import tf_keras
from tf_keras import layers

from calipers_worker.errors import BadModel, UnsupportedOperator
from calipers_worker.onnx_graph import Layer, OnnxGraph
from calipers_worker.onnx_operations import (
    Add,
    AveragePool,
    BatchNorm,
    Clip,
    Concat,
    Conv,
    Flatten,
    GlobalAveragePool,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Linear,
    MaxPool,
    Multiply,
    Pair,
    Relu,
    Sigmoid,
    Softmax,
    Tanh,
)
from calipers_worker.tensorflow import activations
from calipers_worker.tensorflow import parameters as weights
from calipers_worker.tensorflow.parameters import Parameter
from calipers_worker.tensorflow.windows import Axis, crop_of_dense_windows

Pads = tuple[Pair, Pair]
# tf_keras exports no name for its symbolic tensors.
KerasTensor = Any


@dataclass(frozen=True)
class NativeModel:
    """A functional Keras model, input [N,H,W,C], output logits [N,K], and where its weights are."""

    model: tf_keras.Model
    parameters: tuple[Parameter, ...]
    classes: int


@dataclass(frozen=True)
class Value:
    """A value of the graph: its Keras tensor, and whether it surely holds no negative number."""

    tensor: KerasTensor
    non_negative: bool = False


def build(graph: OnnxGraph) -> NativeModel:
    """The model of `graph` with the graph's weights; UnsupportedOperator names what has no form."""
    if len(graph.input_shape) != 4 or None in graph.input_shape[1:]:
        raise BadModel(
            f"{graph.path}: input `{graph.input_name}` must have shape [N,C,H,W] with known C, H "
            f"and W, found {graph.input_shape}"
        )
    builder = _Builder(graph)
    for layer in graph.layers:
        builder.add(layer)
    output = builder.values[graph.output_name].tensor
    if len(output.shape) != 2:
        raise BadModel(
            f"{graph.path}: output `{graph.output_name}` must be logits [N,K], found {output.shape}"
        )
    model = tf_keras.Model(builder.input, output, name="model")
    native = NativeModel(model, tuple(builder.parameters), graph.classes)
    weights.assign(model, native.parameters, graph.initializers)
    return native


class _Builder:
    """The state of one build: the values made so far and the parameters bound so far.

    A layer that no node stands for has a dot in its name, which no layer of the graph has.
    """

    def __init__(self, graph: OnnxGraph) -> None:
        self.graph = graph
        _, channels, height, width = graph.input_shape
        name = "input"
        while any(layer.name == name for layer in graph.layers):
            name += "_"
        self.input = layers.Input((height, width, channels), name=name)
        self.values = {graph.input_name: Value(self.input)}
        self.parameters: list[Parameter] = []

    def add(self, layer: Layer) -> None:
        """Append the Keras layers of one layer of the graph."""
        inputs = [self.values[name] for name in layer.inputs]
        match layer.operation:
            case Conv() as conv:
                value = Value(self._conv(layer, conv, inputs[0]))
            case BatchNorm() as norm:
                value = Value(self._batch_norm(layer, norm, inputs[0]))
            case Relu():
                value = Value(layers.ReLU(name=layer.name)(inputs[0].tensor), non_negative=True)
            case MaxPool() as pool:
                value = self._max_pool(layer, pool, inputs[0])
            case AveragePool() as pool:
                value = self._average_pool(layer, pool, inputs[0])
            case GlobalAveragePool():
                value = self._global_average_pool(layer, inputs[0])
            case Add():
                value = Value(
                    layers.Add(name=layer.name)([given.tensor for given in inputs]),
                    all(given.non_negative for given in inputs),
                )
            case Flatten():
                value = self._flatten(layer, inputs[0])
            case Linear() as linear:
                value = Value(self._linear(layer, linear, inputs[0]))
            case Multiply():
                value = Value(
                    layers.Multiply(name=layer.name)([given.tensor for given in inputs]),
                    all(given.non_negative for given in inputs),
                )
            case Concat():
                value = Value(
                    layers.Concatenate(name=layer.name)([given.tensor for given in inputs]),
                    all(given.non_negative for given in inputs),
                )
            case (
                Clip() | HardSwish() | HardSigmoid() | Sigmoid() | Tanh() | LeakyRelu() | Softmax()
            ):
                value = Value(
                    activations.build(layer.operation, layer.name, inputs[0].tensor),
                    activations.is_non_negative(layer.operation, inputs[0].non_negative),
                )
        self.values[layer.output] = value

    def _conv(self, layer: Layer, conv: Conv, value: Value) -> KerasTensor:
        axes = _axes(value, conv.kernel, conv.stride, conv.padding, conv.dilation)
        tensor, padding = value.tensor, "valid"
        if all(axis.is_same for axis in axes) and not all(axis.is_valid for axis in axes):
            padding = "same"
        elif not all(axis.is_valid for axis in axes):
            tensor = layers.ZeroPadding2D(_pads(axes), name=f"{layer.name}.pad")(tensor)
        # TensorFlow wants a stride or a dilation, not both, and depthwise strides of one size.
        if conv.stride != (1, 1) and conv.dilation != (1, 1):
            raise _unsupported(
                self.graph, layer, f"stride {conv.stride} together with dilation {conv.dilation}"
            )
        common = {
            "kernel_size": conv.kernel,
            "strides": conv.stride,
            "dilation_rate": conv.dilation,
            "padding": padding,
            "use_bias": conv.bias is not None,
            "name": layer.name,
        }
        if conv.groups > 1 and conv.groups == conv.in_channels:
            if conv.stride[0] != conv.stride[1]:
                raise _unsupported(self.graph, layer, f"depthwise with strides {conv.stride}")
            multiplier = conv.out_channels // conv.in_channels
            output = layers.DepthwiseConv2D(depth_multiplier=multiplier, **common)(tensor)
            layout = weights.depthwise(conv.in_channels)
            self._bind(conv.weight, layer, "depthwise_kernel", layout)
        else:
            output = layers.Conv2D(conv.out_channels, groups=conv.groups, **common)(tensor)
            self._bind(conv.weight, layer, "kernel", weights.CONVOLUTION)
        self._bind(conv.bias, layer, "bias")
        return output

    def _batch_norm(self, layer: Layer, norm: BatchNorm, value: Value) -> KerasTensor:
        # Fused is the form whose running variance is unbiased, as in PyTorch.
        output = layers.BatchNormalization(
            axis=-1, momentum=norm.momentum, epsilon=norm.epsilon, fused=True, name=layer.name
        )(value.tensor)
        self._bind(norm.scale, layer, "gamma")
        self._bind(norm.bias, layer, "beta")
        self._bind(norm.mean, layer, "moving_mean")
        self._bind(norm.variance, layer, "moving_variance")
        return output

    def _max_pool(self, layer: Layer, pool: MaxPool, value: Value) -> Value:
        if pool.dilation != (1, 1):
            raise _unsupported(self.graph, layer, f"dilation {pool.dilation}")
        axes = _axes(value, pool.kernel, pool.stride, pool.padding)
        tensor, padding = value.tensor, "valid"
        if all(axis.is_same for axis in axes) and not all(axis.is_valid for axis in axes):
            padding = "same"
        elif not all(axis.is_valid for axis in axes):
            if not value.non_negative:
                tensor = self._max_pool_of_negatives(layer, axes, tensor)
                return Value(tensor)
            # A zero never exceeds the maximum of values that are all at least zero.
            tensor = layers.ZeroPadding2D(_pads(axes), name=f"{layer.name}.pad")(tensor)
        output = layers.MaxPooling2D(pool.kernel, pool.stride, padding, name=layer.name)(tensor)
        return Value(output, value.non_negative)

    def _max_pool_of_negatives(
        self, layer: Layer, axes: tuple[Axis, Axis], tensor: KerasTensor
    ) -> KerasTensor:
        """All windows with stride 1, whose `same` pads never win, then every stride-th of them.

        A pad of minus infinity would say the same in float and ruin the range of an int8 tensor.
        """
        crops = [crop_of_dense_windows(axis) for axis in axes]
        if None in crops:
            raise _unsupported(
                self.graph, layer, "a window that begins further outside than half its size"
            )
        kernel = (axes[0].kernel, axes[1].kernel)
        tensor = layers.MaxPooling2D(kernel, 1, "same", name=layer.name)(tensor)
        cropping = tuple((crop.before, crop.after) for crop in crops)
        if cropping != ((0, 0), (0, 0)):
            tensor = layers.Cropping2D(cropping, name=f"{layer.name}.crop")(tensor)
        stride = (axes[0].stride, axes[1].stride)
        if stride != (1, 1):
            tensor = layers.MaxPooling2D(1, stride, "valid", name=f"{layer.name}.stride")(tensor)
        return tensor

    def _average_pool(self, layer: Layer, pool: AveragePool, value: Value) -> Value:
        axes = _axes(value, pool.kernel, pool.stride, pool.padding)
        tensor, padding = value.tensor, "valid"
        if not all(axis.is_valid for axis in axes):
            if pool.count_include_pad:
                tensor = layers.ZeroPadding2D(_pads(axes), name=f"{layer.name}.pad")(tensor)
            elif all(axis.is_same for axis in axes):
                padding = "same"
            else:
                raise _unsupported(
                    self.graph,
                    layer,
                    f"padding {pool.padding} that is left out of the mean and is not TensorFlow's "
                    "`same`",
                )
        output = layers.AveragePooling2D(pool.kernel, pool.stride, padding, name=layer.name)(tensor)
        return Value(output, value.non_negative)

    def _global_average_pool(self, layer: Layer, value: Value) -> Value:
        readers = self.graph.consumers(layer.output)
        flattened = bool(readers) and all(isinstance(each.operation, Flatten) for each in readers)
        output = layers.GlobalAveragePooling2D(keepdims=not flattened, name=layer.name)(
            value.tensor
        )
        return Value(output, value.non_negative)

    def _flatten(self, layer: Layer, value: Value) -> Value:
        tensor = value.tensor
        if len(tensor.shape) == 2:
            return value
        if tuple(tensor.shape[1:3]) != (1, 1):
            tensor = layers.Permute((3, 1, 2), name=f"{layer.name}.channels_first")(tensor)
        return Value(layers.Flatten(name=layer.name)(tensor), value.non_negative)

    def _linear(self, layer: Layer, linear: Linear, value: Value) -> KerasTensor:
        if len(value.tensor.shape) != 2:
            raise _unsupported(self.graph, layer, f"an input of shape {value.tensor.shape}")
        output = layers.Dense(
            linear.out_features, use_bias=linear.bias is not None, name=layer.name
        )(value.tensor)
        layout = weights.UNCHANGED if linear.weight_is_in_out else weights.DENSE
        self._bind(linear.weight, layer, "kernel", layout)
        self._bind(linear.bias, layer, "bias")
        return output

    def _bind(
        self,
        initializer: str | None,
        layer: Layer,
        attribute: str,
        layout: weights.Layout = weights.UNCHANGED,
    ) -> None:
        if initializer is not None:
            self.parameters.append(Parameter(initializer, layer.name, attribute, layout))


def _axes(
    value: Value, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair = (1, 1)
) -> tuple[Axis, Axis]:
    sizes = tf.TensorShape(value.tensor.shape).as_list()[1:3]
    return tuple(
        Axis(sizes[i], kernel[i], stride[i], dilation[i], padding[i], padding[i]) for i in (0, 1)
    )


def _pads(axes: tuple[Axis, Axis]) -> Pads:
    return tuple((axis.before, axis.after) for axis in axes)


def _unsupported(graph: OnnxGraph, layer: Layer, reason: str) -> UnsupportedOperator:
    return UnsupportedOperator(
        f"{graph.path}: {layer.node} cannot be built as a Keras layer: {reason} has no such form"
    )
