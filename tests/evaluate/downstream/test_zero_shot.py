"""Zero-shot classifiers beside the formula, as layers, and on real tokens."""

import keras
import numpy as np
import pytest
from keras.src.testing import TestCase

from keras_ssl import evaluate, networks, text

NAMES = ["cat", "dog", "heron"]
TEMPLATES = ["a {}", "the {} there", "{}!"]


class TestConformance(TestCase):
    def test_layer(self):
        self.run_layer_test(
            evaluate.ZeroShotClassifier,
            init_kwargs={"class_names": NAMES, "temperature": 0.1},
            input_shape=(4, 6),
            expected_output_shape=(4, 3),
            expected_num_non_trainable_weights=1,
            expected_num_trainable_weights=0,
            run_training_check=False,
        )


def letters(texts):
    """How often each of some letters occurs."""
    return np.array([[one.count(letter) for letter in "acdehnot!"] for one in texts], "float32")


def small_classifier():
    return evaluate.zero_shot_classifier(evaluate.raw_pixels, letters, NAMES, TEMPLATES)


def test_embeddings_are_the_mean_direction_of_prompts():
    classifier = small_classifier()
    for name, embedding in zip(NAMES, np.array(classifier.embeddings), strict=True):
        prompts = letters([template.format(name) for template in TEMPLATES]).astype("float64")
        mean = np.mean([one / np.linalg.norm(one) for one in prompts], axis=0)
        np.testing.assert_allclose(embedding, mean / np.linalg.norm(mean), atol=1e-6)


def test_logits_names_and_accuracy(rng):
    classifier = small_classifier()
    embeddings = np.array(classifier.embeddings, "float64")
    features = rng.normal(size=(50, 9)).astype("float32")
    cosines = features / np.linalg.norm(features, axis=1, keepdims=True) @ embeddings.T
    np.testing.assert_allclose(classifier(features), cosines / 0.01, atol=1e-3)
    best = cosines.argmax(axis=1)
    names = classifier.classify(evaluate.raw_pixels, features)
    assert names == [NAMES[one] for one in best]
    labels = rng.integers(3, size=50)
    expected = np.mean(best == labels)
    assert classifier.accuracy(evaluate.raw_pixels, (features, labels)) == expected
    by_name = np.array(NAMES)[labels]
    assert classifier.accuracy(evaluate.raw_pixels, (features, by_name)) == expected
    second = np.mean((np.argsort(-cosines, axis=1)[:, :2] == labels[:, None]).any(axis=1))
    assert classifier.accuracy(evaluate.raw_pixels, (features, labels), k=2) == second
    labels[25:] = -1
    some = classifier.accuracy(evaluate.raw_pixels, (features, labels[:, None]))
    assert some == np.mean(best[:25] == labels[:25])


def test_classes_with_one_embedding_are_not_told_apart():
    classifier = evaluate.ZeroShotClassifier(["a", "b"])
    classifier.set_embeddings(np.ones((2, 3)))
    assert (
        classifier.accuracy(evaluate.raw_pixels, (np.ones((4, 3)), np.array([0, 0, 1, 1]))) == 0.0
    )


def test_a_text_encoder_and_a_saved_model(tmp_path):
    tokenizer = text.VocabularyTokenizer.characters(["abcdefghijklmnopqrstuvwxyz {}!"])
    encoder = networks.bert((8, 1, 2), vocabulary_size=tokenizer.vocabulary_size, max_length=20)
    classifier = evaluate.zero_shot_classifier(
        encoder, lambda texts: tokenizer(texts, length=20), NAMES, TEMPLATES
    )
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(8), classifier])
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    x = np.random.default_rng(0).normal(size=(5, 8)).astype("float32")
    np.testing.assert_array_equal(loaded(x), model(x))
    assert loaded.layers[-1].class_names == NAMES
    with pytest.raises(ValueError, match="expected axis -1"):
        classifier(np.ones((2, 9)))
    assert not any(one.path.endswith("embeddings") for one in loaded.trainable_weights)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"class_names": "cat"}, TypeError, "`class_names` must be a list of strings"),
        ({"class_names": ["cat"]}, ValueError, "two different names"),
        ({"class_names": ["cat", "cat"]}, ValueError, "two different names"),
        ({"templates": []}, ValueError, "`templates` must hold"),
        ({"templates": ["a photo"]}, ValueError, "must have one `{}`"),
        ({"tokenize": None}, TypeError, "`tokenize` must be a function"),
        ({"tokenize": lambda texts: letters(texts)[:2]}, ValueError, "one row per text"),
        ({"tokenize": lambda texts: 0 * letters(texts)}, ValueError, "must have directions"),
        ({"tokenize": lambda texts: np.nan * letters(texts)}, ValueError, "must be finite"),
        ({"temperature": 0}, ValueError, "`temperature` must be a positive"),
    ],
)
def test_bad_input(arguments, error, message):
    given = {"tokenize": letters, "class_names": NAMES} | arguments
    with pytest.raises(error, match=message):
        evaluate.zero_shot_classifier(evaluate.raw_pixels, **given)


def test_bad_features_and_labels():
    classifier = small_classifier()
    x = np.ones((2, 9))
    with pytest.raises(ValueError, match="Received: 3"):
        classifier.accuracy(evaluate.raw_pixels, (x, np.array([0, 3])))
    with pytest.raises(ValueError, match="Received: 'cow'"):
        classifier.accuracy(evaluate.raw_pixels, (x, np.array(["cat", "cow"])))
    with pytest.raises(ValueError, match="9 dimensions"):
        classifier.classify(evaluate.raw_pixels, np.ones((2, 4)))
    with pytest.raises(ValueError, match="must be finite"):
        classifier.classify(evaluate.raw_pixels, x * np.nan)
    with pytest.raises(ValueError, match="need embeddings"):
        evaluate.ZeroShotClassifier(NAMES).classify(evaluate.raw_pixels, x)
    with pytest.raises(ValueError, match="3 rows, one for each class"):
        classifier.set_embeddings(np.ones((2, 9)))
