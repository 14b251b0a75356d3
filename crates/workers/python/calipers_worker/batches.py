"""Data files: u8 images, labels and the table that turns bytes into the float input."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from calipers_worker.errors import BadData
from calipers_worker.tensor_files import read_tensors


class DataFile:
    """A data file: `images` u8 [N,C,H,W], `labels` i64 [N], `table` f32 [C,256].

    The float input is x[n,c,h,w] = table[c, images[n,c,h,w]]. Samples keep the file's order.
    """

    def __init__(self, path: Path) -> None:
        tensors = read_tensors(path)
        self.path = path
        self.images = _tensor(path, tensors, "images", np.uint8, 4)
        self.labels = _tensor(path, tensors, "labels", np.int64, 1)
        self.table = _tensor(path, tensors, "table", np.float32, 2)
        count, channels = self.images.shape[:2]
        if self.labels.shape != (count,):
            raise BadData(f"{path}: {count} images need {count} labels, found {len(self.labels)}")
        if self.table.shape != (channels, 256):
            raise BadData(
                f"{path}: `table` must have shape ({channels}, 256), found {self.table.shape}"
            )
        if not np.isfinite(self.table).all():
            raise BadData(f"{path}: `table` holds a value that is not finite")
        if count == 0:
            raise BadData(f"{path}: holds no images")

    @property
    def count(self) -> int:
        """The number of samples."""
        return len(self.images)

    def batch_count(self, size: int) -> int:
        """The number of batches of `size`, the smaller last one included."""
        return -(-self.count // size)

    def batches(self, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Batches in the file's order, the last one smaller: (f32 [n,C,H,W], i64 [n])."""
        for start in range(0, self.count, size):
            yield self.floats(start, start + size), self.labels[start : start + size]

    def floats(self, start: int, stop: int) -> np.ndarray:
        """The float input of the samples from `start` to before `stop`: f32 [n,C,H,W]."""
        images = self.images[start:stop]
        output = np.empty(images.shape, np.float32)
        for channel, values in enumerate(self.table):
            output[:, channel] = values[images[:, channel]]
        return output

    def sample(self, index: int) -> np.ndarray:
        """The float input of one sample as a batch of one: f32 [1,C,H,W]."""
        return self.floats(index, index + 1)

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
        """BadData when the images' [C,H,W] is not what a model of `input_shape` [N,C,H,W] takes."""
        found = self.images.shape[1:]
        if len(input_shape) != 4 or any(
            want is not None and want != have
            for want, have in zip(input_shape[1:], found, strict=True)
        ):
            raise BadData(
                f"{self.path}: images have shape {found} (C, H, W), the model's input is "
                f"{input_shape} (N, C, H, W)"
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
