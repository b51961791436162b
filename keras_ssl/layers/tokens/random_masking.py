"""Random choices of the tokens that a method hides or predicts, with as many in every example."""

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


class _RandomTokens(keras.layers.Layer):
    """Draws random numbers for tokens."""

    def __init__(self, seed: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.seed = checks.integer("seed", seed, optional=True)
        self.seed_generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape: tuple) -> None:
        self._check_tokens(input_shape)

    def _check_tokens(self, shape: tuple) -> int:
        """Return the number of tokens."""
        if len(shape) < 2 or shape[1] is None:
            raise ValueError(
                "`inputs` must be tokens of shape (batch, tokens, ...), whose number is known. "
                f"Received: shape {tuple(shape)}"
            )
        return shape[1]

    def uniform(self, shape: tuple) -> Any:
        """Return uniform random numbers, float32, the same with any number of replicas."""
        return draw_per_example(
            lambda rows: keras.random.uniform(
                (rows, *shape[1:]), dtype="float32", seed=self.seed_generator
            ),
            shape[0],
        )

    def get_config(self) -> dict:
        return {**super().get_config(), "seed": self.seed}


class _Masking(_RandomTokens):
    """Draws a score for every token; the lowest scores are masked."""

    def __init__(self, ratio: float, seed: int | None, **kwargs: Any):
        super().__init__(seed, **kwargs)
        self.ratio = checks.positive("ratio", ratio)
        if not 0 < ratio < 1:
            raise ValueError(f"`ratio` must be between 0 and 1. Received: ratio={ratio}")

    def count(self, tokens: int) -> int:
        """Return how many of a number of tokens are masked."""
        masked = round(self.ratio * tokens)
        if not 0 < masked < tokens:
            raise ValueError(
                "`ratio` must mask at least one token and leave at least one. Received: "
                f"ratio={self.ratio} of {tokens} tokens"
            )
        return masked

    def _check_tokens(self, shape: tuple) -> int:
        tokens = super()._check_tokens(shape)
        self.count(tokens)
        return tokens

    def call(self, inputs: Any) -> Any:
        tokens = self._check_tokens(inputs.shape)
        scores = self.scores(ops.shape(inputs)[0], tokens)
        order = ops.argsort(scores, axis=-1)
        ranks = ops.argsort(order, axis=-1)
        return ops.less(ops.cast(ranks, "int32"), self.count(tokens))

    def scores(self, batch: Any, tokens: int) -> Any:
        """Return a score per token, float32 `(batch, tokens)`."""
        raise NotImplementedError

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return tuple(input_shape[:2])

    def compute_output_spec(self, inputs: Any) -> Any:
        self._check_tokens(inputs.shape)
        return keras.KerasTensor(inputs.shape[:2], dtype="bool")

    def get_config(self) -> dict:
        return {**super().get_config(), "ratio": self.ratio}


@keras.saving.register_keras_serializable(package="keras_ssl")
class RandomMasking(_Masking):
    """Mask of uniformly chosen tokens, the same number in every example, as in MAE and SimMIM.

    Args:
        ratio: share of the tokens that are masked, rounded to the nearest whole number of tokens,
            or of squares. SimMIM's code rounds up.
        seed: integer seed, or `None` for a random one.
        unit: height and width, in tokens, of the squares that are masked as one. SimMIM masks
            squares of 32 pixels, which are 2x2 patches of 16 pixels.
        grid: `(rows, columns)` of the tokens, which come row by row; used where `unit` is above 1.
            `None` means a square.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: tokens, for their number.

    Input shape:
        `(batch, tokens, ...)`.

    Output shape:
        Booleans `(batch, tokens)`, `True` for masked tokens.

    Raises:
        ValueError: if `ratio` is not between 0 and 1, no token is masked or left, or the grid
            cannot be divided into squares.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> is_masked = layers.RandomMasking(0.75, seed=0)(np.ones((2, 16, 8)))
    >>> np.sum(is_masked, axis=1).tolist()
    [12, 12]
    >>> is_masked = layers.RandomMasking(0.5, seed=0, unit=2)(np.ones((1, 16, 8)))
    >>> np.reshape(is_masked, (4, 4)).astype(int)
    array([[1, 1, 1, 1],
           [1, 1, 1, 1],
           [0, 0, 0, 0],
           [0, 0, 0, 0]])

    Reference:
        - [He et al., Masked Autoencoders Are Scalable Vision
          Learners](https://arxiv.org/abs/2111.06377)
        - [Xie et al., SimMIM](https://arxiv.org/abs/2111.09886)
    """

    def __init__(
        self,
        ratio: float = 0.75,
        seed: int | None = None,
        unit: int = 1,
        grid: tuple[int, int] | None = None,
        **kwargs: Any,
    ):
        super().__init__(ratio, seed, **kwargs)
        self.unit = checks.integer("unit", unit, minimum=1)
        self.grid = None if grid is None else checks.image_size("grid", grid)

    def count(self, tokens: int) -> int:
        rows, columns = self._units(tokens)
        masked = round(self.ratio * rows * columns)
        if not 0 < masked < rows * columns:
            squares = "" if self.unit == 1 else f" in {rows * columns} squares, unit={self.unit}"
            raise ValueError(
                "`ratio` must mask at least one token and leave at least one. Received: "
                f"ratio={self.ratio} of {tokens} tokens{squares}"
            )
        return masked * self.unit**2

    def _units(self, tokens: int) -> tuple[int, int]:
        """Return the numbers of rows and columns of what is masked as one."""
        if self.unit == 1:
            return 1, tokens
        rows, columns = self.grid or (math.isqrt(tokens),) * 2
        if rows * columns != tokens or rows % self.unit or columns % self.unit:
            raise ValueError(
                "The tokens must form `grid`, by default a square, whose sides `unit` divides. "
                f"Received: {tokens} tokens, grid={self.grid}, unit={self.unit}"
            )
        return rows // self.unit, columns // self.unit

    def scores(self, batch: Any, tokens: int) -> Any:
        rows, columns = self._units(tokens)
        scores = self.uniform((batch, rows, columns))
        for axis in (1, 2) if self.unit > 1 else ():
            scores = ops.repeat(scores, self.unit, axis=axis)
        return ops.reshape(scores, (-1, tokens))

    def get_config(self) -> dict:
        return {**super().get_config(), "unit": self.unit, "grid": self.grid}


def _check_grid(grid: tuple[int, int], tokens: int) -> None:
    """Raise a `ValueError` unless there are as many tokens as places of the grid."""
    if tokens != math.prod(grid):
        raise ValueError(f"`grid` {grid} has {math.prod(grid)} tokens. Received: {tokens} tokens")


@keras.saving.register_keras_serializable(package="keras_ssl")
class BlockMasking(_Masking):
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
        _check_grid(self.grid, tokens)
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
class InverseBlockMasking(_Masking):
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
        _check_grid(self.grid, tokens)
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


@keras.saving.register_keras_serializable(package="keras_ssl")
class MultiBlockMasking(_RandomTokens):
    """Masks of I-JEPA: rectangles of a grid to predict, and a context to predict them from.

    Each target is a rectangle with a random aspect ratio and place. The context is a large square
    without the tokens of the targets. In the published code the numbers of tokens vary and are cut
    to the smallest of a batch; here they are the same in every batch, as shapes must be static:

    - The share of all tokens that a target has is the mean of `target_scale`. Where its rectangle
      holds more, the first tokens of the first row or the last tokens of the last row are left out.
    - The context has as many tokens as are left when no two targets overlap. If more are left, rows
      or columns at a random side of the square are left out; if fewer, tokens outside of the square
      are added.

    Args:
        grid: `(rows, columns)` of the tokens, which come row by row.
        targets: number of targets.
        target_scale: `(low, high)`, of which the mean is the share of the tokens in a target.
        aspect_ratio: `(low, high)`, range of a target's height divided by its width.
        context_scale: `(low, high)`, range of the share of the square that is the context.
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: tokens, for their number.

    Input shape:
        `(batch, rows * columns, ...)`.

    Output shape:
        The places, int32 and in their order, of the tokens of the context, `(batch, tokens)`, and
        of the targets, `(batch, targets, tokens)`.

    Raises:
        ValueError: if an argument is out of range, targets leave no context, or the tokens are not
            those of the grid.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> masking = layers.MultiBlockMasking((14, 14), seed=0)
    >>> context, targets = masking(np.ones((2, 196, 8)))
    >>> context.shape, targets.shape
    (TensorShape([2, 60]), TensorShape([2, 4, 34]))

    Reference:
        - [Assran et al., Self-Supervised Learning from Images with a Joint-Embedding Predictive
          Architecture](https://arxiv.org/abs/2301.08243)
    """

    def __init__(
        self,
        grid: tuple[int, int],
        targets: int = 4,
        target_scale: tuple[float, float] = (0.15, 0.2),
        aspect_ratio: tuple[float, float] = (0.75, 1.5),
        context_scale: tuple[float, float] = (0.85, 1.0),
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed, **kwargs)
        self.grid = checks.image_size("grid", grid)
        self.targets = checks.integer("targets", targets, minimum=1)
        self.target_scale = checks.interval("target_scale", target_scale, 0.0, 1.0, positive=True)
        self.aspect_ratio = checks.interval("aspect_ratio", aspect_ratio, positive=True)
        self.context_scale = checks.interval(
            "context_scale", context_scale, 0.0, 1.0, positive=True
        )
        tokens = math.prod(self.grid)
        self.target_tokens = max(1, round(sum(self.target_scale) / 2 * tokens))
        self.context_tokens = tokens - self.targets * self.target_tokens
        if self.context_tokens < 1:
            raise ValueError(
                "`targets` and `target_scale` must leave tokens for the context, also if no two "
                f"targets overlap. Received: targets={targets}, target_scale={target_scale}, which "
                f"is {self.targets * self.target_tokens} of {tokens} tokens"
            )

    def _check_tokens(self, shape: tuple) -> int:
        tokens = super()._check_tokens(shape)
        _check_grid(self.grid, tokens)
        return tokens

    def call(self, inputs: Any) -> tuple[Any, Any]:
        tokens = self._check_tokens(inputs.shape)
        batch = ops.shape(inputs)[0]
        numbers = ops.arange(tokens, dtype="int32")
        draws = self.uniform((batch, self.targets, 4))
        is_last = draws[..., 3:] < 0.5  # the last tokens of the rectangle rather than the first
        order = ops.where(is_last, tokens - 1 - numbers, numbers)
        order = ops.sort(ops.where(self._rectangles(draws), order, tokens), axis=-1)
        order = order[..., : self.target_tokens]
        targets = ops.sort(ops.where(is_last, tokens - 1 - order, order), axis=-1)
        is_target = ops.any(ops.equal(targets[..., None], numbers), axis=(1, 2))
        draws = self.uniform((batch, 5))
        # what is left out of the context: targets, then what is outside of the square, then a side
        excluded = 2 * ops.cast(is_target, "int32")
        excluded += ops.cast(ops.logical_not(self._square(draws[:, :3])), "int32")
        order = excluded * tokens + self._from_a_side(draws[:, 3:])
        context = ops.argsort(order, axis=-1)[:, : self.context_tokens]
        return ops.sort(ops.cast(context, "int32"), axis=-1), targets

    def _rectangles(self, draws: Any) -> Any:
        """Return which tokens are in rectangles of at least the tokens of a target."""
        rows, columns = self.grid
        low, high = self.aspect_ratio
        aspect = low + draws[..., 0] * (high - low)
        width = ops.cast(ops.round(ops.sqrt(self.target_tokens / aspect)), "int32")
        width = ops.clip(width, -(-self.target_tokens // rows), columns)
        height = (self.target_tokens + width - 1) // width
        return self._inside(height, width, draws[..., 1], draws[..., 2])

    def _square(self, draws: Any) -> Any:
        """Return which tokens are in the square that the context is part of."""
        low, high = self.context_scale
        area = (low + draws[:, 0] * (high - low)) * math.prod(self.grid)
        side = ops.cast(ops.round(ops.sqrt(area)), "int32")
        height, width = (ops.clip(side, 1, longest) for longest in self.grid)
        return self._inside(height, width, draws[:, 1], draws[:, 2])

    def _inside(self, height: Any, width: Any, top: Any, left: Any) -> Any:
        """Return which tokens are in rectangles, whose places are numbers in [0, 1)."""
        inside = []
        for size, place, longest in zip((height, width), (top, left), self.grid, strict=True):
            start = ops.floor(place * ops.cast(longest - size + 1, "float32"))
            start = ops.cast(start, "int32")[..., None]
            numbers = ops.arange(longest, dtype="int32")
            inside.append(ops.logical_and(numbers >= start, numbers < start + size[..., None]))
        inside = ops.logical_and(inside[0][..., None], inside[1][..., None, :])
        return ops.reshape(inside, (*ops.shape(inside)[:-2], -1))

    def _from_a_side(self, draws: Any) -> Any:
        """Return the order of the tokens from one of the four sides, `(batch, tokens)`."""
        rows, columns = self.grid
        by_row = np.arange(rows * columns, dtype="int32")
        by_column = by_row.reshape(columns, rows).T.ravel()
        order = ops.where(draws[:, :1] < 0.5, by_row, by_column)
        return ops.where(draws[:, 1:] < 0.5, order, rows * columns - 1 - order)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        batch = input_shape[0]
        return (batch, self.context_tokens), (batch, self.targets, self.target_tokens)

    def compute_output_spec(self, inputs: Any) -> Any:
        self._check_tokens(inputs.shape)
        shapes = self.compute_output_shape(inputs.shape)
        return tuple(keras.KerasTensor(shape, dtype="int32") for shape in shapes)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "grid": self.grid,
            "targets": self.targets,
            "target_scale": self.target_scale,
            "aspect_ratio": self.aspect_ratio,
            "context_scale": self.context_scale,
        }


@keras.saving.register_keras_serializable(package="keras_ssl")
class RandomPrefix(_RandomTokens):
    """Random length of the prefix of a sequence, from which the rest is predicted.

    The lengths from 1 to one less than the number of tokens are equally likely, as in AIM.

    Args:
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: tokens, for their number.

    Input shape:
        `(batch, tokens, ...)`, at least two tokens.

    Output shape:
        int32 `(batch,)`.

    Raises:
        ValueError: if there are fewer than two tokens.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import layers
    >>> lengths = layers.RandomPrefix(seed=0)(np.ones((8, 16, 4)))
    >>> bool(np.min(lengths) >= 1 and np.max(lengths) <= 15)
    True

    Reference:
        - [El-Nouby et al., Scalable Pre-training of Large Autoregressive Image
          Models](https://arxiv.org/abs/2401.08541)
    """

    def _check_tokens(self, shape: tuple) -> int:
        tokens = super()._check_tokens(shape)
        if tokens < 2:
            raise ValueError(f"`inputs` must hold at least 2 tokens. Received: {tokens}")
        return tokens

    def call(self, inputs: Any) -> Any:
        tokens = self._check_tokens(inputs.shape)
        place = self.uniform((ops.shape(inputs)[0],)) * (tokens - 1)
        return 1 + ops.cast(ops.floor(place), "int32")

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return tuple(input_shape[:1])

    def compute_output_spec(self, inputs: Any) -> Any:
        self._check_tokens(inputs.shape)
        return keras.KerasTensor(inputs.shape[:1], dtype="int32")
