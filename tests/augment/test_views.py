import itertools
import re
from pathlib import Path

import keras
import numpy as np
import pytest

from keras_ssl import augment

to_numpy = keras.ops.convert_to_numpy


def test_count_views_of_one_pipeline(rng):
    images = rng.integers(0, 256, (8, 16, 16, 3)).astype("uint8")
    views = augment.Views(augment.RandomResizedCrop(12), count=4, seed=0)(images)
    views = [to_numpy(view) for view in views]
    assert [view.shape for view in views] == [(8, 12, 12, 3)] * 4
    pairs = itertools.combinations(views, 2)
    assert min(np.abs(one - other).mean() for one, other in pairs) > 1


def test_keras_rand_augment_in_the_pipeline(rng):
    images = rng.integers(0, 256, (8, 24, 24, 3)).astype("uint8")
    layers = [augment.RandomResizedCrop(16), keras.layers.RandAugment(num_ops=2, factor=0.8)]
    first, second = (to_numpy(view) for view in augment.Views(layers, seed=0)(images))
    assert first.shape == second.shape == (8, 16, 16, 3)
    assert first.min() >= 0 and first.max() <= 255
    assert np.abs(first - second).mean() > 1


def test_kerascv_layers_in_the_pipeline(rng):
    keras_cv = pytest.importorskip("keras_cv")
    images = rng.integers(0, 256, (8, 24, 24, 3)).astype("uint8")
    layers = [augment.RandomResizedCrop(16), keras_cv.layers.RandomHue(0.5, (0, 255))]
    first, second = augment.Views(layers, seed=0)(images)
    assert tuple(first.shape) == (8, 16, 16, 3)
    assert np.abs(to_numpy(first) - to_numpy(second)).mean() > 1


def test_outside_training_all_views_are_the_resized_image(rng):
    images = rng.integers(0, 256, (4, 16, 16, 3)).astype("uint8")
    first, second = augment.Views(augment.RandomResizedCrop(16))(images, training=False)
    np.testing.assert_allclose(to_numpy(first), images, atol=1e-3)
    np.testing.assert_array_equal(to_numpy(first), to_numpy(second))


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match=r"`count`.*Received"):
        augment.Views(augment.RandomResizedCrop(12), count=0)
    with pytest.raises(TypeError, match=r"`layers`.*Received"):
        augment.Views([np.flip])


def test_each_view_has_its_own_pipeline(rng):
    images = rng.integers(0, 256, (8, 16, 16, 3)).astype("uint8")
    views = augment.AsymmetricViews(
        [
            augment.Grayscale(1.0),
            [augment.RandomHorizontalFlip(1.0), keras.layers.Rescaling(1 / 255)],
            augment.simclr_pipeline(12, solarize_probability=1.0),
            [],
        ]
    )
    gray, flipped, view, unchanged = (to_numpy(v) for v in views(images))
    np.testing.assert_allclose(gray[..., 0], gray[..., 1], rtol=1e-5)
    np.testing.assert_allclose(flipped, images[:, :, ::-1] / 255.0, rtol=1e-5)
    assert view.shape == (8, 12, 12, 3)
    # everything from the middle of the range on is inverted
    assert view.max() <= 127.5
    np.testing.assert_array_equal(unchanged, images.astype("float32"))


@pytest.mark.parametrize("pipelines", [[], None])
def test_no_pipeline_is_an_error(pipelines):
    with pytest.raises(ValueError, match=r"`pipelines`.*Received"):
        augment.AsymmetricViews(pipelines)


class RandomRoll(augment.Augmentation):
    """A user's layer on a whole structure: tokens and their mask move together."""

    def draw(self, inputs, seed=None):
        batch, time = inputs["token_ids"].shape
        steps = keras.ops.cast(self.uniform((batch,), seed) * time, "int32")
        return (keras.ops.arange(time)[None] + steps[:, None]) % time

    def apply(self, inputs, parameters):
        return {
            name: keras.ops.take_along_axis(x, parameters, axis=1) for name, x in inputs.items()
        }


@pytest.fixture
def text(rng):
    token_ids = rng.integers(0, 3, (8, 12)).astype("int32")
    return {"token_ids": token_ids, "padding_mask": token_ids > 0}


def test_a_layer_of_your_own_takes_a_dictionary(text):
    first, second = augment.Views(RandomRoll(), seed=0)(text)
    for view in (first, second):
        np.testing.assert_array_equal(to_numpy(view["token_ids"]) > 0, view["padding_mask"])
    assert (to_numpy(first["token_ids"]) != to_numpy(second["token_ids"])).any()
    at_rest, _ = augment.Views(RandomRoll())(text, training=False)
    np.testing.assert_array_equal(at_rest["token_ids"], text["token_ids"])


def test_on_key_changes_one_entry(text):
    layer = augment.OnKey("token_ids", augment.sequence.RandomTimeMask(1.0, 3, fill=99), seed=0)
    changed = layer(text)
    assert (to_numpy(changed["token_ids"]) == 99).any()
    np.testing.assert_array_equal(changed["padding_mask"], text["padding_mask"])
    as_tuple = augment.OnKey(0, augment.sequence.RandomTimeMask(1.0, 3, fill=99), seed=0)
    result = as_tuple((text["token_ids"], text["padding_mask"]))
    assert isinstance(result, tuple)
    np.testing.assert_array_equal(result[0], changed["token_ids"])


def test_one_seed_fixes_all_layers(text):
    def views(seed):
        layers = [
            augment.OnKey("token_ids", augment.sequence.RandomTimeMask(0.5)),
            RandomRoll(),
        ]
        return [to_numpy(view["token_ids"]) for view in augment.Views(layers, seed=seed)(text)]

    np.testing.assert_array_equal(views(1), views(1))
    assert (np.array(views(1)) != np.array(views(2))).any()


def test_layers_of_keras_follow_the_mode():
    views = augment.Views(keras.layers.GaussianNoise(1.0))
    first, second = (to_numpy(view) for view in views(np.zeros((8, 3), "float32")))
    assert first.std() > 0.5 and (first != second).any()
    assert not to_numpy(views(np.zeros((8, 3), "float32"), training=False)[0]).any()


@pytest.mark.parametrize(
    ("inputs", "received"),
    [
        ({"b": np.zeros((2, 3))}, r"keys \['b'\]"),
        ((np.zeros((2, 3)),), "tuple of length 1"),
        (np.zeros((2, 3)), "Received"),
    ],
)
def test_a_missing_entry_is_named(inputs, received):
    layer = augment.OnKey("a", augment.tabular.RandomMask())
    with pytest.raises(ValueError, match=f"entry 'a'.*{received}"):
        layer(inputs)


def test_a_layer_on_a_tensor_refuses_a_dictionary(text):
    with pytest.raises(TypeError, match=r"OnKey.*Received: dict"):
        augment.Views(augment.sequence.RandomTimeMask())(text)


def test_a_wrong_key_is_an_error():
    with pytest.raises(TypeError, match=r"`key`.*Received: key=None"):
        augment.OnKey(None, augment.tabular.RandomMask())


@pytest.mark.full
def test_python_code_of_the_page_runs():
    page = Path(__file__).resolve().parents[2] / "docs" / "augmentation.md"
    names = {}
    for block in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
        if "tf.data" in block and keras.backend.backend() != "tensorflow":
            continue  # where only layers of the TensorFlow backend run
        exec(compile(block, page.name, "exec"), names)
    assert names["first"].shape == (8, 120, 3)
    token_ids = np.arange(12, dtype="int32").reshape(2, 6)
    view, _ = names["views"]({"token_ids": token_ids})
    assert (np.sort(to_numpy(view["token_ids"]), axis=1) == token_ids).all()
