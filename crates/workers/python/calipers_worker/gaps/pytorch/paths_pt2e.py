"""PT2E: exported graphs, annotated for x86 by torchao, compiled by Inductor with frozen weights."""

import copy

import torch
from torch import nn
from torch._inductor.utils import run_and_get_code
from torchao.quantization.pt2e import (
    disable_observer,
    move_exported_model_to_eval,
    move_exported_model_to_train,
)
from torchao.quantization.pt2e.quantize_pt2e import (
    convert_pt2e,
    prepare_pt2e,
    prepare_qat_pt2e,
)
from torchao.quantization.pt2e.quantizer.x86_inductor_quantizer import (
    X86InductorQuantizer,
    get_default_x86_inductor_quantization_config,
)

from calipers_worker.gaps.pytorch.paths_compiled import trace_compiled
from calipers_worker.gaps.pytorch.paths_executed import Sample
from calipers_worker.gaps.pytorch.paths_quantized import (
    Quantized,
    calibrated,
    float_outputs,
    trained,
)
from calipers_worker.gaps.stages import stage


def path_pt2e(model: nn.Module, samples: list[Sample]) -> Quantized:
    """Static quantization."""
    return compiled_pt2e(model, calibrated_pt2e(model, samples), samples)


def path_pt2e_dynamic(model: nn.Module, samples: list[Sample]) -> Quantized:
    """Dynamic quantization."""
    return compiled_pt2e(model, calibrated_pt2e(model, samples, is_dynamic=True), samples)


def path_pt2e_not_compiled(model: nn.Module, samples: list[Sample]) -> Quantized:
    """Static quantization up to the converted graph: the control that must not count as integer."""
    prepared = calibrated_pt2e(model, samples)
    with stage("convert"):
        converted = convert_pt2e(prepared)
    return Quantized(converted, converted)


def calibrated_pt2e(
    model: nn.Module, samples: list[Sample], *, is_dynamic: bool = False
) -> nn.Module:
    """The exported graph with observers that have seen the samples."""
    with stage("prepare"):
        exported = torch.export.export(model, samples[0]).module()
        config = get_default_x86_inductor_quantization_config(is_dynamic=is_dynamic)
        prepared = prepare_pt2e(exported, X86InductorQuantizer().set_global(config))
    with stage("calibrate"):
        calibrated(prepared, samples)
    return prepared


def path_pt2e_qat(model: nn.Module, samples: list[Sample]) -> Quantized:
    """Quantization-aware training."""
    with stage("prepare"):
        targets = float_outputs(model, samples)
        exported = torch.export.export(copy.deepcopy(model).train(), samples[0]).module()
        config = get_default_x86_inductor_quantization_config(is_qat=True)
        prepared = prepare_qat_pt2e(exported, X86InductorQuantizer().set_global(config))
        move_exported_model_to_train(prepared)
    with stage("calibrate"):
        trained(prepared, samples, targets)
        move_exported_model_to_eval(prepared)
    fake_quantized = copy.deepcopy(prepared).apply(disable_observer)
    quantized = compiled_pt2e(model, prepared, samples)
    quantized.fake_quantized = fake_quantized
    return quantized


def compiled_pt2e(model: nn.Module, prepared: nn.Module, samples: list[Sample]) -> Quantized:
    """The converted model, compiled: before that it computes in float."""
    with stage("convert"):
        converted = convert_pt2e(prepared)
        compiled, code = compiled_frozen(converted, samples[0])
    return Quantized(
        compiled,
        converted,
        trace=lambda run, sample: trace_compiled(run, sample, code, model),
        reference_name="the converted model, not compiled",
        reference=lambda: converted,
    )


def compiled_frozen(converted: nn.Module, sample: Sample) -> tuple[nn.Module, str]:
    """The model compiled with its weights as constants, and the code that Inductor generated."""
    torch._inductor.config.freezing = True
    torch._inductor.config.compile_threads = 1
    torch._inductor.config.fx_graph_cache = False
    torch._inductor.config.cpp.enable_kernel_profile = True
    compiled = torch.compile(converted)
    with torch.no_grad():
        _, code = run_and_get_code(compiled, *sample)
    return compiled, "\n".join(code)
