"""A codebook, and vectors replaced by their nearest code."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.ops import l2_normalize


@keras.saving.register_keras_serializable(package="keras_ssl")
class VectorQuantizer(keras.layers.Layer):
    r"""Replacement of each vector by the nearest of a learned codebook.

    For a vector x and codes e_1 .. e_K:

        k = argmin_i |x - e_i|^2,    q = x + sg(e_k - x)

    where sg stops the gradient, so that the gradient of q goes to x unchanged. The loss pulls x to
    its code, `commitment |x - sg(e_k)|^2`, a mean over features.

    In training, each code is the mean of the vectors for which it was the nearest, averaged over
    steps and over the examples of all replicas:

        N_i ← m N_i + (1 - m) n_i,    M_i ← m M_i + (1 - m) sum of their x,    e_i = M_i / N_i

    or, with `momentum=None`, it is learned from the further loss `|sg(x) - e_k|^2`. A code that is
    used less than `min_usage` becomes a vector drawn from the batch; in the first step, these are
    all codes.

    Args:
        codes: K, the number of codes.
        similarity: `"euclidean"`, or `"cosine"` for vectors and codes of length 1, as in BEiT v2.
        momentum: m, or `None` to learn codes from the loss.
        commitment: weight of the loss.
        min_usage: N_i below which a code is drawn anew, in vectors per step; 0 to keep dead codes.
        seed: integer seed of the initial codes and of those drawn anew.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: vectors.
        training: whether to update the codes, unless the layer is frozen by `trainable=False`.

    Input shape:
        `(batch, ..., width)`.

    Output shape:
        Tuple of the quantized vectors, shaped as the input; the numbers of their codes, int32
        `(batch, ...)`; and the loss of each example, float32 `(batch,)`.

    Raises:
        TypeError: if `codes` is not an integer.
        ValueError: if an argument is out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> quantizer = layers.VectorQuantizer(codes=8, seed=0)
    >>> q, k, loss = quantizer(np.random.default_rng(0).normal(size=(4, 16, 3)), training=True)
    >>> q.shape, k.shape, loss.shape
    (TensorShape([4, 16, 3]), TensorShape([4, 16]), TensorShape([4]))

    Reference:
        - [van den Oord et al., Neural Discrete Representation
          Learning](https://arxiv.org/abs/1711.00937)
        - [Peng et al., BEiT v2](https://arxiv.org/abs/2208.06366)
    """

    def __init__(
        self,
        codes: int,
        similarity: str = "euclidean",
        momentum: float | None = 0.99,
        commitment: float = 0.25,
        min_usage: float = 0.01,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.codes = checks.integer("codes", codes, minimum=2)
        if similarity not in ("euclidean", "cosine"):
            raise ValueError(
                f"`similarity` must be 'euclidean' or 'cosine'. Received: similarity={similarity!r}"
            )
        self.similarity = similarity
        self.momentum = None if momentum is None else checks.below_one("momentum", momentum)
        self.commitment = checks.number("commitment", commitment, minimum=0)
        self.min_usage = checks.number("min_usage", min_usage, minimum=0)
        self.seed = checks.integer("seed", seed, optional=True)
        self.seed_generator = keras.random.SeedGenerator(seed)
        self._normal = keras.initializers.RandomNormal(stddev=1.0, seed=seed)

    def build(self, input_shape: tuple) -> None:
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ValueError(
                "`inputs` must be vectors of shape (batch, ..., width) with a known width. "
                f"Received: shape {tuple(input_shape)}"
            )
        shape = (self.codes, input_shape[-1])
        shared = {"dtype": "float32", "autocast": False}
        # equal on all replicas already
        averaged = {"trainable": False, "aggregation": "only_first_replica", **shared}
        if self.momentum is None:
            self.codebook = self.add_weight(name="codebook", shape=shape, initializer=self._normal)
        else:
            self.codebook = self.add_weight(
                name="codebook", shape=shape, initializer=self._normal, **averaged
            )
            self.sums = self.add_weight(name="sums", shape=shape, initializer="zeros", **averaged)
        self.usage = self.add_weight(
            name="usage", shape=(self.codes,), initializer="zeros", **averaged
        )

    def call(self, inputs: Any, training: bool | None = None) -> tuple[Any, Any, Any]:
        training = training and self.trainable
        x = ops.cast(inputs, "float32")
        rows = ops.reshape(x, (-1, inputs.shape[-1]))
        if self.similarity == "cosine":
            x, rows = l2_normalize(x), l2_normalize(rows)
        constant = ops.stop_gradient(rows)
        if training and self.min_usage:
            self._draw_anew(constant)
        codes = self._codes()
        # the squared distance, but for what all codes share
        near = 2 * ops.matmul(constant, ops.transpose(codes)) - ops.sum(ops.square(codes), axis=-1)
        numbers = ops.cast(ops.argmax(ops.stop_gradient(near), axis=-1), "int32")
        chosen = ops.reshape(ops.take(codes, numbers, axis=0), ops.shape(x))
        loss = self.commitment * ops.square(x - ops.stop_gradient(chosen))
        if self.momentum is None:
            loss = loss + ops.square(ops.stop_gradient(x) - chosen)
        if training:
            self._average(constant, numbers)
        quantized = x + ops.stop_gradient(chosen - x)
        return (
            ops.cast(quantized, self.compute_dtype),
            ops.reshape(numbers, ops.shape(inputs)[:-1]),
            ops.mean(loss, axis=tuple(range(1, len(inputs.shape)))),
        )

    def _codes(self) -> Any:
        codes = ops.convert_to_tensor(self.codebook)
        codes = ops.cast(codes, "float32")
        return l2_normalize(codes) if self.similarity == "cosine" else codes

    def _average(self, rows: Any, numbers: Any) -> None:
        """Move usage, and codes that are means, towards the vectors of this step."""
        keep = 0.99 if self.momentum is None else self.momentum
        counts = ops.segment_sum(ops.ones_like(rows[:, 0]), numbers, self.codes)
        usage = keep * self.usage.value + (1 - keep) * distribute.all_reduce_sum(counts)
        self.usage.assign(usage)
        if self.momentum is None:
            return
        sums = distribute.all_reduce_sum(ops.segment_sum(rows, numbers, self.codes))
        sums = keep * self.sums.value + (1 - keep) * sums
        self.sums.assign(sums)
        usage = usage[:, None]
        means = sums / ops.maximum(usage, 1e-12)
        self.codebook.assign(ops.where(usage > 1e-12, means, self.codebook.value))

    def _draw_anew(self, rows: Any) -> None:
        """Put vectors of the batches of all replicas in place of codes that are hardly used."""
        own, replicas = ops.shape(rows)[0], distribute.replica_count()
        uniform = keras.random.uniform((self.codes,), dtype="float32", seed=self.seed_generator)
        total = ops.cast(own * replicas, "float32")
        drawn = ops.cast(ops.floor(uniform * total), "int32")
        drawn = ops.minimum(drawn, own * replicas - 1)
        # each replica adds those of its own vectors, and 0 in place of others
        is_own = ops.equal(drawn // own, distribute.replica_index())
        vectors = ops.take(rows, drawn % own, axis=0)
        vectors = distribute.all_reduce_sum(vectors * ops.cast(is_own, "float32")[:, None])
        is_dead = ops.less(self.usage.value, self.min_usage)
        usage = ops.where(is_dead, max(self.min_usage, 1.0), self.usage.value)
        is_dead = is_dead[:, None]
        codes = self.codebook.value
        self.codebook.assign(ops.where(is_dead, ops.cast(vectors, codes.dtype), codes))
        if self.momentum is not None:
            self.sums.assign(ops.where(is_dead, vectors * usage[:, None], self.sums.value))
        self.usage.assign(usage)

    def lookup(self, numbers: Any) -> Any:
        """Return the codes of these numbers.

        Args:
            numbers: integers of any shape, from 0 to `codes - 1`.

        Returns:
            Tensor of the shape of `numbers` with an axis `width` added.
        """
        return ops.cast(ops.take(self._codes(), numbers, axis=0), self.compute_dtype)

    def perplexity(self) -> Any:
        """Return the exponential of the entropy of usage: how many codes are in use, in effect."""
        usage = ops.convert_to_tensor(self.usage)
        share = usage / ops.maximum(ops.sum(usage), 1e-12)
        entropy = -ops.sum(share * ops.log(ops.maximum(share, 1e-12)))
        return ops.exp(entropy)

    def compute_output_spec(self, inputs: Any, training: bool | None = None) -> tuple:
        return (
            keras.KerasTensor(inputs.shape, dtype=self.compute_dtype),
            keras.KerasTensor(inputs.shape[:-1], dtype="int32"),
            keras.KerasTensor(inputs.shape[:1], dtype="float32"),
        )

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "codes": self.codes,
            "similarity": self.similarity,
            "momentum": self.momentum,
            "commitment": self.commitment,
            "min_usage": self.min_usage,
            "seed": self.seed,
        }
