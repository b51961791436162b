"""SupCon, contrastive learning with the examples of a class as positives."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.losses._base import like
from keras_ssl.losses._checks import are_compatible, check_dtype, is_single_example
from keras_ssl.losses._class_numbers import class_numbers
from keras_ssl.losses.contrastive._base import ContrastiveLoss, sums_of_groups
from keras_ssl.ops import l2_normalize, log_sum_exp_of_similarities


def sup_con(
    labels: Any, embeddings: Any, temperature: Any = 0.1, chunk_size: int | None = None
) -> Any:
    """Supervised contrastive loss, one value per anchor.

    Every embedding is an anchor. With s the cosine similarity, τ the temperature and P(i) all
    other embeddings with the label of i:

        l(i) = -1/|P(i)| Σ_{p ∈ P(i)} log( exp(s(i, p) / τ) / Σ_{k ≠ i} exp(s(i, k) / τ) )

    where p and k run over all views of all replicas. This is L_out of the paper, equation 2. An
    anchor without positives has the value 0 and no gradient, but is a negative of others. With
    two views and different labels everywhere, the loss is NT-Xent.

    The label -1 means that an example has none: its positives are its own other views only.

    The positives of a class are summed once for all its anchors, so that at most one
    `(anchors, candidates)` matrix is stored, or none with `chunk_size`.

    Args:
        labels: integers `(n,)` or `(n, 1)`, the class of each example, or -1 for no label.
        embeddings: `(n, dim)`, or `(n, views, dim)` with several views of each example;
            floating-point. They are normalised here.
        temperature: τ, above 0: a number, or a scalar tensor or variable, which gets its
            gradient.
        chunk_size: `None` stores all similarities. An integer computes them in tiles of at most
            `(chunk_size, chunk_size)`, with the same value and gradient but without second
            derivatives; 2048 is a good size.

    Returns:
        Tensor of shape `(n,)` or `(n, views)`, at least float32.

    Raises:
        ValueError: if shapes do not fit, the global batch holds a single embedding, or an
            argument is out of range.
        TypeError: if `labels` are not integers, `embeddings` not floating-point, or an argument
            has the wrong type.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.eye(2, dtype="float32")[[0, 0, 1]]
    >>> values = losses.sup_con(np.array([7, 7, 3]), z, temperature=0.5)
    >>> [round(float(value), 4) for value in values]  # log(e^2 + 1) - 2, and no positives
    [0.1269, 0.1269, 0.0]

    Reference:
        - [Khosla et al., Supervised Contrastive Learning](https://arxiv.org/abs/2004.11362)
    """
    temperature = checks.temperature("temperature", temperature)
    checks.integer("chunk_size", chunk_size, minimum=1, optional=True)
    _check_inputs(labels, embeddings)
    return _values(class_numbers(labels), embeddings, temperature, chunk_size)


def _values(classes: Any, embeddings: Any, temperature: Any, chunk_size: int | None) -> Any:
    """Values of the anchors, whose classes are numbered from 0."""
    z = l2_normalize(embeddings)
    temperature = like(temperature, z)
    shape = ops.shape(z)
    views = 1 if len(shape) == 2 else shape[1]
    z = ops.reshape(z, (-1, shape[-1]))
    classes = ops.repeat(classes, views)
    candidates, candidate_classes = distribute.all_gather(z), distribute.all_gather(classes)
    count = ops.shape(z)[0]

    itself = distribute.replica_index() * count + ops.arange(count, dtype="int32")
    others = log_sum_exp_of_similarities(z / temperature, candidates, itself[:, None], chunk_size)

    of_class, sizes = sums_of_groups(candidates, candidate_classes, classes)
    positives = sizes - 1
    mean = (of_class - z) / ops.maximum(positives, 1)[:, None]
    values = others - ops.sum(z * mean, axis=-1) / temperature
    values = ops.where(positives > 0, values, ops.zeros_like(values))
    return ops.reshape(values, shape[:-1])


def _check_inputs(labels: Any, embeddings: Any) -> None:
    label_shape = tuple(check_dtype(labels, "labels", "integer").shape)
    shape = tuple(check_dtype(embeddings, "embeddings").shape)
    if len(shape) not in (2, 3):
        raise ValueError(
            "`embeddings` must have shape (batch, dim) or (batch, views, dim). "
            f"Received: embeddings.shape={shape}"
        )
    is_column = len(label_shape) == 2 and label_shape[1] == 1
    if not are_compatible(label_shape[:1] if is_column else label_shape, shape[:1]):
        raise ValueError(
            "`labels` must have shape (batch,), with the class of each example of `embeddings`. "
            f"Received: labels.shape={label_shape}, embeddings.shape={shape}"
        )
    views = 1 if len(shape) == 2 else shape[1]
    if views == 1 and is_single_example(embeddings):
        raise ValueError(
            "A contrastive loss needs other embeddings: `embeddings` must hold at least 2 over "
            f"all replicas. Received: embeddings.shape={shape}"
        )


@keras.saving.register_keras_serializable(package="keras_ssl")
class SupConLoss(ContrastiveLoss):
    """Supervised contrastive loss: attracts embeddings of a class, repels those of other classes.

    See `keras_ssl.losses.sup_con` for the formula, errors and reference, and
    `keras_ssl.losses.NTXent` for mixed precision and replicas. The arguments are those of a Keras
    loss, labels and embeddings, so that it can also train a plain Keras model:
    `model.compile(loss=keras_ssl.losses.SupConLoss())`.

    Args:
        temperature: float above 0, or a schedule, see `keras_ssl.losses.NTXent`.
        chunk_size: `None`, or the side of the tiles in which similarities are computed, see
            `keras_ssl.losses.NTXent`.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        labels: integers `(batch,)` or `(batch, 1)`, the class of each example, or -1 for an
            example without a label.
        embeddings: `(batch, dim)`, or `(batch, views, dim)` with several views of each example;
            floating-point.
        sample_weight: optional weights of the examples, `(batch,)`, or of the anchors.

    Returns:
        The mean over the anchors, including those without positives, or with `reduction=None`
        their values, `(batch,)` or `(batch, views)`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> z = np.eye(4, dtype="float32")
    >>> views = np.stack([z, z], axis=1)
    >>> loss = losses.SupConLoss(temperature=0.5)
    >>> round(float(loss(np.array([0, 1, 2, 3]), views)), 4)  # that of NT-Xent
    0.5944
    >>> round(float(loss(np.array([0, 0, 1, 1]), views)), 4)  # embeddings of a class differ
    1.9278
    """

    def __call__(self, labels: Any, embeddings: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of labelled embeddings."""
        _check_inputs(labels, embeddings)
        if sample_weight is not None and len(embeddings.shape) == 3:
            sample_weight = ops.convert_to_tensor(sample_weight)
            if len(sample_weight.shape) == 1:
                sample_weight = sample_weight[:, None]
        # Keras casts to float, in which large labels lose digits; class numbers do not
        return super().__call__(class_numbers(labels), embeddings, sample_weight=sample_weight)

    def call(self, classes: Any, embeddings: Any) -> Any:
        """Return the values of the anchors, before the reduction; `classes` are numbered from 0."""
        classes = ops.cast(classes, "int32")
        return _values(classes, embeddings, self.value_now("temperature"), self.chunk_size)
