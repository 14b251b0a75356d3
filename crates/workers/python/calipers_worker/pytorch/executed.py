"""Which operators really execute in 8 bit: a trace of one inference, not what an API says."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

KINDS = {
    "conv": "Conv",
    "linear": "Gemm",
    "addmm": "Gemm",
    "mm": "Gemm",
    "add": "Add",
    "relu": "Relu",
    "batch_norm": "BatchNormalization",
    "max_pool": "MaxPool",
    "avg_pool": "AveragePool",
    "adaptive_avg_pool": "GlobalAveragePool",
    "mean": "GlobalAveragePool",
}
"""Beginnings of PyTorch's operator names, without namespace, and the ONNX operator each is."""


@dataclass
class Executed:
    """Counts of executed operators by ONNX operator name; what is fused counts once."""

    quantized: Counter[str] = field(default_factory=Counter)
    floating: Counter[str] = field(default_factory=Counter)


def trace(model: nn.Module, example: torch.Tensor) -> Executed:
    """Run `model` once on `example` and classify what executed."""
    recorder = _Recorder()
    with torch.no_grad(), recorder:
        model(example)
    return recorder.executed


class _Recorder(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.executed = Executed()

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        output = func(*args, **(kwargs or {}))
        namespace, _, name = func._schema.name.partition("::")
        kind = _kind(name)
        if kind is not None:
            quantized = namespace == "quantized" or any(
                isinstance(value, torch.Tensor) and value.is_quantized for value in args
            )
            # A mean over quantized values dequantizes inside.
            eight_bit = quantized and name != "mean"
            counts = self.executed.quantized if eight_bit else self.executed.floating
            counts[kind] += 1
        return output


def _kind(name: str) -> str | None:
    stem = name.lstrip("_").removeprefix("native_").removeprefix("mkldnn_")
    stem = "conv" if "conv" in stem else stem
    stem = stem.removeprefix("quantized_")
    candidates = [start for start in KINDS if stem.startswith(start)]
    return KINDS[max(candidates, key=len)] if candidates else None
