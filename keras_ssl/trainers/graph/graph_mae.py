"""GraphMAE: reconstruction of the features of masked nodes."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.layers.tokens.mask_token import MaskToken
from keras_ssl.losses import ScaledCosineError
from keras_ssl.ops import at_least_float32
from keras_ssl.ops.graph.inputs import GraphInputs, read_graph, take_nodes
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.graph._nodes import as_rows, call_on_nodes, scaled_to_mean
from keras_ssl.trainers.graph.graph_input import GraphInput, check_node_features
from keras_ssl.trainers.graph.graph_model import GraphModel
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class GraphMAE(GraphModel):
    r"""GraphMAE: a masked autoencoder of the features of nodes.

    A fixed share V of the nodes of each graph is masked: their features are replaced by a learned
    token. The graph is encoded, the encoder's vectors of masked nodes are set to zero ("re-mask"),
    and a decoder, again a layer on graphs, reconstructs their features from their neighbours:

        H = f(X̃, A),    Z = d(remask(H), A)
        L = 1/|V| Σ_{i in V} (1 - cos(z_i, x_i))^γ

    The mean is over the masked nodes of each graph, then over graphs; a disjoint union counts as
    one graph. The representation is the encoder's output for the unmasked graph.

    Args:
        encoder: layer or model on graphs `f` that returns one vector per node.
        decoder: layer `d` on graphs, such as `layers.graph.GCNConv`, with as many channels as nodes
            have features. The paper's linear map between encoder and decoder is a dense layer at
            its start: `GraphSequential([Dense(512, use_bias=False), GCNConv(1433)])`.
        mask_rate: share of the nodes that are masked, above 0 and at most 1.
        replace_rate: share of the masked nodes, in [0, 1], that get the features of another node
            instead of the token, so that the encoder also learns from inputs without tokens.
        loss: loss of reconstructed and true features whose `call` returns one value per row.
            `None` means `keras_ssl.losses.ScaledCosineError(gamma=2.0)`.
        seed: integer seed of the masks.
        **kwargs: `augment`, a layer that maps a graph to a graph before masking; `name`, `dtype` of
            the model.

    Call arguments:
        x: `[x, a]` and optional parts of a graph; see `trainers.graph.GraphModel`.
        training: whether the encoder runs in training mode.

    Input shape:
        `x` is `(nodes, features)` or `(batch, nodes, features)`, `a` the adjacency in any form.
        Sparse features are converted to dense ones.

    Output shape:
        The encoder's: `(nodes, dim)` or `(batch, nodes, dim)`.

    Raises:
        TypeError: if a part is not a Keras object, or a rate not a number.
        ValueError: if a rate is out of range; before the first step, if the data is not a graph or
            has no edges, the encoder pools nodes, or the decoder has the wrong number of channels.

    Example:

    >>> import keras
    >>> from keras_ssl import data, layers, networks, trainers
    >>> club = data.load_graph("karate_club")
    >>> trainer = trainers.GraphMAE(
    ...     networks.gcn((16, 8), dropout=0.0),
    ...     decoder=layers.graph.GCNConv(34, normalize=True),
    ... )
    >>> trainer.compile(keras.optimizers.Adam(1e-3))
    >>> history = trainer.fit(data.single_graph(club), epochs=2, verbose=0)
    >>> (x, a), _ = next(iter(data.single_graph(club)))
    >>> trainer([x, a]).shape
    TensorShape([34, 8])

    Reference:
        - [Hou et al., GraphMAE: Self-Supervised Masked Graph Autoencoders](
          https://arxiv.org/abs/2205.10803)
    """

    # without edges, there are no neighbours to reconstruct a node from
    input_kind = GraphInput(needs_edges=True, mean_over="rows")

    def __init__(
        self,
        encoder: keras.layers.Layer,
        decoder: keras.layers.Layer,
        mask_rate: float = 0.5,
        replace_rate: float = 0.0,
        loss: keras.losses.Loss | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(encoder, **kwargs)
        check_type("decoder", decoder, keras.layers.Layer)
        self.loss_function = ScaledCosineError() if loss is None else loss
        check_type("loss", self.loss_function, keras.losses.Loss)
        checks.positive("mask_rate", mask_rate, maximum=1)
        checks.probability("replace_rate", replace_rate)
        self.decoder = decoder
        self.mask_rate = mask_rate
        self.replace_rate = replace_rate
        self.mask_token = MaskToken()
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the error of each node, weighted so that the mean is over the masked nodes."""
        graph = read_graph(batch.views)
        x = ops.convert_to_tensor(graph.x, sparse=False)
        is_masked, is_replaced, others = self._draw_masks(x, graph)
        seen = self.mask_token([x, is_masked])
        seen = ops.where(ops.expand_dims(is_replaced, -1), take_nodes(x, others), seen)

        h = self.encoder((seen, *batch.views[1:]), training=training)
        check_node_features(h, x)
        h = ops.where(ops.expand_dims(is_masked, -1), ops.zeros_like(h), h)
        z = call_on_nodes(self.decoder, h, batch.views)
        if z.shape[-1] != x.shape[-1]:
            raise ValueError(
                f"`decoder` must return the {x.shape[-1]} features of the nodes. "
                f"Received: {z.shape[-1]} channels"
            )
        z, x = (as_rows(at_least_float32(one)) for one in (z, x))
        errors = ops.reshape(self.loss_function.call(z, x), ops.shape(is_masked))
        weights = scaled_to_mean(ops.cast(is_masked, "float32"))
        return {"reconstruction": errors * weights}

    def _draw_masks(self, x: Any, graph: GraphInputs) -> tuple[Any, Any, Any]:
        """Draw which nodes are masked, which of these are replaced, and by which nodes."""
        shape = [ops.shape(x)[n] if size is None else size for n, size in enumerate(x.shape[:-1])]
        uniform = distribute.draw_per_example(
            lambda rows: keras.random.uniform(
                (rows, *shape[1:], 2), dtype="float32", seed=self.seed_generator
            ),
            shape[0],
        )
        is_node = ops.ones(shape, "bool")
        if graph.mask is not None:
            is_node = ops.cast(graph.mask, "bool")
        if graph.i is not None:
            is_node = ops.logical_and(is_node, graph.i >= 0)
        # nodes in random order, padding after them
        order = ops.argsort(
            uniform[..., 0] + 2.0 * ops.cast(ops.logical_not(is_node), "float32"), axis=-1
        )
        place = ops.argsort(order, axis=-1)
        nodes = ops.sum(ops.cast(is_node, "float32"), axis=-1, keepdims=True)
        masked = ops.maximum(ops.floor(self.mask_rate * nodes + 0.5), 1.0)
        replaced = ops.floor(self.replace_rate * masked + 0.5)
        place = ops.cast(place, "float32")
        is_masked = ops.logical_and(place < masked, is_node)
        is_replaced = ops.logical_and(place < replaced, is_node)
        others = ops.cast(ops.floor(uniform[..., 1] * nodes), "int32")
        others = ops.minimum(others, shape[-1] - 1)
        return is_masked, is_replaced, ops.take_along_axis(order, others, axis=-1)

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(decoder=self.decoder, loss=self.loss_function)
        own = {"mask_rate": self.mask_rate, "replace_rate": self.replace_rate, "seed": self.seed}
        return {**super().get_config(), **parts, **own}
