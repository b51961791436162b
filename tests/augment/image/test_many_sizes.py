"""Views of images of many sizes."""

import time

import keras
import numpy as np
import pytest
from PIL import Image

from keras_ssl import augment

tf = pytest.importorskip("tensorflow")
pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="ragged tensors and `tf.data`"
)

SIZES = [(40, 30), (33, 61), (50, 50), (64, 35), (47, 38), (72, 44), (39, 55), (58, 36)]


def images_of(sizes, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.integers(0, 256, (*size, 3)).astype("uint8") for size in sizes]


def dataset_of(images, shape=(None, None, 3)):
    return tf.data.Dataset.from_generator(
        lambda: iter(images), output_signature=tf.TensorSpec(shape, "uint8")
    )


def test_time_does_not_depend_on_the_number_of_sizes():
    """XLA took up to a second to compile for each size."""

    def seconds(images, shape=(None, None, 3)):
        views = augment.Views([augment.RandomResizedCrop(24), augment.GaussianBlur()], count=1)
        start = time.perf_counter()
        for _ in dataset_of(images, shape).map(lambda x: views(x[None])):
            pass
        return time.perf_counter() - start

    many = [(30 + side, 70 - side) for side in range(40)]
    one = seconds(images_of([(50, 49)] * len(many)), (50, 49, 3))
    assert seconds(images_of(many)) < 3 * one


MAKERS = {
    "simclr": lambda: augment.SimCLRViews(24, solarize_probability=0.5, seed=3),
    "asymmetric": lambda: augment.AsymmetricViews(
        [augment.simclr_pipeline(24), [augment.RandomResizedCrop(16), keras.layers.Rescaling(0.5)]],
        seed=3,
    ),
    "patch mask": lambda: augment.FusedPipeline(
        [augment.RandomHorizontalFlip(), augment.RandomResizedCrop(24), augment.RandomPatchMask(4)],
        seed=3,
    ),
    "crop": lambda: augment.RandomResizedCrop(24, seed=3),
    "entry": lambda: augment.OnKey(0, augment.simclr_pipeline(24), seed=3),
}


@pytest.mark.few(2)
@pytest.mark.parametrize("name", MAKERS)
def test_a_ragged_batch_gets_the_views_of_a_dense_one(name):
    dense = np.stack(images_of([(40, 33)] * 4))
    ragged = tf.RaggedTensor.from_tensor(dense, ragged_rank=2)
    if name == "entry":
        dense, ragged = (dense,), (ragged,)
    expected = keras.tree.flatten(MAKERS[name]()(dense))
    found = keras.tree.flatten(tf.function(MAKERS[name]())(ragged))
    for one, other in zip(found, expected, strict=True):
        assert one.shape == other.shape and one.dtype == "float32"
        np.testing.assert_allclose(one, other, atol=1e-2)


@pytest.mark.parametrize("name", ["asymmetric", "patch mask"])
def test_each_image_of_a_ragged_batch_gets_its_own_views(name):
    layer, images = MAKERS[name](), images_of(SIZES[:3])
    uniforms = layer.uniform((len(images), layer.uniforms_per_image))
    found = MAKERS[name]()(tf.ragged.stack([tf.constant(image) for image in images]))
    for index, image in enumerate(images):
        parameters = layer.parameters(uniforms[index : index + 1], image.shape)
        alone = keras.tree.flatten(layer.apply(image[None], parameters))
        for view, expected in zip(keras.tree.flatten(found), alone, strict=True):
            np.testing.assert_allclose(view[index], expected[0], atol=1e-2)


def test_outside_training_a_ragged_batch_is_resized_as_pillow_does():
    images = images_of(SIZES)
    batches = dataset_of(images).ragged_batch(4)
    views = augment.SimCLRViews(24, count=1)
    found = np.concatenate([first for (first,) in batches.map(lambda x: views(x, training=False))])
    for view, image in zip(found, images, strict=True):
        channels = [
            Image.fromarray(image[..., channel].astype("float32")).resize((24, 24), Image.BILINEAR)
            for channel in range(3)
        ]
        np.testing.assert_allclose(view, np.stack(channels, axis=-1), atol=1e-2)


def test_static_shapes_of_views_of_ragged_batches():
    """For one pipeline that begins with our crop, and one with Keras' own resizing."""
    batches = dataset_of(images_of(SIZES)).ragged_batch(4, drop_remainder=True)
    views = augment.AsymmetricViews(
        [augment.RandomResizedCrop(24), [keras.layers.Resizing(16, 16), augment.GaussianBlur()]]
    )
    shapes = [spec.shape.as_list() for spec in batches.map(views).element_spec]
    assert shapes == [[4, 24, 24, 3], [4, 16, 16, 3]]


def test_views_that_depend_on_the_size_are_refused_for_ragged_batches():
    ragged = tf.ragged.stack([tf.constant(image) for image in images_of(SIZES)])
    with pytest.raises(ValueError, match=r"RandomResizedCrop.*Received: views of shape"):
        augment.RandomHorizontalFlip()(ragged)
