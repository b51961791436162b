"""Recurrent cells and the layer that runs them."""

import keras
import numpy as np
import pytest
from keras import ops
from keras.src.testing import TestCase

from keras_ssl import layers
from tests.losses.gradients import value_and_gradients

CELLS = {
    "rnn": (layers.RNNCell, keras.layers.SimpleRNNCell, {}),
    "lstm": (layers.LSTMCell, keras.layers.LSTMCell, {}),
    "gru": (layers.GRUCell, keras.layers.GRUCell, {}),
    "gru, reset before": (layers.GRUCell, keras.layers.GRUCell, {"reset_after": False}),
}
MASK = np.array([[1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1]], bool)
each_cell = pytest.mark.parametrize("name", CELLS)


@pytest.fixture
def x(rng):
    return rng.normal(size=(3, 6, 5)).astype("float32")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def normalized(x, scale=1.0, shift=0.0):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) * scale + shift


def set_random_weights(layer, rng):
    """Weights of which none is 0, biases too."""
    for one in layer.weights:
        one.assign(rng.normal(0, 0.5, one.shape))


class TestConformance(TestCase):
    def test_layer_with_every_cell(self):
        for cell in (
            layers.RNNCell(4, learn_initial_state=True),
            layers.LSTMCell(4, peephole=True, layer_norm=True),
            layers.GRUCell(4),
            layers.MinimalGRUCell(4),
        ):
            self.run_layer_test(
                layers.RecurrentLayer,
                init_kwargs={"cell": cell, "return_sequences": True, "truncate": 2},
                input_shape=(3, 6, 5),
                expected_output_shape=(3, 6, 4),
                supports_masking=True,
                custom_objects={},
                run_mixed_precision_check=False,  # the cell has a dtype of its own
            )


@each_cell
@pytest.mark.parametrize("go_backwards", [False, True])
def test_equals_keras_with_the_same_weights(name, go_backwards, x, rng):
    ours, theirs, options = CELLS[name]
    kwargs = {"return_sequences": True, "return_state": True, "go_backwards": go_backwards}
    reference = keras.layers.RNN(theirs(4, **options), **kwargs)
    reference.build(x.shape)
    set_random_weights(reference, rng)
    expected = reference(x, mask=MASK)
    states = [rng.normal(size=(3, 4)).astype("float32") for _ in reference.state_size]
    expected_after = reference(x, initial_state=states, mask=MASK)
    for layer in (
        layers.RecurrentLayer(ours(4, **options), **kwargs),
        keras.layers.RNN(ours(4, **options), **kwargs),
        layers.RecurrentLayer(theirs(4, **options), **kwargs),
    ):
        layer.build(x.shape)
        layer.set_weights(reference.get_weights())
        found = [*layer(x, mask=MASK), *layer(x, initial_state=states, mask=MASK)]
        for one, other in zip(found, [*expected, *expected_after], strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", [{"unroll": True}, {"zero_output_for_mask": True}])
def test_options_are_those_of_keras(options, x):
    """Also where all steps of a sequence are hidden."""
    mask = MASK.copy()
    mask[1] = False
    reference = keras.layers.RNN(keras.layers.GRUCell(4), return_sequences=True, **options)
    reference.build(x.shape)
    for truncate in (None, 2):
        layer = layers.RecurrentLayer(
            layers.GRUCell(4), return_sequences=True, truncate=truncate, **options
        )
        layer.build(x.shape)
        layer.set_weights(reference.get_weights())
        expected = reference(x, mask=mask)
        np.testing.assert_allclose(layer(x, mask=mask), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("peephole", [False, True])
@pytest.mark.parametrize("layer_norm", [False, True])
def test_lstm_with_options_equals_the_formula(peephole, layer_norm, x, rng):
    layer = layers.RecurrentLayer(
        layers.LSTMCell(4, peephole=peephole, layer_norm=layer_norm, learn_initial_state=True)
    )
    layer.build(x.shape)
    set_random_weights(layer, rng)
    cell, w = layer.cell, lambda v: ops.convert_to_numpy(v).astype("float64")
    h, c = (np.tile(w(one), (3, 1)) for one in cell.initial_states)
    p = w(cell.peepholes) if peephole else np.zeros((3, 4))
    for t in range(6):
        to, back = x[:, t].astype("float64") @ w(cell.kernel), h @ w(cell.recurrent_kernel)
        if layer_norm:
            to = normalized(to, w(cell.input_norm.gamma))
            back = normalized(back, w(cell.recurrent_norm.gamma))
        i, f, g, o = np.split(to + back + w(cell.bias), 4, axis=-1)
        i, f = sigmoid(i + p[0] * c), sigmoid(f + p[1] * c)
        c = f * c + i * np.tanh(g)
        o = sigmoid(o + p[2] * c)
        read = c
        if layer_norm:
            read = normalized(c, w(cell.memory_norm.gamma), w(cell.memory_norm.beta))
        h = o * np.tanh(read)
    np.testing.assert_allclose(layer(x), h, rtol=1e-5, atol=1e-6)
    gates = layer.gates(x)
    np.testing.assert_allclose(gates["input"][:, -1], i, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gates["candidate"][:, -1], np.tanh(g), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gates["output"][:, -1], o, rtol=1e-5, atol=1e-6)


def test_minimal_gru_equals_the_formula(x, rng):
    layer = layers.RecurrentLayer(layers.MinimalGRUCell(4))
    layer.build(x.shape)
    set_random_weights(layer, rng)
    kernel, recurrent, bias = (ops.convert_to_numpy(one).astype("float64") for one in layer.weights)
    h = np.zeros((3, 4))
    for t in range(6):
        to = x[:, t] @ kernel + bias
        f = sigmoid(to[:, :4] + h @ recurrent[:, :4])
        h = (1 - f) * h + f * np.tanh(to[:, 4:] + (f * h) @ recurrent[:, 4:])
    np.testing.assert_allclose(layer(x), h, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(layer.gates(x)["forget"][:, -1], f, rtol=1e-5, atol=1e-6)


def test_forget_bias_is_added_to_what_is_drawn():
    cell = layers.LSTMCell(3, forget_bias=2.0, bias_initializer="ones")
    cell.build((None, 2))
    np.testing.assert_array_equal(cell.bias, [1] * 3 + [3] * 3 + [1] * 6)


@each_cell
def test_gates_of_a_step_are_those_of_the_sequence(name, x, rng):
    ours, _, options = CELLS[name]
    layer = layers.RecurrentLayer(ours(4, **options), return_sequences=True, go_backwards=True)
    gates = layer.gates(x)
    first = layer.cell.gates(x[:, -1])  # the step that comes first
    assert set(gates) == set(first)
    for key, value in first.items():
        assert gates[key].shape == (3, 6, 4)
        np.testing.assert_allclose(gates[key][:, -1], value, rtol=1e-5, atol=1e-6)


def test_gradients_stop_where_they_are_truncated(x):
    layer = layers.RecurrentLayer(layers.GRUCell(4), truncate=2, return_sequences=True)
    _, (gradient,) = value_and_gradients(lambda one: ops.sum(layer(one)[:, 3]), x)
    reaches = np.abs(gradient).max(axis=(0, 2)) > 0
    np.testing.assert_array_equal(reaches, [0, 0, 1, 1, 0, 0])
    whole = layers.RecurrentLayer(layers.GRUCell(4), return_sequences=True)
    whole.build(x.shape)
    whole.set_weights(layer.get_weights())
    np.testing.assert_allclose(whole(x), layer(x), rtol=1e-6)
    # of a layer that goes backwards, counted from the end
    back = layers.RecurrentLayer(layers.GRUCell(4), truncate=4, go_backwards=True)
    back.build(x.shape)
    _, (gradient,) = value_and_gradients(lambda one: ops.sum(back(one)), x)
    reaches = np.abs(gradient).max(axis=(0, 2)) > 0
    np.testing.assert_array_equal(reaches, [1, 1, 0, 0, 0, 0])


def test_a_first_state_is_learned(x):
    layer = layers.RecurrentLayer(layers.LSTMCell(4, learn_initial_state=True), truncate=3)
    layer.build(x.shape)
    states = layer.cell.initial_states
    np.testing.assert_array_equal(states[0], np.zeros(4))
    plain = layers.RecurrentLayer(layers.LSTMCell(4))
    plain.build(x.shape)
    plain.set_weights(layer.get_weights()[:3])
    np.testing.assert_allclose(layer(x), plain(x), rtol=1e-6)

    def of_states(h, c):
        return ops.sum(plain(x, initial_state=[h, c]))

    zeros = np.zeros((3, 4), "float32")
    _, gradients = value_and_gradients(of_states, zeros, zeros)
    assert all(np.abs(one).max() > 1e-4 for one in gradients)


def test_states_go_over_into_the_next_batch(x, rng):
    layer = layers.RecurrentLayer(layers.LSTMCell(4), stateful=True)
    layer.build(x.shape)
    whole = layers.RecurrentLayer(layers.LSTMCell(4))
    whole.build(x.shape)
    whole.set_weights(layer.get_weights()[:3])
    layer(x[:, :2])
    np.testing.assert_allclose(layer(x[:, 2:]), whole(x), rtol=1e-5, atol=1e-6)
    layer.reset_state()
    np.testing.assert_allclose(layer(x), whole(x), rtol=1e-6)


def test_trains_saves_and_loads(x, tmp_path):
    inputs = keras.Input((None,), dtype="int32")
    h = keras.layers.Embedding(10, 4, mask_zero=True)(inputs)
    cell = layers.LSTMCell(4, peephole=True, layer_norm=True, learn_initial_state=True)
    h = keras.layers.Bidirectional(layers.RecurrentLayer(cell, return_sequences=True))(h)
    model = keras.Model(inputs, layers.RecurrentLayer(layers.MinimalGRUCell(2), truncate=2)(h))
    model.compile("adam", "mse")
    ids = np.array([[3, 4, 0, 0], [1, 2, 3, 4]])
    history = model.fit(ids, np.ones((2, 2)), epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]
    np.testing.assert_allclose(model(ids)[:1], model(ids[:1, :2]), rtol=1e-5, atol=1e-6)
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(again(ids), model(ids), rtol=1e-6)


def test_half_precision_stays_finite(x):
    cell = layers.LSTMCell(4, layer_norm=True, peephole=True, dtype="mixed_float16")
    layer = layers.RecurrentLayer(cell, dtype="mixed_float16")
    found = ops.convert_to_numpy(layer(1e4 * x))
    assert found.dtype == "float16" and np.all(np.isfinite(found))


def test_bad_input_is_named(x):
    with pytest.raises(ValueError, match="`units` must be a positive integer"):
        layers.GRUCell(0)
    with pytest.raises(ValueError, match="`truncate` must be"):
        layers.RecurrentLayer(layers.GRUCell(2), truncate=0)
    with pytest.raises(ValueError, match="cannot be learned"):
        layers.RecurrentLayer(layers.GRUCell(2, learn_initial_state=True), stateful=True)
    with pytest.raises(ValueError, match=r"one time step.*\(3, 6, 5\)"):
        layers.GRUCell(2).build(x.shape)
    layer = layers.RecurrentLayer(layers.LSTMCell(2))
    with pytest.raises(ValueError, match=r"`initial_state`.*\[2, 2\].*\(3, 4\)"):
        layer(x, initial_state=[np.zeros((3, 2)), np.zeros((3, 4))])
    for rows in (1, 2):  # one row would be taken for all
        with pytest.raises(ValueError, match=r"batch of the sequences.*\(3, 6, 5\)"):
            layer(x, initial_state=[np.zeros((rows, 2)), np.zeros((rows, 2))])
    with pytest.raises(TypeError, match=r"tell their gates.*LSTMCell"):
        layers.RecurrentLayer(keras.layers.LSTMCell(2)).gates(x)


def test_cudnn_runs_what_it_can(x, monkeypatch):
    """Without a GPU, what cuDNN would be called with is looked at alone."""
    called = []

    def kernel(sequences, *arguments, **options):
        called.append((len(arguments), options))
        return sequences[:, -1], sequences, [sequences[:, 0]]

    for name in ("lstm", "gru"):
        monkeypatch.setattr(f"keras.src.backend.{name}", kernel)
    cells = [layers.LSTMCell(5), layers.GRUCell(5)]
    for cell in cells:
        np.testing.assert_array_equal(layers.RecurrentLayer(cell)(x), x[:, -1])
    assert [count for count, _ in called] == [3, 2]  # the states and the mask
    assert all(
        options["kernel"] is cell.kernel for cell, (_, options) in zip(cells, called, strict=True)
    )
    assert [options.get("reset_after") for _, options in called] == [None, True]
    for cell in (
        layers.LSTMCell(5, peephole=True),
        layers.LSTMCell(5, layer_norm=True),
        layers.GRUCell(5, reset_after=False),
        layers.MinimalGRUCell(5),
    ):
        layers.RecurrentLayer(cell)(x)
    layers.RecurrentLayer(layers.LSTMCell(5), truncate=2)(x)
    assert len(called) == 2


EMPTY = np.array([[1, 1, 1, 1, 1, 1], [1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]], bool)


@pytest.mark.parametrize("cell", [layers.LSTMCell, layers.MinimalGRUCell])
def test_a_sequence_without_a_step_has_no_output_and_no_gradient(cell, x):
    layer = layers.RecurrentLayer(cell(4), return_sequences=True, return_state=True)
    for one in layer(x, mask=EMPTY):
        assert not np.any(ops.convert_to_numpy(one)[2])
    encoder = layers.BidirectionalEncoder(4, depth=2)

    def total(x):
        outputs = layer(x, mask=EMPTY)
        vectors, weights = encoder(x, mask=EMPTY, return_attention_scores=True)
        return sum(ops.sum(ops.square(one)) for one in (*outputs, vectors, weights))

    value, (gradient,) = value_and_gradients(total, x)
    assert np.isfinite(value) and np.isfinite(gradient).all()
    assert gradient[0].any() and gradient[1, :2].any()
    assert not gradient[1, 2:].any() and not gradient[2].any()


@pytest.mark.parametrize("go_backwards", [False, True])
@pytest.mark.parametrize("return_sequences", [False, True])
def test_masks_of_cudnn_are_those_of_the_loop(return_sequences, go_backwards, x, monkeypatch):
    """cuDNN takes no empty sequence, and returns 0 for hidden steps, as what stands for it here."""
    options = {"go_backwards": go_backwards, "return_state": True}
    options["return_sequences"] = return_sequences
    loop = layers.RecurrentLayer(layers.LSTMCell(4), use_cudnn=False, **options)
    layer = layers.RecurrentLayer(layers.LSTMCell(4), **options)
    for one in (loop, layer):
        one.build(x.shape)
    layer.set_weights(loop.get_weights())
    expected = loop(x, mask=EMPTY)

    def kernel(sequences, h, c, mask, **_):
        assert ops.convert_to_numpy(mask).any(axis=1).all()
        last, outputs, states = loop._run(loop._advance, sequences, [h, c], mask)
        if return_sequences:
            visible = ops.flip(mask, axis=1) if go_backwards else mask
            outputs = ops.where(visible[..., None], outputs, 0.0)
        return last, outputs, states

    monkeypatch.setattr("keras.src.backend.lstm", kernel)
    for one, other in zip(layer(x, mask=EMPTY), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)
    again = layers.RecurrentLayer.from_config(loop.get_config())
    assert not again.use_cudnn
