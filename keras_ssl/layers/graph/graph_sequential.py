"""A sequence of layers on a graph."""

import warnings
from collections.abc import Sequence
from os import PathLike
from typing import Any

import keras

from keras_ssl._keras_internals import set_rows, weigh_losses_by_rows
from keras_ssl.data.graph.single_graph import graph_with_features, only_batch
from keras_ssl.graphs import Graph, edge_list
from keras_ssl.layers.graph.graph_layer import GraphLayer, check_layer, shapes_of_inputs
from keras_ssl.layers.graph.node_mask import NodeMask, keep_mask, with_mask, without_mask
from keras_ssl.layers.graph.pool.min_cut_pool import MinCutPool
from keras_ssl.layers.graph.pool.node_pool import NodePool
from keras_ssl.layers.graph.pool.top_k_pool import TopKPool
from keras_ssl.layers.graph.virtual_node import VirtualNode
from keras_ssl.ops.graph.edges import is_pair
from keras_ssl.ops.graph.export import (
    export_graph_network,
    is_example,
    signature_of_example,
    signature_of_shapes,
)
from keras_ssl.ops.graph.inputs import TakesGraphs, graph_tensors, node_mask, read_graph
from keras_ssl.ops.graph.sparse import is_sparse


@keras.saving.register_keras_serializable(package="keras_ssl")
class GraphSequential(TakesGraphs, keras.Model):
    """`keras.Sequential` for graphs: graph layers are called with the adjacency.

    A graph layer is called on `[h, a]`, a pooling layer or a virtual node on `[h, i]` in disjoint
    mode, any other layer on `h`. A nested `GraphSequential`, such as an encoder before a pooling
    layer, gets `h` and all inputs after `x`. Only the number of features is fixed: the same network
    takes dense and sparse adjacencies, edge lists, and graphs of any size.

    Padded nodes, by the node mask or an index of -1, are masked: batch normalization leaves them
    out of its statistics, and pooling layers out of theirs.

    Args:
        layers: list of Keras layers.
        **kwargs: `name` and `dtype` of the model.

    Call arguments:
        inputs: a `graphs.Graph`, or `[x, a]`, optionally followed by edge features (floats), the
            index of each node's graph (integers, disjoint mode) and the node mask (booleans, batch
            mode), which are distinguished by dtype. All graph layers get the edge features.
        training: whether layers run in training mode.

    Input shape:
        As the layers.

    Output shape:
        That of the last layer.

    Raises:
        TypeError: if `layers` holds anything but Keras layers, or a `TopKPool` or `MinCutPool`,
            which return a graph.
        ValueError: if the inputs are not `x`, `a` and, at most once each, the others.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl.layers.graph import GCNConv, GraphSequential
    >>> model = GraphSequential(
    ...     [GCNConv(8, normalize=True, activation="relu"), keras.layers.Dropout(0.5), GCNConv(2)]
    ... )
    >>> model([np.ones((3, 4)), np.ones((3, 3))]).shape
    TensorShape([3, 2])
    """

    def __init__(self, layers: Sequence[keras.layers.Layer], **kwargs: Any):
        super().__init__(**kwargs)
        for number, layer in enumerate(layers):
            check_layer(f"layers[{number}]", layer)
            if isinstance(layer, (MinCutPool, TopKPool)):
                name = type(layer).__name__
                raise TypeError(
                    f"`layers` must return features. `{name}` returns a graph: call it by hand, "
                    f"`smaller = {name}(...)([x, a, ...])`, and another `GraphSequential` on "
                    f"`smaller`. Received: {layer}"
                )
        self.steps = list(layers)
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        self._walk(input_shape, build=True)

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        return self._walk(input_shape, build=False)

    def _walk(self, input_shape: Any, build: bool) -> tuple[int | None, ...]:
        """Return the output shape, and build the layers on the way if asked to."""
        x, a, *others = shapes_of_inputs(input_shape)
        if is_pair(x):
            raise ValueError(
                "`GraphSequential` takes one set of nodes, since its second graph layer would need "
                "another adjacency. Call the layers of a bipartite graph by hand. Received: "
                f"features of shapes {x}"
            )
        is_batch = not isinstance(a, dict) and len(a) == 3
        # a vector is `i`; a matrix is the mask in batch mode, otherwise edge features
        edges = [one for one in others if len(one) > (2 if is_batch else 1)]
        # in mixed mode a matrix is the mask if it has its shape
        edges = [one for one in edges if len(x) == 2 or tuple(one) != tuple(x[:2])]
        for layer in self.steps:
            if isinstance(layer, GraphSequential):
                shape = [x, a, *others]
            else:
                shape = [x, a, *edges] if isinstance(layer, GraphLayer) else x
            if build and not layer.built:
                layer.build(shape)
            x = tuple(layer.compute_output_shape(shape))
        return x

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        graph = read_graph(inputs)
        x, a, e, i, _ = graph
        edges = [] if e is None else [e]
        mask = node_mask(graph)
        for layer in self.steps:
            if mask is not None and not is_sparse(x):
                x, mask = with_mask(x, mask, layer), None
            x = keep_mask(x, layer)
            if isinstance(layer, GraphSequential):
                x = layer([x, *inputs[1:]])
            elif isinstance(layer, GraphLayer):
                x = layer([x, a, *edges])
            elif isinstance(layer, (NodePool, VirtualNode)) and i is not None:
                x = layer([x, i])
            else:
                x = layer(x)
            pool = _pool_in(layer)
            if pool is not None and i is not None and pool.graphs is not None:
                mask = pool.is_graph(i)  # a union may have fewer graphs than places
        return x

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> None:
        """Return `None`: the layers pass the mask on among themselves."""

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        loss_weights: Any = None,
        metrics: Any = None,
        weighted_metrics: Any = None,
        **kwargs: Any,
    ) -> None:
        """Configure training, as `keras.Model.compile`.

        Rows of sample weight 0, which are padding or nodes outside of a split, do not count in
        `metrics` that are means over rows, such as the accuracy. Pass other metrics, such as
        `keras.metrics.AUC`, as `weighted_metrics`.
        """
        super().compile(optimizer, loss, loss_weights, metrics, weighted_metrics, **kwargs)
        weigh_losses_by_rows(self)
        self._counting_all_rows = [
            one for one in keras.tree.flatten(metrics) if one and not _is_mean_over_rows(one)
        ]

    def compile_from_config(self, config: dict) -> None:
        """Compile the network that is being loaded, which Keras leaves to a custom `compile`."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def fit(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, *args: Any, **kwargs: Any
    ) -> keras.callbacks.History:
        """Train, as `keras.Model.fit`.

        A `graphs.Graph`, or the arrays `[x, a, ...]` of one graph or union, are one batch, as
        `data.single_graph` gives it; `validation_data` may be the same, with labels.

        Raises:
            ValueError: if arrays of one graph are to be split into batches.
        """
        validation = kwargs.get("validation_data")
        is_pair = isinstance(validation, (list, tuple)) and len(validation) in (2, 3)
        values = validation if is_pair and not _is_graph(validation) else (validation,)
        if _is_graph(values[0]):
            kwargs["validation_data"] = _as_batch(*values)
        if _is_graph(x):
            if kwargs.get("validation_split"):
                raise ValueError(
                    "`validation_split` cannot split one graph. Pass splits of its nodes as "
                    "`data.single_graph(graph, 'train')` and `validation_data`. Received: "
                    f"validation_split={kwargs['validation_split']}"
                )
            x, y = _as_batch(x, y, kwargs.pop("sample_weight", None), batch_size), None
            if len(args) < 6:  # the only batch has no order
                kwargs.setdefault("shuffle", False)
            batch_size = None
        return super().fit(x, y, batch_size, *args, **kwargs)

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        """Compute the loss and metrics, as `keras.Model.evaluate`, of data as in `fit`."""
        if _is_graph(x):
            x, y = _as_batch(x, y, kwargs.pop("sample_weight", None), batch_size), None
            batch_size = None
        return super().evaluate(x, y, batch_size, *args, **kwargs)

    def predict(self, x: Any, batch_size: int | None = None, *args: Any, **kwargs: Any) -> Any:
        """Compute the output, as `keras.Model.predict`, of data as in `fit`."""
        if _is_graph(x):
            x, batch_size = _as_batch(x, batch_size=batch_size), None
        return super().predict(x, batch_size, *args, **kwargs)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Return the loss. Sample weights, if there are any, say alone which rows count.

        The loss of an epoch is the mean over the rows of the labels: over graphs if the labels of a
        union are those of its graphs.
        """
        set_rows(self, None if y is None else keras.ops.shape(keras.tree.flatten(y)[0])[0])
        if sample_weight is not None:
            y_pred = without_mask(y_pred)
        return super().compute_loss(x, y, y_pred, sample_weight, training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict:
        """Update the metrics, without rows of sample weight 0, and return their values."""
        if sample_weight is not None:
            if self._counting_all_rows:
                warnings.warn(
                    "Only means over rows leave out rows of sample weight 0. Pass other metrics as "
                    f"`weighted_metrics`. Received: metrics={self._counting_all_rows}",
                    stacklevel=2,
                )
            is_counted = keras.ops.not_equal(sample_weight, 0)
            if len(is_counted.shape) == len(y_pred.shape) > 1:
                is_counted = keras.ops.squeeze(is_counted, -1)
            y_pred = NodeMask(dtype=y_pred.dtype)([y_pred, is_counted])
        return super().compute_metrics(x, y, y_pred, sample_weight)

    @property
    def _default_save_signature(self) -> None:
        """No signature beside that of `export`: Keras' has float32 for every input."""
        return

    def export(
        self,
        filepath: str | PathLike[str],
        format: str = "tf_saved_model",
        verbose: bool | None = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> None:
        """Export the network for serving, as `keras.Model.export`, for graphs of any size.

        Args:
            filepath: folder or file to write.
            format: as in `keras.Model.export`. Sparse inputs need "tf_saved_model".
            verbose: whether to print the signature.
            input_signature: an example of the inputs, `[x, a, ...]` or a `graphs.Graph`, whose
                forms the exported network takes: `serve` of an example with a sparse adjacency
                takes a `tf.SparseTensor`. Or specs, as in Keras. `None` for the inputs of the first
                call, with a dense adjacency unless it was an edge list.
            **kwargs: as in `keras.Model.export`.

        Raises:
            ValueError: if the network has not been called, or `format` does not take sparse inputs.

        Example:

        >>> import tempfile
        >>> import tensorflow as tf
        >>> from keras_ssl import data, networks
        >>> graph, folder = data.load_graph("karate_club"), tempfile.mkdtemp()
        >>> model = networks.gcn((16,), classes=2)
        >>> logits = model(graph)
        >>> model.export(folder, verbose=False, input_signature=graph)
        >>> (x, a), y = next(iter(data.single_graph(graph)))
        >>> served = tf.saved_model.load(folder)
        >>> served.serve([x, a]).shape  # `a` is sparse
        TensorShape([34, 2])
        """
        if input_signature is None and self._called:
            shapes = shapes_of_inputs(self._build_shapes_dict["input_shape"])
            signature = signature_of_shapes(shapes, self.input_dtype)
        elif is_example(input_signature):
            signature = signature_of_example(graph_tensors(input_signature))
        else:
            super().export(filepath, format, verbose, input_signature, **kwargs)
            return
        export_graph_network(self, super().export, signature, filepath, format, verbose, **kwargs)

    def get_config(self) -> dict:
        layers = [keras.saving.serialize_keras_object(layer) for layer in self.steps]
        return {**keras.layers.Layer.get_config(self), "layers": layers}

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> "GraphSequential":
        """Create the network from its config."""
        return cls(**keras.saving.deserialize_keras_object(config, custom_objects=custom_objects))


def _is_graph(x: Any) -> bool:
    """Whether `x` is a `Graph`, or arrays `[x, a, ...]`, whose rows are no separate examples."""
    if isinstance(x, Graph):
        return True
    is_list = isinstance(x, (list, tuple)) and len(x) >= 2
    if not is_list or isinstance(x[1], Graph) or not hasattr(x[0], "shape"):
        return False
    is_edge_list = isinstance(x[1], dict) and "senders" in x[1]
    return len(x[0].shape) in (2, 3) and (is_edge_list or len(getattr(x[1], "shape", ())) == 2)


def _as_batch(x: Any, y: Any = None, sample_weight: Any = None, batch_size: Any = None) -> Any:
    """Return a dataset whose only batch is a graph; `None` for missing labels and weights."""
    if isinstance(x, Graph):
        y = x.y if y is None else y
        x = graph_with_features(x)
        a = x.a if keras.backend.backend() == "tensorflow" else edge_list(x.a)
        x = [x.x, a, *([] if x.e is None else [x.e])]
    if len(x[0].shape) == 3:
        raise ValueError(
            "Arrays of node features `(batch, nodes, features)` need an adjacency for each graph, "
            "`(batch, nodes, nodes)`, since Keras takes the first axis of all arrays for examples. "
            "For features of several examples on one graph (mixed mode), pass a `tf.data.Dataset` "
            f"of `((x, a), y)`. Received: x of shape {tuple(x[0].shape)} and one adjacency"
        )
    if batch_size is not None and batch_size < x[0].shape[0]:
        raise ValueError(
            "The nodes of one graph cannot be split into batches without their neighbors. Pass no "
            "`batch_size`, `data.neighbor_batches`, or several graphs as `data.disjoint_batches`. "
            f"Received: batch_size={batch_size} and {x[0].shape[0]} nodes"
        )
    return only_batch(x, y, sample_weight)


def _is_mean_over_rows(metric: Any) -> bool:
    """Whether a metric, its name or its function is a mean over rows, which Keras can mask."""
    if isinstance(metric, str) and metric not in ("accuracy", "acc"):
        metric = keras.metrics.get(metric)
    is_metric = isinstance(metric, keras.metrics.Metric)
    return not is_metric or isinstance(metric, keras.metrics.MeanMetricWrapper)


def _pool_in(layer: keras.layers.Layer) -> NodePool | None:
    """Return the last pooling layer of a network, or the layer itself if it is one."""
    if isinstance(layer, NodePool):
        return layer
    steps = layer.steps if isinstance(layer, GraphSequential) else []
    return next((pool for pool in map(_pool_in, reversed(steps)) if pool is not None), None)
