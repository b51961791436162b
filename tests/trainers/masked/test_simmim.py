"""SimMIM: its loss, its masks, errors."""

import keras
import numpy as np
import pytest

from keras_ssl import layers, networks, trainers
from tests.trainers.case import Case
from tests.trainers.masked.small import (
    BAD_PATCHES,
    FixedMask,
    Mixer,
    loss_of,
    made,
    patches_of,
    tiny_vit,
)
from tests.trainers.small import images

CASES = {
    "SimMIM": Case(
        make=lambda: trainers.SimMIM(
            tiny_vit(relative_bias="shared"), masking=layers.RandomMasking(0.5, seed=0, unit=2)
        ),
        decreasing_loss="loss",
        decrease=0.12,
        bad_data=BAD_PATCHES,
    ),
}


HIDDEN = (0, 1, 4, 5, 10, 15)


def test_loss_matches_the_paper():
    keras.utils.set_random_seed(0)
    trainer = made("SimMIM", encoder=tiny_vit(), masking=FixedMask(HIDDEN), pixel_scale=100.0)
    trainer.mask_token.token.assign(np.linspace(-1, 1, 16))
    x = images()[0][:8]
    tokens = np.array(trainer.encoder.embed(x))
    tokens[:, HIDDEN] = np.linspace(-1, 1, 16)
    outputs = trainer.encoder.encode(tokens, (4, 4))["patch_tokens"]
    kernel, bias = (np.asarray(w, "float64") for w in trainer.to_targets.weights)
    predicted = np.asarray(outputs, "float64")[:, HIDDEN] @ kernel + bias
    expected = np.abs(predicted - patches_of(x)[:, HIDDEN] / 100).mean()
    assert loss_of(trainer, x) == pytest.approx(expected, rel=1e-5)


def test_any_token_encoder_and_decoder_will_do():
    decoder = keras.layers.Dense(6, activation="gelu")
    trainer = made("SimMIM", encoder=Mixer(), decoder=decoder, masking=FixedMask(HIDDEN))
    predicted, hidden = trainer.predict_hidden(images()[0][:3])
    assert predicted.shape == (3, 6, 49) and np.array_equal(hidden, [HIDDEN] * 3)
    assert np.isfinite(trainer.fit(images()[0][:32], verbose=0).history["loss"][0])
    assert len(decoder.trainable_weights) == 2 and decoder in trainer.layers


def test_default_masks_squares_of_32_pixels_as_in_the_paper():
    for patch, unit in ((16, 2), (4, 8), (32, 1), (64, 1)):
        encoder = networks.vit((16, 1, 2), (192, 192, 3), patch_size=patch)
        trainer = trainers.SimMIM(encoder)
        assert (trainer.masking.ratio, trainer.masking.unit) == (0.6, unit)
    assert not trainer.normalize_pixels and trainer.decoder is None


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"encoder": keras.Sequential()}, TypeError, "`encoder` must be a `keras_ssl.networks"),
        ({"decoder": "linear"}, TypeError, "`decoder`"),
        ({"masking": "random"}, TypeError, "`masking`"),
        ({}, ValueError, "leave at least one.*in 1 squares, unit=4"),
        ({"masking": layers.RandomMasking(0.6, unit=3)}, ValueError, "`unit` divides.*16 tokens"),
    ],
)
def test_invalid_arguments_are_rejected(arguments, error, message):
    with pytest.raises(error, match=message):
        made("SimMIM", **{"encoder": tiny_vit(), **arguments})
