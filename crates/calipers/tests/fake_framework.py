#!/usr/bin/env python3
"""An interpreter that claims to have every package, and a worker that answers by the protocol.

What it does in `train_epoch` is told by the environment variable FAKE_TRAINING: `die` or `hang` end
badly, `train` pretends to train. Then everything else is pretended, too: weights are those of the
file FAKE_WEIGHTS, logits a function of the position of the sample. FAKE_DEVICE is an accelerator
that it claims to see where the launch lets it see any, and FAKE_VERSION the version of its packages
that the worker reports.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import struct
import sys
import time
from pathlib import Path

CLASSES = 10


def write_safetensors(
    path: Path, name: str, shape: list[int], floats: list[float]
) -> None:
    """Write one f32 tensor, whole or not at all."""
    data = struct.pack(f"<{len(floats)}f", *floats)
    header = json.dumps(
        {name: {"dtype": "F32", "shape": shape, "data_offsets": [0, len(data)]}}
    )
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(struct.pack("<Q", len(header)) + header.encode() + data)
    part.replace(path)


def samples_of(path: str) -> int:
    """Count the samples of a data file."""
    content = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", content[:8])
    return int(json.loads(content[8 : 8 + length])["labels"]["shape"][0])


class Fake:
    """The state of the worker: trainers by handle, each the number of epochs that it has done."""

    def __init__(self) -> None:
        self.trainers: dict[int, int] = {}

    def answer(self, command: str, request: dict) -> dict:
        """Give the result of a command."""
        return getattr(self, command)(request)

    def hello(self, request: dict) -> dict:
        """Say who answers."""
        hidden = os.environ.get("CUDA_VISIBLE_DEVICES") == ""
        device = os.environ.get("FAKE_DEVICE")
        versions = {"torch": os.environ.get("FAKE_VERSION", "1.0")}
        return {
            "framework": "pytorch",
            "versions": versions,
            "threads": request["threads"],
            "pid": os.getpid(),
            "devices": [device] if device and not hidden else [],
        }

    def train_begin(self, _request: dict) -> dict:
        """Begin a training."""
        handle = len(self.trainers) + 1
        self.trainers[handle] = 0
        return {"trainer": handle}

    def train_epoch(self, request: dict) -> dict:
        """Train, or end badly."""
        mode = os.environ["FAKE_TRAINING"]
        if mode != "train":
            progress = {"stage": "train", "done": 3, "total": 5, "detail": "loss 1.5"}
            print(
                json.dumps({"id": request["id"], "kind": "progress"} | progress),
                flush=True,
            )
            print("the last words of the worker", file=sys.stderr, flush=True)
            if mode == "die":
                os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(600)
        self.trainers[request["trainer"]] += 1
        done = self.trainers[request["trainer"]]
        return {
            "steps": 1,
            "loss": 1.0 / done,
            "accuracy": 0.5,
            "seconds": 0.1,
            "step_seconds": [0.1],
        }

    def train_save(self, request: dict) -> dict:
        """Write how many epochs are done."""
        done = float(self.trainers[request["trainer"]])
        write_safetensors(Path(request["output"]), "done", [1], [done])
        return {}

    def train_restore(self, request: dict) -> dict:
        """Take over how many epochs are done."""
        content = Path(request["input"]).read_bytes()
        self.trainers[request["trainer"]] = int(struct.unpack("<f", content[-4:])[0])
        return {}

    def train_state(self, request: dict) -> dict:
        """Write the weights that the test gave."""
        output = Path(request["output"])
        part = output.with_name(f".{output.name}.part")
        shutil.copyfile(os.environ["FAKE_WEIGHTS"], part)
        part.replace(output)
        return {}

    def train_drop(self, request: dict) -> dict:
        """Forget a training."""
        del self.trainers[request["trainer"]]
        return {}

    def train_finish(self, request: dict) -> dict:
        """Save a training."""
        return self.saved(request) | {"convert_seconds": 0.1}

    def logits(self, request: dict) -> dict:
        """Write logits."""
        return self.write_logits(request)

    def save_float(self, request: dict) -> dict:
        """Save something."""
        return self.saved(request)

    def quantize(self, request: dict) -> dict:
        """Save something, with the times of making it."""
        times = dict.fromkeys(
            ("prepare_seconds", "calibrate_seconds", "convert_seconds"), 0.1
        )
        return self.saved(request) | times | {"samples": 1}

    def saved(self, request: dict) -> dict:
        """Write the artefact."""
        folder = Path(request["artefact"])
        write_safetensors(folder / "model.bin", "weights", [2], [1.0, 2.0])
        return {"file": "model.bin", "file_bytes": 80, "recipe": "save()\n"}

    def load(self, _request: dict) -> dict:
        """Load nothing."""
        return {"handle": 1}

    def read_operators(self, _request: dict) -> dict:
        """Tell of one operator."""
        product = {"name": "conv", "kind": "convolution", "macs": 100, "weights": 10}
        return {"operators": [product | {"class": "integer", "weight_bits": 8}]}

    def evaluate(self, request: dict) -> dict:
        """Write logits."""
        return self.write_logits(request) | {"seconds": 0.1}

    def write_logits(self, request: dict) -> dict:
        """Write logits in which sample n decides for class n mod 10."""
        samples = samples_of(request["data"])
        logits = [
            float(sample % CLASSES == value)
            for sample in range(samples)
            for value in range(CLASSES)
        ]
        write_safetensors(Path(request["output"]), "logits", [samples, CLASSES], logits)
        return {}

    def read_weights(self, request: dict) -> dict:
        """Tell of one tensor."""
        write_safetensors(Path(request["output"]), "weights", [1, 2], [1.0, 2.0])
        tensor = {"name": "weights", "type": "float32", "shape": [1, 2], "bytes": 8}
        return {"tensors": [tensor]}

    def time(self, request: dict) -> dict:
        """Give times."""
        return {"nanoseconds": [1_000_000 * request["batch"]] * request["count"]}

    def profile(self, _request: dict) -> dict:
        """Give a profile of one operator."""
        return {
            "profiler": "none",
            "resolution_nanoseconds": 1,
            "wall_nanoseconds": 10.0,
            "bytes_are": "",
            "operators": [
                {"name": "conv", "kind": "convolution", "calls": 1, "nanoseconds": 9.0}
            ],
        }

    def unload(self, _request: dict) -> dict:
        """Forget nothing."""
        return {}


def work() -> None:
    """Serve the protocol until the requests end."""
    fake = Fake()
    for line in sys.stdin:
        request = json.loads(line)
        command = request["command"]
        if command == "shutdown":
            print(
                json.dumps({"id": request["id"], "kind": "result", "value": {}}),
                flush=True,
            )
            return
        answer = {"kind": "result", "value": fake.answer(command, request)}
        print(json.dumps({"id": request["id"]} | answer), flush=True)


if "calipers_worker" in sys.argv:
    work()
else:
    packages = dict.fromkeys(sys.argv[3:], "1.0")
    print(
        json.dumps(
            {
                "version": [3, 11, 0],
                "executable": sys.executable,
                "packages": packages,
            }
        )
    )
