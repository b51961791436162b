"""InfoNCE bound of mutual information between local and global features."""

from typing import Any

import keras
from keras import ops

from keras_ssl import distribute
from keras_ssl.losses._float32_loss import Float32Loss
from keras_ssl.losses.contrastive.jensen_shannon_mi import check_features
from keras_ssl.ops import at_least_float32

# a score that no softmax sees, and whose log-sum-exp has a gradient
_NEVER = -1e9


def info_nce_mi(local_features: Any, global_features: Any) -> Any:
    """InfoNCE estimator of mutual information, negated, one value an example.

    Cross entropy of picking a local feature u of the own example for the global feature v, out of
    all local features of other examples:

        l(i) = mean over p of
               -log( exp(u_ip · v_i) / ( exp(u_ip · v_i) + Σ_{j ≠ i, q} exp(u_jq · v_i) ) )

    where p, q run over the places of a map and j over the examples of all replicas, as in the
    authors' code. It is at least 0, and log((N - 1) P + 1) for N examples of P places where
    features say nothing. Replicas exchange the global features and a sum for each, not the maps.

    Args:
        local_features: `(n, ..., dim)`, floating-point: a map, or a vector, of each example. Not
            normalised here.
        global_features: `(n, dim)`, floating-point.

    Returns:
        Tensor of shape `(n,)`, at least float32.

    Raises:
        ValueError: if shapes do not fit, or the global features of all replicas are a single one.
        TypeError: if features are not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> summary = np.eye(2, dtype="float32")
    >>> maps = np.stack([np.eye(2, dtype="float32")[[i] * 3] for i in range(2)])  # three places
    >>> values = losses.info_nce_mi(maps, summary)
    >>> [round(float(value), 4) for value in values]  # -log(e / (e + 3))
    [0.7437, 0.7437]

    Reference:
        - [Hjelm et al., Learning Deep Representations by Mutual Information Estimation and
          Maximization](https://arxiv.org/abs/1808.06670)
        - [van den Oord et al., Representation Learning with Contrastive Predictive
          Coding](https://arxiv.org/abs/1807.03748)
    """
    check_features(local_features, global_features, None)
    local_features, global_features = (
        at_least_float32(local_features),
        at_least_float32(global_features),
    )
    count, dim = ops.shape(global_features)
    local_features = ops.reshape(local_features, (count, -1, dim))
    positives = ops.sum(local_features * global_features[:, None, :], axis=-1)

    candidates = distribute.all_gather(global_features)
    columns = ops.arange(count, dtype="int32") + distribute.replica_index() * count
    is_own = ops.arange(ops.shape(candidates)[0], dtype="int32") == columns[:, None]
    # places of this replica's examples, for the global features of all
    scores = ops.matmul(local_features, ops.transpose(candidates))
    others = ops.where(is_own[:, None, :], _NEVER, scores)
    of_replicas = distribute.all_gather(ops.logsumexp(others, axis=(0, 1))[None])
    negatives = ops.take(ops.logsumexp(of_replicas, axis=0), columns)
    return ops.mean(ops.softplus(negatives[:, None] - positives), axis=-1)


@keras.saving.register_keras_serializable(package="keras_ssl")
class InfoNCEMI(Float32Loss):
    """InfoNCE estimator of mutual information, negated: a loss of Deep InfoMax.

    See `keras_ssl.losses.info_nce_mi` for the formula, and `keras_ssl.losses.JensenShannonMI` for
    the other estimator, which needs fewer negatives, as the paper reports. The computation is in
    float32 under mixed precision. Under a `tf.distribute` strategy negatives are the local
    features of all replicas; as with every Keras loss, the value is then divided by the number of
    replicas.

    Args:
        reduction: as in `keras.losses.Loss`; the default is the mean over examples.
        name: optional name of the loss.
        dtype: dtype of the computation; by default `keras.config.floatx()`, at least float32.

    Call arguments:
        local_features: `(batch, ..., dim)`, floating-point: a map, or a vector, of each example.
        global_features: `(batch, dim)`, floating-point.
        sample_weight: optional weights of the examples, `(batch,)`.

    Returns:
        A scalar, or the `(batch,)` values of the examples with `reduction=None`.

    Raises:
        ValueError: if shapes do not fit, or the global features of all replicas are a single one.
        TypeError: if features are not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> loss = losses.InfoNCEMI()
    >>> summary = np.eye(2, dtype="float32")
    >>> maps = np.stack([summary[[i] * 3] for i in range(2)])  # three places
    >>> round(float(loss(maps, summary)), 4)
    0.7437
    >>> round(float(loss(maps, summary[::-1])), 4)  # the other example's
    2.2143

    Reference:
        - [Hjelm et al., Learning Deep Representations by Mutual Information Estimation and
          Maximization](https://arxiv.org/abs/1808.06670)
    """

    def __call__(self, local_features: Any, global_features: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of local and global features."""
        # before Keras casts, which would hide integers
        check_features(local_features, global_features, None)
        # Keras would make a map of the values' rank out of one of places
        return super().__call__((local_features,), global_features, sample_weight=sample_weight)

    def call(self, inputs: Any, global_features: Any) -> Any:
        """Return the values of the examples; `inputs` holds the local features."""
        return info_nce_mi(*inputs, global_features)
