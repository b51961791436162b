"""CPC: from the upper part of an image, tell its lower patches from all others."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from keras_ssl.layers import MaskedContext
from keras_ssl.trainers.checks import check_features
from keras_ssl.trainers.predictive_coding import PredictiveCoding, check_axes

AXES = ("batch", "rows", "columns", "patch height", "patch width", "channels")


@keras.saving.register_keras_serializable(package="keras_ssl")
class CPC(PredictiveCoding):
    r"""CPC: contrastive predictive coding of images, with version 2's changes as arguments.

    Every image is cut into a grid of overlapping patches, of which the encoder makes features,
    `z = f(patch)`. A masked context network sums up, at each place, the features of its row and
    of those above. From a context, a linear map W_k predicts the features k rows below. InfoNCE
    picks them out of those of all patches of the batch, over all replicas. The named losses are
    `step_k`, one for each k.

    A patch is encoded by itself: batch normalisation in the encoder, which lets patches know of
    each other, makes the task easier than it should be. Version 2 has layer normalisation.

    | | version 1 | version 2 |
    | --- | --- | --- |
    | patches | `PatchViews(64, 32)` | `PatchViews(80, 36, [RandomColorDrop(), ...])` |
    | `directions` | `("down",)` | `("down", "up", "right", "left")` |
    | `projector` | `None` | `keras.layers.Dense(64)` |
    | `loss` | `losses.CPCLoss()` | `losses.CPCLoss(temperature=10)` |
    | `steps` | `5` | `(3,)` |

    Args:
        encoder: `keras.Model` or layer f, from patches, `(batch, height, width, channels)`, to
            `(batch, features)`. It is `trainer.encoder`, the product.
        augment: layer that cuts images into a grid of patches, and may augment them, such as
            `keras_ssl.augment.PatchViews`. `None` means that the data holds such grids.
        context: layer from grids of features to grids of contexts, where a row must not see those
            below it. Each direction has a copy with weights of its own. `None` means
            `keras_ssl.layers.MaskedContext()`.
        projector: layer from features to what is predicted. `None` means the features themselves.
        loss: loss called `loss(prediction, target)` with `(batch, rows - k, columns, dim)` and
            `(batch, rows, columns, dim)`. `None` means `keras_ssl.losses.CPCLoss()`.
        steps: how many rows below to predict: an integer K for 1 to K, or the ks themselves.
        directions: in which to predict: of "down", "up", "right" and "left". A loss is the mean
            over them.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of images, or of grids of patches where `augment` is `None`.
        training: whether the encoder runs in training mode.

    Input shape:
        `(batch, height, width, channels)`, or `(batch, rows, columns, patch height, patch width,
        channels)` where `augment` is `None`.

    Output shape:
        `(batch, features)`: the mean of the features of all patches, not augmented.

    Raises:
        TypeError: if a part is not a Keras object, or `steps` no integers.
        ValueError: if `steps` are not positive or `directions` not among the four. Before the
            first step, if patches are larger than the images, the grid has too few rows for
            `steps` (or columns, for "right" and "left"), or a context network changes the grid.

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

    def build(self, input_shape: Any) -> None:
        """Build the encoder for patches."""
        if self.augment is not None:
            input_shape = self.augment.compute_output_shape(input_shape)
        super().build((None, *input_shape[3:]))

    def encode(self, views: Any, training: bool) -> Any:
        """Return the features of each patch, `(batch, rows, columns, features)`."""
        check_axes("grids of patches (does `augment` make them?)", views, AXES)
        rows, columns, *patch = views.shape[1:]
        features = super().encode(ops.reshape(views, (-1, *patch)), training)
        check_features(features)
        return ops.reshape(features, (-1, rows, columns, features.shape[-1]))

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the mean of the features of all patches of `x`."""
        patches = x if self.augment is None else self.augment(x, training=False)
        return super().call(patches, training=training)

    def get_config(self) -> dict:
        """Return the constructor's arguments, which are the base's, the parts serialised."""
        return super().get_config()
