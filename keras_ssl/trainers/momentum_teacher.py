"""A teacher whose weights follow the student's: as in BYOL, MoCo and DINO."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.trainers.parts import copy_of, freeze


class _Followed:
    """Pairs of student and teacher parts, where Keras does not track them a second time."""

    def __init__(self):
        self.pairs = []


class MomentumTeacher:
    """Mix-in for trainers: parts that follow others as a moving average of their weights.

    After every optimizer step, for each weight θ that the student part learns and the ξ of its
    teacher, with momentum m:

        ξ <- m ξ + (1 - m) θ

    What is not learned, such as the statistics of batch normalisation, is the teacher's own: it
    moves when the teacher is called in training mode, as published methods do. The teacher starts
    as a copy of the student, is saved with the trainer, and no optimizer sees its weights.

    A trainer calls `follow` in its constructor for every part that has a teacher, and stops the
    gradient of what a teacher gives.

    Example:

    >>> import keras
    >>> from keras_ssl import trainers
    >>> class Distillation(trainers.MomentumTeacher, trainers.SelfSupervisedModel):
    ...     def __init__(self, encoder, momentum=0.99, **kwargs):
    ...         super().__init__(encoder, **kwargs)
    ...         self.teacher = self.follow(self.encoder, momentum)
    ...
    ...     def embed(self, batch, training):
    ...         target = keras.ops.stop_gradient(self.teacher(batch.x, training=training))
    ...         return {"error": keras.ops.square(self.encoder(batch.x) - target)}
    >>> trainer = Distillation(keras.layers.Dense(2))
    >>> trainer.compile("sgd")
    >>> _ = trainer.fit(keras.ops.ones((8, 4)), verbose=0)
    >>> len(trainer.trainable_weights), len(trainer.teacher.weights)
    (2, 2)

    Reference:
        - [Tarvainen & Valpola, Mean teachers are better role models](
          https://arxiv.org/abs/1703.01780)
        - [He et al., Momentum Contrast for Unsupervised Visual Representation
          Learning](https://arxiv.org/abs/1911.05722)
    """

    def follow(self, student: keras.layers.Layer, momentum: Any) -> keras.layers.Layer:
        """Make a teacher of a part.

        Args:
            student: the part that learns.
            momentum: m, in [0, 1): how much of a teacher's weight stays at each step; or a
                schedule of it by optimizer steps, such as
                `keras_ssl.optimizers.cosine_momentum(0.996, steps)`.

        Returns:
            The teacher: a layer of the same configuration. It gets the student's weights when the
            trainer is built.

        Raises:
            ValueError: if `momentum` is outside [0, 1).
            TypeError: if it is neither a number nor a schedule.
        """
        checks.momentum("momentum", momentum)
        teacher = copy_of(student)
        if not hasattr(self, "_followed"):
            self._followed = _Followed()
            # the optimizer's step that the teachers have followed
            self.followed_step = self.add_weight(
                name="followed_step", shape=(), dtype="int32", initializer="zeros", trainable=False
            )
        self._followed.pairs.append((student, teacher, momentum))
        return teacher

    def frozen_parts(self) -> list[keras.layers.Layer]:
        """Return the teachers."""
        return [*super().frozen_parts(), *(teacher for _, teacher, _ in self._followed.pairs)]

    def after_build(self) -> None:
        """Copy the students' weights, and keep the optimizer from the teachers'."""
        super().after_build()
        for student, teacher, _ in self._followed.pairs:
            teacher.set_weights(student.get_weights())
            freeze(teacher)

    def after_update(self) -> None:
        """Move the teachers towards their students."""
        super().after_update()
        step = ops.cast(next(iter(self.optimizers.values())).iterations, "int32")
        # not in a step that only adds gradients up, or in one that overflowed in float16
        has_moved = ops.not_equal(step, self.followed_step)
        for student, teacher, momentum in self._followed.pairs:
            m = momentum(step) if callable(momentum) else momentum
            m = ops.where(has_moved, ops.cast(m, "float32"), 1.0)
            for theta, xi in zip(student.weights, teacher.weights, strict=True):
                if theta.trainable:
                    keep = ops.cast(m, xi.dtype)
                    xi.assign(keep * xi + (1 - keep) * ops.cast(theta, xi.dtype))
        self.followed_step.assign(step)
