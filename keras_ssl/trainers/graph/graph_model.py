"""What all methods on graphs share: batches that are graphs, checked before training."""

import warnings
from typing import Any

import keras

from keras_ssl.data.graph.single_graph import single_graph
from keras_ssl.data.graph.spektral_loaders import from_spektral_loader, is_spektral_loader
from keras_ssl.graphs import Graph
from keras_ssl.ops.graph.edges import check_adjacency, shape_of
from keras_ssl.ops.graph.inputs import TakesGraphs
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.graph.graph_values import check_values, first_graph, validation_inputs


class GraphModel(TakesGraphs, SelfSupervisedModel):
    """Base of methods that learn from graphs: `x` of the data is `(x, a)`, nodes and adjacency.

    After these may come, told apart by their dtype, features of the edges (floats), the graph of
    each node (integers, disjoint mode), and which rows are nodes and no padding (booleans, batch
    mode). The modes are those of `layers.graph.MessagePassing`; in batch mode the first axis
    counts graphs, which several replicas share among them. A single graph cannot be shared out.

    `trainer([x, a])` gives what the encoder gives: a vector a node, or a graph.

    `fit` looks at the first batch, which of a single graph is all there is, and at that of
    `validation_data`: features and weights must be finite, edges lead to nodes that are there, and
    in disjoint mode the nodes of a graph follow those of the graph before, with padding (-1) at the
    end. What a method may set besides:
    `needs_edges`, if it cannot learn from a graph without edges, `needs_symmetry`, and
    `takes_padding`, to be `False` if each row must be a node.

    Args:
        encoder: layer or model on graphs, such as `networks.gcn` or `layers.graph.GraphSequential`.
        augment: layer that maps the graph to a tuple of views, each a graph in the same form.
        **kwargs: `name`, `dtype` of the model.
    """

    has_ready_views = False
    needs_edges = False
    needs_symmetry = False
    takes_padding = True
    # weights belong to the labels of nodes, which no method reads
    uses_sample_weight = True

    def build(self, input_shape: Any) -> None:
        """Build the encoder."""
        if self.encoder is not None and not self.encoder.built:
            self.encoder.build(input_shape)

    def build_step(self, x: Any, y: Any) -> None:
        """Create all that a training step needs, for graphs of these shapes.

        Args:
            x: nested structure of `keras.KerasTensor`, the graph.
            y: the same for the labels, or `None`.

        Raises:
            ValueError: if `x` is no graph, or a single graph is to be shared among replicas or cut
                into micro-batches.
        """
        # before the shapes, which are then those of a part of the graph
        check_shared(x, self.distribute_strategy.num_replicas_in_sync)
        check_graph(x)
        micro_batch_size = self._training_state.micro_batch_size
        if micro_batch_size is not None and len(x[0].shape) == 2:
            raise ValueError(
                "One graph cannot be cut into micro-batches: `micro_batch_size` needs a batch of "
                "graphs, x of shape (batch, nodes, features). Received: "
                f"micro_batch_size={micro_batch_size} and x of shape {tuple(x[0].shape)}"
            )
        super().build_step(x, y)
        if self.jit_compile and any(one.sparse for one in keras.tree.flatten(x)):
            # by itself Keras asks for XLA wherever there is a GPU
            warnings.warn(
                "XLA has no products with sparse tensors: the step runs without it. For XLA give "
                "dense features and an edge list, `data.single_graph(graph, adjacency='edges')`; "
                "pass `jit_compile=False` to silence this.",
                stacklevel=2,
            )
            self.jit_compile = False

    def fit(self, x: Any = None, *args: Any, **kwargs: Any) -> keras.callbacks.History:
        """Train, as every trainer's `fit`.

        Args:
            x: data of `(x, a)` or `((x, a), y)`: `tf.data.Dataset`, arrays in batch mode, a loader
                of Spektral, or a `graphs.Graph`, which stands for `data.single_graph(graph)`.
            *args: as of `SelfSupervisedModel.fit`.
            **kwargs: as of `SelfSupervisedModel.fit`.

        Returns:
            The `keras.callbacks.History`.

        Raises:
            ValueError: if the first graph cannot be learned from; see also
                `SelfSupervisedModel.fit`.
        """
        x = _as_dataset(x)
        self._check_first(x)
        validation = _as_dataset(kwargs.get("validation_data"))
        if validation is not None:
            kwargs["validation_data"] = validation
            try:
                self._check_first(validation_inputs(validation))
            except (TypeError, ValueError) as error:
                raise type(error)(f"In `validation_data`: {error}") from error
        return super().fit(x, *args, **kwargs)

    def _check_first(self, x: Any) -> None:
        check_not_single_arrays(x)
        first = first_graph(x)
        if first is not None:
            check_graph(first)
            check_shared(first, self.distribute_strategy.num_replicas_in_sync)
            check_values(
                first,
                self.needs_edges,
                self.needs_symmetry,
                self.takes_padding,
                self.minimum_batch,
            )

    def evaluate(self, x: Any = None, *args: Any, **kwargs: Any) -> Any:
        """Compute the losses, as every trainer's `evaluate`; of what `fit` takes.

        Args:
            x: data, as of `fit`.
            *args: as of `keras.Model.evaluate`.
            **kwargs: as of `keras.Model.evaluate`.

        Returns:
            The losses, as `keras.Model.evaluate`.
        """
        x = _as_dataset(x)
        check_not_single_arrays(x)
        return super().evaluate(x, *args, **kwargs)

    def predict(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute the representation, as every trainer's `predict`; of what `fit` takes.

        Args:
            x: data, as of `fit`.
            *args: as of `keras.Model.predict`.
            **kwargs: as of `keras.Model.predict`.

        Returns:
            The representation of all batches, one after the other.
        """
        x = _as_dataset(x)
        check_not_single_arrays(x)
        return super().predict(x, *args, **kwargs)


def _as_dataset(x: Any) -> Any:
    if is_spektral_loader(x):
        return from_spektral_loader(x)
    return single_graph(x) if isinstance(x, Graph) else x


def check_not_single_arrays(x: Any) -> None:
    """Raise if data is one graph in arrays, of which Keras would make batches of rows.

    Args:
        x: what `fit`, `evaluate` or `predict` got.

    Raises:
        ValueError: if it is `(x, a, ...)` with `x` of shape `(nodes, features)`.
    """
    if isinstance(x, (tuple, list)) and len(x) >= 2 and len(getattr(x[0], "shape", ())) == 2:
        raise ValueError(
            "One graph, `(x, a)` in single mode, cannot be given as arrays: Keras would cut them "
            "into batches of rows. Expected `data.single_graph(graph)`, whose one batch is the "
            "whole graph, or arrays in batch mode, x of shape (batch, nodes, features). "
            f"Received: x of shape {tuple(x[0].shape)}"
        )


def check_shared(x: Any, replicas: int) -> None:
    """Raise if one graph, or a union of several, is to be shared among replicas.

    Args:
        x: the batch, or a replica's part of it.
        replicas: how many replicas there are.

    Raises:
        ValueError: if there are several replicas, and `x` is no batch of graphs.
    """
    if replicas > 1 and isinstance(x, (tuple, list)) and len(x[0].shape) == 2:
        raise ValueError(
            f"One graph, or a union, cannot be shared among {replicas} replicas. Expected a batch "
            "of graphs, x of shape (batch, nodes, features), as `data.padded_batches` makes them. "
            f"Received: x of shape {tuple(x[0].shape)}"
        )


def check_graph(x: Any) -> None:
    """Raise unless a batch is a graph, or graphs.

    Args:
        x: the batch.

    Raises:
        ValueError: if it is not `(x, a, ...)`, or the shapes do not fit.
    """
    if not isinstance(x, (tuple, list)) or len(x) < 2 or not hasattr(x[0], "shape"):
        found = keras.tree.map_structure(lambda one: tuple(one.shape), x)
        raise ValueError(
            "Expected data of graphs, `(x, a)`: features of the nodes and their adjacency. From "
            "tf.data with labels that is `((x, a), y)`, without `((x, a),)`. "
            f"Received: shapes {found}"
        )
    check_adjacency(tuple(x[0].shape), shape_of(x[1]))
