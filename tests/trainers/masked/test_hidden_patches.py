"""What no masked method may do: see the patches that it predicts."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from keras_ssl.trainers import masked
from tests.trainers.case import zeros
from tests.trainers.cases import CASES
from tests.trainers.masked.small import patches_of
from tests.trainers.small import images

HIDING = [name for name in masked.__all__ if hasattr(getattr(masked, name), "predict_hidden")]


@pytest.mark.parametrize("name", HIDING)
def test_hidden_patches_have_no_influence_on_predictions(name, rng):
    keras.utils.set_random_seed(1)
    trainer = CASES[name].make()
    trainer.compile("sgd")
    trainer.build_step(keras.KerasTensor((8, 28, 28, 1), "uint8"), None)
    x = tf.constant(images()[0][:8].astype("float32"))
    with tf.GradientTape() as tape:
        tape.watch(x)
        predicted, hidden = trainer.predict_hidden(x)
        # weights of their own, so that the gradients of two predictions do not cancel out
        loss = tf.reduce_sum(predicted * rng.normal(size=predicted.shape).astype("float32"))
    gradient = np.abs(patches_of(tape.gradient(loss, x).numpy())).max(axis=-1)
    is_hidden = np.zeros(gradient.shape, bool)
    np.put_along_axis(is_hidden, np.asarray(hidden), True, axis=1)
    assert is_hidden.any(axis=1).all()
    np.testing.assert_array_equal(gradient[is_hidden], 0)
    assert np.median(gradient[~is_hidden]) > 0


@pytest.mark.parametrize("name", HIDING)
def test_images_must_have_four_axes(name):
    with pytest.raises(ValueError, match="batch, height, width, channels"):
        CASES[name].make().check_views(zeros(2, 28, 28))
