"""Eager mode and FX graph mode: the framework's calls, each function a recipe for a user to run.

Eager mode's manual work, which its documentation leaves to the user, is done elsewhere: stubs and
FloatFunctional when the model is built, and which modules to fuse by `fusion_groups`.
"""

import torch
from torch import nn
from torch.ao import quantization
from torch.ao.quantization import quantize_fx

from calipers_worker import onnx_graph
from calipers_worker.onnx_graph import OnnxGraph
from calipers_worker.pytorch.build import following_batch_norm, following_relu, module_name


def select_engine() -> str:
    """Select and name PyTorch's quantized engine: x86, or the first supported of the others."""
    supported = torch.backends.quantized.supported_engines
    engine = next(name for name in ("x86", "fbgemm", "onednn", "qnnpack") if name in supported)
    torch.backends.quantized.engine = engine
    return engine


def fusion_groups(graph: OnnxGraph) -> list[list[str]]:
    """Module names for fuse_modules: convolution or linear with the layers that alone follow it."""
    groups = []
    for layer in graph.layers:
        if not isinstance(layer.operation, onnx_graph.Conv | onnx_graph.Linear):
            continue
        chain = [layer]
        if isinstance(layer.operation, onnx_graph.Conv):
            chain += [norm] if (norm := following_batch_norm(graph, layer)) else []
        chain += [relu] if (relu := following_relu(graph, chain[-1])) else []
        if len(chain) > 1:
            groups.append([module_name(member) for member in chain])
    return groups


def needs_reduced_range() -> bool:
    """Whether 8-bit products saturate here: without VNNI, 7-bit activations are the safe ones."""
    return not torch.cpu._is_vnni_supported()


def eager_static(model: nn.Module, groups: list[list[str]], engine: str) -> nn.Module:
    """Eager mode, observers for static quantization."""
    model = quantization.fuse_modules(model.eval(), groups) if groups else model.eval()
    model.qconfig = quantization.get_default_qconfig(engine)
    return quantization.prepare(model, inplace=True)


def eager_static_tuned(model: nn.Module, groups: list[list[str]], engine: str) -> nn.Module:  # noqa: ARG001
    """Eager mode, observers for static quantization with all 8 bits of the activations."""
    model = quantization.fuse_modules(model.eval(), groups) if groups else model.eval()
    model.qconfig = full_range_qconfig()
    return quantization.prepare(model, inplace=True)


def eager_qat(model: nn.Module, groups: list[list[str]], engine: str) -> nn.Module:
    """Eager mode, fake quantization."""
    model = quantization.fuse_modules_qat(model.train(), groups) if groups else model.train()
    model.qconfig = quantization.get_default_qat_qconfig(engine)
    return quantization.prepare_qat(model, inplace=True)


def eager_qat_2023(model: nn.Module, groups: list[list[str]], engine: str) -> nn.Module:
    """Eager mode with the qconfig of post-training quantization, which only observes."""
    model = quantization.fuse_modules_qat(model.train(), groups) if groups else model.train()
    model.qconfig = quantization.get_default_qconfig(engine)
    return quantization.prepare_qat(model, inplace=True)


def eager_convert(prepared: nn.Module) -> nn.Module:
    """Eager mode, the int8 model."""
    return quantization.convert(prepared.eval(), inplace=True)


def eager_dynamic(model: nn.Module) -> nn.Module:
    """Eager mode, linear layers with int8 weights and activations quantized at run time."""
    return quantization.quantize_dynamic(model.eval(), {nn.Linear}, dtype=torch.qint8)


def fx_static(model: nn.Module, example: torch.Tensor, engine: str) -> nn.Module:
    """FX graph mode, observers for static quantization."""
    mapping = quantization.get_default_qconfig_mapping(engine)
    return quantize_fx.prepare_fx(model.eval(), mapping, (example,))


def fx_static_tuned(model: nn.Module, example: torch.Tensor, engine: str) -> nn.Module:
    """FX graph mode, observers for static quantization with all 8 bits of the activations."""
    mapping = quantization.get_default_qconfig_mapping(engine)
    mapping.set_global(full_range_qconfig())
    return quantize_fx.prepare_fx(model.eval(), mapping, (example,))


def fx_qat(model: nn.Module, example: torch.Tensor, engine: str) -> nn.Module:
    """FX graph mode, fake quantization."""
    mapping = quantization.get_default_qat_qconfig_mapping(engine)
    return quantize_fx.prepare_qat_fx(model.train(), mapping, (example,))


def fx_qat_tuned(model: nn.Module, example: torch.Tensor, engine: str) -> nn.Module:
    """FX graph mode, fake quantization with all 8 bits of the activations."""
    mapping = quantization.get_default_qat_qconfig_mapping(engine)
    mapping.set_global(full_range_qat_qconfig())
    return quantize_fx.prepare_qat_fx(model.train(), mapping, (example,))


def fx_dynamic(model: nn.Module, example: torch.Tensor, engine: str) -> nn.Module:  # noqa: ARG001
    """FX graph mode, for activations quantized at run time."""
    mapping = quantization.QConfigMapping().set_global(quantization.default_dynamic_qconfig)
    return quantize_fx.prepare_fx(model.eval(), mapping, (example,))


def fx_convert(prepared: nn.Module) -> nn.Module:
    """FX graph mode, the int8 model."""
    return quantize_fx.convert_fx(prepared.eval())


def full_range_qconfig() -> quantization.QConfig:
    """Histograms for activations over all of quint8, and a scale for each channel of a weight."""
    return quantization.QConfig(
        activation=quantization.HistogramObserver.with_args(reduce_range=needs_reduced_range()),
        weight=quantization.default_per_channel_weight_observer,
    )


def full_range_qat_qconfig() -> quantization.QConfig:
    """Fake quantization of activations over all of quint8, and of each channel of a weight."""
    return quantization.QConfig(
        activation=quantization.FusedMovingAvgObsFakeQuantize.with_args(
            observer=quantization.MovingAverageMinMaxObserver,
            quant_min=0,
            quant_max=255,
            reduce_range=needs_reduced_range(),
        ),
        weight=quantization.default_fused_per_channel_wt_fake_quant,
    )
