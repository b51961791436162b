import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("tf.data needs TensorFlow", allow_module_level=True)

import tensorflow as tf

from keras_ssl import data

IMAGES = np.arange(5 * 4).reshape(5, 2, 2, 1).astype("uint8")


@pytest.mark.parametrize("form", ["image", "(image,)", "(image, label)"])
def test_index_is_the_position_in_the_data_set(form):
    images, labels = tf.constant(IMAGES), tf.range(5) * 10
    elements = {"image": images, "(image,)": (images,), "(image, label)": (images, labels)}[form]
    indexed = data.with_index(tf.data.Dataset.from_tensor_slices(elements))
    assert len(indexed) == 5
    for number, element in enumerate(indexed.as_numpy_iterator()):
        assert isinstance(element, dict if form == "image" else tuple)
        x, *label = (element,) if form == "image" else element
        np.testing.assert_array_equal(x["image"], IMAGES[number])
        assert x["index"] == number and x["index"].dtype == np.int32
        assert label == ([10 * number] if "label" in form else [])


def test_shuffling_afterwards_keeps_the_indices():
    indexed = data.with_index(tf.data.Dataset.from_tensor_slices(IMAGES)).shuffle(5, seed=0)
    for x in indexed.repeat(2).as_numpy_iterator():
        np.testing.assert_array_equal(x["image"], IMAGES[x["index"]])


def test_bad_data():
    with pytest.raises(TypeError, match=r"`dataset` must be a tf.data.Dataset"):
        data.with_index(IMAGES)
    with pytest.raises(ValueError, match="`dataset` must hold images"):
        data.with_index(tf.data.Dataset.from_tensor_slices({"image": IMAGES}))
