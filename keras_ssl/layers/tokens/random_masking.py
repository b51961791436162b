"""Random choices of the tokens that a method hides, with as many in every example."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.distribute import draw_per_example


def visible_indices(is_masked: Any, masked: int) -> tuple[Any, Any]:
    """Return the indices of visible and of masked tokens, each in their order.

    Args:
        is_masked: booleans `(batch, tokens)` with `masked` tokens that are `True` in every row.
        masked: number of masked tokens.

    Returns:
        int32 `(batch, tokens - masked)` and `(batch, masked)`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.tokens.random_masking import visible_indices
    >>> visible, masked = visible_indices(np.array([[True, False, False, True]]), masked=2)
    >>> visible.numpy().tolist(), masked.numpy().tolist()
    ([[1, 2]], [[0, 3]])
    """
    tokens = is_masked.shape[-1]
    # the place of a token decides among equals, so that any sort is stable
    keys = ops.cast(is_masked, "int32") * tokens + ops.arange(tokens, dtype="int32")
    order = ops.cast(ops.argsort(keys, axis=-1), "int32")
    return order[:, : tokens - masked], order[:, tokens - masked :]


class _Masking(keras.layers.Layer):
    """Draws a score for every token; the lowest scores are masked."""

    def __init__(self, ratio: float, seed: int | None, **kwargs: Any):
        super().__init__(**kwargs)
        self.ratio = checks.positive("ratio", ratio)
        if not 0 < ratio < 1:
            raise ValueError(f"`ratio` must be between 0 and 1. Received: ratio={ratio}")
        self.seed = checks.integer("seed", seed, optional=True)
        self.seed_generator = keras.random.SeedGenerator(seed)

    def count(self, tokens: int) -> int:
        """Return how many of a number of tokens are masked."""
        masked = round(self.ratio * tokens)
        if not 0 < masked < tokens:
            raise ValueError(
                "`ratio` must mask at least one token and leave at least one. Received: "
                f"ratio={self.ratio} of {tokens} tokens"
            )
        return masked

    def build(self, input_shape: tuple) -> None:
        self._check_tokens(input_shape)

    def _check_tokens(self, shape: tuple) -> int:
        if len(shape) < 2 or shape[1] is None:
            raise ValueError(
                "`inputs` must be tokens of shape (batch, tokens, ...), whose number is known. "
                f"Received: shape {tuple(shape)}"
            )
        self.count(shape[1])
        return shape[1]

    def call(self, inputs: Any) -> Any:
        tokens = self._check_tokens(inputs.shape)
        scores = self.scores(ops.shape(inputs)[0], tokens)
        order = ops.argsort(scores, axis=-1)
        ranks = ops.argsort(order, axis=-1)
        return ops.less(ops.cast(ranks, "int32"), self.count(tokens))

    def scores(self, batch: Any, tokens: int) -> Any:
        """Return a score per token, float32 `(batch, tokens)`."""
        raise NotImplementedError

    def uniform(self, shape: tuple) -> Any:
        """Return uniform random numbers, float32, the same with any number of replicas."""
        return draw_per_example(
            lambda rows: keras.random.uniform(
                (rows, *shape[1:]), dtype="float32", seed=self.seed_generator
            ),
            shape[0],
        )

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return tuple(input_shape[:2])

    def compute_output_spec(self, inputs: Any) -> Any:
        self._check_tokens(inputs.shape)
        return keras.KerasTensor(inputs.shape[:2], dtype="bool")


@keras.saving.register_keras_serializable(package="keras_ssl")
class RandomMasking(_Masking):
    """Mask of tokens chosen uniformly, as many in every example, as in MAE and SimMIM.

    Args:
        ratio: share of the tokens that are masked, rounded to a whole number of tokens.
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: tokens, for their number.

    Input shape:
        `(batch, tokens, ...)`.

    Output shape:
        Booleans `(batch, tokens)`, `True` for masked tokens.

    Raises:
        ValueError: if `ratio` is not between 0 and 1, or no token is masked or left.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> is_masked = layers.RandomMasking(0.75, seed=0)(np.ones((2, 16, 8)))
    >>> np.sum(is_masked, axis=1).tolist()
    [12, 12]

    Reference:
        - [He et al., Masked Autoencoders Are Scalable Vision
          Learners](https://arxiv.org/abs/2111.06377)
        - [Xie et al., SimMIM](https://arxiv.org/abs/2111.09886)
    """

    def __init__(self, ratio: float = 0.75, seed: int | None = None, **kwargs: Any):
        super().__init__(ratio, seed, **kwargs)

    def scores(self, batch: Any, tokens: int) -> Any:
        return self.uniform((batch, tokens))

    def get_config(self) -> dict:
        return {**super().get_config(), "ratio": self.ratio, "seed": self.seed}


@keras.saving.register_keras_serializable(package="keras_ssl")
class BlockMasking(_Masking):
    """Mask of rectangles of a grid of tokens, as many tokens in every example, as in BEiT.

    Rectangles with random area, aspect ratio and place are drawn one after another, and their
    tokens masked until there are enough; of the last one, only some rows or columns. Where BEiT
    stops as soon as no further rectangle fits, so that numbers vary, here they are equal, which
    static shapes need.

    Args:
        grid: `(rows, columns)` of the tokens, which come row by row.
        ratio: share of the tokens that are masked, rounded to a whole number of tokens.
        min_tokens: area of the smallest rectangle, in tokens.
        aspect_ratio: `(low, high)`, range of height divided by width, drawn on a logarithmic scale.
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: tokens, for their number.

    Input shape:
        `(batch, rows * columns, ...)`.

    Output shape:
        Booleans `(batch, rows * columns)`, `True` for masked tokens.

    Raises:
        ValueError: if an argument is out of range, or the tokens are not those of the grid.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> is_masked = layers.BlockMasking((14, 14), ratio=0.4, seed=0)(np.ones((2, 196, 8)))
    >>> np.sum(is_masked, axis=1).tolist()
    [78, 78]

    Reference:
        - [Bao et al., BEiT: BERT Pre-Training of Image Transformers](
          https://arxiv.org/abs/2106.08254), algorithm 1
    """

    def __init__(
        self,
        grid: tuple[int, int],
        ratio: float = 0.4,
        min_tokens: int = 16,
        aspect_ratio: tuple[float, float] = (0.3, 1 / 0.3),
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(ratio, seed, **kwargs)
        self.grid = checks.image_size("grid", grid)
        self.min_tokens = checks.integer("min_tokens", min_tokens, minimum=1)
        self.aspect_ratio = checks.interval("aspect_ratio", aspect_ratio)
        if self.aspect_ratio[0] <= 0:
            raise ValueError(
                f"`aspect_ratio` must be positive. Received: aspect_ratio={aspect_ratio}"
            )
        masked = self.count(math.prod(self.grid))
        if self.min_tokens > masked:
            raise ValueError(
                f"`min_tokens` must be at most the number of masked tokens, {masked}. Received: "
                f"min_tokens={min_tokens}"
            )
        # a rectangle masks `min_tokens` at least, if it does not fall on others; enough to spare
        self.rectangles = 2 + 4 * math.ceil(masked / self.min_tokens)

    def scores(self, batch: Any, tokens: int) -> Any:
        rows, columns = self.grid
        if tokens != rows * columns:
            raise ValueError(
                f"`grid` {self.grid} has {rows * columns} tokens. Received: {tokens} tokens"
            )
        shape = (batch, self.rectangles, 1, 1)
        area, aspect, top, left, direction = (self.uniform(shape) for _ in range(5))
        area = self.min_tokens + area * (self.count(tokens) - self.min_tokens)
        low, high = np.log(self.aspect_ratio)
        aspect = ops.exp(low + aspect * (high - low))
        height = ops.clip(ops.round(ops.sqrt(area * aspect)), 1, rows)
        width = ops.clip(ops.round(ops.sqrt(area / aspect)), 1, columns)
        top = ops.floor(top * (rows - height + 1))
        left = ops.floor(left * (columns - width + 1))
        row = ops.arange(rows, dtype="float32")[:, None]
        column = ops.arange(columns, dtype="float32")[None]
        inside_rows = ops.logical_and(row >= top, row < top + height)
        inside_columns = ops.logical_and(column >= left, column < left + width)
        inside = ops.logical_and(inside_rows, inside_columns)
        # tokens of the first rectangles come first; of the last one, whole rows or whole columns
        by_row = (row * columns + column) / tokens
        by_column = (column * rows + row) / tokens
        within = ops.where(direction < 0.5, by_row, by_column)
        number = ops.arange(self.rectangles, dtype="float32")[:, None, None]
        scores = ops.where(inside, number + within, float(self.rectangles) + 1.0)
        scores = ops.reshape(ops.min(scores, axis=1), (-1, tokens))
        # where all rectangles together are too few, any tokens follow
        return scores + ops.where(scores > self.rectangles, self.uniform((batch, tokens)), 0.0)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "grid": self.grid,
            "ratio": self.ratio,
            "min_tokens": self.min_tokens,
            "aspect_ratio": self.aspect_ratio,
            "seed": self.seed,
        }
