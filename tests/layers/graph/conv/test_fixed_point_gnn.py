import keras
import numpy as np
import pytest
from keras import ops

from keras_ssl.layers.graph import FixedPointGNN
from keras_ssl.layers.graph.conv.fixed_point_gnn import fixed_point, unrolled
from tests.layers.graph.conformance import GraphLayerTest, assert_forms_agree, forms, tensors

IS_TENSORFLOW = keras.backend.backend() == "tensorflow"


class TestConformance(GraphLayerTest):
    modes = ("list", "batch", "mixed")

    def test_default(self):
        self.check(FixedPointGNN, weights=4, channels=2, max_iterations=10)

    def test_transition_and_features_of_edges(self):
        self.modes = ("single",)
        self.check(
            FixedPointGNN,
            weights=2,
            channels=2,
            edge_features=2,
            transition=keras.layers.Dense(2, "tanh"),
            penalty=0.0,
        )


@pytest.fixture
def a(rng):
    """Directed and weighted, with a self-loop and an isolated node."""
    a = rng.uniform(0.2, 0.5, size=(6, 6)) * (rng.uniform(size=(6, 6)) < 0.5)
    a[2] = a[:, 2] = 0
    a[1, 1] = 0.3
    return a.astype("float32")


@pytest.fixture
def x(rng):
    return rng.normal(size=(6, 3)).astype("float32")


def linear_layer(rng, scale=0.4, **arguments):
    """f = W [x_i, x_j, h_j] + b."""
    # the tolerance lies above the last bits of float32, in which iterations may go round for ever
    layer = FixedPointGNN(2, keras.layers.Dense(2), penalty=0.0, tolerance=1e-6, **arguments)
    layer.build([(6, 3), (6, 6)])
    layer.transition.set_weights([rng.normal(size=(8, 2)) * scale, rng.normal(size=2)])
    return layer


def solved(a, x, kernel, bias):
    """(I - W)^-1 times the terms that do not depend on h, in float64."""
    a, x, kernel = (one.astype("float64") for one in (a, x, kernel))
    known = a.sum(1, keepdims=True) * (x @ kernel[:3] + bias) + a @ x @ kernel[3:6]
    n = known.size
    return np.linalg.solve(np.eye(n) - np.kron(a, kernel[6:].T), known.ravel()).reshape(-1, 2)


def test_a_linear_transition_solves_a_linear_system(a, x, rng):
    layer = linear_layer(rng, max_iterations=200)
    out = assert_forms_agree(layer, x, a)
    kernel, bias = layer.transition.get_weights()
    np.testing.assert_allclose(out, solved(a, x, kernel, bias), rtol=1e-4, atol=1e-5)
    assert not out[2].any()
    assert 5 < int(layer.iterations) < 200


def gradients(function, *variables):
    """Gradients of a scalar function of variables, on either backend."""
    if IS_TENSORFLOW:
        import tensorflow as tf

        values = [tf.constant(one) for one in variables]
        with tf.GradientTape() as tape:
            tape.watch(values)
            total = function(*values)
        return [one.numpy() for one in tape.gradient(total, values)]
    import jax

    return jax.grad(function, argnums=tuple(range(len(variables))))(*map(ops.array, variables))


def total(layer, probe, x, a, kernel, bias):
    """The sum of the output times `probe`, for given weights."""
    state = list(zip(layer.transition.trainable_variables, (kernel, bias), strict=True))
    with keras.StatelessScope(state_mapping=state):
        return ops.sum(layer.call([x, a]) * probe)


def test_gradients_equal_those_of_the_solution(a, x, rng):
    layer = linear_layer(rng, max_iterations=200)
    probe = rng.normal(size=(6, 2)).astype("float32")
    kernel, bias = layer.transition.get_weights()
    found = gradients(lambda *given: total(layer, probe, *given), x, a, kernel, bias)
    given = [one.astype("float64") for one in (x, a, kernel, bias)]
    for place, gradient in enumerate(found):
        expected = np.zeros(given[place].shape)
        for index in np.ndindex(expected.shape):
            ends = []
            for step in (1e-6, -1e-6):
                moved = [one.copy() for one in given]
                moved[place][index] += step
                ends.append((solved(moved[1], moved[0], *moved[2:]) * probe).sum())
            expected[index] = (ends[0] - ends[1]) / 2e-6
        if place == 1:
            expected = expected * (a != 0)  # the gradient of a missing edge is 0
        np.testing.assert_allclose(gradient, expected, rtol=1e-3, atol=1e-4)


def test_implicit_gradients_equal_those_of_unrolled_steps(a, x, rng):
    W = rng.normal(size=(2, 2)).astype("float32") * 0.5
    U = rng.normal(size=(3, 2)).astype("float32")
    start, probe = ops.zeros((6, 2)), rng.normal(size=(6, 2)).astype("float32")

    def result(find):
        def value(a, x, W, U):
            step = lambda h: ops.tanh(ops.matmul(a, ops.matmul(h, W)) + ops.matmul(x, U))  # noqa: E731
            return ops.sum(find(step, start, 60, 1e-7)[0] * probe)

        return gradients(value, a, x, W, U)

    for implicit, plain in zip(result(fixed_point), result(unrolled), strict=True):
        assert abs(plain).max() > 0.01
        np.testing.assert_allclose(implicit, plain, rtol=1e-4, atol=1e-5)


def default_layer(rng, scale, **arguments):
    layer = FixedPointGNN(3, **arguments)
    layer.build([(6, 3), (6, 6)])
    layer.transition.set_weights(
        [rng.normal(size=w.shape) * scale for w in layer.transition.get_weights()]
    )
    return layer


def jacobian(layer, a, x, h):
    """dF/dh in float64, with rows and columns (node, channel)."""
    first, bias, second, _ = (w.astype("float64") for w in layer.transition.get_weights())
    n, s = h.shape
    whole = np.zeros((n, s, n, s))
    for i in range(n):
        for j in range(n):
            hidden = np.tanh(np.concatenate([x[i], x[j], h[j]]) @ first + bias)
            whole[i, :, j] = a[i, j] * (second.T * (1 - hidden**2)) @ first[6:].T
    return whole.reshape(n * s, n * s)


@pytest.mark.parametrize("form", ["dense", "sparse", "list"])
def test_the_penalty_equals_the_formula(a, x, rng, form):
    layer = default_layer(rng, 0.7, penalty=2.0, contraction=0.3, max_iterations=200)
    h = ops.convert_to_numpy(layer(tensors([x, forms(a)[form]]), training=True))
    columns = abs(jacobian(layer, a, x, h)).sum(0)
    expected = 2.0 * (np.maximum(0, columns - 0.3) ** 2).sum() / 6
    assert expected > 0.1
    np.testing.assert_allclose(layer.losses[0], expected, rtol=1e-3)
    layer([x, a], training=False)
    assert not layer.losses


@pytest.mark.full
@pytest.mark.skipif(not IS_TENSORFLOW, reason="fits")
def test_training_on_the_penalty_makes_it_a_contraction(a, x, rng):
    layer = default_layer(rng, 1.5, contraction=0.5, max_iterations=20)
    norm = lambda: abs(jacobian(layer, a, x, np.asarray(layer([x, a])))).sum(0).max()  # noqa: E731
    before = norm()
    assert before > 1
    inputs = keras.Input((3,)), keras.Input((6,))
    model = keras.Model(inputs, layer(list(inputs)))
    nothing = lambda y, out: 0.0 * ops.mean(out, axis=-1)  # noqa: E731
    model.compile(keras.optimizers.Adam(0.05), loss=nothing)
    model.fit([x, a], np.zeros((6, 3)), batch_size=6, epochs=60, shuffle=False, verbose=0)
    assert norm() < 0.6 < before
    assert int(layer.iterations) < 20


@pytest.mark.parametrize("scale", [3.0, 1e8])
def test_a_diverging_iteration_stops_and_stays_finite(a, x, rng, scale):
    """The larger scale overflows in float32 before the last iteration."""
    layer = linear_layer(rng, scale=scale, max_iterations=12)
    out = ops.convert_to_numpy(layer([x, a]))
    assert np.isfinite(out).all() and abs(out).max() > 100
    assert 2 <= int(layer.iterations) <= 12
    assert scale > 3 or int(layer.iterations) == 12
    kernel, bias = layer.transition.get_weights()
    probe = np.ones((6, 2), "float32")
    if scale == 3:
        for one in gradients(lambda *given: total(layer, probe, *given), x, a, kernel, bias):
            assert np.isfinite(one).all()


def test_nan_is_not_hidden(a, x):
    x = x.copy()
    x[0, 0] = np.nan
    out = np.asarray(FixedPointGNN(3)([x, a]))
    assert np.isnan(out[a[:, 0] != 0]).all()


def test_a_looser_tolerance_takes_fewer_iterations(a, x, rng):
    tight = linear_layer(rng, max_iterations=200)
    loose = FixedPointGNN(2, tight.transition, tolerance=0.1, penalty=0.0)
    difference = ops.convert_to_numpy(tight([x, a]) - loose([x, a]))
    assert int(loose.iterations) < int(tight.iterations)
    assert 0 < abs(difference).max() < 0.5


def test_order_of_nodes_does_not_matter(a, x, rng):
    layer, order = default_layer(rng, 0.5, max_iterations=200), rng.permutation(6)
    expected = ops.convert_to_numpy(layer([x, a]))[order]
    np.testing.assert_allclose(
        layer([x[order], a[order][:, order]]), expected, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("form", ["dense", "list", "sparse"])
def test_half_precision_is_close_to_float32(a, x, rng, form):
    full = default_layer(rng, 0.5)
    half = FixedPointGNN(3, dtype="mixed_float16")
    half.build([(6, 3), (6, 6)])
    half.set_weights(full.get_weights())
    out = ops.convert_to_numpy(half(tensors([x, forms(a)[form]]), training=True))
    assert out.dtype == "float16" and np.isfinite(out).all()
    assert np.isfinite(float(half.losses[0]))
    np.testing.assert_allclose(out, full([x, a]), atol=3e-2)


@pytest.mark.skipif(not IS_TENSORFLOW, reason="compiles with tf.function")
@pytest.mark.parametrize("form", ["dense", "list"])
def test_compiles_with_xla(a, x, rng, form):
    """Including the gradient and the penalty, and for a padded edge list."""
    import tensorflow as tf

    layer = default_layer(rng, 0.7, contraction=0.3, max_iterations=100)

    def learn(inputs):
        with tf.GradientTape() as tape:
            out = layer(inputs, training=True)
            loss = tf.reduce_sum(tf.square(out)) + layer.losses[0]
        return out, tape.gradient(loss, [w.value for w in layer.trainable_variables])

    out, expected = learn([tf.constant(x), tf.constant(a)])
    inputs = tensors([x, forms(a)[form]])
    compiled, found = tf.function(learn, jit_compile=True)(inputs)
    np.testing.assert_allclose(compiled, out, rtol=1e-4, atol=1e-4)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-2, atol=1e-3)


@pytest.mark.skipif(not IS_TENSORFLOW, reason="looks into TensorFlow's graph")
def test_memory_does_not_grow_with_the_iterations(a, x, rng):
    """TensorFlow's loops would push tensors for their gradient on lists: there are none."""
    import tensorflow as tf

    def operations(max_iterations, find):
        @tf.function
        def learn(x, a):
            with tf.GradientTape() as tape:
                tape.watch(x)
                step = lambda h: tf.tanh(a @ h + x)  # noqa: E731
                h, _ = find(step, tf.zeros((6, 3)), max_iterations, 1e-6)
            return tape.gradient(h, x)

        graph = learn.get_concrete_function(tf.constant(x), tf.constant(a)).graph.as_graph_def()
        kinds = [node.op for node in graph.node]
        kinds += [node.op for one in graph.library.function for node in one.node_def]
        return kinds

    few, many = (operations(count, fixed_point) for count in (3, 300))
    assert not {"TensorListPushBack", "TensorListReserve"} & set(many)
    assert len(few) == len(many) and any("While" in kind for kind in many)
    assert len(operations(20, unrolled)) > len(operations(3, unrolled)) + 17


def test_bad_arguments_raise():
    for name, value in (
        ("channels", 0),
        ("max_iterations", 0),
        ("tolerance", 0.0),
        ("penalty", -1.0),
        ("contraction", 1.0),
    ):
        with pytest.raises(ValueError, match=f"`{name}`"):
            FixedPointGNN(**{"channels": 2, name: value})
    with pytest.raises(TypeError, match="`max_iterations`"):
        FixedPointGNN(2, max_iterations=0.5)
    with pytest.raises(TypeError, match="`transition` must be a Keras layer"):
        FixedPointGNN(2, lambda h: h)
    inputs = [np.ones((3, 2)), np.ones((3, 3))]
    with pytest.raises(ValueError, match=r"`transition` must return 2 channels.*returns 3"):
        FixedPointGNN(2, keras.layers.Dense(3))(inputs)
    for layer in (keras.layers.Dropout(0.5), keras.layers.BatchNormalization()):
        with pytest.raises(ValueError, match="no dropout, no batch normalization"):
            FixedPointGNN(2, keras.Sequential([layer, keras.layers.Dense(2)]))(inputs)
