"""torchao's quantize_: linear layers' weights become tensors that compute in other ways."""

import copy

import torch
from torch import nn
from torchao.core.config import AOBaseConfig
from torchao.prototype.quantization.int4 import PrototypeInt4WeightOnlyConfig
from torchao.quantization import (
    Int8DynamicActivationInt8WeightConfig,
    Int8WeightOnlyConfig,
    quantize_,
)
from torchao.utils import TorchAOBaseTensor

from calipers_worker.gaps.pytorch.paths_executed import Sample
from calipers_worker.gaps.pytorch.paths_quantized import Quantized, dequantized
from calipers_worker.gaps.stages import stage


def path_torchao_int8_dynamic(model: nn.Module, samples: list[Sample]) -> Quantized:  # noqa: ARG001
    """Int8 weights, activations quantized at run time for each row."""
    quantized = with_torchao(model, Int8DynamicActivationInt8WeightConfig())

    def reference() -> nn.Module:
        copied = dequantized(model, quantized)
        for name, module in quantized.named_modules():
            if isinstance(getattr(module, "weight", None), TorchAOBaseTensor):
                copied.get_submodule(name).register_forward_pre_hook(rows_in_8_bits)
        return copied

    return Quantized(
        quantized,
        quantized,
        reference_name="the float model with dequantized weights and fake-quantized rows",
        reference=reference,
    )


def rows_in_8_bits(module: nn.Module, arguments: Sample) -> Sample:  # noqa: ARG001
    """Forward pre-hook: every row of the input rounded to 8 bits around zero, in float."""
    rows = arguments[0].reshape(-1, arguments[0].shape[-1])
    scale = (rows.abs().amax(1) / 127.5).clamp(min=torch.finfo(torch.float32).eps)
    zero = torch.zeros(len(rows), dtype=torch.int32)
    rounded = torch.fake_quantize_per_channel_affine(rows, scale, zero, 0, -128, 127)
    return (rounded.reshape(arguments[0].shape),)


def path_torchao_int8_weight_only(model: nn.Module, samples: list[Sample]) -> Quantized:  # noqa: ARG001
    """Int8 weights, float arithmetic."""
    quantized = with_torchao(model, Int8WeightOnlyConfig())
    return Quantized(
        quantized,
        quantized,
        reference_name="the float model with dequantized weights",
        reference=lambda: dequantized(model, quantized),
    )


def path_torchao_int4_weight_only(model: nn.Module, samples: list[Sample]) -> Quantized:  # noqa: ARG001
    """Int4 weights in groups of 32, float arithmetic: the prototype.

    Of Int4WeightOnlyConfig no packing format works on CPUs, and the prototype's tensor has no
    float form.
    """
    quantized = with_torchao(model, PrototypeInt4WeightOnlyConfig(group_size=32))
    return Quantized(quantized, quantized)


def with_torchao(model: nn.Module, config: AOBaseConfig) -> nn.Module:
    """The model after quantize_ with its default choice of layers."""
    with stage("convert"):
        quantized = copy.deepcopy(model)
        quantize_(quantized, config)
    return quantized
