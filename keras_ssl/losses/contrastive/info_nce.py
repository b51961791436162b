"""InfoNCE: pick the positive key of a query out of negative ones."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.losses._checks import check_embeddings, check_has_negatives, check_views
from keras_ssl.losses.contrastive._contrastive_loss import ContrastiveLoss
from keras_ssl.ops import l2_normalize, log_sum_exp_of_queue, log_sum_exp_of_similarities

NAMES = ("query", "key")


def info_nce(
    query: Any,
    key: Any,
    negatives: Any = None,
    temperature: Any = 0.1,
    chunk_size: int | None = None,
    queue: Any = None,
) -> Any:
    """Cross entropy of picking the positive key of each query, one value a query.

    With s the cosine similarity, τ the temperature, q_i a query, k_i its positive key and n_j
    the negative keys:

        l(i) = -log( exp(s(q_i, k_i) / τ) / ( exp(s(q_i, k_i) / τ) + Σ_j exp(s(q_i, n_j) / τ) ) )

    Negatives are the keys of all other examples of all replicas, or those given, of which every
    replica uses all that it is given: as `negatives`, or as `queue`, which costs less.

    Args:
        query: `(n, dim)`, floating-point. Need not be normalised.
        key: `(n, dim)`; row i is the positive key of row i of `query`.
        negatives: optional keys `(k, dim)`, negative for every query, in place of the other
            examples' keys.
        temperature: τ, above 0: a number, or a scalar tensor or variable, which gets its
            gradient.
        chunk_size: `None` stores all similarities. An integer computes them in tiles of at most
            `(chunk_size, chunk_size)`, to the same value and gradient; 2048 is a good size. There
            are no second derivatives then. With `queue`, tiles are `(n, chunk_size)`, and `None`
            means 8192.
        queue: optional keys `(k, dim)` in place of `negatives`, of length 1 already and without
            a gradient, as `keras_ssl.layers.FeatureQueue` holds them. One pass over them gives
            the value and the gradient; there are no second derivatives.

    Returns:
        Tensor of shape `(n,)`, at least float32.

    Raises:
        ValueError: if the shapes do not fit, if without `negatives` the batch over all replicas
            holds a single example, if `negatives` and `queue` are both given, if `temperature` is
            not finite and above 0, or `chunk_size` below 1.
        TypeError: if an input is not floating-point, or `chunk_size` not an integer.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> query, key = np.eye(2, 4, dtype="float32"), np.eye(2, 4, dtype="float32")
    >>> [round(float(value), 4) for value in losses.info_nce(query, key, temperature=0.5)]
    [0.1269, 0.1269]
    >>> queue = np.eye(4, dtype="float32")[2:]
    >>> values = losses.info_nce(query, key, queue=queue, temperature=0.5)
    >>> [round(float(value), 4) for value in values]  # -log(e^2 / (e^2 + 2))
    [0.2395, 0.2395]

    Reference:
        - [van den Oord et al., Representation Learning with Contrastive Predictive
          Coding](https://arxiv.org/abs/1807.03748)
        - [He et al., Momentum Contrast for Unsupervised Visual Representation
          Learning](https://arxiv.org/abs/1911.05722)
    """
    temperature = checks.temperature("temperature", temperature)
    checks.integer("chunk_size", chunk_size, minimum=1, optional=True)
    check_views(query, key, NAMES)
    check_negatives(query, negatives, queue)
    query, key = l2_normalize(query), l2_normalize(key)
    anchors = query / temperature
    if queue is not None:
        queue = ops.cast(ops.convert_to_tensor(queue), anchors.dtype)
        others = log_sum_exp_of_queue(anchors, queue, chunk_size)
    else:
        candidates, excluded = _candidates(query, key, negatives)
        others = log_sum_exp_of_similarities(anchors, candidates, excluded, chunk_size)
    positive = ops.sum(query * key, axis=-1) / temperature
    # log(exp(positive) + exp(others)) - positive, never below 0
    return ops.softplus(others - positive)


def _candidates(query: Any, key: Any, negatives: Any) -> tuple[Any, Any]:
    """The negative keys, and of keys in the batch which one each query leaves out."""
    if negatives is not None:
        return l2_normalize(negatives), None
    check_has_negatives(query, NAMES)
    count = ops.shape(query)[0]
    positives = distribute.replica_index() * count + ops.arange(count, dtype="int32")
    return distribute.all_gather(key), positives[:, None]


def check_negatives(query: Any, negatives: Any, queue: Any = None) -> None:
    """Raise unless one of `negatives` and `queue` at most is given, as keys like `query`'s rows.

    Args:
        query: `(n, dim)`.
        negatives: `(k, dim)` or `None`.
        queue: `(k, dim)` or `None`.

    Raises:
        ValueError: if both are given, or what is given is not of rank 2, is empty, or of another
            length.
        TypeError: if it is not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.losses.contrastive.info_nce import check_negatives
    >>> check_negatives(np.zeros((4, 8), "float32"), np.zeros((100, 8), "float32"))
    """
    given = {"negatives": negatives, "queue": queue}
    given = {name: keys for name, keys in given.items() if keys is not None}
    if len(given) > 1:
        raise ValueError(
            "Give `negatives` or `queue`: either stands for all negative keys. Received: both"
        )
    for name, keys in given.items():
        check_embeddings(keys, name)
        shape, expected = tuple(keys.shape), query.shape[1]
        # an unknown size (None) may be any size
        if shape[0] == 0 or (None not in (shape[1], expected) and shape[1] != expected):
            raise ValueError(
                f"`{name}` must have shape (at least 1, {expected}), with rows as long as those of "
                f"`query`. Received: {name}.shape={shape}"
            )


@keras.saving.register_keras_serializable(package="keras_ssl")
class InfoNCE(ContrastiveLoss):
    """Cross entropy of picking the positive key of each query out of negative ones.

    The loss of CPC and MoCo. See `keras_ssl.losses.info_nce` for the formula. Embeddings are
    normalised inside, and the computation is in float32 under mixed precision. Under a
    `tf.distribute` strategy the keys of all replicas are negatives; as with every
    Keras loss, the value is then divided by the number of replicas.

    Args:
        temperature: float above 0.
        chunk_size: `None` stores the matrix of all similarities. An integer computes it in tiles
            of at most `(chunk_size, chunk_size)`, to the same value and gradient; 2048 is a good
            size. With `queue`, tiles are `(batch, chunk_size)`, and `None` means 8192.
        reduction: as in `keras.losses.Loss`; the default is the mean over the queries.
        name: optional name of the loss.
        dtype: dtype of the computation; by default `keras.config.floatx()`, at least float32.

    Call arguments:
        query: `(batch, dim)`, floating-point.
        key: `(batch, dim)`; row i is the positive key of row i of `query`.
        sample_weight: optional weights of the queries, `(batch,)`.
        negatives: optional keys `(k, dim)`, negative for every query. By default the keys of all
            other examples.
        queue: optional keys `(k, dim)` in place of `negatives`, of length 1 already and without
            a gradient, as `keras_ssl.layers.FeatureQueue` holds them: cheaper.

    Returns:
        A scalar, or the `(batch,)` values of the queries with `reduction=None`.

    Raises:
        ValueError: if `temperature` is not finite and above 0, `chunk_size` below 1, the shapes
            do not fit, `negatives` and `queue` are both given, or neither is and the batch over
            all replicas holds a single example.
        TypeError: if an input is not floating-point, `temperature` not a number, or `chunk_size`
            not an integer.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> loss = losses.InfoNCE(temperature=0.5)
    >>> query, key = np.eye(2, 4, dtype="float32"), np.eye(2, 4, dtype="float32")
    >>> round(float(loss(query, key)), 4)  # -log(e^2 / (e^2 + 1))
    0.1269
    >>> round(float(loss(query, key, queue=np.eye(4, dtype="float32")[2:])), 4)
    0.2395

    Reference:
        - [van den Oord et al., Representation Learning with Contrastive Predictive
          Coding](https://arxiv.org/abs/1807.03748)
        - [He et al., Momentum Contrast for Unsupervised Visual Representation
          Learning](https://arxiv.org/abs/1911.05722)
    """

    def __call__(
        self,
        query: Any,
        key: Any,
        sample_weight: Any = None,
        negatives: Any = None,
        queue: Any = None,
    ) -> Any:
        """Compute the loss of queries and keys."""
        # before Keras casts, which would hide integers
        check_views(query, key, NAMES)
        check_negatives(query, negatives, queue)
        given = {"query": query, "negatives": negatives, "queue": queue}
        given = {name: x for name, x in given.items() if x is not None}
        return super().__call__(given, key, sample_weight=sample_weight)

    def call(self, given: dict[str, Any], key: Any) -> Any:
        """Return the values of the queries; `given` are queries and any negatives."""
        return info_nce(
            given["query"],
            key,
            given.get("negatives"),
            self.temperature,
            self.chunk_size,
            given.get("queue"),
        )
