import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl.layers.graph.conv.message_passing import GraphConv


class TwoKernels(GraphConv):
    def build_nodes(self, features, edge_features=None):
        self.kernel = self.add_kernel((features, self.channels))
        self.other_kernel = self.add_kernel((features, self.channels), name="other_kernel")


@pytest.mark.parametrize("seed", [None, 3])
def test_kernels_of_the_same_shape_are_initialized_differently(seed):
    layer = TwoKernels(4, kernel_initializer=keras.initializers.GlorotUniform(seed))
    layer.build([(5, 4), (5, 5)])
    kernel, other = (ops.convert_to_numpy(w) for w in (layer.kernel, layer.other_kernel))
    assert abs(kernel - other).max() > 0.1


def test_the_seed_determines_the_kernels():
    layers = [TwoKernels(4, kernel_initializer=keras.initializers.HeNormal(3)) for _ in range(2)]
    for layer in layers:
        layer.build([(5, 4), (5, 5)])
    for one, other in zip(*(layer.get_weights() for layer in layers), strict=True):
        np.testing.assert_array_equal(one, other)


def test_numpy_integers_are_saved_as_python_integers():
    layer = TwoKernels(np.int64(4))
    assert type(layer.get_config()["channels"]) is int
    for bad in (0, -1, 2.0, True, "4"):
        error = ValueError if type(bad) is int else TypeError
        with pytest.raises(error, match=r"`channels` must be a positive integer\. Received"):
            TwoKernels(bad)
