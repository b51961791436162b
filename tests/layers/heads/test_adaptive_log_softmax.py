import json
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_ssl import layers
from tests.losses.gradients import (
    BACKEND,
    compiled_value_and_gradients,
    value_and_gradients,
)

REFERENCE = Path(__file__).parents[2] / "reference" / "adaptive_softmax.json"
CASES = json.loads(REFERENCE.read_text())["cases"]
GATHERS = [False, True] if BACKEND == "tensorflow" else [False]


class TestConformance(TestCase):
    def test_log_probabilities(self):
        self.run_layer_test(
            layers.AdaptiveLogSoftmax,
            init_kwargs={"num_classes": 9, "cutoffs": [2, 5], "head_bias": True},
            input_shape=(3, 4, 6),
            expected_output_shape=(3, 4, 9),
            expected_num_trainable_weights=6,
        )


def of_case(case, gather):
    """The layer with PyTorch's weights, features and labels."""
    features = np.array(case["features"], "float32")
    layer = layers.AdaptiveLogSoftmax(11, **case["settings"], gather_rows=gather)
    layer.build(features.shape)
    layer.head.assign(case["weights"][0])
    for number in range(len(layer.cutoffs)):
        layer.projections[number].assign(case["weights"][1 + 2 * number])
        layer.kernels[number].assign(case["weights"][2 + 2 * number])
    if layer.head_bias:
        layer.bias.assign(case["bias"])
    return layer, features, np.array(case["labels"], "int32")


def weight_gradients(layer, features, labels):
    """Gradients of the mean in the order of PyTorch's, and that of the bias."""
    weights = [layer.head]
    for pair in zip(layer.projections, layer.kernels, strict=True):
        weights += pair
    if layer.head_bias:
        weights.append(layer.bias)
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            value = ops.mean(layer(features, labels))
        return tape.gradient(value, [one.value for one in weights])
    import jax

    def mean(values):
        with keras.StatelessScope(list(zip(weights, values, strict=True))):
            return ops.mean(layer(features, labels))

    return jax.grad(mean)([one.value for one in weights])


@pytest.mark.parametrize("gather", GATHERS)
def test_equals_pytorch(gather):
    for case in CASES:
        layer, features, labels = of_case(case, gather)
        np.testing.assert_allclose(layer(features, labels), -np.array(case["output"]), rtol=1e-5)
        as_table = layer(features.reshape(2, 3, 8), labels.reshape(2, 3))
        np.testing.assert_allclose(as_table, -np.reshape(case["output"], (2, 3)), rtol=1e-5)
        np.testing.assert_allclose(layer.log_prob(features), case["log_prob"], rtol=1e-5)
        np.testing.assert_array_equal(layer.predict(features), case["predict"])
        _, (gradient,) = value_and_gradients(
            lambda x, layer=layer, labels=labels: ops.mean(layer(x, labels)), features
        )
        np.testing.assert_allclose(gradient, case["feature_gradient"], rtol=1e-4, atol=1e-6)
        gradients = weight_gradients(layer, features, labels)
        expected = [*case["weight_gradients"], case["bias_gradient"]][: len(gradients)]
        for one, other in zip(gradients, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_probabilities_sum_to_1_and_predictions_are_the_highest(rng):
    layer = layers.AdaptiveLogSoftmax(40, [5, 12, 30], kernel_initializer="random_normal")
    features = rng.normal(size=(50, 16)).astype("float32") * 30
    log_p = ops.convert_to_numpy(layer.log_prob(features))
    np.testing.assert_allclose(np.exp(log_p).sum(-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(layer.predict(features), log_p.argmax(-1))
    assert [one.shape[-1] for one in layer.projections] == [4, 1, 1]
    labels = np.arange(50, dtype="int32") % 40
    np.testing.assert_allclose(layer(features, labels), -log_p[np.arange(50), labels], rtol=1e-4)


def test_masked_clusters_compile_and_half_precision_has_a_float32_loss(rng):
    case = CASES[0]
    layer, features, labels = of_case(case, gather=False)
    value, (gradient,) = compiled_value_and_gradients(
        lambda x: ops.mean(layer(x, labels)), features
    )
    np.testing.assert_allclose(value, -np.mean(case["output"]), rtol=1e-5)
    np.testing.assert_allclose(gradient, case["feature_gradient"], rtol=1e-4, atol=1e-6)
    half = layers.AdaptiveLogSoftmax(11, [3, 6], dtype="mixed_bfloat16")
    assert keras.backend.standardize_dtype(half(features, labels).dtype) == "float32"
    assert keras.backend.standardize_dtype(half(features).dtype) == "bfloat16"


def test_labels_that_are_no_class_are_nan_where_they_are_not_known():
    """Of a compiled step: neither the values of others nor the gradient are lost with them."""
    layer, features, labels = of_case(CASES[0], gather=False)
    labels[:2] = [-1, 11]

    def total(x):
        # numbers that are known when the step runs
        values = layer(x, ops.convert_to_tensor(labels) + ops.cast(0 * x[:, 0], "int32"))
        is_nan = ops.isnan(values)
        return ops.sum(ops.where(is_nan, 100.0 * ops.ones_like(values), values))

    found, (gradient,) = compiled_value_and_gradients(total, features)
    expected = -np.array(CASES[0]["output"])[2:].sum() + 200
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert np.isfinite(gradient).all() and not gradient[:2].any() and gradient[2:].any()


@pytest.mark.skipif(BACKEND != "tensorflow", reason="fit of TensorFlow")
def test_labels_are_an_input_of_a_model_that_learns(rng, tmp_path):
    x = rng.normal(size=(64, 8)).astype("float32")
    y = (x[:, 0] > 0) * 9 + (x[:, 1] > 0) * 3
    inputs, labels = keras.Input((8,)), keras.Input((), dtype="int32")
    model = keras.Model(
        [inputs, labels], layers.AdaptiveLogSoftmax(16, [4, 8])(inputs, labels), name="classes"
    )
    model.compile(keras.optimizers.Adam(0.1), loss=lambda y, values: values)
    losses = model.fit((x, y), y, epochs=15, batch_size=24, verbose=0).history["loss"]
    assert losses[-1] < 0.4 * losses[0] and not model.jit_compile
    keras.Model(model.inputs, model.outputs).save(tmp_path / "model.keras")
    copy = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(copy([x, y]), model([x, y]))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((10, [5, 3]), ValueError, r"`cutoffs` must increase.*\[5, 3\], num_classes=10"),
        ((10, [5, 10]), ValueError, "`cutoffs` must increase and be below `num_classes`"),
        ((10, []), ValueError, "`cutoffs` must increase"),
        ((10, 5), TypeError, "`cutoffs` must be a sequence"),
        ((10, [2.5]), TypeError, r"`cutoffs\[0\]` must be a positive integer"),
        ((10, [0, 5]), ValueError, r"`cutoffs\[0\]` must be a positive integer"),
        ((10, [5], 0.5), ValueError, "`div_value` must be a number of at least 1"),
    ],
)
def test_bad_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        layers.AdaptiveLogSoftmax(*arguments)


def test_bad_labels_are_refused():
    layer, x = layers.AdaptiveLogSoftmax(10, [5]), np.ones((4, 3), "float32")
    with pytest.raises(TypeError, match=r"`labels` must be integer.*float32"):
        layer(x, np.ones(4, "float32"))
    with pytest.raises(ValueError, match=r"one class for each row.*\(3,\).*\(4, 3\)"):
        layer(x, np.ones(3, "int32"))
    for labels in ([0, 1, 2, 10], [0, 1, 2, -1]):
        with pytest.raises(ValueError, match=r"`labels` must be from 0 to 9, the size of the cl"):
            layer(x, ops.convert_to_tensor(labels, "int32"))
