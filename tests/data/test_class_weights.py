"""Weights of classes, beside scikit-learn, the formula of the paper, and Keras' `fit`."""

import keras
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from keras_ssl import data

LABELS = np.repeat([0, 1, 3], [40, 7, 3])


@pytest.mark.parametrize("shape", [(50,), (50, 1)])
@pytest.mark.parametrize("dtype", ["int64", "uint8"])
def test_weights_are_those_of_scikit_learn(shape, dtype):
    found = data.class_weights(LABELS.reshape(shape).astype(dtype))
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=LABELS)
    assert list(found) == [0, 1, 3]
    np.testing.assert_allclose(list(found.values()), expected)
    assert all(type(one) is int and type(weight) is float for one, weight in found.items())


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.9999])
def test_effective_numbers_are_those_of_the_paper(beta):
    counts = np.array([40, 7, 3])
    expected = (1 - beta) / (1 - beta**counts)
    found = np.array(list(data.class_weights(LABELS, beta).values()))
    np.testing.assert_allclose(found / found[0], expected / expected[0])
    np.testing.assert_allclose(np.sum(found * counts), 50)


def test_limits_of_beta_are_equal_weights_and_those_of_frequencies():
    assert data.class_weights(LABELS, 0) == {0: 1.0, 1: 1.0, 3: 1.0}
    found = data.class_weights(LABELS, 1 - 1e-9)
    np.testing.assert_allclose(list(found.values()), list(data.class_weights(LABELS).values()))


def test_examples_without_a_label_do_not_count():
    assert data.class_weights([-1, 0, -1, 1, 1]) == data.class_weights([0, 1, 1])


def test_fit_takes_them():
    keras.utils.set_random_seed(0)
    x, y = np.zeros((60 * 50, 1), "float32"), np.tile(LABELS, 60)
    model = keras.Sequential([keras.layers.Dense(4, "softmax")])
    model.compile(keras.optimizers.SGD(1.0), "sparse_categorical_crossentropy")
    weights = data.class_weights(y)
    model.fit(x, y, batch_size=50, class_weight=weights, shuffle=False, verbose=0)
    # the bias learns what classes look as frequent as
    np.testing.assert_allclose(model.predict(x[:1], verbose=0)[0, [0, 1, 3]], 1 / 3, atol=0.01)


@pytest.mark.parametrize(
    ("labels", "options", "error", "message"),
    [
        ([0.0, 1.0], {}, TypeError, "`labels` must be integers"),
        ([0, -2], {}, ValueError, "-1 for no label. Received: a label of -2"),
        ([[0, 1], [1, 0]], {}, ValueError, "argmax"),
        ([-1], {}, ValueError, "no label of at least 0"),
        ([], {}, ValueError, "no label of at least 0"),
        ([0, 1], {"beta": 1.0}, ValueError, "`beta`"),
        ([0, 1], {"beta": "0.9"}, TypeError, "`beta`"),
    ],
)
def test_wrong_arguments(labels, options, error, message):
    with pytest.raises(error, match=message):
        data.class_weights(labels, **options)
