"""What every augmentation layer must do."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from keras.src.testing import TestCase

from keras_ssl import augment
from keras_ssl.augment import sequence, tabular

to_numpy = keras.ops.convert_to_numpy
only_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="needs TensorFlow, or says the same on every backend, which JAX takes minutes for",
)

SIZE = 12
RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (8, 16, 16, 3)).astype("uint8")
TABLE = RNG.normal(size=(8, 5)).astype("float32")
SERIES = RNG.normal(size=(8, 20, 3)).astype("float32")
TEXT = {
    "token_ids": RNG.integers(1, 99, (8, 20)).astype("int32"),
    "padding_mask": RNG.integers(0, 2, (8, 20)).astype("bool"),
}


class Case(NamedTuple):
    make: Callable[..., keras.layers.Layer]
    inputs: Any


def halve():
    """A layer of Keras; these follow the global policy unless told otherwise."""
    return keras.layers.Rescaling(0.5, dtype="float32")


IMAGE_LAYERS = {
    "crop": lambda **k: augment.RandomResizedCrop(SIZE, **k),
    "flip": lambda **k: augment.RandomHorizontalFlip(0.4, **k),
    "blur": lambda **k: augment.GaussianBlur((0.2, 1.5), 0.9, **k),
    "jitter": lambda **k: augment.ColorJitter(0.8, 0.7, 0.6, 0.2, 0.9, **k),
    "grayscale": lambda **k: augment.Grayscale(0.4, **k),
    "color drop": lambda **k: augment.RandomColorDrop(0.7, **k),
    "patch mask": lambda **k: augment.RandomPatchMask(4, 0.4, **k),
    "solarize": lambda **k: augment.RandomSolarize(100, 0.4, **k),
    "fused pipeline": lambda **k: augment.FusedPipeline(
        [augment.RandomResizedCrop(SIZE), augment.Grayscale(), halve()], **k
    ),
    "patches": lambda **k: augment.PatchViews(
        SIZE, 4, [augment.RandomResizedCrop(8), augment.RandomColorDrop(), halve()], **k
    ),
    "simclr": lambda **k: augment.SimCLRViews(SIZE, solarize_probability=0.3, **k),
    "multi-crop": lambda **k: augment.MultiCropViews(SIZE, 8, local_count=1, **k),
    "views": lambda **k: augment.Views(augment.RandomResizedCrop(SIZE), count=3, **k),
    "located": lambda **k: augment.LocatedViews(
        augment.MultiCropViews(SIZE, 8, local_count=1), **k
    ),
    "asymmetric": lambda **k: augment.AsymmetricViews(
        [augment.simclr_pipeline(SIZE), [augment.GaussianBlur(), halve()]], **k
    ),
}
OTHERS = {
    "tables": Case(
        lambda **k: augment.Pipeline(
            [
                tabular.RandomFeatureCorruption(0.5),
                tabular.RandomMask(0.3, "mean"),
                tabular.RandomFeatureNoise(0.3),
                halve(),
            ],
            **k,
        ),
        TABLE,
    ),
    "time series": Case(
        lambda **k: augment.Pipeline(
            [
                sequence.RandomTimeCrop(16),
                sequence.RandomSegmentPermutation(4),
                sequence.RandomJitter(0.3),
                sequence.RandomScale(0.3),
                sequence.RandomChannelMask(0.2),
            ],
            **k,
        ),
        SERIES,
    ),
    "spectrograms": Case(lambda **k: sequence.SpecAugment(3, 2, 1, 5, 1, **k), SERIES),
    "views of tables": Case(
        lambda **k: augment.AsymmetricViews([tabular.RandomFeatureCorruption(0.5), []], **k), TABLE
    ),
    "views of text": Case(
        lambda **k: augment.Views(augment.OnKey("token_ids", sequence.RandomTimeMask(9)), **k),
        TEXT,
    ),
    "views of images and tables": Case(
        lambda **k: augment.Views(
            [augment.OnKey(0, augment.RandomResizedCrop(SIZE)), augment.OnKey(1, halve())], **k
        ),
        (IMAGES, TABLE),
    ),
}
CASES = {name: Case(make, IMAGES) for name, make in IMAGE_LAYERS.items()} | OTHERS


@pytest.fixture(params=CASES)
def case(request):
    return CASES[request.param]


@pytest.fixture(params=IMAGE_LAYERS)
def of_images(request):
    return IMAGE_LAYERS[request.param]


def as_list(output):
    # a functional model that was loaded answers with a list where there was a tuple
    return [to_numpy(x) for x in keras.tree.flatten(output)]


def assert_equal(one, two, atol=1e-2):
    for a, b in zip(as_list(one), as_list(two), strict=True):
        np.testing.assert_allclose(a, b, atol=atol)


def differ(one, two):
    pairs = zip(as_list(one), as_list(two), strict=True)
    return any(np.abs(a.astype("float32") - b.astype("float32")).max() > 0.1 for a, b in pairs)


def on_tensors(function, *structures):
    return keras.tree.map_structure(function, *structures)


class KerasConformanceTest(TestCase):
    """Keras' own test of a layer; none of these has weights to train."""

    def run_one(self, layer_class, input_shape=(4, 16, 16, 3), **arguments):
        self.run_layer_test(
            layer_class,
            init_kwargs={"seed": 1, **arguments},
            input_shape=input_shape,
            expected_num_trainable_weights=0,
            run_training_check=False,
            run_mixed_precision_check=False,
        )

    def test_operations(self):
        self.run_one(augment.RandomResizedCrop, size=SIZE)
        self.run_one(augment.RandomHorizontalFlip, probability=0.4)
        self.run_one(augment.GaussianBlur, sigma=(0.2, 1.5))
        self.run_one(augment.ColorJitter, brightness=0.8, hue=0.1)
        self.run_one(augment.Grayscale, probability=0.4)
        self.run_one(augment.RandomSolarize, threshold=100)
        self.run_one(augment.RandomPatchMask, grid=4)
        self.run_one(augment.RandomColorDrop)

    def test_views(self):
        self.run_one(augment.SimCLRViews, size=SIZE)
        self.run_one(augment.MultiCropViews, global_size=SIZE, local_size=8)
        self.run_one(augment.PatchViews, size=SIZE)

    def test_layers_on_tables(self):
        for layer_class in (tabular.RandomFeatureCorruption, tabular.RandomFeatureNoise):
            self.run_one(layer_class, (4, 5))
        self.run_one(tabular.RandomMarginalCorruption, (4, 5), rate=0.4, quantiles=3)
        self.run_one(tabular.RandomMask, (4, 5), rate=0.3, fill="mean")

    def test_layers_on_sequences(self):
        self.run_one(sequence.RandomTimeCrop, (4, 8, 3), length=5)
        for layer_class in (
            sequence.RandomChannelMask,
            sequence.RandomFrequencyMask,
            sequence.RandomJitter,
            sequence.RandomScale,
            sequence.RandomSegmentPermutation,
            sequence.RandomTimeMask,
            sequence.RandomTimeWarp,
            sequence.SpecAugment,
        ):
            self.run_one(layer_class, (4, 8, 3))


@only_tensorflow
def test_configuration_gives_the_same_layer(case):
    layer = case.make(seed=3)
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert_equal(layer(case.inputs), again(case.inputs), atol=0)


@only_tensorflow
def test_saved_and_loaded_in_a_model(case, tmp_path):
    inputs = on_tensors(lambda x: keras.Input(x.shape[1:], dtype=x.dtype.name), case.inputs)
    model = keras.Model(inputs, case.make(seed=3)(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert_equal(model(case.inputs, training=True), loaded(case.inputs, training=True))


@only_tensorflow
def test_symbolic_shapes_and_dtypes_are_those_of_outputs(case):
    layer = case.make()
    shapes = [x.shape for x in as_list(layer(case.inputs))]
    symbolic = on_tensors(lambda x: keras.Input(x.shape[1:], dtype=x.dtype.name), case.inputs)
    outputs = keras.tree.flatten(case.make()(symbolic))
    assert [(8, *x.shape[1:]) for x in outputs] == shapes
    assert [x.dtype for x in outputs] == [x.dtype.name for x in as_list(layer(case.inputs))]
    told = layer.compute_output_shape(on_tensors(lambda x: x.shape, case.inputs))
    assert flat_shapes(told) == shapes


def flat_shapes(structure):
    if isinstance(structure, dict):
        return [shape for key in sorted(structure) for shape in flat_shapes(structure[key])]
    if isinstance(structure, tuple) and all(isinstance(x, int) for x in structure):
        return [structure]
    return [shape for part in structure for shape in flat_shapes(part)]


@pytest.mark.few(7)
@only_tensorflow
def test_in_a_data_pipeline(case):
    import tensorflow as tf

    layer = case.make(seed=3)
    dataset = tf.data.Dataset.from_tensor_slices(case.inputs).batch(4)
    is_tuple = isinstance(case.inputs, tuple)  # `map` hands the parts over one by one
    first, second = dataset.map((lambda *x: layer(x)) if is_tuple else layer).take(2)
    assert all(x.shape[0] == 4 for x in as_list(first))
    # as eager calls draw
    again = case.make(seed=3)
    assert_equal(first, again(on_tensors(lambda x: x[:4], case.inputs)))
    assert_equal(second, again(on_tensors(lambda x: x[4:], case.inputs)))


@pytest.mark.few(7)
@only_tensorflow
def test_compiled_by_xla(case):
    import tensorflow as tf

    layer, x = case.make(seed=3), on_tensors(tf.constant, case.inputs)
    # XLA's random numbers are others than TensorFlow's, but new ones at every call as well
    compiled = tf.function(layer, jit_compile=True)
    first, second = compiled(x), compiled(x)
    assert differ(first, second)
    assert all(value.shape.is_fully_defined() for value in keras.tree.flatten(first))
    try:
        parameters = layer.draw(x)
    except NotImplementedError:
        return  # each layer draws in its turn
    compiled = tf.function(layer.apply, jit_compile=True)
    assert_equal(compiled(x, parameters), layer.apply(x, parameters))


@only_tensorflow
@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (tabular.RandomFeatureCorruption(0.5), TABLE),
        (tabular.RandomMask(0.3, "mean"), TABLE),
        (tabular.RandomFeatureNoise(0.3), TABLE),
        (sequence.RandomTimeCrop(16), SERIES),
        (sequence.RandomSegmentPermutation(4), SERIES),
        (sequence.RandomTimeMask(0.5), SERIES),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_given_parameters_do_the_same_compiled(layer, inputs):
    import tensorflow as tf

    parameters = layer.draw(inputs)
    compiled = tf.function(layer.apply, jit_compile=True)
    assert_equal(compiled(inputs, parameters), layer.apply(inputs, parameters), atol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="compiles with JAX")
@pytest.mark.parametrize("name", OTHERS)
def test_compiled_by_jax(name):
    import jax

    layer, inputs = OTHERS[name].make(seed=3), OTHERS[name].inputs
    expected = layer(inputs)

    @jax.jit
    def step(state, inputs):
        scope = keras.StatelessScope(zip(variables, state, strict=True))
        with scope:
            outputs = layer(inputs)
        return outputs, [scope.get_current_value(variable) for variable in variables]

    variables = layer.non_trainable_variables
    start = [x.value for x in OTHERS[name].make(seed=3).non_trainable_variables]
    first, state = step(start, inputs)
    largest = max(1.0, *(np.abs(x).max() for x in as_list(expected)))  # images reach 255
    assert_equal(first, expected, atol=1e-5 * largest)
    assert differ(first, step(state, inputs)[0])


@only_tensorflow
def test_static_shapes_in_a_graph(case):
    import tensorflow as tf

    specs = on_tensors(lambda x: tf.TensorSpec(x.shape, x.dtype), case.inputs)
    graph = tf.function(case.make()).get_concrete_function(specs)
    assert all(spec.shape.is_fully_defined() for spec in graph.outputs)


@only_tensorflow
@pytest.mark.parametrize("name", OTHERS)
def test_unknown_batch_size_in_a_graph(name):
    import tensorflow as tf

    case = OTHERS[name]
    specs = on_tensors(lambda x: tf.TensorSpec((None, *x.shape[1:]), x.dtype), case.inputs)
    graph = tf.function(case.make(seed=3), input_signature=[specs])
    assert_equal(graph(on_tensors(tf.constant, case.inputs)), case.make(seed=3)(case.inputs))


@only_tensorflow
def test_unknown_batch_height_and_width_in_a_graph():
    import tensorflow as tf

    layer = augment.SimCLRViews(SIZE, seed=3)
    graph = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)])
    assert_equal(graph(tf.constant(IMAGES)), augment.SimCLRViews(SIZE, seed=3)(IMAGES))


@pytest.mark.few(7)
@only_tensorflow
def test_two_replicas_draw_as_one(case, two_replicas):
    import tensorflow as tf

    with two_replicas.scope():
        layer = case.make(seed=3)
    halves = two_replicas.experimental_distribute_values_from_function(
        lambda context: on_tensors(
            lambda x: tf.constant(np.split(x, 2)[context.replica_id_in_sync_group]), case.inputs
        )
    )

    @tf.function
    def step(x):
        return two_replicas.run(layer, (x,))

    def both(value):
        return np.concatenate([to_numpy(x) for x in value.values])

    assert_equal(
        [both(x) for x in keras.tree.flatten(step(halves))], case.make(seed=3)(case.inputs)
    )


@only_tensorflow
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "int32", "uint8"])
def test_replicas_exchange_rows_of_any_dtype(dtype, two_replicas):
    import tensorflow as tf

    x = tf.cast(10 * np.abs(TABLE), dtype)
    with two_replicas.scope():
        layer = tabular.RandomFeatureCorruption(0.5, seed=3)
    halves = two_replicas.experimental_distribute_values_from_function(
        lambda context: tf.split(x, 2)[context.replica_id_in_sync_group]
    )
    output = tf.function(lambda x: two_replicas.run(layer, (x,)))(halves)
    both = tf.concat(output.values, axis=0)
    assert both.dtype == dtype
    assert_equal(both, tabular.RandomFeatureCorruption(0.5, seed=3)(x), atol=0)


@only_tensorflow
def test_computes_the_same_under_any_policy(case, set_dtype_policy):
    expected = case.make(seed=3)(case.inputs)
    set_dtype_policy("mixed_float16")
    output = case.make(seed=3)(case.inputs)
    assert [x.dtype for x in as_list(output)] == [x.dtype for x in as_list(expected)]
    assert_equal(output, expected, atol=0)


@only_tensorflow
@pytest.mark.parametrize("dtype", ["int32", "float16", "float32", "float64"])
def test_images_of_any_real_dtype_become_float32(of_images, dtype):
    output = of_images(seed=3)(IMAGES.astype(dtype))
    assert all(x.dtype == "float32" for x in as_list(output))
    assert_equal(output, of_images(seed=3)(IMAGES))


@only_tensorflow
def test_nothing_is_random_outside_training(case):
    layer = case.make()
    assert_equal(layer(case.inputs, training=False), layer(case.inputs, training=False), atol=0)


@only_tensorflow
@pytest.mark.parametrize("shape", [(16, 16, 3), (8, 16), (2, 8, 16, 16, 3)])
def test_images_of_wrong_rank_are_an_error(of_images, shape):
    with pytest.raises(ValueError, match=r"\(batch, height, width, channels\)[\s\S]*Received"):
        of_images()(np.zeros(shape, "float32"))


@only_tensorflow
def test_the_error_for_a_single_image_says_how_to_batch_it(of_images):
    with pytest.raises(ValueError, match="batch"):
        of_images()(np.zeros((16, 16, 3), "float32"))
    with pytest.raises(ValueError, match=r"\.batch\(\)"):
        of_images()(np.zeros((16, 16, 3), "float32"))


@only_tensorflow
@pytest.mark.parametrize("dtype", ["bool", "complex64"])
def test_wrong_dtype_of_images_is_an_error(of_images, dtype):
    with pytest.raises(TypeError, match=f"Received: dtype {dtype}"):
        of_images()(np.zeros((8, 16, 16, 3), dtype))


@only_tensorflow
def test_strings_are_an_error(of_images):
    import tensorflow as tf

    with pytest.raises(TypeError, match="Received: dtype string"):
        of_images()(tf.fill((8, 16, 16, 3), "pixel"))


@only_tensorflow
def test_bad_seed_is_an_error(case):
    with pytest.raises(TypeError, match=r"`seed`.*Received"):
        case.make(seed="one")
