"""SchNet's activation."""

import math
from typing import Any

import keras


@keras.saving.register_keras_serializable(package="keras_ssl")
def shifted_softplus(x: Any) -> Any:
    """Softplus that is 0 at 0: `ln(exp(x) / 2 + 1 / 2)`.

    Args:
        x: tensor.

    Returns:
        The shape of `x`.

    Example:

    >>> from keras_ssl.layers.graph import shifted_softplus
    >>> float(shifted_softplus(0.0))
    0.0

    Reference:

    - [Schütt et al., 2017](https://arxiv.org/abs/1706.08566)
    """
    return keras.ops.softplus(x) - math.log(2.0)
