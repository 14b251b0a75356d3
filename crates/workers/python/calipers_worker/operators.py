"""Operators in the words of the protocol: what executed, and what a profiler saw."""

from typing import Any

KINDS = (
    "convolution",
    "matrix-product",
    "recurrent",
    "embedding",
    "pooling",
    "elementwise",
    "activation",
    "normalization",
    "conversion",
    "movement",
    "other",
)
"""The kinds that profiles of all frameworks are told in."""

CLASSES = ("integer", "dynamic", "weight_only", "float", "convert", "move")
"""How an operator computes."""


def executed(
    name: str,
    kind: str,
    computes: str,
    *,
    macs: int = 0,
    weights: int = 0,
    weight_bits: int = 0,
    activation_bits: int | None = None,
) -> dict[str, Any]:
    """An operator that executes in one inference of one sample.

    `macs` are its multiply-accumulates, `weights` the elements of the constant that it multiplies
    or gathers, `weight_bits` the bits that each of these is stored in while it runs, and
    `activation_bits` those of the integers that it computes on where they are not 8.
    """
    if kind not in KINDS or computes not in CLASSES:
        raise ValueError(f"operator `{name}`: kind `{kind}`, class `{computes}`")
    return {
        "name": name,
        "kind": kind,
        "class": computes,
        "macs": int(macs),
        "weights": int(weights),
        "weight_bits": int(weight_bits),
        "activation_bits": activation_bits,
    }


def profiled(
    name: str, kind: str, *, calls: int, nanoseconds: float, memory: int | None = None
) -> dict[str, Any]:
    """An operator of a profile; numbers are of one inference, over all its calls."""
    if kind not in KINDS:
        raise ValueError(f"operator `{name}`: kind `{kind}`")
    return {
        "name": name,
        "kind": kind,
        "calls": int(calls),
        "nanoseconds": float(nanoseconds),
        "bytes": memory,
    }
