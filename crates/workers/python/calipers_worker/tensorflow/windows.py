"""Sliding windows: how ONNX's explicit pads are said in the words of TensorFlow's layers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """The window of one spatial axis; all numbers count elements of that axis."""

    size: int
    kernel: int
    stride: int
    dilation: int
    before: int
    after: int

    @property
    def reach(self) -> int:
        """The number of elements from the window's first to its last."""
        return (self.kernel - 1) * self.dilation + 1

    @property
    def output(self) -> int:
        """The number of windows, ONNX's floor form."""
        return (self.size + self.before + self.after - self.reach) // self.stride + 1

    @property
    def same(self) -> tuple[int, int]:
        """What TensorFlow's `same` pads before and after: `ceil(size / stride)` windows."""
        windows = -(-self.size // self.stride)
        total = max((windows - 1) * self.stride + self.reach - self.size, 0)
        return total // 2, total - total // 2

    @property
    def is_valid(self) -> bool:
        """Whether nothing is padded."""
        return (self.before, self.after) == (0, 0)

    @property
    def is_same(self) -> bool:
        """Whether the pads are those of TensorFlow's `same`."""
        return (self.before, self.after) == self.same


@dataclass(frozen=True)
class Crop:
    """What to drop of a stride-1 `same` window's outputs before every stride-th is taken."""

    before: int
    after: int


def crop_of_dense_windows(axis: Axis) -> Crop | None:
    """The crop that turns all stride-1 `same` windows into those of `axis`, or None.

    Window o of `axis` begins at element `o stride - before`; `same` window j with stride 1 begins
    at `j - (reach - 1) // 2`. None where a window of `axis` lies too far outside for that.
    """
    first = (axis.reach - 1) // 2 - axis.before
    last = first + (axis.output - 1) * axis.stride
    if first < 0 or last >= axis.size:
        return None
    return Crop(before=first, after=axis.size - 1 - last)
