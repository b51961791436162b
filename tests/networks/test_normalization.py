"""The argument `normalization` of every network, and the conversion into Keras' own layers."""

import re
import subprocess
import sys

import keras
import numpy as np
import pytest

from keras_ssl import layers, networks
from keras_ssl._keras_internals import all_layers
from keras_ssl.layers import PredictionHead, ProjectionHead, SyncBatchNormalization

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 28, 28, 1)).astype("float32")
GRAPH = [np.random.default_rng(0).normal(size=(6, 5)).astype("float32"), np.ones((6, 6), "float32")]
SMALL = {"input_shape": (28, 28, 1), "width": 4}

MAKERS = {
    "resnet": lambda **options: networks.resnet((1, 1), **SMALL, **options),
    "resnet18": lambda **options: networks.resnet18(**SMALL, **options),
    "resnet34": lambda **options: networks.resnet34(**SMALL, **options),
    "resnet50": lambda **options: networks.resnet50(
        **SMALL, stem=networks.imagenet_stem, **options
    ),
    "small_resnet": lambda **options: networks.small_resnet(**SMALL, **options),
    "gcn": lambda **options: networks.gcn((4, 4), **options),
    "gat": lambda **options: networks.gat((4,), attn_heads=2, **options),
    "graphsage": lambda **options: networks.graphsage((4, 4), **options),
    "gin": lambda **options: networks.gin((4, 4), **options),
}
OF_IMAGES = [name for name in MAKERS if "resnet" in name]


def kinds_of(model):
    return {type(one) for one in all_layers(model)}


def test_every_network_takes_a_normalization():
    stems = {"cifar_stem", "strided_stem", "imagenet_stem"}
    # transformers have `norm`, and recurrent networks have none
    transformers = {"PatchTokenizer", "TokenEncoder", "VisionTransformer", "token_encoder", "vit"}
    transformers |= {"dit", "BERT", "bert", "GPT2", "gpt2", "Transformer", "transformer"} | {
        "text_transformer",
        "PerceiverIO",
        "perceiver_io",
    }
    transformers |= {
        "TextEncoder",
        "RecurrentEncoder",
        "RecurrentLM",
        "RecurrentSeq2Seq",
        "ImageCaptioner",
    } | {name for name in networks.__all__ if "Classifier" in name}
    # group normalization is a part of these
    of_groups = {"conv_decoder", "conv_encoder", "diffusion_unet"}
    # and the U-Net and GANs are called on other images, or made of networks
    others = stems | transformers | of_groups | {"to_keras", "unet", "text_conditioned"}
    others |= {name for name in networks.__all__ if re.search("generator|discriminator", name)}
    assert set(MAKERS) == set(networks.__all__) - others


@pytest.mark.few(3)
@pytest.mark.parametrize("name", MAKERS)
def test_normalization_is_of_the_given_kind(name):
    x = IMAGES if name in OF_IMAGES else GRAPH
    kinds = {}
    for key, value in {
        "plain": keras.layers.BatchNormalization(momentum=0.5),
        "group": keras.layers.GroupNormalization(2),
        "sync": True,
        "none": False,
    }.items():
        if name == "resnet34" and key != "plain":
            continue
        if name not in OF_IMAGES and key == "group":
            value = keras.layers.LayerNormalization()
        model = MAKERS[name](normalization=value)
        model(x)
        kinds[key] = kinds_of(model)
        if key == "plain":
            norms = {one for one in all_layers(model) if type(one) is type(value)}
            assert len(norms) >= 1 and value not in norms
            assert all(one.momentum == 0.5 for one in norms)
    assert keras.layers.BatchNormalization in kinds["plain"]
    assert SyncBatchNormalization not in kinds["plain"]
    if name != "resnet34":
        assert SyncBatchNormalization in kinds["sync"]
        assert not any("Normalization" in kind.__name__ for kind in kinds["none"])


@pytest.mark.parametrize("name", MAKERS)
def test_other_values_are_refused(name):
    with pytest.raises(TypeError, match="normalization"):
        MAKERS[name](normalization="batch")


def test_without_normalization_convolutions_have_a_bias():
    model = networks.small_resnet(**SMALL, normalization=False)
    convolutions = [one for one in model.layers if isinstance(one, keras.layers.Conv2D)]
    assert convolutions and all(one.use_bias for one in convolutions)


def test_the_last_scale_of_a_block_starts_at_zero_in_any_normalization():
    model = networks.resnet((1,), **SMALL, normalization=keras.layers.GroupNormalization(2))
    assert np.all(np.asarray(model.get_layer("stage1_block1_norm2").gamma) == 0)
    assert np.all(np.asarray(model.get_layer("stage1_block1_norm1").gamma) == 1)


def test_a_stem_of_ones_own_need_not_take_it():
    def stem(x, width):
        return keras.layers.Conv2D(width, 3)(x)

    assert networks.resnet((1,), **SMALL, stem=stem, normalization=False).built


# The conversion


def moved(model, x=IMAGES):
    """The model with statistics and scales that are not those of the start."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        if weight.dtype == "float32" and len(weight.shape) == 1:
            weight.assign(rng.uniform(0.5, 1.5, weight.shape))
    return model


def encoder(head):
    inputs = keras.Input((28, 28, 1))
    features = networks.small_resnet(**SMALL)(inputs)
    return keras.Model(inputs, head(features), name="encoder")


HEADS = {
    "projection": lambda: ProjectionHead((8, 4), last_normalization=True, dropout=0.1),
    "unit length": lambda: ProjectionHead(
        (8, 4), normalization=False, activation="gelu", l2_normalize=True
    ),
    "prediction": lambda: PredictionHead(6),
    "sequence": lambda: keras.Sequential([ProjectionHead((8,)), SyncBatchNormalization()]),
}


@pytest.mark.parametrize("name", HEADS)
def test_the_converted_model_is_of_keras_alone_and_gives_equal_outputs(name):
    model = moved(encoder(HEADS[name]()))
    model.get_layer("small_resnet").get_layer("stem_norm").trainable = False
    plain = networks.to_keras(model)
    assert all(kind.__module__.startswith("keras.") for kind in kinds_of(plain))
    np.testing.assert_allclose(plain(IMAGES), model(IMAGES), rtol=1e-4, atol=1e-5)
    assert plain.name == "encoder" and len(plain.weights) == len(model.weights)
    assert not plain.get_layer("small_resnet").get_layer("stem_norm").trainable
    mine = {id(one) for one in model.weights}
    assert not any(id(one) in mine for one in plain.weights)
    # in training mode too, but for dropout
    if name != "projection":
        np.testing.assert_allclose(
            plain(IMAGES, training=True), model(IMAGES, training=True), rtol=1e-3, atol=1e-4
        )


def test_the_formula_of_the_converted_normalization():
    model = keras.Sequential([keras.Input((3,)), SyncBatchNormalization(epsilon=0.1)])
    values = [np.array(v, "float64") for v in ([1, 2, 3], [0.5, 0, 1], [1, -1, 2], [1, 4, 9])]
    model.set_weights(values)
    gamma, beta, mean, variance = values
    x = np.random.default_rng(0).normal(size=(5, 3))
    expected = gamma * (x - mean) / np.sqrt(variance + 0.1) + beta
    plain = networks.to_keras(model)
    np.testing.assert_allclose(plain(x.astype("float32")), expected, rtol=1e-5)


LOAD = """
import sys
import keras, numpy as np
for path in sys.argv[2:]:
    model = keras.saving.load_model(path)
    x = np.load(sys.argv[1])
    np.save(path + ".npy", keras.ops.convert_to_numpy(model(x)))
assert not any(name.startswith("keras_ssl") for name in sys.modules)
"""


def test_files_are_loaded_without_this_package(tmp_path):
    converted = moved(encoder(HEADS["unit length"]()))
    native = networks.small_resnet(
        **SMALL, normalization=keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5)
    )
    np.save(tmp_path / "x.npy", IMAGES)
    paths = [str(tmp_path / "converted.keras"), str(tmp_path / "native.keras")]
    networks.to_keras(converted).save(paths[0])
    moved(native).save(paths[1])
    run = subprocess.run(
        [sys.executable, "-c", LOAD, str(tmp_path / "x.npy"), *paths],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    for path, model in zip(paths, (converted, native), strict=True):
        np.testing.assert_allclose(np.load(path + ".npy"), model(IMAGES), rtol=1e-4, atol=1e-5)


def test_what_cannot_be_converted_is_refused():
    class Own(keras.Model):
        def call(self, x):
            return x

    graph = networks.gcn((4,))
    graph(GRAPH)
    for model in (Own(), graph, keras.layers.Dense(2), None):
        with pytest.raises(TypeError, match="functional or sequential"):
            networks.to_keras(model)
    with pytest.raises(ValueError, match="must be built"):
        networks.to_keras(keras.Sequential([keras.layers.Dense(2)]))
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.ResidualHead(4)(inputs))
    with pytest.raises(ValueError, match="ResidualHead"):
        networks.to_keras(model)


@pytest.mark.full
def test_a_trained_encoder_of_a_trainer_is_converted():
    if keras.backend.backend() != "tensorflow":
        pytest.skip("trainers need the TensorFlow backend")
    from keras_ssl import trainers

    trainer = trainers.SimSiam(
        networks.small_resnet(**SMALL), ProjectionHead((8, 8)), PredictionHead(4)
    )
    trainer.compile("sgd")
    trainer.fit((IMAGES, IMAGES[::-1].copy()), verbose=0)
    plain = networks.to_keras(trainer.encoder)
    np.testing.assert_allclose(plain(IMAGES), trainer.encoder(IMAGES), rtol=1e-4, atol=1e-5)


def test_an_adapted_layer_is_converted_with_what_it_derives():
    norm = keras.layers.Normalization()
    norm.adapt(np.asarray(IMAGES, "float32"))
    model = keras.Sequential([keras.Input((28, 28, 1)), norm, SyncBatchNormalization()])
    plain = networks.to_keras(model)
    np.testing.assert_allclose(plain(IMAGES), model(IMAGES), rtol=1e-5, atol=1e-5)
    assert float(np.std(plain(IMAGES))) == pytest.approx(1, abs=0.01)
