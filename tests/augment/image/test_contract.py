"""What every layer of the room must do."""

import keras
import numpy as np
import pytest
from keras.src.testing import TestCase

from keras_ssl import augment

to_numpy = keras.ops.convert_to_numpy
only_tensorflow = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow",
    reason="needs TensorFlow, or says the same on every backend, which JAX takes minutes for",
)

SIZE = 12


def halve():
    """A layer of Keras; these follow the global policy unless told otherwise."""
    return keras.layers.Rescaling(0.5, dtype="float32")


LAYERS = {
    "crop": lambda **k: augment.RandomResizedCrop(SIZE, **k),
    "flip": lambda **k: augment.RandomHorizontalFlip(0.4, **k),
    "blur": lambda **k: augment.GaussianBlur((0.2, 1.5), 0.9, **k),
    "jitter": lambda **k: augment.ColorJitter(0.8, 0.7, 0.6, 0.2, 0.9, **k),
    "grayscale": lambda **k: augment.Grayscale(0.4, **k),
    "color drop": lambda **k: augment.RandomColorDrop(0.7, **k),
    "patch mask": lambda **k: augment.RandomPatchMask(4, 0.4, **k),
    "solarize": lambda **k: augment.RandomSolarize(100, 0.4, **k),
    "pipeline": lambda **k: augment.FusedPipeline(
        [
            augment.RandomResizedCrop(SIZE),
            augment.Grayscale(),
            halve(),
        ],
        **k,
    ),
    "patches": lambda **k: augment.PatchViews(
        SIZE, 4, [augment.RandomResizedCrop(8), augment.RandomColorDrop(), halve()], **k
    ),
    "simclr": lambda **k: augment.SimCLRViews(SIZE, solarize_probability=0.3, **k),
    "multi-crop": lambda **k: augment.MultiCropViews(SIZE, 8, local_count=1, **k),
    "views": lambda **k: augment.Views(augment.RandomResizedCrop(SIZE), count=3, **k),
    "asymmetric": lambda **k: augment.AsymmetricViews(
        [
            augment.simclr_pipeline(SIZE),
            [augment.GaussianBlur(), halve()],
        ],
        **k,
    ),
}


@pytest.fixture(params=LAYERS)
def make(request):
    return LAYERS[request.param]


@pytest.fixture
def images(rng):
    return rng.integers(0, 256, (8, 16, 16, 3)).astype("uint8")


def as_list(output):
    # a functional model that was loaded answers with a list where there was a tuple
    return [to_numpy(x) for x in (output if isinstance(output, tuple | list) else (output,))]


def assert_equal(one, two, atol=1e-2):
    for a, b in zip(as_list(one), as_list(two), strict=True):
        np.testing.assert_allclose(a, b, atol=atol)


class KerasConformanceTest(TestCase):
    """Keras' own test of a layer; none of these has weights to train."""

    def run_one(self, layer_class, **arguments):
        self.run_layer_test(
            layer_class,
            init_kwargs={"seed": 1, **arguments},
            input_shape=(4, 16, 16, 3),
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


@only_tensorflow
def test_configuration_gives_the_same_layer(make, images):
    layer = make(seed=3)
    again = type(layer).from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert_equal(layer(images), again(images), atol=0)


@only_tensorflow
def test_saved_and_loaded_in_a_model(make, images, tmp_path):
    inputs = keras.Input((16, 16, 3), dtype="uint8")
    model = keras.Model(inputs, make(seed=3)(inputs))
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    assert_equal(model(images, training=True), loaded(images, training=True))


@only_tensorflow
def test_shapes_are_told_before_they_are_made(make, images):
    layer = make()
    symbolic = layer(keras.Input((16, 16, 3)))
    shapes = [x.shape for x in (symbolic if isinstance(symbolic, tuple) else (symbolic,))]
    assert [(8, *shape[1:]) for shape in shapes] == [x.shape for x in as_list(layer(images))]
    told = layer.compute_output_shape((8, 16, 16, 3))
    told = list(told) if isinstance(told[0], tuple) else [told]
    assert told == [x.shape for x in as_list(layer(images))]


@only_tensorflow
def test_in_a_data_pipeline(make, images):
    import tensorflow as tf

    layer = make(seed=3)
    dataset = tf.data.Dataset.from_tensor_slices(images)
    batches = dataset.batch(4).map(layer).take(2)
    first, second = (as_list(batch) for batch in batches)
    assert all(x.shape[0] == 4 for x in first)
    # as eager calls draw
    again = make(seed=3)
    assert_equal(tuple(first), again(images[:4]))
    assert_equal(tuple(second), again(images[4:]))


@only_tensorflow
def test_compiled_by_xla(make, images):
    import tensorflow as tf

    layer, x = make(seed=3), tf.constant(images)
    layer.build(x.shape)
    parameters = layer.draw(x)
    compiled = tf.function(layer.apply, jit_compile=True)
    assert_equal(compiled(x, parameters), layer.apply(x, parameters))

    # XLA's random numbers are others than TensorFlow's, but new ones at every call as well
    compiled = tf.function(layer, jit_compile=True)
    first, second = compiled(x), compiled(x)
    pairs = zip(as_list(first), as_list(second), strict=True)
    assert any(np.abs(a - b).max() > 0.1 for a, b in pairs)
    for value in first if isinstance(first, tuple) else (first,):
        assert value.shape.is_fully_defined()


@only_tensorflow
def test_static_shapes_in_a_graph(make):
    import tensorflow as tf

    layer = make()
    graph = tf.function(layer).get_concrete_function(tf.TensorSpec((8, 16, 16, 3), tf.uint8))
    assert all(spec.shape.is_fully_defined() for spec in graph.outputs)


@only_tensorflow
def test_unknown_batch_height_and_width_in_a_graph(images):
    import tensorflow as tf

    layer = augment.SimCLRViews(SIZE, seed=3)
    graph = tf.function(layer, input_signature=[tf.TensorSpec((None, None, None, 3), tf.uint8)])
    assert_equal(graph(tf.constant(images)), augment.SimCLRViews(SIZE, seed=3)(images))


@only_tensorflow
def test_two_replicas_draw_as_one(make, images, two_replicas):
    import tensorflow as tf

    with two_replicas.scope():
        layer = make(seed=3)
    halves = two_replicas.experimental_distribute_values_from_function(
        lambda context: tf.constant(np.split(images, 2)[context.replica_id_in_sync_group])
    )

    @tf.function
    def step(x):
        return two_replicas.run(layer, (x,))

    output = step(halves)
    output = output if isinstance(output, tuple) else (output,)
    both = [np.concatenate([x.numpy() for x in value.values]) for value in output]
    assert_equal(tuple(both), make(seed=3)(images))


@only_tensorflow
def test_computes_in_float32_under_any_policy(make, images, set_dtype_policy):
    expected = make(seed=3)(images)
    set_dtype_policy("mixed_float16")
    output = make(seed=3)(images)
    assert all(x.dtype == "float32" for x in as_list(output))
    assert_equal(output, expected, atol=0)


@only_tensorflow
@pytest.mark.parametrize("dtype", ["int32", "float16", "float32", "float64"])
def test_any_real_dtype_gives_float32(make, images, dtype):
    output = make(seed=3)(images.astype(dtype))
    assert all(x.dtype == "float32" for x in as_list(output))
    assert_equal(output, make(seed=3)(images))


@only_tensorflow
def test_at_rest_nothing_is_random(make, images):
    layer = make()
    assert_equal(layer(images, training=False), layer(images, training=False), atol=0)


@only_tensorflow
@pytest.mark.parametrize("shape", [(16, 16, 3), (8, 16), (2, 8, 16, 16, 3)])
def test_wrong_rank_is_an_error(make, shape):
    with pytest.raises(ValueError, match=r"\(batch, height, width, channels\)[\s\S]*Received"):
        make()(np.zeros(shape, "float32"))


@only_tensorflow
def test_a_single_image_is_told_to_batch(make):
    with pytest.raises(ValueError, match="batch"):
        make()(np.zeros((16, 16, 3), "float32"))
    with pytest.raises(ValueError, match=r"\.batch\(\)"):
        make()(np.zeros((16, 16, 3), "float32"))


@only_tensorflow
@pytest.mark.parametrize("dtype", ["bool", "complex64"])
def test_wrong_dtype_is_an_error(make, dtype):
    with pytest.raises(TypeError, match=f"Received: dtype {dtype}"):
        make()(np.zeros((8, 16, 16, 3), dtype))


@only_tensorflow
def test_strings_are_an_error(make):
    import tensorflow as tf

    with pytest.raises(TypeError, match="Received: dtype string"):
        make()(tf.fill((8, 16, 16, 3), "pixel"))


@only_tensorflow
def test_bad_seed_is_an_error(make):
    with pytest.raises(TypeError, match=r"`seed`.*Received"):
        make(seed="one")
