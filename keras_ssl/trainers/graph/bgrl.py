"""BGRL: prediction of an EMA teacher's vectors of the same nodes in another view."""

from typing import Any

import keras

from keras_ssl.layers import PredictionHead
from keras_ssl.ops.graph.inputs import read_graph
from keras_ssl.trainers.distillation.byol import BYOL
from keras_ssl.trainers.graph._nodes import as_rows, node_weights
from keras_ssl.trainers.graph.graph_input import (
    GraphInput,
    check_graph_views,
    check_node_features,
)
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class BGRL(BYOL):
    r"""BGRL: bootstrapped graph latents.

    `trainers.BYOL` on nodes, without a projector. The encoder maps two random views of a graph to
    vectors of the nodes, `H_1` and `H_2`. From these, a predictor `Z = q(H)` predicts the vectors
    `H'_2` and `H'_1` of the same nodes in the other view, computed by a teacher (target encoder)
    whose weights are a moving average of the encoder's. No gradient flows into the teacher. Over N
    nodes, where a bar denotes vectors normalized to length 1:

        L = -2/N Σ_i z̄_1i · h̄'_2i - 2/N Σ_i z̄_2i · h̄'_1i

    There are no negatives, so time and memory grow with the number of nodes and edges, not with
    the square of the nodes. In batch mode the mean is over the nodes of each graph, without
    padding, then over graphs.

    Args:
        encoder: layer or model on graphs that returns one vector per node.
        projector: layer between encoder and predictor, which the teacher has too. `None` means no
            projector, as in the paper.
        predictor: layer `q` whose output is as wide as the encoder's. `None` means
            `keras_ssl.layers.PredictionHead(512)`, whose output is as wide as its input.
        augment: layer that returns two views of a graph, such as
            `keras_ssl.augment.graph.GraphViews`.
        loss: loss of predictions and targets, called `loss(z, h, sample_weight=...)` on rows.
            `None` means `keras_ssl.losses.NegativeCosineSimilarity()`.
        momentum: momentum of the teacher's moving average: a number in [0, 1), or a schedule. The
            paper's rises from 0.99 to 1:
            `keras_ssl.optimizers.cosine_momentum(0.99, steps)`.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: `[x, a]` and optional parts of a graph; see `trainers.graph.GraphModel`.
        training: whether the encoder runs in training mode.

    Input shape:
        `x` is `(nodes, features)` or `(batch, nodes, features)`, `a` the adjacency in any form.

    Output shape:
        The encoder's: `(nodes, dim)` or `(batch, nodes, dim)`.

    Raises:
        TypeError: if a part is not a Keras object, or `momentum` neither a number nor a schedule.
        ValueError: if `momentum` is outside [0, 1); before the first step, if `augment` does not
            return two views, the encoder pools nodes, or predictor and encoder differ in width.

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
        - [Thakoor et al., Large-Scale Representation Learning on Graphs via Bootstrapping](
          https://arxiv.org/abs/2102.06514)
    """

    input_kind = GraphInput(mean_over="rows")
    uses_sample_weight = True  # weights belong to the labels of nodes
    learns_from = "graphs"

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
        """Raise a `ValueError` unless `views` are two graphs with the same nodes."""
        check_graph_views(self, views)

    def check_representation(self, features: Any) -> None:
        """Accept any shape; `embed` checks vectors of nodes."""

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return predictions and the teacher's vectors of both views, and weights of the nodes."""
        embeddings = super().embed(batch, training)
        check_node_features(embeddings["representation"], batch.x[0])
        weights = node_weights(read_graph(batch.x))
        return embeddings if weights is None else {**embeddings, "weights": weights}

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the loss of predictions and targets of the other view."""
        embeddings = dict(embeddings)
        weights = embeddings.pop("weights", None)
        weights = None if weights is None else keras.ops.reshape(weights, (-1,))
        rows = {name: as_rows(one) for name, one in embeddings.items()}
        first = self.loss_function(rows["q_1"], rows["target_2"], sample_weight=weights)
        second = self.loss_function(rows["q_2"], rows["target_1"], sample_weight=weights)
        return {"regression": 2 * (first + second)}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return super().get_config()
