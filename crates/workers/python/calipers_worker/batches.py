"""Data files: the samples of a model's inputs, their labels, and how they become batches."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from calipers_worker.errors import BadData
from calipers_worker.tensor_files import read_tensors

INPUT = "input/"
"""What stands before an input's name, in a file that names its inputs."""


class DataFile:
    """Samples in the file's order, of one of two forms.

    Images: `images` u8 [N,C,H,W] and `table` f32 [C,256], for a model of one input
    x[n,c,h,w] = table[c, images[n,c,h,w]]. Named: `input/NAME` [N,...] for each input.
    Both may have `labels` i64 [N].
    """

    def __init__(self, path: Path) -> None:
        tensors = read_tensors(path)
        self.path = path
        self.named = {
            name.removeprefix(INPUT): tensor
            for name, tensor in tensors.items()
            if name.startswith(INPUT)
        }
        if self.named:
            self._check_named()
        else:
            self._check_images(tensors)
        self._labels = tensors.get("labels")
        if self._labels is not None:
            _tensor(path, tensors, "labels", np.int64, 1)
            if self._labels.shape != (self.count,):
                raise BadData(
                    f"{path}: {self.count} samples need {self.count} labels, found "
                    f"{len(self._labels)}"
                )
        if self.count == 0:
            raise BadData(f"{path}: holds no samples")

    def _check_images(self, tensors: dict[str, np.ndarray]) -> None:
        self.images = _tensor(self.path, tensors, "images", np.uint8, 4)
        self.table = _tensor(self.path, tensors, "table", np.float32, 2)
        channels = self.images.shape[1]
        if self.table.shape != (channels, 256):
            raise BadData(
                f"{self.path}: `table` must have shape ({channels}, 256), found {self.table.shape}"
            )
        if not np.isfinite(self.table).all():
            raise BadData(f"{self.path}: `table` holds a value that is not finite")

    def _check_named(self) -> None:
        counts = {name: tensor.shape[:1] for name, tensor in self.named.items()}
        if len(set(counts.values())) != 1 or () in counts.values():
            raise BadData(f"{self.path}: inputs differ in their number of samples: {counts}")

    @property
    def count(self) -> int:
        """The number of samples."""
        return len(next(iter(self.named.values()))) if self.named else len(self.images)

    @property
    def labels(self) -> np.ndarray:
        """The class of each sample, i64 [N]; BadData where the file has none."""
        if self._labels is None:
            raise BadData(f"{self.path}: expected a tensor `labels`, which training needs")
        return self._labels

    def batch_count(self, size: int) -> int:
        """The number of batches of `size`, the smaller last one included."""
        return -(-self.count // size)

    def batches(self, size: int) -> Iterator[np.ndarray]:
        """The only input in batches in the file's order, the last one smaller: f32 [n,...]."""
        for start in range(0, self.count, size):
            yield self.floats(start, start + size)

    def labelled(self, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """As `batches`, with the labels i64 [n]."""
        for start in range(0, self.count, size):
            yield self.floats(start, start + size), self.labels[start : start + size]

    def floats(self, start: int, stop: int) -> np.ndarray:
        """The only input of the samples from `start` to before `stop`: f32 [n,...]."""
        if not self.named:
            return self._from_table(self.images[start:stop])
        if len(self.named) != 1:
            raise BadData(
                f"{self.path}: holds inputs {sorted(self.named)}, where a model of one is run"
            )
        ((name, tensor),) = self.named.items()
        if tensor.dtype != np.float32:
            raise BadData(
                f"{self.path}: input `{name}` is {tensor.dtype.name}, where float32 is needed"
            )
        return tensor[start:stop]

    def feed(self, start: int, stop: int, names: Sequence[str]) -> dict[str, np.ndarray]:
        """The inputs `names` of a model for the samples from `start` to before `stop`."""
        if not self.named:
            if len(names) != 1:
                raise BadData(f"{self.path}: holds images alone, the model's inputs are {names}")
            return {names[0]: self.floats(start, stop)}
        if missing := [name for name in names if name not in self.named]:
            raise BadData(f"{self.path}: lacks inputs {missing}, found {sorted(self.named)}")
        return {name: self.named[name][start:stop] for name in names}

    def window(self, index: int, samples: int, batch: int, names: Sequence[str]) -> dict:
        """The inputs of `batch` samples from `index` on, taken in turn from the first `samples`."""
        parts = [
            self.feed((index + offset) % samples, (index + offset) % samples + 1, names)
            for offset in range(batch)
        ]
        return {name: np.concatenate([part[name] for part in parts]) for name in names}

    def windows(self, samples: int, batch: int) -> list[np.ndarray]:
        """Batches to time: of the only input, each beginning one sample further, f32 [batch,...].

        BadData where the file has fewer than `samples`.
        """
        self.check_count(samples)
        name = next(iter(self.named), "")
        return [self.window(index, samples, batch, [name])[name] for index in range(samples)]

    def _from_table(self, images: np.ndarray) -> np.ndarray:
        output = np.empty(images.shape, np.float32)
        for channel, values in enumerate(self.table):
            output[:, channel] = values[images[:, channel]]
        return output

    def check_count(self, samples: int) -> None:
        """BadData where there are fewer than `samples`."""
        if samples > self.count:
            raise BadData(f"{self.path}: {samples} samples asked for, {self.count} found")

    def check_labels(self, classes: int) -> None:
        """BadData when a label is not in 0 .. classes - 1."""
        wrong = np.flatnonzero((self.labels < 0) | (self.labels >= classes))
        if wrong.size:
            index = int(wrong[0])
            raise BadData(
                f"{self.path}: label {self.labels[index]} of sample {index} is outside 0 to "
                f"{classes - 1}, the model's classes"
            )

    def check_shape(self, input_shape: tuple[int | None, ...]) -> None:
        """BadData when a sample is not what a model of one input of `input_shape` [N,...] takes."""
        found = self.floats(0, 1).shape[1:]
        if len(input_shape) != len(found) + 1 or any(
            want is not None and want != have
            for want, have in zip(input_shape[1:], found, strict=True)
        ):
            raise BadData(
                f"{self.path}: samples have shape {found}, the model's input is {input_shape} "
                "with the batch before"
            )


def _tensor(
    path: Path, tensors: dict[str, np.ndarray], name: str, dtype: type, rank: int
) -> np.ndarray:
    if name not in tensors:
        raise BadData(f"{path}: expected a tensor `{name}`, found {sorted(tensors)}")
    tensor = tensors[name]
    if tensor.dtype != dtype or tensor.ndim != rank:
        raise BadData(
            f"{path}: `{name}` must be {np.dtype(dtype).name} of rank {rank}, found "
            f"{tensor.dtype.name} of shape {tensor.shape}"
        )
    return tensor
