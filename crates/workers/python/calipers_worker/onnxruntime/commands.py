"""The protocol's commands, done with ONNX Runtime. It trains nothing: it answers gap probes."""

import os
import platform
from importlib import metadata
from typing import Any

import onnxruntime  # noqa: F401 - hello answers only where it can be imported

from calipers_worker.gaps.command import Gaps
from calipers_worker.protocol import Commands, Reporter, Request

PACKAGES = ("onnxruntime", "numpy", "onnx", "onnx_ir", "sympy", "safetensors")


def commands() -> Commands:
    """The commands by name."""
    return {"hello": hello, **Gaps("onnxruntime").commands()}


def hello(request: Request, reporter: Reporter) -> dict[str, Any]:
    """What runs here. Threads belong to sessions in ONNX Runtime, and probes give theirs one."""
    with reporter.stage("start"):
        threads = request.integer("threads", minimum=1)
        return {
            "framework": "onnxruntime",
            "versions": {name: metadata.version(name) for name in PACKAGES},
            "python": platform.python_version(),
            "threads": threads,
            "pid": os.getpid(),
        }
