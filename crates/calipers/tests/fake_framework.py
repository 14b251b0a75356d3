#!/usr/bin/env python3
"""An interpreter that claims to have every package, and a worker that ends badly while it trains.

What it does in `train_epoch` is told by the environment variable FAKE_TRAINING: `die` or `hang`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time


def answer(number: int, value: dict[str, object]) -> None:
    """Answer a request."""
    print(json.dumps({"id": number, "kind": "result", "value": value}), flush=True)


def fail(number: int, stage: str) -> None:
    """Answer a request with an error."""
    error = {
        "stage": stage,
        "type": "Fake",
        "message": "not in this test",
        "traceback": "",
    }
    print(json.dumps({"id": number, "kind": "error"} | error), flush=True)


def train(number: int) -> None:
    """End badly, or not at all."""
    progress = {"stage": "train", "done": 3, "total": 5, "detail": "loss 1.5"}
    print(json.dumps({"id": number, "kind": "progress"} | progress), flush=True)
    print("the last words of the worker", file=sys.stderr, flush=True)
    if os.environ["FAKE_TRAINING"] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(600)


def work() -> None:
    """Serve the protocol as far as a test needs it."""
    for line in sys.stdin:
        request = json.loads(line)
        number, command = request["id"], request["command"]
        if command == "hello":
            greeting = {
                "framework": "pytorch",
                "versions": {},
                "threads": request["threads"],
            }
            answer(number, greeting | {"pid": os.getpid()})
        elif command == "train_begin":
            answer(number, {"trainer": 1})
        elif command == "train_epoch":
            train(number)
        else:
            fail(number, "build")


if "calipers_worker" in sys.argv:
    work()
else:
    packages = dict.fromkeys(sys.argv[3:], "1.0")
    print(
        json.dumps(
            {"version": [3, 11, 0], "executable": sys.executable, "packages": packages}
        )
    )
