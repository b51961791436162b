"""Shared by the tests of graph layers: Keras' conformance test in all modes, forms of edges."""

import keras
import numpy as np
from keras import ops, tree
from keras.src.testing import TestCase

from keras_ssl import graphs

IS_TENSORFLOW = keras.backend.backend() == "tensorflow"


def forms(a):
    """Return an adjacency as a dense array, a sparse tensor and a padded edge list."""
    padded = graphs.edge_list(a, pad_to=np.count_nonzero(a) + 3)
    return {"dense": np.asarray(a, "float32"), "sparse": graphs.sparse_tensor(a), "list": padded}


class GraphLayerTest(TestCase):
    """Keras' conformance test of a graph layer, in every mode."""

    # JAX compiles every operation again in each mode
    modes = ("single", "list", "batch", "mixed") if IS_TENSORFLOW else ("list", "batch")

    def check(self, layer, weights, edge_features=None, outputs=None, **arguments):
        """Run the test for nodes with 3 features.

        `weights` is the number of trainable weights, `outputs` the number of output features, by
        default the argument `channels` or 3.
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
    """Check that a layer returns the same for all forms of an adjacency, and for a batch of one.

    `e` is dense, `(nodes, nodes, features)`. Returns the output.
    """
    expected = np.asarray(layer([x, a] if e is None else [x, a, e]))
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
        np.testing.assert_allclose(out, expected, rtol=tolerance, atol=tolerance, err_msg=name)
    batch = [one[None] for one in ((x, a) if e is None else (x, a, e))]
    out = layer(batch)
    np.testing.assert_allclose(out[0], expected, rtol=tolerance, atol=tolerance, err_msg="batch")
    mixed = layer([x[None], a] if e is None else [x[None], a, e])
    np.testing.assert_allclose(mixed[0], expected, rtol=tolerance, atol=tolerance, err_msg="mixed")
    if e is not None:  # edge features with a batch axis
        for form, features in ((a, e), (graphs.edge_list(a), e[rows, columns])):
            mixed = layer(tensors([x[None], form, features[None]]))
            np.testing.assert_allclose(mixed[0], expected, rtol=tolerance, atol=tolerance)
    return expected


def tensors(inputs):
    """Convert arrays in a nested input to tensors, as Keras needs it beside sparse tensors."""

    return tree.map_structure(
        lambda one: ops.convert_to_tensor(one) if isinstance(one, np.ndarray) else one, inputs
    )


def assert_gradients_are_slopes(layer, x, a, *more, tolerance=1e-4):
    """Compare gradients of a layer in float64 with differences, along a random direction each.

    The layer must be given with `dtype="float64"`. TensorFlow only.
    """
    import tensorflow as tf

    rng = np.random.default_rng(0)
    x = tf.Variable(np.asarray(x, "float64"))
    out = np.asarray(layer([tf.convert_to_tensor(x), a, *more]))
    probe = rng.normal(size=out.shape)

    def total():
        return tf.reduce_sum(layer([tf.convert_to_tensor(x), a, *more]) * probe)

    variables = [x, *(one.value for one in layer.trainable_weights)]
    with tf.GradientTape() as tape:
        value = total()
    gradients = tape.gradient(value, variables)
    for variable, gradient in zip(variables, gradients, strict=True):
        step = 1e-4 * rng.normal(size=variable.shape)
        variable.assign_add(step)
        above = total()
        variable.assign_sub(2 * step)
        below = total()
        variable.assign_add(step)
        expected = np.sum(np.asarray(gradient) * step)
        assert abs(expected) > 1e-9, variable.name
        np.testing.assert_allclose((above - below) / 2, expected, rtol=tolerance, atol=1e-9)


def spektral_output(layer, inputs, weights):
    """Return the output of a layer of Spektral with the given weights.

    Keras 3 passes masks of `None` that Spektral multiplies by, so `call` is called directly.
    """
    layer.build([one.shape for one in inputs])
    layer.set_weights(weights)
    return layer.call([ops.convert_to_tensor(one) for one in inputs])
