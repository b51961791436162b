"""The private names of Keras still do what the package needs of them."""

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("trainers need the TensorFlow backend", allow_module_level=True)

from keras_ssl._keras_internals import (
    all_layers,
    forget_losses,
    global_seed_state,
    run_on_shapes,
)


def test_run_on_shapes_creates_variables_and_computes_nothing():
    layer = keras.layers.Dense(2)
    out = run_on_shapes(lambda x: layer(x), keras.KerasTensor((None, 3)))
    assert out.shape == (None, 2) and layer.built


def test_forgotten_losses_are_gone():
    model = keras.Sequential([keras.layers.Dense(2, activity_regularizer="l2")])
    model(np.ones((1, 2)))
    assert len(model.losses) == 1
    forget_losses(model)
    assert len(model.losses) == 0


def test_all_layers_come_at_any_depth():
    inner = keras.layers.Dense(2)
    model = keras.Sequential([keras.Sequential([inner])])
    assert inner in all_layers(model) and model in all_layers(model)


def test_global_seed_state_is_what_unseeded_draws_start_from():
    state = global_seed_state()
    start = state.numpy()
    first = keras.random.normal((4,))
    assert (state.numpy() != start).any()
    state.assign(start)
    np.testing.assert_array_equal(keras.random.normal((4,)), first)
