"""Bases of layers that choose tokens at random."""

import math
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.distribute import draw_per_example


class RandomTokens(keras.layers.Layer):
    """Draws random numbers for tokens.

    Args:
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.
    """

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


class Masking(RandomTokens):
    """Masks the tokens with the lowest scores.

    A subclass writes `scores(batch, tokens)`, which returns float32 `(batch, tokens)`.

    Args:
        ratio: share of the tokens that are masked, rounded to a whole number of tokens.
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.
    """

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

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return tuple(input_shape[:2])

    def compute_output_spec(self, inputs: Any) -> Any:
        self._check_tokens(inputs.shape)
        return keras.KerasTensor(inputs.shape[:2], dtype="bool")

    def get_config(self) -> dict:
        return {**super().get_config(), "ratio": self.ratio}


def check_grid(grid: tuple[int, int], tokens: int) -> None:
    """Raise a `ValueError` unless there are as many tokens as places of the grid."""
    if tokens != math.prod(grid):
        raise ValueError(f"`grid` {grid} has {math.prod(grid)} tokens. Received: {tokens} tokens")
