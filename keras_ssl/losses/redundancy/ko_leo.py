"""KoLeo, the regulariser of DINOv2 that spreads features."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.losses._base import Float32Loss
from keras_ssl.losses._checks import check_matrix, is_single_example
from keras_ssl.ops import l2_normalize


def ko_leo(features: Any, epsilon: float = 1e-8) -> Any:
    """Kozachenko-Leonenko estimate of how concentrated features are, one value per example.

    With z_i the features of an example, scaled to length 1, and z_j those of all others of the
    batch, over all replicas:

        l(i) = -log max(min_j |z_i - z_j|, ε)

    Minimising it moves each vector away from its nearest neighbour, so that they spread over the
    sphere. Gradients flow to both. Vectors that are equal have a gradient of zero, since no
    direction leads away.

    Args:
        features: `(n, dim)`, floating-point. Normalised here.
        epsilon: ε, above 0.

    Returns:
        Tensor of shape `(n,)`, at least float32, from -log 2 on.

    Raises:
        ValueError: if `features` are not a matrix or of a single example over all replicas, or
            `epsilon` is not positive.
        TypeError: if `features` are not floating-point.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> opposite = np.array([[1, 0], [-3, 0]], "float32")
    >>> [round(float(value), 4) for value in losses.ko_leo(opposite)]  # -log 2
    [-0.6931, -0.6931]

    Reference:
        - [Sablayrolles et al., Spreading vectors for similarity
          search](https://arxiv.org/abs/1806.03198)
        - [Oquab et al., DINOv2](https://arxiv.org/abs/2304.07193)
    """
    epsilon = checks.positive("epsilon", epsilon)
    features = check_matrix(features, "features")
    if is_single_example(features):
        raise ValueError(
            "KoLeo compares examples: `features` must hold at least 2 over all replicas. "
            f"Received: features.shape={tuple(features.shape)}"
        )
    z = l2_normalize(features)
    # replicas exchange dense gradients only, into which TensorFlow turns those of a reshaped tensor
    everyone = ops.reshape(distribute.all_gather(z), (-1, z.shape[-1]))
    # orders neighbours as the distance does; the length of a vector is 1 or, of zeros, 0
    constant = ops.stop_gradient(everyone)
    nearness = ops.matmul(ops.stop_gradient(z), ops.transpose(constant))
    nearness = nearness - 0.5 * ops.sum(ops.square(constant), axis=-1)
    count = ops.shape(z)[0]
    own = ops.arange(count) + distribute.replica_index() * count
    others = ops.arange(ops.shape(everyone)[0])
    nearness = ops.where(own[:, None] == others[None], -4.0, nearness)
    neighbours = ops.take(everyone, ops.argmax(nearness, axis=-1), axis=0)
    # the difference itself, since 2 - 2 cos loses the digits of small distances
    squares = ops.sum(ops.square(z - neighbours), axis=-1)
    return -0.5 * ops.log(ops.maximum(squares, epsilon**2))


@keras.saving.register_keras_serializable(package="keras_ssl")
class KoLeo(Float32Loss):
    """Kozachenko-Leonenko regulariser, which spreads features over the sphere, as in DINOv2.

    See `keras_ssl.losses.ko_leo` for the formula, errors and references. The computation is in
    float32 under mixed precision. Under a `tf.distribute` strategy neighbours are those among all
    replicas (those of one in the authors' code), and the value is divided by the number of
    replicas, as with every Keras loss.

    Args:
        epsilon: float above 0, the smallest distance that is told from 0.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.

    Call arguments:
        features: `(batch, dim)`, floating-point.
        sample_weight: optional weights of the examples, `(batch,)`.

    Returns:
        The mean over the examples, or their `(batch,)` values with `reduction=None`.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import losses
    >>> round(float(losses.KoLeo()(np.eye(3, dtype="float32"))), 4)  # -log of the root of 2
    -0.3466
    """

    def __init__(self, epsilon: float = 1e-8, **kwargs: Any):
        super().__init__(**kwargs)
        self.epsilon = checks.positive("epsilon", epsilon)

    def __call__(self, features: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of features."""
        check_matrix(features, "features")  # before the cast, which would hide integers
        return super().__call__(features, features, sample_weight=sample_weight)

    def call(self, features: Any, _: Any) -> Any:
        """Return the values of the examples, before the reduction."""
        return ko_leo(features, self.epsilon)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "epsilon": self.epsilon}
