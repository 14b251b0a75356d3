"""ONNX Runtime as an engine: which artefacts it makes, and how."""

import os
import tempfile
from pathlib import Path

import onnx

from calipers_worker.errors import BadData
from calipers_worker.inference_commands import Calibration, Made
from calipers_worker.onnx_file import write_model
from calipers_worker.onnxruntime import quantize
from calipers_worker.onnxruntime.session import Session, open_session, session_options
from calipers_worker.recipes import source_of

FILE = "model.onnx"

RUN_RECIPE = source_of(open_session, session_options)


class OnnxRuntime:
    """Sessions of `threads` threads on files `model.onnx`."""

    name = "onnxruntime"
    packages = ("onnxruntime", "numpy", "onnx", "onnx_ir", "sympy", "safetensors")
    variants = {  # noqa: RUF012 - it is never changed
        "qdq": ("float", "ptq-static"),
        "dynamic": ("ptq-dynamic",),
        "calipers": ("ptq-static",),
    }
    copied = ("calipers",)

    def __init__(self) -> None:
        self.threads = os.cpu_count() or 1

    def use_threads(self, threads: int) -> int:
        """Threads belong to sessions here: the number is what each is opened with."""
        self.threads = threads
        return threads

    def open_float(self, model: onnx.ModelProto, folder: Path) -> Session:
        """The model as it is: its arithmetic is float32."""
        return Session(write_model(model, folder / FILE), self.threads)

    def save_float(
        self,
        path: str,
        tuning: str,
        model: onnx.ModelProto,
        folder: Path,
    ) -> Made:
        """The ONNX file itself is what ONNX Runtime deploys, the same however it is run."""
        write_model(model, folder / FILE)
        return _made(folder, RUN_RECIPE, precise(path, tuning))

    def quantize(
        self,
        path: str,
        tuning: str,
        variant: str,  # noqa: ARG002 - each path has one
        model: onnx.ModelProto,
        calibration: Calibration,
        folder: Path,
    ) -> Made:
        """Pre-process, then quantize_static or quantize_dynamic."""
        target = folder / FILE
        with tempfile.TemporaryDirectory() as scratch:
            source, prepared = Path(scratch) / "float.onnx", Path(scratch) / "prepared.onnx"
            with calibration.stage("prepare"):
                write_model(model, source)
                quantize.pre_process(source, prepared)
            if path == "dynamic":
                make = quantize.dynamic_default
                with calibration.stage("convert"):
                    make(prepared, target)
            else:
                tuned = tuning == "tuned"
                make = quantize.static_tuned if tuned else quantize.static_default
                reader = quantize.SampleReader(calibration.feeds, len(calibration))
                with calibration.stage("calibrate"):
                    make(prepared, target, reader)
        recipe = source_of(quantize.pre_process, make) + "\n\n" + RUN_RECIPE
        return _made(folder, recipe, precise(path, tuning))

    def open(self, path: str, tuning: str, variant: str, folder: Path) -> Session:  # noqa: ARG002
        """A session on the artefact's file."""
        file = folder / FILE
        if not file.is_file():
            raise BadData(f"{file}: expected an ONNX file, found no file there")
        return Session(file, self.threads, precise=precise(path, tuning))


def precise(path: str, tuning: str) -> bool:
    """Whether a file uses all 8 bits of its weights, as all but the defaults do."""
    return path == "calipers" or tuning == "tuned"


def _made(folder: Path, recipe: str, is_precise: bool) -> Made:
    size = sum(file.stat().st_size for file in folder.glob(f"{FILE}*"))
    return Made(FILE, size, f"{recipe}\n\n# open_session(..., precise={is_precise})")
