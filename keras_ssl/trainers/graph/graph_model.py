"""Base of the methods on graphs that are not joint embeddings."""

from typing import Any

from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.graph.graph_input import GraphInput, check_graph


class GraphModel(SelfSupervisedModel):
    """Base of methods that learn from graphs: `x` of the data is `(x, a)`, nodes and adjacency.

    Optional parts follow, distinguished by their dtype: edge features (floats), the graph of each
    node (integers, disjoint mode), and which rows are nodes and not padding (booleans, batch mode).
    The modes are those of `layers.graph.MessagePassing`. In batch mode the first axis counts
    graphs, which replicas share; a single graph cannot be shared among replicas.

    `fit`, `evaluate` and `predict` take a `tf.data.Dataset` of `(x, a)` or `((x, a), y)`, arrays
    in batch mode, a loader of Spektral, or a `graphs.Graph`, which is converted by
    `data.single_graph`. `trainer([x, a])` and `trainer(graph)` return the encoder's output: one
    vector per node or per graph.

    A subclass sets what its graphs must fulfil by its class attribute `input_kind`, a `GraphInput`.

    Args:
        encoder: layer or model on graphs, such as `networks.gcn` or `layers.graph.GraphSequential`.
        augment: layer that maps the graph to a graph in the same form, or to a tuple of views.
        **kwargs: `name`, `dtype` of the model.
    """

    learns_from = "graphs"

    input_kind = GraphInput()
    # weights belong to the labels of nodes, which the online probe reads
    uses_sample_weight = True

    def check_views(self, views: Any) -> None:
        """Raise a `ValueError` unless `views` is one graph."""
        check_graph(views)
