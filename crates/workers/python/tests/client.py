"""The protocol's other end for the tests: one worker process and its answers."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).resolve().parent.parent


class Failed(Exception):
    """The worker answered a request with an error."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__(f"{answer['stage']}: {answer['type']}: {answer['message']}")
        self.answer = answer


class Worker:
    """One worker process: a framework's, or one that runs `code` in its stead."""

    def __init__(self, framework: str, code: str | None = None) -> None:
        environment = {
            **os.environ,
            "CUDA_VISIBLE_DEVICES": "",
            "TF_CPP_MIN_LOG_LEVEL": "2",
            "TF_USE_LEGACY_KERAS": "1",
        }
        start = ["-m", "calipers_worker", framework] if code is None else ["-c", code]
        self.errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115 - closed with the worker
        self.process = subprocess.Popen(
            [sys.executable, *start],
            cwd=SOURCES,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self.progress: list[dict[str, Any]] = []
        self.next_id = 1

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> int:
        """End the worker's input; gives its exit status."""
        if not self.process.stdin.closed:
            self.process.stdin.close()
        status = self.process.wait(60)
        self.process.stdout.close()
        self.errors.close()
        return status

    def stderr(self) -> str:
        """What the worker wrote to stderr so far."""
        self.errors.seek(0)
        return self.errors.read()

    def send_line(self, line: str) -> dict[str, Any]:
        """Send one line as it is; gives the answer that ends the request."""
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        while True:
            line = self.process.stdout.readline()
            if not line:
                raise AssertionError(f"the worker died:\n{self.stderr()}")
            answer = json.loads(line)
            if answer["kind"] != "progress":
                return answer
            self.progress.append(answer)

    def call(self, command: str, **arguments: Any) -> dict[str, Any]:
        """The result's value; Failed for an error."""
        identifier, self.next_id = self.next_id, self.next_id + 1
        plain = {
            name: str(value) if isinstance(value, Path) else value
            for name, value in arguments.items()
        }
        line = json.dumps({"id": identifier, "command": command, **plain})
        answer = self.send_line(line)
        if answer["id"] != identifier:
            raise AssertionError(f"asked {identifier}, answered {answer}")
        if answer["kind"] == "error":
            raise Failed(answer)
        return answer["value"]
