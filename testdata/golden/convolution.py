"""Writes testdata/golden/kernels/convolution.txt: small whole-number convolutions computed by PyTorch."""

from pathlib import Path

import torch

# Batch, input extent, kernel, stride, dilation, pad, groups, input and output channels.
SHAPES = [
    (2, (9, 8), (3, 3), (1, 1), (1, 1), (1, 1), 1, 3, 17),
    (1, (9, 5), (3, 2), (2, 1), (2, 3), (2, 3), 1, 5, 9),
    (1, (6, 6), (3, 3), (1, 1), (1, 1), (1, 1), 2, 6, 8),
    (1, (7, 6), (3, 3), (2, 2), (1, 1), (1, 1), 24, 24, 24),
]


def numbers(tensor: torch.Tensor) -> str:
    """The elements, channels last, as whole numbers."""
    if tensor.dim() == 4:
        tensor = tensor.permute(0, 2, 3, 1)
    return " ".join(str(int(x)) for x in tensor.flatten())


def main() -> None:
    """Computes every shape with a fixed seed."""
    generator = torch.Generator().manual_seed(20)
    lines = []
    for index, (
        batch,
        extent,
        kernel,
        stride,
        dilation,
        pad,
        groups,
        inputs,
        outputs,
    ) in enumerate(SHAPES):
        x = torch.randint(
            -9, 10, (batch, inputs, *extent), generator=generator
        ).double()
        weight = torch.randint(
            -3, 4, (outputs, inputs // groups, *kernel), generator=generator
        ).double()
        bias = torch.randint(-9, 10, (outputs,), generator=generator).double()
        y = torch.nn.functional.conv2d(x, weight, bias, stride, pad, dilation, groups)
        for name, tensor in (
            ("input", x),
            ("weight", weight),
            ("bias", bias),
            ("output", y),
        ):
            lines.append(f"{index}.{name}: {numbers(tensor)}\n")
    (Path(__file__).parent / "kernels" / "convolution.txt").write_text("".join(lines))


if __name__ == "__main__":
    main()
