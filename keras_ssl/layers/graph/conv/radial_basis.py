"""Distances as bumps on a line."""

from typing import Any

import keras
from keras import ops

from keras_ssl.layers.graph.conv._graph_conv import positive_integer
from keras_ssl.layers.graph.widened import widened


@keras.saving.register_keras_serializable(package="keras_ssl")
class RadialBasis(keras.layers.Layer):
    """Expand distances in Gaussians around equidistant centres.

        e_k(d) = exp(-gamma (d - mu_k)^2)

    A network on these numbers is close to no line at its start, as one on the distance itself
    would be. Computed in float32 or better.

    Args:
        centers: how many Gaussians there are, at least 2.
        start: mu_1, the first centre, in the unit of the distances.
        stop: the last centre.
        gamma: how narrow the Gaussians are; `None` for a standard deviation of the space between
            two centres, `1 / (2 space^2)`.
        **kwargs: `name`, `dtype` and the like of `keras.layers.Layer`.

    Call arguments:
        inputs: distances.

    Input shape:
        `(..., 1)`.

    Output shape:
        `(..., centers)`.

    Raises:
        ValueError: if `centers` is no integer of at least 2, `stop` not above `start`, `gamma` not
            positive, or the input has more than one feature.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers.graph import RadialBasis
    >>> RadialBasis(3, start=0.0, stop=2.0)(np.array([[1.0]])).numpy().round(2).tolist()[0]
    [0.61..., 1.0, 0.61...]

    Reference:

    - [Schütt et al., 2017](https://arxiv.org/abs/1706.08566)
    """

    def __init__(
        self,
        centers: int = 50,
        start: float = 0.0,
        stop: float = 5.0,
        gamma: float | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if positive_integer("centers", centers) < 2:
            raise ValueError(f"`centers` must be at least 2. Received: centers={centers}")
        if not stop > start:
            raise ValueError(
                f"`stop` must be greater than `start`. Received: start={start}, stop={stop}"
            )
        if gamma is not None and not gamma > 0:
            raise ValueError(f"`gamma` must be a positive number or None. Received: gamma={gamma}")
        self.centers = centers
        self.start = start
        self.stop = stop
        self.gamma = gamma

    def build(self, input_shape: Any) -> None:
        if input_shape[-1] != 1:
            raise ValueError(
                "Distances must be of shape (..., 1), one an edge. Received: shape "
                f"{tuple(input_shape)}"
            )

    def call(self, inputs: Any) -> Any:
        distances = widened(inputs)
        mu = ops.linspace(self.start, self.stop, self.centers, dtype=distances.dtype)
        space = (self.stop - self.start) / (self.centers - 1)
        gamma = 0.5 / space**2 if self.gamma is None else self.gamma
        return ops.cast(ops.exp(-gamma * ops.square(distances - mu)), self.compute_dtype)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.centers)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "centers": self.centers,
            "start": self.start,
            "stop": self.stop,
            "gamma": self.gamma,
        }
