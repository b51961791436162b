"""InfoNCE, the contrastive loss of MoCo."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.losses._base import like
from keras_ssl.losses._checks import check_has_negatives, check_matrix, check_views
from keras_ssl.losses.contrastive._base import ContrastiveLoss
from keras_ssl.ops import l2_normalize, log_sum_exp_of_queue, log_sum_exp_of_similarities

_NAMES = ("query", "key")


def info_nce(
    query: Any,
    key: Any,
    negatives: Any = None,
    temperature: Any = 0.1,
    chunk_size: int | None = None,
    queue: Any = None,
    hard_negatives: Any = None,
) -> Any:
    """Cross entropy of picking the positive key of each query, one value per query.

    With s the cosine similarity, τ the temperature, q_i a query, k_i its positive key and n_j
    the negative keys:

        l(i) = -log( exp(s(q_i, k_i) / τ) / ( exp(s(q_i, k_i) / τ) + Σ_j exp(s(q_i, n_j) / τ) ) )

    By default the negatives are the keys of all other examples of all replicas, and
    `hard_negatives` of all replicas too if there are any. `negatives` or `queue` replace them; each
    replica then uses all the keys that it is given.

    Args:
        query: `(n, dim)`, floating-point. Normalised here.
        key: `(n, dim)`; row i is the positive key of row i of `query`. Normalised here.
        negatives: optional negative keys of every query, `(k, dim)`. Normalised here.
        temperature: τ, above 0: a number, or a scalar tensor or variable, which gets its
            gradient.
        chunk_size: `None` stores all similarities. An integer computes them in tiles of at most
            `(chunk_size, chunk_size)`, with the same value and gradient but without second
            derivatives; 2048 is a good size. With `queue`, tiles are `(n, chunk_size)`, and
            `None` means 8192.
        queue: optional negative keys `(k, dim)` of unit length that need no gradient, as
            `keras_ssl.layers.FeatureQueue` holds them. Cheaper than `negatives`: value and
            gradient take one pass over the keys. There are no second derivatives.
        hard_negatives: optional keys `(m, dim)`, such as one for each query, that are negatives of
            every query besides the keys of other examples. Normalised here.

    Returns:
        Tensor of shape `(n,)`, at least float32.

    Raises:
        ValueError: if shapes do not fit, several kinds of negatives are given, none is and the
            global batch holds a single example, or an argument is out of range.
        TypeError: if an input is not floating-point, or an argument has the wrong type.

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
    _check_inputs(query, key, negatives, queue, hard_negatives)
    query, key = l2_normalize(query), l2_normalize(key)
    temperature = like(temperature, query)
    anchors = query / temperature
    if queue is not None:
        queue = ops.cast(ops.convert_to_tensor(queue), anchors.dtype)
        others = log_sum_exp_of_queue(anchors, queue, chunk_size)
    else:
        candidates, excluded = _candidates(query, key, negatives, hard_negatives)
        others = log_sum_exp_of_similarities(anchors, candidates, excluded, chunk_size)
    positive = ops.sum(query * key, axis=-1) / temperature
    # log(exp(positive) + exp(others)) - positive, never below 0
    return ops.softplus(others - positive)


def _candidates(query: Any, key: Any, negatives: Any, hard_negatives: Any) -> tuple[Any, Any]:
    """The candidates for negatives, and the index of the candidate that each query excludes."""
    if negatives is not None:
        return l2_normalize(negatives), None
    if hard_negatives is None:
        check_has_negatives(query, _NAMES)
    count = ops.shape(query)[0]
    positives = distribute.replica_index() * count + ops.arange(count, dtype="int32")
    candidates = distribute.all_gather(key)
    if hard_negatives is not None:
        others = distribute.all_gather(l2_normalize(hard_negatives))
        candidates = ops.concatenate([candidates, ops.cast(others, candidates.dtype)])
    return candidates, positives[:, None]


def _check_inputs(query: Any, key: Any, negatives: Any, queue: Any, hard_negatives: Any) -> None:
    check_views(query, key, _NAMES)
    given = {"negatives": negatives, "queue": queue, "hard_negatives": hard_negatives}
    given = {name: keys for name, keys in given.items() if keys is not None}
    if len(given) > 1:
        raise ValueError(
            "Pass `negatives` or `queue`, which replace all negative keys, or `hard_negatives`, "
            f"which are added to those of other examples. Received: {' and '.join(given)}"
        )
    for name, keys in given.items():
        shape, dim = tuple(check_matrix(keys, name).shape), query.shape[1]
        if shape[0] == 0 or (None not in (shape[1], dim) and shape[1] != dim):
            raise ValueError(
                f"`{name}` must have shape (at least 1, {dim}), with rows as long as those of "
                f"`query`. Received: {name}.shape={shape}"
            )


@keras.saving.register_keras_serializable(package="keras_ssl")
class InfoNCE(ContrastiveLoss):
    """Cross entropy of picking the positive key of each query, the loss of MoCo.

    See `keras_ssl.losses.info_nce` for the formula, errors and references, and
    `keras_ssl.losses.NTXent` for mixed precision and replicas.

    Args:
        temperature: float above 0, or a schedule, see `keras_ssl.losses.NTXent`.
        chunk_size: `None`, or the side of the tiles in which similarities are computed, see
            `keras_ssl.losses.NTXent`. With `queue`, tiles are `(batch, chunk_size)`, and `None`
            means 8192.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        query: `(batch, dim)`, floating-point.
        key: `(batch, dim)`; row i is the positive key of row i of `query`.
        sample_weight: optional weights of the queries, `(batch,)`.
        negatives: optional negative keys of every query, `(k, dim)`. By default the keys of all
            other examples.
        queue: optional negative keys `(k, dim)` of unit length that need no gradient, as
            `keras_ssl.layers.FeatureQueue` holds them; cheaper than `negatives`.
        hard_negatives: optional keys `(m, dim)`, negatives besides the keys of other examples.

    Returns:
        The mean over the queries, or their `(batch,)` values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> loss = losses.InfoNCE(temperature=0.5)
    >>> query, key = np.eye(2, 4, dtype="float32"), np.eye(2, 4, dtype="float32")
    >>> round(float(loss(query, key)), 4)  # -log(e^2 / (e^2 + 1))
    0.1269
    >>> round(float(loss(query, key, queue=np.eye(4, dtype="float32")[2:])), 4)
    0.2395
    """

    def __call__(
        self,
        query: Any,
        key: Any,
        sample_weight: Any = None,
        negatives: Any = None,
        queue: Any = None,
        hard_negatives: Any = None,
    ) -> Any:
        """Compute the loss of queries and keys."""
        _check_inputs(query, key, negatives, queue, hard_negatives)
        inputs = {
            "query": query,
            "negatives": negatives,
            "queue": queue,
            "hard_negatives": hard_negatives,
        }
        inputs = {name: x for name, x in inputs.items() if x is not None}
        return super().__call__(inputs, key, sample_weight=sample_weight)

    def call(self, inputs: dict[str, Any], key: Any) -> Any:
        """Return the values of the queries; `inputs` are queries and any negatives."""
        settings = {"temperature": self.value_now("temperature"), "chunk_size": self.chunk_size}
        return info_nce(key=key, **inputs, **settings)
