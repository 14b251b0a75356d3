"""Checkpoints of a training: all that the next epoch depends on, in one safetensors file.

That is every variable of the model (weights, the statistics of batch normalization, TFMOT's ranges
and step counters), the velocities, and the number of steps.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tensorflow as tf

from calipers_worker.errors import BadData
from calipers_worker.tensor_files import read_tensors, write_tensors
from calipers_worker.tensorflow.train import Trainer

STEPS = "steps"
NUMBERED = re.compile(r"\bquantize_layer_\d+")


def save(trainer: Trainer, path: Path) -> None:
    """Write the state of `trainer` to `path`."""
    tensors = {name: np.atleast_1d(variable.numpy()) for name, variable in _variables(trainer)}
    write_tensors(path, {**tensors, STEPS: np.array([trainer.steps_done], np.int64)})


def restore(trainer: Trainer, path: Path) -> None:
    """Set `trainer` to the state in `path`; BadData, and no change, where that does not fit."""
    tensors, variables = read_tensors(path), dict(_variables(trainer))
    missing = sorted({*variables, STEPS} - tensors.keys())
    unknown = sorted(tensors.keys() - {*variables, STEPS})
    if missing or unknown:
        raise BadData(
            f"{path}: is no checkpoint of this training: missing {missing[:5]}, unknown "
            f"{unknown[:5]} ({len(missing)} and {len(unknown)} in all); begin the trainer with the "
            "arguments that the saved one had"
        )
    for name, variable in variables.items():
        # The file has scalars as tensors of one element.
        expected = (variable.dtype.as_numpy_dtype, tuple(variable.shape) or (1,))
        if (tensors[name].dtype, tensors[name].shape) != expected:
            raise BadData(
                f"{path}: `{name}` must be {np.dtype(expected[0]).name} of shape {expected[1]}, "
                f"found {tensors[name].dtype.name} of shape {tensors[name].shape}"
            )
    for name, variable in variables.items():
        variable.assign(tensors[name].reshape(variable.shape))
    trainer.steps_done = int(tensors[STEPS].item())


def _variables(trainer: Trainer) -> Iterator[tuple[str, tf.Variable]]:
    """Each variable under a key of its own: its place in the model, and its name for people.

    TFMOT numbers the layers of its own through the whole process, so that their numbers are left
    out.
    """
    for index, variable in enumerate(trainer.model.variables):
        yield f"model/{index:04}/{NUMBERED.sub('quantize_layer', variable.name)}", variable
    trained = trainer.model.trainable_variables
    for index, (variable, velocity) in enumerate(zip(trained, trainer.velocities, strict=True)):
        yield f"velocity/{index:04}/{variable.name}", velocity
