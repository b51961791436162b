import numpy as np
import pytest

from keras_ssl import evaluate


def reference_rank(features, center):
    if center:
        features = features - features.mean(axis=0)
    values = np.linalg.svd(features, compute_uv=False)
    p = values / values.sum()
    p = p[p > 0]
    return np.exp(-np.sum(p * np.log(p)))


@pytest.mark.parametrize("shape", [(200, 10), (10, 200), (30, 30), (50, 1)])
@pytest.mark.parametrize("center", [True, False])
def test_effective_rank_equals_its_definition(rng, shape, center):
    features = (rng.normal(size=shape) * rng.uniform(0.1, 3, size=shape[1]) + 1).astype("float32")
    expected = reference_rank(features.astype("float64"), center)
    assert evaluate.effective_rank(features, center) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("scale", [1e-15, 1.0, 1e15])
def test_closed_forms(scale):
    # orthogonal columns of one length, mean 0: all dimensions alike
    hadamard = np.array([[1.0]])
    for _ in range(4):
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    assert evaluate.effective_rank(scale * hadamard[:, 1:6]) == pytest.approx(5)
    # two directions, one three times as strong: p = (3/4, 1/4)
    two = hadamard[:, 1:3] * [3 * scale, scale]
    expected = np.exp(-0.75 * np.log(0.75) - 0.25 * np.log(0.25))
    assert evaluate.effective_rank(two) == pytest.approx(expected)


def test_one_direction_and_none(rng):
    direction, mean = rng.normal(size=(2, 64))
    line = rng.normal(size=(500, 1)) * direction + mean
    assert evaluate.effective_rank(line) == pytest.approx(1.0, abs=1e-3)
    constant = np.tile(mean.astype("float32"), (500, 1))
    assert evaluate.effective_rank(constant) == 0.0
    # a forward pass rounds every row a little differently
    rounded = constant * (1 + 1e-7 * rng.normal(size=constant.shape))
    assert evaluate.effective_rank(rounded) == 0.0
    assert evaluate.effective_rank(np.zeros((5, 3))) == 0.0
    assert evaluate.effective_rank(constant, center=False) == pytest.approx(1.0, abs=1e-3)


def test_effective_rank_is_invariant_to_scale_rotation_and_mean(rng):
    features = rng.normal(size=(100, 8)) * np.arange(1, 9)
    rotation, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    moved = 1e3 * features @ rotation + rng.normal(size=8)
    expected = evaluate.effective_rank(features)
    assert evaluate.effective_rank(moved) == pytest.approx(expected, rel=1e-5)


def test_feature_std_equals_its_definition(rng):
    features = rng.normal(size=(100, 8)) + 1
    normalized = features / np.linalg.norm(features, axis=1, keepdims=True)
    stds = evaluate.feature_std(features)
    np.testing.assert_allclose(stds, normalized.std(axis=0) * np.sqrt(8), rtol=1e-5)
    # the mean square is 1 minus the mean cosine similarity
    similarity = np.mean(normalized @ normalized.T)
    assert np.mean(stds**2) == pytest.approx(1 - similarity, rel=1e-5)


def test_feature_std_of_the_sphere_and_of_a_point(rng):
    np.testing.assert_allclose(evaluate.feature_std(rng.normal(size=(20000, 32))), 1, atol=0.03)
    # the same direction at different lengths is one point
    constant = rng.uniform(1, 2, size=(100, 1)) * rng.normal(size=8)
    np.testing.assert_allclose(evaluate.feature_std(constant), 0, atol=1e-6)
    np.testing.assert_array_equal(evaluate.feature_std(np.zeros((5, 3))), 0)


@pytest.mark.parametrize("measure", [evaluate.effective_rank, evaluate.feature_std])
@pytest.mark.parametrize(
    "features", [np.zeros(3), np.zeros((2, 3, 4)), np.zeros((0, 3)), np.full((2, 3), np.inf)]
)
def test_wrong_features(measure, features):
    with pytest.raises(ValueError, match="`features` must"):
        measure(features)
