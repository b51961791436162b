import keras
import numpy as np
import pytest
from keras.src.testing import TestCase

from keras_ssl.layers import ProjectionHead, SyncBatchNormalization


class TestConformance(TestCase):
    def check(self, weights, statistics=0, generators=0, **arguments):
        self.run_layer_test(
            ProjectionHead,
            init_kwargs=arguments,
            input_shape=(8, 6),
            expected_output_shape=(8, arguments["widths"][-1]),
            expected_num_trainable_weights=weights,
            expected_num_non_trainable_weights=statistics,
            expected_num_seed_generators=generators,
        )

    def test_simclr(self):
        self.check(5, 2, widths=(12, 4))

    def test_simclr_last_normalization(self):
        self.check(6, 4, widths=(12, 4), last_normalization=True, use_bias=False)

    def test_moco(self):
        self.check(4, widths=(12, 4), normalization=False)

    def test_barlow_twins(self):
        self.check(7, 4, widths=(12, 12, 12), use_bias=False)

    def test_simsiam(self):
        plain = SyncBatchNormalization(center=False, scale=False)
        self.check(6 + 1, 6, widths=(12, 12, 12), last_normalization=plain)

    def test_dino(self):
        self.check(6, widths=(12, 12, 4), normalization=False, activation="gelu", l2_normalize=True)

    def test_other_normalization_and_dropout(self):
        norm = keras.layers.LayerNormalization()
        self.check(5, 0, 1, widths=[12, 4], normalization=norm, dropout=0.5)

    def test_one_width(self):
        self.check(2, widths=(4,))


def test_equals_the_formula(rng):
    head = ProjectionHead((7, 5), last_normalization=True, l2_normalize=True)
    x = rng.normal(size=(16, 6))
    head.build(x.shape)
    for weight in head.trainable_weights:
        weight.assign(rng.normal(size=weight.shape))
    kernel1, gamma1, beta1, kernel2, gamma2, beta2 = (
        np.asarray(w, "float64") for w in head.trainable_weights
    )

    def normalized(h, gamma, beta):
        return gamma * (h - h.mean(0)) / np.sqrt(h.var(0) + 1e-5) + beta

    h = np.maximum(normalized(x @ kernel1, gamma1, beta1), 0)
    z = normalized(h @ kernel2, gamma2, beta2)
    z /= np.linalg.norm(z, axis=1, keepdims=True)
    np.testing.assert_allclose(head(x, training=True), z, rtol=1e-4, atol=1e-5)


def test_bias_only_without_normalization():
    def biases(**arguments):
        head = ProjectionHead((4, 4), **arguments)
        head.build((None, 3))
        return [w.path.split("/")[-2] for w in head.weights if w.name == "bias"]

    assert biases() == ["dense_2"]
    assert biases(last_normalization=True) == []
    assert biases(normalization=False) == ["dense_1", "dense_2"]
    assert biases(use_bias=True) == ["dense_1", "dense_2"]
    assert biases(use_bias=False) == []


def test_copies_of_a_layer_share_nothing():
    pattern = SyncBatchNormalization(momentum=0.5)
    head = ProjectionHead((4, 4, 4), normalization=pattern)
    head.build((None, 4))
    assert not pattern.built
    moving = [w for w in head.weights if w.name == "moving_mean"]
    assert len(moving) == 2
    kernels = [np.asarray(w) for w in head.weights if w.name == "kernel"]
    assert not np.allclose(kernels[0], kernels[1])
    head(np.ones((2, 4)), training=True)
    loaded = ProjectionHead.from_config(head.get_config())
    assert loaded.get_config() == head.get_config()


def test_training_flag_is_passed_on(rng):
    x = rng.normal(size=(8, 4)).astype("float32")
    head = ProjectionHead((64, 2), normalization=False, dropout=0.5)
    assert np.allclose(head(x), head(x, training=False))
    assert not np.allclose(head(x, training=True), head(x, training=True))
    head = ProjectionHead((64, 2))
    head(x, training=False)
    before = [np.asarray(w) for w in head.non_trainable_weights]
    head(x, training=True)
    after = [np.asarray(w) for w in head.non_trainable_weights]
    assert not any(np.allclose(b, a) for b, a in zip(before, after, strict=True))


def test_unit_length_in_float16(rng):
    head = ProjectionHead((8, 4), normalization=False, l2_normalize=True, dtype="mixed_float16")
    z = head(1000 * rng.normal(size=(8, 4)).astype("float16"))
    assert keras.backend.standardize_dtype(z.dtype) == "float16"
    np.testing.assert_allclose(np.linalg.norm(np.asarray(z, "float64"), axis=1), 1, atol=2e-3)


def test_sequences_of_features(rng):
    head = ProjectionHead((8, 4), normalization=False)
    x = rng.normal(size=(2, 3, 6)).astype("float32")
    whole = head(x)
    assert whole.shape == (2, 3, 4)
    np.testing.assert_allclose(whole[:, 1], head(x[:, 1]), rtol=1e-5, atol=1e-6)


def test_saves_and_loads(tmp_path, rng):
    features = keras.Input((6,))
    head = ProjectionHead((8, 4), last_normalization=SyncBatchNormalization(scale=False))
    model = keras.Model(features, head(features))
    x = rng.normal(size=(8, 6))
    model(x, training=True)
    model.save(tmp_path / "head.keras")
    loaded = keras.models.load_model(tmp_path / "head.keras", safe_mode=True)
    np.testing.assert_allclose(loaded(x), model(x), atol=1e-6)


@pytest.mark.parametrize("widths", [(), 128, "128", (128, 0), (128, -1), (128, 2.5), (True,), None])
def test_wrong_widths_raise(widths):
    error = TypeError if widths in [(128, 2.5), (True,)] else ValueError
    with pytest.raises(error, match=r"`widths(\[\d\])?`.*Received"):
        ProjectionHead(widths)


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_wrong_dropout_raises(dropout):
    with pytest.raises(ValueError, match=r"`dropout`.*Received"):
        ProjectionHead((4,), dropout=dropout)


@pytest.mark.parametrize("argument", ["normalization", "last_normalization"])
@pytest.mark.parametrize("value", ["batch", SyncBatchNormalization, 1])
def test_wrong_normalization_raises(argument, value):
    with pytest.raises(TypeError, match=f"`{argument}`.*Received"):
        ProjectionHead((4,), **{argument: value})


@pytest.mark.parametrize("seed", [None, 5])
def test_kernels_of_one_shape_differ_reproducibly(seed):
    def kernels():
        keras.utils.set_random_seed(3)
        initializer = keras.initializers.RandomNormal(seed=seed)
        head = ProjectionHead((6, 6, 6), kernel_initializer=initializer, normalization=False)
        keras.utils.set_random_seed(4)  # seeds are drawn at construction
        head.build((None, 6))
        return [np.array(weight) for weight in head.weights if len(weight.shape) == 2]

    drawn = kernels()
    for i in range(3):
        for j in range(i):
            assert not np.allclose(drawn[i], drawn[j])
    np.testing.assert_array_equal(kernels(), drawn)
