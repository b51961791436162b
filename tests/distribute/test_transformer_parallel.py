"""Layouts of weights; `tests/trainers/engine/jax/test_many_devices.py` trains with them."""

import keras
import pytest

from keras_ssl import distribute

IS_JAX = keras.backend.backend() == "jax"


class Weight:
    """What a distribution sees of a variable, however large, before it has a value."""

    def __init__(self, path, *shape):
        self.path, self.shape = path, shape


def parallel(devices=4, **arguments):
    mesh = keras.distribution.DeviceMesh((1, devices), ("batch", "model"), ["cpu:0"] * devices)
    return distribute.TransformerParallel(mesh, **arguments)


def axes(path, *shape, **arguments):
    return tuple(parallel(**arguments).get_variable_layout(Weight(path, *shape)).axes)


@pytest.mark.skipif(IS_JAX, reason="the message is that of the TensorFlow backend")
def test_other_backends_are_told_what_to_use():
    with pytest.raises(RuntimeError, match=r"needs the JAX backend.*`distribute\.strategy`"):
        parallel()


@pytest.mark.skipif(not IS_JAX, reason="weights are shared on the JAX backend")
def test_weights_are_split_as_by_megatron():
    block = "vit/block_3/"
    assert axes(block + "attention/query_key_value_kernel", 32, 96) == (None, "model")
    assert axes(block + "cross_attention/key_value_bias", 64) == ("model",)
    assert axes(block + "attention/output_kernel", 32, 32) == ("model", None)
    assert axes(block + "feed_forward_1/hidden/kernel", 32, 128) == (None, "model")
    assert axes(block + "feed_forward_1/outputs/kernel", 128, 32) == ("model", None)
    assert axes(block + "feed_forward_1/outputs/bias", 32) == (None,)
    assert axes("resnet/conv/kernel", 3, 3, 8, 8) == (None,) * 4
    # GPT-2's 50,257 tokens have no divisor that a mesh has
    assert axes("gpt2/token_embedding/embeddings", 50257, 768) == (None, "model")
    assert axes("bert/token_embedding/embeddings", 30524, 768) == ("model", None)


@pytest.mark.skipif(not IS_JAX, reason="weights are shared on the JAX backend")
def test_further_layouts_count_first():
    mesh = keras.distribution.DeviceMesh((1, 4), ("batch", "model"), ["cpu:0"] * 4)
    further = keras.distribution.LayoutMap(mesh)
    further[".*/queue"] = ("model", None)
    further[".*/output_kernel"] = (None, "model")
    assert axes("feature_queue/queue", 64, 8, layout_map=further) == ("model", None)
    assert axes("vit/attention/output_kernel", 8, 8, layout_map=further) == (None, "model")


@pytest.mark.skipif(not IS_JAX, reason="weights are shared on the JAX backend")
def test_what_cannot_be_shared_is_refused():
    with pytest.raises(ValueError, match=r"`vit/attention/output_kernel` equally.*\(30, 32\)"):
        axes("vit/attention/output_kernel", 30, 32)
    with pytest.raises(ValueError, match="share `gpt2/token_embedding/embeddings` equally"):
        axes("gpt2/token_embedding/embeddings", 49, 30)
    mesh = keras.distribution.DeviceMesh((1,), ("batch",), ["cpu:0"])
    with pytest.raises(ValueError, match="`device_mesh` must have an axis for the batch and one"):
        distribute.TransformerParallel(mesh)
    with pytest.raises(ValueError, match="`device_mesh` must have an axis for the batch and one"):
        distribute.TransformerParallel(mesh, model_dim_name="batch")
