"""Training with the one update rule: v <- m v + g + l w; w <- w - r v, on every parameter."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from calipers_worker.batches import DataFile
from calipers_worker.errors import NonFiniteLoss
from calipers_worker.onnx_graph import OnnxGraph
from calipers_worker.protocol import Reporter


class Trainer:
    """A model in training and its optimizer's velocities; `mode` is `float` or `qat`."""

    def __init__(
        self,
        graph: OnnxGraph,
        model: nn.Module,
        mode: str,
        path: str,
        momentum: float,
        weight_decay: float,
    ) -> None:
        self.graph, self.model, self.mode, self.path = graph, model, mode, path
        self.steps_done = 0
        # SGD without dampening is the rule itself: its first velocity is g + l w, as from v = 0.
        self.optimizer = torch.optim.SGD(
            model.parameters(), lr=0.0, momentum=momentum, weight_decay=weight_decay
        )


@dataclass(frozen=True)
class Epoch:
    """What one pass over the data gave: means over its samples, and the time of each step.

    A step's seconds run from the input tensor to the updated weights; `seconds` is the whole
    pass, making the inputs included.
    """

    loss: float
    accuracy: float
    seconds: float
    step_seconds: list[float]


def train_epoch(
    trainer: Trainer, data: DataFile, batch: int, rates: Sequence[float], reporter: Reporter
) -> Epoch:
    """One pass in the data's order, the last smaller batch included; one rate of `rates` a step."""
    model, optimizer = trainer.model.train(), trainer.optimizer
    loss_sum, correct = 0.0, 0
    step_seconds: list[float] = []
    started = time.perf_counter()
    for step, (images, labels) in enumerate(data.labelled(batch)):
        inputs, targets = torch.from_numpy(images), torch.from_numpy(labels)
        step_started = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = rates[step]
        optimizer.zero_grad()
        logits = model(inputs)
        loss = nn.functional.cross_entropy(logits, targets)
        loss_value = loss.item()
        if not math.isfinite(loss_value):
            raise NonFiniteLoss(
                f"step {step + 1} of {len(rates)} (step {trainer.steps_done + 1} of the training), "
                f"learning rate {rates[step]:g}: the loss is {loss_value}; use a lower rate"
            )
        loss.backward()
        optimizer.step()
        step_seconds.append(time.perf_counter() - step_started)
        trainer.steps_done += 1
        loss_sum += loss_value * len(labels)
        correct += int((logits.detach().argmax(1) == targets).sum())
        reporter.progress(step + 1, len(rates), f"loss {loss_value:.4f}")
    seconds = time.perf_counter() - started
    return Epoch(loss_sum / data.count, correct / data.count, seconds, step_seconds)
