"""EMA copies of layers: the teachers of BYOL, MoCo and DINO."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl._copying import copy_layer
from keras_ssl._keras_internals import all_layers


class EMATeacher:
    """Exponential moving average of the weights of some of a trainer's layers.

    For each named layer of the trainer, its student, the teacher holds a copy, which becomes an
    attribute of the trainer: the copy of `trainer.encoder` is `trainer.teacher_encoder`. After
    every optimizer step, for each weight θ that the student learns and its copy ξ, with momentum m:

        ξ <- m ξ + (1 - m) θ

    A copy starts with everything that its student has: weights, and state that layers derive from
    weights, such as that of an adapted `keras.layers.Normalization`. What is not learned, such as
    the statistics of batch normalisation, is the teacher's own afterwards: it moves when the
    teacher is called in training mode, as in the published methods. A teacher that no loss calls,
    such as the averaged generator of a GAN, takes it over from the student instead, with
    `copy_statistics=True`. A copy does not drop anything:
    the rates of its dropout and stochastic depth are 0. The `trainable` flags of
    layers, which decide whether batch normalisation uses batch statistics, are those that the
    student has when the trainer is compiled. A layer of the student that is adapted anew, such as
    `Normalization`, is the teacher's too from the next `fit` on. Averages are kept in float32
    whatever the dtype policy. The teacher is saved with the trainer, and no optimizer sees its
    weights.

    The trainer moves its teachers itself; a method only makes them, in its constructor, and stops
    the gradient of what a teacher returns.

    Args:
        trainer: the `SelfSupervisedModel` whose layers are followed.
        students: names of attributes of the trainer that hold the layers.
        momentum: m, in [0, 1): how much of a teacher's weight is kept at each step; or a schedule
            of it by optimizer steps, such as `keras_ssl.optimizers.cosine_momentum(0.996, steps)`.
        copies: layers to use as copies, by the names of their students, for students that cannot
            be copied. They must have the architecture of the student.
        copy_statistics: whether weights that are not learned are those of the student after each
            step.

    Raises:
        ValueError: if `momentum` is outside [0, 1), or a student cannot be copied.
        TypeError: if `momentum` is neither a number nor a schedule.

    Example:

    >>> import keras
    >>> from keras_ssl import trainers
    >>> class Distillation(trainers.SelfSupervisedModel):
    ...     def __init__(self, encoder, momentum=0.99, **kwargs):
    ...         super().__init__(encoder, **kwargs)
    ...         self.teacher = trainers.EMATeacher(self, ["encoder"], momentum)
    ...
    ...     def embed(self, batch, training):
    ...         target = keras.ops.stop_gradient(self.teacher_encoder(batch.x, training=training))
    ...         return {"error": keras.ops.square(self.encoder(batch.x) - target)}
    >>> trainer = Distillation(keras.layers.Dense(2))
    >>> trainer.compile("sgd")
    >>> _ = trainer.fit(keras.ops.ones((8, 4)), verbose=0)
    >>> len(trainer.trainable_weights), len(trainer.teacher_encoder.weights)
    (2, 2)

    Reference:
        - [Tarvainen & Valpola, Mean teachers are better role models](
          https://arxiv.org/abs/1703.01780)
        - [He et al., Momentum Contrast for Unsupervised Visual Representation
          Learning](https://arxiv.org/abs/1911.05722)
    """

    def __init__(
        self,
        trainer: keras.Model,
        students: Sequence[str],
        momentum: float | keras.optimizers.schedules.LearningRateSchedule,
        copies: Mapping[str, keras.layers.Layer] | None = None,
        copy_statistics: bool = False,
    ):
        checks.momentum("momentum", momentum)
        self.momentum = momentum
        self.copy_statistics = copy_statistics
        self.trainer = trainer
        self.names = tuple(students)
        for name in self.names:
            copy = (copies or {}).get(name)
            if copy is None:
                copy = _copy(name, getattr(trainer, name))
                _stop_dropping(copy)
            setattr(trainer, f"teacher_{name}", copy)
        self._averages = {}
        self._is_started = False
        trainer.add_teacher(self)

    @property
    def pairs(self) -> list[tuple[keras.layers.Layer, keras.layers.Layer]]:
        """Each student with its copy."""
        trainer = self.trainer
        return [(getattr(trainer, n), getattr(trainer, f"teacher_{n}")) for n in self.names]

    def project(self, view: Any, training: bool) -> Any:
        """Return the teacher's projection of a batch of views; no gradient flows through it.

        Args:
            view: batch of one view.
            training: whether batch normalisation uses the statistics of the batch.

        Returns:
            Tensor of shape `(batch, dim)`.
        """
        projector = self.trainer.teacher_projector
        h = self.trainer.teacher_encoder(view, training=training)
        h = self.trainer.input_kind.mask_padding(h, view, projector)
        return ops.stop_gradient(projector(h, training=training))

    def build(self) -> None:
        """Create weights of copies that no loss calls, and the averages of those of few bits."""
        for name, (student, teacher) in zip(self.names, self.pairs, strict=True):
            if student.built and len(teacher.weights) < len(student.weights):
                with suppress(Exception):
                    teacher.build_from_config(student.get_build_config())
            if len(teacher.weights) != len(student.weights):
                raise ValueError(
                    f"`teacher_{name}` must have as many weights as `{name}`. Call both in "
                    "`embed` or `compute_losses`, or pass an encoder that is built. Received: "
                    f"{len(teacher.weights)} and {len(student.weights)} weights"
                )
            for theta, xi in zip(student.weights, teacher.weights, strict=True):
                if xi.dtype in ("float16", "bfloat16") and id(xi) not in self._averages:
                    self._averages[id(xi)] = self.trainer.add_weight(
                        name=f"average_of_{theta.name}",
                        shape=xi.shape,
                        dtype="float32",
                        initializer="zeros",
                        trainable=False,
                    )

    def start(self) -> None:
        """Copy everything that the students hold."""
        for student, teacher in self.pairs:
            _copy_weights(student, teacher)
            for xi in teacher.weights:
                if id(xi) in self._averages:
                    self._averages[id(xi)].assign(ops.cast(xi, "float32"))
        self._is_started = True
        self.freeze()

    def take_over_adapted(self) -> None:
        """Copy the state of layers that are adapted to data, such as `Normalization`."""
        for student, teacher in self.pairs:
            layers = zip(all_layers(student), all_layers(teacher), strict=True)
            for of_student, of_teacher in layers:
                if derives_state(of_student):
                    of_teacher.set_weights(of_student.get_weights())
                    of_teacher.finalize_state()

    def freeze(self) -> None:
        """Keep the optimizer from the copies, whose layers get the students' `trainable` flags."""
        if not self._is_started:  # the copies may not be built yet
            return
        for student, teacher in self.pairs:
            layers = zip(all_layers(student), all_layers(teacher), strict=True)
            for of_student, of_teacher in layers:
                of_teacher.trainable = of_student.trainable
            freeze(teacher)

    def follow(self, step: Any, has_moved: Any) -> None:
        """Move the copies towards their students.

        Args:
            step: int32 scalar, the optimizer's step that the students have just taken, counted from
                0 as for its learning rate.
            has_moved: bool scalar, whether it has moved the students since the last call.
        """
        m = self.momentum(step) if callable(self.momentum) else self.momentum
        m = ops.where(has_moved, ops.cast(m, "float32"), 1.0)
        for student, teacher in self.pairs:
            for theta, xi in zip(student.weights, teacher.weights, strict=True):
                if not theta.trainable:
                    if self.copy_statistics:
                        now, before = ops.convert_to_tensor(theta), ops.convert_to_tensor(xi)
                        xi.assign(ops.where(has_moved, now, before))
                    continue
                average = self._averages.get(id(xi), xi)
                keep = ops.cast(m, average.dtype)
                average.assign(keep * average + (1 - keep) * ops.cast(theta, average.dtype))
                if average is not xi:
                    xi.assign(ops.cast(average, xi.dtype))


def freeze(layer: keras.layers.Layer) -> None:
    """Keep every weight of a layer from the optimizer, and the layer's own `trainable` flag.

    A layer of batch normalisation that is not trainable would use its moving statistics. And a
    subclassed model that was loaded from a file may already be marked as not trainable, in which
    case Keras does not pass the flag on to the weights of its layers.
    """
    for weight in layer.weights:
        weight.trainable = False


def derives_state(layer: keras.layers.Layer) -> bool:
    """Whether a layer, such as `Normalization`, computes with what it derives from its weights."""
    return callable(getattr(layer, "finalize_state", None))


def _copy_weights(student: keras.layers.Layer, teacher: keras.layers.Layer) -> None:
    teacher.set_weights(student.get_weights())
    for layer in all_layers(teacher):
        if derives_state(layer):
            layer.finalize_state()


def _stop_dropping(layer: keras.layers.Layer) -> None:
    """Set the rates of dropout, stochastic depth and the like to 0."""
    for one in all_layers(layer):
        if hasattr(one, "seed_generator") and isinstance(getattr(one, "rate", None), (int, float)):
            one.rate = 0.0


def _copy(name: str, student: keras.layers.Layer) -> keras.layers.Layer:
    with suppress(Exception):
        return copy_layer(student)
    # a layer that holds what cannot be copied may be described by its config
    try:
        config = keras.saving.serialize_keras_object(student)
        return keras.saving.deserialize_keras_object(config, safe_mode=False)
    except Exception as error:
        raise ValueError(
            f"`{name}` could not be copied, and its teacher is a copy. Give its layers a "
            "`get_config` from which they can be rebuilt, or pass a copy to "
            f"`EMATeacher(copies={{'{name}': ...}})`. "
            f"Received: {student}, whose copy failed with: {error}"
        ) from error
