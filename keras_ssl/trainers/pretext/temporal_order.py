"""Temporal order: tell whether, or in which order, parts of a video or a time series come."""

import itertools
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.distribute import draw_per_example
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import check_features, check_type, describe
from keras_ssl.trainers.pretext._values import check_finite
from keras_ssl.trainers.step import Batch

_MOST_PARTS = 6  # 720 orders


@keras.saving.register_keras_serializable(package="keras_ssl")
class TemporalOrder(SelfSupervisedModel):
    r"""Temporal order: shuffle and learn, for frames of videos and segments of time series.

    From each sequence a few parts that do not overlap, frames or segments of several steps, are
    taken at random places and put into a random order σ. One encoder f sees each part by itself. A
    softmax on the features of all parts, side by side, tells the class of the order:

        L = -log p(class of σ | f(part_σ(1)), ..., f(part_σ(n)))

    With `verify=True` there are two classes: 1 if the parts are in their order, 0 if they are
    shuffled. So it is in the paper for three frames, a quarter of them in order. With
    `verify=False` there is a class for each order, all equally frequent, as in later work on
    sorting. If `reversible`, an order and its reverse are one class, as many motions look alike
    both ways.

    Args:
        encoder: `keras.Model` or layer f from a part to `(batch, features)`: from frames
            `(batch, ...)` or, with `length` above 1, from segments `(batch, length, ...)`.
        parts: n, how many parts to take, 2 to 6; at least 3 if `reversible`.
        length: steps of a part. 1 means single steps, such as frames of a video.
        gap: least number of steps between two parts.
        verify: whether to tell only whether the order is right.
        reversible: whether an order and its reverse are one class.
        in_order: with `verify`, the share of examples whose parts are in order, above 0 and below
            1.
        augment: layer that makes one view of a batch of sequences. `None` leaves them unchanged.
        seed: integer seed of places and orders, or `None` for a random one.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of sequences.
        training: whether the encoder runs in training mode.

    Input shape:
        `(batch, time, ...)`, such as videos `(batch, time, height, width, channels)` or series
        `(batch, time, channels)`, one tensor without missing values and without padding, of at
        least `parts * length + (parts - 1) * gap` steps.

    Output shape:
        `(batch, features)`: the mean of the features of all parts, side by side from the first
        step. `trainer.encoder` gives those of one part.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument is out of range; before the first step, if sequences are too
            short or of unknown length, arrays or a first batch have values that are not finite, or
            the encoder does not return one vector for each part.

    Example:

    >>> import keras, numpy as np, keras_ssl
    >>> videos = np.random.default_rng(0).random((16, 12, 8, 8, 1))
    >>> encoder = keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(8, "relu")])
    >>> trainer = keras_ssl.trainers.TemporalOrder(encoder, gap=1)
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(videos, batch_size=8, verbose=0)
    >>> trainer(videos).shape
    TensorShape([16, 8])

    Reference:
        - [Shuffle and Learn: Unsupervised Learning using Temporal Order Verification](
          https://arxiv.org/abs/1603.08561), Misra et al., 2016
        - [Unsupervised Representation Learning by Sorting Sequences](
          https://arxiv.org/abs/1708.01246), Lee et al., 2017, for `verify=False`
    """

    view_count = 1
    learns_from = "videos and time series"

    def __init__(
        self,
        encoder: keras.layers.Layer,
        parts: int = 3,
        length: int = 1,
        gap: int = 0,
        verify: bool = True,
        reversible: bool = True,
        in_order: float = 0.25,
        augment: keras.layers.Layer | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(encoder, augment, **kwargs)
        check_type("encoder", encoder, keras.layers.Layer)
        self.reversible, self.verify = bool(reversible), bool(verify)
        self.parts = checks.integer("parts", parts, minimum=3 if self.reversible else 2)
        if self.parts > _MOST_PARTS:
            raise ValueError(f"`parts` must be at most {_MOST_PARTS}. Received: parts={parts}")
        self.length = checks.integer("length", length, minimum=1)
        self.gap = checks.integer("gap", gap, minimum=0)
        self.in_order = checks.below_one("in_order", in_order, positive=True)
        self.seed = checks.integer("seed", seed, optional=True)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self.orders, self.classes = self._orders()
        self.head = keras.layers.Dense(int(self.classes.max()) + 1, name="head")

    def _orders(self) -> tuple[np.ndarray, np.ndarray]:
        """Return all orders, the right one first, and the class of each."""
        orders = list(itertools.permutations(range(self.parts)))
        if self.reversible:  # each beside its reverse: that in which part 0 is before the last
            halves = [one for one in orders if one.index(0) < one.index(self.parts - 1)]
            orders = [order for one in halves for order in (one, one[::-1])]
        alike = 2 if self.reversible else 1
        numbers = np.arange(len(orders)) // alike
        classes = (numbers == 0).astype("int32") if self.verify else numbers.astype("int32")
        return np.array(orders, "int32"), classes

    def check_views(self, views: Any) -> None:
        """Raise unless there is one batch of sequences that are long enough."""
        shape = getattr(views, "shape", ())
        least = self.parts * self.length + (self.parts - 1) * self.gap
        if len(shape) < 3 or shape[1] is None or shape[1] < least:
            raise ValueError(
                f"Expected sequences of shape (batch, time, ...), one tensor, of at least {least} "
                f"steps: {self.parts} parts of {self.length} steps with {self.gap} between them. "
                f"Received: {describe(views)}"
            )

    def check_representation(self, features: Any) -> None:
        """Raise unless the encoder returns one vector per part."""
        check_features(features)

    def check_values(self, x: Any) -> None:
        """Raise a `ValueError` if values are missing."""
        check_finite(x, "fill them first")

    def encode_parts(self, parts: Any, training: bool = False) -> Any:
        """Return the features of parts, `(batch, parts, features)`.

        Args:
            parts: `(batch, parts, length, ...)`.
            training: whether the encoder runs in training mode.
        """
        count, step = parts.shape[1], tuple(parts.shape[3:])
        shape = step if self.length == 1 else (self.length, *step)
        h = self.encoder(ops.reshape(parts, (-1, *shape)), training=training)
        check_features(h)
        return ops.reshape(h, (-1, count, h.shape[-1]))

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the mean of the features of all parts of `x`, side by side."""
        x = self.input_kind.as_floats(self.to_encode(x))
        self.check_views(x)
        count = x.shape[1] // self.length
        shape = (-1, count, self.length, *x.shape[2:])
        parts = ops.reshape(x[:, : count * self.length], shape)
        return ops.mean(self.encode_parts(parts, training), axis=1)

    def draw(self, x: Any) -> tuple[Any, Any]:
        """Draw the steps of parts and their order.

        Args:
            x: sequences `(batch, time, ...)`.

        Returns:
            The first step of each part, in the order in which parts are shown, int32
            `(batch, parts)`, and the number of the order among `trainer.orders`, int32 `(batch,)`.
        """
        spare = x.shape[1] - self.parts * self.length - (self.parts - 1) * self.gap
        uniforms = draw_per_example(
            lambda rows: keras.random.uniform(
                (rows, self.parts + 1), dtype="float32", seed=self.seed_generator
            ),
            ops.shape(x)[0],
        )
        # all choices of places are equally frequent: `parts` different numbers out of so many,
        # less the numbers below each
        places = _without_replacement(uniforms[:, :-1], spare + self.parts)
        starts = places + np.arange(self.parts, dtype="int32") * (self.length + self.gap - 1)
        bounds = np.cumsum(self._shares())[:-1].astype("float32")
        number = ops.sum(ops.cast(uniforms[:, -1:] >= bounds, "int32"), axis=1)
        order = ops.take(ops.convert_to_tensor(self.orders), number, axis=0)
        return ops.take_along_axis(starts, order, axis=1), number

    def _shares(self) -> np.ndarray:
        """Return the probability of each order."""
        if not self.verify:
            return np.full(len(self.orders), 1 / len(self.orders))
        right = self.classes == 1
        return np.where(right, self.in_order / right.sum(), (1 - self.in_order) / (~right).sum())

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the loss of each example, and the mean of the features of its parts."""
        x = batch.views
        starts, number = self.draw(x)
        time, frame = x.shape[1], tuple(x.shape[2:])
        rows = ops.arange(ops.shape(x)[0], dtype="int32")[:, None, None] * time
        steps = rows + starts[:, :, None] + np.arange(self.length, dtype="int32")
        parts = ops.take(ops.reshape(x, (-1, *frame)), steps, axis=0)
        h = self.encode_parts(parts, training)
        logits = self.head(ops.reshape(h, (-1, self.parts * h.shape[-1])))
        classes = ops.take(ops.convert_to_tensor(self.classes), number)
        values = ops.sparse_categorical_crossentropy(
            classes, ops.cast(logits, "float32"), from_logits=True
        )
        return {"order": values, "representation": ops.mean(h, axis=1)}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        names = ("parts", "length", "gap", "verify", "reversible", "in_order", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _without_replacement(uniforms: Any, count: int) -> Any:
    """Return different numbers from 0 to `count - 1`, sorted; all sets are equally probable.

    Args:
        uniforms: numbers from [0, 1), `(batch, n)`.
        count: at least n.
    """
    chosen = []
    for place in range(uniforms.shape[1]):
        left = count - place
        number = ops.minimum(ops.cast(uniforms[:, place] * left, "int32"), left - 1)
        # among those that are left: skip the chosen ones, from the smallest
        for other in _sorted(chosen):
            number = number + ops.cast(number >= other, "int32")
        chosen.append(number)
    return ops.stack(_sorted(chosen), axis=1)


def _sorted(columns: list[Any]) -> list[Any]:
    if len(columns) < 2:
        return columns
    ordered = ops.sort(ops.stack(columns, axis=1), axis=1)
    return [ordered[:, n] for n in range(len(columns))]
