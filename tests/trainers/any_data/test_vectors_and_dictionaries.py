"""Trainers on data other than images: vectors, dictionaries, tuples, sequences, volumes.

Vectors and dictionaries hold the pixels of images: all of them, or upper and lower half by name.
"""

from functools import partial

import keras
import numpy as np
import pytest

from keras_ssl import augment, layers, trainers
from tests.trainers.case import Case, zeros
from tests.trainers.small import batch_norm_head, dense, scaled_images


def vectors():
    return scaled_images()


def dictionaries():
    x = scaled_images()
    return {"upper": x[:, :392], "lower": x[:, 392:]}


def vector_encoder():
    return dense(32, 16, inputs=784)


def dictionary_encoder():
    inputs = {name: keras.Input((392,), name=name) for name in ("upper", "lower")}
    x = keras.layers.Concatenate()([inputs["upper"], inputs["lower"]])
    x = keras.layers.Dense(32, "relu")(x)
    return keras.Model(inputs, keras.layers.Dense(16)(x))


def corruption(seed):
    return augment.tabular.RandomFeatureCorruption(0.2, seed=seed)


def vector_views():
    return augment.Views(corruption(0), seed=0)


def dictionary_views():
    halves = [augment.OnKey(name, corruption(n)) for n, name in enumerate(("upper", "lower"))]
    return augment.Views(halves, seed=0)


def simclr(encoder, views):
    return trainers.SimCLR(encoder(), batch_norm_head(), views())


def moco(encoder, views):
    queue = layers.FeatureQueue(64, seed=0)
    return trainers.MoCo(encoder(), batch_norm_head(), views(), queue=queue, momentum=0.9)


def byol(encoder, views):
    head = partial(layers.ProjectionHead, (32, 16), normalization=False)
    return trainers.BYOL(encoder(), head(), head(), views(), momentum=0.9)


def vicreg(encoder, views):
    return trainers.VICReg(encoder(), layers.ProjectionHead((32, 16), normalization=False), views())


def swav(encoder, views):
    prototypes = layers.Prototypes(8, kernel_constraint="unit_norm")
    return trainers.SwAV(encoder(), batch_norm_head(), prototypes, views())


def dino(encoder, views):
    return trainers.DINO(encoder(), batch_norm_head(), layers.Prototypes(16), views(), momentum=0.9)


BAD_VECTORS = (
    (zeros(64, 783), "axis -1|incompatible|784"),
    (zeros(0, 784), "no data"),
)
BAD_DICTIONARIES = (
    ({"upper": zeros(64, 392), "lower": zeros(64, 391)}, "392|incompatible"),
    ({"upper": zeros(0, 392), "lower": zeros(0, 392)}, "no data"),
)


def on_vectors(make, loss, **settings):
    return Case(
        make=partial(make, vector_encoder, vector_views),
        decreasing_loss=loss,
        x=vectors,
        bad_data=BAD_VECTORS,
        **settings,
    )


def on_dictionaries(make, loss, **settings):
    return Case(
        make=partial(make, dictionary_encoder, dictionary_views),
        decreasing_loss=loss,
        x=dictionaries,
        bad_data=BAD_DICTIONARIES,
        **settings,
    )


CASES = {
    "SimCLR on vectors": on_vectors(simclr, "loss", normalized=True, decrease=0.9),
    "SimCLR on dictionaries": on_dictionaries(simclr, "loss", normalized=True, decrease=0.9),
    "MoCo on vectors": on_vectors(moco, "loss", normalized=True, decrease=0.6),
    "MoCo on dictionaries": on_dictionaries(moco, "loss", normalized=True, decrease=0.6),
    "BYOL on vectors": on_vectors(byol, "loss", decrease=0.8),
    "BYOL on dictionaries": on_dictionaries(byol, "loss", decrease=0.8),
    "VICReg on vectors": on_vectors(vicreg, "variance", decrease=4.0),
    "VICReg on dictionaries": on_dictionaries(vicreg, "variance", decrease=4.0),
    "SwAV on vectors": on_vectors(swav, "loss", normalized=True, decrease=0.6),
    "SwAV on dictionaries": on_dictionaries(swav, "loss", normalized=True, decrease=0.6),
    "DINO on vectors": on_vectors(dino, "loss", normalized=True, decrease=1.0),
    "DINO on dictionaries": on_dictionaries(dino, "loss", normalized=True, decrease=1.0),
}


class TwoViews(keras.layers.Layer):
    """A custom layer of two views of a tuple of tokens and mask, one with tokens dropped."""

    def call(self, inputs, training=None):
        tokens, mask = inputs
        kept = keras.ops.arange(tokens.shape[1]) % 2 == 0
        return (tokens, mask), (keras.ops.where(kept, tokens, 0), mask)


def token_encoder():
    tokens = keras.Input((12,), dtype="int32")
    mask = keras.Input((12,), dtype="bool")
    x = keras.layers.Embedding(50, 8)(tokens)
    weights = keras.ops.expand_dims(keras.ops.cast(mask, "float32"), -1)
    pooled = keras.ops.sum(x * weights, axis=1) / keras.ops.sum(weights, axis=1)
    return keras.Model((tokens, mask), pooled)


@pytest.mark.few(2)
@pytest.mark.parametrize("make", [simclr, byol, vicreg, dino], ids=lambda make: make.__name__)
def test_trains_on_tuples_of_tokens_and_mask_with_custom_views(make, rng):
    x = (rng.integers(0, 50, (64, 12)).astype("int32"), rng.random((64, 12)) < 0.9)
    trainer = make(token_encoder, TwoViews)
    trainer.compile("adam")
    history = trainer.fit(x, batch_size=32, epochs=2, verbose=0).history
    assert np.all(np.isfinite(history["loss"]))
    assert trainer.predict(x, verbose=0).shape == (64, 8)


@pytest.mark.parametrize("shape", [(20, 6), (4, 5, 6, 2)], ids=["sequences", "volumes"])
def test_trains_on_sequences_and_volumes(shape, rng):
    def encoder():
        return keras.Sequential(
            [keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(16, "relu")]
        )

    def views():
        return augment.Views(keras.layers.GaussianNoise(0.1))

    x = rng.normal(size=(64, *shape)).astype("float32")
    for make in (simclr, swav):
        trainer = make(encoder, views)
        trainer.compile("adam")
        assert np.isfinite(trainer.fit(x, batch_size=32, verbose=0).history["loss"][0])


def test_views_of_different_structure_or_shape_are_rejected():
    class Uneven(keras.layers.Layer):
        def call(self, inputs, training=None):
            return inputs, inputs[:, :100]

    class Renamed(keras.layers.Layer):
        def call(self, inputs, training=None):
            return inputs, {"upper": inputs["upper"]}

    for encoder, views, x, message in (
        (vector_encoder, Uneven, vectors(), "one shape"),
        (dictionary_encoder, Renamed, dictionaries(), "one structure"),
    ):
        trainer = simclr(encoder, views)
        trainer.compile("adam")
        with pytest.raises(ValueError, match=message):
            trainer.fit(x, batch_size=32, verbose=0)
