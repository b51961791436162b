import keras
import numpy as np
import pytest

from keras_ssl import networks
from keras_ssl.layers.graph import GATConv


def test_equals_the_network_of_the_paper():
    """Section 3.3: 8 heads of 8 features with ELU, one head for the classes, dropout 0.6."""
    model = networks.gat(classes=7)
    assert model([np.ones((4, 3)), np.eye(4)]).shape == (4, 7)
    assert [type(one) for one in model.steps] == 2 * [GATConv]
    first, last = model.steps
    assert (first.channels, first.attn_heads, first.concat_heads) == (8, 8, True)
    assert (last.channels, last.attn_heads, last.concat_heads) == (7, 1, False)
    assert first.activation is keras.activations.elu
    assert last.activation is keras.activations.linear
    for layer in (first, last):
        assert (layer.input_dropout_rate, layer.dropout_rate) == (0.6, 0.6)


def test_all_kernels_are_regularized_and_the_seed_determines_weights():
    x, a = np.ones((3, 4)), np.ones((3, 3))
    penalty = keras.regularizers.L2(2.5e-4)
    one, other = (networks.gat((5,), 2, kernel_regularizer=penalty, seed=3) for _ in range(2))
    one([x, a]), other([x, a])
    assert len(one.losses) == 6
    for a_weight, b_weight in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a_weight, b_weight)
    drawn = [np.asarray(model([x, a], training=True)) for model in (one, other)]
    np.testing.assert_array_equal(*drawn)
    encoder = networks.gat((4, 2), attn_heads=3, dropout=0.0)
    assert encoder([x, a]).shape == (3, 6)
    assert [type(step) for step in encoder.steps] == 2 * [GATConv]


def test_saves_and_loads(tmp_path):
    model = networks.gat((5,), classes=2, output_heads=2)
    inputs = [np.ones((3, 4)), np.ones((3, 3))]
    out = model(inputs)
    model.save(tmp_path / "gat.keras")
    np.testing.assert_allclose(keras.saving.load_model(tmp_path / "gat.keras")(inputs), out)


def test_bad_arguments_raise():
    with pytest.raises(ValueError, match="`channels` must not be empty"):
        networks.gat(())
    with pytest.raises(ValueError, match="attn_heads"):
        networks.gat((4,), attn_heads=0)
