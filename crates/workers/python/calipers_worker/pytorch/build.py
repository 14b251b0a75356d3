"""Builds the model as a user of PyTorch would write it, and moves weights in and out of it.

Owns the correspondence between the ONNX file's layers and the modules that stand for them.
"""

import math
import operator

import numpy as np
import torch
from torch import fx, nn

from calipers_worker import onnx_graph
from calipers_worker.errors import UnsupportedOperator
from calipers_worker.onnx_graph import Layer, OnnxGraph

_RESERVED = ("quant", "dequant", "training")


def build(graph: OnnxGraph, *, stubs: bool) -> fx.GraphModule:
    """The graph as native modules with its weights, in straight-line code.

    With `stubs` it is what eager quantization asks of a user: QuantStub and DeQuantStub at the
    ends, and every addition (with a Relu that alone follows it), multiplication and concatenation
    through FloatFunctional.
    """
    modules: dict[str, nn.Module] = {}
    code = fx.Graph()
    values: dict[str, fx.Node] = {graph.input_name: code.placeholder("x")}
    if stubs:
        modules["quant"] = torch.ao.quantization.QuantStub()
        values[graph.input_name] = code.call_module("quant", (values[graph.input_name],))
    for layer in graph.layers:
        inputs = tuple(values[name] for name in layer.inputs)
        name = module_name(layer)
        match layer.operation:
            case onnx_graph.Flatten():
                values[layer.output] = code.call_function(torch.flatten, (inputs[0], 1))
            case onnx_graph.Add() if not stubs:
                values[layer.output] = code.call_function(operator.add, inputs)
            case onnx_graph.Add():
                modules[name] = torch.ao.nn.quantized.FloatFunctional()
                relu = following_relu(graph, layer)
                method = "add" if relu is None else "add_relu"
                values[layer.output] = code.call_method(method, (code.get_attr(name), *inputs))
                if relu is not None:
                    values[relu.output] = values[layer.output]
            case onnx_graph.Relu() if stubs and layer.output in values:
                pass
            case onnx_graph.Multiply() if not stubs:
                values[layer.output] = code.call_function(operator.mul, inputs)
            case onnx_graph.Multiply():
                modules[name] = torch.ao.nn.quantized.FloatFunctional()
                values[layer.output] = code.call_method("mul", (code.get_attr(name), *inputs))
            case onnx_graph.Concat() if not stubs:
                values[layer.output] = code.call_function(torch.cat, (list(inputs), 1))
            case onnx_graph.Concat():
                modules[name] = torch.ao.nn.quantized.FloatFunctional()
                values[layer.output] = code.call_method(
                    "cat", (code.get_attr(name), list(inputs), 1)
                )
            case onnx_graph.Softmax() if stubs:
                # There is no quantized Softmax for eager mode: it stands outside of the stubs.
                modules[f"{name}_dequant"] = torch.ao.quantization.DeQuantStub()
                modules[name] = nn.Softmax(-1)
                outside = code.call_module(f"{name}_dequant", inputs)
                values[layer.output] = code.call_module(name, (outside,))
                if layer.output != graph.output_name:
                    modules[f"{name}_quant"] = torch.ao.quantization.QuantStub()
                    values[layer.output] = code.call_module(
                        f"{name}_quant", (values[layer.output],)
                    )
            case _:
                modules[name] = _module(layer)
                values[layer.output] = code.call_module(name, inputs)
    output = values[graph.output_name]
    is_float = any(
        isinstance(layer.operation, onnx_graph.Softmax) and layer.output == graph.output_name
        for layer in graph.layers
    )
    if stubs and not is_float:
        modules["dequant"] = torch.ao.quantization.DeQuantStub()
        output = code.call_module("dequant", (output,))
    code.output(output)
    model = fx.GraphModule(modules, code, class_name="Model")
    _set_weights(graph, model)
    return model


def module_name(layer: Layer) -> str:
    """The attribute that holds the layer's module: its name, unless nn.Module uses that itself."""
    taken = layer.name in _RESERVED or hasattr(fx.GraphModule, layer.name)
    return f"{layer.name}_" if taken else layer.name


def following_relu(graph: OnnxGraph, layer: Layer) -> Layer | None:
    """The Relu that is the only reader of the layer's output."""
    reader = graph.sole_consumer(layer.output)
    return reader if reader and isinstance(reader.operation, onnx_graph.Relu) else None


def following_batch_norm(graph: OnnxGraph, layer: Layer) -> Layer | None:
    """The BatchNormalization that is the only reader of the layer's output."""
    reader = graph.sole_consumer(layer.output)
    return reader if reader and isinstance(reader.operation, onnx_graph.BatchNorm) else None


def read_weights(graph: OnnxGraph, model: nn.Module) -> dict[str, np.ndarray]:
    """The model's float weights by ONNX initializer name, in ONNX layout, as copies.

    Takes the float model and both kinds of model prepared for QAT, where a convolution's module
    holds the BatchNorm that was fused into it and the float master weights.
    """
    weights: dict[str, np.ndarray] = {}
    for layer in graph.layers:
        match layer.operation:
            case onnx_graph.Conv() as conv:
                module = model.get_submodule(module_name(layer))
                weights[conv.weight] = _array(module.weight)
                if conv.bias is not None:
                    weights[conv.bias] = _array(module.bias)
            case onnx_graph.Linear() as linear:
                module = model.get_submodule(module_name(layer))
                weight = _array(module.weight)
                weights[linear.weight] = weight.T if linear.weight_is_in_out else weight
                if linear.bias is not None:
                    weights[linear.bias] = _array(module.bias)
            case onnx_graph.BatchNorm() as norm:
                module = _batch_norm_module(graph, model, layer)
                weights[norm.scale] = _array(module.weight)
                weights[norm.bias] = _array(module.bias)
                weights[norm.mean] = _array(module.running_mean)
                weights[norm.variance] = _array(module.running_var)
    return weights


def _module(layer: Layer) -> nn.Module:
    match layer.operation:
        case onnx_graph.Conv() as conv:
            return nn.Conv2d(
                conv.in_channels,
                conv.out_channels,
                conv.kernel,
                stride=conv.stride,
                padding=conv.padding,
                dilation=conv.dilation,
                groups=conv.groups,
                bias=conv.bias is not None,
            )
        case onnx_graph.BatchNorm() as norm:
            # PyTorch weighs the batch where ONNX weighs the past; rounded so that 0.9 gives 0.1.
            momentum = round(1.0 - norm.momentum, 9)
            return nn.BatchNorm2d(norm.channels, eps=norm.epsilon, momentum=momentum)
        case onnx_graph.Relu():
            return nn.ReLU()
        case onnx_graph.MaxPool() as pool:
            return nn.MaxPool2d(
                pool.kernel, stride=pool.stride, padding=pool.padding, dilation=pool.dilation
            )
        case onnx_graph.AveragePool() as pool:
            return nn.AvgPool2d(
                pool.kernel,
                stride=pool.stride,
                padding=pool.padding,
                count_include_pad=pool.count_include_pad,
            )
        case onnx_graph.GlobalAveragePool():
            return nn.AdaptiveAvgPool2d(1)
        case onnx_graph.Linear() as linear:
            return nn.Linear(linear.in_features, linear.out_features, linear.bias is not None)
        case onnx_graph.Clip(minimum=0.0, maximum=6.0):
            return nn.ReLU6()
        case onnx_graph.Clip(minimum=0.0, maximum=math.inf):
            return nn.ReLU()
        case onnx_graph.Clip() as clip:
            return nn.Hardtanh(clip.minimum, clip.maximum)
        case onnx_graph.HardSwish():
            return nn.Hardswish()
        case onnx_graph.HardSigmoid() as sigmoid:
            if abs(sigmoid.alpha - 1 / 6) > 1e-6 or sigmoid.beta != 0.5:
                raise UnsupportedOperator(
                    f"{layer.node} cannot be built: its alpha is {sigmoid.alpha} and its beta "
                    f"{sigmoid.beta}, PyTorch's Hardsigmoid has 1/6 and 0.5"
                )
            return nn.Hardsigmoid()
        case onnx_graph.Sigmoid():
            return nn.Sigmoid()
        case onnx_graph.Tanh():
            return nn.Tanh()
        case onnx_graph.LeakyRelu() as relu:
            return nn.LeakyReLU(relu.slope)
        case onnx_graph.Softmax():
            return nn.Softmax(-1)
        case onnx_graph.Add() | onnx_graph.Flatten() | onnx_graph.Multiply() | onnx_graph.Concat():
            raise AssertionError("built as a call, not as a module")


def _set_weights(graph: OnnxGraph, model: nn.Module) -> None:
    def copy(target: torch.Tensor, name: str, *, transposed: bool = False) -> None:
        value = graph.initializers[name]
        target.copy_(torch.from_numpy(np.array(value.T if transposed else value, order="C")))

    with torch.no_grad():
        for layer in graph.layers:
            match layer.operation:
                case onnx_graph.Conv() | onnx_graph.Linear() as weighted:
                    module = model.get_submodule(module_name(layer))
                    transposed = (
                        isinstance(weighted, onnx_graph.Linear) and weighted.weight_is_in_out
                    )
                    copy(module.weight, weighted.weight, transposed=transposed)
                    if weighted.bias is not None:
                        copy(module.bias, weighted.bias)
                case onnx_graph.BatchNorm() as norm:
                    module = model.get_submodule(module_name(layer))
                    copy(module.weight, norm.scale)
                    copy(module.bias, norm.bias)
                    copy(module.running_mean, norm.mean)
                    copy(module.running_var, norm.variance)


def _batch_norm_module(graph: OnnxGraph, model: nn.Module, layer: Layer) -> nn.Module:
    try:
        module = model.get_submodule(module_name(layer))
    except AttributeError:
        module = None
    if module is not None and hasattr(module, "running_mean"):
        return module
    producer = next(other for other in graph.layers if other.output == layer.inputs[0])
    return model.get_submodule(module_name(producer)).bn


def _array(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().to(torch.float32).numpy().copy()
