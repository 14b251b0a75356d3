"""Eager mode: stubs, fused modules and one qconfig for the model, as its documentation tells."""

import copy

import torch
from torch import nn
from torch.ao.quantization import (
    QConfig,
    QConfigMapping,
    convert,
    default_dynamic_qconfig,
    disable_observer,
    float_qparams_weight_only_qconfig,
    fuse_modules,
    fuse_modules_qat,
    get_default_qat_qconfig,
    get_default_qconfig,
    prepare,
    prepare_qat,
    quantize_dynamic,
)
from torch.ao.quantization.quantize_fx import convert_to_reference_fx, prepare_fx

from calipers_worker.gaps.pytorch.paths_executed import Sample
from calipers_worker.gaps.pytorch.paths_quantized import (
    Quantized,
    calibrated,
    float_outputs,
    trained,
)
from calipers_worker.gaps.pytorch.paths_simulated import simulated
from calipers_worker.gaps.stages import NoApi, stage


def path_eager(model: nn.Module, samples: list[Sample]) -> Quantized:
    """Static quantization for the engine x86."""
    return static_eager(model, samples, "x86")


def path_eager_fbgemm(model: nn.Module, samples: list[Sample]) -> Quantized:
    """Static quantization for the engine fbgemm."""
    return static_eager(model, samples, "fbgemm")


def path_eager_onednn(model: nn.Module, samples: list[Sample]) -> Quantized:
    """Static quantization for the engine onednn."""
    return static_eager(model, samples, "onednn")


def path_eager_qnnpack(model: nn.Module, samples: list[Sample]) -> Quantized:
    """Static quantization for the engine qnnpack."""
    return static_eager(model, samples, "qnnpack")


def path_eager_embedding(model: nn.Module, samples: list[Sample]) -> Quantized:
    """Static quantization with the embeddings' own qconfig."""
    embeddings = [one for one in model.modules() if isinstance(one, nn.Embedding | nn.EmbeddingBag)]
    if not embeddings:
        raise NoApi("the qconfig for embeddings: there is no Embedding or EmbeddingBag")
    return static_eager(model, samples, "x86", embedding=float_qparams_weight_only_qconfig)


def static_eager(
    model: nn.Module, samples: list[Sample], engine: str, embedding: QConfig | None = None
) -> Quantized:
    """Post-training static quantization; embeddings take the qconfig `embedding`, if given."""
    with stage("prepare"):
        torch.backends.quantized.engine = engine
        qconfig = get_default_qconfig(engine)
        fused = fuse_modules(model, model.fuse) if model.fuse else copy.deepcopy(model)
        fused.qconfig = qconfig
        if embedding is not None:
            for module in fused.modules():
                if isinstance(module, nn.Embedding | nn.EmbeddingBag):
                    module.qconfig = embedding
        prepared = prepare(fused)
    with stage("calibrate"):
        calibrated(prepared, samples)
    with stage("convert"):
        converted = convert(prepared)

    attends = any(isinstance(one, nn.MultiheadAttention) for one in model.modules())

    def reference() -> nn.Module:
        # To prepare attention is to replace it, so that what is prepared is no witness of it.
        if not attends:
            return simulated(prepared)
        traced = prepare_fx(copy.deepcopy(model), QConfigMapping().set_global(qconfig), samples[0])
        calibrated(traced, samples)
        return convert_to_reference_fx(traced)

    return Quantized(
        converted,
        converted,
        reference_name="convert_to_reference_fx, which leaves attention in float"
        if attends
        else "the prepared model with roundings for its observers",
        reference=reference,
    )


def path_eager_qat(model: nn.Module, samples: list[Sample]) -> Quantized:
    """Quantization-aware training for the engine x86."""
    with stage("prepare"):
        torch.backends.quantized.engine = "x86"
        qconfig = get_default_qat_qconfig("x86")
        targets = float_outputs(model, samples)
        fused = copy.deepcopy(model).train()
        if model.fuse:
            fused = fuse_modules_qat(fused, model.fuse)
        fused.qconfig = qconfig
        prepared = prepare_qat(fused)
    with stage("calibrate"):
        trained(prepared, samples, targets)
        prepared.eval()
    with stage("convert"):
        converted = convert(prepared)

    return Quantized(
        converted,
        converted,
        reference_name="the trained model with roundings for its observers",
        reference=lambda: simulated(prepared),
        fake_quantized=copy.deepcopy(prepared).apply(disable_observer),
    )


def path_eager_dynamic(model: nn.Module, samples: list[Sample]) -> Quantized:
    """Dynamic quantization of the modules that quantize_dynamic takes by default."""
    with stage("convert"):
        torch.backends.quantized.engine = "x86"
        converted = quantize_dynamic(model, dtype=torch.qint8)

    def reference() -> nn.Module:
        mapping = QConfigMapping()
        for kind in (nn.Linear, nn.LSTM, nn.GRU, nn.LSTMCell, nn.GRUCell):
            mapping.set_object_type(kind, default_dynamic_qconfig)
        traced = prepare_fx(copy.deepcopy(model), mapping, samples[0])
        return convert_to_reference_fx(traced)

    return Quantized(
        converted,
        converted,
        reference_name="convert_to_reference_fx of the same modules",
        reference=reference,
    )
