"""Contrastive predictive coding of images (CPC) and of sequences (SequenceCPC)."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from keras_ssl import augment, losses
from keras_ssl.layers import MaskedContext, StepPredictor
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import check_features, check_type
from keras_ssl.trainers.image_spec import ImageSpec
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch


class _PredictiveCoding(SelfSupervisedModel):
    """Base of methods that predict features from the features that precede them.

    Features `z = f(x)` lie along an axis, `(batch, positions, ..., features)`. A context network
    summarises the features up to each position, and for each step k a linear map predicts the
    projection of the features k positions later. There is one context network per direction, and
    `turns` holds for each direction the function that makes it run along the first axis.
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
        """Return the predictions of each direction and step, and their common target."""
        z = self.encode(batch.views, training)
        target = self.projector(z, training=training)
        predictions = {}
        parts = zip(self.directions, self.contexts, self.predictors, strict=True)
        for direction, context, predictor in parts:
            turn = self.turns[direction]
            c = context(turn(z), training=training)
            predictions[direction] = predictor(c, turn(target))
        representation = _mean_of_positions(z)
        return {"predictions": predictions, "target": target, "representation": representation}

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the contrastive loss of each step, averaged over the directions."""
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
        settings = {"steps": self.steps, "directions": self.directions}
        return {**super().get_config(), **parts, **settings}


@keras.saving.register_keras_serializable(package="keras_ssl")
class CPC(_PredictiveCoding):
    r"""CPC: contrastive predictive coding of images, versions 1 and 2.

    Each image is cut into a grid of overlapping patches, which the encoder maps to features,
    `z = f(patch)`. At row i, a masked context network summarises the features of this row and of
    the rows above it, `c_i`. From it, a linear map W_k predicts the features k rows below, and
    InfoNCE compares the prediction with the features of all patches of the batch, over all
    replicas. For each k there is a loss, named `step_k`:

        L_k = - mean over i of log( exp(z_{i+k}·W_k c_i / τ) / Σ_j exp(z_j·W_k c_i / τ) )

    The encoder should see one patch at a time. Batch normalisation in it would leak information
    between patches; version 2 uses layer normalisation.

    | | version 1 | version 2 |
    | --- | --- | --- |
    | patches | `PatchViews(64, 32)` | `PatchViews(80, 36, [RandomColorDrop(), ...])` |
    | `directions` | `("down",)` | `("down", "up", "right", "left")` |
    | `projector` | `None` | `keras.layers.Dense(64)` |
    | `loss` | `losses.CPCLoss()` | `losses.CPCLoss(temperature=10)` |
    | `steps` | `5` | `(3,)` |

    Args:
        encoder: `keras.Model` or layer f that maps patches, `(batch, height, width, channels)`,
            to `(batch, features)`. It is `trainer.encoder`, the product of training.
        augment: layer that cuts images into a grid of patches and may augment them, such as
            `keras_ssl.augment.PatchViews`. `None` if the data already holds such grids.
        context: layer that maps grids of features to grids of contexts. A context must not depend
            on the rows below it. Each further direction gets a copy with its own weights. `None`
            means `keras_ssl.layers.MaskedContext()`.
        projector: layer that maps features to the targets. `None` predicts the features themselves.
        loss: loss called `loss(prediction, target)` with `(batch, rows - k, columns, dim)` and
            `(batch, rows, columns, dim)`. `None` means `keras_ssl.losses.CPCLoss()`.
        steps: how many rows ahead to predict: an integer K for 1 to K, or a sequence of k.
        directions: directions to predict in, out of "down", "up", "right" and "left". The losses
            are averaged over them.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of images, or of grids of patches if `augment` is `None`.
        training: whether the encoder runs in training mode.

    Input shape:
        `(batch, height, width, channels)`; without `augment`, `(batch, rows, columns, patch
        height, patch width, channels)`.

    Output shape:
        `(batch, features)`: the mean of the features of all patches, without random augmentation.

    Raises:
        TypeError: if a part is not a Keras object, or `steps` are not integers.
        ValueError: if `steps` are not positive or `directions` are unknown. Before the first step,
            if patches are larger than the images, the grid has too few rows for `steps` (or
            columns, for "right" and "left"), or the context network changes the grid.

    Example:

    >>> import keras
    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.CPC(
    ...     encoder=keras.Sequential(
    ...         [
    ...             keras.layers.Rescaling(1 / 127.5, offset=-1),
    ...             keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
    ...             keras.layers.LayerNormalization(),
    ...             keras.layers.GlobalAveragePooling2D(),
    ...         ]
    ...     ),
    ...     augment=keras_ssl.augment.PatchViews(8, strides=4),
    ...     context=keras_ssl.layers.MaskedContext(blocks=2, width=16),
    ...     steps=(2, 3),
    ...     directions=("down", "up"),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> sorted(history.history)
    ['loss', 'step_2', 'step_3']
    >>> trainer(images).shape
    TensorShape([16, 16])

    Reference:
        - [Representation Learning with Contrastive Predictive Coding](
          https://arxiv.org/abs/1807.03748), van den Oord et al., 2018
        - [Data-Efficient Image Recognition with Contrastive Predictive Coding](
          https://arxiv.org/abs/1905.09272), Hénaff et al., 2019
    """

    turns: ClassVar[dict[str, Callable[[Any], Any]]] = {
        "down": lambda z: z,
        "up": lambda z: ops.flip(z, axis=1),
        "right": lambda z: ops.swapaxes(z, 1, 2),
        "left": lambda z: ops.swapaxes(ops.flip(z, axis=2), 1, 2),
    }

    def __init__(
        self,
        encoder: keras.layers.Layer,
        augment: keras.layers.Layer | None = None,
        context: keras.layers.Layer | None = None,
        projector: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        steps: int | Sequence[int] = 5,
        directions: Sequence[str] = ("down",),
        **kwargs: Any,
    ):
        context = MaskedContext() if context is None else context
        super().__init__(encoder, context, projector, augment, loss, steps, directions, **kwargs)

    def _build_encoder(self, input_shape: Any) -> None:
        if self.augment is not None:
            input_shape = self.augment.compute_output_shape(input_shape)
        super()._build_encoder((None, *input_shape[3:]))

    def encode(self, views: Any, training: bool) -> Any:
        """Return the features of each patch, `(batch, rows, columns, features)`."""
        axes = ("batch", "rows", "columns", "patch height", "patch width", "channels")
        _check_axes("grids of patches (does `augment` make them?)", views, axes)
        rows, columns, *patch = views.shape[1:]
        features = super().encode(ops.reshape(views, (-1, *patch)), training)
        check_features(features)
        return ops.reshape(features, (-1, rows, columns, features.shape[-1]))

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the mean of the features of all patches of `x`."""
        patches = x if self.augment is None else self.augment(x, training=False)
        return super().call(patches, training=training)

    @classmethod
    def encoder_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the encoder of a trainer that is made by its name: of patches."""
        return images.encoder(size=images.size // 4)

    @classmethod
    def augment_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the view of images that a trainer made by its name sees: overlapping patches."""
        return augment.PatchViews(images.size // 4, max(1, images.size // 8))

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return super().get_config()


@keras.saving.register_keras_serializable(package="keras_ssl")
class SequenceCPC(_PredictiveCoding):
    r"""CPC of sequences: contrastive predictive coding of audio, text or sensor data.

    The encoder, typically strided convolutions, maps a sequence to a shorter one of features,
    `z = f(x)`. At step t, a context network summarises the features up to this step, `c_t`. From
    it, the features k steps later are predicted, with the loss of `CPC` for each k:

        L_k = - mean over t of log( exp(z_{t+k}·W_k c_t / τ) / Σ_j exp(z_j·W_k c_t / τ) )

    The context network must be causal: a GRU, an LSTM, causal convolutions, or attention with a
    causal mask.

    Args:
        encoder: `keras.Model` or layer f that maps `(batch, time, channels)` to
            `(batch, steps, features)`. It is `trainer.encoder`, the product of training.
        augment: layer that makes one view of a batch. `None` leaves the sequences unchanged.
        context: layer that maps `(batch, steps, features)` to `(batch, steps, width)`. Each further
            direction gets a copy with its own weights. `None` means
            `keras.layers.GRU(256, return_sequences=True)`.
        projector: as in `CPC`.
        loss: as in `CPC`, with `(batch, steps - k, dim)` and `(batch, steps, dim)`.
        steps: how many steps ahead to predict: an integer K for 1 to K, or a sequence of k.
        directions: out of "forward" and "backward", as in `CPC`.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of sequences.
        training: whether the encoder runs in training mode.

    Input shape:
        What the encoder takes, usually `(batch, time, channels)`.

    Output shape:
        `(batch, features)`: the mean of the features over all steps. `trainer.encoder(x)` gives
        the features of each step, and `trainer.contexts[0](trainer.encoder(x))` the contexts,
        which the paper uses for speech.

    Raises:
        TypeError: as in `CPC`.
        ValueError: as in `CPC`; before the first step, if the encoder does not return sequences,
            or they are too short for `steps`.

    Example:

    >>> import keras
    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> x = keras.ops.cast(images[..., 0], "float32") / 255  # sequences of 28 rows
    >>> trainer = keras_ssl.trainers.SequenceCPC(
    ...     encoder=keras.layers.Conv1D(16, 4, strides=2, activation="relu"),
    ...     context=keras.layers.GRU(8, return_sequences=True),
    ...     steps=3,
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(x, batch_size=8, verbose=0)
    >>> sorted(history.history)
    ['loss', 'step_1', 'step_2', 'step_3']
    >>> trainer(x).shape, trainer.encoder(x).shape
    (TensorShape([16, 16]), TensorShape([16, 13, 16]))

    Reference:
        - [Representation Learning with Contrastive Predictive Coding](
          https://arxiv.org/abs/1807.03748), van den Oord et al., 2018
    """

    turns: ClassVar[dict[str, Callable[[Any], Any]]] = {
        "forward": lambda z: z,
        "backward": lambda z: ops.flip(z, axis=1),
    }
    learns_from = "sequences"

    def __init__(
        self,
        encoder: keras.layers.Layer,
        augment: keras.layers.Layer | None = None,
        context: keras.layers.Layer | None = None,
        projector: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        steps: int | Sequence[int] = 12,
        directions: Sequence[str] = ("forward",),
        **kwargs: Any,
    ):
        context = keras.layers.GRU(256, return_sequences=True) if context is None else context
        super().__init__(encoder, context, projector, augment, loss, steps, directions, **kwargs)

    def encode(self, views: Any, training: bool) -> Any:
        """Return the features of each step, `(batch, steps, features)`."""
        features = super().encode(views, training)
        _check_axes("features from `encoder`", features, ("batch", "steps", "features"))
        return features

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return super().get_config()


def _check_axes(name: str, x: Any, axes: tuple[str, ...]) -> None:
    """Raise a `ValueError` unless `x` is one tensor with these axes."""
    shape = tuple(x.shape) if hasattr(x, "shape") else None
    if shape is None or len(shape) != len(axes):
        received = f"a {type(x).__name__}" if shape is None else f"shape {shape}"
        raise ValueError(f"Expected {name} of shape ({', '.join(axes)}). Received: {received}")


def _new_layer_like(layer: keras.layers.Layer) -> keras.layers.Layer:
    """Return a layer of the same configuration, with newly initialised weights."""
    # the layer exists already, so its classes need not be registered, and its code is trusted
    with keras.saving.custom_object_scope({one.__name__: one for one in _classes_of(layer)}):
        config = keras.saving.serialize_keras_object(layer)
        return keras.saving.deserialize_keras_object(config, safe_mode=False)


def _classes_of(part: Any) -> set[type]:
    """Return the classes of a layer and of the layers inside it."""
    return {type(part)}.union(*map(_classes_of, getattr(part, "layers", ())))


def _mean_of_positions(z: Any) -> Any:
    return ops.mean(z, axis=tuple(range(1, len(z.shape) - 1)))
