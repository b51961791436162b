import keras
import numpy as np
import pytest

from keras_ssl import networks
from keras_ssl.layers.graph import GCNConv


def test_equals_the_network_of_the_paper(rng):
    """Softmax's argument of Kipf and Welling: Â ReLU(Â X W0 + b0) W1 + b1."""
    a = (rng.uniform(size=(6, 6)) < 0.5).astype("float32")
    a = np.triu(a, 1) + np.triu(a, 1).T
    x = rng.normal(size=(6, 4)).astype("float32")
    model = networks.gcn((5,), classes=3, seed=0)
    out = model([x, a])
    (w0, b0, w1, b1) = (np.asarray(w, "float64") for w in model.trainable_weights)
    tilde = a + np.eye(6)
    scale = tilde.sum(1) ** -0.5
    hat = scale[:, None] * tilde * scale
    expected = hat @ np.maximum(hat @ x @ w0 + b0, 0) @ w1 + b1
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
    once = networks.gcn((5,), classes=3, normalize=False)
    once([x, a])
    once.set_weights(model.get_weights())
    np.testing.assert_allclose(once([x, GCNConv.preprocess(a)]), expected, rtol=1e-4, atol=1e-5)


def test_the_first_kernel_is_regularized_and_the_seed_determines_weights():
    x, a = np.ones((3, 4)), np.ones((3, 3))
    penalty = keras.regularizers.L2(2.5e-4)
    one, other = (networks.gcn((5,), 2, kernel_regularizer=penalty, seed=3) for _ in range(2))
    one([x, a]), other([x, a])
    assert len(one.losses) == 1
    for a_weight, b_weight in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a_weight, b_weight)
    encoder = networks.gcn((8, 8), dropout=0.0)
    assert encoder([x, a]).shape == (3, 8) and len(encoder.steps) == 2


def test_saves_and_loads(tmp_path):
    model = networks.gcn((5,), classes=2, activation="tanh")
    inputs = [np.ones((3, 4)), np.ones((3, 3))]
    out = model(inputs)
    model.save(tmp_path / "gcn.keras")
    np.testing.assert_allclose(keras.saving.load_model(tmp_path / "gcn.keras")(inputs), out)


def test_bad_arguments_raise():
    with pytest.raises(ValueError, match="`channels` must not be empty"):
        networks.gcn(())
    with pytest.raises(ValueError, match="positive integer"):
        networks.gcn((0,))
