import keras
import numpy as np
import pytest

from keras_ssl import networks
from keras_ssl.layers.graph import GraphSequential, LSTMNeighbors, MessagePassing


def test_equals_algorithm_1_of_the_paper(rng):
    """Each layer: mean of the neighbors, σ(W [h_v, h_N(v)]), scaled to unit length."""
    a = (rng.uniform(size=(6, 6)) < 0.5).astype("float32")
    a[2] = 0
    x = rng.normal(size=(6, 3)).astype("float32")
    model = networks.graphsage((5, 4), seed=0)
    out = model([x, a])
    weights = [np.asarray(w, "float64") for w in model.trainable_weights]
    h = x.astype("float64")
    for own, neighbors, bias in (weights[:3], weights[3:]):
        mean = a @ h / np.maximum(a.sum(1, keepdims=True), 1)
        h = np.maximum(np.concatenate([h, mean], 1) @ np.concatenate([own, neighbors]) + bias, 0)
        h = h / np.maximum(np.linalg.norm(h, axis=1, keepdims=True), 1e-12)
    np.testing.assert_allclose(out, h, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "aggregation",
    [
        "max",
        GraphSequential([keras.layers.Dense(4, "relu"), MessagePassing("max")]),
        LSTMNeighbors(4, max_neighbors=3),
    ],
    ids=["max", "pooling", "lstm"],
)
def test_any_aggregation_saves_and_loads(aggregation, tmp_path):
    model = networks.graphsage((5, 4), classes=2, aggregation=aggregation, dropout=0.5)
    inputs = [np.ones((3, 4)), np.ones((3, 3))]
    out = model(inputs)
    assert out.shape == (3, 2)
    first, second = model.steps[0].aggregator, model.steps[2].aggregator
    assert first is not second
    model.save(tmp_path / "sage.keras")
    np.testing.assert_allclose(keras.saving.load_model(tmp_path / "sage.keras")(inputs), out)


def test_the_seed_determines_kernels():
    inputs = [np.ones((3, 4)), np.ones((3, 3))]
    one, other = (networks.graphsage((5, 4), classes=2, seed=1) for _ in range(2))
    one(inputs), other(inputs)
    for a_weight, b_weight in zip(one.weights, other.weights, strict=True):
        np.testing.assert_array_equal(a_weight, b_weight)


def test_bad_arguments_raise():
    with pytest.raises(ValueError, match="`channels` must not be empty"):
        networks.graphsage(())
    with pytest.raises(ValueError, match="median"):
        networks.graphsage((4,), aggregation="median")
