"""The tensors that an artefact holds, as they are stored and as the real numbers they stand for."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import fx, nn
from torchao.utils import TorchAOBaseTensor

from calipers_worker import onnx_graph
from calipers_worker.onnx_graph import OnnxGraph
from calipers_worker.pytorch.build import module_name
from calipers_worker.pytorch.executed import unpacked
from calipers_worker.tensor_files import write_tensors

REAL = "/real"
_PRODUCTS = ("aten.conv", "aten.linear")
_ROUNDED = 0.5 + 1e-3
"""A rounded number is off by no more than half a step, and what computing it in float adds."""


@dataclass(frozen=True)
class Stored:
    """A tensor in an artefact; `real` is what its integers stand for, in multiples of `step`."""

    name: str
    value: torch.Tensor
    real: torch.Tensor | None = None
    step: torch.Tensor | None = None
    initializer: str | None = None

    def described(self) -> dict[str, Any]:
        """The tensor as an answer tells it."""
        return {
            "name": self.name,
            "initializer": self.initializer,
            "type": str(self.value.dtype).removeprefix("torch."),
            "shape": list(self.value.shape),
            "bytes": self.value.numel() * self.value.element_size(),
        }


def write(graph: OnnxGraph, model: nn.Module, output: Path) -> list[dict[str, Any]]:
    """Write the tensors of rank 2 or more in ONNX's layout; gives the description of all."""
    held = stored(graph, model)
    transposed = {
        layer.operation.weight
        for layer in graph.layers
        if isinstance(layer.operation, onnx_graph.Linear) and layer.operation.weight_is_in_out
    }
    tensors = {}
    for one in held:
        if one.value.dim() < 2:
            continue
        for name, value in ((one.name, one.value), (one.name + REAL, one.real)):
            if value is not None:
                array = value.detach().cpu().numpy()
                tensors[name] = array.T if one.initializer in transposed else array
    write_tensors(output, tensors)
    return [one.described() for one in held]


def stored(graph: OnnxGraph, model: nn.Module) -> list[Stored]:
    """The tensors of a loaded artefact, with the initializers that they came from where known."""
    if isinstance(model, torch.jit.ScriptModule):
        return _in_order(graph, list(_of_script(model)))
    names = _names(graph)
    state = [replace(one, initializer=names.get(one.name)) for one in _of_state(model.state_dict())]
    if isinstance(model, fx.GraphModule):
        return _with_origins(graph, state, list(_dequantized_in(model)))
    return state


def _with_origins(graph: OnnxGraph, state: list[Stored], integers: list[Stored]) -> list[Stored]:
    """The tensors of a program, where its integer weights come from the initializers.

    Mostly a program keeps the float weights beside the integers that round them, under the native
    names. Where it does not, or trained integers were cut off, weights of one shape are taken in
    the order of their use. An initializer is told of its integers alone, where there are any.
    """
    named = {integer.name: integer for integer in integers}
    taken: set[str] = set()
    for integer in named.values():
        for one in state:
            free = one.initializer is not None and one.initializer not in taken
            if free and one.real is None and _rounds(one.value, integer):
                named[integer.name] = replace(integer, initializer=one.initializer)
                taken.add(one.initializer)
                break
    left = [layer for layer in _weighted(graph) if layer.weight not in taken]
    for shape in {_native_shape(graph, layer) for layer in left}:
        alike = [layer.weight for layer in left if _native_shape(graph, layer) == shape]
        unknown = [
            one
            for one in named.values()
            if one.initializer is None and tuple(one.value.shape) == shape
        ]
        if len(alike) == len(unknown):
            for one, weight in zip(unknown, alike, strict=True):
                named[one.name] = replace(one, initializer=weight)
                taken.add(weight)
    return [
        named.get(one.name) or (replace(one, initializer=None) if one.initializer in taken else one)
        for one in state
    ]


def _rounds(value: torch.Tensor, integer: Stored) -> bool:
    if value.shape != integer.value.shape:
        return False
    return float(((value - integer.real) / integer.step).abs().max()) <= _ROUNDED


def _weighted(graph: OnnxGraph) -> list[onnx_graph.Conv | onnx_graph.Linear]:
    operations = [layer.operation for layer in graph.layers]
    return [one for one in operations if isinstance(one, onnx_graph.Conv | onnx_graph.Linear)]


def _native_shape(
    graph: OnnxGraph, operation: onnx_graph.Conv | onnx_graph.Linear
) -> tuple[int, ...]:
    shape = graph.initializers[operation.weight].shape
    turned = isinstance(operation, onnx_graph.Linear) and operation.weight_is_in_out
    return shape[::-1] if turned else shape


def _names(graph: OnnxGraph) -> dict[str, str]:
    """ONNX initializers by the names of parameters and buffers in the native model."""
    names: dict[str, str | None] = {}
    for layer in graph.layers:
        name = module_name(layer)
        match layer.operation:
            case onnx_graph.Conv() | onnx_graph.Linear() as weighted:
                names |= {f"{name}.weight": weighted.weight, f"{name}.bias": weighted.bias}
            case onnx_graph.BatchNorm() as norm:
                names |= {f"{name}.weight": norm.scale, f"{name}.bias": norm.bias}
                names |= {f"{name}.running_mean": norm.mean}
                names |= {f"{name}.running_var": norm.variance}
    return {name: initializer for name, initializer in names.items() if initializer is not None}


def _in_order(graph: OnnxGraph, held: list[Stored]) -> list[Stored]:
    """The tensors with their initializers, where weights are as many as the graph's and alike."""
    layers = _weighted(graph)
    weights = [index for index, one in enumerate(held) if one.value.dim() >= 2]
    named = list(held)
    if len(layers) == len(weights):
        for layer, index in zip(layers, weights, strict=True):
            if tuple(held[index].value.shape) == _native_shape(graph, layer):
                named[index] = replace(held[index], initializer=layer.weight)
    return named


def _of_state(state: dict[str, Any]) -> Iterator[Stored]:
    for name, value in state.items():
        if name.endswith("._packed_params._packed_params"):
            module = name.removesuffix("._packed_params._packed_params")
            yield from _of_packed(module, value)
        elif isinstance(value, torch.Tensor):
            yield from _of_tensor(name, value)


def _of_packed(module: str, held: tuple[torch.Tensor, torch.Tensor | None]) -> Iterator[Stored]:
    weight, bias = held
    yield from _of_tensor(f"{module}.weight", weight)
    if bias is not None:
        yield Stored(f"{module}.bias", bias)


def _of_tensor(name: str, value: torch.Tensor) -> Iterator[Stored]:
    if isinstance(value, TorchAOBaseTensor):
        yield Stored(name, value.qdata, value.dequantize().float())
        for key, part in vars(value).items():
            if isinstance(part, torch.Tensor) and key != "qdata":
                yield Stored(f"{name}.{key}", part)
    elif value.is_quantized:
        yield Stored(name, value.int_repr(), value.dequantize())
        if value.qscheme() in (torch.per_channel_affine, torch.per_channel_affine_float_qparams):
            yield Stored(f"{name}.scales", value.q_per_channel_scales())
            yield Stored(f"{name}.zero_points", value.q_per_channel_zero_points())
        else:
            yield Stored(f"{name}.scale", torch.tensor(value.q_scale(), dtype=torch.float64))
            yield Stored(f"{name}.zero_point", torch.tensor(value.q_zero_point()))
    else:
        yield Stored(name, value)


def _of_script(model: torch.jit.ScriptModule) -> Iterator[Stored]:
    """The constants of a frozen TorchScript model, in the order in which they are used."""
    seen: set[str] = set()
    for used in (value for node in model.graph.nodes() for value in node.inputs()):
        node, name = used.node(), used.debugName()
        if node.kind() != "prim::Constant" or not node.hasAttribute("value") or name in seen:
            continue
        seen.add(name)
        kind = node.kindOf("value")
        if kind == "t":
            yield from _of_tensor(name, node.t("value"))
        elif kind == "ival" and isinstance(value := node.ival("value"), torch.ScriptObject):
            yield from _of_packed(name, unpacked(value))


def _dequantized_in(model: fx.GraphModule) -> Iterator[Stored]:
    """The integer weights of a converted program, in the order of the products that read them."""
    for product in model.graph.nodes:
        if not str(product.target).startswith(_PRODUCTS):
            continue
        node = product.args[1]
        while isinstance(node, fx.Node) and node.op == "call_function":
            if "dequantize_per_channel" in str(node.target):
                yield _dequantized(model, node)
                break
            node = node.args[0]


def _dequantized(model: fx.GraphModule, node: fx.Node) -> Stored:
    weight, scales, zero_points = (_attribute(model, argument.target) for argument in node.args[:3])
    shape = [1] * weight.dim()
    shape[node.args[3]] = -1
    step = scales.reshape(shape).float()
    real = (weight.float() - zero_points.reshape(shape)) * step
    return Stored(node.args[0].target, weight, real, step)


def _attribute(model: nn.Module, target: str) -> torch.Tensor:
    module, _, name = target.rpartition(".")
    return getattr(model.get_submodule(module), name)
