"""Projection and prediction heads: the MLPs between an encoder and a loss."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers._initializer_copy import initializer_copy
from keras_ssl.layers.normalization.sync_batch_normalization import SyncBatchNormalization
from keras_ssl.ops import l2_normalize


class _Pattern:
    """A layer to copy. A plain object, so that Keras does not track the layer as a part."""

    def __init__(self, layer: keras.layers.Layer):
        self._class = type(layer)
        self._config = layer.get_config()

    def copy(self, **changes: Any) -> keras.layers.Layer:
        return self._class.from_config({**self._config, **changes})


@keras.saving.register_keras_serializable(package="keras_ssl")
class ProjectionHead(keras.layers.Layer):
    """MLP on features: the projector or predictor of most methods.

    Each width is one dense layer. All but the last are followed by `normalization`, `activation`
    and dropout, the last only by `last_normalization`. With two layers:

        h = dropout(activation(normalization(W_1 x + b_1)))
        z = last_normalization(W_2 h + b_2)

    and optionally z is scaled to unit length. The head acts on the last axis, so it takes vectors,
    sequences, feature maps and volumes alike.

    Heads of published methods (`BN` is `SyncBatchNormalization`):

    - SimCLR: `ProjectionHead((2048, 128), last_normalization=True, use_bias=False)`
    - MoCo v2: `ProjectionHead((2048, 128), normalization=False)`
    - BYOL, projector and predictor: `ProjectionHead((4096, 256))`
    - SimSiam, projector: `ProjectionHead((2048, 2048, 2048),
      last_normalization=BN(center=False, scale=False))`
    - SimSiam, predictor: `ProjectionHead((512, 2048))`
    - Barlow Twins, VICReg: `ProjectionHead((8192, 8192, 8192), use_bias=False)`
    - DINO, before its prototypes: `ProjectionHead((2048, 2048, 256), normalization=False,
      activation="gelu", l2_normalize=True)`

    Args:
        widths: sequence of positive integers: units of each dense layer.
        normalization: normalization after each hidden dense layer: `True` for
            `SyncBatchNormalization()`, `False` for none, or a Keras layer, which is copied for
            each dense layer.
        last_normalization: the same for the last dense layer.
        activation: activation of the hidden layers.
        use_bias: whether dense layers have a bias. `None` means those without a normalization.
        dropout: float in [0, 1). Dropout rate of the hidden layers.
        l2_normalize: whether to scale the output vectors to length 1.
        kernel_initializer: initializer of the dense kernels. If it has a seed, the n-th dense
            layer uses the seed plus n - 1.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor of features.
        training: whether batch normalization and dropout run in training mode.

    Input shape:
        `(batch, ..., features)`.

    Output shape:
        `(batch, ..., widths[-1])`.

    Raises:
        TypeError: if a width is not an integer, or a normalization neither a bool nor a layer.
        ValueError: if `widths` is not a non-empty sequence of positive integers, or `dropout` is
            outside [0, 1).

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers import ProjectionHead
    >>> head = ProjectionHead((32, 8), l2_normalize=True)
    >>> head(np.ones((4, 16))).shape
    TensorShape([4, 8])

    Reference:
        - [Chen et al., SimCLR](https://arxiv.org/abs/2002.05709), section 4.2
        - [Chen et al., SimCLR v2](https://arxiv.org/abs/2006.10029), deeper heads
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
        self.widths = check_widths(widths)
        self.normalization = _as_pattern("normalization", normalization)
        self.last_normalization = _as_pattern("last_normalization", last_normalization)
        self.activation = keras.activations.get(activation)
        self.use_bias = use_bias
        self.dropout = checks.below_one("dropout", dropout)
        self.l2_normalize = bool(l2_normalize)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)

        self._steps = []
        for number, width in enumerate(self.widths, start=1):
            self._add_steps(number, width, is_last=number == len(self.widths))

    @property
    def steps(self) -> list[keras.layers.Layer]:
        """The layers that are called one after the other."""
        return list(self._steps)

    def _add_steps(self, number: int, width: int, is_last: bool) -> None:
        """Add a dense layer and what follows it."""
        pattern = self.last_normalization if is_last else self.normalization
        dtype = self.dtype_policy
        dense = keras.layers.Dense(
            width,
            use_bias=pattern is None if self.use_bias is None else self.use_bias,
            kernel_initializer=initializer_copy(self.kernel_initializer, number),
            dtype=dtype,
            name=f"dense_{number}",
        )
        self._steps.append(dense)
        if pattern is not None:
            self._steps.append(pattern.copy(name=f"normalization_{number}", dtype=dtype))
        if not is_last:
            self._steps.append(keras.layers.Activation(self.activation, dtype=dtype))
            if self.dropout > 0:
                self._steps.append(keras.layers.Dropout(self.dropout, dtype=dtype))

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        for step in self._steps:
            step.build(input_shape)
            input_shape = step.compute_output_shape(input_shape)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        x = inputs
        for step in self._steps:
            x = step(x)  # Keras passes `training` on
        if self.l2_normalize:
            x = ops.cast(l2_normalize(x), self.compute_dtype)
        return x

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.widths[-1])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "widths": list(self.widths),
            "normalization": _serialize(self.normalization),
            "last_normalization": _serialize(self.last_normalization),
            "activation": keras.activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "dropout": self.dropout,
            "l2_normalize": self.l2_normalize,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
        }


@keras.saving.register_keras_serializable(package="keras_ssl")
class PredictionHead(keras.layers.Layer):
    """MLP with one hidden layer whose output is as wide as its input.

        q(z) = W_2 activation(normalization(W_1 z)) + b_2

    It is the predictor that BYOL and SimSiam put after the student's projector: a `ProjectionHead`
    whose last width is that of the input.

    Args:
        width: positive integer: units of the hidden layer.
        normalization: as in `ProjectionHead`.
        activation: as in `ProjectionHead`.
        use_bias: as in `ProjectionHead`.
        kernel_initializer: as in `ProjectionHead`.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`.

    Call arguments:
        inputs: float tensor of embeddings.
        training: whether batch normalization runs in training mode.

    Input shape:
        `(batch, ..., dim)`.

    Output shape:
        `(batch, ..., dim)`.

    Raises:
        TypeError: if `width` is not an integer.
        ValueError: if `width` is not positive.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers import PredictionHead
    >>> PredictionHead(512)(np.ones((4, 16))).shape
    TensorShape([4, 16])

    Reference:
        - [Grill et al., BYOL](https://arxiv.org/abs/2006.07733): 4096 units
        - [Chen & He, SimSiam](https://arxiv.org/abs/2011.10566): 512 units, a quarter of `dim`
    """

    def __init__(
        self,
        width: int = 4096,
        normalization: bool | keras.layers.Layer = True,
        activation: Any = "relu",
        use_bias: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.supports_masking = True
        settings = {
            "normalization": normalization,
            "activation": activation,
            "use_bias": use_bias,
            "kernel_initializer": kernel_initializer,
        }
        # a head checks and serializes the arguments
        config = ProjectionHead((width,), **settings).get_config()
        self._settings = {name: config[name] for name in settings}
        # draw its seed at construction, as in any Keras layer, not when the layer is built
        self._kernel_initializer = keras.initializers.get(kernel_initializer)
        self.width = width

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.head = ProjectionHead.from_config(
            {
                **self._settings,
                "widths": [self.width, input_shape[-1]],
                "kernel_initializer": _with_drawn_seed(self._kernel_initializer),
                "dtype": self.dtype_policy,
            }
        )
        self.head.build(input_shape)

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        return self.head(inputs, training=training)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width, **self._settings}


def check_widths(widths: Sequence[int]) -> tuple[int, ...]:
    """Check a non-empty sequence of positive integers."""
    if not isinstance(widths, list | tuple) or not widths:
        raise ValueError(
            f"`widths` must be a non-empty sequence of positive integers. Received: widths={widths}"
        )
    return tuple(checks.integer(f"widths[{i}]", w, minimum=1) for i, w in enumerate(widths))


def _with_drawn_seed(initializer: Any) -> Any:
    """A copy whose config has the seed even if it was drawn at random."""
    if not isinstance(getattr(initializer, "seed", None), int):
        return initializer
    return type(initializer).from_config({**initializer.get_config(), "seed": initializer.seed})


def _as_pattern(name: str, value: Any) -> _Pattern | None:
    if isinstance(value, dict):
        value = keras.saving.deserialize_keras_object(value)
    if value is None or value is False:
        return None
    if value is True:
        value = SyncBatchNormalization()
    if not isinstance(value, keras.layers.Layer):
        raise TypeError(
            f"`{name}` must be True, False or a Keras layer to copy. "
            f"Received: {name}={value} of type {type(value)}"
        )
    return _Pattern(value)


def _serialize(pattern: _Pattern | None) -> Any:
    return False if pattern is None else keras.saving.serialize_keras_object(pattern.copy())
