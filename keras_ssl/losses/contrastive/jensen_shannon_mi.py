"""Deep InfoMax: local and global features of one example go together."""

import math
from typing import Any

import keras
from keras import ops

from keras_ssl import distribute
from keras_ssl.losses._checks import check_embeddings
from keras_ssl.losses._float32_loss import Float32Loss
from keras_ssl.ops import at_least_float32


def jensen_shannon_mi(local_features: Any, global_features: Any, positives: Any = None) -> Any:
    """Jensen-Shannon estimator of mutual information, negated, one value an example.

    Tells the pairs of a local feature u and the global feature v of its own example from the
    pairs with other examples' v, by their dot product:

        l(i) = mean over j ≠ i, p of (softplus(u_ip · v_j) - log 2)
               - mean over p of (log 2 - softplus(-u_ip · v_i))

    where p runs over the places of a map and j over the examples of all replicas. The mean over
    examples is 0 where features say nothing, and at least -2 log 2. Minimising it maximises a
    lower bound of the Jensen-Shannon divergence between joint and product of marginals.
    Replicas exchange the global features, not the maps.

    Args:
        local_features: `(n, ..., dim)`, floating-point: a map, or a vector, of each example. Not
            normalised here.
        global_features: `(n, dim)`, floating-point.
        positives: optional integers `(m,)`, for `local_features` of shape `(m, dim)`: the row of
            `global_features` that each goes together with, such as the graph of a node. By
            default row i of both belongs to example i.

    Returns:
        Tensor of shape `(n,)`, or `(m,)` with `positives`: a value a row of `local_features`. At
        least float32.

    Raises:
        ValueError: if shapes do not fit, or the global features of all replicas are a single one.
        TypeError: if features are not floating-point, or `positives` not integers.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> summary = np.eye(2, dtype="float32")
    >>> maps = np.stack([np.eye(2, dtype="float32")[[i] * 3] for i in range(2)])  # three places
    >>> [round(float(value), 3) for value in losses.jensen_shannon_mi(maps, summary)]
    [-0.38, -0.38]
    >>> nodes, graph = np.eye(2, dtype="float32")[[0, 0, 1]], np.array([0, 0, 1])
    >>> [round(float(value), 3) for value in losses.jensen_shannon_mi(nodes, summary, graph)]
    [-0.38, -0.38, -0.38]

    Reference:
        - [Hjelm et al., Learning Deep Representations by Mutual Information Estimation and
          Maximization](https://arxiv.org/abs/1808.06670)
    """
    check_features(local_features, global_features, positives)
    local_features, global_features = (
        at_least_float32(local_features),
        at_least_float32(global_features),
    )
    count = ops.shape(global_features)[0]
    if positives is None:
        positives, partners = ops.arange(count, dtype="int32"), global_features
        local_features = ops.reshape(local_features, (count, -1, ops.shape(local_features)[-1]))
    else:
        positives = ops.cast(positives, "int32")
        partners = ops.take(global_features, positives, axis=0)
        local_features = local_features[:, None, :]
    of_positive = ops.softplus(-ops.sum(local_features * partners[:, None, :], axis=-1))

    candidates = distribute.all_gather(global_features)
    total = ops.shape(candidates)[0]
    columns = positives + distribute.replica_index() * count
    is_positive = ops.arange(total, dtype="int32") == columns[:, None]
    # rows, places, candidates
    scores = ops.matmul(local_features, ops.transpose(candidates))
    of_negatives = ops.where(is_positive[:, None, :], 0.0, ops.softplus(scores))
    of_negatives = ops.sum(ops.mean(of_negatives, axis=1), axis=-1)
    # a last batch of a single example has no negatives
    negatives = ops.cast(ops.maximum(total - 1, 1), scores.dtype)
    return of_negatives / negatives + ops.mean(of_positive, axis=-1) - 2 * math.log(2)


def check_features(local_features: Any, global_features: Any, positives: Any) -> None:
    """Raise unless these are local and global features that belong together.

    Args:
        local_features: `(n, ..., dim)`.
        global_features: `(n, dim)`.
        positives: `None`, or integers `(m,)`.

    Raises:
        ValueError: if shapes do not fit, or the global features of all replicas are a single one.
        TypeError: if features are not floating-point, or `positives` not integers.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.losses.contrastive.jensen_shannon_mi import check_features
    >>> check_features(np.zeros((4, 7, 7, 8), "float32"), np.zeros((4, 8), "float32"), None)
    """
    for name, features in (
        ("local_features", local_features),
        ("global_features", global_features),
    ):
        if features is None:
            raise ValueError(f"`{name}` must hold features. Received: {name}=None")
    check_embeddings(global_features, "global_features")
    local_features = ops.convert_to_tensor(local_features)
    global_features = ops.convert_to_tensor(global_features)
    dtype = keras.backend.standardize_dtype(local_features.dtype)
    if not keras.backend.is_float_dtype(dtype):
        raise TypeError(
            "`local_features` must hold floating-point features. "
            f"Received: local_features.dtype={dtype}"
        )
    shape, global_shape = tuple(local_features.shape), tuple(global_features.shape)
    if len(shape) < 2 or (positives is not None and len(shape) != 2):
        expected = "(batch, ..., dim)" if positives is None else "(rows, dim) with `positives`"
        raise ValueError(
            f"`local_features` must have shape {expected}. Received: local_features.shape={shape}"
        )
    pairs = [(shape[-1], global_shape[1])]
    if positives is None:
        pairs.append((shape[0], global_shape[0]))
    # an unknown size (None) may be any size
    if any(None not in pair and pair[0] != pair[1] for pair in pairs):
        raise ValueError(
            "`local_features` and `global_features` must be of the same examples and width. "
            f"Received: local_features.shape={shape}, global_features.shape={global_shape}"
        )
    if global_shape[0] is not None and global_shape[0] * distribute.replica_count() < 2:
        raise ValueError(
            "Negatives are needed: `global_features` must hold at least 2 rows over all replicas. "
            f"Received: global_features.shape={global_shape}"
        )
    if positives is None:
        return
    positives = ops.convert_to_tensor(positives)
    dtype = keras.backend.standardize_dtype(positives.dtype)
    if not keras.backend.is_int_dtype(dtype):
        raise TypeError(f"`positives` must hold integers. Received: positives.dtype={dtype}")
    rows = (*tuple(positives.shape), shape[0])
    if len(rows) != 2 or (None not in rows and rows[0] != rows[1]):
        raise ValueError(
            "`positives` must hold one integer for each row of `local_features`. "
            f"Received: positives.shape={tuple(positives.shape)}, local_features.shape={shape}"
        )


@keras.saving.register_keras_serializable(package="keras_ssl")
class JensenShannonMI(Float32Loss):
    """Jensen-Shannon estimator of mutual information, negated: the loss of Deep InfoMax.

    See `keras_ssl.losses.jensen_shannon_mi` for the formula. The computation is in float32 under
    mixed precision. Under a `tf.distribute` strategy negatives are the global features of all
    replicas; as with every Keras loss, the value is then divided by the number of replicas.

    Args:
        reduction: as in `keras.losses.Loss`; the default is the mean over the rows of
            `local_features`.
        name: optional name of the loss.
        dtype: dtype of the computation; by default `keras.config.floatx()`, at least float32.

    Call arguments:
        local_features: `(batch, ..., dim)`, floating-point: a map, or a vector, of each example.
        global_features: `(batch, dim)`, floating-point.
        sample_weight: optional weights of the rows of `local_features`: 0 leaves out padding.
        positives: optional integers `(m,)`, for `local_features` of shape `(m, dim)`: the row of
            `global_features` that each goes together with, such as the graph of a node.

    Returns:
        A scalar, or the values of the rows of `local_features` with `reduction=None`.

    Raises:
        ValueError: if shapes do not fit, or the global features of all replicas are a single one.
        TypeError: if features are not floating-point, or `positives` not integers.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> loss = losses.JensenShannonMI()
    >>> summary = np.eye(2, dtype="float32")
    >>> maps = np.stack([summary[[i] * 3] for i in range(2)])  # three places
    >>> round(float(loss(maps, summary)), 3)
    -0.38
    >>> round(float(loss(maps, summary[::-1])), 3)  # the other example's
    0.62

    Reference:
        - [Hjelm et al., Learning Deep Representations by Mutual Information Estimation and
          Maximization](https://arxiv.org/abs/1808.06670)
    """

    def __call__(
        self,
        local_features: Any,
        global_features: Any,
        sample_weight: Any = None,
        positives: Any = None,
    ) -> Any:
        """Compute the loss of local and global features."""
        # before Keras casts, which would hide integers
        check_features(local_features, global_features, positives)
        inputs = (local_features,) if positives is None else (local_features, positives)
        return super().__call__(inputs, global_features, sample_weight=sample_weight)

    def call(self, inputs: Any, global_features: Any) -> Any:
        """Return the values of the rows; `inputs` are local features and any positives."""
        # Keras has made floats of positives, exact up to 2^24
        local_features, positives = inputs if len(inputs) == 2 else (*inputs, None)
        if positives is not None:
            positives = ops.cast(positives, "int32")
        return jensen_shannon_mi(local_features, global_features, positives)
