"""What executed: ONNX Runtime's profile of one inference, joined with the graph that it ran."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from calipers_worker.gaps.onnxruntime.classes import CONVERT, SCALES, RanGraph, class_of

# How the profile's events of kernels end, after the name of the node.
KERNEL_TIME = "_kernel_time"


def executed_operators(
    model: str,
    sample: Mapping[str, np.ndarray],
    folder: Path,
    options: onnxruntime.SessionOptions,
) -> list[dict[str, Any]]:
    """The operators of one inference in order of execution, from ONNX Runtime's own profiler.

    The profile names nodes, and the types of what they computed; the optimized graph that was run
    says which tensors those are, and which are constants.
    """
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    # A warning that the optimized graph is for this machine alone.
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    session.run(None, dict(sample))
    events = json.loads(Path(session.end_profiling()).read_text())
    ran = sorted((one for one in events if one["cat"] == "Node"), key=lambda one: one["ts"])
    optimized = onnx.load(folder / "optimized.onnx").graph
    graph = ran_graph(optimized)
    roles = roles_of(optimized)
    kernels = [
        (
            graph.named(event["name"].removesuffix(KERNEL_TIME), event["args"]["op_name"]),
            event["args"],
        )
        for event in ran
        if event["name"].endswith(KERNEL_TIME)
    ]
    for node, profiled in kernels:
        named = [name for name in node.output if name]
        for name, shape in zip(named, profiled["output_type_shape"], strict=False):
            graph.types[name] = type_name(next(iter(shape)))
    return [
        {
            "name": node.op_type,
            "role": roles.get(node.name, "layer"),
            "class": class_of(node, graph),
            "weighted": bool(graph.weights(node)),
            "inputs": [graph.types[name] for name in graph.data(node)],
            "outputs": [graph.types[name] for name in node.output if name],
            "kernel": f"{node.domain or 'ai.onnx'} {node.op_type}, {profiled['provider']}",
        }
        for node, profiled in kernels
    ]


def type_name(name: str) -> str:
    """A type as numpy calls it: ONNX's `float` has 32 bits."""
    return {"float": "float32", "double": "float64"}.get(name.lower(), name.lower())


def stored_type(data_type: int) -> str:
    """The type of a constant."""
    return type_name(onnx.TensorProto.DataType.Name(data_type))


def graphs_within(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graph, and those of its branches and loops."""
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from graphs_within(attribute.g)


def ran_graph(optimized: onnx.GraphProto) -> RanGraph:
    """The optimized graph by names; the types of what is computed are not known yet."""
    graph = RanGraph()
    for inner in graphs_within(optimized):
        for value in inner.input:
            graph.types[value.name] = stored_type(value.type.tensor_type.elem_type)
        for constant in inner.initializer:
            graph.types[constant.name] = stored_type(constant.data_type)
            graph.constant_ranks[constant.name] = len(constant.dims)
        for index, node in enumerate(inner.node):
            if not node.name:
                node.name = f"{node.op_type} without a name, {index} in {inner.name}"
                graph.unnamed.append(node)
            graph.nodes[node.name] = node
            for name in node.output:
                graph.makers[name] = node
            for name in node.input:
                graph.users.setdefault(name, []).append(node)
    return graph


def roles_of(graph: onnx.GraphProto) -> dict[str, str]:
    """`before` and `after` by name of the node; what is missing belongs to the layer.

    `before` is what computes with its weights and all that leads there; `after` likewise, and all
    that follows. A quantization at run time belongs to what it is for.
    """
    roles: dict[str, str] = {}
    wanted: set[str] = set()
    for node in reversed(graph.node):
        if _belongs(node, "before") or wanted.intersection(node.output):
            roles[node.name] = "before"
            wanted.update(node.input)
    reached: set[str] = set()
    for node in graph.node:
        follows = _belongs(node, "after") or reached.intersection(node.input)
        if follows and node.name not in roles:
            roles[node.name] = "after"
            reached.update(node.output)
    for node in graph.node:
        if node.op_type == "DynamicQuantizeLinear" and node.name not in roles:
            uses = [user for user in graph.node if set(node.output).intersection(user.input)]
            if uses and all(roles.get(user.name) == "after" for user in uses):
                roles[node.name] = "after"
    return roles


def _belongs(node: onnx.NodeProto, role: str) -> bool:
    """Whether a node computes with the weights of `role`, or is named after it.

    Conversions between it and its neighbour are named after it too, and belong to neither.
    """
    if any(name.startswith(f"{role}.") for name in node.input):
        return True
    return node.name.startswith(role) and node.op_type not in CONVERT


def stored_weights(model: onnx.ModelProto, weights: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The constants of the artefact that hold weights, with the types that they are stored in.

    What MatMulNBits packs into bytes has the type that was packed.
    """
    packed: dict[str, str] = {}
    for node in model.graph.node:
        if node.op_type == "MatMulNBits":
            bits = next(one.i for one in node.attribute if one.name == "bits")
            packed[node.input[1]] = f"uint{bits}"
    return [
        {
            "name": constant.name,
            "type": packed.get(constant.name, stored_type(constant.data_type)),
            "shape": list(constant.dims),
        }
        for constant in model.graph.initializer
        if any(name in constant.name for name in weights) and not SCALES.search(constant.name)
    ]
