import numpy as np
import pytest
import tensorflow as tf
from sklearn.neighbors import KNeighborsClassifier

from keras_ssl import evaluate
from keras_ssl.evaluate import knn
from tests.evaluate.fashion import convolutional_encoder, fashion


def reference(train, labels, test, k, temperature):
    """scikit-learn in float64; cosine distance is 1 - similarity: the factor exp(1/T) cancels."""
    classifier = KNeighborsClassifier(
        k, metric="cosine", algorithm="brute", weights=lambda d: np.exp(-d / temperature)
    )
    return classifier.fit(train.astype("float64"), labels).predict(test.astype("float64"))


@pytest.mark.parametrize("k", [1, 5, 20, 200])
@pytest.mark.parametrize("temperature", [0.01, 0.07, 0.1, 10.0])
def test_predictions_equal_scikit_learn_on_random_features(rng, k, temperature):
    centres = rng.normal(size=(7, 16))
    labels = rng.integers(7, size=500)
    train = centres[labels] + 1.5 * rng.normal(size=(500, 16))
    test = rng.normal(size=(300, 16))
    predicted = evaluate.knn_predict(train, labels, test, k, temperature)
    np.testing.assert_array_equal(predicted, reference(train, labels, test, k, temperature))


@pytest.mark.parametrize("kind", ["raw pixels", "encoder"])
def test_predictions_equal_scikit_learn_on_real_images(kind):
    encoder = evaluate.raw_pixels if kind == "raw pixels" else convolutional_encoder()
    train, labels = evaluate.extract_features(encoder, fashion("train[:3000]"))
    test, test_labels = evaluate.extract_features(encoder, fashion("test[:1000]"))
    expected = reference(train, labels, test, 20, 0.1)
    np.testing.assert_array_equal(evaluate.knn_predict(train, labels, test), expected)
    accuracy = evaluate.knn_accuracy(encoder, fashion("train[:3000]"), fashion("test[:1000]"))
    assert accuracy == np.mean(expected == test_labels)
    assert accuracy > 0.4  # chance is 0.1


def test_accuracy_from_datasets_and_arrays():
    train, test = fashion("train[:300]"), fashion("test[:200]")
    as_datasets = [tf.data.Dataset.from_tensor_slices(pair).batch(64) for pair in (train, test)]
    from_arrays = evaluate.knn_accuracy(evaluate.raw_pixels, train, test)
    assert evaluate.knn_accuracy(evaluate.raw_pixels, *as_datasets) == from_arrays
    assert isinstance(from_arrays, float)


def test_block_size_does_not_change_predictions(rng, monkeypatch):
    train, labels, test = (
        rng.normal(size=(50, 8)),
        rng.integers(4, size=50),
        rng.normal(size=(37, 8)),
    )
    whole = evaluate.knn_predict(train, labels, test, k=5)
    monkeypatch.setattr(knn, "_SIMILARITIES_AT_ONCE", 500)
    np.testing.assert_array_equal(evaluate.knn_predict(train, labels, test, k=5), whole)


def test_only_directions_count(rng):
    train, labels, test = (
        rng.normal(size=(50, 8)),
        rng.integers(4, size=50),
        rng.normal(size=(30, 8)),
    )
    plain = evaluate.knn_predict(train, labels, test, k=5)
    for scale in (1e-30, 1e30):
        lengths = scale * rng.uniform(0.5, 2.0, size=(50, 1))
        scaled = evaluate.knn_predict(train * lengths, labels, test * scale, k=5)
        np.testing.assert_array_equal(scaled, plain)


def test_any_integers_as_labels(rng):
    train, test = rng.normal(size=(50, 8)), rng.normal(size=(30, 8))
    labels = rng.integers(3, size=50)
    names = np.array([-5, 7, 1000], "int16")
    predicted = evaluate.knn_predict(train, names[labels], test, k=5)
    assert predicted.dtype == "int16"
    np.testing.assert_array_equal(predicted, names[evaluate.knn_predict(train, labels, test, k=5)])


def test_ties_go_to_the_smallest_label():
    train = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert evaluate.knn_predict(train, np.array([3, 2]), train[:1], k=2) == [2]


def test_features_of_zeros_vote_without_nan():
    predicted = evaluate.knn_predict(
        np.zeros((4, 3)), np.array([1, 1, 1, 0]), np.zeros((2, 3)), k=4
    )
    np.testing.assert_array_equal(predicted, [1, 1])


def test_a_small_temperature_follows_the_nearest(rng):
    train, labels, test = (
        rng.normal(size=(60, 8)),
        rng.integers(4, size=60),
        rng.normal(size=(30, 8)),
    )
    np.testing.assert_array_equal(
        evaluate.knn_predict(train, labels, test, k=20, temperature=1e-6),
        evaluate.knn_predict(train, labels, test, k=1),
    )


FEATURES, LABELS = np.eye(4), np.array([0, 0, 1, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 5}, "`k` must not exceed.*k=5 and 4"),
        ({"k": 0}, "`k` must be a positive integer"),
        ({"temperature": 0.0}, "`temperature` must be a positive number"),
        ({"temperature": float("nan")}, "`temperature` must be a positive number"),
        ({"train_labels": np.zeros(4, int)}, "at least two classes"),
        ({"train_labels": LABELS[:3]}, "3 labels and 4 rows"),
        ({"train_labels": np.eye(4, dtype=int)}, "argmax"),
        ({"test_features": np.ones((2, 3))}, "same number of dimensions"),
        ({"test_features": np.ones(4)}, "`test_features` must have shape"),
        ({"test_features": np.ones((0, 4))}, "at least one example"),
        ({"train_features": np.full((4, 4), np.nan)}, "NaN or infinity in 4 of 4"),
    ],
)
def test_wrong_arguments(arguments, message):
    good = {"train_features": FEATURES, "train_labels": LABELS, "test_features": FEATURES, "k": 2}
    evaluate.knn_predict(**good)
    with pytest.raises(ValueError, match=message):
        evaluate.knn_predict(**{**good, **arguments})


def test_temperature_that_is_not_a_number():
    with pytest.raises(TypeError, match=r"`temperature` must be a positive number.*str"):
        evaluate.knn_predict(FEATURES, LABELS, FEATURES, k=2, temperature="0.1")


def test_k_of_a_wrong_type():
    with pytest.raises(TypeError, match="`k` must be a positive integer"):
        evaluate.knn_predict(FEATURES, LABELS, FEATURES, k=2.0)


def test_wrong_data_raises_before_encoding():
    def encoder(x):
        raise AssertionError("encoded")

    with pytest.raises(ValueError, match="`test` must carry labels"):
        evaluate.knn_accuracy(encoder, (FEATURES, LABELS), FEATURES)
    with pytest.raises(TypeError, match="`train` must be integers"):
        evaluate.knn_accuracy(encoder, (FEATURES, LABELS * 0.5), (FEATURES, LABELS))
    with pytest.raises(ValueError, match="`temperature`"):
        evaluate.knn_accuracy(encoder, (FEATURES, LABELS), (FEATURES, LABELS), temperature=-1.0)


def test_examples_without_a_label_are_left_out(rng):
    train, test = rng.normal(size=(60, 8)), rng.normal(size=(40, 8))
    labels, test_labels = rng.integers(-1, 3, size=60), rng.integers(-1, 3, size=40)
    known, known_test = labels >= 0, test_labels >= 0
    expected = reference(train[known], labels[known], test, 5, 0.1)
    np.testing.assert_array_equal(evaluate.knn_predict(train, labels[:, None], test, 5), expected)
    accuracy = evaluate.knn_accuracy(
        evaluate.raw_pixels, (train, labels), (test, test_labels[:, None]), k=5
    )
    assert accuracy == np.mean(expected[known_test] == test_labels[known_test])
    with pytest.raises(ValueError, match="`k` must not exceed"):
        evaluate.knn_predict(train, labels, test, k=int(known.sum()) + 1)
    with pytest.raises(ValueError, match="must hold examples with a label"):
        evaluate.knn_predict(train, np.full(60, -1), test, k=5)


def test_labels_that_are_strings(rng):
    train, test = rng.normal(size=(60, 8)), rng.normal(size=(40, 8))
    labels = rng.integers(0, 3, size=60)
    names = np.array(["a", "bb", "c"])
    expected = names[evaluate.knn_predict(train, labels, test, k=5)]
    np.testing.assert_array_equal(evaluate.knn_predict(train, names[labels], test, k=5), expected)
    data = tf.data.Dataset.from_tensor_slices((train, names[labels])).batch(16)
    accuracy = evaluate.knn_accuracy(evaluate.raw_pixels, data, (test, expected), k=5)
    assert accuracy == 1.0
