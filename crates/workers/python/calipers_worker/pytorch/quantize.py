"""PyTorch's own quantization: eager mode and FX graph mode, PTQ and QAT.

Eager mode's manual work, which its documentation leaves to the user, is done here from the graph:
which modules to fuse. (Stubs and FloatFunctional are put in when the model is built.)
"""

import warnings

import torch
from torch import nn
from torch.ao import quantization
from torch.ao.quantization import quantize_fx

from calipers_worker import onnx_graph
from calipers_worker.onnx_graph import OnnxGraph
from calipers_worker.pytorch.build import (
    build,
    following_batch_norm,
    following_relu,
    module_name,
)

PATHS = ("eager", "fx")


def select_engine() -> str:
    """Select and name PyTorch's quantized engine: x86, or the first supported of the others."""
    supported = torch.backends.quantized.supported_engines
    engine = next(name for name in ("x86", "fbgemm", "onednn", "qnnpack") if name in supported)
    torch.backends.quantized.engine = engine
    return engine


def prepare(graph: OnnxGraph, path: str, *, qat: bool) -> nn.Module:
    """The model with observers (PTQ) or fake quantization (QAT, in training mode), defaults used.

    `path` is `eager` or `fx`.
    """
    engine = select_engine()
    if path == "eager":
        model = build(graph, stubs=True).train(qat)
        groups = fusion_groups(graph)
        if qat:
            model = quantization.fuse_modules_qat(model, groups) if groups else model
            model.qconfig = quantization.get_default_qat_qconfig(engine)
            return quantization.prepare_qat(model, inplace=True)
        model = quantization.fuse_modules(model, groups) if groups else model
        model.qconfig = quantization.get_default_qconfig(engine)
        return quantization.prepare(model, inplace=True)
    model = build(graph, stubs=False).train(qat)
    example = (torch.zeros([dim or 1 for dim in graph.input_shape]),)
    if qat:
        mapping = quantization.get_default_qat_qconfig_mapping(engine)
        return quantize_fx.prepare_qat_fx(model, mapping, example)
    mapping = quantization.get_default_qconfig_mapping(engine)
    return quantize_fx.prepare_fx(model, mapping, example)


def convert(prepared: nn.Module, path: str) -> nn.Module:
    """The int8 model of a prepared and calibrated, or trained, one; `prepared` is used up."""
    prepared.eval()
    if path == "eager":
        return quantization.convert(prepared, inplace=True)
    return quantize_fx.convert_fx(prepared)


def convert_empty(graph: OnnxGraph, path: str, *, qat: bool) -> nn.Module:
    """The int8 model's modules with meaningless scales, to load a saved state_dict into."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="must run observer before calling")
        return convert(prepare(graph, path, qat=qat), path)


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
