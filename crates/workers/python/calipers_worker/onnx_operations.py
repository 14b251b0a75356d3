"""The operations that frameworks build natively, each with what it takes to build it."""

from dataclasses import dataclass

Pair = tuple[int, int]
Shape = tuple[int | None, ...]
"""A value's shape; None is a symbolic or unknown dimension."""


@dataclass(frozen=True)
class Conv:
    """2-d convolution; `weight` is [out, in / groups, kh, kw], padding is symmetric zeros."""

    weight: str
    bias: str | None
    in_channels: int
    out_channels: int
    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int


@dataclass(frozen=True)
class BatchNorm:
    """Normalisation over the channels of [N,C,H,W].

    `momentum` is ONNX's: running <- momentum running + (1 - momentum) batch.
    """

    scale: str
    bias: str
    mean: str
    variance: str
    channels: int
    epsilon: float
    momentum: float


@dataclass(frozen=True)
class Relu:
    """max(x, 0)."""


@dataclass(frozen=True)
class MaxPool:
    """Maximum over windows; padding is symmetric and never the maximum."""

    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair


@dataclass(frozen=True)
class AveragePool:
    """Mean over windows; padding is symmetric zeros."""

    kernel: Pair
    stride: Pair
    padding: Pair
    count_include_pad: bool


@dataclass(frozen=True)
class GlobalAveragePool:
    """Mean over H and W, which stay as dimensions of 1."""


@dataclass(frozen=True)
class Add:
    """Sum of two values of one shape."""


@dataclass(frozen=True)
class Flatten:
    """[N, ...] to [N, K], in the order of the input's [C,H,W]."""


@dataclass(frozen=True)
class Linear:
    """x W^T + b. `weight` is [out, in] in the file, or [in, out] where `weight_is_in_out`."""

    weight: str
    bias: str | None
    in_features: int
    out_features: int
    weight_is_in_out: bool


@dataclass(frozen=True)
class Clip:
    """min(max(x, minimum), maximum); a bound that the file lacks is infinite."""

    minimum: float
    maximum: float


@dataclass(frozen=True)
class HardSwish:
    """x min(max(x + 3, 0), 6) / 6."""


@dataclass(frozen=True)
class HardSigmoid:
    """min(max(alpha x + beta, 0), 1)."""

    alpha: float
    beta: float


@dataclass(frozen=True)
class Sigmoid:
    """1 / (1 + exp(-x))."""


@dataclass(frozen=True)
class Tanh:
    """The hyperbolic tangent of x."""


@dataclass(frozen=True)
class LeakyRelu:
    """x where it is positive, else slope x."""

    slope: float


@dataclass(frozen=True)
class Multiply:
    """Product of two values of one shape, or of [N,C,H,W] and [N,C,1,1] in either order."""


@dataclass(frozen=True)
class Concat:
    """Two or more values joined along axis 1, the channels."""


@dataclass(frozen=True)
class Softmax:
    """exp(x) over its sum along the last axis of [N, K]."""


Operation = (
    Conv
    | BatchNorm
    | Relu
    | MaxPool
    | AveragePool
    | GlobalAveragePool
    | Add
    | Flatten
    | Linear
    | Clip
    | HardSwish
    | HardSigmoid
    | Sigmoid
    | Tanh
    | LeakyRelu
    | Multiply
    | Concat
    | Softmax
)


@dataclass(frozen=True)
class Layer:
    """One operation on values. `name` is a unique Python identifier made from the node's name."""

    name: str
    node: str
    inputs: tuple[str, ...]
    output: str
    operation: Operation
