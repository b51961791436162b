"""What methods on graphs share that are not joint embeddings."""

from typing import Any

from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.graph.graph_input import GraphInput, check_graph


class GraphModel(SelfSupervisedModel):
    """Base of methods that learn from graphs: `x` of the data is `(x, a)`, nodes and adjacency.

    After these may come, told apart by their dtype, features of the edges (floats), the graph of
    each node (integers, disjoint mode), and which rows are nodes and not padding (booleans, batch
    mode). The modes are those of `layers.graph.MessagePassing`; in batch mode the first axis
    counts graphs, which several replicas share among them. A single graph cannot be shared out.

    `fit`, `evaluate` and `predict` take a `tf.data.Dataset` of `(x, a)` or `((x, a), y)`, arrays
    in batch mode, a loader of Spektral, or a `graphs.Graph`, which stands for
    `data.single_graph(graph)`. `trainer([x, a])` and `trainer(graph)` return what the encoder
    returns: one vector per node or per graph.

    Args:
        encoder: layer or model on graphs, such as `networks.gcn` or `layers.graph.GraphSequential`.
        augment: layer that maps the graph to a tuple of views, each a graph in the same form.
        **kwargs: `name`, `dtype` of the model.
    """

    input_kind = GraphInput()
    # weights belong to the labels of nodes, which no method reads
    uses_sample_weight = True

    def check_views(self, views: Any) -> None:
        """Raise unless there is one graph."""
        check_graph(views)
