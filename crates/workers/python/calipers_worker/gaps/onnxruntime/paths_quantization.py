"""ONNX Runtime's ways to quantize a model, as its documentation tells users for x86."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer
from onnxruntime.quantization.quant_utils import load_model_with_shape_infer
from onnxruntime.quantization.shape_inference import quant_pre_process

from calipers_worker.gaps.stages import enter_stage, stage


class SampleReader(CalibrationDataReader):
    """The samples, one after the other.

    quantize_static calibrates and converts in one call: converting begins after the last sample.
    """

    def __init__(self, samples: Sequence[Mapping[str, np.ndarray]]) -> None:
        self.samples = iter(samples)

    def get_next(self) -> Mapping[str, np.ndarray] | None:
        """The next sample by input name; None after the last."""
        sample = next(self.samples, None)
        if sample is None:
            enter_stage("convert")
        return sample


def prepared(model: onnx.ModelProto, folder: Path) -> Path:
    """The model after the pre-processing that comes before every quantization."""
    onnx.save(model, folder / "float.onnx")
    with stage("prepare"):
        quant_pre_process(folder / "float.onnx", folder / "prepared.onnx")
    return folder / "prepared.onnx"


def quantized_statically(
    source: Path,
    samples: Sequence[Mapping[str, np.ndarray]],
    folder: Path,
    **options: object,
) -> Path:
    """Activations of unsigned, weights of signed 8 bit, one scale a channel."""
    with stage("calibrate"):
        quantize_static(
            source,
            folder / "model.onnx",
            SampleReader(samples),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
            **options,
        )
    return folder / "model.onnx"


def path_qdq(
    model: onnx.ModelProto, samples: Sequence[Mapping[str, np.ndarray]], folder: Path
) -> Path:
    """quantize_static with QuantizeLinear and DequantizeLinear around float operators."""
    return quantized_statically(
        prepared(model, folder), samples, folder, quant_format=QuantFormat.QDQ
    )


def path_qoperator(
    model: onnx.ModelProto, samples: Sequence[Mapping[str, np.ndarray]], folder: Path
) -> Path:
    """quantize_static with operators on quantized tensors."""
    return quantized_statically(
        prepared(model, folder), samples, folder, quant_format=QuantFormat.QOperator
    )


def path_dynamic(
    model: onnx.ModelProto,
    samples: Sequence[Mapping[str, np.ndarray]],  # noqa: ARG001 - it needs none
    folder: Path,
) -> Path:
    """quantize_dynamic as it comes: scales of activations at run time."""
    source = prepared(model, folder)
    with stage("convert"):
        quantize_dynamic(source, folder / "model.onnx", weight_type=QuantType.QInt8)
    return folder / "model.onnx"


def path_weight_only_4bit(
    model: onnx.ModelProto,
    samples: Sequence[Mapping[str, np.ndarray]],  # noqa: ARG001 - it needs none
    folder: Path,
) -> Path:
    """Weights of 4 bit in blocks, in matrix products and tables.

    No pre-processing: it makes Gemm of MatMul and Add, which the quantizer does not know. And no
    accuracy level: 4, which asks for activations of 8 bit, would not be weights alone.
    """
    onnx.save(model, folder / "float.onnx")
    with stage("prepare"):
        inferred = load_model_with_shape_infer(folder / "float.onnx")
    with stage("convert"):
        quantizer = MatMulNBitsQuantizer(
            inferred,
            bits=4,
            block_size=128,
            is_symmetric=True,
            op_types_to_quantize=("MatMul", "Gather"),
        )
        quantizer.process()
        quantizer.model.save_model_to_file(folder / "model.onnx")
    return folder / "model.onnx"


def path_none(
    model: onnx.ModelProto, samples: Sequence[Mapping[str, np.ndarray]], folder: Path
) -> Path:
    """The calls of `qdq`, told to leave every operator as it is."""
    source = prepared(model, folder)
    everything = [node.name for node in onnx.load(source).graph.node]
    return quantized_statically(source, samples, folder, nodes_to_exclude=everything)
