"""The base class of graph augmentations."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.distribute import draw_per_example
from keras_ssl.ops.graph.edges import check_adjacency, shape_of
from keras_ssl.ops.graph.inputs import GraphInputs, TakesGraphs, part_name, read_graph


class GraphAugmentation(TakesGraphs, keras.layers.Layer):
    """A random operation on a graph or a batch of graphs that keeps shapes.

    Shapes are static: a dropped edge gets weight 0, which layers treat as no edge, and a dropped
    node gets features 0 and no edges. So all operations compile, and the same rows of two views are
    the same node.

    Each graph of a batch gets its own random numbers, and two replicas draw the same numbers as one
    replica for the whole batch. Subclasses implement `change`, and `changed_spec` if the output has
    other shapes or dtypes than the input.

    Args:
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        graph: `(x, a)` in any form and mode of `layers.graph.MessagePassing`, optionally followed
            by the index of each node's graph (integers, disjoint mode), the node mask (booleans,
            batch mode) and edge features (floats), which are distinguished by dtype.
        training: whether to augment. With `False` the graph is returned unchanged.

    Output shape:
        As the input: a tuple or list of the same parts, float32 under any global dtype policy.

    Raises:
        ValueError: if the graph is not a list of `x`, `a` and, at most once each, the others, or
            shapes do not match.

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
        """Return the augmented graph, each part in its form and shape."""
        raise NotImplementedError

    def changed_spec(self, graph: GraphInputs) -> GraphInputs:
        """Return the result of `change` for symbolic tensors, by default unchanged."""
        return graph

    def call(self, graph: Any, training: bool = True) -> Any:
        parts = read_graph(graph)
        check_adjacency(tuple(parts.x.shape), shape_of(parts.a))
        if not training:
            return graph
        return _like(graph, self.change(parts))

    def draw_for_nodes(self, draw: Callable[[tuple], Any], graph: GraphInputs) -> Any:
        """Draw a number for each node, `(nodes, 1)` or `(batch, nodes, 1)`.

        Args:
            draw: function from a shape to random numbers of that shape.
            graph: the graph; only the shape of `x` matters.
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
        """Draw integers for `hashed_uniform`."""
        return keras.random.randint(shape, 0, 2**31 - 1, "int32", seed=self.seed_generator)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def compute_output_spec(self, graph: Any, training: bool = True) -> Any:
        parts = read_graph(graph)
        check_adjacency(tuple(parts.x.shape), shape_of(parts.a))
        changed = _like(graph, self.changed_spec(parts)) if training else graph
        # an output of a functional model must be a new tensor
        return keras.tree.map_structure(
            lambda x: keras.KerasTensor(x.shape, x.dtype, sparse=x.sparse), changed
        )

    def get_config(self) -> dict:
        return {**super().get_config(), "seed": self.seed}


def _like(graph: Any, parts: GraphInputs) -> Any:
    """Return the parts in the order and container of `graph`."""
    return type(graph)([*parts[:2], *(getattr(parts, part_name(part)) for part in graph[2:])])
