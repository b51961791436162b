"""CPC of sequences: from what has come so far, tell what comes next from all else."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import keras
from keras import ops

from keras_ssl.trainers.predictive_coding import PredictiveCoding, check_axes


@keras.saving.register_keras_serializable(package="keras_ssl")
class SequenceCPC(PredictiveCoding):
    r"""Contrastive predictive coding of sequences: sound, text, sensors, rows of pixels.

    The encoder, as a rule strided convolutions, makes a shorter sequence of features, `z = f(x)`.
    A context network, by default a GRU, sums up what has come up to each step. From a context, a
    linear map W_k predicts the features k steps later. InfoNCE picks them out of those of all
    steps of all sequences of the batch, over all replicas. The named losses are `step_k`, one for
    each k.

    The context network must not look ahead: a GRU, an LSTM, causal convolutions, attention with a
    causal mask.

    Args:
        encoder: `keras.Model` or layer f, from `(batch, time, channels)` to
            `(batch, steps, features)`. It is `trainer.encoder`, the product.
        augment: layer that makes one view of a batch, or `None` for the sequences as they are.
        context: layer from `(batch, steps, features)` to `(batch, steps, width)`. `None` means
            `keras.layers.GRU(256, return_sequences=True)`. Each direction has a copy with weights
            of its own.
        projector: layer from features to what is predicted. `None` means the features themselves.
        loss: loss called `loss(prediction, target)` with `(batch, steps - k, dim)` and
            `(batch, steps, dim)`. `None` means `keras_ssl.losses.CPCLoss()`.
        steps: how many steps ahead to predict: an integer K for 1 to K, or the ks themselves.
        directions: in which to predict: of "forward" and "backward". A loss is the mean over
            them.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of sequences.
        training: whether the encoder runs in training mode.

    Input shape:
        What the encoder takes, as a rule `(batch, time, channels)`.

    Output shape:
        `(batch, features)`: the mean of the features of all steps. Those of each step are
        `trainer.encoder(x)`; the contexts, which the paper takes for speech, are
        `trainer.contexts[0](trainer.encoder(x))`.

    Raises:
        TypeError: if a part is not a Keras object, or `steps` no integers.
        ValueError: if `steps` are not positive or `directions` not among the two. Before the
            first step, if the encoder gives no sequence, or one too short for `steps`, or the
            context network does not give a context a step.

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
        check_axes("features from `encoder`", features, ("batch", "steps", "features"))
        return features

    def get_config(self) -> dict:
        """Return the constructor's arguments, which are the base's, the parts serialised."""
        return super().get_config()
