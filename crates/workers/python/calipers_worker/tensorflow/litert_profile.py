"""LiteRT's own profile of a .tflite file: every kernel that ran, with its mean time.

Each time of each inference is in whole microseconds. The delegate cuts those of its kernels down to
that, so that a mean over inferences is no finer: it is too small by up to a microsecond.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import calipers_worker
from calipers_worker.errors import WorkerError
from calipers_worker.tensorflow.litert_session import EVENTS, IMAGES, TASK

PROFILER = "LiteRT's profiler (times of the delegate's kernels cut to whole microseconds)"
RESOLUTION_NANOSECONDS = 1000
BYTES_ARE = (
    "bytes of the output tensors of the operator that the kernel is of, from the shapes and types "
    "in the file; none for kernels that the delegate put in"
)
SESSION = "calipers_worker.tensorflow.litert_session"
SOURCES = Path(calipers_worker.__file__).resolve().parent.parent
LOG_LIMIT = 2_000


class NotProfiled(WorkerError):
    """LiteRT did not run the file with its profiler, or did not profile all of it."""


@dataclass(frozen=True)
class Kernel:
    """A kernel of one inference. `operator` is its place in the file, None in a delegate."""

    name: str
    operator: int | None
    nanoseconds: float


@dataclass(frozen=True)
class LiteRtProfile:
    """The kernels in the order of execution, means over the inferences, and their wall time."""

    kernels: list[Kernel]
    wall_nanoseconds: float


def profile(
    path: Path, images: Sequence[np.ndarray], count: int, threads: int, warm_up: int
) -> LiteRtProfile:
    """Profile `count` inferences of the file at `path` on `images` f32 [1,H,W,C] in turn."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        task = {"path": str(path.resolve()), "threads": threads, "count": count, "warm_up": warm_up}
        (folder / TASK).write_text(json.dumps(task))
        (folder / IMAGES).write_bytes(np.concatenate(images).astype(np.float32).tobytes())
        search = [str(SOURCES), os.environ.get("PYTHONPATH", "")]
        ended = subprocess.run(  # noqa: S603 - the arguments are ours
            [sys.executable, "-P", "-m", SESSION, name],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, search))},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        if ended.returncode != 0:
            log = ended.stderr.decode(errors="replace")[-LOG_LIMIT:]
            raise NotProfiled(
                f"{path}: LiteRT did not profile it (status {ended.returncode}):\n{log}"
            )
        seen = json.loads((folder / EVENTS).read_text())
    return LiteRtProfile(_mean(path, seen["kernels"], count), seen["wall"] / count)


def _mean(path: Path, kernels: Sequence[tuple[str, int | None, int]], count: int) -> list[Kernel]:
    """The kernels of one inference; NotProfiled where the inferences were not all alike."""
    length = len(kernels) // count
    names = [(name, operator) for name, operator, _ in kernels]
    if not length or names != names[:length] * count:
        raise NotProfiled(
            f"{path}: LiteRT's profiler gave {len(kernels)} kernels for {count} inferences, not "
            "the same ones for each; its buffer may be too small: profile fewer inferences"
        )
    return [
        Kernel(name, operator, 1000 * sum(one[2] for one in kernels[place::length]) / count)
        for place, (name, operator) in enumerate(names[:length])
    ]
