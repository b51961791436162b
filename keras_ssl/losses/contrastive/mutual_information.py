"""Estimators of the mutual information of local and global features, the losses of Deep InfoMax."""

import math
from typing import Any

import keras
from keras import ops

from keras_ssl import distribute
from keras_ssl.losses._base import Float32Loss
from keras_ssl.losses._checks import are_compatible, check_dtype, check_matrix
from keras_ssl.ops import at_least_float32

# a score that no softmax sees, and whose log-sum-exp has a gradient
_EXCLUDED = -1e9


def jensen_shannon_mi(
    local_features: Any, global_features: Any, positives: Any = None, is_example: Any = None
) -> Any:
    """Negative Jensen-Shannon estimator of mutual information, one value per example.

    Discriminates pairs of a local feature u and the global feature v of the same example from
    pairs with the v of other examples, by their dot product:

        l(i) = mean over j ≠ i, p of (softplus(u_ip · v_j) - log 2)
               - mean over p of (log 2 - softplus(-u_ip · v_i))

    where p runs over the positions of a map and j over the examples of all replicas. The mean over
    examples is 0 for uninformative features, and at least -2 log 2. Minimising it maximises a
    lower bound of the Jensen-Shannon divergence between the joint distribution and the product of
    the marginals. Replicas exchange the global features, not the maps.

    Args:
        local_features: `(n, ..., dim)`, floating-point: a map or a vector per example. Not
            normalised here.
        global_features: `(n, dim)`, floating-point.
        positives: optional integers `(m,)`, for `local_features` of shape `(m, dim)`: the row of
            `global_features` that belongs to each, such as the graph of a node. By default row i
            of both belongs to example i.
        is_example: optional booleans `(n,)`, `False` for rows of `global_features` that are padding
            and no negatives.

    Returns:
        Tensor of shape `(n,)`, or `(m,)` with `positives`: one value per row of `local_features`.
        At least float32.

    Raises:
        ValueError: if shapes do not fit, or all replicas together hold one global feature.
        TypeError: if features are not floating-point, or `positives` not integers.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> summary = np.eye(2, dtype="float32")
    >>> maps = np.stack([np.eye(2, dtype="float32")[[i] * 3] for i in range(2)])  # 3 positions
    >>> [round(float(value), 3) for value in losses.jensen_shannon_mi(maps, summary)]
    [-0.38, -0.38]
    >>> nodes, graph = np.eye(2, dtype="float32")[[0, 0, 1]], np.array([0, 0, 1])
    >>> [round(float(value), 3) for value in losses.jensen_shannon_mi(nodes, summary, graph)]
    [-0.38, -0.38, -0.38]

    Reference:
        - [Hjelm et al., Learning Deep Representations by Mutual Information Estimation and
          Maximization](https://arxiv.org/abs/1808.06670)
    """
    _check_features(local_features, global_features, positives)
    local_features = at_least_float32(local_features)
    global_features = at_least_float32(global_features)
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
    is_left_out = ops.arange(total, dtype="int32") == columns[:, None]
    if is_example is not None:
        is_example = distribute.all_gather(ops.cast(is_example, "float32"))
        is_left_out = ops.logical_or(is_left_out, ops.equal(is_example, 0))
        total = ops.sum(is_example)
    # rows, positions, candidates
    scores = ops.matmul(local_features, ops.transpose(candidates))
    of_negatives = ops.where(is_left_out[:, None, :], 0.0, ops.softplus(scores))
    of_negatives = ops.sum(ops.mean(of_negatives, axis=1), axis=-1)
    # a last batch of a single example has no negatives
    negatives = ops.cast(ops.maximum(total - 1, 1), scores.dtype)
    return of_negatives / negatives + ops.mean(of_positive, axis=-1) - 2 * math.log(2)


def info_nce_mi(local_features: Any, global_features: Any) -> Any:
    """Negative InfoNCE estimator of mutual information, up to a constant; one value per example.

    Cross entropy of picking a local feature u of the same example for the global feature v, out of
    all local features of other examples:

        l(i) = mean over p of
               -log( exp(u_ip · v_i) / ( exp(u_ip · v_i) + Σ_{j ≠ i, q} exp(u_jq · v_i) ) )

    where p and q run over the positions of a map and j over the examples of all replicas, as in
    the authors' code. It is at least 0, and log((N - 1) P + 1) for uninformative features of N
    examples with P positions. Replicas exchange the global features and a sum for each, not the
    maps.

    Args:
        local_features: `(n, ..., dim)`, floating-point: a map or a vector per example. Not
            normalised here.
        global_features: `(n, dim)`, floating-point.

    Returns:
        Tensor of shape `(n,)`, at least float32.

    Raises:
        ValueError: if shapes do not fit, or all replicas together hold one global feature.
        TypeError: if features are not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> summary = np.eye(2, dtype="float32")
    >>> maps = np.stack([np.eye(2, dtype="float32")[[i] * 3] for i in range(2)])  # 3 positions
    >>> values = losses.info_nce_mi(maps, summary)
    >>> [round(float(value), 4) for value in values]  # -log(e / (e + 3))
    [0.7437, 0.7437]

    Reference:
        - [Hjelm et al., Learning Deep Representations by Mutual Information Estimation and
          Maximization](https://arxiv.org/abs/1808.06670)
        - [van den Oord et al., Representation Learning with Contrastive Predictive
          Coding](https://arxiv.org/abs/1807.03748)
    """
    _check_features(local_features, global_features)
    local_features = at_least_float32(local_features)
    global_features = at_least_float32(global_features)
    count, dim = ops.shape(global_features)
    local_features = ops.reshape(local_features, (count, -1, dim))
    positives = ops.sum(local_features * global_features[:, None, :], axis=-1)

    candidates = distribute.all_gather(global_features)
    columns = ops.arange(count, dtype="int32") + distribute.replica_index() * count
    is_own = ops.arange(ops.shape(candidates)[0], dtype="int32") == columns[:, None]
    # this replica's examples, their positions, the global features of all replicas
    scores = ops.matmul(local_features, ops.transpose(candidates))
    others = ops.where(is_own[:, None, :], _EXCLUDED, scores)
    by_replica = distribute.all_gather(ops.logsumexp(others, axis=(0, 1))[None])
    negatives = ops.take(ops.logsumexp(by_replica, axis=0), columns)
    return ops.mean(ops.softplus(negatives[:, None] - positives), axis=-1)


def _check_features(local_features: Any, global_features: Any, positives: Any = None) -> None:
    shape = tuple(check_dtype(local_features, "local_features").shape)
    global_shape = tuple(check_matrix(global_features, "global_features").shape)
    if len(shape) < 2 or (positives is not None and len(shape) != 2):
        expected = "(batch, ..., dim)" if positives is None else "(rows, dim) with `positives`"
        raise ValueError(
            f"`local_features` must have shape {expected}. Received: local_features.shape={shape}"
        )
    same_rows = positives is not None or are_compatible(shape[:1], global_shape[:1])
    if not same_rows or not are_compatible(shape[-1:], global_shape[-1:]):
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
    positives_shape = tuple(check_dtype(positives, "positives", "integer").shape)
    if not are_compatible(positives_shape, shape[:1]):
        raise ValueError(
            "`positives` must hold one integer for each row of `local_features`. "
            f"Received: positives.shape={positives_shape}, local_features.shape={shape}"
        )


@keras.saving.register_keras_serializable(package="keras_ssl")
class JensenShannonMI(Float32Loss):
    """Negative Jensen-Shannon estimator of mutual information, the loss of Deep InfoMax.

    See `keras_ssl.losses.jensen_shannon_mi` for the formula, errors and reference. Under a
    `tf.distribute` strategy the negatives are the global features of all replicas.

    Args:
        reduction, name, dtype: as in `keras.losses.Loss`; the default dtype is at least float32.

    Call arguments:
        local_features: `(batch, ..., dim)`, floating-point: a map or a vector per example.
        global_features: `(batch, dim)`, floating-point.
        sample_weight: optional weights of the rows of `local_features`; 0 excludes padding.
        positives: optional integers `(m,)`, for `local_features` of shape `(m, dim)`: the row of
            `global_features` that belongs to each, such as the graph of a node.
        is_example: optional booleans `(batch,)`, `False` for rows of `global_features` that are
            padding.

    Returns:
        The mean over the rows of `local_features`, or their values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> loss = losses.JensenShannonMI()
    >>> summary = np.eye(2, dtype="float32")
    >>> maps = np.stack([summary[[i] * 3] for i in range(2)])  # three positions
    >>> round(float(loss(maps, summary)), 3)
    -0.38
    >>> round(float(loss(maps, summary[::-1])), 3)  # with the other example's global feature
    0.62
    """

    def __call__(
        self,
        local_features: Any,
        global_features: Any,
        sample_weight: Any = None,
        positives: Any = None,
        is_example: Any = None,
    ) -> Any:
        """Compute the loss of local and global features."""
        _check_features(local_features, global_features, positives)
        inputs = {"positives": positives, "is_example": is_example}
        inputs = {name: one for name, one in inputs.items() if one is not None}
        inputs["local_features"] = local_features
        return super().__call__(inputs, global_features, sample_weight=sample_weight)

    def call(self, inputs: Any, global_features: Any) -> Any:
        """Return the values of the rows; `inputs` are all arguments but the global features."""
        inputs = dict(inputs)
        if "positives" in inputs:
            # Keras has cast positives to float32, exact up to 2^24
            inputs["positives"] = ops.cast(inputs["positives"], "int32")
        return jensen_shannon_mi(global_features=global_features, **inputs)


@keras.saving.register_keras_serializable(package="keras_ssl")
class InfoNCEMI(Float32Loss):
    """Negative InfoNCE estimator of mutual information, a loss of Deep InfoMax.

    See `keras_ssl.losses.info_nce_mi` for the formula, errors and references, and
    `keras_ssl.losses.JensenShannonMI` for the other estimator, which needs fewer negatives, as the
    paper reports. Under a `tf.distribute` strategy the negatives are the local features of all
    replicas.

    Args:
        reduction, name, dtype: as in `keras.losses.Loss`; the default dtype is at least float32.

    Call arguments:
        local_features: `(batch, ..., dim)`, floating-point: a map or a vector per example.
        global_features: `(batch, dim)`, floating-point.
        sample_weight: optional weights of the examples, `(batch,)`.

    Returns:
        The mean over the examples, or their `(batch,)` values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> loss = losses.InfoNCEMI()
    >>> summary = np.eye(2, dtype="float32")
    >>> maps = np.stack([summary[[i] * 3] for i in range(2)])  # three positions
    >>> round(float(loss(maps, summary)), 4)
    0.7437
    >>> round(float(loss(maps, summary[::-1])), 4)  # with the other example's global feature
    2.2143
    """

    def __call__(self, local_features: Any, global_features: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of local and global features."""
        _check_features(local_features, global_features)
        # in a tuple, since Keras would squeeze a map to the rank of the values
        return super().__call__((local_features,), global_features, sample_weight=sample_weight)

    def call(self, inputs: Any, global_features: Any) -> Any:
        """Return the values of the examples; `inputs` holds the local features."""
        return info_nce_mi(*inputs, global_features)
