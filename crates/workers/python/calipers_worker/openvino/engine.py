"""OpenVINO as an engine: which artefacts it makes, and how."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import nncf
import numpy as np
import onnx
import openvino as ov

from calipers_worker.errors import BadData
from calipers_worker.inference_commands import COPIED_FILE, Calibration, Made
from calipers_worker.onnx_file import write_model
from calipers_worker.openvino import quantize
from calipers_worker.openvino.compiled import Compiled, compile_model
from calipers_worker.recipes import source_of

FILE = "model.xml"
WEIGHTS_FILE = "model.bin"


class Samples:
    """The calibration samples for NNCF, which may pass over them several times."""

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration

    def __iter__(self) -> Iterator[Mapping[str, np.ndarray]]:
        return self.calibration.feeds()

    def __len__(self) -> int:
        return len(self.calibration)


class OpenVino:
    """Models in OpenVINO's own format, and Calipers' ONNX files.

    The default tuning computes in float32 what is not quantized, as all other frameworks do; the
    tuned one in the precision that OpenVINO itself takes for the processor.
    """

    name = "openvino"
    packages = ("openvino", "nncf", "numpy", "onnx", "safetensors")
    variants = {  # noqa: RUF012 - it is never changed
        "nncf": ("float", "ptq-static", "weight-only"),
        "calipers": ("ptq-static",),
    }
    copied = ("calipers",)

    def __init__(self) -> None:
        self.threads = os.cpu_count() or 1
        nncf.set_log_level("WARNING")

    def use_threads(self, threads: int) -> int:
        """Threads belong to compiled models here: the number is what each is compiled with."""
        self.threads = threads
        return threads

    def open_float(self, model: onnx.ModelProto, folder: Path) -> Compiled:
        """The model in float32, as the ONNX file has it."""
        file = write_model(model, folder / COPIED_FILE)
        return Compiled(quantize.convert(file), self.threads, "f32")

    def save_float(
        self,
        path: str,  # noqa: ARG002 - one path has this variant
        tuning: str,
        model: onnx.ModelProto,
        folder: Path,
    ) -> Made:
        """OpenVINO's own file, in float32 whatever it is computed in."""
        with tempfile.TemporaryDirectory() as scratch:
            file = write_model(model, Path(scratch) / COPIED_FILE)
            quantize.save(quantize.convert(file), folder / FILE)
        return _made(folder, source_of(quantize.convert, quantize.save, compile_model), tuning)

    def quantize(
        self,
        path: str,  # noqa: ARG002 - one path makes something
        tuning: str,
        variant: str,
        model: onnx.ModelProto,
        calibration: Calibration,
        folder: Path,
    ) -> Made:
        """Convert, then nncf.quantize or nncf.compress_weights, sample by sample."""
        with tempfile.TemporaryDirectory() as scratch:
            with calibration.stage("prepare"):
                file = write_model(model, Path(scratch) / COPIED_FILE)
                converted = quantize.convert(file)
            if variant == "weight-only":
                make = quantize.weight_only
                with calibration.stage("convert"):
                    quantize.save(make(converted), folder / FILE)
            else:
                tuned = tuning == "tuned"
                make = quantize.static_tuned if tuned else quantize.static_default
                samples = Samples(calibration.one_by_one())
                with calibration.stage("calibrate"):
                    quantize.save(make(converted, samples, len(samples)), folder / FILE)
        recipe = source_of(quantize.convert, make, quantize.save, compile_model)
        return _made(folder, recipe, tuning)

    def open(self, path: str, tuning: str, variant: str, folder: Path) -> Compiled:  # noqa: ARG002
        """The artefact's file, compiled for the shapes that it is given."""
        file = folder / (COPIED_FILE if path == "calipers" else FILE)
        if not file.is_file():
            raise BadData(f"{file}: expected a model file, found no file there")
        return Compiled(ov.Core().read_model(file), self.threads, precision(tuning))


def precision(tuning: str) -> str | None:
    """What is computed in that is not quantized; None leaves it to OpenVINO."""
    return "f32" if tuning == "default" else None


def _made(folder: Path, recipe: str, tuning: str) -> Made:
    """The two files of a model count as one."""
    size = sum((folder / name).stat().st_size for name in (FILE, WEIGHTS_FILE))
    chosen = f"# compile_model(..., precision={precision(tuning)!r})"
    return Made(FILE, size, f"{recipe}\n\n{chosen}")
