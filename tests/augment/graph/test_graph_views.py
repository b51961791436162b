import keras
import numpy as np
import pytest

from keras_ssl.augment.graph import (
    FeatureShuffle,
    GraphViews,
    RandomEdgeDrop,
    RandomFeatureMask,
    RandomNodeDrop,
)
from tests.augment.graph.graphs_for_tests import MODES, arrays, batch, single
from tests.augment.graph.test_contract import assert_same, is_changed, only_tensorflow, specs


def grace(seed=None):
    return GraphViews(
        [RandomEdgeDrop(0.2, seed=seed), RandomFeatureMask(0.3, seed=seed)],
        [RandomEdgeDrop(0.5, seed=seed), RandomFeatureMask(0.0, seed=seed)],
    )


@pytest.mark.parametrize("mode", MODES)
def test_two_views_of_two_pipelines(mode):
    graph = MODES[mode]()
    first, second = grace(seed=1)(graph)
    assert specs(first) == specs(second) == specs(graph)
    assert is_changed(arrays(first), arrays(second))
    # equal to the layers called separately
    wanted = RandomFeatureMask(0.3, seed=1)(RandomEdgeDrop(0.2, seed=1)(graph))
    assert_same(first, wanted)
    assert_same(second, RandomEdgeDrop(0.5, seed=1)(graph))


def test_one_pipeline_draws_twice():
    drop = RandomEdgeDrop(0.5, seed=1)
    first, second = GraphViews(RandomEdgeDrop(0.5, seed=1))(batch())
    assert is_changed(arrays(first), arrays(second))
    assert_same(first, drop(batch()))
    assert_same(second, drop(batch()))


def test_outside_training_both_views_are_the_graph():
    for view in grace()(batch(), training=False):
        assert_same(view, batch())


@only_tensorflow
def test_saves_and_loads(tmp_path):
    for views in (grace(seed=1), GraphViews([FeatureShuffle(seed=1), RandomNodeDrop(0.2, seed=2)])):
        again = GraphViews.from_config(views.get_config())
        assert again.get_config() == views.get_config()
        inputs = [keras.Input((6,), batch_size=9), keras.Input((9,), batch_size=9)]
        model = keras.Model(inputs, views(inputs))
        model.save(tmp_path / "views.keras")
        loaded = keras.saving.load_model(tmp_path / "views.keras", safe_mode=True)
        data = list(single())
        expected = again(data)
        for outputs in (model(data, training=True), loaded(data, training=True)):
            for view, wanted in zip(outputs, expected, strict=True):
                assert_same(view, wanted)


@only_tensorflow
def test_compiled_by_xla():
    import tensorflow as tf

    first, second = tf.function(grace(seed=1), jit_compile=True)(batch())
    assert specs(first) == specs(second) == specs(batch())
    assert is_changed(arrays(first), arrays(second))


@only_tensorflow
def test_custom_layers_in_a_pipeline():
    class Double(keras.layers.Layer):
        def call(self, graph, training=False):
            return (2 * graph[0], *graph[1:]) if training else graph

    first, second = GraphViews(Double(), [Double(), Double()])(single())
    np.testing.assert_allclose(2 * first[0], second[0])


def test_bad_pipelines_raise():
    with pytest.raises(TypeError, match=r"`first`.*Received: 'drop'"):
        GraphViews(["drop"])
    with pytest.raises(TypeError, match=r"`second`.*Received: 0.5"):
        GraphViews(RandomEdgeDrop(0.5), 0.5)
