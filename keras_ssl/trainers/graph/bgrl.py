"""BGRL: predict what a slowly moving teacher says of the same node in another view."""

from typing import Any

import keras

from keras_ssl.layers import PredictionHead
from keras_ssl.ops.graph.inputs import read_graph
from keras_ssl.trainers.distillation.byol import BYOL
from keras_ssl.trainers.graph.graph_input import (
    GraphInput,
    as_rows,
    check_graph_views,
    check_node_features,
)
from keras_ssl.trainers.graph.node_weights import node_weights
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class BGRL(BYOL):
    r"""BGRL: bootstrapped graph latents.

    `trainers.BYOL` of nodes, without a projector. Of two random views of a graph the online
    encoder makes vectors of the nodes, `H_1`, `H_2`, and a predictor guesses from them, `Z = q(H)`,
    what the teacher (target encoder), whose weights are a moving average of the online encoder's,
    makes of the same nodes in the other view, `H'_2`, `H'_1`. No gradient flows into the teacher.
    Over N nodes, with a bar for vectors of length 1:

        L = -2/N Σ_i z̄_1i · h̄'_2i - 2/N Σ_i z̄_2i · h̄'_1i

    There are no negatives, so time and memory grow with the nodes and edges and not with the
    square of the nodes. In batch mode the mean is over the nodes of each graph, without its
    padding, then over graphs.

    Args:
        encoder: layer or model on graphs that gives a vector a node.
        projector: layer between encoder and predictor, with a teacher too. `None` means that there
            is none, as in the paper.
        predictor: layer `q`, as wide at its end as the encoder. `None` means
            `keras_ssl.layers.PredictionHead(512)`, as wide at its end as at its start.
        augment: layer that makes two views of a graph, such as
            `keras_ssl.augment.graph.GraphViews`.
        loss: loss of predictions and targets, called `loss(z, h, sample_weight=...)` on rows.
            `None` means `keras_ssl.losses.NegativeCosineSimilarity()`.
        momentum: how much of the teacher's weights stays at each step: a number in [0, 1), or a
            schedule. The paper's rises from 0.99 to 1:
            `keras_ssl.optimizers.cosine_momentum(0.99, steps)`.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: `[x, a]`, and what else graphs have; see `trainers.graph.GraphModel`.
        training: whether the encoder runs in training mode.

    Input shape:
        `x` is `(nodes, features)` or `(batch, nodes, features)`, `a` the adjacency in any form.

    Output shape:
        What the encoder gives: `(nodes, dim)` or `(batch, nodes, dim)`.

    Raises:
        TypeError: if a part is not a Keras object, or `momentum` neither number nor schedule.
        ValueError: if `momentum` is outside [0, 1); before the first step, if `augment` does not
            give two views, the encoder pools nodes, or predictor and encoder differ in width.

    Example:

    >>> import keras
    >>> from keras_ssl import augment, data, layers, networks, trainers
    >>> club = data.load_graph("karate_club")
    >>> trainer = trainers.BGRL(
    ...     networks.gcn((16, 8), dropout=0.0),
    ...     predictor=layers.PredictionHead(32),
    ...     augment=augment.graph.GraphViews(
    ...         [augment.graph.RandomEdgeDrop(0.2), augment.graph.RandomFeatureMask(0.2)]
    ...     ),
    ... )
    >>> trainer.compile(keras.optimizers.Adam(1e-3))
    >>> history = trainer.fit(data.single_graph(club), epochs=2, verbose=0)
    >>> (x, a), _ = next(iter(data.single_graph(club)))
    >>> trainer([x, a]).shape
    TensorShape([34, 8])

    Reference:
        - [Large-Scale Representation Learning on Graphs via Bootstrapping](
          https://arxiv.org/abs/2102.06514), Thakoor et al., 2021
    """

    input_kind = GraphInput()
    uses_sample_weight = True  # weights belong to the labels of nodes

    def __init__(
        self,
        encoder: keras.layers.Layer,
        projector: keras.layers.Layer | None = None,
        predictor: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        momentum: float | keras.optimizers.schedules.LearningRateSchedule = 0.99,
        **kwargs: Any,
    ):
        super().__init__(
            encoder,
            keras.layers.Identity() if projector is None else projector,
            PredictionHead(512) if predictor is None else predictor,
            augment,
            loss,
            momentum,
            **kwargs,
        )

    def check_views(self, views: Any) -> None:
        """Raise unless `views` are two graphs of the same nodes."""
        check_graph_views(self, views)

    def check_representation(self, features: Any) -> None:
        """Vectors of nodes are checked where their graph is at hand."""

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return predictions and the teacher's vectors of both views, and what nodes count."""
        embeddings = super().embed(batch, training)
        check_node_features(embeddings["representation"], batch.x[0])
        weights = node_weights(read_graph(batch.x))
        return embeddings if weights is None else {**embeddings, "weights": weights}

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the distance of predictions and targets, each of the other view's nodes."""
        embeddings = dict(embeddings)
        weights = embeddings.pop("weights", None)
        weights = None if weights is None else keras.ops.reshape(weights, (-1,))
        rows = {name: as_rows(one) for name, one in embeddings.items()}
        first = self.loss_function(rows["q_1"], rows["target_2"], sample_weight=weights)
        second = self.loss_function(rows["q_2"], rows["target_1"], sample_weight=weights)
        return {"regression": 2 * (first + second)}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised: those of `trainers.BYOL`."""
        return super().get_config()
