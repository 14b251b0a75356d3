"""The structure of an ONNX file: what a loaded artefact must know of the model it was made from.

The numbers of the weights stay on the disk, so that the memory and the start of a small artefact
are not those of the large model.
"""

import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

LEAST = 1 << 12
"""Bytes from which an initializer is left without numbers; smaller ones may be shapes or bounds."""

_GRAPH, _INITIALIZER = 7, 5
_NUMBERS = (4, 9)
"""`float_data` and `raw_data` of a tensor, by their numbers in ONNX's protobuf schema."""
_LENGTH_DELIMITED = 2
_FIXED = {1: 8, 5: 4}
"""Bytes of the wire types of fixed length."""


def read_structure(path: Path) -> onnx.ModelProto:
    """The model of the file at `path`, but that large initializers have no numbers.

    Raises what protobuf does for a file that is none, or ValueError or IndexError.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return onnx.ModelProto.FromString(_model(data))


def numbers(tensor: onnx.TensorProto) -> np.ndarray:
    """The numbers of an initializer; zeros that take no memory where it was left without."""
    if tensor.data_type == onnx.TensorProto.FLOAT and not (tensor.raw_data or tensor.float_data):
        return np.broadcast_to(np.float32(0), tuple(tensor.dims))
    return numpy_helper.to_array(tensor)


def _model(data: mmap.mmap) -> bytes:
    out = bytearray()
    for number, begin, content, end in _fields(data, 0, len(data)):
        out += _field(number, _graph(data, content, end)) if number == _GRAPH else data[begin:end]
    return bytes(out)


def _graph(data: mmap.mmap, start: int, stop: int) -> bytes:
    out = bytearray()
    for number, begin, content, end in _fields(data, start, stop):
        if number == _INITIALIZER and end - content >= LEAST:
            kept = (
                data[a:b] for one, a, _, b in _fields(data, content, end) if one not in _NUMBERS
            )
            out += _field(number, b"".join(kept))
        else:
            out += data[begin:end]
    return bytes(out)


def _field(number: int, content: bytes) -> bytes:
    """A length-delimited field."""
    return _encoded(number << 3 | _LENGTH_DELIMITED) + _encoded(len(content)) + content


def _fields(data: mmap.mmap, start: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """The fields of a message: number, begin, begin of the content, and end."""
    at = start
    while at < stop:
        key, content = _decoded(data, at)
        wire = key & 7
        if wire == _LENGTH_DELIMITED:
            length, content = _decoded(data, content)
            end = content + length
        elif wire == 0:
            _, end = _decoded(data, content)
        elif wire in _FIXED:
            end = content + _FIXED[wire]
        else:
            raise ValueError(f"wire type {wire} at byte {at}")
        if end > stop:
            raise ValueError(f"the field at byte {at} ends behind its message")
        yield key >> 3, at, content, end
        at = end


def _decoded(data: mmap.mmap, at: int) -> tuple[int, int]:
    """A variable-length integer, and where it ends."""
    value, shift = 0, 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _encoded(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
