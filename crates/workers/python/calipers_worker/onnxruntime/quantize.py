"""ONNX Runtime's ways to quantize a model, as its documentation tells users, and at its best."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantType,
    quantize_dynamic,
    quantize_static,
)
from onnxruntime.quantization.shape_inference import quant_pre_process

Feeds = Callable[[], Iterator[Mapping[str, np.ndarray]]]


class SampleReader(CalibrationDataReader):
    """The batches of one pass, all at once or in ranges of batches, which follow each other."""

    def __init__(self, feeds: Feeds, count: int) -> None:
        self.feeds = feeds()
        self.count = count
        self.left = count + 1

    def __len__(self) -> int:
        return self.count

    def set_range(self, start_index: int, end_index: int) -> None:
        """Give the batches from `start_index` to before `end_index`, the next ones, and stop."""
        self.left = end_index - start_index

    def get_next(self) -> Mapping[str, np.ndarray] | None:
        """The next batch by input name; None after the last."""
        if self.left == 0:
            return None
        self.left -= 1
        return next(self.feeds, None)


def pre_process(source: Path, prepared: Path) -> None:
    """Shapes are inferred and the graph is optimized, as the documentation asks for."""
    quant_pre_process(source, prepared)


def static_default(prepared: Path, target: Path, reader: SampleReader) -> None:
    """The defaults: QDQ, signed 8 bit with one scale a tensor, smallest and largest values."""
    quantize_static(prepared, target, reader)


def static_tuned(prepared: Path, target: Path, reader: SampleReader) -> None:
    """The documentation's choice for x86 with VNNI, and one scale a channel for accuracy.

    Smallest and largest values: one number a tensor and batch, so that memory does not grow with
    the samples as it does where histograms are made of all activations at the end.
    """
    quantize_static(
        prepared,
        target,
        reader,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range=False,
        calibrate_method=CalibrationMethod.MinMax,
    )


def dynamic_default(prepared: Path, target: Path) -> None:
    """The defaults: signed 8 bit with one scale a tensor."""
    quantize_dynamic(prepared, target)
