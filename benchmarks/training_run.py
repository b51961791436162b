"""A whole run of keras_ssl: a trainer, its data and its optimizer, one epoch at a time."""

import math
import time

import keras
import numpy as np
import tensorflow as tf

from keras_ssl.trainers import SelfSupervisedModel


def warmed_up_cosine(
    learning_rate: float, steps: int, warmup: float
) -> keras.optimizers.schedules.LearningRateSchedule:
    """The rate rises from 0 for a part of the steps, then falls to 0 along half a cosine."""
    rising = round(warmup * steps)
    return keras.optimizers.schedules.CosineDecay(
        0.0 if rising else learning_rate,
        steps - rising,
        warmup_target=learning_rate if rising else None,
        warmup_steps=rising,
    )


class TrainingRun:
    """One training run, an epoch at a time.

    Args:
        trainer: what learns.
        data: batches of one epoch.
        epochs: length of the run, over which the learning rate falls to 0 along half a cosine.
        learning_rate: the largest one.
        weight_decay: of AdamW, on all parameters.
        epsilon: of AdamW.
        warmup: part of the run in which the rate rises from 0, before it falls.
        jit_compile: whether XLA compiles the step, or "auto".
    """

    def __init__(
        self,
        trainer: SelfSupervisedModel,
        data: tf.data.Dataset,
        epochs: int,
        learning_rate: float,
        weight_decay: float,
        epsilon: float,
        warmup: float = 0.0,
        jit_compile: bool | str = "auto",
    ):
        self.trainer = trainer
        self.data = data
        schedule = warmed_up_cosine(learning_rate, epochs * len(data), warmup)
        # one for each part that has its own, such as a discriminator
        optimizers = {
            name: keras.optimizers.AdamW(schedule, weight_decay=weight_decay, epsilon=epsilon)
            for name in self.trainer.optimizer_names
        }
        self.trainer.compile(optimizers, jit_compile=jit_compile)
        self.epochs_done = 0

    def epoch(self) -> dict[str, float]:
        """Trains for one epoch; returns its seconds and its mean loss."""
        start = time.perf_counter()
        history = self.trainer.fit(
            self.data, initial_epoch=self.epochs_done, epochs=self.epochs_done + 1, verbose=0
        )
        self.epochs_done += 1
        return {"seconds": time.perf_counter() - start, "loss": history.history["loss"][0]}

    def parameters(self) -> int:
        """Number of trainable parameters."""
        return sum(math.prod(variable.shape) for variable in self.trainer.trainable_variables)

    def features(self, images: np.ndarray) -> np.ndarray:
        """The encoder's features of the images."""
        return self.trainer.predict(images, batch_size=500, verbose=0)
