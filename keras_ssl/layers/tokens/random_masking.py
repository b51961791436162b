"""Tokens that are chosen one by one, with as many in every example."""

import math
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers.tokens._random_tokens import Masking, RandomTokens


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


@keras.saving.register_keras_serializable(package="keras_ssl")
class RandomMasking(Masking):
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


@keras.saving.register_keras_serializable(package="keras_ssl")
class RandomPrefix(RandomTokens):
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
