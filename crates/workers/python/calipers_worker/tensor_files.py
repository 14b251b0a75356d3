"""Reads and writes safetensors files; writes are complete or absent, never half."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from calipers_worker.errors import BadData


def read_tensors(path: Path) -> dict[str, np.ndarray]:
    """All tensors of the safetensors file at `path`, by name; BadData when it is not one."""
    if not path.is_file():
        raise BadData(f"{path}: expected a safetensors file, found no file there")
    try:
        return load_file(path)
    except (SafetensorError, ValueError, TypeError) as error:
        raise BadData(f"{path}: not a readable safetensors file: {error}") from error


def write_tensors(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Write `tensors` to `path`, replacing what is there in one step."""
    # Not ascontiguousarray, which gives what has no axes one.
    packed = {name: np.asarray(tensor, order="C") for name, tensor in tensors.items()}
    replace_file(path, lambda temporary: save_file(packed, temporary))


def replace_file(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a temporary file beside `path`, then rename it to `path`.

    Makes the folders above `path`. When `write` raises, the temporary file is removed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        write(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
