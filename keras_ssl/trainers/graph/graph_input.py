"""Batches of graphs: conversion of the data, and checks before training."""

import warnings
from typing import Any

import keras
from keras import ops

from keras_ssl import distribute
from keras_ssl._keras_internals import all_layers
from keras_ssl.data.graph.single_graph import single_graph
from keras_ssl.data.graph.spektral_loaders import from_spektral_loader, is_spektral_loader
from keras_ssl.graphs import Graph
from keras_ssl.layers.graph.node_mask import with_mask
from keras_ssl.ops.graph.edges import check_adjacency, shape_of
from keras_ssl.ops.graph.export import (
    export_graph_network,
    is_example,
    signature_of_example,
)
from keras_ssl.ops.graph.inputs import graph_tensors, node_mask, read_graph
from keras_ssl.ops.pixels import pixels_as_floats
from keras_ssl.trainers.engine.gradients import CachedGradients
from keras_ssl.trainers.engine.graph_values import check_values, first_graph
from keras_ssl.trainers.inputs import ExampleInput
from keras_ssl.trainers.step import Batch


class GraphInput(ExampleInput):
    """Data whose batches are one or several graphs: `x` is `(x, a)`, nodes and adjacency.

    `fit` checks the values of the first batch, and of that of `validation_data`: features and
    weights must be finite, edges must lead to existing nodes, and in disjoint mode the nodes of a
    graph must follow those of the previous graph, with padding (-1) at the end.

    Args:
        needs_edges: whether a graph without edges is rejected.
        needs_symmetry: whether each edge must have its reverse, with the same weight.
        takes_padding: whether graphs may have padded nodes.
        mean_over: what the losses of a batch of several graphs are means over, by which the epoch's
            loss weighs batches: "graphs"; "nodes"; or "rows", the nodes of a union, but the graphs
            in batch mode. The loss of a single graph counts by its nodes. Padding never counts.
    """

    may_be_views = False
    keeps_dtypes = True

    def __init__(
        self,
        needs_edges: bool = False,
        needs_symmetry: bool = False,
        takes_padding: bool = True,
        mean_over: str = "graphs",
    ):
        if mean_over not in ("graphs", "nodes", "rows"):
            raise ValueError(
                "`mean_over` must be 'graphs', 'nodes' or 'rows'. Received: "
                f"mean_over={mean_over!r}"
            )
        self.needs_edges = needs_edges
        self.needs_symmetry = needs_symmetry
        self.takes_padding = takes_padding
        self.mean_over = mean_over

    def as_data(self, x: Any) -> Any:
        """Convert a `graphs.Graph` or a loader of Spektral to a dataset."""
        if is_spektral_loader(x):
            return from_spektral_loader(x)
        if isinstance(x, Graph):
            return single_graph(x)
        _check_not_single_arrays(x)
        return x

    def as_tensors(self, x: Any) -> Any:
        """Convert a `graphs.Graph` or SciPy matrices to tensors."""
        return keras.tree.map_structure(ops.convert_to_tensor, graph_tensors(x))

    def export(
        self,
        trainer: keras.Model,
        export: Any,
        filepath: Any,
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> None:
        """Write a trainer for graphs of any size in the form of an example, or of the data."""
        specs = trainer.input_specs if input_signature is None else None
        if specs is not None:
            signature = signature_of_example(list(specs))
        elif is_example(input_signature):
            signature = signature_of_example(graph_tensors(input_signature))
        else:
            export(filepath, format, verbose, input_signature, **kwargs)
            return
        export_graph_network(trainer, export, signature, filepath, format, verbose, **kwargs)

    def examples_in(self, x: Any) -> Any:
        """Return the number of graphs or of nodes that the losses of a batch are means of."""
        graph = read_graph(x)
        is_batch = len(graph.x.shape) == 3
        if is_batch and self.mean_over != "nodes":
            return ops.shape(graph.x)[0]
        if graph.i is not None and self.mean_over == "graphs":
            return ops.max(graph.i) + 1
        is_node = node_mask(graph)
        if is_node is None:
            nodes = ops.cast(ops.prod(ops.shape(graph.x)[:-1]), "float32")
        else:
            nodes = ops.sum(ops.cast(is_node, "float32"))
        # all replicas count alike, since each adds its share of one mean
        return distribute.all_reduce_sum(nodes) / distribute.replica_count()

    def weights_of_labels(self, batch: Batch) -> Any:
        """Return the weights of labels; those of padded nodes, `(batch, nodes)`, have none."""
        mask = read_graph(batch.x).mask
        if mask is None or len(mask.shape) != 2 or len(batch.y.shape) < 2:
            return batch.sample_weight
        weights = ops.cast(mask, "float32")
        if batch.sample_weight is None:
            return weights
        return weights * ops.cast(ops.reshape(batch.sample_weight, ops.shape(weights)), "float32")

    def mask_padding(self, h: Any, x: Any, layer: keras.layers.Layer) -> Any:
        """Return features of nodes for `layer`, with a Keras mask of the padded nodes."""
        return with_mask(h, node_mask(read_graph(x)), layer)

    def as_floats(self, x: Any) -> Any:
        """Cast features and weights of small unsigned integers to float32."""
        return pixels_as_floats(x, image_rank=99)  # edge types, integers of rank 4, are no images

    def check_shapes(self, trainer: keras.Model, x: Any) -> None:
        """Raise a `ValueError` if the trainer cannot learn from graphs of these shapes."""
        # first, since the shapes are those of a part of the graph if it is shared
        _check_shared(x, trainer.distribute_strategy.num_replicas_in_sync)
        check_graph(x)
        gradients = trainer._gradients
        if isinstance(gradients, CachedGradients) and len(x[0].shape) == 2:
            raise ValueError(
                "One graph cannot be split into micro-batches: `micro_batch_size` needs a batch of "
                "graphs, x of shape (batch, nodes, features). Received: "
                f"micro_batch_size={gradients.size} and x of shape {tuple(x[0].shape)}"
            )
        if trainer.jit_compile and any(one.sparse for one in keras.tree.flatten(x)):
            # on GPUs, Keras uses XLA by default
            warnings.warn(
                "XLA has no products with sparse tensors, so the step runs without XLA. To use "
                "it, pass dense features and an edge list, as `data.single_graph(graph, "
                "adjacency='edges')` does. Pass `jit_compile=False` to silence this warning.",
                stacklevel=2,
            )
            trainer.jit_compile = False

    def check_values(self, trainer: keras.Model, data: Any) -> None:
        """Raise a `ValueError` if the trainer cannot learn from the values of the first batch."""
        _check_not_single_arrays(data)
        first = first_graph(data)
        if first is None:
            return
        check_graph(first)
        _check_shared(first, trainer.distribute_strategy.num_replicas_in_sync)
        requirements = (self.needs_edges, self.needs_symmetry, self.takes_padding)
        normalizing = [layer for layer in all_layers(trainer) if getattr(layer, "normalize", False)]
        check_values(first, *requirements, trainer.minimum_batch, normalizing)


def check_graph(x: Any) -> None:
    """Raise a `ValueError` unless a batch is `(x, a, ...)` with matching shapes."""
    if not isinstance(x, (tuple, list)) or len(x) < 2 or not hasattr(x[0], "shape"):
        found = keras.tree.map_structure(lambda one: tuple(one.shape), x)
        raise ValueError(
            "Expected data of graphs, `(x, a)`: features of the nodes and their adjacency. "
            "Elements of a `tf.data.Dataset` must be `((x, a), y)`, or `((x, a),)` without labels. "
            f"Received: shapes {found}"
        )
    check_adjacency(tuple(x[0].shape), shape_of(x[1]))


def check_graph_views(trainer: keras.Model, views: Any) -> None:
    """Raise a `ValueError` unless `views` are two graphs with the same nodes."""
    are_views = isinstance(views, (tuple, list)) and all(
        isinstance(view, (tuple, list)) for view in views
    )
    if not are_views or len(views) != 2:
        shapes = keras.tree.map_structure(lambda one: tuple(one.shape), views)
        raise ValueError(
            f"{type(trainer).__name__} compares two views of a graph: `augment` must be a layer "
            "that returns a tuple of two graphs, such as `keras_ssl.augment.graph.GraphViews`. "
            f"Received: shapes {shapes}"
        )
    for view in views:
        check_graph(view)
    nodes = [tuple(view[0].shape[:-1]) for view in views]
    if nodes[0] != nodes[1]:
        raise ValueError(
            "Both views of a graph must have the same nodes. "
            f"Received: features of shapes {[tuple(view[0].shape) for view in views]}"
        )
    takes_padding = trainer.input_kind.takes_padding
    if not takes_padding and any(read_graph(view).mask is not None for view in views):
        raise ValueError(
            f"{type(trainer).__name__} compares all nodes of a batch with each other, and padded "
            "nodes are not supported. Expected graphs without a mask, such as those of "
            "`data.disjoint_batches`. Received: graphs with a mask of their nodes"
        )


def check_node_features(features: Any, x: Any) -> None:
    """Raise a `ValueError` unless an encoder's output for nodes `x` has one vector per node."""
    shape, nodes = tuple(getattr(features, "shape", ())), tuple(x.shape[:-1])
    fits = len(shape) == len(nodes) + 1 and all(
        None in pair or pair[0] == pair[1] for pair in zip(shape, nodes, strict=False)
    )
    if not fits:
        raise ValueError(
            "`encoder` must return one vector per node, of shape (nodes, channels) or (batch, "
            "nodes, channels), without pooling. "
            f"Received: features of shape {shape} for nodes of shape {tuple(x.shape)}"
        )


def _check_not_single_arrays(x: Any) -> None:
    """Raise a `ValueError` for a single graph in arrays, which Keras would split into batches."""
    if not isinstance(x, (tuple, list)) or len(x) < 2:
        return
    rank = len(getattr(x[0], "shape", ()))
    if rank == 2 or (rank == 3 and len(getattr(x[1], "shape", (0, 0))) == 2):
        raise ValueError(
            "A single graph `(x, a)` cannot be passed as arrays, which Keras would split into "
            "batches of nodes. Expected `data.single_graph(graph)`, whose only batch is the "
            "graph, or arrays in batch mode, x of shape (batch, nodes, features). "
            f"Received: x of shape {tuple(x[0].shape)}"
        )


def _check_shared(x: Any, replicas: int) -> None:
    """Raise a `ValueError` if a single graph or a union would be shared among replicas."""
    if replicas > 1 and isinstance(x, (tuple, list)) and len(x[0].shape) == 2:
        raise ValueError(
            f"A single graph or a union cannot be shared among {replicas} replicas. Expected a "
            "batch of graphs, x of shape (batch, nodes, features), as of `data.padded_batches`. "
            f"Received: x of shape {tuple(x[0].shape)}"
        )
