"""The outer half of a stand-alone script: runs the probe as a child, and says what came of it.

A script begins with this half, which needs the standard library alone; the child goes on to the
half that imports the framework.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from calipers_worker.gaps.judge import judge
from calipers_worker.gaps.stages import NoApi, Stage

CHILD = "--probe"
ANSWER = "ANSWER "


def reproduce(
    scheme: str,
    explained: float,
    own_constants: list[int],
    smallest_constant: int,
    comparable: float | None,
    promised: tuple[str, ...],
    limit_seconds: float = 240.0,
) -> int:
    """Run this script once more as the probe; 0 if its state is one of `promised`, else 1."""
    environment = {
        **os.environ,
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "TF_USE_LEGACY_KERAS": "1",
    }
    try:
        child = subprocess.run(
            [sys.executable, sys.argv[0], CHILD],
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            timeout=limit_seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        print(f"times out: no end after {limit_seconds:.0f} s")
        return 1
    answers = [line for line in child.stdout.splitlines() if line.startswith(ANSWER)]
    if child.returncode < 0:
        print(f"process killed by signal {-child.returncode}")
        return 1
    if not answers:
        print(f"the probe ended with status {child.returncode} and no answer")
        return 1
    answer = json.loads(answers[-1].removeprefix(ANSWER))
    if "state" in answer:
        print(answer["state"])
        return 1
    state = judge(answer, scheme, explained, own_constants, smallest_constant, comparable)
    for one in answer["operators"]:
        if one["role"] == "layer":
            print(f"  {one['class']:<12} {one['name']}  {', '.join(one['inputs'])}")
    error, extent = answer["max_error"], answer["float_range"]
    print(f"largest error {error}, range of the float outputs {extent}")
    print(f"{state}: {'no gap' if state in promised else 'the gap is there'}")
    return 0 if state in promised else 1


def answer_of(probe: Callable[[], dict[str, Any]]) -> None:
    """The child's part: run the probe and print its answer, or how it failed."""
    try:
        answer = probe()
    except NoApi as error:
        answer = {"state": f"no API: {error}"}
    except Exception as error:  # noqa: BLE001 - whatever a framework raises is the finding
        words = " ".join(str(error).split())[:500]
        answer = {"state": f"fails at {Stage.name}: {type(error).__name__}: {words}"}
    print(ANSWER + json.dumps(answer, default=lambda value: value.item()), flush=True)
