import keras
import numpy as np
import pytest

from keras_ssl import augment, layers

to_numpy = keras.ops.convert_to_numpy


@pytest.fixture
def images(rng):
    return rng.integers(1, 256, (4, 16, 12, 3)).astype("uint8")


@pytest.mark.parametrize("training", [True, False])
def test_without_a_pipeline_views_are_the_patches(images, training):
    views = to_numpy(augment.PatchViews(8)(images, training=training))
    assert views.dtype == "float32" and views.shape == (4, 3, 2, 8, 8, 3)
    np.testing.assert_array_equal(views, to_numpy(layers.PatchGrid(8, 4)(images)))


def test_patches_of_an_image_are_augmented_on_their_own(images):
    views = augment.PatchViews(8, 4, augment.RandomColorDrop(), seed=0)
    kept = to_numpy(views(images)).max(axis=(3, 4)) > 0
    assert np.all(kept.sum(axis=-1) == 1)
    assert any(len(np.unique(one.reshape(6, 3), axis=0)) > 1 for one in kept)
    # at rest nothing is dropped
    np.testing.assert_array_equal(
        views(images, training=False), to_numpy(layers.PatchGrid(8, 4)(images))
    )


def test_a_pipeline_may_change_the_size_of_patches(images):
    views = augment.PatchViews(8, 4, [augment.RandomResizedCrop(6), augment.ColorJitter(0.4)])
    for training in (True, False):
        assert views(images, training=training).shape == (4, 3, 2, 6, 6, 3)
    assert views.compute_output_shape((None, 16, 12, 3)) == (None, 3, 2, 6, 6, 3)


def test_refuses_patches_larger_than_the_images(images):
    with pytest.raises(ValueError, match=r"`size`.*larger.*\(16, 12\)"):
        augment.PatchViews(13)(images)


def test_refuses_bad_arguments():
    with pytest.raises(TypeError, match="`size`"):
        augment.PatchViews("8")
    with pytest.raises(ValueError, match="`strides`"):
        augment.PatchViews(8, 0)
    with pytest.raises(TypeError, match="`layers` must be a Keras layer"):
        augment.PatchViews(8, pipeline="jitter")
