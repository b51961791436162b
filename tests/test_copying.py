import keras
import numpy as np
import pytest

from keras_ssl._copying import copy_layer

X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
IMAGES = np.random.default_rng(1).uniform(0, 255, size=(2, 32, 32, 3)).astype("float32")


class Block(keras.layers.Layer):
    """Neither registered nor readable from its config, with sublayers in every kind of place."""

    def __init__(self, make_dense, **kwargs):
        super().__init__(**kwargs)
        self.in_list = [make_dense(), keras.layers.BatchNormalization()]
        self.in_dict = {"dropout": keras.layers.Dropout(0.5), "dense": make_dense()}
        self.alias = self.in_list[0]
        self.in_closure = lambda x: self.alias(x)
        self.method = self.double
        self.offset = np.zeros(4, "float32")

    def build(self, input_shape):
        self.scale = self.add_weight(name="scale", shape=(4,), initializer="ones")

    def double(self, x):
        return 2 * x

    def call(self, x, training=False):
        x = self.method(self.in_closure(x) * self.scale + self.offset)
        x = self.in_list[1](self.in_dict["dense"](x), training=training)
        return self.in_dict["dropout"](x, training=training)


class Nested(keras.Model):
    """A subclassed model in a subclassed model, the inner one around a functional one."""

    def __init__(self, depth=2, **kwargs):
        super().__init__(**kwargs)
        self.inner = Nested(depth - 1) if depth else functional()
        self.block = Block(lambda: keras.layers.Dense(4))

    def call(self, x, training=False):
        return self.block(self.inner(x, training=training), training=training)


class MyFunctional(keras.Model):
    """A functional model by its constructor, as the backbones of KerasHub are."""

    def __init__(self, units):
        inputs = keras.Input((4,))
        dense = keras.layers.Dense(units)
        super().__init__(inputs, dense(inputs))
        self.embedding = dense
        self.units = units


def functional():
    inputs = keras.Input((4,))
    shared = keras.layers.Dense(4, activation="relu")
    x = shared(shared(inputs)) + inputs[:, :1]
    return keras.Model(inputs, keras.Sequential([keras.layers.Dense(4)])(x))


def adapted():
    normalization = keras.layers.Normalization()
    normalization.adapt(3 * X + 1)
    return keras.Sequential([keras.Input((4,)), normalization, keras.layers.Dense(2)])


def frozen():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2)])
    model.layers[0].trainable = False
    model.layers[1].bias.trainable = False
    return model


def made_by_call(layer, x=X):
    layer(x)
    return layer


def tokens():
    inputs = {"ids": keras.Input((5,), dtype="int32", name="ids")}
    x = keras.layers.Embedding(9, 4, mask_zero=True)(inputs["ids"])
    x = keras.layers.Bidirectional(keras.layers.LSTM(3))(x)
    return keras.Model(inputs, {"features": x, "first": x[:, 0]})


TOKENS = {"ids": np.array([[1, 2, 3, 0, 0], [4, 0, 0, 0, 0]])}
MODELS = {
    "layer": lambda: made_by_call(keras.layers.Dense(3)),
    "sequential": lambda: made_by_call(keras.Sequential([keras.layers.Dense(3)])),
    "functional": functional,
    "functional by constructor": lambda: MyFunctional(3),
    "subclassed": lambda: made_by_call(Nested()),
    "unregistered layer": lambda: made_by_call(Block(lambda: keras.layers.Dense(4))),
    "lambda": lambda: keras.Sequential([keras.Input((4,)), keras.layers.Lambda(lambda x: 2 * x)]),
    "adapted normalization": adapted,
    "frozen": frozen,
    "tokens": tokens,
    "MobileNetV2": lambda: keras.applications.MobileNetV2(
        weights=None, input_shape=(32, 32, 3), alpha=0.35, include_top=False
    ),
    "EfficientNetB0": lambda: keras.applications.EfficientNetB0(
        weights=None, input_shape=(32, 32, 3), include_top=False
    ),
}


def example(name):
    if name == "tokens":
        return TOKENS
    return IMAGES if name.endswith(("V2", "B0")) else X


def disturb(layer):
    """Move every floating-point weight, moving statistics included, away from its start."""
    rng = np.random.default_rng(2)
    for weight in layer.weights:
        if "float" in weight.dtype and "normalization" not in weight.path.split("/")[-2:-1]:
            weight.assign(rng.uniform(0.5, 1.0, size=weight.shape))


def outputs(layer, x, **kwargs):
    return [np.asarray(part) for part in keras.tree.flatten(layer(x, **kwargs))]


def assert_copied(layer, copied, x):
    assert copied is not layer
    assert type(copied) is type(layer)
    assert copied.name == layer.name
    for attribute in ("path", "trainable", "dtype"):
        of_layer, of_copy = (
            [getattr(weight, attribute) for weight in one.weights] for one in (layer, copied)
        )
        assert of_copy == of_layer
    assert [w.path for w in copied.trainable_weights] == [w.path for w in layer.trainable_weights]
    for new, old in zip(outputs(copied, x), outputs(layer, x), strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-6, atol=1e-6)


@pytest.mark.few(3)
@pytest.mark.parametrize("name", MODELS)
def test_copy_computes_the_same_and_shares_no_variable(name):
    layer, x = MODELS[name](), example(name)
    disturb(layer)
    copied = copy_layer(layer)
    assert_copied(layer, copied, x)
    before, result = layer.get_weights(), outputs(layer, x)
    for variable in copied.variables:
        variable.assign(variable + 1)
    for weight, old in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)
    for new, old in zip(outputs(layer, x), result, strict=True):
        np.testing.assert_array_equal(new, old)


@pytest.mark.parametrize("name", ["sequential", "functional", "subclassed", "lambda"])
def test_copy_of_a_copy(name):
    layer = MODELS[name]()
    assert_copied(layer, copy_layer(copy_layer(layer)), X)


def test_copy_trains_alone_and_as_the_original_does():
    layer = functional()
    copied = copy_layer(layer)
    start = layer.get_weights()
    trained = []
    for one in (copied, layer):
        for weight, old in zip(layer.get_weights(), start, strict=True):
            np.testing.assert_array_equal(weight, old)
        one.compile("sgd", "mse")
        one.fit(X, X + 1, epochs=3, shuffle=False, verbose=0)
        trained.append(one.get_weights())
    for new, old, before in zip(*trained, start, strict=True):
        np.testing.assert_allclose(new, old, rtol=1e-5, atol=1e-6)
        assert not np.allclose(new, before)


def test_copy_is_saved_as_the_original(tmp_path):
    layer = functional()
    copied = copy_layer(layer)
    copied.save(tmp_path / "copied.keras")
    loaded = keras.models.load_model(tmp_path / "copied.keras")
    np.testing.assert_allclose(loaded(X), layer(X), rtol=1e-6)
    disturb(layer)
    layer.save_weights(tmp_path / "layer.weights.h5")
    copied.load_weights(tmp_path / "layer.weights.h5")
    np.testing.assert_allclose(copied(X), layer(X), rtol=1e-6)


def test_shared_layers_stay_shared():
    layer = functional()
    copied = copy_layer(layer)
    assert len(copied.weights) == len(layer.weights) == 4
    block = made_by_call(Block(lambda: keras.layers.Dense(4)))
    copied = copy_layer(block)
    assert copied.alias is copied.in_list[0] is not block.alias
    assert copied.method.__self__ is copied


def test_attributes_of_a_functional_subclass():
    layer = MyFunctional(3)
    copied = copy_layer(layer)
    assert copied.embedding is copied.layers[1] is not layer.embedding
    assert copied.units == 3


def test_training_flags_of_layers():
    layer = frozen()
    copied = copy_layer(layer)
    assert [part.trainable for part in copied.layers] == [False, True]
    copied.trainable = False
    assert [part.trainable for part in layer.layers] == [False, True]


def test_frozen_copy_can_be_trained_after_all():
    copied = copy_layer(frozen())
    before = copied.get_weights()
    copied.layers[0].trainable = copied.layers[1].bias.trainable = True
    copied.compile("sgd", "mse")
    copied.fit(X, X[:, :2], verbose=0)
    for weight, old in zip(copied.get_weights(), before, strict=True):
        assert not np.allclose(weight, old)


def test_arrays_are_not_shared():
    layer = made_by_call(Block(lambda: keras.layers.Dense(4)))
    copied = copy_layer(layer)
    copied.offset[:] = 7
    assert layer.offset.max() == 0


@pytest.mark.parametrize(
    "make",
    [
        lambda: keras.layers.Dense(3),
        lambda: keras.Sequential([keras.layers.Dense(3), keras.layers.Dense(2)]),
        lambda: Block(lambda: keras.layers.Dense(4)),
        Nested,
    ],
)
def test_unbuilt_layers(make):
    layer = make()
    copied = copy_layer(layer)
    assert copied.built == layer.built
    assert_copied(made_by_call(layer), made_by_call(copied), X)


def test_seeds():
    given, drawn = keras.layers.Dropout(0.5, seed=1), keras.layers.Dropout(0.5)
    x = np.ones((8, 64), "float32")
    given(x, training=True)
    for layer, equal in ((given, True), (drawn, False)):
        copied = copy_layer(layer)
        masks = [np.asarray(one(x, training=True)) for one in (layer, copied)]
        assert np.array_equal(*masks) == equal


def test_compiled_model():
    layer = functional()
    layer.compile("adam", "mse")
    layer.fit(X, X, verbose=0)
    copied = copy_layer(layer)
    assert not copied.compiled
    assert_copied(layer, copied, X)


def test_layer_of_another_model_is_copied_alone():
    encoder = functional()
    inputs = keras.Input((4,))
    keras.Model(inputs, keras.layers.Dense(9)(encoder(inputs)))
    assert_copied(encoder, copy_layer(encoder), X)


def test_mixed_precision():
    layer = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, dtype="mixed_bfloat16")])
    copied = copy_layer(layer)
    assert copied.layers[0].dtype_policy.name == "mixed_bfloat16"
    assert copied(X).dtype == layer(X).dtype
    assert copied.weights[0].dtype == "float32"


def test_model_of_a_strategy(two_replicas):
    with two_replicas.scope():
        layer = adapted()
        inside = copy_layer(layer)
    assert_copied(layer, inside, X)
    assert_copied(layer, copy_layer(layer), X)
    assert len(inside.weights[-1].value.values) == 2


def test_what_is_not_a_layer():
    with pytest.raises(TypeError, match=r"`layer` must be a Keras layer or model\. Received: 3"):
        copy_layer(3)


def test_keras_hub_vit():
    keras_hub = pytest.importorskip("keras_hub")
    vit = keras_hub.models.ViTBackbone(
        image_shape=(32, 32, 3),
        patch_size=(8, 8),
        num_layers=2,
        num_heads=2,
        hidden_dim=16,
        mlp_dim=32,
    )
    for layer in (vit, keras.Model(vit.input, vit.output[:, 0])):
        assert_copied(layer, copy_layer(layer), IMAGES)


def test_keras_hub_text_backbone():
    keras_hub = pytest.importorskip("keras_hub")
    bert = keras_hub.models.BertBackbone(
        vocabulary_size=50,
        num_layers=2,
        num_heads=2,
        hidden_dim=8,
        intermediate_dim=16,
        max_sequence_length=12,
    )
    x = {"token_ids": np.ones((2, 12), int), "segment_ids": np.zeros((2, 12), int)}
    x["padding_mask"] = np.ones((2, 12), int)
    copied = copy_layer(bert)
    assert_copied(bert, copied, x)
    assert copied.token_embedding in copied.layers
    assert copied.get_config() == bert.get_config()
