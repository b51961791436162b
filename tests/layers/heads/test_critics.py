"""Critics, compared with their formulas; products of their factors are the scores."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_ssl import distribute, losses
from keras_ssl.layers import BilinearCritic, ConcatAndConvolve, EncodeAndDotProduct

SHAPES = {"local_features_shape": (4, 6, 3), "global_features_shape": (4, 5)}


class TestConformance(TestCase):
    def check(self, critic, outputs, weights, statistics=0, **arguments):
        self.run_layer_test(
            critic,
            init_kwargs=arguments,
            input_shape=SHAPES,
            expected_output_shape=outputs,
            expected_num_trainable_weights=weights,
            expected_num_non_trainable_weights=statistics,
            expected_num_seed_generators=0,
            run_training_check=False,  # of one output
        )

    def test_encode_and_dot_product(self):
        outputs = ((4, 6, 8), (4, 8))
        self.check(EncodeAndDotProduct, outputs, 15, 4, units=8)
        self.check(EncodeAndDotProduct, outputs, 13, units=8, normalization=False)

    def test_concat_and_convolve(self):
        outputs = ((4, 6, 4), (4, 4))
        self.check(ConcatAndConvolve, outputs, 7, widths=(8, 7))
        self.check(ConcatAndConvolve, outputs, 5, widths=[8])

    def test_bilinear(self):
        self.check(BilinearCritic, ((4, 6, 3), (4, 3)), 1)
        self.check(BilinearCritic, ((4, 6, 3), (4, 3)), 1, kernel_initializer="he_normal")


def features(rng):
    shapes = SHAPES.values()
    return [rng.normal(size=shape).astype("float32") for shape in shapes]


def randomized(critic, rng, inputs):
    """Give a critic random weights, biases included."""
    critic(*inputs)
    critic.set_weights([rng.normal(size=w.shape) for w in critic.get_weights()])
    return {w.path.partition("/")[2]: np.asarray(w, "float64") for w in critic.weights}


def relu(x):
    return np.maximum(x, 0)


def test_dot_product_of_two_embeddings(rng):
    u, v = inputs = features(rng)
    critic = EncodeAndDotProduct(8, normalization=False)
    w = randomized(critic, rng, inputs)

    def embedded(x, name):
        hidden = relu(x @ w[f"{name}_head/dense_1/kernel"] + w[f"{name}_head/dense_1/bias"])
        out = hidden @ w[f"{name}_head/dense_2/kernel"] + w[f"{name}_head/dense_2/bias"]
        return out + x @ w[f"{name}_shortcut/kernel"]

    local = embedded(u, "local")
    local = (local - local.mean(-1, keepdims=True)) / np.sqrt(local.var(-1, keepdims=True) + 1e-3)
    local = local * w["layer_normalization/gamma"] + w["layer_normalization/beta"]
    whole = embedded(v, "global") + w["global_shortcut/bias"]
    for one, expected in zip(critic(u, v), (local, whole), strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-4)


def test_shortcuts_start_as_the_identity():
    critic = EncodeAndDotProduct(8)
    critic.build(**SHAPES)
    np.testing.assert_array_equal(critic.local_shortcut.kernel, np.eye(3, 8))
    np.testing.assert_array_equal(critic.global_shortcut.kernel, np.eye(5, 8))


def scores_of_pairs(w, u, v):
    """Scores of one position and one global feature at a time, from their concatenation."""
    scores = np.zeros((*u.shape[:-1], len(v)))
    first = np.concatenate([w["of_local/kernel"], w["of_global/kernel"]])
    for i, p, j in np.ndindex(scores.shape):
        x = relu(np.concatenate([u[i, p], v[j]]) @ first + w["of_local/bias"])
        x = relu(x @ w["head/dense_1/kernel"] + w["head/dense_1/bias"])
        scores[i, p, j] = (x @ w["head/dense_2/kernel"] + w["head/dense_2/bias"])[0]
    return scores


def test_equals_mlp_of_concatenated_features(rng):
    u, v = inputs = features(rng)
    critic = ConcatAndConvolve((8, 7))
    w = randomized(critic, rng, inputs)
    scores, identity = critic(u, v)
    expected = scores_of_pairs(w, u, v)
    np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-4)
    # a loss that multiplies the two sees the scores
    products = ops.matmul(scores, ops.transpose(identity))
    np.testing.assert_allclose(products, scores, rtol=1e-6)
    positive = np.stack([expected[i, :, i] for i in range(4)])
    negative = np.mean(
        [np.logaddexp(0, expected[i, :, j]).mean() for i in range(4) for j in range(4) if i != j]
    )
    loss = negative + np.logaddexp(0, -positive).mean() - 2 * np.log(2)
    np.testing.assert_allclose(losses.JensenShannonMI()(scores, identity), loss, rtol=1e-4)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="needs TensorFlow")
def test_scores_of_the_global_features_of_all_replicas(rng, two_replicas):
    import tensorflow as tf

    u, v = features(rng)
    with two_replicas.scope():
        critic = ConcatAndConvolve((8, 7))
        critic.build(**SHAPES)
    expected, _ = critic(u, v)

    def step():
        local, whole = (distribute.local_rows(ops.convert_to_tensor(one), 2) for one in (u, v))
        return critic(local, whole)

    scores, identity = two_replicas.run(tf.function(step))
    both = [two_replicas.experimental_local_results(one) for one in (scores, identity)]
    np.testing.assert_allclose(np.concatenate(both[0]), expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(np.concatenate(both[1]), np.eye(4))


@pytest.mark.parametrize(
    "make", [lambda w: EncodeAndDotProduct(w), lambda w: ConcatAndConvolve((w,))]
)
@pytest.mark.parametrize("width", [0, -1, 2.5, "64"])
def test_wrong_widths_raise(make, width):
    with pytest.raises((TypeError, ValueError), match="must be a positive integer"):
        make(width)


def test_bilinear_form(rng):
    u, v = inputs = features(rng)
    critic = BilinearCritic()
    w = randomized(critic, rng, inputs)["kernel"]
    of_places, of_wholes = critic(*inputs)
    found = np.asarray(of_places) @ np.asarray(of_wholes)[:, :, None]
    expected = [[place @ w @ whole for place in places] for places, whole in zip(u, v, strict=True)]
    np.testing.assert_allclose(found[:, :, 0], expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="must have a known last axis"):
        BilinearCritic().build((4, 6, None), (4, 5))
