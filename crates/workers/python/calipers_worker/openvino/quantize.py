"""OpenVINO's and NNCF's calls that make an artefact, as their documentation tells users."""

from collections.abc import Iterable, Mapping
from pathlib import Path

import nncf
import numpy as np
import openvino as ov

Samples = Iterable[Mapping[str, np.ndarray]]


def convert(source: Path) -> ov.Model:
    """An ONNX file as OpenVINO's model."""
    return ov.convert_model(source)


def static_default(model: ov.Model, samples: Samples, count: int) -> ov.Model:
    """The defaults, with statistics of all samples."""
    return nncf.quantize(model, nncf.Dataset(samples), subset_size=count)


def static_tuned(model: ov.Model, samples: Samples, count: int) -> ov.Model:
    """For accuracy, as documented: activations with a zero point, biases corrected exactly."""
    return nncf.quantize(
        model,
        nncf.Dataset(samples),
        subset_size=count,
        preset=nncf.QuantizationPreset.MIXED,
        fast_bias_correction=False,
    )


def weight_only(model: ov.Model) -> ov.Model:
    """Weights of 8 bit with a zero point, one scale a channel."""
    return nncf.compress_weights(model)


def save(model: ov.Model, target: Path) -> None:
    """Float constants are stored as they are, not halved."""
    ov.save_model(model, target, compress_to_fp16=False)
