"""Runs one probe in a forked child: its own process group, a time limit, warnings, stderr kept.

The parent has imported the framework and computed nothing, so that a child starts warm and whatever
it does to the process (a crash, a setting, a thread) is gone with it.
"""

import ctypes
import json
import math
import os
import select
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, NoReturn

from calipers_worker.gaps.stages import NoApi, Stage

LOG_LIMIT = 16_000
WARNING_LIMIT = 40
MESSAGE_LIMIT = 20_000
POLL_SECONDS = 0.5
SET_PARENT_DEATH_SIGNAL = 1

Answer = dict[str, Any]


def run(probe: Callable[[], Mapping[str, Any]], limit_seconds: float) -> Answer:
    """What came of `probe`: its answer with `outcome`, `stage`, `seconds`, `warnings` and `log`.

    `outcome` is `ran`, `failed` (with `type`, `message`, `traceback`), `no_api` (with `message`),
    `killed` (with `signal`, or `status` of a process that ended by itself) or `timed_out`.
    """
    started = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        reading, writing = os.pipe()
        parent = os.getpid()
        child = os.fork()
        if child == 0:
            os.close(reading)
            _be_the_child(probe, writing, log, parent)
        os.close(writing)
        try:
            answer = _listen(child, reading, started + limit_seconds)
        finally:
            os.close(reading)
        log.seek(0, os.SEEK_END)
        size = log.tell()
        log.seek(max(0, size - LOG_LIMIT))
        answer["log"] = log.read().decode(errors="replace")
    answer["seconds"] = time.perf_counter() - started
    return answer


def _listen(child: int, reading: int, deadline: float) -> Answer:
    """Collect the child's lines until it ends or the deadline, then make sure that it is gone."""
    received = b""
    timed_out = False
    while True:
        left = deadline - time.perf_counter()
        ready, _, _ = select.select([reading], [], [], min(max(left, 0.0), POLL_SECONDS))
        if not ready:
            # What a dead child has forked can hold its end of the pipe.
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                # It may have answered since.
                received += _what_is_there(reading)
                break
            timed_out = left <= POLL_SECONDS
            if timed_out:
                break
            continue
        part = os.read(reading, 1 << 16)
        if not part:
            break
        received += part
    if timed_out:
        _kill_group(child)
    _, status = os.waitpid(child, 0)
    # What the child started can outlive it.
    _kill_group(child)
    # A child that is killed while it writes leaves half a line.
    lines = [json.loads(line) for line in received.split(b"\n")[:-1]]
    stages = [line["stage"] for line in lines if "stage" in line]
    answer: Answer = next((line["answer"] for line in lines if "answer" in line), {})
    if not answer:
        if timed_out:
            answer["outcome"] = "timed_out"
        else:
            answer["outcome"] = "killed"
            if os.WIFSIGNALED(status):
                answer["signal"] = os.WTERMSIG(status)
            else:
                answer["status"] = os.waitstatus_to_exitcode(status)
    answer.setdefault("stage", stages[-1] if stages else "build")
    return answer


def _what_is_there(reading: int) -> bytes:
    """What a pipe holds, without waiting for more."""
    received = b""
    while select.select([reading], [], [], 0)[0] and (part := os.read(reading, 1 << 16)):
        received += part
    return received


def _kill_group(leader: int) -> None:
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _be_the_child(
    probe: Callable[[], Mapping[str, Any]], writing: int, log: IO[bytes], parent: int
) -> NoReturn:
    os.setpgid(0, 0)
    _die_with(parent)
    os.dup2(log.fileno(), 1)
    os.dup2(log.fileno(), 2)
    lines = os.fdopen(writing, "w", encoding="utf-8")

    def send(line: Mapping[str, Any]) -> None:
        lines.write(json.dumps(line) + "\n")
        lines.flush()

    Stage.listeners = (lambda name: send({"stage": name}),)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            answer: Answer = {"outcome": "ran", **probe()}
        except NoApi as error:
            answer = {"outcome": "no_api", "message": str(error)}
        except BaseException as error:  # noqa: BLE001 - whatever a framework raises is the finding
            answer = {
                "outcome": "failed",
                "type": type(error).__name__,
                "message": (str(error) or type(error).__name__)[:MESSAGE_LIMIT],
                "traceback": "".join(traceback.format_exception(error))[-MESSAGE_LIMIT:],
            }
        if answer["outcome"] != "ran":
            answer["stage"] = Stage.name
        said = [f"{one.category.__name__}: {one.message}" for one in caught]
        answer["warnings"] = list(dict.fromkeys(said))[:WARNING_LIMIT]
    send({"answer": plain(answer)})
    sys.stderr.flush()
    os._exit(0)


def plain(value: Any) -> Any:
    """`value` with numbers that JSON knows: numpy's as Python's, and those not finite as None."""
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, Path):
        return str(value)
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _die_with(parent: int) -> None:
    """End this process group when the parent dies, in the middle of foreign code too."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(POLL_SECONDS)
        os.killpg(0, signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
