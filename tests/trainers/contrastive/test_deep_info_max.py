"""Deep InfoMax: its two terms, parts, errors."""

import keras
import numpy as np
import pytest

from keras_ssl import augment, layers, losses, networks, trainers
from tests.losses import view_formulas as formulas
from tests.trainers.case import BAD_SINGLE_VIEW, Case
from tests.trainers.small import encoder, images


def small_deep_info_max() -> trainers.DeepInfoMax:
    network = encoder()
    return trainers.DeepInfoMax(
        network,
        map_layer=network.layers[-2].name,
        global_critic=layers.ConcatAndConvolve((8, 8)),
        local_critic=layers.EncodeAndDotProduct(16, normalization=False),
        global_weight=0.5,
    )


CASES = {
    "DeepInfoMax": Case(
        make=small_deep_info_max,
        decreasing_loss="local",
        decrease=0.08,
        sgd=lambda: keras.optimizers.SGD(0.01),  # layer normalisation of few units
        bad_data=BAD_SINGLE_VIEW,
    ),
}


@keras.saving.register_keras_serializable(package="tests")
class Plain(keras.layers.Layer):
    """A critic whose scores are dot products of the features, truncated to the same width."""

    def call(self, local_features, global_features):
        return local_features[..., :16], global_features


def network(last="map"):
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            keras.layers.Rescaling(1 / 127.5, offset=-1),
            keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu"),
            keras.layers.Conv2D(16, 3, strides=2, padding="same", name=last),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(16, name="vector"),
        ]
    )


def make(**arguments):
    keras.utils.set_random_seed(3)
    parts = {
        "encoder": network(),
        "map_layer": "map",
        "global_critic": Plain(),
        "local_critic": Plain(),
        "global_weight": 0.5,
        **arguments,
    }
    trainer = trainers.DeepInfoMax(**{k: v for k, v in parts.items() if v != "default"})
    trainer.compile(keras.optimizers.SGD(0.05))
    return trainer


def data(count=32):
    return images()[0][:count].astype("float32")


@pytest.mark.parametrize(
    ("loss", "formula"),
    [
        (losses.JensenShannonMI(), formulas.jensen_shannon_mi),
        (losses.InfoNCEMI(), formulas.info_nce_mi),
    ],
    ids=["Jensen-Shannon", "InfoNCE"],
)
def test_losses_match_the_paper(loss, formula):
    trainer = make(loss=loss)
    logs = trainer.evaluate(data(), batch_size=32, verbose=0, return_dict=True)
    x = data()
    for layer in trainer.encoder.layers:
        x = layer(x)
        if layer.name == "map":
            maps = np.asarray(x)
    assert maps.shape == (32, 7, 7, 16)
    # the global critic sees the map as one position with 7 * 7 * 16 features
    expected = {
        "global": 0.5 * formula(maps.reshape(32, 1, -1)[..., :16], x).mean(),
        "local": formula(maps, x).mean(),
    }
    for name, value in expected.items():
        assert logs[name] == pytest.approx(value, rel=1e-4)
    assert logs["loss"] == pytest.approx(sum(expected.values()), rel=1e-4)
    np.testing.assert_allclose(trainer.predict(data(), verbose=0), x, rtol=1e-4, atol=1e-5)


def test_default_is_the_local_objective_of_the_paper():
    trainer = trainers.DeepInfoMax(network(), "map")
    assert (trainer.global_weight, trainer.local_weight) == (0, 1)
    assert trainer.global_critic is None and trainer.local_critic.units == 2048
    assert isinstance(trainer.loss_function, losses.JensenShannonMI)
    whole = trainers.DeepInfoMax(network(), "map", global_weight=1, local_weight=0)
    assert whole.local_critic is None and whole.global_critic.units == 2048


def test_encoder_is_saved_without_critics(tmp_path):
    trainer = trainers.DeepInfoMax(
        networks.small_resnet((28, 28, 1), width=4),
        map_layer="stage2_block1_output",
        local_critic=layers.EncodeAndDotProduct(16),
        loss=losses.InfoNCEMI(),
    )
    trainer.compile("adam")
    trainer.fit(data(64), verbose=0)
    assert set(trainer.history.history) == {"loss"}
    trainer.encoder.save(tmp_path / "encoder.keras")
    loaded = keras.saving.load_model(tmp_path / "encoder.keras")
    features = loaded.predict(data(8), verbose=0)
    np.testing.assert_allclose(features, trainer.predict(data(8), verbose=0), rtol=1e-4, atol=1e-5)


def test_augmentation_may_make_one_view():
    trainer = make(augment=augment.RandomHorizontalFlip(seed=0))
    assert np.isfinite(trainer.fit(data(), verbose=0).history["loss"][0])


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"encoder": keras.layers.Dense(4)}, TypeError, "`encoder` must be a Keras Model"),
        ({"encoder": keras.Sequential([keras.layers.Dense(4)])}, ValueError, "functional"),
        ({"map_layer": "maps"}, ValueError, "`encoder` must have a layer.*'maps'"),
        ({"augment": "crop"}, TypeError, "augment"),
        ({"local_critic": "dot"}, TypeError, "`local_critic` must be a Keras Layer"),
        ({"global_critic": 3}, TypeError, "`global_critic` must be a Keras Layer"),
        ({"loss": "jsd"}, TypeError, "`loss` must be a Keras Loss"),
        ({"local_weight": -1.0}, ValueError, "local_weight=-1.0"),
        ({"global_weight": "1"}, TypeError, "global_weight='1'"),
        ({"global_weight": 0}, ValueError, "`global_critic` has no effect"),
        (
            {
                "global_weight": 0,
                "local_weight": 0,
                "global_critic": "default",
                "local_critic": "default",
            },
            ValueError,
            "must be above 0",
        ),
    ],
)
def test_invalid_arguments_are_rejected(arguments, error, message):
    with pytest.raises(error, match=message):
        make(**arguments)


@pytest.mark.parametrize(
    ("arguments", "x", "message"),
    [
        ({"map_layer": "vector"}, None, r"returns a map of known size.*'vector'.*\(.*16\)"),
        ({"encoder": keras.Sequential(network().layers[:-2])}, None, "`encoder` must"),
        ({}, (data(), data()), "Expected one batch of input"),
        ({"augment": augment.SimCLRViews(28)}, None, "Expected one batch of input"),
        ({}, data(33), "33 examples and batch_size=32"),
    ],
)
def test_invalid_data_is_rejected_before_the_first_step(arguments, x, message):
    with pytest.raises(ValueError, match=message):
        trainer = make(**arguments)
        trainer.fit(data() if x is None else x, batch_size=32, verbose=0)
