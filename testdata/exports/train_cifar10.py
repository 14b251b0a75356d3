"""Trains a small residual network on CIFAR-10 and exports it to ONNX: `python train_cifar10.py CIFAR10 OUT.onnx`.

Needs the packages of the workers' PyTorch environment. CIFAR10 is the folder of the binary version. Pixels become
`(pixel / 255 - mean) / deviation`, each operation rounded to float32, as `calipers_data::Normalization` has it. The
last lines say the accuracy on the 10,000 test images, by PyTorch and by ONNX Runtime on the exported file.
"""

import argparse
import contextlib
import io
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from torch import Tensor, nn
from torch.nn import functional

# By channel; what Calipers normalizes CIFAR-10 with where nothing else is asked for.
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)
BATCH = 128
FILES = [f"data_batch_{index}.bin" for index in range(1, 6)]


def read(folder: Path, names: list[str]) -> tuple[Tensor, Tensor]:
    """Normalized images `[N, 3, 32, 32]` and labels of files of records: a label, then planes of pixels."""
    records = [np.fromfile(folder / name, np.uint8).reshape(-1, 3073) for name in names]
    whole = np.concatenate(records)
    pixels = np.arange(256, dtype=np.float32) / np.float32(255)
    images = np.empty((len(whole), 3, 1024), np.float32)
    for channel in range(3):
        table = (pixels - np.float32(MEAN[channel])) / np.float32(DEVIATION[channel])
        images[:, channel] = table[whole[:, 1:].reshape(-1, 3, 1024)[:, channel]]
    labels = torch.from_numpy(whole[:, 0].astype(np.int64))
    return torch.from_numpy(images.reshape(-1, 3, 32, 32)), labels


class Residual(nn.Module):
    """Two convolutions with BatchNorm around which the input is carried, projected where shapes differ."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.projection = None
        if stride > 1 or inputs != outputs:
            self.projection = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                nn.BatchNorm2d(outputs),
            )

    def forward(self, x: Tensor) -> Tensor:
        """`relu(x + inner(x))`."""
        inner = functional.relu(self.first_norm(self.first(x)))
        carried = x if self.projection is None else self.projection(x)
        return functional.relu(carried + self.second_norm(self.second(inner)))


def network() -> nn.Module:
    """A stem that halves the extent, and three residual blocks: 12 million multiply-accumulates an image."""
    return nn.Sequential(
        nn.Conv2d(3, 32, 3, 2, 1, bias=False),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        Residual(32, 32, 1),
        Residual(32, 64, 2),
        Residual(64, 128, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, 10),
    )


def augmented(images: Tensor) -> Tensor:
    """Each image mirrored or not; the whole batch moved by up to three pixels."""
    mirrored = torch.rand(len(images), 1, 1, 1) < 0.5
    images = torch.where(mirrored, images.flip(3), images)
    down, right = torch.randint(0, 7, (2,)).tolist()
    return functional.pad(images, (3, 3, 3, 3))[
        :, :, down : down + 32, right : right + 32
    ]


def train(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    epochs: int,
    most_steps: int | None,
) -> None:
    """Momentum SGD whose rate rises for a fifth of the steps and falls linearly to zero."""
    steps = epochs * (len(images) // BATCH)
    optimizer = torch.optim.SGD(
        model.parameters(), lr=0.2, momentum=0.9, weight_decay=5e-4, nesterov=True
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / (0.2 * steps), (steps - step) / (0.8 * steps)),
    )
    start, done = time.monotonic(), 0
    model.train()
    for epoch in range(epochs):
        order = torch.randperm(len(images))
        for first in range(0, len(order) - BATCH + 1, BATCH):
            chosen = order[first : first + BATCH]
            inputs = augmented(images[chosen]).contiguous(
                memory_format=torch.channels_last
            )
            loss = functional.cross_entropy(
                model(inputs), labels[chosen], label_smoothing=0.1
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            done += 1
            if done == most_steps:
                print(
                    f"{done} steps: loss {loss.item():.3f}, {time.monotonic() - start:.0f} s"
                )
                return
        print(
            f"epoch {epoch + 1}: loss {loss.item():.3f}, {time.monotonic() - start:.0f} s",
            flush=True,
        )


def accuracy(logits: Tensor, labels: Tensor) -> float:
    """The share of samples whose largest logit is their label's."""
    return (logits.argmax(1) == labels).double().mean().item()


def export(model: nn.Module, path: Path) -> None:
    """Writes the ONNX file, with a dynamic batch axis."""
    said = io.StringIO()
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(said),
        contextlib.redirect_stderr(said),
    ):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model,
            (torch.zeros(2, 3, 32, 32),),
            path,
            input_names=["input"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
            external_data=False,
        )


def main() -> int:
    """Trains, tests, exports, and tests the file."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("cifar10", type=Path)
    arguments.add_argument("out", type=Path)
    arguments.add_argument("--epochs", type=int, default=5)
    arguments.add_argument(
        "--steps", type=int, help="stop after so many, to try the script out"
    )
    options = arguments.parse_args()
    torch.manual_seed(20)
    torch.set_num_threads(2)
    images, labels = read(options.cifar10, FILES)
    test_images, test_labels = read(options.cifar10, ["test_batch.bin"])
    model = network().to(memory_format=torch.channels_last)
    train(model, images, labels, options.epochs, options.steps)

    model.eval()
    with torch.no_grad():
        logits = torch.cat([model(part) for part in test_images.split(500)])
    print(f"test accuracy: {accuracy(logits, test_labels):.4f}")
    model = model.to(memory_format=torch.contiguous_format)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    export(model, options.out)
    session = onnxruntime.InferenceSession(
        options.out, providers=["CPUExecutionProvider"]
    )
    parts = [
        session.run(None, {"input": part.numpy()})[0] for part in test_images.split(500)
    ]
    exported = torch.from_numpy(np.concatenate(parts))
    print(f"test accuracy in ONNX Runtime: {accuracy(exported, test_labels):.4f}")
    print(f"{options.out}: {options.out.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
