"""TCL: tell from a point which segment of a time series it comes from."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.trainers._class_labels import are_class_labels, class_labels, weights_of_labelled
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import check_features, check_one_view, check_type, describe
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class TCL(SelfSupervisedModel):
    r"""TCL: time-contrastive learning, nonlinear independent component analysis of a time series.

    A series is cut into T segments. From single points x, without those around them, an encoder h
    and a softmax learn which segment a point comes from:

        L = -log p(segment of x | x),    p(t | x) = exp(w_t·h(x) + b_t) / Σ_u exp(w_u·h(x) + b_u)

    Segments can be told apart because the distributions of the sources change over time. Let a
    series be a smooth invertible mixture x = f(s) of independent sources whose densities in segment
    t are proportional to exp(λ_i(t) q(s_i)), and let h have as many features as there are sources.
    Then, if there is enough data and the λ(t) vary enough, the features are a linear mixture of the
    q(s_i). Linear ICA of the features, `keras_ssl.evaluate.independent_components`, undoes it. What
    is found is q of each source and not the source: |s| if a source is Laplacian and its scale
    changes, s² if it is Gaussian.

    The last layer of the encoder decides how many sources there are, and should be able to have the
    form of q: an absolute value without bias, as in the paper.

    Args:
        encoder: `keras.Model` or layer h that maps points to `(batch, features)`, with one feature
            for each source.
        segments: T, how many segments there are, at least 2.
        augment: layer that changes a batch of points, such as `keras.layers.GaussianNoise`. `None`,
            as in the paper, leaves them unchanged.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of what the encoder takes.
        training: whether the encoder runs in training mode.

    Input shape:
        What the encoder takes: any structure of tensors, with an example for each point in time,
        which may be a window of them. `fit` takes `(x, y)` with the number of the segment of each
        point, integers `(batch,)` or `(batch, 1)` from 0 to T - 1. -1 means that a point belongs to
        no segment, and it is left out of the loss.

    Output shape:
        `(batch, features)`, the output of the encoder.

    Raises:
        TypeError: if an argument has the wrong type; before the first step, if the numbers of
            segments are not integers.
        ValueError: if `segments` is below 2; before the first step, if the data has no numbers of
            segments, arrays hold one that is out of range, there are several views, or the encoder
            does not return one vector for each point.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl import evaluate, trainers
    >>> rng = np.random.default_rng(0)
    >>> scales = np.repeat(rng.uniform(0.1, 2.0, size=(16, 2)), 64, axis=0)
    >>> sources = scales * rng.laplace(size=(16 * 64, 2))  # their scales change in each segment
    >>> x = np.arcsinh(sources @ [[1.0, 0.5], [0.5, 1.0]])  # mixed
    >>> y = np.arange(len(x)) // 64
    >>> inputs = keras.Input((2,))
    >>> hidden = keras.layers.Dense(16, "leaky_relu")(inputs)
    >>> features = keras.ops.absolute(keras.layers.Dense(2, use_bias=False)(hidden))
    >>> trainer = trainers.TCL(keras.Model(inputs, features), segments=16)
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(x, y, batch_size=64, epochs=2, verbose=0)
    >>> ica = evaluate.independent_components(trainer.predict(x, verbose=0))
    >>> ica.transform(trainer.predict(x, verbose=0)).shape  # estimates of |s|
    (1024, 2)

    Reference:
        - [Unsupervised Feature Extraction by Time-Contrastive Learning and Nonlinear ICA](
          https://arxiv.org/abs/1605.06336), Hyvärinen and Morioka, 2016
    """

    uses_labels = True
    view_count = 1
    learns_from = "time series whose labels are segments"

    def __init__(
        self,
        encoder: keras.layers.Layer,
        segments: int,
        augment: keras.layers.Layer | None = None,
        **kwargs: Any,
    ):
        super().__init__(encoder, augment, **kwargs)
        check_type("encoder", encoder, keras.layers.Layer)
        self.segments = checks.integer("segments", segments, minimum=2)
        self.head = keras.layers.Dense(self.segments, name="head")

    def build_step(self, x: Any, y: Any) -> None:
        """Create all that a training step needs; see `SelfSupervisedModel.build_step`."""
        if y is not None and not are_class_labels(y):
            error = ValueError if hasattr(y, "dtype") and _is_integer(y) else TypeError
            raise error(
                "`y` must hold the number of each point's segment, integers of shape (batch,) or "
                f"(batch, 1). Received: y={describe(y)}"
            )
        super().build_step(x, y)

    def check_views(self, views: Any) -> None:
        """Raise unless there is one view."""
        check_one_view(views, self.encoder)

    def check_representation(self, features: Any) -> None:
        """Raise unless the encoder returns one vector per point."""
        check_features(features)

    def label_classes(self) -> float:
        """Return the number of segments, or of the probe's classes if they are fewer."""
        classes = super().label_classes()
        return self.segments if classes is None else min(classes, self.segments)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the numbers of the segments, their logits, and the representation."""
        h = self.encoder(batch.views, training=training)
        self.check_representation(h)
        return {"labels": batch.y, "logits": self.head(h), "representation": h}

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the cross-entropy of each point's segment."""
        labels, is_known, fault = class_labels(embeddings["labels"], self.segments)
        logits = ops.cast(embeddings["logits"], "float32")
        values = ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
        return {"segment": values * weights_of_labelled(is_known) + fault}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return {**super().get_config(), "segments": self.segments}


def _is_integer(y: Any) -> bool:
    return keras.backend.is_int_dtype(keras.backend.standardize_dtype(y.dtype))
