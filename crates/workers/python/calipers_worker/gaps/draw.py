"""Weights and inputs from a seed: the same numbers as the program's, in a few lines of numpy."""

import numpy as np


def drawn(stream: int, shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
    """Uniform f32 in [low, high): outputs of SplitMix64 started at `stream`, 24 bits of each."""
    count = int(np.prod(shape))
    with np.errstate(over="ignore"):
        steps = np.arange(1, count + 1, dtype=np.uint64)
        z = np.uint64(stream) + steps * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    unit = (z >> np.uint64(40)).astype(np.float64) / float(1 << 24)
    return (low + unit * (high - low)).astype(np.float32).reshape(shape)


def drawn_integers(stream: int, shape: tuple[int, ...], below: int) -> np.ndarray:
    """Uniform i64 in [0, below)."""
    return np.floor(drawn(stream, shape, 0.0, 1.0).astype(np.float64) * below).astype(np.int64)
