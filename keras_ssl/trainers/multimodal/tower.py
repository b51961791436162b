"""One of two towers: an encoder, and the map of its features to a shared space."""

from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.ops import l2_normalize
from keras_ssl.ops.pixels import pixels_as_floats
from keras_ssl.trainers.checks import check_features, check_type
from keras_ssl.trainers.parts import serialize_parts


@keras.saving.register_keras_serializable(package="keras_ssl")
class Tower(keras.Model):
    """Encoder of one modality and a linear map of its features to a space of several modalities.

    The output has unit length, so that products of the outputs of two towers are cosines.

    Args:
        encoder: `keras.Model` or layer that maps a batch to `(batch, features)`.
        width: width of the shared space, or `None` to leave the features as they are.
        **kwargs: `name`, `dtype` and other arguments of `keras.Model`.

    Call arguments:
        inputs: a batch of what the encoder takes.
        training: whether the encoder runs in training mode.

    Input shape:
        What the encoder takes: any structure of tensors. Images of integers are cast to float32.

    Output shape:
        `(batch, width)`, of unit length.

    Raises:
        TypeError: if `encoder` is no layer.
        ValueError: if `width` is not positive, or the encoder does not return one vector per
            example.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import networks, trainers
    >>> tower = trainers.Tower(networks.small_resnet((28, 28, 1), width=8), width=16)
    >>> tower(np.ones((2, 28, 28, 1))).shape
    TensorShape([2, 16])
    """

    def __init__(self, encoder: keras.layers.Layer, width: int | None = 512, **kwargs: Any):
        super().__init__(**kwargs)
        check_type("encoder", encoder, keras.layers.Layer)
        self.encoder = encoder
        self.width = checks.integer("width", width, minimum=1, optional=True)
        self.projection = None
        if width is not None:
            self.projection = keras.layers.Dense(
                width, use_bias=False, name="projection", dtype=self.dtype_policy
            )

    def build(self, input_shape: Any) -> None:
        """Create the weights for inputs of a shape, or of a structure of shapes."""
        if not self.encoder.built:
            self.encoder.build(input_shape)
        if self.projection is not None and not self.projection.built:
            self.projection.build(self.encoder.compute_output_shape(input_shape))
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        """Return vectors of unit length."""
        features = self.encoder(pixels_as_floats(inputs), training=training)
        return l2_normalize(self.project(features))

    def project(self, features: Any) -> Any:
        """Return the vectors of features, not normalised.

        Args:
            features: what the encoder returned, `(batch, features)`.
        """
        check_features(features)
        return features if self.projection is None else self.projection(features)

    def get_config(self) -> dict:
        """Return the constructor's arguments, the encoder serialised."""
        parts = serialize_parts(encoder=self.encoder)
        return {**keras.layers.Layer.get_config(self), **parts, "width": self.width}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "Tower":
        """Make the tower that `config` describes."""
        return cls(**keras.saving.deserialize_keras_object(config, custom_objects=custom_objects))
