"""ONNX files as runtimes take them: weights replaced, inputs, and first output."""

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from calipers_worker.batches import DataFile
from calipers_worker.errors import BadData, BadModel
from calipers_worker.onnx_graph import check_weights
from calipers_worker.onnx_structure import read_structure
from calipers_worker.tensor_files import read_tensors

EMBEDDED_BYTES = 1 << 30
"""Above this, tensors are written to a file beside the model: protobuf ends at 2 GiB."""

FREE_SIDE = 224
"""What stands for a free height or width where there is no sample yet."""

FREE_LENGTH = 16
"""What stands for any other free dimension where there is no sample yet."""


@dataclass(frozen=True)
class Input:
    """An input of a model; None stands for a dimension that is free."""

    name: str
    dtype: np.dtype
    shape: tuple[int | None, ...]


@dataclass(frozen=True)
class Signature:
    """A model's inputs, samples along the first dimension of each."""

    path: Path
    inputs: tuple[Input, ...]

    @property
    def names(self) -> list[str]:
        """The inputs' names, in the file's order."""
        return [one.name for one in self.inputs]

    @property
    def one_by_one(self) -> bool:
        """Whether the file holds the batch to 1, so that samples are run one after the other."""
        return any(one.shape[0] == 1 for one in self.inputs)

    def check(self, data: DataFile) -> None:
        """BadData when a sample is not what the model takes."""
        feed = data.feed(0, 1, self.names)
        for one in self.inputs:
            found = feed[one.name]
            if found.dtype != one.dtype:
                raise BadData(
                    f"{data.path}: input `{one.name}` is {found.dtype.name}, the model takes "
                    f"{one.dtype.name}"
                )
            if found.ndim != len(one.shape) or any(
                want is not None and want != have
                for want, have in zip(one.shape[1:], found.shape[1:], strict=True)
            ):
                raise BadData(
                    f"{data.path}: samples of input `{one.name}` have shape {found.shape[1:]}, "
                    f"the model's input is {one.shape} with the batch before"
                )

    def example(self) -> dict[str, np.ndarray]:
        """One drawn sample; free dimensions are `FREE_SIDE` in images, else `FREE_LENGTH`.

        Floats are standard normal, all other numbers 1: no mask hides everything.
        """
        random = np.random.default_rng(0)
        feed = {}
        for one in self.inputs:
            free = FREE_SIDE if len(one.shape) == 4 else FREE_LENGTH
            shape = [1, *(dim or free for dim in one.shape[1:])]
            floating = np.issubdtype(one.dtype, np.floating)
            drawn = random.standard_normal(shape) if floating else np.ones(shape)
            feed[one.name] = drawn.astype(one.dtype)
        return feed

    def batch_of(self, feed: Mapping[str, np.ndarray]) -> int:
        """The number of samples in `feed`."""
        return len(feed[self.inputs[0].name])

    def parts(self, feed: Mapping[str, np.ndarray]) -> list[dict[str, np.ndarray]]:
        """`feed` as the model takes it: at once, or sample by sample."""
        if not self.one_by_one:
            return [dict(feed)]
        return [
            {name: value[index : index + 1] for name, value in feed.items()}
            for index in range(self.batch_of(feed))
        ]


def read_signature(path: Path) -> Signature:
    """The inputs of the ONNX file at `path`; BadModel for one without a free batch or one of 1."""
    return _signature(path, _load(path, read_structure).graph)


def _signature(path: Path, graph: onnx.GraphProto) -> Signature:
    constants = {one.name for one in graph.initializer}
    inputs = tuple(
        Input(
            info.name,
            np.dtype(helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type)),
            tuple(
                dim.dim_value if dim.HasField("dim_value") else None
                for dim in info.type.tensor_type.shape.dim
            ),
        )
        for info in graph.input
        if info.name not in constants
    )
    if not inputs:
        raise BadModel(f"{path}: the model has no inputs")
    for one in inputs:
        if not one.shape or one.shape[0] not in (None, 1):
            raise BadModel(
                f"{path}: the first dimension of input `{one.name}` must be a free batch or 1, "
                f"its shape is {one.shape}; export the model with one of these"
            )
    return Signature(path, inputs)


def read_model(path: Path, weights: Path | None) -> onnx.ModelProto:
    """The model of the ONNX file at `path`, with the initializers of the file `weights` if given.

    BadWeights where the file lacks an f32 initializer or has one more, or a shape differs, or a
    value is not finite that is in the model.
    """
    model = _load(path, onnx.load)
    if weights is None:
        return model
    values = read_tensors(weights)
    expected = {
        tensor.name: tensor
        for tensor in model.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT
    }
    own = {name: numpy_helper.to_array(tensor) for name, tensor in expected.items()}
    # Masks hold infinities: what is not finite in the file itself is no weight, and stays.
    fixed = {name for name, value in own.items() if not np.isfinite(value).all()}
    trained = {name: value for name, value in values.items() if name not in fixed}
    check_weights(weights, trained, {name: own[name] for name in own if name not in fixed})
    for name, value in trained.items():
        expected[name].CopyFrom(numpy_helper.from_array(value, name))
    return model


def write_model(model: onnx.ModelProto, path: Path) -> Path:
    """Write `model` to `path`, replacing what is there; a large one's tensors leave it.

    They go to a file beside it, whose name is the model's with `.data` behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    data = path.with_name(f"{path.name}.data")
    external = model.ByteSize() > EMBEDDED_BYTES
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as name:
        folder = Path(name)
        onnx.save(model, folder / path.name, save_as_external_data=external, location=data.name)
        if external:
            (folder / data.name).replace(data)
        (folder / path.name).replace(path)
    if not external:
        data.unlink(missing_ok=True)
    return path


def logits_of(output: np.ndarray, batch: int, path: Path) -> np.ndarray:
    """A model's first output for `batch` samples as f32 [batch, K]; BadModel if it has no batch."""
    if batch > 1 and (output.ndim == 0 or len(output) != batch):
        raise BadModel(
            f"{path}: the first output has shape {output.shape} for {batch} samples; its first "
            "dimension must be the batch"
        )
    return np.asarray(output, np.float32).reshape(batch, -1)


def _load(path: Path, read: Callable[[Path], onnx.ModelProto]) -> onnx.ModelProto:
    if not path.is_file():
        raise BadModel(f"{path}: expected an ONNX file, found no file there")
    try:
        return read(path)
    except Exception as error:
        # The parser and the reader of external data each raise types of their own.
        raise BadModel(f"{path}: not a readable ONNX file: {error}") from error
