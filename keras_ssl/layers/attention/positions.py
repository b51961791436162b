"""Where tokens stand: rotary, sinusoidal and learned positions, and biases of attention scores."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks


@keras.saving.register_keras_serializable(package="keras_ssl")
class RotaryEmbedding(keras.layers.Layer):
    r"""Rotary positions: pairs of features turned by an angle that grows with the position.

    The pair i of a head at position p is turned by the angle

        p base^(-2 i / width)

    so that the product of a query and a key depends on their distance alone. The layer has no
    weights.

    Args:
        base: the base of the wavelengths.
        share: share of the features that are turned, from the first one; the others stay
            unchanged.
        interleaved: whether a pair is two neighbors, as in the paper, or a feature of the first
            half and one of the second half, as in published weights of language models.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        x: queries or keys.
        start: position of the first one, an integer or an integer scalar.
        positions: positions `(positions,)` or `(batch, positions)` in place of those from `start`.

    Input shape:
        `(batch, positions, heads, width)`.

    Output shape:
        That of the input.

    Raises:
        ValueError: if the number of turned features is odd, or an argument out of range.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> rotary = layers.RotaryEmbedding()
    >>> q = rotary(np.ones((1, 6, 2, 8), "float32"))
    >>> k = rotary(np.ones((1, 6, 2, 8), "float32"), start=10)
    >>> products = np.sum(q * k, axis=-1)[0, :, 0]  # all at a distance of 10
    >>> bool(np.allclose(products, products[0], atol=1e-4))
    True

    Reference:
        - [Su et al., RoFormer: Enhanced Transformer with Rotary Position
          Embedding](https://arxiv.org/abs/2104.09864)
    """

    def __init__(
        self,
        base: float = 10000.0,
        share: float = 1.0,
        interleaved: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.base = checks.positive("base", base)
        self.share = checks.positive("share", share)
        if share > 1:
            raise ValueError(f"`share` must be at most 1. Received: share={share}")
        self.interleaved = bool(interleaved)

    def build(self, input_shape: tuple) -> None:
        self._turned(input_shape[-1])

    def _turned(self, width: int) -> int:
        """Return the number of features that are turned."""
        turned = round(self.share * width)
        if turned % 2 or not turned:
            raise ValueError(
                "The number of features that are turned must be even and positive. Received: "
                f"share={self.share} of a head's width of {width}"
            )
        return turned

    def call(self, x: Any, start: Any = 0, positions: Any = None) -> Any:
        width = self._turned(x.shape[-1])
        if positions is None:
            positions = ops.cast(start, "int32") + ops.arange(ops.shape(x)[1], dtype="int32")
        # angles need more bits than the features: positions may be in the thousands
        frequencies = self.base ** (-np.arange(0, width, 2, dtype="float32") / width)
        angles = ops.cast(positions, "float32")[..., None] * frequencies
        cos, sin = (function(angles)[..., None, :] for function in (ops.cos, ops.sin))
        cos, sin = ops.cast(cos, x.dtype), ops.cast(sin, x.dtype)
        turned, rest = x[..., :width], x[..., width:]
        if self.interleaved:
            one, other = turned[..., 0::2], turned[..., 1::2]
            pairs = ops.stack([one * cos - other * sin, one * sin + other * cos], axis=-1)
            turned = ops.reshape(pairs, ops.shape(turned))
        else:
            one, other = turned[..., : width // 2], turned[..., width // 2 :]
            turned = ops.concatenate([one * cos - other * sin, one * sin + other * cos], axis=-1)
        return turned if width == x.shape[-1] else ops.concatenate([turned, rest], axis=-1)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return tuple(input_shape)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "base": self.base,
            "share": self.share,
            "interleaved": self.interleaved,
        }


@keras.saving.register_keras_serializable(package="keras_ssl")
class SinusoidalPositionalEncoding(keras.layers.Layer):
    r"""Fixed sines and cosines of the position, added to the tokens.

    For position p and i from 0 to width / 2 - 1:

        sin(p base^(-2 i / width))  and  cos(p base^(-2 i / width))

    On a grid of two dimensions, the first half of the features encodes the column and the second
    half the row, as in MAE's code. The layer has no weights; a sequence may have any length.

    Args:
        grid: `None` for sequences; or `(rows, columns)` for tokens of a grid in the order of its
            rows, as in MAE.
        extra_tokens: number of tokens before the grid, such as a class token, which get zeros.
        interleaved: whether sines and cosines alternate, as in the paper of the transformer, or all
            sines come before all cosines, as in MAE's code.
        base: the base of the wavelengths.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: tokens.
        start: position of the first token of a sequence, for decoding; an integer or a scalar.
        grid: `(rows, columns)` of the tokens, if it is not that of the constructor.

    Input shape:
        `(batch, positions, width)`; `width` even, on a grid divisible by 4.

    Output shape:
        That of the input.

    Raises:
        ValueError: if the width does not divide, or tokens and grid differ in number.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> layers.SinusoidalPositionalEncoding(interleaved=True)(np.zeros((1, 2, 4))).numpy().round(2)
    array([[[0.  , 1.  , 0.  , 1.  ],
            [0.84, 0.54, 0.01, 1.  ]]], dtype=float32)
    >>> layers.SinusoidalPositionalEncoding(grid=(3, 5), extra_tokens=1)(np.zeros((1, 16, 8))).shape
    TensorShape([1, 16, 8])

    Reference:
        - [Vaswani et al., Attention Is All You Need](https://arxiv.org/abs/1706.03762)
        - [He et al., Masked Autoencoders Are Scalable Vision
          Learners](https://arxiv.org/abs/2111.06377)
    """

    def __init__(
        self,
        grid: tuple[int, int] | None = None,
        extra_tokens: int = 0,
        interleaved: bool = False,
        base: float = 10000.0,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.grid = None if grid is None else checks.image_size("grid", grid)
        self.extra_tokens = checks.integer("extra_tokens", extra_tokens, minimum=0)
        self.interleaved = bool(interleaved)
        self.base = checks.positive("base", base)

    def build(self, input_shape: tuple) -> None:
        width, parts = input_shape[-1], 2 if self.grid is None else 4
        if width % parts:
            raise ValueError(
                f"The width of tokens must be divisible by {parts}. Received: inputs of shape "
                f"{tuple(input_shape)}"
            )

    def call(self, inputs: Any, start: Any = 0, grid: tuple[int, int] | None = None) -> Any:
        width = inputs.shape[-1]
        if self.grid is not None:
            grid = self.grid if grid is None else checks.image_size("grid", grid)
            count = math.prod(grid) + self.extra_tokens
            if inputs.shape[1] not in (None, count):
                raise ValueError(
                    f"`grid` {grid} and `extra_tokens` {self.extra_tokens} make {count} tokens. "
                    "For tokens of another grid, pass `grid=(rows, columns)`. Received: inputs of "
                    f"shape {tuple(inputs.shape)}"
                )
            rows, columns = np.meshgrid(*map(np.arange, grid), indexing="ij")
            table = np.concatenate(
                [self._of_numbers(place.ravel(), width // 2) for place in (columns, rows)], axis=-1
            )
            table = np.pad(table, ((self.extra_tokens, 0), (0, 0)))
            return inputs + ops.cast(table, inputs.dtype)
        if grid is not None:
            raise ValueError(
                "`grid` is for positions of a grid: pass one to the constructor too. Received: "
                f"grid={grid} with `grid=None` in the constructor"
            )
        frequencies = self.base ** (-np.arange(0, width, 2, dtype="float32") / width)
        positions = ops.cast(start, "float32") + ops.arange(ops.shape(inputs)[1], dtype="float32")
        angles = positions[:, None] * frequencies
        encoding = self._arrange(ops.sin(angles), ops.cos(angles), ops)
        encoding = ops.reshape(encoding, (-1, width))
        return inputs + ops.cast(encoding, inputs.dtype)

    def _of_numbers(self, places: np.ndarray, width: int) -> np.ndarray:
        angles = places[:, None] * self.base ** (-np.arange(0, width, 2) / width)
        encoding = self._arrange(np.sin(angles), np.cos(angles), np)
        return encoding.reshape(len(places), width).astype("float32")

    def _arrange(self, sines: Any, cosines: Any, library: Any) -> Any:
        if self.interleaved:
            return library.stack([sines, cosines], axis=-1)
        return library.concatenate([sines, cosines], axis=-1)

    def compute_output_shape(self, input_shape: tuple, **kwargs: Any) -> tuple:
        return tuple(input_shape)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "grid": self.grid,
            "extra_tokens": self.extra_tokens,
            "interleaved": self.interleaved,
            "base": self.base,
        }


@keras.saving.register_keras_serializable(package="keras_ssl")
class LearnedPositionalEmbedding(keras.layers.Layer):
    r"""One learned vector for each position, added to the tokens.

    A sequence may be shorter than the learned positions. Tokens of a grid may come in another grid,
    as those of larger images do: the vectors are then interpolated between rows and columns by
    cubic convolution, as PyTorch's "bicubic", so that published weights give the same features.

    Args:
        size: number of positions of a sequence, or `(rows, columns)` of a grid, whose tokens come
            row by row.
        extra_tokens: number of tokens before the others, such as a class token, which have vectors
            of their own and are not interpolated.
        interpolate: whether a sequence longer than `size` gets interpolated vectors; otherwise it
            is an error.
        antialias: whether vectors are averaged when a grid gets smaller, and positions beyond the
            margin are left out instead of repeated, as in DINOv2 with registers.
        initializer: initializer of the vectors.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: tokens.
        grid: `(rows, columns)` of the tokens, if it is not `size`.
        start: position of the first token of a sequence, for decoding; an integer or a scalar.
        positions: positions `(batch, tokens)` of the tokens of sequences, in place of those from
            `start`, such as those within the documents of packed sequences.

    Input shape:
        `(batch, tokens, width)`.

    Output shape:
        That of the input.

    Raises:
        ValueError: if there are more tokens than positions, or not as many as in the grid.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> positions = layers.LearnedPositionalEmbedding((4, 4), extra_tokens=1)
    >>> positions(np.zeros((2, 17, 8), "float32")).shape
    TensorShape([2, 17, 8])
    >>> positions(np.zeros((2, 37, 8), "float32"), grid=(6, 6)).shape
    TensorShape([2, 37, 8])

    Reference:
        - [Dosovitskiy et al., An Image is Worth 16x16 Words](https://arxiv.org/abs/2010.11929)
        - [Caron et al., Emerging Properties in Self-Supervised Vision
          Transformers](https://arxiv.org/abs/2104.14294)
        - [Keys, Cubic Convolution Interpolation for Digital Image
          Processing](https://doi.org/10.1109/TASSP.1981.1163711)
    """

    def __init__(
        self,
        size: int | tuple[int, int],
        extra_tokens: int = 0,
        interpolate: bool = False,
        initializer: Any = None,
        antialias: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.supports_masking = True
        self.is_grid = isinstance(size, (list, tuple))
        self.size = (
            checks.image_size("size", size)
            if self.is_grid
            else checks.integer("size", size, minimum=1)
        )
        self.extra_tokens = checks.integer("extra_tokens", extra_tokens, minimum=0)
        self.interpolate = bool(interpolate)
        self.antialias = bool(antialias)
        if initializer is None:
            initializer = keras.initializers.TruncatedNormal(stddev=0.02)
        self.initializer = keras.initializers.get(initializer)

    @property
    def positions(self) -> int:
        """Number of learned vectors, those of the extra tokens aside."""
        return math.prod(self.size) if self.is_grid else self.size

    def build(self, input_shape: tuple) -> None:
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.extra_tokens + self.positions, input_shape[-1]),
            initializer=self.initializer,
        )

    def call(
        self,
        inputs: Any,
        grid: tuple[int, int] | None = None,
        start: Any = 0,
        positions: Any = None,
    ) -> Any:
        vectors = ops.convert_to_tensor(self.embeddings)
        extra, others = vectors[: self.extra_tokens], vectors[self.extra_tokens :]
        if self.is_grid:
            others = self._on_grid(inputs, others, grid)
            return inputs + ops.cast(ops.concatenate([extra, others], axis=0), inputs.dtype)
        if grid is not None:
            raise ValueError(
                f"`grid` is for positions of a grid, `size=(rows, columns)`. Received: grid={grid} "
                f"with size={self.size}"
            )
        if positions is not None:
            found = ops.take(vectors, positions, axis=0)
        else:
            found = self._of_sequence(inputs, extra, others, start)
        return inputs + ops.cast(found, inputs.dtype)

    def _on_grid(self, inputs: Any, vectors: Any, grid: Any) -> Any:
        grid = self.size if grid is None else checks.image_size("grid", grid)
        expected = self.extra_tokens + math.prod(grid)
        if inputs.shape[1] not in (None, expected):
            raise ValueError(
                f"A grid of {grid} and {self.extra_tokens} extra tokens are {expected} tokens. "
                "For tokens of another grid, pass `grid=(rows, columns)`. Received: inputs of "
                f"shape {tuple(inputs.shape)}"
            )
        if grid == self.size:
            return vectors
        rows, columns = (
            interpolation_matrix(old, new, self.antialias)
            for old, new in zip(self.size, grid, strict=True)
        )
        plane = ops.reshape(ops.cast(vectors, "float32"), (self.size[0], -1))
        plane = ops.reshape(ops.matmul(rows, plane), (grid[0], self.size[1], -1))
        plane = ops.matmul(columns, plane)
        return ops.cast(ops.reshape(plane, (math.prod(grid), -1)), vectors.dtype)

    def _of_sequence(self, inputs: Any, extra: Any, vectors: Any, start: Any) -> Any:
        count, first = inputs.shape[1], start if isinstance(start, int) else 0
        most = self.extra_tokens + self.size
        message = (
            f"There are vectors for {most} positions. Use a larger `size`, or `interpolate=True`. "
            f"Received: inputs of shape {tuple(inputs.shape)} from position {first}"
        )
        is_longer = count is not None and first + count > most
        if is_longer and not self.interpolate:
            raise ValueError(message)
        count = ops.shape(inputs)[1]
        if self.interpolate and (is_longer or inputs.shape[1] is None):
            vectors = _stretched(vectors, first + count - self.extra_tokens)
        elif inputs.shape[1] is None:
            count = _checked(count, most - first, message)
        table = ops.concatenate([extra, vectors], axis=0)
        return ops.slice(table, (start, 0), (count, table.shape[1]))

    def compute_output_shape(self, input_shape: tuple, **kwargs: Any) -> tuple:
        return tuple(input_shape)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "size": self.size,
            "extra_tokens": self.extra_tokens,
            "interpolate": self.interpolate,
            "initializer": keras.initializers.serialize(self.initializer),
            "antialias": self.antialias,
        }


def interpolation_matrix(old: int, new: int, antialias: bool = False) -> np.ndarray:
    """Return the matrix `(new, old)` of cubic convolution along an axis, as in PyTorch.

    Args:
        old: number of values along the axis.
        new: number of values that are interpolated.
        antialias: whether the kernel widens where there are fewer values than before. What lies
            beyond the margin is then left out, and is otherwise the value at the margin.

    Returns:
        float32 matrix whose rows sum to 1.
    """
    step = old / new
    places = (np.arange(new) + 0.5) * step - 0.5
    # PyTorch has another kernel in each of the two cases
    width, slope = (max(step, 1.0), -0.5) if antialias else (1.0, -0.75)
    margin = 0 if antialias else 2
    at = np.arange(-margin, old + margin)
    distance = np.abs(at - places[:, None]) / width
    near = ((slope + 2) * distance - (slope + 3)) * distance**2 + 1
    far = slope * (((distance - 5) * distance + 8) * distance - 4)
    weights = np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))
    matrix = np.zeros((new, old))
    np.add.at(matrix, (slice(None), np.clip(at, 0, old - 1)), weights)
    return (matrix / matrix.sum(axis=1, keepdims=True)).astype("float32")


def _stretched(vectors: Any, length: Any) -> Any:
    """Interpolate rows to `length`, an integer or a tensor, if that is more than there are."""
    count = vectors.shape[0]
    length = ops.maximum(length, count)
    places = ops.cast(ops.arange(length), "float32") + 0.5
    places = places * (count / ops.cast(length, "float32")) - 0.5
    places = ops.clip(places, 0.0, count - 1.0)
    before = ops.cast(ops.floor(places), "int32")
    share = (places - ops.cast(before, "float32"))[:, None]
    both = (before, ops.minimum(before + 1, count - 1))
    near, far = (ops.cast(ops.take(vectors, one, axis=0), "float32") for one in both)
    return ops.cast(near + share * (far - near), vectors.dtype)


def _checked(count: Any, most: int, message: str) -> Any:
    """Return a number of positions that only TensorFlow's running graph knows, or raise."""
    import tensorflow as tf

    with tf.control_dependencies([tf.debugging.assert_less_equal(count, most, message)]):
        return tf.identity(count)


@keras.saving.register_keras_serializable(package="keras_ssl")
class RelativePositionBias(keras.layers.Layer):
    r"""Learned bias of attention scores by the offset between two tokens of a grid, as in BEiT.

    Each head has one bias for every offset in rows and columns. With a class token it has three
    more: for the attention of the class token to patches, of patches to the class token, and of the
    class token to itself.

    Args:
        num_heads: number of heads of the attention.
        grid: `(rows, columns)` of the tokens, which come in the order of the rows.
        class_token: whether a class token comes first.
        **kwargs: `name`, `dtype` and other arguments of `keras.layers.Layer`.

    Call arguments:
        query: queries, for the number of tokens.
        key: keys, for the number of tokens.

    Input shape:
        `(batch, tokens, heads, width)` each.

    Output shape:
        `(1, num_heads, tokens, tokens)`.

    Raises:
        ValueError: if the tokens are not those of the grid.

    Example:

    >>> from keras_ssl import layers
    >>> bias = layers.RelativePositionBias(num_heads=4, grid=(3, 3))
    >>> attention = layers.MultiHeadAttention(num_heads=4, position_bias=bias)
    >>> attention(keras.ops.ones((2, 10, 32))).shape
    TensorShape([2, 10, 32])

    Reference:
        - [Bao et al., BEiT: BERT Pre-Training of Image Transformers](
          https://arxiv.org/abs/2106.08254)
        - [Shaw et al., Self-Attention with Relative Position
          Representations](https://arxiv.org/abs/1803.02155)
    """

    def __init__(
        self, num_heads: int, grid: tuple[int, int], class_token: bool = True, **kwargs: Any
    ):
        super().__init__(**kwargs)
        self.num_heads = checks.integer("num_heads", num_heads, minimum=1)
        self.grid = checks.image_size("grid", grid)
        self.class_token = bool(class_token)

    def build(self, query_shape: tuple, key_shape: tuple | None = None) -> None:
        rows, columns = self.grid
        offsets = (2 * rows - 1) * (2 * columns - 1)
        self.table = self.add_weight(
            name="table",
            shape=(offsets + 3 * self.class_token, self.num_heads),
            initializer="zeros",
        )
        self._index = self._offsets(offsets)

    def _offsets(self, count: int) -> np.ndarray:
        """Return the row of the table for each pair of tokens, int32 `(tokens, tokens)`."""
        rows, columns = self.grid
        places = np.stack(np.meshgrid(*map(np.arange, self.grid), indexing="ij"), -1).reshape(-1, 2)
        offset = places[:, None] - places[None] + [rows - 1, columns - 1]
        index = offset[..., 0] * (2 * columns - 1) + offset[..., 1]
        if self.class_token:
            index = np.pad(index, ((1, 0), (1, 0)))
            index[0], index[:, 0], index[0, 0] = count, count + 1, count + 2
        return index.astype("int32")

    def call(self, query: Any, key: Any) -> Any:
        count = len(self._index)
        if not query.shape[1] == key.shape[1] == count:
            raise ValueError(
                f"A grid of {self.grid}{' and a class token' * self.class_token} are {count} "
                f"tokens. Received: {query.shape[1]} queries and {key.shape[1]} keys"
            )
        if query.shape[2] != self.num_heads:
            raise ValueError(
                "`num_heads` must be that of the attention. Received: "
                f"num_heads={self.num_heads} for queries of {query.shape[2]} heads"
            )
        bias = ops.take(self.table, self._index, axis=0)
        return ops.transpose(bias, (2, 0, 1))[None]

    def compute_output_shape(self, query_shape: tuple, key_shape: tuple) -> tuple:
        return (1, self.num_heads, query_shape[1], key_shape[1])

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "num_heads": self.num_heads,
            "grid": self.grid,
            "class_token": self.class_token,
        }
