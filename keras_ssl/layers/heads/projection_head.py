"""The small network between an encoder and a loss: projector, predictor, head."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers._initializer_copy import initializer_copy
from keras_ssl.layers.normalization.sync_batch_normalization import SyncBatchNormalization
from keras_ssl.ops import l2_normalize


class _Pattern:
    """A layer to make copies of. Not itself a part of the head, so Keras must not track it."""

    def __init__(self, layer: keras.layers.Layer):
        self._class = type(layer)
        self._config = layer.get_config()

    def copy(self, **changes: Any) -> keras.layers.Layer:
        return self._class.from_config({**self._config, **changes})


@keras.saving.register_keras_serializable(package="keras_ssl")
class ProjectionHead(keras.layers.Layer):
    """A multi-layer perceptron on features: the projector or predictor of every method.

    Each width is one dense layer. All but the last are followed by `normalization`, `activation`
    and dropout; the last is followed by `last_normalization` only, and the output may be scaled
    to unit length:

        h = dropout(activation(normalization(W_1 x + b_1)))
        z = last_normalization(W_2 h + b_2)

    The heads of published methods, as arguments (`BN` is `SyncBatchNormalization`):

    - SimCLR: `ProjectionHead((2048, 128), last_normalization=True, use_bias=False)`
    - MoCo v2: `ProjectionHead((2048, 128), normalization=False)`
    - BYOL, projector and predictor: `ProjectionHead((4096, 256))`
    - SimSiam, projector: `ProjectionHead((2048, 2048, 2048),
      last_normalization=BN(center=False, scale=False))`
    - SimSiam, predictor: `ProjectionHead((512, 2048))`
    - Barlow Twins, VICReg: `ProjectionHead((8192, 8192, 8192), use_bias=False)`
    - DINO, up to its prototypes: `ProjectionHead((2048, 2048, 256), normalization=False,
      activation="gelu", l2_normalize=True)`

    Args:
        widths: sequence of positive integers: units of each dense layer, the output's last.
        normalization: what follows each hidden dense layer. `True` is
            `SyncBatchNormalization()`, `False` nothing; a Keras layer is a pattern, of which
            each dense layer gets a copy.
        last_normalization: the same for the last dense layer.
        activation: activation of the hidden layers: a Keras name or a callable.
        use_bias: whether dense layers have a bias. `None`: those that no normalisation follows.
        dropout: float in [0, 1). Share of hidden units dropped at training.
        l2_normalize: whether to scale each output vector to length 1.
        kernel_initializer: initializer of the dense kernels. Of one with a seed, the n-th dense
            layer gets a copy with the seed plus n - 1.
        **kwargs: `name`, `dtype` and the like of `keras.layers.Layer`.

    Call arguments:
        inputs: float tensor of features.
        training: whether batch normalisation and dropout run in training mode.

    Input shape:
        `(batch, ..., features)`; the head acts on the last axis.

    Output shape:
        `(batch, ..., widths[-1])`.

    Raises:
        ValueError: if `widths` is empty or holds anything but positive integers, or
            if `dropout` is outside [0, 1).
        TypeError: if a normalisation is neither a bool nor a Keras layer.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers import ProjectionHead
    >>> head = ProjectionHead((32, 8), l2_normalize=True)
    >>> head(np.ones((4, 16))).shape
    TensorShape([4, 8])

    Reference:

    - [Chen et al., 2020](https://arxiv.org/abs/2002.05709) (SimCLR), section 4.2
    - [Chen et al., 2020](https://arxiv.org/abs/2006.10029) (SimCLR v2), deeper heads
    """

    def __init__(
        self,
        widths: Sequence[int] = (2048, 128),
        normalization: bool | keras.layers.Layer = True,
        last_normalization: bool | keras.layers.Layer = False,
        activation: Any = "relu",
        use_bias: bool | None = None,
        dropout: float = 0.0,
        l2_normalize: bool = False,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        self.widths = checked_widths(widths)
        self.normalization = _checked_pattern(normalization, "normalization")
        self.last_normalization = _checked_pattern(last_normalization, "last_normalization")
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.dropout = checks.below_one("dropout", dropout)
        self.l2_normalize = bool(l2_normalize)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

        self._steps = []
        for number, width in enumerate(self.widths, start=1):
            last = number == len(self.widths)
            self._steps += self._dense_steps(number, width, last)

    def _dense_steps(self, number: int, width: int, last: bool) -> list[keras.layers.Layer]:
        """The layers that one width stands for."""
        pattern = self.last_normalization if last else self.normalization
        dtype = self.dtype_policy
        steps = [
            keras.layers.Dense(
                width,
                use_bias=pattern is None if self.use_bias is None else self.use_bias,
                kernel_initializer=initializer_copy(self.kernel_initializer, number),
                dtype=dtype,
                name=f"dense_{number}",
            )
        ]
        if pattern is not None:
            steps.append(pattern.copy(name=f"normalization_{number}", dtype=dtype))
        if not last:
            steps.append(keras.layers.Activation(self.activation, dtype=dtype))
            if self.dropout > 0:
                steps.append(keras.layers.Dropout(self.dropout, dtype=dtype))
        return steps

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        for step in self._steps:
            step.build(input_shape)
            input_shape = step.compute_output_shape(input_shape)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        x = inputs
        for step in self._steps:
            # `training` reaches those that take it through Keras' call context
            x = step(x)
        if self.l2_normalize:
            x = ops.cast(l2_normalize(x), self.compute_dtype)
        return x

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.widths[-1])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "widths": list(self.widths),
            "normalization": _serialized(self.normalization),
            "last_normalization": _serialized(self.last_normalization),
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "dropout": self.dropout,
            "l2_normalize": self.l2_normalize,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


def checked_widths(widths: Sequence[int]) -> tuple[int, ...]:
    """Return the widths of dense layers as a tuple.

    Args:
        widths: list or tuple of positive integers.

    Raises:
        ValueError: if it is empty or holds anything else.

    Example:

    >>> from keras_ssl.layers.heads.projection_head import checked_widths
    >>> checked_widths([2048, 128])
    (2048, 128)
    """
    if not isinstance(widths, list | tuple) or not widths:
        raise ValueError(
            "Argument `widths` must be a non-empty sequence of positive integers. "
            f"Received: widths={widths}"
        )
    return tuple(checks.integer(f"widths[{i}]", w, minimum=1) for i, w in enumerate(widths))


def _checked_pattern(value: Any, argument: str) -> _Pattern | None:
    if isinstance(value, dict):
        value = keras.saving.deserialize_keras_object(value)
    if value is None or value is False:
        return None
    if value is True:
        value = SyncBatchNormalization()
    if not isinstance(value, keras.layers.Layer):
        raise TypeError(
            f"Argument `{argument}` must be True, False or a Keras layer to copy. "
            f"Received: {argument}={value} of type {type(value)}"
        )
    return _Pattern(value)


def _serialized(pattern: _Pattern | None) -> Any:
    return False if pattern is None else keras.saving.serialize_keras_object(pattern.copy())
