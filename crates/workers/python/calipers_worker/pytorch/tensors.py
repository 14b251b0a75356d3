"""torchao's quantize_: weights become tensors of other types, which compute in their own ways."""

import torch
from torch import nn
from torchao.quantization import (
    Int8DynamicActivationInt8WeightConfig,
    Int8WeightOnlyConfig,
    IntxWeightOnlyConfig,
    PerAxis,
    quantize_,
)


def torchao_dynamic(model: nn.Module) -> nn.Module:
    """torchao, linear layers with int8 weights and activations quantized at run time."""
    quantize_(model.eval(), Int8DynamicActivationInt8WeightConfig())
    return model


def torchao_weight_only(model: nn.Module) -> nn.Module:
    """torchao, linear layers with int8 weights and float arithmetic."""
    quantize_(model.eval(), Int8WeightOnlyConfig())
    return model


def torchao_weight_only_tuned(model: nn.Module) -> nn.Module:
    """torchao, linear layers and convolutions with int8 weights and float arithmetic."""

    def takes(module: nn.Module, name: str) -> bool:  # noqa: ARG001
        # Of a depthwise convolution's weight torchao cannot take the scales.
        return isinstance(module, nn.Linear) or (
            isinstance(module, nn.Conv2d) and module.groups == 1
        )

    config = IntxWeightOnlyConfig(weight_dtype=torch.int8, granularity=PerAxis(0))
    quantize_(model.eval(), config, takes)
    return model
