"""Masks of rectangles, with as many tokens in every example."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.layers.tokens._random_tokens import Masking, check_grid


@keras.saving.register_keras_serializable(package="keras_ssl")
class BlockMasking(Masking):
    """Mask of rectangles of a grid, the same number of tokens in every example, as in BEiT.

    Rectangles with random area, aspect ratio and place are drawn one after another, and their
    tokens masked until there are enough; of the last rectangle, only some rows or columns are
    masked. BEiT stops as soon as no further rectangle fits, so that numbers vary; here they are
    equal, because shapes must be static.

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
        self.aspect_ratio = checks.interval("aspect_ratio", aspect_ratio, positive=True)
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
        check_grid(self.grid, tokens)
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
            "min_tokens": self.min_tokens,
            "aspect_ratio": self.aspect_ratio,
        }


@keras.saving.register_keras_serializable(package="keras_ssl")
class InverseBlockMasking(Masking):
    """Mask of all tokens of a grid but those of one rectangle, as in CAPI.

    The rectangle has a random aspect ratio and place. It may leave the grid at one side and come
    in again at the other, so that every token is visible as often as any other; a rectangle inside
    the grid shows its middle more often. Where it holds more tokens than are visible, the last
    tokens of its last rows are masked too.

    Args:
        grid: `(rows, columns)` of the tokens, which come row by row.
        ratio: share of the tokens that are masked, rounded to a whole number of tokens.
        aspect_ratio: `(low, high)`, range of height divided by width, drawn on a logarithmic scale;
            narrowed where such a rectangle would be longer than the grid.
        roll: whether the rectangle may leave the grid and come in again.
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
    >>> masking = layers.InverseBlockMasking((4, 4), ratio=0.75, roll=False, seed=0)
    >>> is_masked = masking(np.ones((2, 16, 8)))
    >>> np.sum(is_masked, axis=1).tolist()
    [12, 12]

    Reference:
        - [Darcet et al., Cluster and Predict Latent Patches for Improved Masked Image
          Modeling](https://arxiv.org/abs/2502.08769)
    """

    def __init__(
        self,
        grid: tuple[int, int],
        ratio: float = 0.65,
        aspect_ratio: tuple[float, float] = (0.5, 2.0),
        roll: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(ratio, seed, **kwargs)
        self.grid = checks.image_size("grid", grid)
        self.aspect_ratio = checks.interval("aspect_ratio", aspect_ratio, positive=True)
        self.roll = bool(roll)
        tokens = math.prod(self.grid)
        visible = tokens - self.count(tokens)
        rows, columns = self.grid
        # what is neither higher nor wider than the grid; at least one ratio is
        fitting = np.array([visible / columns**2, rows**2 / visible])
        self._log_aspects = np.log(np.clip(self.aspect_ratio, *fitting))

    def scores(self, batch: Any, tokens: int) -> Any:
        check_grid(self.grid, tokens)
        columns = self.grid[1]
        visible = tokens - self.count(tokens)
        aspect, *starts = ops.unstack(self.uniform((batch, 3)), axis=1)
        low, high = (float(edge) for edge in self._log_aspects)
        aspect = ops.exp(low + aspect * (high - low))
        # rounded up, so that there is room for all visible tokens; but 3.0000001 is 3
        sides = (ops.ceil(ops.sqrt(visible * a) - 1e-4) for a in (aspect, 1 / aspect))
        height, width = (ops.minimum(s, n) for s, n in zip(sides, self.grid, strict=True))
        height = ops.maximum(height, ops.ceil(visible / width))
        places = [
            self._within(start, side, longest)
            for start, side, longest in zip(starts, (height, width), self.grid, strict=True)
        ]
        row, column = places[0][:, :, None], places[1][:, None, :]
        inside = ops.logical_and(row < height[:, None, None], column < width[:, None, None])
        # the lowest scores are masked: outside, then the last tokens of the rectangle
        order = row * columns + column
        scores = ops.where(inside, float(tokens) - order, -1.0)
        return ops.reshape(scores, (-1, tokens))

    def _within(self, start: Any, side: Any, longest: int) -> Any:
        """Return how far each row (or column) is behind the first of the rectangle."""
        room = float(longest) if self.roll else longest - side + 1
        first = ops.floor(start * room)
        return ops.mod(ops.arange(longest, dtype="float32") - first[:, None], float(longest))

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "grid": self.grid,
            "aspect_ratio": self.aspect_ratio,
            "roll": self.roll,
        }
