"""How generators are called, to train them and to draw examples."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.trainers.generative._reconstruction import check_same_structure, check_shapes


def check_is_built(trainer: keras.Model) -> None:
    """Raise a `ValueError` if a trainer has no weights yet."""
    if trainer.input_specs is None:
        raise ValueError(
            f"{type(trainer).__name__} must be built before it can draw examples: call `fit`, or "
            "`build` with the shape of a batch of data. Received: a trainer that is not built"
        )


def random_numbers(rows: Any, latent_dim: int, seed: keras.random.SeedGenerator) -> Any:
    """Return the numbers that generators make examples of, `(rows, latent_dim)`."""
    return keras.random.normal((rows, latent_dim), dtype="float32", seed=seed)


def numbers_to_sample(trainer: keras.Model, n: int, seed: keras.random.SeedGenerator) -> Any:
    """Return the numbers of `n` examples of a trainer, once `n` and the trainer are checked."""
    check_is_built(trainer)
    return random_numbers(checks.integer("n", n, minimum=1), trainer.latent_dim, seed)


def generate_like(
    x: Any, generator: Callable[[Any], Any], latent_dim: int, seed: keras.random.SeedGenerator
) -> Any:
    """Return as many generated examples as there are of data, in a training step.

    Args:
        x: data, a structure of tensors.
        generator: function of random numbers `(batch, latent_dim)`.
        latent_dim: how many numbers an example is made of.
        seed: seed of the numbers.

    Returns:
        What the generator returns, in the structure and the shapes of the data.

    Raises:
        ValueError: if it has another structure or shape.
    """
    rows = ops.shape(keras.tree.flatten(x)[0])[0]
    fake = generator(
        distribute.draw_per_example(lambda n: random_numbers(n, latent_dim, seed), rows)
    )
    check_same_structure(x, fake, "generator")
    for one, other in zip(keras.tree.flatten(x), keras.tree.flatten(fake), strict=True):
        check_shapes(one, other, "generator")
    return fake


def generate(function: Callable[[Any], Any], inputs: Any, batch_size: int) -> Any:
    """Call a generator on its inputs in batches.

    Args:
        function: function of a structure of tensors that returns one, both with one row per
            example.
        inputs: the structure of tensors of all examples. Since all were drawn at once, the examples
            do not depend on the size of batches.
        batch_size: number of examples that are generated at a time.

    Returns:
        The structure of NumPy arrays of all examples.
    """
    batch_size = checks.integer("batch_size", batch_size, minimum=1)
    count = keras.tree.flatten(inputs)[0].shape[0]
    batches = []
    for start in range(0, count, batch_size):
        rows = slice(start, start + batch_size)
        made = function(keras.tree.map_structure(lambda one, rows=rows: one[rows], inputs))
        batches.append(keras.tree.map_structure(ops.convert_to_numpy, made))
    return keras.tree.map_structure(lambda *parts: np.concatenate(parts), *batches)
