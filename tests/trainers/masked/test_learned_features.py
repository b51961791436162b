"""Features of masked methods are better than those of an untrained encoder, and do not collapse."""

import keras
import pytest

from keras_ssl import augment, evaluate, layers, networks, trainers
from keras_ssl.data import _fashion_mnist_mini as fashion_mnist_mini
from tests.trainers.masked.test_beit import Brightness


def vit(**arguments):
    return networks.vit((32, 3, 4), (28, 28, 1), patch_size=7, **arguments)


def head():
    return layers.ProjectionHead(
        (64, 32), normalization=False, activation="gelu", l2_normalize=True
    )


def blocks(ratio):
    return layers.BlockMasking((4, 4), ratio, min_tokens=2, seed=0)


def views():
    large, small = (
        augment.RandomResizedCrop(28, (0.4, 1.0)),
        augment.RandomResizedCrop(14, (0.1, 0.4)),
    )
    return augment.AsymmetricViews([large, large, small, small], seed=0)


def make(name):
    crop = augment.RandomResizedCrop(28, (0.6, 1.0))
    if name == "BEiT":
        return trainers.BEiT(vit(pooling="mean"), Brightness(), None, blocks(0.4), crop)
    if name == "BEiTv2":
        decoder = layers.TransformerEncoderBlock(4, 64)
        return trainers.BEiTv2(vit(), Brightness(), None, blocks(0.4), crop, decoder)
    parts = [vit(), head(), layers.Prototypes(64), views(), blocks(0.3)]
    if name == "iBOT":
        return trainers.iBOT(*parts, momentum=0.99)
    patches = {"patch_projector": head(), "patch_prototypes": layers.Prototypes(64)}
    return trainers.DINOv2(*parts, momentum=0.99, **patches)


@pytest.mark.full
@pytest.mark.parametrize("name", ["BEiT", "BEiTv2", "iBOT", "DINOv2"])
def test_features_beat_those_of_an_untrained_encoder(name):
    """With seed 0, k-NN gained 5 to 9 points, and the effective rank was 14.8 to 25."""
    keras.utils.set_random_seed(0)
    train, test = (fashion_mnist_mini.read_arrays(part) for part in ("train[:2000]", "test[:1000]"))
    trainer = make(name)
    untrained = evaluate.knn_accuracy(trainer.encoder, train, test)
    trainer.compile(keras.optimizers.AdamW(2e-3))
    trainer.fit(train[0], batch_size=64, epochs=8, verbose=0)
    assert evaluate.knn_accuracy(trainer.encoder, train, test) > untrained + 0.02
    features, _ = evaluate.extract_features(trainer.encoder, test[0])
    assert evaluate.effective_rank(features) > 7  # of 32
