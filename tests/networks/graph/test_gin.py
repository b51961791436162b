import keras
import numpy as np
import pytest

from keras_ssl import graphs, networks
from keras_ssl.layers.graph import MeanPool, SumPool
from tests.layers.graph import peers


@pytest.fixture
def union():
    """Four graphs, the second of which is an isolated node."""
    return peers.graph("union").unweighted()


def test_equals_the_network_of_the_paper(union):
    """Equations 4.1 and 4.2, and the sum over layers of linear classifiers of readouts."""
    model = networks.gin((6, 6), classes=3, include_input=True, seed=1)
    out = np.asarray(model([union.x, union.a, union.i]))
    weights = [np.asarray(w, "float64") for w in model.get_weights()]
    x, a = union.x.astype("float64"), union.a
    h, readouts = x, [x]
    trained = [np.asarray(w, "float64") for w in model.trainable_weights]
    for layer in range(2):
        kernel_1, gamma_1, beta_1, kernel_2, gamma_2, beta_2 = trained[6 * layer : 6 * layer + 6]
        h = (h + a @ h) @ kernel_1
        h = np.maximum(h / np.sqrt(1 + 1e-5) * gamma_1 + beta_1, 0) @ kernel_2
        h = np.maximum(h / np.sqrt(1 + 1e-5) * gamma_2 + beta_2, 0)
        readouts.append(h)
    kernel, bias = trained[-2:]
    members = np.arange(4)[:, None] == union.i
    pieces = np.split(kernel, [5, 11])
    expected = (
        sum(members @ one @ piece for one, piece in zip(readouts, pieces, strict=True)) + bias
    )
    assert len(weights) == 2 * 10 + 2
    np.testing.assert_allclose(out, expected, rtol=1e-4, atol=1e-4)


def test_an_encoder_returns_the_outputs_of_all_layers(union):
    encoder = networks.gin((6, 4, 2), seed=0)
    h = encoder([union.x, union.a])
    assert h.shape == (12, 12)
    assert encoder([union.x, graphs.edge_list(union.a, pad_to=60)]).shape == (12, 12)
    np.testing.assert_allclose(
        encoder([union.x, graphs.edge_list(union.a, pad_to=60)]), h, rtol=1e-4, atol=1e-5
    )


def test_batch_mode_with_a_mask_equals_disjoint_mode(union):
    sizes = np.bincount(union.i)
    x, a = np.zeros((4, 6, 5), "float32"), np.zeros((4, 6, 6), "float32")
    for graph, size in enumerate(sizes):
        rows = union.i == graph
        x[graph, :size], a[graph, :size, :size] = union.x[rows], union.a[rows][:, rows]
    mask = np.arange(6) < sizes[:, None]
    disjoint, batch = (networks.gin((4, 4), classes=2, dropout=0.0) for _ in range(2))
    disjoint([union.x, union.a, union.i])
    batch([x, a, mask])
    batch.set_weights(disjoint.get_weights())
    for training in (False, True):
        expected = disjoint([union.x, union.a, union.i], training=training)
        out = batch([x, a, mask], training=training)
        np.testing.assert_allclose(out, expected, rtol=1e-3, atol=1e-4)


def test_epsilon_pool_and_seed(union):
    inputs = [union.x, union.a, union.i]
    one, other = (
        networks.gin((4, 4), 2, learn_epsilon=True, pool=MeanPool(), seed=3) for _ in range(2)
    )
    one(inputs), other(inputs)
    assert isinstance(one.steps[1], MeanPool)
    assert sum(weight.name == "epsilon" for weight in one.trainable_weights) == 2
    for a_weight, b_weight in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a_weight, b_weight)
    static = networks.gin((4,), 2, pool=SumPool(graphs=6))
    assert static(inputs).shape == (6, 2)


def test_saves_and_loads(union, tmp_path):
    model = networks.gin((5, 3), classes=2)
    inputs = [union.x, union.a, union.i]
    out = model(inputs)
    model.save(tmp_path / "gin.keras")
    np.testing.assert_allclose(keras.saving.load_model(tmp_path / "gin.keras")(inputs), out)


def test_bad_arguments_raise():
    with pytest.raises(ValueError, match="must not be empty"):
        networks.gin(())
    with pytest.raises(TypeError, match="`pool`"):
        networks.gin((4,), 2, pool=keras.layers.GlobalAveragePooling1D())
