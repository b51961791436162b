"""GRACE: contrastive learning of the nodes of two views of a graph."""

from typing import Any

import keras

from keras_ssl.layers import ProjectionHead
from keras_ssl.losses import NTXent
from keras_ssl.trainers.graph._nodes import as_rows
from keras_ssl.trainers.graph.graph_input import (
    GraphInput,
    check_graph_views,
    check_node_features,
)
from keras_ssl.trainers.joint_embedding import JointEmbedding
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class GRACE(JointEmbedding):
    r"""GRACE: deep graph contrastive representation learning.

    An encoder maps two random views of a graph, with edges dropped and features masked, to
    `U = f(X̃_1, Ã_1)` and `V = f(X̃_2, Ã_2)`, and a projector `g` follows. A node's vectors in both
    views are a positive pair; all other nodes, in both views, are its negatives. With θ(u, v) the
    cosine similarity of `g(u)` and `g(v)`:

        l(u_i, v_i) = -log( exp(θ(u_i, v_i) / τ)
                            / (Σ_k exp(θ(u_i, v_k) / τ) + Σ_{k ≠ i} exp(θ(u_i, u_k) / τ)) )

    The loss is the mean of l(u_i, v_i) and l(v_i, u_i) over all nodes: NT-Xent with nodes in place
    of images. In a batch or a union, the nodes of all graphs are negatives.

    Args:
        encoder: layer or model on graphs `f` that returns one vector per node, such as
            `networks.gcn((256, 128))`.
        projector: layer `g`. `None` means `keras_ssl.layers.ProjectionHead((128, 128),
            normalization=False, activation="elu")`, the paper's for Cora.
        augment: layer that returns two views of a graph, such as
            `keras_ssl.augment.graph.GraphViews`.
        loss: loss of the two projected views, called `loss(z_1, z_2)` on rows. `None` means
            `keras_ssl.losses.NTXent(temperature=0.4)`. For graphs with more than about ten
            thousand nodes, `NTXent(chunk_size=2048)` avoids the full matrix of similarities.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: `[x, a]` and optional parts of a graph; see `trainers.graph.GraphModel`.
        training: whether the encoder runs in training mode.

    Input shape:
        `x` is `(nodes, features)` or `(batch, nodes, features)`, `a` the adjacency in any form.

    Output shape:
        The encoder's: `(nodes, dim)` or `(batch, nodes, dim)`.

    Raises:
        TypeError: if a part is not a Keras object.
        ValueError: before the first step, if `augment` does not return two views, the encoder
            pools nodes, or graphs are padded (in disjoint mode, in the first batch), since padded
            nodes would be negatives.

    Example:

    >>> import keras
    >>> from keras_ssl import augment, data, networks, trainers
    >>> club = data.load_graph("karate_club")
    >>> trainer = trainers.GRACE(
    ...     networks.gcn((16, 8)),
    ...     augment=augment.graph.GraphViews(
    ...         [augment.graph.RandomEdgeDrop(0.2), augment.graph.RandomFeatureMask(0.3)]
    ...     ),
    ... )
    >>> trainer.compile(keras.optimizers.Adam(1e-3))
    >>> history = trainer.fit(data.single_graph(club), epochs=2, verbose=0)
    >>> (x, a), _ = next(iter(data.single_graph(club)))
    >>> trainer([x, a]).shape
    TensorShape([34, 8])

    Reference:
        - [Zhu et al., Deep Graph Contrastive Representation Learning](
          https://arxiv.org/abs/2006.04131)
    """

    input_kind = GraphInput(takes_padding=False, mean_over="nodes")
    uses_sample_weight = True  # weights belong to the labels of nodes
    learns_from = "graphs"

    def __init__(
        self,
        encoder: keras.layers.Layer,
        projector: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        **kwargs: Any,
    ):
        if projector is None:
            projector = ProjectionHead((128, 128), normalization=False, activation="elu")
        loss = NTXent(temperature=0.4) if loss is None else loss
        super().__init__(encoder, projector, augment, loss, **kwargs)

    def check_views(self, views: Any) -> None:
        """Raise a `ValueError` unless `views` are two unpadded graphs with the same nodes."""
        check_graph_views(self, views)

    def check_representation(self, features: Any) -> None:
        """Accept any shape; `embed` checks vectors of nodes."""

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the projections of both views, and the encoder's output for the first."""
        (h_1, z_1), (_, z_2) = (self.project(view, training) for view in batch.views)
        check_node_features(h_1, batch.views[0][0])
        return {"z_1": z_1, "z_2": z_2, "representation": h_1}

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the contrastive loss of the nodes of all graphs."""
        z_1, z_2 = (as_rows(embeddings[name]) for name in ("z_1", "z_2"))
        return {"contrastive": self.loss_function(z_1, z_2)}

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return super().get_config()
