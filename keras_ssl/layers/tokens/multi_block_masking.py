"""Rectangles to predict, and the one that they are predicted from."""

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.layers.tokens._random_tokens import RandomTokens, check_grid


@keras.saving.register_keras_serializable(package="keras_ssl")
class MultiBlockMasking(RandomTokens):
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
        check_grid(self.grid, tokens)
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
