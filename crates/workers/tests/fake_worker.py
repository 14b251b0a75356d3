"""A worker without a framework: what it does is told by the `path` of a `load` request."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time


def say(line: str) -> None:
    """Write one line on standard output."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def complain(line: str) -> None:
    """Write one line on standard error."""
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def answer(**fields: object) -> None:
    """Write one line of answer."""
    say(json.dumps(fields))


def progress(number: int, stage: str, done: int) -> None:
    """Write one progress answer."""
    answer(
        id=number,
        kind="progress",
        stage=stage,
        done=done,
        total=3,
        detail=f"step {done}",
    )


def loaded(number: int, handle: int = 1) -> None:
    """Answer a `load` request."""
    answer(id=number, kind="result", value={"handle": handle})


def behave(number: int, how: str) -> None:
    """Carry out a `load` request in the way that `how` names."""
    if how == "steps":
        for done in range(1, 4):
            progress(number, "load", done)
        loaded(number)
    elif how == "chatter":
        for line in range(20_000):
            sys.stderr.write(f"chatter {line}\n")
        sys.stderr.flush()
        loaded(number)
    elif how == "error":
        answer(
            id=number,
            kind="error",
            stage="convert",
            type="RuntimeError",
            message="no such layer",
            traceback="at x",
        )
    elif how == "missing":
        answer(
            id=number,
            kind="error",
            stage="start",
            type="ModuleNotFoundError",
            message="No module named 'torch.ao'",
            traceback="",
        )
    elif how == "garbage":
        say("Epoch 1/3 done")
    elif how == "stranger":
        loaded(number + 100)
    elif how == "wrong result":
        answer(id=number, kind="result", value={"handle": "one"})
    elif how == "killed":
        progress(number, "prepare", 1)
        complain("the last words")
        os.kill(os.getpid(), signal.SIGKILL)
    elif how == "exit":
        progress(number, "calibrate", 2)
        sys.exit(3)
    elif how == "deaf":
        progress(number, "convert", 1)
        time.sleep(600)
    elif how == "closed":
        os.close(1)
        time.sleep(600)
    elif how == "child":
        child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        loaded(number, child.pid)
    elif how == "dies before its child":
        subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
        os.kill(os.getpid(), signal.SIGSEGV)
    elif how == "variables":
        loaded(number, int(os.environ["OMP_NUM_THREADS"]))
    else:
        sys.exit(f"unknown behaviour {how}")


def main() -> None:
    """Answer requests until the end of the input."""
    if "lifeline" in sys.argv:
        from calipers_worker import lifeline

        lifeline.hold()
    if "import" in sys.argv:
        import a_package_that_is_not_there  # noqa: F401
    for line in sys.stdin:
        request = json.loads(line)
        if request["command"] == "load":
            behave(request["id"], request["path"])
        elif request["command"] == "shutdown":
            answer(id=request["id"], kind="result", value={})
            if "lingers" not in sys.argv:
                break
        else:
            sys.exit(f"unknown command {request['command']}")
    if "trace" in sys.argv:
        complain("saw the end of the input")


main()
