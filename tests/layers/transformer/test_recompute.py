"""Blocks that compute activations again, against those that keep them; and their memory."""

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import layers, networks

IS_TENSORFLOW = keras.backend.backend() == "tensorflow"
RANDOM = {"dropout_rate": 0.2, "attention_dropout_rate": 0.2, "drop_path_rate": 0.3, "seed": 3}
BLOCKS = {
    "encoder": ("TransformerEncoderBlock", {}),
    "batch normalization": ("TransformerEncoderBlock", {"norm": "batch", "layer_scale": 0.5}),
    "decoder": ("TransformerDecoderBlock", {}),
}


def made(name, remat, **arguments):
    keras.utils.set_random_seed(0)
    kind, others = BLOCKS[name]
    block = getattr(layers, kind)(2, 32, remat=remat, **RANDOM, **others, **arguments)
    block.build(*[(None, None, 16)] * (2 if name == "decoder" else 1))
    return block


def train(block, tensors, mode):
    """Outputs, gradients of tensors and weights, and the state after two steps."""
    if not IS_TENSORFLOW:
        import jax

        def loss(tensors, trained, others):
            outputs, others = block.stateless_call(trained, others, *tensors, training=True)
            return ops.sum(ops.cast(outputs, "float32") ** 3), (outputs, others)

        step = jax.value_and_grad(loss, argnums=(0, 1), has_aux=True)
        step = jax.jit(step) if mode == "graph" else step
        trained, others = ([v.value for v in block.trainable_variables], None)
        others = [v.value for v in block.non_trainable_variables]
        for _ in range(2):
            (_, (outputs, others)), (inputs, weights) = step(tensors, trained, others)
        return [outputs, *inputs, *weights], others
    import tensorflow as tf

    def step(*tensors):
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            outputs = block(*tensors, training=True)
            total = tf.reduce_sum(tf.cast(outputs, "float32") ** 3)
        weights = [v.value for v in block.trainable_variables]
        return [outputs, *tape.gradient(total, [*tensors, *weights])]

    run = step if mode == "eager" else tf.function(step, jit_compile=mode == "xla")
    for _ in range(2):
        found = run(*tensors)
    return found, [v.value for v in block.non_trainable_variables]


def check(name, mode, tolerance=1e-5, **arguments):
    random = np.random.default_rng(0)
    tensors = [ops.convert_to_tensor(random.normal(size=(4, 6, 16)), "float32") for _ in range(2)]
    tensors = tensors[: 2 if name == "decoder" else 1]
    compare(
        *(train(made(name, remat, **arguments), tensors, mode) for remat in (True, False)),
        tolerance,
    )


def compare(again, kept, tolerance):
    """Check outputs, gradients and state of two trainings."""
    for ours, expected in zip(again[0], kept[0], strict=True):
        ours, expected = (
            ops.convert_to_numpy(ops.cast(one, "float32")) for one in (ours, expected)
        )
        scale = np.abs(expected).max() + 1e-9
        np.testing.assert_allclose(ours / scale, expected / scale, atol=tolerance)
    for ours, expected in zip(again[1], kept[1], strict=True):
        np.testing.assert_allclose(ops.convert_to_numpy(ours), ops.convert_to_numpy(expected), 1e-5)


@pytest.mark.parametrize("name", BLOCKS)
def test_gradients_dropout_and_state_are_those_of_a_block_that_keeps_all(name):
    check(name, "graph")


def vit(remat):
    keras.utils.set_random_seed(0)
    arguments = {**RANDOM, "norm": "batch", "layer_scale": 0.5, "remat": remat}
    return networks.vit((8, 2, 2), (8, 8, 1), 4, **arguments)


class Decoder(layers.TokenDecoder):
    """A decoder of one grid, whose call takes tensors alone."""

    def call(self, inputs, training=None):
        return super().call(inputs, grid=(2, 2), training=training)


def token_decoder(remat):
    keras.utils.set_random_seed(0)
    decoder = Decoder(16, depth=2, num_heads=2, drop_path_rate=0.5, remat=remat, seed=3)
    decoder.build((None, 4, 8))
    return decoder


@pytest.mark.parametrize(
    ("make", "shape"), [(vit, (4, 8, 8, 1)), (token_decoder, (16, 4, 8))], ids=["vit", "decoder"]
)
def test_networks_pass_it_on(make, shape):
    x = [ops.convert_to_tensor(np.random.default_rng(0).normal(size=shape), "float32")]
    assert all(block.remat for block in make(True).blocks)
    assert make(True).get_config()["remat"] and not make(False).get_config()["remat"]
    compare(*(train(make(remat), x, "graph") for remat in (True, False)), tolerance=1e-4)


@pytest.mark.parametrize("mode", ["eager", pytest.param("xla", marks=pytest.mark.slow)])
def test_in_eager_mode_and_under_xla(mode):
    if mode == "xla" and not IS_TENSORFLOW:
        pytest.skip("JAX compiles with XLA by itself")
    check("encoder", mode)


@pytest.mark.parametrize("remat", [True, False])
def test_on_two_replicas(remat, two_replicas):
    """The second pass, too, leaves out the examples that one replica would."""
    import tensorflow as tf

    arguments = {"dropout_rate": 0.0, "attention_dropout_rate": 0.0, "drop_path_rate": 0.5}
    x = np.random.default_rng(0).normal(size=(8, 6, 16)).astype("float32")

    def block():
        keras.utils.set_random_seed(0)
        made = layers.TransformerEncoderBlock(2, 32, remat=remat, seed=3, **arguments)
        made.build((None, None, 16))
        return made

    def step_of(block):
        def step(x):
            weights = [v.value for v in block.trainable_variables]
            with tf.GradientTape() as tape:
                tape.watch(x)
                outputs = block(x, training=True)
                total = tf.reduce_sum(outputs**3)
            return [outputs, *tape.gradient(total, [x, *weights])]

        return step

    expected = step_of(block())(tf.constant(x))
    with two_replicas.scope():
        step = step_of(block())
    shards = two_replicas.experimental_distribute_values_from_function(
        lambda context: x[4 * context.replica_id_in_sync_group :][:4]
    )
    found = tf.function(lambda x: two_replicas.run(step, args=(x,)))(shards)
    found = [two_replicas.experimental_local_results(one) for one in found]
    for halves, one in zip(found[:2], expected[:2], strict=True):
        np.testing.assert_allclose(np.concatenate(halves), one, rtol=1e-4, atol=1e-4)
    for halves, one in zip(found[2:], expected[2:], strict=True):
        np.testing.assert_allclose(sum(halves), one, rtol=1e-3, atol=1e-3)


def test_in_half_precision():
    check("encoder", "graph", tolerance=2e-2, dtype="mixed_bfloat16")


def kept_bytes(block, x):
    """Bytes of what the forward pass computes and the backward pass reads."""
    if not IS_TENSORFLOW:
        import jax

        trained = [v.value for v in block.trainable_variables]
        others = [v.value for v in block.non_trainable_variables]

        def outputs(x):
            return block.stateless_call(trained, others, x, training=True)[0]

        _, backward = jax.vjp(outputs, x)
        weights = {id(one) for one in [*trained, *others]}
        return sum(one.nbytes for one in jax.tree.leaves(backward) if id(one) not in weights)
    import tensorflow as tf

    @tf.function
    def step(x):
        graph = tf.compat.v1.get_default_graph()
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = block(x, training=True)
        forward = {t.name: t for op in graph.get_operations() for t in op.outputs}
        sources = [x, *(v.value for v in block.trainable_variables)]
        gradients = tape.gradient(y, sources)
        backward = [op for op in graph.get_operations() if op.outputs or op.inputs]
        used = {
            one.name
            for op in backward
            if not any(t.name in forward for t in op.outputs)
            for one in op.inputs
            if one.name in forward and one.dtype.is_floating and one.op.type != "ReadVariableOp"
        }
        kept.append(sum(np.prod(forward[name].shape) * 4 for name in used))
        return gradients

    kept = []
    step.get_concrete_function(tf.TensorSpec(x.shape, x.dtype))
    return kept[-1]


def test_what_is_kept_is_little_more_than_the_input():
    x = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(8, 32, 16)), "float32")
    of_input = 8 * 32 * 16 * 4
    assert kept_bytes(made("encoder", remat=True), x) < 4 * of_input
    assert kept_bytes(made("encoder", remat=False), x) > 15 * of_input


class Experts(keras.layers.Layer):
    """A feed-forward network that adds a loss, as a mixture of experts does."""

    def build(self, shape):
        self.dense = keras.layers.Dense(shape[-1])
        self.dense.build(shape)

    def call(self, x):
        y = self.dense(x)
        self.add_loss(ops.mean(y**2))
        return y


def mixture_of_experts():
    """Experts that are full, so that some choices are left out."""
    return layers.MixtureOfExperts(4, 8, top_k=2, capacity_factor=0.8, load_balance=0.3)


@pytest.mark.skipif(not IS_TENSORFLOW, reason="the step is TensorFlow's")
@pytest.mark.parametrize("mode", ["eager", "graph", pytest.param("xla", marks=pytest.mark.slow)])
@pytest.mark.parametrize("make", [Experts, mixture_of_experts])
def test_losses_of_parts_count_once(make, mode):
    import tensorflow as tf

    x = tf.constant(np.random.default_rng(0).normal(size=(2, 4, 16)), "float32")

    def gradients(remat):
        keras.utils.set_random_seed(0)
        block = layers.TransformerEncoderBlock(2, 8, feed_forward=make(), remat=remat)
        block.build(x.shape)

        def step(x):
            with tf.GradientTape() as tape:
                y = block(x, training=True)
                assert len(block.losses) == 1
                total = tf.reduce_sum(y**2) + 3 * block.losses[0]
            weights = [v.value for v in block.trainable_variables]
            return [y, block.losses[0], *tape.gradient(total, weights)]

        run = step if mode == "eager" else tf.function(step, jit_compile=mode == "xla")
        return run(x)

    for a, b in zip(gradients(True), gradients(False), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_outside_of_training_nothing_is_computed_again():
    x = ops.convert_to_tensor(np.random.default_rng(0).normal(size=(2, 4, 16)), "float32")
    found = [ops.convert_to_numpy(made("encoder", remat)(x)) for remat in (True, False)]
    np.testing.assert_array_equal(*found)
