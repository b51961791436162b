"""Losses of labels and predictions equal PyTorch's and, where they meet, Keras' own."""

import json
import re
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl import losses
from tests.losses.gradients import BACKEND, compiled_value_and_gradients, value_and_gradients

REFERENCE = Path(__file__).parents[1] / "reference" / "margin_losses.json"
CASES = json.loads(REFERENCE.read_text())["cases"]
OF_ENTRIES = ("SmoothL1", "SoftMargin", "HingeEmbedding")
NAMES = sorted({case["name"] for case in CASES})


def cases():
    """Class, arguments, labels, predictions and PyTorch's numbers of each stored case."""
    for case in CASES:
        labels = None if case["y_true"] is None else np.array(case["y_true"])
        if labels is not None and labels.dtype == "float64":
            labels = labels.astype("float32")
        predictions = np.array(case["y_pred"], "float32")
        yield getattr(losses, case["name"]), case["arguments"], labels, predictions, case


def factors(case):
    """Our mean and sum divided by PyTorch's, which takes other means over classes or entries."""
    width = np.shape(case["y_pred"])[-1]
    if case["name"] == "MultiClassHinge":
        return width, width
    if case["name"] == "LogSpaceKLDivergence":
        return width, 1
    return (1, 1 / width) if case["name"] in OF_ENTRIES else (1, 1)


def test_values_equal_pytorch():
    for cls, arguments, labels, predictions, case in cases():
        expected = np.array(case["none"])
        if case["name"] in OF_ENTRIES:
            expected = expected.mean(-1)
        elif case["name"] == "LogSpaceKLDivergence":
            expected = expected.sum(-1)
        expected = expected * (factors(case)[0] if case["name"] == "MultiClassHinge" else 1)
        values = cls(**arguments, reduction=None)(labels, predictions)
        np.testing.assert_allclose(values, expected, rtol=2e-5, atol=2e-6, err_msg=case["name"])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_reductions_and_gradients_equal_pytorch(reduction):
    for cls, arguments, labels, predictions, case in cases():
        factor = factors(case)[reduction == "sum"]
        ours = "sum_over_batch_size" if reduction == "mean" else "sum"
        if reduction == "mean" and case["name"] == "NegativeLogLikelihood":
            ours = "mean_with_sample_weight"
        loss = cls(**arguments, reduction=ours)
        value, (gradient,) = value_and_gradients(
            lambda y, loss=loss, labels=labels: loss(labels, y), predictions
        )
        expected = case[reduction]
        np.testing.assert_allclose(
            value, factor * expected["value"], rtol=2e-5, atol=2e-6, err_msg=case["name"]
        )
        np.testing.assert_allclose(
            gradient,
            factor * np.array(expected["gradient"]),
            rtol=2e-4,
            atol=2e-6,
            err_msg=case["name"],
        )


def first_case(name):
    return next(case for case in cases() if case[-1]["name"] == name)


def test_lists_are_taken():
    for name in NAMES:
        cls, arguments, labels, predictions, _ = first_case(name)
        if labels is not None:
            value = cls(**arguments)(labels.tolist(), predictions.tolist())
            np.testing.assert_allclose(value, cls(**arguments)(labels, predictions), rtol=1e-6)
    assert float(losses.multi_class_hinge([0], [[1.0, 0.5]])[0]) == 0.5
    assert float(losses.triplet_margin([0, 0, 1], [[0.0], [1.0], [2.0]], mining="hardest")[0]) == 0


def test_sample_weights_multiply_the_values(rng):
    for name in NAMES:
        cls, arguments, labels, predictions, _ = first_case(name)
        weights = rng.uniform(size=len(predictions)).astype("float32")
        values = ops.convert_to_numpy(cls(**arguments, reduction=None)(labels, predictions))
        weighted = cls(**arguments)(labels, predictions, sample_weight=weights)
        np.testing.assert_allclose(weighted, np.mean(weights * values), rtol=1e-5, err_msg=name)


def test_configs_and_half_precision():
    for cls, arguments, labels, predictions, _ in cases():
        loss = cls(**arguments, name="error", reduction="sum")
        copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
        assert copy.get_config() == loss.get_config() and arguments.items() <= copy.__dict__.items()
        value = loss(labels, predictions.astype("float16"))
        assert keras.backend.standardize_dtype(value.dtype) == "float32"
        np.testing.assert_allclose(value, loss(labels, predictions), rtol=5e-3)


def test_zeros_and_large_numbers_have_finite_gradients():
    for name in NAMES:
        cls, arguments, labels, predictions, _ = first_case(name)
        loss = cls(**arguments)
        for inputs in (0 * predictions, 1e8 * predictions):
            value, (gradient,) = value_and_gradients(
                lambda y, loss=loss, labels=labels: loss(labels, y), inputs
            )
            assert np.isfinite(value) and np.all(np.isfinite(gradient)), name


def test_labels_0_and_minus_1_are_the_same_and_may_be_columns():
    for name in ("SoftMargin", "HingeEmbedding", "MarginRanking", "CosineEmbedding"):
        cls, arguments, labels, predictions, _ = first_case(name)
        loss = cls(**arguments)
        expected = loss(labels, predictions)
        np.testing.assert_array_equal(loss(labels > 0, predictions), expected)
        if labels.ndim == 1:
            np.testing.assert_array_equal(loss(labels[:, None], predictions), expected)
    scores = np.array([0.5, -1.0, 2.0], "float32")
    signs = np.array([1, -1, -1])
    for loss in (losses.SoftMargin(reduction=None), losses.HingeEmbedding(reduction=None)):
        values = loss(signs, scores)
        assert tuple(values.shape) == (3,)
        np.testing.assert_allclose(values, loss(signs, scores[:, None]))


def test_equal_keras_where_they_meet(rng):
    scores, ids = rng.normal(size=(6, 3)).astype("float32"), np.array([0, 2, 1, 1, -1, 0])
    log_p = ops.log_softmax(scores)
    np.testing.assert_allclose(
        losses.NegativeLogLikelihood(ignore_class=-1)(ids, log_p),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)(ids, scores),
        rtol=1e-5,
    )
    two, classes = scores[:, :2], np.array([0, 1, 1, 0, 0, 1])
    one_hot = np.eye(2, dtype="float32")[classes]
    positive = np.abs(two)  # Keras takes the highest of 0 and the wrong scores, here the only one
    np.testing.assert_allclose(
        losses.MultiClassHinge()(classes, positive),
        keras.losses.CategoricalHinge()(one_hot, positive),
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        losses.SmoothL1(beta=0.4)(one_hot, two),
        keras.losses.Huber(delta=0.4)(one_hot, two) / 0.4,
        rtol=1e-5,
    )
    np.testing.assert_allclose(
        losses.SoftMargin()(one_hot, two),
        keras.losses.BinaryCrossentropy(from_logits=True)(one_hot, two),
        rtol=1e-5,
    )
    p = ops.softmax(two)
    np.testing.assert_allclose(
        losses.LogSpaceKLDivergence()(p, ops.log_softmax(2 * two)),
        keras.losses.KLDivergence()(p, ops.softmax(2 * two)),
        rtol=1e-4,
    )


def test_class_and_sample_weights_of_positions(rng):
    log_p = np.log(rng.dirichlet(np.ones(3), size=(2, 4))).astype("float32")
    ids = np.array([[0, 1, 2, 9], [2, 9, 9, 0]])
    weights = np.array([0.5, 2.0], "float32")
    by_class = [1.0, 3.0, 0.5]
    loss = losses.NegativeLogLikelihood(
        by_class, ignore_class=9, reduction="mean_with_sample_weight"
    )
    total = count = 0.0
    for row, position in np.argwhere(ids != 9):
        weight = by_class[ids[row, position]] * weights[row]
        total -= weight * log_p[row, position, ids[row, position]]
        count += weight
    for shape in ((2,), (2, 1)):
        value = loss(ids, log_p, sample_weight=weights.reshape(shape))
        np.testing.assert_allclose(value, total / count, rtol=1e-5)
    np.testing.assert_allclose(loss(ids[..., None], log_p, weights[:, None]), total / count, 1e-5)


def test_impossible_classes_do_not_matter_where_the_target_is_0():
    log_p = np.array([[0.0, -np.inf]], "float32")
    loss = losses.LogSpaceKLDivergence()
    target = np.array([[1.0, 0.0]], "float32")
    value, (gradient,) = value_and_gradients(lambda y: loss(target, y), log_p)
    assert value == 0 and np.all(np.isfinite(gradient))
    assert losses.LogSpaceKLDivergence(log_targets=True)(log_p, log_p) == 0


def test_triplets_of_a_model_need_no_labels_in_fit(rng):
    if BACKEND != "tensorflow":
        pytest.skip("fit of TensorFlow")
    model = keras.Sequential([keras.layers.Dense(2)])
    model.compile("sgd", loss=losses.TripletMargin(), jit_compile=False)
    model.fit(rng.normal(size=(6, 3, 4)).astype("float32"), batch_size=4, verbose=0)
    embedder = keras.Sequential([keras.layers.Dense(2)])
    embedder.compile("sgd", loss=losses.TripletMargin(mining="semi_hard"), jit_compile=False)
    x, labels = rng.normal(size=(6, 4)).astype("float32"), np.arange(6) % 2
    history = embedder.fit(x, labels, batch_size=4, epochs=3, verbose=0).history["loss"]
    assert np.all(np.isfinite(history))


@pytest.mark.parametrize("cls", [losses.NegativeLogLikelihood, losses.MultiClassHinge])
def test_ids_that_are_no_class_are_nan_and_spare_the_gradient(cls, rng):
    scores, ids = rng.normal(size=(4, 3)).astype("float32"), np.array([2, -1, 3, 0])
    values = ops.convert_to_numpy(cls(reduction=None)(ids, scores))
    np.testing.assert_array_equal(np.isnan(values), [False, True, True, False])
    weighted = cls([1.0, 2.0, 3.0] if cls is losses.NegativeLogLikelihood else 1.0)
    for loss in (cls(), weighted):
        value, (gradient,) = value_and_gradients(lambda z, loss=loss: loss(ids, z), scores)
        assert np.isnan(value) and np.isfinite(gradient).all()


def test_compiles(rng):
    cls, arguments, labels, predictions, _ = first_case("NegativeLogLikelihood")
    loss = cls(**arguments)
    plain, compiled = (
        run(lambda y: loss(labels, y), predictions)
        for run in (value_and_gradients, compiled_value_and_gradients)
    )
    np.testing.assert_allclose(plain[0], compiled[0], rtol=1e-5)
    np.testing.assert_allclose(plain[1], compiled[1], rtol=1e-5)


FLOATS = np.ones((4, 3), "float32")
IDS = np.zeros(4, "int32")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: losses.MultiClassHinge(margin=-1), ValueError, "`margin` must be a number of at"),
        (lambda: losses.MultiClassHinge(power=3), ValueError, "`power` must be 1 or 2.*power=3"),
        (lambda: losses.MultiClassHinge(class_weight=2.0), TypeError, "`class_weight` must be a"),
        (
            lambda: losses.NegativeLogLikelihood([1, -1]),
            ValueError,
            r"`class_weight\[1\]` must be a number of at least 0",
        ),
        (
            lambda: losses.NegativeLogLikelihood([1, 1])(IDS, FLOATS),
            ValueError,
            r"one number for each class.*2 numbers.*\(4, 3\)",
        ),
        (lambda: losses.MultiClassHinge()(FLOATS, FLOATS), TypeError, "`y_true` must be integer"),
        (
            lambda: losses.MultiClassHinge()(IDS[:3], FLOATS),
            ValueError,
            r"one class id for each row.*\(3,\).*\(4, 3\)",
        ),
        (lambda: losses.NegativeLogLikelihood()(IDS, IDS), TypeError, "`y_pred` must be floating"),
        (lambda: losses.NegativeLogLikelihood(ignore_class=0.5), TypeError, "`ignore_class`"),
        (lambda: losses.SmoothL1(beta=-0.1), ValueError, "`beta` must be a number of at least 0"),
        (
            lambda: losses.SmoothL1()(FLOATS[:, :2], FLOATS),
            ValueError,
            r"same shape.*\(4, 2\).*\(4, 3\)",
        ),
        (lambda: losses.SoftMargin()(None, FLOATS), ValueError, "`y_true` must be a tensor"),
        (lambda: losses.CosineEmbedding(margin=2), ValueError, "`margin` must be a number from -1"),
        (
            lambda: losses.CosineEmbedding()(IDS, FLOATS),
            ValueError,
            r"shape \(batch, 2, dim\): the two embeddings.*\(4, 3\)",
        ),
        (
            lambda: losses.ContrastiveMargin()(IDS[:2], np.ones((4, 2, 3), "float32")),
            ValueError,
            r"one label for each row.*\(2,\)",
        ),
        (
            lambda: losses.MarginRanking()(IDS, FLOATS),
            ValueError,
            r"shape \(batch, 2\): the two scores.*\(4, 3\)",
        ),
        (
            lambda: losses.TripletMargin()(None, FLOATS),
            ValueError,
            r"\(batch, 3, dim\): anchor, positive and negative",
        ),
        (lambda: losses.TripletMargin(mining="all"), ValueError, "`mining` must be None.*'all'"),
        (
            lambda: losses.TripletMargin(swap=True, mining="hardest"),
            ValueError,
            "`swap` is for given triplets",
        ),
        (
            lambda: losses.TripletMargin(mining="hardest")(None, FLOATS),
            ValueError,
            "needs labels.*y_true=None",
        ),
        (
            lambda: losses.TripletMargin(mining="hardest")(IDS[:2], FLOATS),
            ValueError,
            r"`y_true` must have shape \(batch,\).*\(2,\)",
        ),
        (lambda: losses.TripletMargin(p=3), ValueError, "`p` must be 1 or 2"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=re.compile(message, re.DOTALL)):
        call()
