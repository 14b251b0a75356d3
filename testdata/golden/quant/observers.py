"""Golden ranges, scales and zero points of PyTorch's observers.

Run with an interpreter that has torch: python observers.py > observers.json
"""

import json
import sys
import warnings

import torch
from torch.ao.quantization import (
    MinMaxObserver,
    MovingAverageMinMaxObserver,
    PerChannelMinMaxObserver,
)


def tensors(
    seed: int, shape: tuple[int, ...], offset: float, spread: float, count: int
) -> list[torch.Tensor]:
    """Seeded normal samples, each tensor wider than the one before."""
    generator = torch.Generator().manual_seed(seed)
    return [
        offset + spread * (1 + 0.3 * index) * torch.randn(shape, generator=generator)
        for index in range(count)
    ]


def as_lists(batches: list[torch.Tensor]) -> list[list[float]]:
    """The elements of each tensor in row-major order."""
    return [batch.flatten().tolist() for batch in batches]


def activations() -> list[dict[str, object]]:
    """Per-tensor observers over several tensors."""
    data = {
        "around zero": tensors(1, (2, 8), 0.0, 1.0, 4),
        "positive": tensors(2, (2, 8), 6.0, 0.7, 4),
        "negative": tensors(3, (2, 8), -9.0, 1.1, 4),
        "relu": [batch.relu() for batch in tensors(4, (2, 8), 0.3, 2.0, 4)],
        "small": tensors(5, (2, 8), 0.0, 1e-3, 4),
        "large": tensors(6, (2, 8), 1e6, 1e6, 4),
    }
    schemes = {
        "u8": (torch.quint8, torch.per_tensor_affine),
        "i8": (torch.qint8, torch.per_tensor_affine),
    }
    cases: list[dict[str, object]] = []
    for name, batches in data.items():
        for kind, observer_class in (
            ("min_max", MinMaxObserver),
            ("moving_average", MovingAverageMinMaxObserver),
        ):
            for scheme, (dtype, qscheme) in schemes.items():
                observer = observer_class(dtype=dtype, qscheme=qscheme)
                for batch in batches:
                    observer(batch)
                scale, zero_point = observer.calculate_qparams()
                cases.append(
                    {
                        "name": name,
                        "observer": kind,
                        "type": scheme,
                        "tensors": as_lists(batches),
                        "min": observer.min_val.item(),
                        "max": observer.max_val.item(),
                        "scale": scale.item(),
                        "zero_point": zero_point.item(),
                    }
                )
    return cases


def weights() -> list[dict[str, object]]:
    """Per-channel symmetric weights, quantized by `torch.quantize_per_channel`."""
    cases: list[dict[str, object]] = []
    for name, shape, axis in (
        ("conv", (5, 3, 3, 3), 0),
        ("linear", (4, 7), 0),
        ("matmul", (7, 4), 1),
    ):
        weight = tensors(7, shape, 0.01, 0.2, 1)[0]
        observer = PerChannelMinMaxObserver(
            ch_axis=axis,
            dtype=torch.qint8,
            qscheme=torch.per_channel_symmetric,
            quant_min=-127,
            quant_max=127,
        )
        observer(weight)
        scale, zero_point = observer.calculate_qparams()
        quantized = torch.quantize_per_channel(
            weight, scale, zero_point, axis, torch.qint8
        )
        cases.append(
            {
                "name": name,
                "shape": list(shape),
                "axis": axis,
                "weight": weight.flatten().tolist(),
                "scale": scale.tolist(),
                "quantized": quantized.int_repr().flatten().tolist(),
            }
        )
    return cases


def main() -> None:
    """Write the golden file to standard output."""
    warnings.simplefilter("ignore")
    golden = {
        "torch": torch.__version__,
        "activations": activations(),
        "weights": weights(),
    }
    json.dump(golden, sys.stdout, indent=1)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
