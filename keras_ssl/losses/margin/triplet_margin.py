"""Triplet margin loss, of given triplets or of those that a batch of labelled embeddings holds."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.losses._checks import are_compatible, check_dtype, check_matrix
from keras_ssl.losses._class_numbers import class_numbers
from keras_ssl.losses._supervised import SupervisedLoss, check_stack
from keras_ssl.losses.margin._distances import norms, pairwise_distances
from keras_ssl.ops import at_least_float32


def triplet_margin(
    y_true: Any,
    y_pred: Any,
    margin: float = 1.0,
    p: int = 2,
    swap: bool = False,
    mining: str | None = None,
) -> Any:
    """Triplet margin loss, one value per triplet or anchor.

    A positive, of the class of the anchor a, should be nearer to it than a negative n of another
    class, by a margin m. With D the distance:

        l(a, p, n) = max(0, m + D(a, p) - D(a, n))

    - `mining=None`: triplets are given. With `swap`, D(a, n) is the lesser of D(a, n) and D(p, n).
    - `mining="semi_hard"` (FaceNet): each embedding is an anchor, whose value is the mean over its
      positives p of l(a, p, n), n the nearest of the negatives farther than p. If all are nearer
      than p, n is the farthest negative.
    - `mining="hardest"`: each embedding is an anchor, with its farthest positive and its nearest
      negative.

    Positives and negatives are searched among the embeddings of all replicas. An anchor that has no
    positive or no negative has the value 0 and no gradient.

    Args:
        y_true: with mining, integers `(n,)` or `(n, 1)`, the class of each embedding, or -1 for
            none: such an embedding is a negative of all others. Not used without mining.
        y_pred: anchor, positive and negative `(n, 3, dim)`; with mining, embeddings `(n, dim)`.
            Floating-point. They are not normalised here.
        margin: m, at least 0.
        p: norm of the distance, 1 or 2. In the L2 norm, mining needs memory for `(n, n)`
            distances, in the L1 norm for `(n, n, dim)` differences.
        swap: whether the negative may be that of the positive; without mining only.
        mining: `None`, `"semi_hard"` or `"hardest"`.

    Returns:
        Tensor of shape `(n,)`, at least float32.

    Raises:
        ValueError: if the shapes do not fit, there are no labels to mine by, or an argument is out
            of range.
        TypeError: if `y_pred` are not floating-point, labels to mine by not integers, or an
            argument has the wrong type.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> triplet = np.array([[[0.0], [1.0], [1.5]]])
    >>> losses.triplet_margin(None, triplet).numpy().tolist()
    [0.5]
    >>> classes, z = np.array([0, 0, 1, 1]), np.array([[0.0], [1.0], [1.5], [4.0]])
    >>> losses.triplet_margin(classes, z, mining="hardest").numpy().tolist()
    [0.5, 1.5, 3.0, 0.5]
    >>> losses.triplet_margin(classes, z, mining="semi_hard").numpy().tolist()
    [0.5, 0.0, 2.0, 0.5]

    Reference:
        - [Schroff et al., FaceNet](https://arxiv.org/abs/1503.03832): semi-hard negatives
        - [Hermans et al., In Defense of the Triplet Loss for Person
          Re-Identification](https://arxiv.org/abs/1703.07737): the hardest triplets of a batch
        - [Balntas et al., Learning Shallow Convolutional Feature Descriptors with Triplet
          Losses](https://bmva-archive.org.uk/bmvc/2016/papers/paper119/paper119.pdf): swapping
    """
    return TripletMargin(margin, p, swap, mining).values(y_true, y_pred)


@keras.saving.register_keras_serializable(package="keras_ssl")
class TripletMargin(SupervisedLoss):
    """Triplet margin loss, PyTorch's `TripletMarginLoss`, with mining in the batch by labels.

    See `keras_ssl.losses.triplet_margin` for the formula, errors and references. PyTorch's adds
    1e-6 to every difference; here equal vectors have the distance 0 and no gradient instead.

    The three embeddings of a given triplet are stacked along axis 1, since a Keras loss gets one
    tensor. In `fit` such a model needs no labels. FaceNet's embeddings have length 1:
    end the model with `keras.layers.UnitNormalization()`.

    Args:
        margin: m, a float of at least 0.
        p: norm of the distance, 1 or 2.
        swap: whether D(a, n) is the lesser of D(a, n) and D(p, n); without mining only.
        mining: `None` for given triplets, `"semi_hard"` or `"hardest"`.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        y_true: with mining, integers `(batch,)` or `(batch, 1)`, the class of each embedding, or
            -1 for none. Not used without mining.
        y_pred: anchor, positive and negative `(batch, 3, dim)`; with mining, embeddings
            `(batch, dim)`.
        sample_weight: optional weights of the triplets or anchors, `(batch,)`.

    Returns:
        The mean over the triplets or anchors, or their `(batch,)` values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> classes, z = np.array([0, 0, 1, 1]), np.array([[0.0], [1.0], [1.5], [4.0]])
    >>> float(losses.TripletMargin(mining="semi_hard")(classes, z))
    0.75
    """

    def __init__(
        self,
        margin: float = 1.0,
        p: int = 2,
        swap: bool = False,
        mining: str | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.margin = checks.number("margin", margin, minimum=0)
        self.p = checks.integer("p", p, minimum=1)
        if self.p > 2:
            raise ValueError(f"`p` must be 1 or 2. Received: p={p}")
        if mining not in (None, "semi_hard", "hardest"):
            raise ValueError(
                f"`mining` must be None, 'semi_hard' or 'hardest'. Received: mining={mining!r}"
            )
        if swap and mining:
            raise ValueError(
                "`swap` is for given triplets, while mining chooses the negatives. Received: "
                f"swap={swap}, mining={mining!r}"
            )
        self.swap, self.mining = bool(swap), mining

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of given or mined triplets."""
        self.check(y_true, y_pred)
        # Keras casts to float, in which large labels lose digits and class numbers do not; it takes
        # no None
        y_true = class_numbers(y_true) if self.mining else 0
        return keras.losses.Loss.__call__(self, y_true, y_pred, sample_weight)

    def check(self, y_true: Any, y_pred: Any) -> None:
        """Raise an error unless there are triplets, or a class for each embedding."""
        if self.mining is None:
            check_stack(y_pred, 3, True, "anchor, positive and negative of each triplet")
            return
        shape = tuple(check_matrix(y_pred, "y_pred").shape)
        if y_true is None:
            raise ValueError(
                f"`mining={self.mining!r}` needs labels: `y_true` must hold the class of each "
                "embedding. Received: y_true=None"
            )
        labels = tuple(check_dtype(y_true, "y_true", "integer").shape)
        rows = labels[:1] if len(labels) == 2 and labels[1] == 1 else labels
        if not are_compatible(rows, shape[:1]):
            raise ValueError(
                "`y_true` must have shape (batch,), with the class of each embedding of `y_pred`. "
                f"Received: y_true.shape={labels}, y_pred.shape={shape}"
            )

    def values(self, y_true: Any, y_pred: Any) -> Any:
        """Return the values of the triplets or anchors, at least float32."""
        self.check(y_true, y_pred)
        return self.call(class_numbers(y_true) if self.mining else None, y_pred)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """Return the values, before the reduction; classes are numbered from 0."""
        z = at_least_float32(y_pred)
        if self.mining is None:
            return self._of_triplets(z[:, 0], z[:, 1], z[:, 2])
        return self._of_anchors(ops.cast(y_true, "int32"), z)

    def _of_triplets(self, anchors: Any, positives: Any, negatives: Any) -> Any:
        far = norms(anchors - negatives, self.p)
        if self.swap:
            far = ops.minimum(far, norms(positives - negatives, self.p))
        return ops.relu(self.margin + norms(anchors - positives, self.p) - far)

    def _of_anchors(self, classes: Any, z: Any) -> Any:
        # replicas exchange dense gradients only, into which TensorFlow turns those of a reshaped
        # tensor
        everyone = ops.reshape(distribute.all_gather(z), (-1, z.shape[-1]))
        all_classes = distribute.all_gather(classes)
        own = ops.arange(ops.shape(z)[0]) + distribute.replica_index() * ops.shape(z)[0]
        is_self = own[:, None] == ops.arange(ops.shape(everyone)[0])[None]
        is_negative = classes[:, None] != all_classes[None]
        is_positive = ops.logical_not(ops.logical_or(is_negative, is_self))
        has_both = ops.logical_and(ops.any(is_positive, axis=1), ops.any(is_negative, axis=1))
        distances = pairwise_distances(z, everyone, self.p)
        constant = ops.stop_gradient(distances)
        if self.mining == "hardest":
            positive = ops.argmax(ops.where(is_positive, constant, -1.0), axis=1)
            negative = ops.argmin(ops.where(is_negative, constant, float("inf")), axis=1)
            positive, negative = (ops.take(everyone, one, axis=0) for one in (positive, negative))
            values = self._of_triplets(z, positive, negative)
        else:
            negative = _nearest_farther(constant, is_negative)
            far = ops.take_along_axis(distances, negative, axis=1)
            terms = ops.relu(self.margin + distances - far)
            weights = ops.cast(is_positive, terms.dtype)
            count = ops.maximum(ops.sum(weights, axis=1), 1)
            values = ops.sum(terms * weights, axis=1) / count
        return ops.where(has_both, values, ops.zeros_like(values))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "margin": self.margin,
            "p": self.p,
            "swap": self.swap,
            "mining": self.mining,
        }


def _nearest_farther(distances: Any, is_negative: Any) -> Any:
    """Return for each entry of a row the nearest negative that is farther, or the farthest one.

    It takes sorts of the rows, and no memory for all triplets: the negative wanted is the r-th of
    the row, counted from 0 in the order of distance, if r negatives are at most as far.
    """
    # negatives by their distance, then all others
    order = ops.argsort(ops.where(is_negative, distances, float("inf")), axis=1)
    count = ops.sum(ops.cast(is_negative, "int32"), axis=1, keepdims=True)
    # all by their distance; sorting is stable, so that of equals the negatives come first
    again = ops.argsort(ops.take_along_axis(distances, order, axis=1), axis=1)
    nearer = ops.cumsum(ops.cast(again < count, "int32"), axis=1)
    places = ops.take_along_axis(ops.argsort(again, axis=1), ops.argsort(order, axis=1), axis=1)
    rank = ops.take_along_axis(nearer, places, axis=1)
    return ops.take_along_axis(order, ops.maximum(ops.minimum(rank, count - 1), 0), axis=1)
