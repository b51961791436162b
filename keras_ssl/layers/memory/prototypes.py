"""Directions that embeddings are compared with: cluster centres that are learned."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.ops import l2_normalize


@keras.saving.register_keras_serializable(package="keras_ssl")
class Prototypes(keras.layers.Layer):
    r"""Cosine similarities of embeddings and learned prototypes.

    With prototypes `c_k`, one a column of the kernel, the score of an embedding `z` for each is

        s_k = (z / ||z||) · (c_k / ||c_k||)

    In [-1, 1]: what the losses over prototypes divide by a temperature. The last layer of DINO's
    head, with its weights normalised to length 1, is this layer; so is SwAV's, which besides sets
    the columns themselves to length 1 after each step (`kernel_constraint="unit_norm"`).

    Args:
        count: how many prototypes, at least 2.
        kernel_initializer: of the prototypes. The default draws directions that are equally
            likely.
        kernel_constraint: what the optimizer does to the prototypes after a step, as in
            `keras.layers.Dense`; axis 0 is the embeddings'.
        **kwargs: `name`, `dtype` and the like of `keras.layers.Layer`. Lengths are computed in
            float32 whatever the policy, the products in the policy's compute dtype.

    Call arguments:
        inputs: embeddings, floating-point, of any length. A zero vector has scores of 0.
        frozen: bool, or scalar tensor of it: whether no gradient flows to the prototypes, as in
            the first epoch of SwAV and DINO.

    Input shape:
        `(batch, ..., dim)`.

    Output shape:
        `(batch, ..., count)`.

    Raises:
        TypeError: if `count` is no integer.
        ValueError: if `count` is below 2, or the embeddings' width is not known.

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
        # with one prototype all embeddings get the same assignment
        self.count = checks.integer("count", count, minimum=2)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.kernel_constraint = keras.constraints.get(kernel_constraint)
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Draw the prototypes."""
        if len(input_shape) < 2 or input_shape[-1] is None:
            raise ValueError(
                "The input must have shape (batch, ..., dim) with a known width. "
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
        """The prototypes at length 1, one a column."""
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
