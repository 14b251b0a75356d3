"""Operator profiles of a loaded artefact, by torch.profiler."""

import math
import time
from collections import defaultdict
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from calipers_worker.operators import profiled
from calipers_worker.pytorch.deployed import Deployed, OnGpu
from calipers_worker.pytorch.kinds import kind_of

BYTES_ARE = (
    "memory that the operator allocated and had not freed when it ended, on the device where it "
    "computed"
)
RESOLUTION_NANOSECONDS = 1
"""Kineto's records are in whole nanoseconds."""

_COPY = "aten::to"
"""What on a GPU copies from memory and back, without another type; on a CPU it changes types."""


def profile_of(deployed: Deployed, inputs: list[torch.Tensor], count: int) -> dict[str, Any]:
    """The answer to `profile`: means over `count` inferences, after as many that are not seen."""
    operators = deployed.operators
    watched = deployed.for_profile()
    on_gpu = isinstance(deployed, OnGpu)
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if on_gpu else [])
    clock = time.perf_counter_ns
    wall = 0
    with watched.without_gradients():
        for index in range(count):
            watched(inputs[index % len(inputs)])
        with profile(activities=activities, profile_memory=True) as recorded:
            for index in range(count):
                started = clock()
                watched(inputs[index % len(inputs)])
                wall += clock() - started
    calls: dict[str, list[Any]] = defaultdict(list)
    for event in _operators(recorded.events()):
        calls[_name(event.name)].append(event)
    rows: dict[tuple[str, str], _Row] = {}
    for name, events in calls.items():
        kinds = kinds_of(name, operators, len(events), count, on_gpu=on_gpu)
        for event, kind in zip(events, kinds, strict=True):
            rows.setdefault((name, kind), _Row()).add(event, on_gpu=on_gpu)
    return {
        "profiler": "torch.profiler" + (", times of the GPU's kernels" if on_gpu else ""),
        "resolution_nanoseconds": RESOLUTION_NANOSECONDS,
        "wall_nanoseconds": wall / count,
        "bytes_are": BYTES_ARE,
        "operators": [
            row.answer(name, kind, count)
            for (name, kind), row in sorted(rows.items(), key=lambda one: one[1].first)
        ],
    }


class _Row:
    """Sums over all calls of one operator."""

    def __init__(self) -> None:
        self.calls, self.microseconds, self.bytes = 0, 0.0, 0
        self.first = math.inf

    def add(self, event: Any, *, on_gpu: bool) -> None:
        """Count a call, with what was called inside it."""
        self.first = min(self.first, event.time_range.start)
        self.calls += 1
        self.microseconds += event.device_time_total if on_gpu else event.cpu_time_total
        self.bytes += event.device_memory_usage if on_gpu else event.cpu_memory_usage

    def answer(self, name: str, kind: str, count: int) -> dict[str, Any]:
        """The row of one inference."""
        return profiled(
            name,
            kind,
            calls=round(self.calls / count),
            nanoseconds=1000 * self.microseconds / count,
            memory=max(0, round(self.bytes / count)),
        )


def kinds_of(
    name: str, logged: list[dict[str, Any]], calls: int, count: int, *, on_gpu: bool
) -> list[str]:
    """The kinds of the calls of an operator in `count` inferences, in their order.

    The log of one inference says them, one by one where each call in it was profiled too. Else
    some of its calls were inside other operators, and it says what they all are or nothing.
    """
    if on_gpu and name == _COPY:
        return ["movement"] * calls
    kinds = [one["kind"] for one in logged if one["name"] == name]
    if len(kinds) * count == calls:
        return kinds * count
    return [kinds[0] if len(set(kinds)) == 1 else kind_of(name)] * calls


def _operators(events: list[Any]) -> list[Any]:
    """Operators that no other operator called, in the order in which they began."""
    found = []
    for event in events:
        if event.device_type != torch.autograd.DeviceType.CPU or not _is_operator(event.name):
            continue
        parent = event.cpu_parent
        while parent is not None and not _is_operator(parent.name):
            parent = parent.cpu_parent
        if parent is None:
            found.append(event)
    return sorted(found, key=lambda event: event.time_range.start)


def _is_operator(name: str) -> bool:
    return "::" in name or "cpp_fused" in name


def _name(name: str) -> str:
    """A generated kernel's name without the number of its graph."""
    _, fused, rest = name.partition("cpp_fused")
    return fused + rest if fused else name
