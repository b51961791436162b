"""Multi-head attention with fused projections, grouped heads, positions and a cache."""

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl._keras_internals import unlocked
from keras_ssl.layers._initializer_copy import initializer_copy
from keras_ssl.layers.attention._keras_attention import PARTS, keras_layer_like, read_keras_layer
from keras_ssl.layers.attention._masks import causal_mask, in_cache, merge_masks
from keras_ssl.layers.attention._projection import NAMES, Projection, affine
from keras_ssl.layers.attention.positions import RotaryEmbedding

_NORMALIZATIONS = {
    None: None,
    "rms": keras.layers.RMSNormalization,
    "layer": keras.layers.LayerNormalization,
}


@keras.saving.register_keras_serializable(package="keras_ssl")
class MultiHeadAttention(keras.layers.Layer):
    r"""Multi-head attention with one projection for queries, keys and values.

    For each head h, with the group g of keys and values that it shares:

        A_h = softmax((X W_h^q) (C W_g^k)^T / sqrt(key_dim) + B_h)
        Y   = sum_h A_h (C W_g^v) W_h^o + b

    where C is X for self-attention, otherwise the context. The three projections of self-attention
    are one matrix product. With the same weights the layer computes the same as
    `keras.layers.MultiHeadAttention` (see `from_keras` and `to_keras`). It also supports grouped
    heads, rotary and relative positions, normalised queries and keys, packed documents, and a cache
    for decoding.

    Args:
        num_heads: number of heads of queries.
        key_dim: width of each head of queries and keys; by default, the width of the query divided
            by `num_heads`.
        value_dim: width of each head of values; `key_dim` by default.
        num_key_value_heads: number of heads of keys and values, a divisor of `num_heads`, each of
            which is shared by as many heads of queries; `num_heads` by default. 1 is multi-query
            attention.
        output_dim: width of the output; by default, that of the query.
        dropout_rate: dropout rate of the attention scores.
        use_bias: whether projections add a bias.
        use_output_bias: whether the projection of the output adds a bias; as `use_bias` by default.
        query_key_norm: `None`, or `"rms"` or `"layer"`: normalises each head of queries and keys,
            with a learned scale, which keeps scores small in large models.
        rotary: a `RotaryEmbedding` that turns queries and keys by their positions, or `None`.
        position_bias: a layer that returns a bias of the scores, such as `RelativePositionBias`, or
            `None`. It is called on queries and keys, each `(batch, positions, heads, width)`.
        kernel_initializer: initializer of the kernels. Each of the four projections uses a copy.
        output_initializer: initializer of the kernel of the output's projection; with `"zeros"` a
            residual branch starts as zero. `kernel_initializer` by default.
        bias_initializer: initializer of the biases.
        kernel_regularizer: regularizer of the kernels.
        bias_regularizer: regularizer of the biases.
        seed: integer seed of the dropout.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        query: tensor of the queries; for self-attention also of keys and values.
        value: tensor that keys and values are made of, for cross-attention.
        key: tensor that keys are made of, if not `value`.
        query_mask: booleans `(batch, queries)`, `False` for padding, which in self-attention is not
            attended to. Keras passes the mask of `query` by itself, as the next two.
        value_mask: booleans `(batch, keys)`: which of `value` may be attended to. With a cache,
            `(batch, length)` for all of its positions, or `(batch, queries)` for the new ones.
        key_mask: the same for `key`.
        attention_mask: booleans, `True` where a query may attend to a key, of shape
            `(queries, keys)`, `(batch, queries, keys)` or `(batch, heads, queries, keys)`.
        segments: integers `(batch, queries)`, the document of each position of packed sequences.
            Positions attend to their own document only. For self-attention without a cache.
        use_causal_mask: whether queries attend only to keys at their own position or before.
        cache: dictionary of keys and values as `make_cache` returns it. Keys and values of `query`
            are written at `cache_index`, and queries attend to what stands up to themselves.
        memory: dictionary of keys and values of a context as `project_context` returns it, in place
            of `value`: in decoding, the context is projected once and not at each step.
        cache_index: integer or integer scalar, the position of the first query in the cache.
        return_attention_scores: whether to return `(output, scores)`.
        mask: `query_mask`, under the name by which Keras passes it if `query` is the only tensor.
        training: whether to apply dropout.

    Input shape:
        `query` `(batch, queries, width)`, `value` and `key` `(batch, keys, context width)`.

    Output shape:
        `(batch, queries, output_dim)`; scores `(batch, num_heads, queries, keys)`, before dropout.
        With `cache`, a tuple that ends in the new cache.

    Raises:
        TypeError: if a number is not an integer, or `rotary` or `position_bias` no such layer.
        ValueError: if a number is not positive, heads do not divide the width or each other, a mask
            has another shape, or queries do not fit into the cache.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> attention = layers.MultiHeadAttention(num_heads=4)
    >>> x = np.ones((2, 10, 32), "float32")
    >>> attention(x, use_causal_mask=True).shape
    TensorShape([2, 10, 32])
    >>> cache = attention.make_cache(2, length=16)
    >>> y, cache = attention(x[:, :1], cache=cache, cache_index=0)
    >>> y.shape, cache["key"].shape
    (TensorShape([2, 1, 32]), TensorShape([2, 16, 4, 8]))

    Reference:
        - [Vaswani et al., Attention Is All You Need](https://arxiv.org/abs/1706.03762)
        - [Ainslie et al., GQA: Training Generalized Multi-Query Transformer
          Models](https://arxiv.org/abs/2305.13245)
        - [Henry et al., Query-Key Normalization for Transformers](https://arxiv.org/abs/2010.04245)
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int | None = None,
        *,
        value_dim: int | None = None,
        num_key_value_heads: int | None = None,
        output_dim: int | None = None,
        dropout_rate: float = 0.0,
        use_bias: bool = True,
        query_key_norm: str | None = None,
        rotary: RotaryEmbedding | None = None,
        position_bias: keras.layers.Layer | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        seed: int | None = None,
        use_output_bias: bool | None = None,
        output_initializer: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.num_heads = checks.integer("num_heads", num_heads, minimum=1)
        self.key_dim = checks.integer("key_dim", key_dim, minimum=1, optional=True)
        self.value_dim = checks.integer("value_dim", value_dim, minimum=1, optional=True)
        self.output_dim = checks.integer("output_dim", output_dim, minimum=1, optional=True)
        self.num_key_value_heads = checks.integer(
            "num_key_value_heads",
            num_heads if num_key_value_heads is None else num_key_value_heads,
            minimum=1,
        )
        if self.num_heads % self.num_key_value_heads:
            raise ValueError(
                "`num_key_value_heads` must be a divisor of `num_heads`. Received: "
                f"num_key_value_heads={num_key_value_heads}, num_heads={num_heads}"
            )
        self.dropout_rate = checks.below_one("dropout_rate", dropout_rate)
        self.use_bias = bool(use_bias)
        self.use_output_bias = self.use_bias if use_output_bias is None else bool(use_output_bias)
        if query_key_norm not in _NORMALIZATIONS:
            raise ValueError(
                f"`query_key_norm` must be one of {list(_NORMALIZATIONS)}. "
                f"Received: query_key_norm={query_key_norm!r}"
            )
        self.query_key_norm = query_key_norm
        for name, part, kind in (
            ("rotary", rotary, RotaryEmbedding),
            ("position_bias", position_bias, keras.layers.Layer),
        ):
            if part is not None and not isinstance(part, kind):
                raise TypeError(
                    f"`{name}` must be a `{kind.__name__}` or `None`. "
                    f"Received: {name}={part!r} of type {type(part)}"
                )
        self.rotary = rotary
        self.position_bias = position_bias
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.bias_initializer = keras.initializers.get(bias_initializer)
        self.kernel_regularizer = keras.regularizers.get(kernel_regularizer)
        self.bias_regularizer = keras.regularizers.get(bias_regularizer)
        # here and not in `build`, since each copy may draw a seed
        self._initializers = [initializer_copy(self.kernel_initializer, n + 1) for n in range(4)]
        self.output_initializer = keras.initializers.get(output_initializer)
        if self.output_initializer is not None:
            self._initializers[3] = self.output_initializer
        self._lora: dict[int, tuple] = {}
        self.lora_rank, self.lora_alpha, self.lora_targets = None, None, ()
        self._lora_of_config = None
        self.seed = checks.integer("seed", seed, optional=True)
        self.dropout = keras.layers.Dropout(dropout_rate, seed=seed, dtype=self.dtype_policy)

    def build(
        self, query_shape: tuple, value_shape: tuple | None = None, key_shape: tuple | None = None
    ) -> None:
        if len(query_shape) != 3:
            raise ValueError(
                "`query` must have shape (batch, positions, width). Flatten the positions of a "
                f"grid first. Received: shape {tuple(query_shape)}"
            )
        width = query_shape[-1]
        if self.key_dim is None and width % self.num_heads:
            raise ValueError(
                "`num_heads` must be a divisor of the width of the query, or pass `key_dim`. "
                f"Received: num_heads={self.num_heads}, query of shape {tuple(query_shape)}"
            )
        head_width = self.key_dim or width // self.num_heads
        value_width = self.value_dim or head_width
        groups = self.num_key_value_heads
        # heads and their widths, of queries, keys and values
        self._heads = [(self.num_heads, head_width), (groups, head_width), (groups, value_width)]
        value_shape = value_shape or query_shape
        inputs = [width, (key_shape or value_shape)[-1], value_shape[-1]]
        self._widths = inputs
        is_self_attention = value_shape is query_shape and key_shape is None
        has_one_context = inputs[1] == inputs[2]
        together = [[0, 1, 2]] if is_self_attention else [[0], [1, 2]]
        self._projections = [
            Projection(self, numbers, inputs)
            for numbers in (together if has_one_context else [[0], [1], [2]])
        ]
        self.output_kernel = self.add_weight(
            name="output_kernel",
            shape=(self.num_heads * value_width, self.output_dim or width),
            initializer=self._initializers[3],
            regularizer=self.kernel_regularizer,
        )
        self.output_bias = None
        if self.use_output_bias:
            self.output_bias = self._add_bias("output_bias", self.output_dim or width)
        self._norms = []
        if self.query_key_norm is not None:
            for name in NAMES[:2]:
                norm = _NORMALIZATIONS[self.query_key_norm](
                    epsilon=1e-6, dtype=self.dtype_policy, name=f"{name}_norm"
                )
                norm.build((None, None, None, head_width))
                self._norms.append(norm)
        if self.rotary is not None and not self.rotary.built:
            self.rotary.build((None, None, self.num_heads, head_width))
        if self.position_bias is not None and not self.position_bias.built:
            heads = (None, query_shape[1], self.num_heads, head_width)
            self.position_bias.build(heads, heads)
        if self._lora_of_config is not None:
            self.built = True
            self.enable_lora(**self._lora_of_config)

    def _add_bias(self, name: str, width: int) -> keras.Variable:
        """Create the bias of a projection."""
        return self.add_weight(
            name=name,
            shape=(width,),
            initializer=self.bias_initializer,
            regularizer=self.bias_regularizer,
        )

    def call(
        self,
        query: Any,
        value: Any = None,
        key: Any = None,
        query_mask: Any = None,
        value_mask: Any = None,
        key_mask: Any = None,
        attention_mask: Any = None,
        segments: Any = None,
        use_causal_mask: bool = False,
        cache: dict[str, Any] | None = None,
        cache_index: Any = 0,
        return_attention_scores: bool = False,
        mask: Any = None,
        training: bool | None = None,
        memory: dict[str, Any] | None = None,
    ) -> Any:
        if memory is not None and not (value is None and key is None and cache is None):
            given = {"value": value, "key": key, "cache": cache}
            raise ValueError(
                "`memory` stands in place of `value`, `key` and `cache`. Received: `memory` with "
                f"{[name for name, one in given.items() if one is not None]}"
            )
        if value is None and key is None and memory is None and value_mask is None:
            value_mask = mask if query_mask is None else query_mask
        if segments is not None and not (value is None and key is None and cache is None):
            raise ValueError(
                "`segments` are for self-attention without a cache. Otherwise pass "
                "`attention_mask`. Received: segments with "
                f"{'a context' if cache is None else 'a cache'}"
            )
        if memory is None:
            value = query if value is None else value
            key = value if key is None else key
        self._check_inputs([query, key, value])
        takes_kernel = self._takes_kernel(return_attention_scores, training)
        # what knows positions finds them in front of the heads
        of_positions = (cache, memory, self.rotary, self.position_bias)
        heads_first = not takes_kernel and all(one is None for one in of_positions)
        q, k, v = self._project([query, key, value], heads_first)
        start = 0 if cache is None else cache_index
        q, k = self._place(0, q, start), self._place(1, k, start)
        if memory is not None:
            k, v = (ops.cast(memory[name], q.dtype) for name in NAMES[1:])
        written = None
        if cache is not None:
            new = k.shape[1]
            k, v, written, cache = self._read_cache(cache, start, k, v)
            value_mask, key_mask = (
                in_cache(mask, start, new, k.shape[1]) for mask in (value_mask, key_mask)
            )
        bias = None if self.position_bias is None else self.position_bias(q, k)
        if not (takes_kernel or heads_first):
            q, k, v = (_swap(one) for one in (q, k, v))
        masks = {"value_mask": value_mask, "key_mask": key_mask, "attention_mask": attention_mask}
        keys = k.shape[1 if takes_kernel else 2]
        sizes = (query.shape[0], self.num_heads, query.shape[1], keys)
        allowed = merge_masks(masks, sizes, segments, written)
        attend = self._attend_by_kernel if takes_kernel else self._attend
        outputs, scores = attend(
            q, k, v, bias, allowed, use_causal_mask and cache is None, training
        )
        outputs = ops.reshape(outputs, (*ops.shape(outputs)[:2], self.output_kernel.shape[0]))
        outputs = affine(outputs, self._merged_output_kernel(), self.output_bias)
        extras = (scores,) if return_attention_scores else ()
        extras += () if cache is None else (cache,)
        return (outputs, *extras) if extras else outputs

    def _place(self, number: int, x: Any, start: Any) -> Any:
        """Return queries or keys, normalised, and turned by their positions from `start`."""
        if x is None:
            return None
        if self._norms:
            x = self._norms[number](x)
        return x if self.rotary is None else ops.cast(self.rotary(x, start=start), x.dtype)

    def project_context(self, value: Any) -> dict[str, Any]:
        """Return the keys and values of a context, the `memory` of calls in decoding.

        Args:
            value: the context, `(batch, positions, context width)`.

        Returns:
            Dictionary of `"key"` and `"value"`, each `(batch, positions, heads, width)`.
        """
        if not self.built:
            raise ValueError("`project_context` needs a built layer: `build` or call it first")
        self._check_inputs([None, value, value])
        _, k, v = self._project([None, value, value], False)
        found = {"key": self._place(1, k, 0), "value": v}
        return {name: ops.cast(one, self.compute_dtype) for name, one in found.items()}

    def _check_inputs(self, inputs: list[Any]) -> None:
        """Raise a `ValueError` unless inputs are sequences as wide as those of `build`."""
        for name, one, width in zip(NAMES, inputs, self._widths, strict=True):
            if one is not None and (len(one.shape) != 3 or one.shape[-1] != width):
                raise ValueError(
                    f"`{name}` must have shape (batch, positions, {width}), as the layer was "
                    f"built. Received: shape {tuple(one.shape)}"
                )

    def _takes_kernel(self, return_scores: bool, training: bool | None) -> bool:
        """Return whether to call the kernel that the backend has, such as flash attention.

        TensorFlow has none. What Keras does in its place moves each tensor twice as often as we do.
        """
        drops = bool(training) and self.dropout_rate > 0
        widths_are_equal = self._heads[1][1] == self._heads[2][1]
        is_possible = widths_are_equal and not (return_scores or drops)
        return is_possible and keras.backend.backend() != "tensorflow"

    def _project(self, inputs: list[Any], heads_first: bool) -> list[Any]:
        """Return queries, keys and values of those inputs that are not `None`.

        Each is `(batch, positions, heads, width)`; with `heads_first`, `(batch, heads, positions,
        width)`.
        """
        if heads_first and len(self._projections) == 1 and len(set(self._heads)) == 1:
            products = self._projections[0].together(inputs)
            if products is not None:
                # one transposition for all three, which then lie in memory one after the other
                products = ops.reshape(products, (*ops.shape(products)[:-1], 3, *self._heads[0]))
                return ops.unstack(ops.transpose(products, (2, 0, 3, 1, 4)), 3, axis=0)
        found: dict[int, Any] = {}
        for projection in self._projections:
            found.update(projection(inputs))
        heads = [
            ops.reshape(found[number], (*ops.shape(found[number])[:-1], *self._heads[number]))
            if number in found
            else None
            for number in range(3)
        ]
        return [_swap(one) for one in heads] if heads_first else heads

    def _attend_by_kernel(
        self, q: Any, k: Any, v: Any, bias: Any, mask: Any, is_causal: bool, training: bool | None
    ) -> tuple[Any, None]:
        """Return the heads' outputs, `(batch, queries, heads, width)`, and no scores."""
        if self.num_key_value_heads == 1:  # which not every backend repeats
            k, v = (ops.repeat(one, self.num_heads, axis=2) for one in (k, v))
        return ops.dot_product_attention(q, k, v, bias=bias, mask=mask, is_causal=is_causal), None

    def _attend(
        self, q: Any, k: Any, v: Any, bias: Any, mask: Any, is_causal: bool, training: bool | None
    ) -> tuple[Any, Any]:
        """Return the heads' outputs, `(batch, queries, heads, width)`, and scores.

        Queries, keys and values come with the heads first, so that their products are those of
        matrices that lie in memory as they are.
        """
        if self.num_key_value_heads < self.num_heads:
            shared = self.num_heads // self.num_key_value_heads
            k, v = (ops.repeat(one, shared, axis=1) for one in (k, v))
        logits = ops.cast(ops.einsum("bhqd,bhkd->bhqk", q, k), "float32")
        logits = logits / math.sqrt(q.shape[-1])
        if bias is not None:
            logits = logits + ops.cast(bias, logits.dtype)
        if is_causal:
            causal = causal_mask(ops.shape(q)[2], ops.shape(k)[2])[None, None]
            mask = causal if mask is None else ops.logical_and(mask, causal)
        if mask is not None:
            # the lowest number and not infinity: a row without any key stays finite
            logits = ops.where(mask, logits, float(np.finfo("float32").min) / 2)
        scores = ops.cast(ops.softmax(logits), v.dtype)
        dropped = self.dropout(scores, training=training)
        return _swap(ops.einsum("bhqk,bhkd->bhqd", dropped, v)), scores

    def make_cache(self, batch_size: int, length: int, dtype: str | None = None) -> dict[str, Any]:
        """Return an empty cache for decoding: zeros in place of keys and values.

        Args:
            batch_size: number of sequences.
            length: the most positions that a sequence can have.
            dtype: dtype of the cache; the layer's compute dtype by default.

        Returns:
            Dictionary of `"key"` and `"value"`, each `(batch_size, length, heads, width)`.
        """
        if not self.built:
            raise ValueError("`make_cache` needs a built layer: call the layer or `build` it first")
        length = checks.integer("length", length, minimum=1)
        dtype = dtype or self.compute_dtype
        return {
            name: ops.zeros((batch_size, length, *heads), dtype)
            for name, heads in zip(NAMES[1:], self._heads[1:], strict=True)
        }

    def _read_cache(
        self, cache: dict[str, Any], start: Any, k: Any, v: Any
    ) -> tuple[Any, Any, Any, dict[str, Any]]:
        """Write new keys and values at `start`; return all, and which are not after a query."""
        length, count = cache["key"].shape[1], k.shape[1]
        if isinstance(start, int) and start + count > length:
            raise ValueError(
                "Queries must fit into the cache: make it longer by `make_cache(length=...)`. "
                f"Received: {count} positions at cache_index={start} for a cache of {length}"
            )
        place = (0, start, 0, 0)
        cache = {
            "key": ops.slice_update(cache["key"], place, ops.cast(k, cache["key"].dtype)),
            "value": ops.slice_update(cache["value"], place, ops.cast(v, cache["value"].dtype)),
        }
        written = ops.arange(length)[None, :] <= start + ops.arange(count)[:, None]
        keys, values = ops.cast(cache["key"], k.dtype), ops.cast(cache["value"], v.dtype)
        return keys, values, written[None, None], cache

    def enable_lora(
        self,
        rank: int,
        a_initializer: Any = "he_uniform",
        b_initializer: Any = "zeros",
        lora_alpha: float | None = None,
        targets: Sequence[str] = ("query", "value"),
    ) -> None:
        """Freeze the kernels, and learn updates of low rank of some of them, as Keras' layers do.

        Args:
            rank: rank of the updates, the product of two matrices each.
            a_initializer: initializer of the first matrix.
            b_initializer: initializer of the second one; with zeros the layer stays as it is.
            lora_alpha: the updates are scaled by `lora_alpha / rank`; `rank` by default.
            targets: which projections get an update: `"query"`, `"key"`, `"value"`, `"output"`.

        Reference:
            - [Hu et al., LoRA](https://arxiv.org/abs/2106.09685)
        """
        rank = checks.integer("rank", rank, minimum=1)
        if not self.built or self.lora_enabled:
            raise ValueError(
                "LoRA can be enabled once, in a built layer. Received: "
                f"built={self.built}, lora_enabled={self.lora_enabled}"
            )
        if not targets or not set(targets) <= set(PARTS):
            raise ValueError(f"`targets` must be among {PARTS}. Received: targets={targets}")
        for variable in (*(one.kernel for one in self._projections), self.output_kernel):
            variable.trainable = False
        with unlocked(self):
            for name in (one for one in PARTS if one in targets):
                number = PARTS.index(name)
                kernel, width = self.output_kernel, self.output_kernel.shape[1]
                if name != "output":
                    kernel, width = self._kernel_of(number), math.prod(self._heads[number])
                self._lora[number] = tuple(
                    self.add_weight(name=f"lora_{name}_{one}", shape=shape, initializer=initializer)
                    for one, shape, initializer in (
                        ("a", (kernel.shape[0], rank), keras.initializers.get(a_initializer)),
                        ("b", (rank, width), keras.initializers.get(b_initializer)),
                    )
                )
        self.lora_rank, self.lora_targets = rank, tuple(targets)
        self.lora_alpha = rank if lora_alpha is None else lora_alpha

    @property
    def lora_enabled(self) -> bool:
        """Whether `enable_lora` was called."""
        return self.lora_rank is not None

    def _kernel_of(self, number: int) -> keras.Variable:
        """Return the kernel that holds the projection of query, key or value."""
        return next(one.kernel for one in self._projections if number in one.numbers)

    def low_rank_update(self, number: int) -> Any:
        """Return what LoRA adds to the kernel of a projection, or `None`."""
        if number not in self._lora:
            return None
        a, b = self._lora[number]
        return ops.matmul(a, b) * (self.lora_alpha / self.lora_rank)

    def _merged_output_kernel(self) -> Any:
        update = self.low_rank_update(3)
        return self.output_kernel if update is None else ops.add(self.output_kernel, update)

    def compute_output_shape(
        self, query_shape: tuple, value_shape: tuple | None = None, key_shape: tuple | None = None
    ) -> tuple:
        return (*query_shape[:-1], self.output_dim or query_shape[-1])

    def compute_output_spec(self, query: Any, *args: Any, **kwargs: Any) -> Any:
        if kwargs.get("return_attention_scores") or kwargs.get("cache") is not None:
            return keras.Operation.compute_output_spec(self, query, *args, **kwargs)
        return super().compute_output_spec(query, *args, **kwargs)

    @classmethod
    def from_keras(cls, layer: keras.layers.Layer, **kwargs: Any) -> "MultiHeadAttention":
        """Return a layer that computes what Keras' does, with a copy of its weights.

        Args:
            layer: a built `keras.layers.MultiHeadAttention` or
                `keras.layers.GroupQueryAttention` on sequences.
            **kwargs: further arguments of the new layer, such as `name`.
        """
        arguments, arrays = read_keras_layer(layer)
        made = cls(**arguments, **kwargs)
        widths = [kernel.shape[0] for kernel, _ in arrays[:3]]
        shapes = [(None, None, width) for width in widths]
        made.build(*(shapes[:1] if len(set(widths)) == 1 else (shapes[0], shapes[2], shapes[1])))
        made.set_projections(arrays)
        return made

    def to_keras(self, **kwargs: Any) -> keras.layers.Layer:
        """Return Keras' own layer that computes the same, with a copy of the weights.

        Args:
            **kwargs: further arguments of the new layer, such as `name`.

        Returns:
            A `keras.layers.MultiHeadAttention`, or `keras.layers.GroupQueryAttention` if heads
            share keys and values.
        """
        return keras_layer_like(self, **kwargs)

    def get_projections(self) -> list[tuple[np.ndarray, np.ndarray | None]]:
        """Return kernel and bias of query, key, value and output, as matrices and vectors."""
        found: dict[int, tuple] = {}
        for projection in self._projections:
            found.update(projection.get())
        bias = None if self.output_bias is None else ops.convert_to_numpy(self.output_bias)
        return [found[number] for number in range(3)] + [
            (ops.convert_to_numpy(self._merged_output_kernel()), bias)
        ]

    def set_projections(self, arrays: list[tuple[Any, Any]]) -> None:
        """Set kernels and biases, given as `get_projections` returns them."""
        for projection in self._projections:
            projection.set(arrays)
        self.output_kernel.assign(arrays[3][0])
        if self.output_bias is not None:
            self.output_bias.assign(arrays[3][1])

    def get_config(self) -> dict:
        lora = {}
        if self.lora_enabled:
            lora["lora"] = {
                "rank": self.lora_rank,
                "lora_alpha": self.lora_alpha,
                "targets": list(self.lora_targets),
            }
        return {
            **super().get_config(),
            **lora,
            "num_heads": self.num_heads,
            "key_dim": self.key_dim,
            "value_dim": self.value_dim,
            "num_key_value_heads": self.num_key_value_heads,
            "output_dim": self.output_dim,
            "dropout_rate": self.dropout_rate,
            "use_bias": self.use_bias,
            "use_output_bias": self.use_output_bias,
            "query_key_norm": self.query_key_norm,
            "rotary": keras.saving.serialize_keras_object(self.rotary),
            "position_bias": keras.saving.serialize_keras_object(self.position_bias),
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "output_initializer": keras.initializers.serialize(self.output_initializer),
            "bias_initializer": keras.initializers.serialize(self.bias_initializer),
            "kernel_regularizer": keras.regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": keras.regularizers.serialize(self.bias_regularizer),
            "seed": self.seed,
        }

    @classmethod
    def from_config(cls, config: dict) -> "MultiHeadAttention":
        parts = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("rotary", "position_bias")
        }
        lora = config.get("lora")
        made = cls(**{name: one for name, one in {**config, **parts}.items() if name != "lora"})
        made._lora_of_config = lora
        return made


def _swap(x: Any) -> Any:
    """Swap positions and heads."""
    return ops.transpose(x, (0, 2, 1, 3))
