"""Layers applied one after another."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_ssl.augment._value_range import keeps_range, ranges_of_chain
from keras_ssl.augment.augmentation import Augmentation


@keras.saving.register_keras_serializable(package="keras_ssl")
class Pipeline(Augmentation):
    """Layers applied one after another, to any structure of tensors.

    Other than in `keras.layers.Pipeline`, all augmentation layers of this package draw from the
    seed of the pipeline, so that one `seed` fixes them all. Layers from elsewhere draw from their
    own seeds. For images, `FusedPipeline` computes the same with fewer passes.

    Args:
        layers: a Keras layer or a list of them, each called on what the one before returned.
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: batch of examples: a tensor, or a nested structure of them.
        training: whether to augment.

    Input shape:
        What the first layer takes.

    Output shape:
        What the last layer returns.

    Raises:
        TypeError: if `layers` holds anything but Keras layers.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> pipeline = augment.Pipeline(
    ...     [augment.sequence.RandomTimeCrop(80), augment.sequence.RandomJitter(0.05)], seed=0
    ... )
    >>> pipeline(np.zeros((8, 100, 3), "float32")).shape
    TensorShape([8, 80, 3])
    """

    def __init__(
        self,
        layers: keras.layers.Layer | Sequence[keras.layers.Layer],
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed=seed, **kwargs)
        self.layers = as_layers(layers)

    def build(self, input_shape: Any) -> None:
        """Build each layer for the shape that reaches it."""
        for layer in self.layers:
            if not layer.built:
                layer.build(input_shape)
            input_shape = shape_after(layer, input_shape)
        self.built = True

    def transform(self, inputs: Any, training: bool, seed: Any = None) -> Any:
        """Apply the layers, with random numbers from one generator."""
        seed = self.seed_generator if seed is None else seed
        for layer in self.layers:
            if isinstance(layer, Augmentation):
                inputs = layer.transform(inputs, training, seed)
            else:
                inputs = layer(inputs)
        return inputs

    @property
    def keeps_range(self) -> bool:
        """Whether all layers do."""
        return all(keeps_range(layer) for layer in self.layers)

    def value_ranges(self, inputs: Any) -> list:
        """Those of the layers, up to the first that may change the range."""
        return ranges_of_chain(self.layers, inputs)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shape of what the last layer returns."""
        for layer in self.layers:
            input_shape = shape_after(layer, input_shape)
        return input_shape

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.layers]
        return {**super().get_config(), "layers": layers}

    @classmethod
    def from_config(cls, config: dict) -> "Pipeline":
        """Make the pipeline from the result of `get_config`."""
        layers = [keras.saving.deserialize_keras_object(layer) for layer in config["layers"]]
        return cls(**{**config, "layers": layers})


def as_layers(layers: Any) -> list[keras.layers.Layer]:
    """A layer or a list of layers as a list; raises for anything else."""
    layers = list(layers) if isinstance(layers, list | tuple) else [layers]
    for layer in layers:
        if not isinstance(layer, keras.layers.Layer):
            raise TypeError(
                "`layers` must be a Keras layer or a list of Keras layers. "
                f"Received: {layer!r} of type {type(layer).__name__}"
            )
    return layers


def shape_after(layer: keras.layers.Layer, input_shape: Any) -> Any:
    """The shape behind a layer; a layer that does not say is taken to keep it."""
    try:
        return layer.compute_output_shape(input_shape)
    except NotImplementedError:
        return input_shape
