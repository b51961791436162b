"""Tests of reading and writing the states of global random generators."""

import json
import random

import keras
import numpy as np
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("trainers need the TensorFlow backend", allow_module_level=True)

from keras_ssl.trainers.engine.random_states import read_random_states, write_random_states


def draw():
    return random.random(), np.random.normal(), keras.random.normal((3,)).numpy().tolist()


@pytest.mark.parametrize("reset", [False, True])
def test_generators_continue_after_their_states_are_restored(reset):
    draw()
    np.random.normal()  # leaves the second number of a pair in the cache
    states = json.loads(json.dumps(read_random_states()))
    expected = [draw() for _ in range(3)]
    if reset:
        keras.utils.set_random_seed(99)  # removes Keras' generator, as in a new process
    write_random_states(states)
    assert [draw() for _ in range(3)] == expected


def test_keras_generator_is_not_created_needlessly():
    keras.utils.set_random_seed(1)
    assert "keras" not in read_random_states()
    write_random_states(read_random_states())
    assert "keras" not in read_random_states()
