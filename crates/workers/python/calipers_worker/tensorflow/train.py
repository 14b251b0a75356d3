"""Trains a Keras model with the one update rule, one optimizer step a call."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import tensorflow as tf
import tf_keras

from calipers_worker.batches import DataFile
from calipers_worker.errors import NonFiniteLoss
from calipers_worker.protocol import Reporter


@dataclass(frozen=True)
class EpochResult:
    """What one pass over the data gave: means over its samples, and the time of each step.

    A step's seconds run from the input tensor to the updated weights; `seconds` is the whole pass,
    making the inputs included.
    """

    loss: float
    accuracy: float
    seconds: float
    step_seconds: list[float]


def channels_last(images: np.ndarray) -> np.ndarray:
    """[N,C,H,W] to a contiguous [N,H,W,C]."""
    return np.ascontiguousarray(images.transpose(0, 2, 3, 1))


class Trainer:
    """A model in training: its velocities and its traced step.

    v <- momentum v + g + weight_decay w;  w <- w - rate v, for every trainable variable; v starts
    at 0. The loss is softmax cross-entropy, mean over the batch.
    """

    def __init__(self, model: tf_keras.Model, momentum: float, weight_decay: float) -> None:
        self.model = model
        self.steps_done = 0
        trainable = model.trainable_variables
        velocities = [
            tf.Variable(tf.zeros_like(variable), trainable=False) for variable in trainable
        ]
        self.velocities = velocities
        images = tf.TensorSpec([None, *model.input_shape[1:]], tf.float32)
        labels = tf.TensorSpec([None], tf.int64)
        rate = tf.TensorSpec([], tf.float32)

        # The signature leaves the batch open and takes the rate as a tensor, so that neither the
        # smaller last batch nor a new rate traces the step again.
        @tf.function(input_signature=[images, labels, rate])
        def step(
            images: tf.Tensor, labels: tf.Tensor, rate: tf.Tensor
        ) -> tuple[tf.Tensor, tf.Tensor]:
            with tf.GradientTape() as tape:
                logits = model(images, training=True)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
                loss = tf.reduce_mean(losses)
            gradients = tape.gradient(loss, trainable)
            for variable, gradient, velocity in zip(trainable, gradients, velocities, strict=True):
                velocity.assign(momentum * velocity + gradient + weight_decay * variable)
                variable.assign_sub(rate * velocity)
            correct = tf.math.count_nonzero(tf.argmax(logits, axis=1) == labels)
            return loss, correct

        self.step = step
        step.get_concrete_function()

    def epoch(
        self, data: DataFile, batch: int, rates: list[float], reporter: Reporter
    ) -> EpochResult:
        """One pass over `data` in its order, one step a batch, with one learning rate a step."""
        loss_sum, correct_sum, step_seconds = 0.0, 0, []
        started = time.perf_counter()
        for index, (images, labels) in enumerate(_batches(data, batch)):
            rate = tf.constant(rates[index], tf.float32)
            step_started = time.perf_counter()
            loss_tensor, correct = self.step(images, labels, rate)
            loss = float(loss_tensor)
            step_seconds.append(time.perf_counter() - step_started)
            self.steps_done += 1
            if not math.isfinite(loss):
                raise NonFiniteLoss(
                    f"step {index + 1} of {len(rates)} (step {self.steps_done} of the training), "
                    f"learning rate {rates[index]:g}: the loss is {loss}; use a lower rate"
                )
            count = int(labels.shape[0])
            loss_sum += loss * count
            correct_sum += int(correct)
            reporter.progress(index + 1, len(rates), f"loss {loss:.4f}")
        self._check_weights(rates[-1])
        return EpochResult(
            loss_sum / data.count,
            correct_sum / data.count,
            time.perf_counter() - started,
            step_seconds,
        )

    def _check_weights(self, rate: float) -> None:
        # TensorFlow's fused convolution with Relu, and its max pool, turn NaN into a number, so a
        # training that diverged can go on with a finite loss.
        for variable in self.model.trainable_variables:
            if not np.isfinite(variable.numpy()).all():
                raise NonFiniteLoss(
                    f"step {self.steps_done} of the training, learning rate {rate:g}: variable "
                    f"`{variable.name}` holds a value that is not finite; use a lower rate"
                )


def _batches(data: DataFile, size: int) -> Iterator[tuple[tf.Tensor, tf.Tensor]]:
    for images, labels in data.labelled(size):
        yield tf.constant(channels_last(images)), tf.constant(labels)
