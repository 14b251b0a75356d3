"""The protocol: JSON requests on stdin, JSON answers on the stdout that the process started with.

Knows no framework. A framework hands over its commands as functions of a request and a reporter.
"""

import contextlib
import json
import math
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypeVar

from calipers_worker.errors import BadArgument, UnknownHandle, WorkerError

STAGES = (
    "start",
    "build",
    "train",
    "prepare",
    "calibrate",
    "convert",
    "save",
    "load",
    "evaluate",
    "time",
    "profile",
)
"""Every stage that an answer may name."""

PROGRESS_INTERVAL_SECONDS = 0.1
TRACEBACK_LIMIT = 20_000

Held = TypeVar("Held")


class Request:
    """One request: its id, its command, and typed access to its arguments."""

    def __init__(self, identifier: int, command: str, arguments: Mapping[str, Any]) -> None:
        self.id = identifier
        self.command = command
        self.arguments = arguments

    def _wrong(self, name: str, expected: str) -> BadArgument:
        found = json.dumps(self.arguments[name]) if name in self.arguments else "nothing"
        return BadArgument(
            f"command `{self.command}`, argument `{name}`: expected {expected}, found {found[:200]}"
        )

    def text(self, name: str) -> str:
        """The argument `name`, which must be a non-empty string."""
        value = self.arguments.get(name)
        if not isinstance(value, str) or not value:
            raise self._wrong(name, "a string")
        return value

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        """The argument `name`, which must be one of `allowed`."""
        value = self.arguments.get(name)
        if value not in allowed:
            raise self._wrong(name, "one of " + ", ".join(f"`{word}`" for word in allowed))
        return str(value)

    def path(self, name: str) -> Path:
        """The argument `name` as a path."""
        return Path(self.text(name))

    def optional_path(self, name: str) -> Path | None:
        """The argument `name` as a path; absent or null gives None."""
        return None if self.arguments.get(name) is None else self.path(name)

    def integer(self, name: str, minimum: int = 0) -> int:
        """The argument `name`, which must be an integer of at least `minimum`."""
        value = self.arguments.get(name)
        if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
            raise self._wrong(name, f"an integer of at least {minimum}")
        return value

    def number(self, name: str, minimum: float = 0.0) -> float:
        """The argument `name`, which must be a finite number of at least `minimum`."""
        value = self.arguments.get(name)
        if not _is_number(value) or value < minimum:
            raise self._wrong(name, f"a finite number of at least {minimum}")
        return float(value)

    def learning_rates(self, steps: int) -> list[float]:
        """The argument `learning_rates`, one rate a step: one for all, or `steps` numbers."""
        value = self.arguments.get("learning_rates")
        if not isinstance(value, list) or len(value) not in (1, steps):
            raise self._wrong("learning_rates", f"a list of 1 or {steps} numbers")
        if not all(_is_number(rate) and rate >= 0 for rate in value):
            raise self._wrong("learning_rates", "finite numbers of at least 0")
        rates = [float(rate) for rate in value]
        return rates * steps if len(rates) == 1 else rates


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


class Stopwatch:
    """The time that a stage took: `seconds` runs while the stage does and stands after it."""

    def __init__(self) -> None:
        self._started = time.perf_counter()
        self._seconds: float | None = None

    @property
    def seconds(self) -> float:
        """Seconds since the start, or until the stop."""
        if self._seconds is not None:
            return self._seconds
        return time.perf_counter() - self._started

    def stop(self) -> None:
        """Fix `seconds`."""
        self._seconds = self.seconds


class Reporter:
    """Where a command says what it is doing: stages for errors, progress for people."""

    def __init__(self, channel: "Channel", identifier: int | None) -> None:
        self._channel = channel
        self._id = identifier
        self._stages: list[str] = ["start"]
        self._failure: tuple[BaseException, str] | None = None
        self._last_progress = -math.inf

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[Stopwatch]:
        """Name the stage of everything inside the block, and time it."""
        if name not in STAGES:
            raise ValueError(f"stage `{name}` is not one of {STAGES}")
        self._stages.append(name)
        watch = Stopwatch()
        try:
            yield watch
        except BaseException as error:
            if self._failure is None or self._failure[0] is not error:
                self._failure = (error, name)
            raise
        finally:
            watch.stop()
            self._stages.pop()

    def progress(self, done: int, total: int, detail: str = "") -> None:
        """Report `done` of `total` in the current stage; dropped if the last one is too young."""
        now = time.monotonic()
        if done < total and now - self._last_progress < PROGRESS_INTERVAL_SECONDS:
            return
        self._last_progress = now
        self._channel.send(
            {
                "id": self._id,
                "kind": "progress",
                "stage": self._stages[-1],
                "done": done,
                "total": total,
                "detail": detail,
            }
        )

    def stage_of(self, error: BaseException) -> str:
        """The innermost stage that `error` came from."""
        if self._failure is not None and self._failure[0] is error:
            return self._failure[1]
        return self._stages[-1]


Command = Callable[[Request, Reporter], Mapping[str, Any]]
"""Does one request and returns the result's value. Runs in the worker's only thread."""

Commands = Mapping[str, Command]


class Handles(Generic[Held]):
    """What a worker keeps between requests, by a number that it never gives out twice."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._held: dict[int, Held] = {}
        self._next = 1

    def add(self, held: Held) -> int:
        """Keep `held` and return its handle."""
        handle = self._next
        self._next += 1
        self._held[handle] = held
        return handle

    def get(self, handle: int) -> Held:
        """What `handle` stands for."""
        if handle not in self._held:
            raise UnknownHandle(
                f"{self._kind} {handle}: expected one of {sorted(self._held)}; it was never given "
                "out by this worker, or was freed already"
            )
        return self._held[handle]

    def remove(self, handle: int) -> Held:
        """Forget `handle` and return what it stood for."""
        held = self.get(handle)
        del self._held[handle]
        return held


class Channel:
    """The protocol's two ends, kept apart from the process's standard streams.

    File descriptor 1 is pointed at stderr and 0 at the null device, so that neither a library's
    print nor a child process can disturb the protocol.
    """

    def __init__(self) -> None:
        sys.stdout.flush()
        self._answers = os.fdopen(os.dup(1), "w", encoding="utf-8", newline="\n")
        self.requests = os.fdopen(os.dup(0), "r", encoding="utf-8", errors="replace")
        os.dup2(2, 1)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.close(null)

    def send(self, answer: Mapping[str, Any]) -> None:
        """Write one answer as one line; ValueError where a number is not finite."""
        line = json.dumps(answer, allow_nan=False, default=_plain)
        try:
            self._answers.write(line + "\n")
            self._answers.flush()
        except BrokenPipeError:
            # The asking process is gone: nobody is left to answer, and the unwritten line must not
            # raise again when the interpreter closes the stream.
            os._exit(1)


def _plain(value: Any) -> Any:
    if hasattr(value, "item"):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be part of an answer")


def serve(load: Callable[[], Commands]) -> int:
    """Answer requests until stdin ends or `shutdown` comes; returns the exit status.

    `load` imports the framework. It is called at the first request, after stdout was taken, and
    again at the next one when it failed, so that a missing package is an answer of stage `start`.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    channel = Channel()
    commands: Commands | None = None
    for line in channel.requests:
        if not line.strip():
            continue
        reporter = Reporter(channel, None)
        try:
            request = _parse(line)
            reporter = Reporter(channel, request.id)
            if request.command == "shutdown":
                channel.send({"id": request.id, "kind": "result", "value": {}})
                return 0
            if commands is None:
                commands = load()
            if request.command not in commands:
                known = ", ".join(sorted(commands))
                raise BadArgument(f"command `{request.command}`: expected one of {known}, shutdown")
            value = commands[request.command](request, reporter)
            channel.send({"id": request.id, "kind": "result", "value": value})
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a worker outlives any failed request
            channel.send(_describe(reporter, error))
    return 0


def _parse(line: str) -> Request:
    try:
        message = json.loads(line)
    except ValueError as error:
        raise BadArgument(f"a request must be one JSON object a line: {error}") from None
    if not isinstance(message, dict):
        raise BadArgument(f"a request must be a JSON object, found {line.strip()[:200]}")
    identifier, command = message.pop("id", None), message.pop("command", None)
    if isinstance(identifier, bool) or not isinstance(identifier, int):
        raise BadArgument("a request needs an integer `id`")
    # A command of another type is refused as unknown, under the request's own id.
    return Request(identifier, command if isinstance(command, str) else repr(command), message)


def _describe(reporter: Reporter, error: BaseException) -> dict[str, Any]:
    trace = "".join(traceback.format_exception(error))
    message = str(error) or type(error).__name__
    if isinstance(error, KeyError) and not isinstance(error, WorkerError):
        message = f"missing key {message}"
    return {
        "id": reporter._id,
        "kind": "error",
        "stage": reporter.stage_of(error),
        "type": type(error).__name__,
        "message": message,
        "traceback": trace[-TRACEBACK_LIMIT:],
    }
