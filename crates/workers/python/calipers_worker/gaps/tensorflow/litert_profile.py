"""LiteRT's profile of a .tflite file: the kernels that it ran, by the C interface of its library.

The Python interface offers no profiler, and LiteRT's summary is the only place that names the
kernels which the XNNPACK delegate chose: `QS8`, `QC8W` and `QD8` in a name are 8-bit numbers.
"""

import ctypes
import re
from pathlib import Path
from typing import Any

import ai_edge_litert

# A kernel's row in the summary: its type, when it started, first and mean milliseconds, two shares,
# memory, how often it was called, and its name.
KERNEL_ROW = re.compile(
    r"^\s*(\S.*?)\s+[\d.]+\s+[\d.]+\s+([\d.]+)\s+[\d.]+%\s+[\d.]+%\s+([\d.]+)\s+(\d+)\s+(.*)$"
)
KERNELS_IN_ORDER = "Run Order"
LITERT_CPU = 1
LAYOUT_BYTES = 72


class NotProfiled(Exception):
    """LiteRT refused to run the file with its profiler; the message says which call did."""


class LiteRtLibrary:
    """The functions of libLiteRt.so, with their status checked."""

    def __init__(self) -> None:
        path = Path(ai_edge_litert.__file__).parent / "libLiteRt.so"
        self.library = ctypes.CDLL(str(path))
        self.c = ctypes.CDLL(None)
        self.c.strdup.restype = ctypes.c_void_p

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function that gives a status."""
        status = getattr(self.library, f"LiteRt{name}")(*arguments)
        if status:
            raise NotProfiled(f"LiteRt{name} gave status {status}")

    def make(self, name: str, *arguments: Any) -> ctypes.c_void_p:
        """Call a function whose last argument is where it puts what it made."""
        made = ctypes.c_void_p()
        self.call(name, *arguments, ctypes.byref(made))
        return made

    def options(self) -> ctypes.c_void_p:
        """Options that ask for one thread of the CPU and for a profile."""
        options = self.make("CreateOptions")
        self.call("SetOptionsHardwareAccelerators", options, LITERT_CPU)
        for name, text in (
            (b"runtime_options_string", b"enable_profiling = true\n"),
            (b"xnnpack", b"num_threads = 1\n"),
        ):
            payload = ctypes.c_void_p(self.c.strdup(text))
            free = ctypes.cast(self.c.free, ctypes.c_void_p)
            self.call(
                "AddOpaqueOptions", options, self.make("CreateOpaqueOptions", name, payload, free)
            )
        return options


def litert_buffers(
    litert: LiteRtLibrary,
    environment: ctypes.c_void_p,
    model: ctypes.c_void_p,
    compiled: ctypes.c_void_p,
    side: str,
) -> ctypes.Array[ctypes.c_void_p]:
    """Zeroed buffers for the inputs or outputs (`side`) of the model's first signature."""
    first = ctypes.c_size_t(0)
    signature = litert.make("GetModelSignature", model, first)
    count = ctypes.c_size_t()
    litert.call(f"GetNumSignature{side}s", signature, ctypes.byref(count))
    buffers = (ctypes.c_void_p * count.value)()
    for position in range(count.value):
        index = ctypes.c_size_t(position)
        tensor = litert.make(f"GetSignature{side}TensorByIndex", signature, index)
        layout = ctypes.create_string_buffer(LAYOUT_BYTES)
        litert.call("GetRankedTensorType", tensor, layout)
        needs = litert.make(f"GetCompiledModel{side}BufferRequirements", compiled, first, index)
        buffer = litert.make(
            "CreateManagedTensorBufferFromRequirements", environment, layout, needs
        )
        litert.call("ClearTensorBuffer", buffer)
        buffers[position] = buffer.value
    return buffers


def litert_summary(path: Path, runs: int) -> str:
    """LiteRT's own text on where the time of `runs` inferences of the file went."""
    litert = LiteRtLibrary()
    environment = litert.make("CreateEnvironment", 0, None)
    model = litert.make("CreateModelFromFile", environment, str(path).encode())
    compiled = litert.make("CreateCompiledModel", environment, model, litert.options())
    profiler = litert.make("CompiledModelGetProfiler", compiled)
    inputs = litert_buffers(litert, environment, model, compiled, "Input")
    outputs = litert_buffers(litert, environment, model, compiled, "Output")
    litert.call("StartProfiler", profiler)
    for _ in range(runs):
        litert.call(
            "RunCompiledModel",
            compiled,
            ctypes.c_size_t(0),
            ctypes.c_size_t(len(inputs)),
            inputs,
            ctypes.c_size_t(len(outputs)),
            outputs,
        )
    litert.call("StopProfiler", profiler)
    summary = litert.make("GetProfileSummary", profiler, compiled)
    text = ctypes.string_at(summary).decode()
    litert.c.free(summary)
    return text


def litert_kernels(path: Path) -> list[str]:
    """The kernels of one inference of the file, about in the order of execution.

    LiteRT counts kernels of the same number in two runs of the delegate as one; such a kernel, as
    one in a loop, has how often it ran behind its name.
    """
    _, _, ordered = litert_summary(path, 1).partition(KERNELS_IN_ORDER)
    kernels = []
    for row in map(KERNEL_ROW.match, ordered.split("\n\n")[0].splitlines()):
        if row:
            times = f" ({row[4]} times)" if int(row[4]) > 1 else ""
            kernels.append(row[1].removeprefix("Delegate/") + times)
    return kernels
