"""What contrastive predictive coding of grids and of sequences share."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from keras_ssl import losses
from keras_ssl.layers import StepPredictor
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch


class PredictiveCoding(SelfSupervisedModel):
    """Base of methods that predict features from those that come before them.

    Features `z = f(x)` lie along an axis, `(batch, positions, ..., features)`. In each direction
    of reading them, a context network of its own sums up what came up to a position, and a linear
    map for each step k predicts the projection of what comes k positions later. The loss picks
    that out of the projections of all positions and examples.

    A subclass says what directions there are, and how to turn the features so that each becomes
    reading along the first axis (`turns`), and how to `encode` its views.

    Args:
        encoder: as in the subclass.
        context: layer from features to contexts at the same positions. The first direction has
            this one, each other one a copy with weights of its own.
        projector: layer from features to what is predicted. `None` means the features themselves.
        augment: layer that makes one view of a batch, or `None`.
        loss: loss called `loss(prediction, target)`, for each step. `None` means
            `keras_ssl.losses.CPCLoss()`.
        steps: how far to predict, as in `keras_ssl.layers.StepPredictor`.
        directions: names out of `turns`.
        **kwargs: `name`, `dtype` of the model.

    Raises:
        TypeError: if a part is not a Keras object of its kind.
        ValueError: if `steps` or `directions` are none.
    """

    view_count = 1
    turns: ClassVar[dict[str, Callable[[Any], Any]]] = {}

    def __init__(
        self,
        encoder: keras.layers.Layer,
        context: keras.layers.Layer,
        projector: keras.layers.Layer | None,
        augment: keras.layers.Layer | None,
        loss: keras.losses.Loss | None,
        steps: int | Sequence[int],
        directions: Sequence[str],
        **kwargs: Any,
    ):
        super().__init__(encoder, augment, **kwargs)
        self.projector = keras.layers.Identity() if projector is None else projector
        self.loss_function = losses.CPCLoss() if loss is None else loss
        check_type("context", context, keras.layers.Layer)
        check_type("projector", self.projector, keras.layers.Layer)
        check_type("loss", self.loss_function, keras.losses.Loss)
        self.directions = self._check_directions(directions)
        self.contexts = [context, *(_new_layer_like(context) for _ in self.directions[1:])]
        self.predictors = [StepPredictor(steps) for _ in self.directions]
        self.steps = self.predictors[0].steps

    def _check_directions(self, directions: Any) -> tuple[str, ...]:
        names = tuple(directions) if isinstance(directions, tuple | list) else ()
        if not names or not set(names) <= set(self.turns) or len(set(names)) < len(names):
            raise ValueError(
                f"`directions` must be a sequence of different names out of {list(self.turns)}. "
                f"Received: directions={directions!r}"
            )
        return names

    def encode(self, views: Any, training: bool) -> Any:
        """Return the features of each position, `(batch, positions, ..., features)`."""
        return super().call(views, training=training)

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the representation of `x`: the mean of its features over all positions."""
        return _mean_of_positions(self.encode(x, training))

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the predictions of each direction and step, and what they predict."""
        z = self.encode(batch.views, training)
        target = self.projector(z, training=training)
        predictions = {}
        parts = zip(self.directions, self.contexts, self.predictors, strict=True)
        for direction, context, predictor in parts:
            turn = self.turns[direction]
            predictions[direction] = predictor(context(turn(z), training=training), turn(target))
        return {
            "predictions": predictions,
            "target": target,
            "representation": _mean_of_positions(z),
        }

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return a contrastive loss for each step, the mean over the directions."""
        by_step = dict.fromkeys((f"step_{step}" for step in self.steps), 0.0)
        for direction, predictions in embeddings["predictions"].items():
            target = self.turns[direction](embeddings["target"])
            for name, prediction in zip(by_step, predictions, strict=True):
                by_step[name] += self.loss_function(prediction, target) / len(self.directions)
        return by_step

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(
            context=self.contexts[0], projector=self.projector, loss=self.loss_function
        )
        return {
            **super().get_config(),
            **parts,
            "steps": self.steps,
            "directions": self.directions,
        }


def check_axes(name: str, x: Any, axes: tuple[str, ...]) -> None:
    """Raise unless `x` is one tensor with these axes.

    Args:
        name: what `x` is.
        x: tensor.
        axes: the names of its axes.

    Raises:
        ValueError: if it is a structure of tensors or of another rank.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.trainers.predictive_coding import check_axes
    >>> check_axes("features", np.zeros((4, 7, 16)), ("batch", "steps", "features"))
    """
    shape = tuple(x.shape) if hasattr(x, "shape") else None
    if shape is None or len(shape) != len(axes):
        received = f"a {type(x).__name__}" if shape is None else f"shape {shape}"
        raise ValueError(f"Expected {name} of shape ({', '.join(axes)}). Received: {received}")


def _new_layer_like(layer: keras.layers.Layer) -> keras.layers.Layer:
    """A layer of the same configuration, whose weights are drawn anew."""
    # the layer is at hand, so its classes need not be registered, and no code is read from a file
    with keras.saving.custom_object_scope({one.__name__: one for one in _classes_of(layer)}):
        config = keras.saving.serialize_keras_object(layer)
        return keras.saving.deserialize_keras_object(config, safe_mode=False)


def _classes_of(part: Any) -> set[type]:
    """The classes of a layer and of the layers within it."""
    return {type(part)}.union(*map(_classes_of, getattr(part, "layers", ())))


def _mean_of_positions(z: Any) -> Any:
    return ops.mean(z, axis=tuple(range(1, len(z.shape) - 1)))
