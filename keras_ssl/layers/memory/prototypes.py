"""Learned prototypes of clusters."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.ops import l2_normalize


@keras.saving.register_keras_serializable(package="keras_ssl")
class Prototypes(keras.layers.Layer):
    r"""Cosine similarities of embeddings and learned prototypes.

    The prototypes `c_k` are the columns of the kernel. The score of an embedding `z` for each is

        s_k = (z / ||z||) · (c_k / ||c_k||)

    in [-1, 1], which losses over prototypes divide by a temperature. It is the last layer of
    DINO's head, whose weights are normalized, and that of SwAV, which also normalizes the columns
    themselves after each step (`kernel_constraint="unit_norm"`).

    Args:
        count: number of prototypes, at least 2.
        kernel_initializer: initializer of the prototypes. The default draws uniform directions.
        kernel_constraint: constraint of the prototypes, as in `keras.layers.Dense`. Axis 0 is that
            of the embeddings.
        **kwargs: arguments of `keras.layers.Layer`, such as `name` and `dtype`. Norms are computed
            in float32 whatever the policy, products in the policy's compute dtype.

    Call arguments:
        inputs: float tensor of embeddings of any norm. A zero vector has scores of 0.
        frozen: bool or scalar bool tensor: whether to stop the gradient of the prototypes, as in
            the first epoch of SwAV and DINO.

    Input shape:
        `(batch, ..., dim)`.

    Output shape:
        `(batch, ..., count)`.

    Raises:
        TypeError: if `count` is not an integer.
        ValueError: if `count` is below 2, or the last axis of the embeddings is unknown.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl.layers import Prototypes
    >>> prototypes = Prototypes(2, kernel_initializer="identity")
    >>> prototypes(np.array([[3.0, 4.0]], "float32")).numpy().round(3).tolist()
    [[0.6000000238418579, 0.800000011920929]]

    Reference:
        - [Caron et al., Unsupervised Learning of Visual Features by Contrasting Cluster
          Assignments](https://arxiv.org/abs/2006.09882)
        - [Caron et al., Emerging Properties in Self-Supervised Vision
          Transformers](https://arxiv.org/abs/2104.14294)
    """

    def __init__(
        self,
        count: int,
        kernel_initializer: Any = "random_normal",
        kernel_constraint: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        # with one prototype, all embeddings would have the same assignment
        self.count = checks.integer("count", count, minimum=2)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ValueError(
                "`inputs` must have shape (batch, ..., dim) with a known last axis. "
                f"Received: shape {tuple(input_shape)}"
            )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(input_shape[-1], self.count),
            initializer=self.kernel_initializer,
            constraint=self.kernel_constraint,
            autocast=False,
        )
        self.input_spec = keras.layers.InputSpec(min_ndim=2, axes={-1: input_shape[-1]})

    def call(self, inputs: Any, frozen: Any = False) -> Any:
        z = ops.cast(l2_normalize(inputs), self.compute_dtype)
        return ops.matmul(z, ops.cast(self._directions(frozen), self.compute_dtype))

    def _directions(self, frozen: Any) -> Any:
        """The kernel with columns of length 1."""
        kernel = ops.convert_to_tensor(self.kernel)
        if frozen is not False:
            kernel = ops.where(frozen, ops.stop_gradient(kernel), kernel)
        return ops.transpose(l2_normalize(ops.transpose(kernel)))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return (*input_shape[:-1], self.count)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "count": self.count,
            "kernel_initializer": keras.initializers.serialize(self.kernel_initializer),
            "kernel_constraint": keras.constraints.serialize(self.kernel_constraint),
        }
