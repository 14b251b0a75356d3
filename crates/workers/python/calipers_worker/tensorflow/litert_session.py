"""Runs a .tflite file in LiteRT with its profiler, in a process that does nothing else.

`python -m calipers_worker.tensorflow.litert_session FOLDER` reads what to do from `task.json` and
`images` there, and writes `events.json`. LiteRT's profiler measures the whole heap at each event,
which takes a millisecond in a process that has imported TensorFlow, and microseconds in one that
has not; so this imports neither that nor numpy. Python has no interface to the profiler: this
speaks the C interface of LiteRT's library.
"""

import ctypes
import json
import sys
import time
from pathlib import Path
from typing import Any

from calipers_worker.gaps.tensorflow.litert_profile import (
    LAYOUT_BYTES,
    LITERT_CPU,
    LiteRtLibrary,
    NotProfiled,
)

TASK, IMAGES, EVENTS = "task.json", "images", "events.json"
BUILTIN, DELEGATED = 2, 8
"""Types of events: an operator's built-in kernel, and a kernel of the delegate."""
READ, WRITE = 0, 1
"""Modes of locking a buffer."""
FLOAT32 = 1
FLOAT32_BYTES = 4


class Event(ctypes.Structure):
    """ProfiledEventData of LiteRT's C interface."""

    _fields_ = (
        ("tag", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("start_microseconds", ctypes.c_uint64),
        ("elapsed_microseconds", ctypes.c_uint64),
        ("memory_before", ctypes.c_uint64 * 3),
        ("memory_after", ctypes.c_uint64 * 3),
        ("index", ctypes.c_uint64),
        ("metadata", ctypes.c_uint64),
        ("source", ctypes.c_int),
    )


class Layout(ctypes.Structure):
    """LiteRtRankedTensorType: the type of a tensor's elements, and its dimensions."""

    _fields_ = (
        ("element_type", ctypes.c_int),
        ("rank", ctypes.c_uint32, 7),
        ("has_strides", ctypes.c_uint32, 1),
        ("dimensions", ctypes.c_int32 * 8),
        ("strides", ctypes.c_uint32 * 8),
    )


class Buffer:
    """The only input's or output's memory, f32 with a batch of one."""

    def __init__(self, library: LiteRtLibrary, handle: ctypes.c_void_p, layout: Layout) -> None:
        self.library, self.handle = library, handle
        self.bytes = FLOAT32_BYTES
        for size in layout.dimensions[: layout.rank]:
            self.bytes *= size
        self.argument = (ctypes.c_void_p * 1)(handle.value)

    def copy(self, mode: int, memory: ctypes.Array[ctypes.c_char]) -> None:
        """Copy `memory` to the buffer to WRITE, the buffer to `memory` to READ."""
        address = ctypes.c_void_p()
        self.library.call("LockTensorBuffer", self.handle, ctypes.byref(address), mode)
        target, source = (address, memory) if mode == WRITE else (memory, address)
        ctypes.memmove(target, source, self.bytes)
        self.library.call("UnlockTensorBuffer", self.handle)


class Session:
    """A compiled file with one input and one output."""

    def __init__(self, path: str, threads: int) -> None:
        self.library = LiteRtLibrary()
        make = self.library.make
        self.environment = make("CreateEnvironment", 0, None)
        self.model = make("CreateModelFromFile", self.environment, path.encode())
        self.compiled = make(
            "CreateCompiledModel", self.environment, self.model, self._options(threads)
        )
        self.profiler = make("CompiledModelGetProfiler", self.compiled)
        self.input, self.output = self._buffer("Input"), self._buffer("Output")

    def _options(self, threads: int) -> ctypes.c_void_p:
        options = self.library.make("CreateOptions")
        self.library.call("SetOptionsHardwareAccelerators", options, LITERT_CPU)
        free = ctypes.cast(self.library.c.free, ctypes.c_void_p)
        for name, text in (
            (b"runtime_options_string", "enable_profiling = true\n"),
            (b"xnnpack", f"num_threads = {threads}\n"),
        ):
            payload = ctypes.c_void_p(self.library.c.strdup(text.encode()))
            made = self.library.make("CreateOpaqueOptions", name, payload, free)
            self.library.call("AddOpaqueOptions", options, made)
        return options

    def _buffer(self, side: str) -> Buffer:
        make, first = self.library.make, ctypes.c_size_t(0)
        signature = make("GetModelSignature", self.model, first)
        tensor = make(f"GetSignature{side}TensorByIndex", signature, first)
        layout = Layout()
        if ctypes.sizeof(layout) != LAYOUT_BYTES:
            raise NotProfiled("a tensor's layout is not what LiteRT's interface has")
        self.library.call("GetRankedTensorType", tensor, ctypes.byref(layout))
        if layout.element_type != FLOAT32:
            raise NotProfiled(f"the file's {side.lower()} is not float32")
        # An open batch is -1, which no buffer can be made for.
        layout.dimensions[0] = 1
        needs = make(f"GetCompiledModel{side}BufferRequirements", self.compiled, first, first)
        handle = make(
            "CreateManagedTensorBufferFromRequirements",
            self.environment,
            ctypes.byref(layout),
            needs,
        )
        return Buffer(self.library, handle, layout)

    def run(self, image: ctypes.Array[ctypes.c_char], output: ctypes.Array[ctypes.c_char]) -> None:
        """One inference, from memory to memory."""
        self.input.copy(WRITE, image)
        first, one = ctypes.c_size_t(0), ctypes.c_size_t(1)
        ends = (one, self.input.argument, one, self.output.argument)
        self.library.call("RunCompiledModel", self.compiled, first, *ends)
        self.output.copy(READ, output)

    def kernels(self) -> list[tuple[str, int | None, int]]:
        """Name, place in the file where it is built in, and microseconds, in their order."""
        count = ctypes.c_int()
        self.library.call("GetNumProfilerEvents", self.profiler, ctypes.byref(count))
        events = (Event * count.value)()
        if count.value:
            self.library.call("GetProfilerEvents", self.profiler, count, events)
        return [
            (
                event.tag.decode(),
                event.index if event.type == BUILTIN else None,
                event.elapsed_microseconds,
            )
            for event in events
            if event.type in (BUILTIN, DELEGATED)
        ]


def main(folder: Path) -> None:
    """Do the task in `folder`."""
    task: dict[str, Any] = json.loads((folder / TASK).read_text())
    session = Session(task["path"], task["threads"])
    content, size = (folder / IMAGES).read_bytes(), session.input.bytes
    images = [
        ctypes.create_string_buffer(content[start : start + size], size)
        for start in range(0, len(content), size)
    ]
    output = ctypes.create_string_buffer(session.output.bytes)
    for index in range(task["warm_up"]):
        session.run(images[index % len(images)], output)
    session.library.call("StartProfiler", session.profiler)
    wall = 0
    for index in range(task["count"]):
        started = time.perf_counter_ns()
        session.run(images[index % len(images)], output)
        wall += time.perf_counter_ns() - started
    session.library.call("StopProfiler", session.profiler)
    (folder / EVENTS).write_text(json.dumps({"wall": wall, "kernels": session.kernels()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
