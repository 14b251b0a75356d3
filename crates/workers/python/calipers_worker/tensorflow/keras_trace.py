"""TensorFlow's own trace of an inference: the kernels that its executor ran, after its rewriting.

TensorFlow fuses a convolution with what follows it under the name of the last node, so that what a
kernel computes is read from the traced function: from its node back to others that ran.
"""

import math
import re
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from calipers_worker.errors import WorkerError
from calipers_worker.operators import executed, profiled

PROFILER = "tf.profiler"
RESOLUTION_NANOSECONDS = 1
BYTES_ARE = "bytes of the operator's output tensor, from the shapes in the traced function"
TRACE_LEVEL = 3
SEEN_SHARE = 0.9
"""The share of inferences in which a node must have been seen, at least."""
KERNEL_EVENT = re.compile(r"([^\s:]+):([A-Za-z_]\w*)$")
"""An event of a kernel: its node's name and its operator."""
PRODUCTS = {
    "Conv2D": "convolution",
    "DepthwiseConv2dNative": "convolution",
    "MatMul": "matrix-product",
}
CALLS = ("PartitionedCall", "StatefulPartitionedCall")
KINDS = (
    (("Conv",), "convolution"),
    (("MatMul",), "matrix-product"),
    (("Pool", "Mean"), "pooling"),
    (("Relu", "Sigmoid", "Tanh", "Minimum", "Maximum", "ClipByValue", "Swish"), "activation"),
    (("BatchNorm", "Softmax"), "normalization"),
    (("Add", "Mul", "Sub", "RealDiv"), "elementwise"),
    (("Cast",), "conversion"),
    (
        (
            *(
                "Pad",
                "Reshape",
                "Transpose",
                "Concat",
                "Identity",
                "Slice",
                "Pack",
                "Shape",
                "Read",
            ),
            *("SpaceToBatch", "BatchToSpace"),
        ),
        "movement",
    ),
)
"""What an operator's name has in it, the first that fits, and its kind."""


class NotSeen(WorkerError):
    """A product of the traced function was not among the kernels that ran, or was so twice."""


@dataclass
class TracedKernel:
    """A kernel of the executor: its node's name, its operator, and its time without others'."""

    node: str
    operator: str
    nanoseconds: float

    @property
    def kind(self) -> str:
        """Its kind in the list that all frameworks share."""
        for words, kind in KINDS:
            if any(word in self.operator for word in words):
                return kind
        return "other"


@dataclass
class Trace:
    """The kernels of one inference in order, means over the inferences, and their wall time."""

    kernels: list[TracedKernel]
    wall_nanoseconds: float


def trace(call: Callable[[Any], Any], inputs: Sequence[Any], count: int) -> Trace:
    """Trace `count` calls on `inputs` in turn.

    TensorFlow leaves a kernel out of its traces once it has found it cheap, which takes some ninety
    calls without a trace. So `call` must be of a function that was traced from its start, but for a
    few calls.
    """
    options = tf.profiler.experimental.ProfilerOptions(
        host_tracer_level=TRACE_LEVEL, python_tracer_level=0
    )
    with tempfile.TemporaryDirectory() as folder:
        tf.profiler.experimental.start(folder, options)
        wall = 0
        try:
            for index in range(count):
                started = time.perf_counter_ns()
                call(inputs[index % len(inputs)])
                wall += time.perf_counter_ns() - started
        finally:
            tf.profiler.experimental.stop()
        (file,) = Path(folder).glob("**/*.xplane.pb")
        space = xplane_pb2.XSpace()
        space.ParseFromString(file.read_bytes())
    return Trace(_mean(_kernels(space), count), wall / count)


def _kernels(space: Any) -> list[TracedKernel]:
    """All kernels of the trace in the order in which they started."""
    found: list[tuple[int, TracedKernel]] = []
    for plane in space.planes:
        for line in plane.lines:
            running: list[tuple[int, TracedKernel]] = []
            for event in sorted(line.events, key=lambda one: (one.offset_ps, -one.duration_ps)):
                named = KERNEL_EVENT.match(plane.event_metadata[event.metadata_id].name)
                if named is None:
                    continue
                start, duration = event.offset_ps, event.duration_ps
                while running and running[-1][0] <= start:
                    running.pop()
                if running:
                    running[-1][1].nanoseconds -= duration / 1000
                kernel = TracedKernel(*named.groups(), duration / 1000)
                running.append((start + duration, kernel))
                found.append((line.timestamp_ns * 1000 + start, kernel))
    return [kernel for _, kernel in sorted(found, key=lambda one: one[0])]


def _mean(kernels: Sequence[TracedKernel], count: int) -> list[TracedKernel]:
    """One kernel a node, in the order in which nodes ran first; NotSeen where the trace lacks some.

    The executor may run nodes that do not wait for each other in another order each time. The
    profiler loses an event in some ten thousands, of those that took next to no time.
    """
    groups: dict[tuple[str, str], list[float]] = defaultdict(list)
    for kernel in kernels:
        groups[kernel.node, kernel.operator].append(kernel.nanoseconds)
    uneven = [
        f"{node} ({len(times)} times)"
        for (node, _), times in groups.items()
        if not SEEN_SHARE * count <= len(times) <= count
    ]
    if uneven or not groups:
        raise NotSeen(
            f"the trace of {count} inferences has nodes that did not run once in each: "
            f"{uneven[:5]} ({len(uneven)} in all); the trace may be full: profile fewer at a time"
        )
    return [
        TracedKernel(node, operator, sum(times) / len(times))
        for (node, operator), times in groups.items()
    ]


def executed_operators(trace: Trace, graph: Any) -> list[dict[str, Any]]:
    """The kernels of a trace of one sample by a function's `graph`, with what they multiply.

    NotSeen where a product is in a function that it calls, as Keras has XLA compile a convolution
    in groups: no trace shows what runs in it.
    """
    called = graph.as_graph_def().library.function
    if any(node.op in PRODUCTS for function in called for node in function.node_def):
        calls = [one.name for one in graph.get_operations() if one.type in CALLS]
        raise NotSeen(f"a product is in a function of its own, called by one of {calls}")
    ran = {kernel.node for kernel in trace.kernels}
    seen: list[str] = []
    operators = []
    for kernel in trace.kernels:
        products = _products(kernel.node, graph, ran)
        seen += [product.name for product in products]
        if len(products) > 1:
            names = [product.name for product in products]
            raise NotSeen(f"kernel `{kernel.node}` ({kernel.operator}) computes {names} at once")
        operators.append(_executed(kernel, products[0] if products else None))
    expected = sorted(one.name for one in graph.get_operations() if one.type in PRODUCTS)
    if sorted(seen) != expected:
        raise NotSeen(f"the traced function has the products {expected}, seen were {sorted(seen)}")
    return operators


def profiled_operators(trace: Trace, graph: Any) -> list[dict[str, Any]]:
    """The kernels of a trace, with their times and the bytes of what they make."""
    nodes = {operation.name: operation for operation in graph.get_operations()}
    return [
        profiled(
            f"{kernel.node}:{kernel.operator}",
            kernel.kind,
            calls=1,
            nanoseconds=kernel.nanoseconds,
            memory=_output_bytes(nodes.get(kernel.node)),
        )
        for kernel in trace.kernels
    ]


def _executed(kernel: TracedKernel, product: Any) -> dict[str, Any]:
    name = f"{kernel.node}:{kernel.operator}"
    if product is None:
        computes = {"conversion": "convert", "movement": "move"}.get(kernel.kind, "float")
        return executed(name, kernel.kind, computes)
    weight, made = product.inputs[1].shape, product.outputs[0].shape
    taps = {
        "Conv2D": lambda: math.prod(weight[:3]),
        "DepthwiseConv2dNative": lambda: math.prod(weight[:2]),
        "MatMul": lambda: int(product.inputs[0].shape[-1]),
    }[product.type]()
    return executed(
        name,
        PRODUCTS[product.type],
        "float",
        # The first axis is 1, or the parts of an image that a dilation takes apart.
        macs=math.prod(made) * taps,
        weights=math.prod(weight),
        weight_bits=8 * product.inputs[1].dtype.size,
    )


def _products(node: str, graph: Any, ran: set[str]) -> list[Any]:
    """The products among a node and what it reads, up to nodes that ran by themselves."""
    try:
        waiting = [graph.get_operation_by_name(node)]
    except KeyError:
        return []
    found, looked_at = [], set()
    while waiting:
        operation = waiting.pop()
        if operation.name in looked_at:
            continue
        looked_at.add(operation.name)
        if operation.type in PRODUCTS:
            found.append(operation)
        waiting += [given.op for given in operation.inputs if given.op.name not in ran]
    return found


def _output_bytes(operation: Any) -> int | None:
    """Bytes of the first output; what a normalization makes beside it serves its gradient."""
    if operation is None or not operation.outputs:
        return None
    made = operation.outputs[0]
    return made.shape.num_elements() * made.dtype.size if made.shape.is_fully_defined() else None
