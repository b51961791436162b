"""The base of every random operation on graphs."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.distribute import draw_per_example
from keras_ssl.ops.graph.edges import check_adjacency, shape_of
from keras_ssl.ops.graph.inputs import GraphInputs, TakesGraphs, part_name, read_graph


class GraphAugmentation(TakesGraphs, keras.layers.Layer):
    """A random operation from a graph, or a batch of graphs, to one of the same shapes.

    Nothing is removed, since then shapes would depend on chance: an edge that is dropped has
    weight 0, which is no edge to any layer; a node that is dropped has features 0 and no edges.
    So all operations compile, and rows of two views are the same node.

    Graphs of a batch get their own random numbers, and two replicas draw what one would draw for
    the whole batch. Subclasses implement `change`, and `changed_spec` where what comes out differs
    from what came in by more than values.

    Args:
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and the like of `keras.layers.Layer`.

    Call arguments:
        graph: `(x, a)` in any form and mode of `layers.graph.MessagePassing`, and after these,
            told apart by their dtype, the graph of each node (integers, disjoint mode), the mask
            of the nodes (booleans, batch mode), and features of the edges (floats).
        training: whether to change anything. With `False` the graph comes back as it is.

    Output shape:
        As the input: a tuple or list of the same parts, numbers as float32 under any global
        dtype policy.

    Raises:
        ValueError: when the graph is no list of `x`, `a` and at most once each the others, or
            their shapes do not fit.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl.augment.graph import GraphAugmentation
    >>> class RandomScale(GraphAugmentation):
    ...     def change(self, graph):
    ...         return graph._replace(x=graph.x * (0.5 + self.draw_for_nodes(self.uniform, graph)))
    >>> x, a = RandomScale(seed=0)((np.ones((3, 2)), np.ones((3, 3))))
    >>> x.shape
    TensorShape([3, 2])
    """

    def __init__(self, seed: int | None = None, **kwargs: Any):
        kwargs.setdefault("dtype", "float32")
        super().__init__(**kwargs)
        self.seed = checks.integer("seed", seed, optional=True)
        self.seed_generator = keras.random.SeedGenerator(seed)

    def change(self, graph: GraphInputs) -> GraphInputs:
        """Return the changed graph.

        Args:
            graph: the parts by name.

        Returns:
            The parts, each in its form and shape.
        """
        raise NotImplementedError

    def changed_spec(self, graph: GraphInputs) -> GraphInputs:
        """Return what `change` returns, as symbolic tensors; by default that of the graph.

        Args:
            graph: the parts by name, as symbolic tensors.

        Returns:
            The parts.
        """
        return graph

    def call(self, graph: Any, training: bool = True) -> Any:
        """Change the graph at random; give it back as it is outside training."""
        parts = read_graph(graph)
        check_adjacency(tuple(parts.x.shape), shape_of(parts.a))
        if not training:
            return graph
        return _like(graph, self.change(parts))

    def draw_for_nodes(self, draw: Callable[[tuple], Any], graph: GraphInputs) -> Any:
        """Draw for each node.

        Args:
            draw: function of a shape that returns random numbers of that shape.
            graph: the graph; only the shape of `x` matters.

        Returns:
            `(nodes, 1)`, or `(batch, nodes, 1)` with own numbers for each graph.
        """
        *batch, nodes = [
            ops.shape(graph.x)[axis] if size is None else size
            for axis, size in enumerate(graph.x.shape[:-1])
        ]
        if not batch:
            return draw((nodes, 1))
        return draw_per_example(lambda rows: draw((rows, nodes, 1)), batch[0])

    def uniform(self, shape: tuple) -> Any:
        """Draw uniform numbers in [0, 1)."""
        return keras.random.uniform(shape, dtype="float32", seed=self.seed_generator)

    def integers(self, shape: tuple) -> Any:
        """Draw integers, to be hashed."""
        return keras.random.randint(shape, 0, 2**31 - 1, "int32", seed=self.seed_generator)

    def compute_output_shape(self, graph_shape: Any) -> Any:
        """The shapes of the graph, which stay."""
        return graph_shape

    def compute_output_spec(self, graph: Any, training: bool = True) -> Any:
        """Shapes and dtypes of the output, for Keras' symbolic calls."""
        parts = read_graph(graph)
        check_adjacency(tuple(parts.x.shape), shape_of(parts.a))
        changed = _like(graph, self.changed_spec(parts)) if training else graph
        # an output of a functional model must not be its input
        return keras.tree.map_structure(
            lambda x: keras.KerasTensor(x.shape, x.dtype, sparse=x.sparse), changed
        )

    def get_config(self) -> dict:
        """The constructor's arguments."""
        return {**super().get_config(), "seed": self.seed}


def _like(graph: Any, parts: GraphInputs) -> Any:
    """The parts in the order and container of a graph."""
    return type(graph)([*parts[:2], *(getattr(parts, part_name(part)) for part in graph[2:])])
