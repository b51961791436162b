"""SupCon: contrastive learning where all examples of a class are positives."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.losses._checks import is_single_example
from keras_ssl.losses.contrastive._contrastive_loss import ContrastiveLoss
from keras_ssl.ops import l2_normalize, log_sum_exp_of_similarities


def sup_con(
    labels: Any, embeddings: Any, temperature: float = 0.1, chunk_size: int | None = None
) -> Any:
    """Supervised contrastive loss, one value an anchor.

    Every embedding is an anchor. With s the cosine similarity, τ the temperature and P(i) all
    other embeddings with the label of i:

        l(i) = -1/|P(i)| Σ_{p ∈ P(i)} log( exp(s(i, p) / τ) / Σ_{k ≠ i} exp(s(i, k) / τ) )

    where p and k run over all views of all replicas. It is the paper's L_out, its equation 2. An
    anchor without positives has the value 0 and no gradient, and is a negative of others still.
    With two views and all labels different, this is NT-Xent.

    The positives of a class are summed once for all its anchors, so that the step holds one
    `(anchors, candidates)` matrix at most, or none with `chunk_size`.

    Args:
        labels: integers `(n,)` or `(n, 1)`, the class of each example.
        embeddings: `(n, dim)`, or `(n, views, dim)` with several views of each example;
            floating-point. Need not be normalised.
        temperature: τ, above 0.
        chunk_size: `None` stores all similarities. An integer computes them in tiles of at most
            `(chunk_size, chunk_size)`, to the same value and gradient; 2048 is a good size. There
            are no second derivatives then.

    Returns:
        Tensor of shape `(n,)` or `(n, views)`, at least float32.

    Raises:
        ValueError: if the shapes do not fit, the batch over all replicas holds a single
            embedding, `temperature` is not finite and above 0, or `chunk_size` below 1.
        TypeError: if `labels` are not integers, `embeddings` not floating-point, `temperature`
            not a number, or `chunk_size` not an integer.

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
    checks.positive("temperature", temperature)
    checks.integer("chunk_size", chunk_size, minimum=1, optional=True)
    check_labelled(labels, embeddings)
    return _values(class_numbers(labels), embeddings, temperature, chunk_size)


def _values(classes: Any, embeddings: Any, temperature: float, chunk_size: int | None) -> Any:
    """The values of the anchors, whose classes are numbered."""
    z = l2_normalize(embeddings)
    shape = ops.shape(z)
    views = 1 if len(shape) == 2 else shape[1]
    z = ops.reshape(z, (-1, shape[-1]))
    classes = ops.repeat(classes, views)
    candidates, candidate_classes = distribute.all_gather(z), distribute.all_gather(classes)
    count, total = ops.shape(z)[0], ops.shape(candidates)[0]

    itself = distribute.replica_index() * count + ops.arange(count, dtype="int32")
    others = log_sum_exp_of_similarities(z / temperature, candidates, itself[:, None], chunk_size)

    # there are no more classes than candidates
    sums = ops.segment_sum(candidates, candidate_classes, num_segments=total)
    sizes = ops.segment_sum(ops.ones_like(candidates[:, 0]), candidate_classes, num_segments=total)
    of_class = ops.take(sums, classes, axis=0)
    positives = ops.take(sizes, classes) - 1
    mean = (of_class - z) / ops.maximum(positives, 1)[:, None]
    values = others - ops.sum(z * mean, axis=-1) / temperature
    values = ops.where(positives > 0, values, ops.zeros_like(values))
    return ops.reshape(values, shape[:-1])


def class_numbers(labels: Any) -> Any:
    """Number the classes that occur in the labels of all replicas, from 0 on.

    Args:
        labels: this replica's labels, integers `(n,)` or `(n, 1)`.

    Returns:
        int32 tensor `(n,)`: equal where labels are equal, below the number of labels of all
        replicas.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.losses.contrastive.sup_con import class_numbers
    >>> [int(number) for number in class_numbers(np.array([70, -3, 70, 5]))]
    [2, 0, 2, 1]
    """
    labels = ops.reshape(ops.convert_to_tensor(labels), (-1,))
    count = ops.shape(labels)[0]
    labels = distribute.all_gather(labels)
    order = ops.argsort(labels)
    ordered = ops.take(labels, order)
    is_new = ops.cast(ops.not_equal(ordered[1:], ordered[:-1]), "int32")
    first = ops.zeros((1,), "int32")
    numbers = ops.cumsum(ops.concatenate([first, is_new], axis=0), axis=0)
    return distribute.local_rows(ops.take(numbers, ops.argsort(order)), count)


def check_labelled(labels: Any, embeddings: Any) -> None:
    """Raise unless `labels` name the class of each example of `embeddings`.

    Args:
        labels: integers `(batch,)` or `(batch, 1)`.
        embeddings: `(batch, dim)` or `(batch, views, dim)`, floating-point.

    Raises:
        ValueError: if the shapes do not fit, or the replicas together hold a single embedding.
        TypeError: if `labels` are not integers, or `embeddings` not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.losses.contrastive.sup_con import check_labelled
    >>> check_labelled(np.array([0, 1, 0, 1]), np.zeros((4, 2, 8), "float32"))
    """
    if labels is None or embeddings is None:
        missing = "labels" if labels is None else "embeddings"
        raise ValueError(
            "The loss expects `labels` of shape (batch,) and `embeddings` of shape (batch, dim) "
            f"or (batch, views, dim). Received: {missing}=None"
        )
    shapes = {}
    for name, x in (("labels", labels), ("embeddings", embeddings)):
        x = x if hasattr(x, "dtype") and hasattr(x, "shape") else ops.convert_to_tensor(x)
        shapes[name], dtype = tuple(x.shape), keras.backend.standardize_dtype(x.dtype)
        is_right = keras.backend.is_int_dtype if name == "labels" else keras.backend.is_float_dtype
        if not is_right(dtype):
            expected = "integers" if name == "labels" else "floating-point embeddings"
            raise TypeError(f"`{name}` must hold {expected}. Received: {name}.dtype={dtype}")
    of_labels, of_embeddings = shapes["labels"], shapes["embeddings"]
    if len(of_embeddings) not in (2, 3):
        raise ValueError(
            "`embeddings` must have shape (batch, dim) or (batch, views, dim). "
            f"Received: embeddings.shape={of_embeddings}"
        )
    is_column = len(of_labels) == 2 and of_labels[1] == 1
    sizes = {size for size in (of_labels[:1] + of_embeddings[:1]) if size is not None}
    if not (len(of_labels) == 1 or is_column) or len(sizes) > 1:
        raise ValueError(
            "`labels` must have shape (batch,), one class an example of `embeddings`. "
            f"Received: labels.shape={of_labels}, embeddings.shape={of_embeddings}"
        )
    views = 1 if len(of_embeddings) == 2 else of_embeddings[1]
    if views == 1 and is_single_example(embeddings):
        raise ValueError(
            "A contrastive loss needs other embeddings: `embeddings` must hold at least 2 over "
            f"all replicas. Received: embeddings.shape={of_embeddings}"
        )


# the trainer of this name is registered by it
@keras.saving.register_keras_serializable(package="keras_ssl")
class SupConLoss(ContrastiveLoss):
    """Supervised contrastive loss: embeddings of a class attract, those of others repel.

    See `keras_ssl.losses.sup_con` for the formula. The arguments are those of a Keras loss, labels
    and embeddings, so that it also trains a plain Keras model:
    `model.compile(loss=keras_ssl.losses.SupConLoss())`.

    Embeddings are normalised inside, and the computation is in float32 under mixed precision.
    Under a `tf.distribute` strategy positives and negatives are those of all replicas. As with
    every Keras loss, the value is then divided by the number of replicas.

    Args:
        temperature: float above 0.
        chunk_size: `None` stores the matrix of all similarities. An integer computes it in tiles
            of at most `(chunk_size, chunk_size)`, to the same value and gradient; 2048 is a good
            size.
        reduction: as in `keras.losses.Loss`; the default is the mean over the anchors, those
            without positives included.
        name: optional name of the loss.
        dtype: dtype of the computation; by default `keras.config.floatx()`, at least float32.

    Call arguments:
        labels: integers `(batch,)` or `(batch, 1)`, the class of each example.
        embeddings: `(batch, dim)`, or `(batch, views, dim)` with several views of each example;
            floating-point.
        sample_weight: optional weights of the examples, `(batch,)`, or of the anchors.

    Returns:
        A scalar, or with `reduction=None` the values of the anchors, `(batch,)` or
        `(batch, views)`.

    Raises:
        ValueError: if `temperature` is not finite and above 0, `chunk_size` below 1, the shapes
            do not fit, or the batch over all replicas holds a single embedding.
        TypeError: if `labels` are not integers, `embeddings` not floating-point, `temperature`
            not a number, or `chunk_size` not an integer.

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

    Reference:
        - [Khosla et al., Supervised Contrastive Learning](https://arxiv.org/abs/2004.11362)
    """

    def __call__(self, labels: Any, embeddings: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of labelled embeddings."""
        # before Keras casts, which would hide floats
        check_labelled(labels, embeddings)
        if sample_weight is not None and len(embeddings.shape) == 3:
            sample_weight = ops.convert_to_tensor(sample_weight)
            if len(sample_weight.shape) == 1:
                sample_weight = sample_weight[:, None]
        # Keras casts to float, which not all labels survive; numbers of classes do
        return super().__call__(class_numbers(labels), embeddings, sample_weight=sample_weight)

    def call(self, classes: Any, embeddings: Any) -> Any:
        """Return the values of the anchors, whose classes are numbered, before the reduction."""
        classes = ops.cast(classes, "int32")
        return _values(classes, embeddings, self.temperature, self.chunk_size)
