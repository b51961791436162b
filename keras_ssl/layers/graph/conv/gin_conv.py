"""The graph isomorphism layer of Xu et al."""

from typing import Any

import keras

from keras_ssl import checks
from keras_ssl.layers.graph.conv.message_passing import MessagePassing
from keras_ssl.layers.graph.graph_layer import check_layer, mask_of_nodes, shapes_of_inputs
from keras_ssl.layers.graph.node_mask import with_mask
from keras_ssl.ops.graph.edges import connect, target_nodes


@keras.saving.register_keras_serializable(package="keras_ssl")
class GINConv(MessagePassing):
    r"""Graph isomorphism layer: an MLP applied to the sum over each node and its neighbors.

        h_i' = activation(MLP((1 + ε) h_i + sum_j a_ij h_j))

    A sum distinguishes neighborhoods that have the same mean or maximum, which makes the layer as
    powerful as the Weisfeiler-Lehman test.

    Args:
        mlp: Keras layer applied to node features, such as `layers.ProjectionHead` or
            `keras.Sequential`, with its own dtype. Its batch normalization ignores masked nodes.
        epsilon: ε, or its initial value if it is learned.
        learn_epsilon: whether ε is learned, as in the paper's GIN-ε. `False` with ε = 0 is GIN-0.
        activation: activation function of the output.
        **kwargs: `aggregation` instead of "sum"; `name`, `dtype` and other arguments of
            `keras.layers.Layer`.

    Call arguments:
        inputs: `[x, a]`, or `[[x_source, x_target], a]` with as many features of both. `a` as in
            `layers.graph.MessagePassing`.
        mask: `[mask of x, ...]`, as passed by Keras; `(batch, nodes)`.

    Input shape:
        As `layers.graph.MessagePassing`.

    Output shape:
        `(..., nodes, channels)`, with as many channels as the output of `mlp`.

    Raises:
        TypeError: if `mlp` is not a Keras layer, or `epsilon` not a number.
        ValueError: if shapes do not match.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.layers import ProjectionHead
    >>> from keras_ssl.layers.graph import GINConv
    >>> a = np.array([[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]])
    >>> GINConv(ProjectionHead((16, 8)), activation="relu")([np.ones((3, 2)), a]).shape
    TensorShape([3, 8])

    Reference:
        - [Xu et al., 2019](https://arxiv.org/abs/1810.00826)
    """

    def __init__(
        self,
        mlp: keras.layers.Layer,
        epsilon: float = 0.0,
        learn_epsilon: bool = True,
        activation: Any = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        check_layer("mlp", mlp)
        self.mlp = mlp
        self.initial_epsilon = checks.number("epsilon", epsilon)
        self.learn_epsilon = bool(learn_epsilon)
        self.activation = keras.activations.get(activation)

    def build(self, input_shape: Any) -> None:
        super().build(input_shape)
        x = target_nodes(shapes_of_inputs(input_shape)[0])
        if not self.mlp.built:  # independent of the number of nodes
            self.mlp.build((*(None for _ in x[:-1]), x[-1]))
        self.epsilon = self.initial_epsilon
        if self.learn_epsilon:
            self.epsilon = self.add_weight(
                shape=(),
                initializer=keras.initializers.Constant(self.initial_epsilon),
                name="epsilon",
            )

    def build_nodes(self, features: Any, edge_features: int | None = None) -> None:
        if self.is_bipartite and features[0] != features[1]:
            raise ValueError(
                "`GINConv` adds sources to targets, so both must have as many features. Received: "
                f"{features[0]} features of sources, {features[1]} of targets"
            )

    def call(self, inputs: Any, mask: Any = None) -> Any:
        x, a, e = self.split_inputs(inputs)
        h = self.propagate(x, connect(x, a), e)
        h = with_mask(h, mask_of_nodes(mask), self.mlp)
        return self.activation(keras.ops.cast(self.mlp(h), self.compute_dtype))

    def update(self, x: Any, aggregated: Any) -> Any:
        return (1.0 + self.epsilon) * x + aggregated

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        x = target_nodes(shapes_of_inputs(input_shape)[0])
        return tuple(self.mlp.compute_output_shape(x))

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "mlp": keras.saving.serialize_keras_object(self.mlp),
            "epsilon": self.initial_epsilon,
            "learn_epsilon": self.learn_epsilon,
            "activation": keras.activations.serialize(self.activation),
        }
