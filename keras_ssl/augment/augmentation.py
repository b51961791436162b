"""Base of the random layers."""

from typing import Any

import keras

from keras_ssl import checks
from keras_ssl._keras_internals import run_on_shapes
from keras_ssl.augment._value_range import warn_of_values
from keras_ssl.distribute import draw_per_example


class Augmentation(keras.layers.Layer):
    """Random operation on a batch that is applied in training mode only.

    Keras' preprocessing layers draw random numbers and apply them in one go. Here the two are
    separate methods: `draw` makes the random parameters, `apply` is deterministic. Every example
    gets its own random numbers, replicas draw what one device would draw for the global batch, and
    a pipeline can hand its own seed to its layers.

    A batch is a tensor or a nested structure of tensors. Subclasses implement `draw` and `apply`;
    `check_inputs` if they do not take everything; `at_inference` if they do something outside
    training; `compute_output_shape` if they change the shape. For images see `ImageAugmentation`.

    Args:
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: batch of examples.
        training: whether to augment. With `False` the layer returns its inputs.

    Input shape:
        Any; the first axis of every tensor is the batch.

    Output shape:
        That of the inputs.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl import augment
    >>> class RandomSign(augment.Augmentation):
    ...     def draw(self, inputs, seed=None):
    ...         return self.uniform((inputs.shape[0], 1), seed) < 0.5
    ...
    ...     def apply(self, inputs, parameters):
    ...         return keras.ops.where(parameters, -inputs, inputs)
    >>> int(np.abs(RandomSign()(np.ones((4, 3), "float32"))).sum())
    12
    """

    # whether the values behind the layer have the range of those before it
    keeps_range = False

    def __init__(self, seed: int | None = None, **kwargs: Any):
        kwargs.setdefault("dtype", "float32")
        # `apply` decides about dtypes: images of bytes and token ids arrive as integers
        super().__init__(autocast=False, **kwargs)
        self.seed = checks.integer("seed", seed, optional=True)
        self.seed_generator = keras.random.SeedGenerator(self.seed)
        self._has_seen_values = False

    def check_inputs(self, inputs: Any) -> None:
        """Raise unless the layer can augment `inputs`; accepts everything by default."""

    def draw(self, inputs: Any, seed: keras.random.SeedGenerator | None = None) -> Any:
        """Draw the random parameters of one batch.

        Args:
            inputs: batch of examples; only its shape may matter.
            seed: generator to draw from, by default the layer's own; pass it to `uniform` and
                `normal`.

        Returns:
            A structure of tensors with one row per example, for `apply`.
        """
        raise NotImplementedError

    def apply(self, inputs: Any, parameters: Any) -> Any:
        """Augment a batch with given parameters.

        Args:
            inputs: batch of examples.
            parameters: result of `draw`.

        Returns:
            The augmented batch.
        """
        raise NotImplementedError

    def at_inference(self, inputs: Any) -> Any:
        """What the layer returns outside training: by default its inputs."""
        return inputs

    def uniform(self, shape: tuple, seed: keras.random.SeedGenerator | None = None) -> Any:
        """Draw float32 numbers from [0, 1); the first axis of `shape` is the batch."""
        return self._draw(keras.random.uniform, shape, seed)

    def normal(self, shape: tuple, seed: keras.random.SeedGenerator | None = None) -> Any:
        """Draw float32 numbers from N(0, 1); the first axis of `shape` is the batch."""
        return self._draw(keras.random.normal, shape, seed)

    def _draw(self, distribution: Any, shape: tuple, seed: Any) -> Any:
        seed = self.seed_generator if seed is None else seed
        return draw_per_example(
            lambda rows: distribution((rows, *shape[1:]), dtype="float32", seed=seed), shape[0]
        )

    def transform(
        self, inputs: Any, training: bool, seed: keras.random.SeedGenerator | None = None
    ) -> Any:
        """Do what `call` does, with random numbers from a given generator.

        Args:
            inputs: batch of examples.
            training: whether to augment.
            seed: generator to draw from, by default the layer's own.

        Returns:
            The augmented batch, or `at_inference(inputs)` outside training.
        """
        self.check_inputs(inputs)
        if not training:
            return self.at_inference(inputs)
        return self.apply(inputs, self.draw(inputs, seed))

    def value_ranges(self, inputs: Any) -> list[tuple[Any, tuple[float, float]]]:
        """Return the tensors that the layer expects in a range of values, with that range.

        By default these are the inputs, if the layer has an attribute `value_range`.

        Args:
            inputs: batch of examples.

        Returns:
            Pairs of a tensor of `inputs` and `(low, high)`.
        """
        value_range = getattr(self, "value_range", None)
        return [] if value_range is None else [(inputs, tuple(value_range))]

    def call(self, inputs: Any, training: bool = True) -> Any:
        """Augment each example with its own random numbers."""
        if training and not self._has_seen_values:
            self._has_seen_values = True
            warn_of_values(self, inputs, "inputs")
        return self.transform(inputs, training)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shape of the output: by default that of the inputs."""
        return input_shape

    def compute_output_spec(self, inputs: Any, training: bool = True) -> Any:
        """Shape and dtype of the output, for symbolic calls."""
        return run_on_shapes(lambda x: self.transform(x, training), inputs)

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        return {**super().get_config(), "seed": self.seed}
