"""What the tests of all layers on graphs share: modes for Keras' own test, forms of edges."""

import keras
import numpy as np
from keras import tree
from keras.src.testing import TestCase

from keras_ssl import graphs

IS_TENSORFLOW = keras.backend.backend() == "tensorflow"


def forms(a):
    """The same adjacency as a dense array, a sparse tensor and a padded edge list."""
    padded = graphs.edge_list(a, pad_to=np.count_nonzero(a) + 3)
    return {"dense": np.asarray(a, "float32"), "sparse": graphs.sparse_tensor(a), "list": padded}


class GraphLayerTest(TestCase):
    """Keras' conformance test of a layer on graphs, in every mode."""

    # JAX compiles every operation of every mode anew
    modes = ("single", "list", "batch", "mixed") if IS_TENSORFLOW else ("list", "batch")

    def check(self, layer, weights, edge_features=None, outputs=None, **arguments):
        """Run it for nodes of 3 features.

        `weights` is the number of trainable ones, `outputs` that of a node's features afterwards:
        the argument `channels` or 3.
        """
        outputs = outputs or arguments.get("channels", 3)
        for mode in self.modes:
            x, a, e = _graph(mode, edge_features)
            self.run_layer_test(
                layer,
                init_kwargs=arguments,
                input_data=(x, a) if e is None else (x, a, e),
                expected_output_shape=(*x.shape[:-1], outputs),
                expected_num_trainable_weights=weights,
            )


def _graph(mode, edge_features):
    rng = np.random.default_rng(0)
    batch = (2,) if mode in ("batch", "mixed") else ()
    x = rng.normal(size=(*batch, 5, 3)).astype("float32")
    shape = (2, 5, 5) if mode == "batch" else (5, 5)
    a = (rng.uniform(size=shape) < 0.5).astype("float32")
    listed = graphs.edge_list(a, pad_to=25) if mode == "list" else a
    if edge_features is None:
        return x, listed, None
    places = (25,) if mode == "list" else shape
    return x, listed, rng.normal(size=(*places, edge_features)).astype("float32")


def assert_forms_agree(layer, x, a, e=None, tolerance=1e-5):
    """A built layer gives the same for all forms of an adjacency, and for a batch of one.

    `e` is dense, `(nodes, nodes, features)`. Returns the output.
    """
    wanted = np.asarray(layer([x, a] if e is None else [x, a, e]))
    rows, columns = np.nonzero(a)
    for name, form in forms(a).items():
        inputs = [x, form]
        if e is not None and name != "dense":
            listed = e[rows, columns]
            padding = 3 if name == "list" else 0
            inputs = [*inputs, np.pad(listed, ((0, padding), (0, 0)))]
        elif e is not None:
            inputs = [*inputs, e]
        out = layer(tensors(inputs))
        np.testing.assert_allclose(out, wanted, rtol=tolerance, atol=tolerance, err_msg=name)
    batch = [one[None] for one in ((x, a) if e is None else (x, a, e))]
    out = layer(batch)
    np.testing.assert_allclose(out[0], wanted, rtol=tolerance, atol=tolerance, err_msg="batch")
    mixed = layer([x[None], a] if e is None else [x[None], a, e])
    np.testing.assert_allclose(mixed[0], wanted, rtol=tolerance, atol=tolerance, err_msg="mixed")
    if e is not None:  # each example with features of its own
        for form, features in ((a, e), (graphs.edge_list(a), e[rows, columns])):
            mixed = layer(tensors([x[None], form, features[None]]))
            np.testing.assert_allclose(mixed[0], wanted, rtol=tolerance, atol=tolerance)
    return wanted


def tensors(inputs):
    """The same nested input with arrays as tensors, as Keras wants it beside sparse tensors."""
    from keras import ops

    return tree.map_structure(
        lambda one: ops.convert_to_tensor(one) if isinstance(one, np.ndarray) else one, inputs
    )
