"""What methods share that compare the nodes of two views of a graph."""

from typing import Any

import keras
from keras import ops

from keras_ssl.trainers.graph.graph_model import GraphModel, check_graph
from keras_ssl.trainers.graph.node_features import check_node_features


class NodeViews(GraphModel):
    """Mix-in for joint embeddings of graphs: two views, in which a node has the same row.

    It stands before a `JointEmbedding`, whose views are then graphs and whose vectors are those of
    nodes. The two views are what `augment` makes, such as `augment.graph.GraphViews`.
    """

    def check_views(self, views: Any) -> None:
        """Raise unless `views` are two graphs of the same nodes."""
        are_views = isinstance(views, (tuple, list)) and all(
            isinstance(view, (tuple, list)) for view in views
        )
        if not are_views or len(views) != 2:
            shapes = keras.tree.map_structure(lambda one: tuple(one.shape), views)
            raise ValueError(
                f"{type(self).__name__} compares two views of a graph: `augment` must be a layer "
                "from a graph to a tuple of two, such as `keras_ssl.augment.graph.GraphViews`. "
                f"Received: shapes {shapes}"
            )
        for view in views:
            check_graph(view)
        nodes = [tuple(view[0].shape[:-1]) for view in views]
        if nodes[0] != nodes[1]:
            raise ValueError(
                "Both views of a graph must hold the same nodes. Received: features of shapes "
                f"{[tuple(view[0].shape) for view in views]}"
            )

    def represent(self, view: Any, training: bool) -> Any:
        """Return the vectors of the nodes of a view."""
        h = self.encoder(view, training=training)
        check_node_features(h, view[0])
        return h

    def compared(self, h: Any) -> dict[str, Any]:
        """Return what the method compares of nodes, in inference mode: see `JointEmbedding`.

        Args:
            h: representations of nodes, or of a batch of graphs with those of all their nodes side
                by side.

        Returns:
            Tensors with a row a node.
        """
        width = self._training_state.representation_spec.shape[-1]
        return super().compared(ops.reshape(h, (-1, width)))


def as_rows(z: Any) -> Any:
    """Return vectors of nodes, `(..., nodes, dim)`, as rows, `(all nodes, dim)`."""
    return ops.reshape(z, (-1, z.shape[-1]))
