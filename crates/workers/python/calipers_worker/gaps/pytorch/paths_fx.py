"""FX graph mode: traced models, observers put in by a qconfig mapping."""

import copy

import torch
from torch import nn
from torch.ao.quantization import (
    QConfigMapping,
    default_dynamic_qconfig,
    disable_observer,
    get_default_qat_qconfig_mapping,
    get_default_qconfig_mapping,
)
from torch.ao.quantization.quantize_fx import (
    convert_fx,
    convert_to_reference_fx,
    prepare_fx,
    prepare_qat_fx,
)

from calipers_worker.gaps.pytorch.paths_executed import Sample
from calipers_worker.gaps.pytorch.paths_quantized import (
    Quantized,
    calibrated,
    float_outputs,
    trained,
)
from calipers_worker.gaps.stages import stage


def path_fx(model: nn.Module, samples: list[Sample]) -> Quantized:
    """Static quantization for the engine x86."""
    return static_fx(model, samples, "x86")


def path_fx_fbgemm(model: nn.Module, samples: list[Sample]) -> Quantized:
    """Static quantization for the engine fbgemm."""
    return static_fx(model, samples, "fbgemm")


def path_fx_onednn(model: nn.Module, samples: list[Sample]) -> Quantized:
    """Static quantization for the engine onednn."""
    return static_fx(model, samples, "onednn")


def path_fx_qnnpack(model: nn.Module, samples: list[Sample]) -> Quantized:
    """Static quantization for the engine qnnpack."""
    return static_fx(model, samples, "qnnpack")


def static_fx(model: nn.Module, samples: list[Sample], engine: str) -> Quantized:
    """Post-training static quantization with the default mapping of `engine`."""
    with stage("prepare"):
        torch.backends.quantized.engine = engine
        mapping = get_default_qconfig_mapping(engine)
        prepared = prepare_fx(copy.deepcopy(model), mapping, samples[0])
    with stage("calibrate"):
        calibrated(prepared, samples)
    return converted_fx(prepared)


def converted_fx(prepared: nn.Module) -> Quantized:
    """The converted model; its reference is converted from the same observers."""
    observed = copy.deepcopy(prepared)
    with stage("convert"):
        converted = convert_fx(prepared)
    return Quantized(
        converted,
        converted,
        reference_name="convert_to_reference_fx",
        reference=lambda: convert_to_reference_fx(observed),
    )


def path_fx_qat(model: nn.Module, samples: list[Sample]) -> Quantized:
    """Quantization-aware training for the engine x86."""
    with stage("prepare"):
        torch.backends.quantized.engine = "x86"
        targets = float_outputs(model, samples)
        mapping = get_default_qat_qconfig_mapping("x86")
        prepared = prepare_qat_fx(copy.deepcopy(model).train(), mapping, samples[0])
    with stage("calibrate"):
        trained(prepared, samples, targets)
        prepared.eval()
    fake_quantized = copy.deepcopy(prepared).apply(disable_observer)
    quantized = converted_fx(prepared)
    quantized.fake_quantized = fake_quantized
    return quantized


def path_fx_dynamic(model: nn.Module, samples: list[Sample]) -> Quantized:
    """Dynamic quantization of all that takes the default dynamic qconfig."""
    with stage("prepare"):
        torch.backends.quantized.engine = "x86"
        mapping = QConfigMapping().set_global(default_dynamic_qconfig)
        prepared = prepare_fx(copy.deepcopy(model), mapping, samples[0])
    return converted_fx(prepared)
