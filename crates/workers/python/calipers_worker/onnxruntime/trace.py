"""Inferences with ONNX Runtime's profiler on, joined with the optimized graph that was run."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime

from calipers_worker.gaps.onnxruntime.classes import RanGraph
from calipers_worker.gaps.onnxruntime.executed import (
    KERNEL_TIME,
    graphs_within,
    ran_graph,
    type_name,
)

BEFORE_BLOCKING = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
"""The last level that keeps tensors in ONNX's layout, without blocks of channels."""

BLOCKED_DOMAIN = "com.microsoft.nchwc"
"""The operators on blocks of channels, which pad channels to whole blocks."""

WARNINGS_OFF = 3

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Kernel:
    """One execution of one node; `microseconds` are its own, without nodes of its subgraphs."""

    node: onnx.NodeProto
    input_shapes: tuple[Shape, ...]
    output_shapes: tuple[Shape, ...]
    output_bytes: int
    microseconds: float


@dataclass(frozen=True)
class Trace:
    """The kernels of each inference in order, the wall-clock time of each, and the graph."""

    runs: tuple[tuple[Kernel, ...], ...]
    wall_nanoseconds: tuple[int, ...]
    graph: RanGraph
    constants: Mapping[str, Shape]

    @property
    def is_blocked(self) -> bool:
        """Whether something ran on blocks of channels."""
        return any(one.node.domain == BLOCKED_DOMAIN for one in self.runs[0])


def run(
    file: Path,
    options: onnxruntime.SessionOptions,
    folder: Path,
    feeds: Sequence[Mapping[str, np.ndarray]],
    outputs: list[str],
) -> Trace:
    """One inference for each of `feeds`; `folder` is for the profile and the optimized graph."""
    folder.mkdir()
    options.enable_profiling = True
    options.profile_file_prefix = str(folder / "profile")
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    # A warning that the optimized graph is for this machine alone.
    options.log_severity_level = WARNINGS_OFF
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    wall = []
    for feed in feeds:
        started = time.perf_counter_ns()
        session.run(outputs, feed)
        wall.append(time.perf_counter_ns() - started)
    events = json.loads(Path(session.end_profiling()).read_text())
    optimized = onnx.load(folder / "optimized.onnx").graph
    graph = ran_graph(optimized)
    constants = {
        one.name: tuple(one.dims) for inner in graphs_within(optimized) for one in inner.initializer
    }
    return Trace(_runs(events, graph), tuple(wall), graph, constants)


def _runs(events: list[dict[str, Any]], graph: RanGraph) -> tuple[tuple[Kernel, ...], ...]:
    """Kernels by the inference that they ran in; fills the graph's types of what was computed."""
    inferences = sorted(
        (one["ts"], one["ts"] + one["dur"]) for one in events if one["name"] == "model_run"
    )
    ran = sorted(
        (one for one in events if one["cat"] == "Node" and one["name"].endswith(KERNEL_TIME)),
        key=lambda one: (one["ts"], -one["dur"]),
    )
    own = _own_times(ran)
    nodes: dict[str, onnx.NodeProto] = {}
    runs: list[list[Kernel]] = [[] for _ in inferences]
    current = 0
    for event, microseconds in zip(ran, own, strict=True):
        while event["ts"] > inferences[current][1]:
            current += 1
        name, arguments = event["name"], event["args"]
        key = f"{name} {arguments['node_index']}"
        if key not in nodes:
            nodes[key] = graph.named(name.removesuffix(KERNEL_TIME), arguments["op_name"])
        node = nodes[key]
        for output, made in zip(
            filter(None, node.output), arguments["output_type_shape"], strict=False
        ):
            graph.types[output] = type_name(next(iter(made)))
        runs[current].append(
            Kernel(
                node,
                _shapes(arguments["input_type_shape"]),
                _shapes(arguments["output_type_shape"]),
                int(arguments["output_size"]),
                microseconds,
            )
        )
    return tuple(map(tuple, runs))


def _shapes(listed: list[dict[str, list[int]]]) -> tuple[Shape, ...]:
    return tuple(tuple(shape) for one in listed for shape in one.values())


def _own_times(ran: list[dict[str, Any]]) -> list[float]:
    """Durations without those of events inside, of events sorted by their beginning."""
    own = [float(one["dur"]) for one in ran]
    enclosing: list[int] = []
    for index, event in enumerate(ran):
        end = event["ts"] + event["dur"]
        while enclosing and ran[enclosing[-1]]["ts"] + ran[enclosing[-1]]["dur"] < end:
            enclosing.pop()
        if enclosing:
            own[enclosing[-1]] -= event["dur"]
        enclosing.append(index)
    return own
