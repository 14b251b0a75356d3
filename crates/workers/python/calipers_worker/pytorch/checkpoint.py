"""A trainer's whole state as a file: parameters, statistics, ranges, and velocities."""

from pathlib import Path

import numpy as np
import torch

from calipers_worker.errors import BadData
from calipers_worker.pytorch.train import Trainer
from calipers_worker.tensor_files import read_tensors, write_tensors

MODEL, VELOCITY, STEPS = "model/", "velocity/", "steps_done"
SCALAR = "scalar/"
"""Stands before the name of a tensor without axes, which is written with one."""


def save(trainer: Trainer, output: Path) -> None:
    """Write everything that the trainer's next epoch depends on."""
    tensors = {STEPS: torch.tensor([trainer.steps_done])}
    tensors |= {MODEL + name: value for name, value in trainer.model.state_dict().items()}
    for name, parameter in trainer.model.named_parameters():
        velocity = trainer.optimizer.state[parameter].get("momentum_buffer")
        if velocity is not None:
            tensors[VELOCITY + name] = velocity
    write_tensors(
        output,
        {
            name if value.dim() else SCALAR + name: value.detach().reshape(value.shape or 1).numpy()
            for name, value in tensors.items()
        },
    )


def restore(trainer: Trainer, source: Path) -> None:
    """Take over what `save` wrote of a trainer begun alike; BadData where it is another's."""
    tensors = {
        name.removeprefix(SCALAR): value.reshape(()) if name.startswith(SCALAR) else value
        for name, value in read_tensors(source).items()
    }
    state = _under(MODEL, tensors)
    velocities = _under(VELOCITY, tensors)
    parameters = dict(trainer.model.named_parameters())
    expected = {MODEL + name for name in trainer.model.state_dict()} | {STEPS}
    found = tensors.keys() - {VELOCITY + name for name in parameters}
    if found != expected:
        raise BadData(
            f"{source}: is no checkpoint of this trainer: missing "
            f"{sorted(expected - found)[:5]}, unknown {sorted(found - expected)[:5]}"
        )
    for name, parameter in parameters.items():
        for kind, held in (("parameter", state), ("velocity", velocities)):
            value = held.get(name)
            if value is not None and value.shape != parameter.shape:
                raise BadData(
                    f"{source}: {kind} `{name}` has shape {tuple(value.shape)}, the trainer's "
                    f"{tuple(parameter.shape)}"
                )
    try:
        trainer.model.load_state_dict(state)
    except RuntimeError as error:
        raise BadData(f"{source}: is no checkpoint of this trainer: {error}") from error
    with torch.no_grad():
        for name, value in trainer.model.state_dict().items():
            # torchao's observers, when they are loaded, set `eps` back to its default.
            value.copy_(state[name])
    trainer.optimizer.state.clear()
    for name, velocity in velocities.items():
        trainer.optimizer.state[parameters[name]]["momentum_buffer"] = velocity
    trainer.steps_done = int(tensors[STEPS][0])


def _under(prefix: str, tensors: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    return {
        name.removeprefix(prefix): torch.from_numpy(value.copy())
        for name, value in tensors.items()
        if name.startswith(prefix)
    }
