"""Softmax over very many classes, of which frequent ones cost more than rare ones."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl._known_values import check_range
from keras_ssl.layers._initializer_copy import initializer_copy
from keras_ssl.ops import at_least_float32


@keras.saving.register_keras_serializable(package="keras_ssl")
class AdaptiveLogSoftmax(keras.layers.Layer):
    """Adaptive softmax: dense layer, softmax and loss of up to millions of classes.

    Classes are numbered by falling frequency, as the words of a vocabulary are. The head scores the
    first `cutoffs[0]` classes and one entry for each cluster of rarer ones, [cutoffs[i],
    cutoffs[i + 1]). With h the features, W the head and U_i, V_i the projection and the scores of
    cluster i, whose width falls by `div_value` from cluster to cluster:

        log p(c) = log_softmax(W h)_c                                                  in the head
        log p(c) = log_softmax(W h)_(cutoffs[0] + i) + log_softmax(V_i U_i h)_(c - cutoffs[i])

    With labels, a cluster is computed only for the examples whose label it holds, so that most of
    the time goes into the head. It equals PyTorch's `AdaptiveLogSoftmaxWithLoss`.

    In `fit`, labels are an input beside the features, and the loss is the output:

        model = keras.Model([x, y], layers.AdaptiveLogSoftmax(100_000, [2_000, 10_000])(h, y))
        model.compile("adam", loss=lambda y, values: values)
        model.fit((x_train, y_train), y_train)

    Args:
        num_classes: number of classes.
        cutoffs: increasing integers, the class with which each cluster begins; all are above 0 and
            below `num_classes`.
        div_value: by which the width of a cluster's projection falls: `dim // div_value**(i + 1)`
            for cluster i, and at least 1.
        head_bias: whether the head has a bias.
        kernel_initializer: initializer of all kernels. Each uses a copy.
        gather_rows: whether a cluster is computed for the examples that it holds alone, whose
            number depends on the labels. XLA compiles for fixed shapes: with `False` each cluster
            is computed for all examples, and those of others are masked, with equal numbers at
            the cost of a softmax with narrow projections. By default it is `True` on the TensorFlow
            backend; pass `False` for `compile(jit_compile=True)` and TPUs.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`. Softmax and loss are
            computed in float32 whatever the policy.

    Call arguments:
        inputs: features.
        labels: integers, the class of each example, or `None`.

    Input shape:
        `(batch, ..., dim)`, and labels `(batch, ...)`.

    Output shape:
        `(batch, ...)` with labels: the negative log-likelihoods -log p(label), at least float32.
        Without, `(batch, ..., num_classes)`: all log-probabilities, see `log_prob`.

    Raises:
        TypeError: if an argument has the wrong type, or `labels` are not integers.
        ValueError: if cutoffs do not increase between 0 and `num_classes`, another argument is out
            of range, shapes do not fit, or a label is no class. In a compiled function, where
            labels are not known, such a label has the value NaN; with `gather_rows=True`,
            TensorFlow on a CPU raises an error of its own.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> softmax = layers.AdaptiveLogSoftmax(1000, cutoffs=[20, 100])
    >>> features = np.ones((4, 64), "float32")
    >>> softmax(features, np.array([0, 19, 50, 999])).shape
    TensorShape([4])
    >>> softmax.log_prob(features).shape
    TensorShape([4, 1000])
    >>> softmax.predict(features).shape
    TensorShape([4])

    Reference:
        - [Grave et al., Efficient softmax approximation for GPUs](https://arxiv.org/abs/1609.04309)
    """

    def __init__(
        self,
        num_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        gather_rows: bool | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.num_classes = checks.integer("num_classes", num_classes, minimum=2)
        self.cutoffs = _check_cutoffs(cutoffs, self.num_classes)
        self.div_value = checks.number("div_value", div_value, minimum=1)
        self.head_bias = bool(head_bias)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.gather_rows = gather_rows
        if gather_rows is None:
            gather_rows = keras.backend.backend() == "tensorflow"
        self._gathers = bool(gather_rows)
        if self._gathers:
            self.supports_jit = False  # how many rows a cluster gets depends on values
        self.supports_masking = True

    def build(self, inputs_shape: tuple, labels_shape: tuple | None = None) -> None:
        dim = inputs_shape[-1]
        if len(inputs_shape) < 2 or dim is None:
            raise ValueError(
                "`inputs` must have shape (batch, ..., dim) with a known last axis. "
                f"Received: shape {tuple(inputs_shape)}"
            )
        number = 0

        def kernel(name: str, *shape: int) -> keras.Variable:
            nonlocal number
            number += 1
            initializer = initializer_copy(self.kernel_initializer, number)
            return self.add_weight(name=name, shape=shape, initializer=initializer)

        size = self.cutoffs[0] + len(self.cutoffs)
        self.head = kernel("head", dim, size)
        self.bias = None
        if self.head_bias:
            self.bias = self.add_weight(name="bias", shape=(size,), initializer="zeros")
        self.projections, self.kernels = [], []
        for n, (start, end) in enumerate(self._clusters()):
            width = max(1, int(dim // self.div_value ** (n + 1)))
            self.projections.append(kernel(f"projection_{n}", dim, width))
            self.kernels.append(kernel(f"kernel_{n}", width, end - start))

    def _clusters(self) -> list[tuple[int, int]]:
        """The first class of each cluster, and that behind its last."""
        return list(zip(self.cutoffs, [*self.cutoffs[1:], self.num_classes], strict=True))

    def call(self, inputs: Any, labels: Any = None) -> Any:
        if labels is None:
            return ops.cast(self.log_prob(inputs), self.compute_dtype)
        _check_labels(labels, inputs)
        check_range("labels", labels, self.num_classes, "the classes")
        h = ops.reshape(inputs, (-1, inputs.shape[-1]))
        flat = ops.reshape(ops.cast(labels, "int32"), (-1,))
        size = self.cutoffs[0]
        in_head = flat
        for n, (start, _) in enumerate(self._clusters()):
            in_head = ops.where(flat >= start, size + n, in_head)
        if not self._gathers:
            in_head = ops.maximum(in_head, 0)
        values = _cross_entropy(in_head, self._head_logits(h))
        for n, (start, end) in enumerate(self._clusters()):
            is_member = flat >= start
            if end < self.num_classes:  # a label behind the last class is left for an error
                is_member = ops.logical_and(is_member, flat < end)
            values = values + self._of_cluster(n, h, flat - start, is_member)
        is_class = ops.logical_and(flat >= 0, flat < self.num_classes)
        values = ops.where(is_class, values, float("nan"))
        return ops.reshape(values, ops.shape(labels))

    def _of_cluster(self, n: int, h: Any, labels: Any, is_member: Any) -> Any:
        """Return -log p of labels within a cluster, and 0 for all others."""
        if self._gathers:
            rows = ops.cast(ops.nonzero(is_member)[0], "int32")
            logits = self._cluster_logits(n, ops.take(h, rows, axis=0))
            found = _cross_entropy(ops.take(labels, rows), logits)
            return ops.scatter(rows[:, None], found, ops.shape(labels))
        logits = self._cluster_logits(n, h)
        found = _cross_entropy(ops.clip(labels, 0, logits.shape[-1] - 1), logits)
        return ops.where(is_member, found, ops.zeros_like(found))

    def _head_logits(self, h: Any) -> Any:
        logits = ops.matmul(h, self.head)
        return at_least_float32(logits if self.bias is None else logits + self.bias)

    def _cluster_logits(self, n: int, h: Any) -> Any:
        return at_least_float32(ops.matmul(ops.matmul(h, self.projections[n]), self.kernels[n]))

    def log_prob(self, features: Any) -> Any:
        """Return the log-probabilities of all classes.

        Args:
            features: `(batch, ..., dim)`.

        Returns:
            Tensor of shape `(batch, ..., num_classes)`, at least float32.
        """
        h, head = self._features_and_head(features)
        size = self.cutoffs[0]
        parts = [head[..., :size]]
        for n in range(len(self.cutoffs)):
            within = ops.log_softmax(self._cluster_logits(n, h), axis=-1)
            parts.append(head[..., size + n, None] + within)
        return ops.concatenate(parts, axis=-1)

    def predict(self, features: Any) -> Any:
        """Return the most probable class, without storing the probabilities of all.

        Args:
            features: `(batch, ..., dim)`.

        Returns:
            int32 tensor of shape `(batch, ...)`.
        """
        h, head = self._features_and_head(features)
        size = self.cutoffs[0]
        best = ops.max(head[..., :size], axis=-1)
        classes = ops.cast(ops.argmax(head[..., :size], axis=-1), "int32")
        for n, start in enumerate(self.cutoffs):
            scores = self._cluster_logits(n, h)
            # the highest score less the log-sum-exp of all
            highest = ops.max(scores, axis=-1) - ops.logsumexp(scores, axis=-1)
            highest = highest + head[..., size + n]
            of_cluster = start + ops.cast(ops.argmax(scores, axis=-1), "int32")
            classes = ops.where(highest > best, of_cluster, classes)
            best = ops.maximum(highest, best)
        return classes

    def _features_and_head(self, features: Any) -> tuple[Any, Any]:
        """Return features in the compute dtype, and the log-probabilities of the head."""
        h = ops.cast(ops.convert_to_tensor(features), self.compute_dtype)
        if not self.built:
            self.build(h.shape)
        return h, ops.log_softmax(self._head_logits(h), axis=-1)

    def compute_output_spec(self, inputs: Any, labels: Any = None) -> keras.KerasTensor:
        if labels is None:
            return keras.KerasTensor((*inputs.shape[:-1], self.num_classes), self.compute_dtype)
        _check_labels(labels, inputs)
        dtype = keras.backend.result_type(self.compute_dtype, "float32")
        return keras.KerasTensor(tuple(inputs.shape[:-1]), dtype)

    def compute_output_shape(self, inputs_shape: tuple, labels_shape: tuple | None = None) -> tuple:
        of_classes = (self.num_classes,) if labels_shape is None else ()
        return (*inputs_shape[:-1], *of_classes)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "num_classes": self.num_classes,
            "cutoffs": list(self.cutoffs),
            "div_value": self.div_value,
            "head_bias": self.head_bias,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "gather_rows": self.gather_rows,
        }


def _cross_entropy(labels: Any, logits: Any) -> Any:
    return ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)


def _check_cutoffs(cutoffs: Any, num_classes: int) -> tuple[int, ...]:
    if isinstance(cutoffs, str) or not hasattr(cutoffs, "__len__"):
        raise TypeError(
            "`cutoffs` must be a sequence of increasing integers. "
            f"Received: cutoffs={cutoffs!r} of type {type(cutoffs).__name__}"
        )
    checked = [checks.integer(f"cutoffs[{n}]", one, minimum=1) for n, one in enumerate(cutoffs)]
    limits = [*checked[1:], num_classes]
    if not checked or any(a >= b for a, b in zip(checked, limits, strict=True)):
        raise ValueError(
            "`cutoffs` must increase and be below `num_classes`. Received: "
            f"cutoffs={list(cutoffs)}, num_classes={num_classes}"
        )
    return tuple(checked)


def _check_labels(labels: Any, inputs: Any) -> None:
    dtype = keras.backend.standardize_dtype(labels.dtype)
    if not keras.backend.is_int_dtype(dtype):
        raise TypeError(f"The dtype of `labels` must be integer. Received: labels.dtype={dtype}")
    shape, rows = tuple(labels.shape), tuple(inputs.shape)[:-1]
    fits = len(shape) == len(rows) and all(
        a == b or None in (a, b) for a, b in zip(shape, rows, strict=True)
    )
    if not fits:
        raise ValueError(
            "`labels` must hold one class for each row of `inputs`. Received: "
            f"labels.shape={shape}, inputs.shape={tuple(inputs.shape)}"
        )
