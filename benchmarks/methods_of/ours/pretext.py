"""Pretext tasks."""

from collections.abc import Sequence

import keras

from keras_ssl import augment, trainers
from methods_of.ours._shared import (
    Images,
    Method,
    Trainer,
    any_size_encoder,
    one_view,
    pixel_decoder,
    small_encoder,
)


def rotation(train: Images, width: int, smallest_crop: float) -> Trainer:
    return trainers.RotationPrediction(small_encoder(width), one_view(smallest_crop))


def relative_position(
    train: Images, width: int, patch: int, gap: int, jitter: int, head: int
) -> Trainer:
    """Patches keep their colours, which classes are told by: no lens has made so small images."""
    return trainers.RelativePatchPosition(
        any_size_encoder(width),
        patch,
        gap,
        jitter,
        patch_augment=keras.layers.Identity(),
        head=keras.layers.Dense(head, "relu"),
    )


def jigsaw(train: Images, width: int, patch: int, permutations: int, head: int) -> Trainer:
    return trainers.JigsawPuzzle(
        any_size_encoder(width),
        patch,
        permutations,
        augment.RandomHorizontalFlip(),
        head=keras.layers.Dense(head, "relu"),
    )


def colorization(train: Images, width: int, smallest_crop: float) -> Trainer:
    """The encoder sees lightness alone, and ends before its pooling."""
    encoder = any_size_encoder(width, channels=1)
    maps = keras.Model(encoder.inputs, encoder.layers[-1].input)
    return trainers.Colorization(maps, one_view(smallest_crop))


def context_encoder(
    train: Images,
    width: int,
    block: int,
    decoder: Sequence[int],
    discriminator: Sequence[int],
    smallest_crop: float,
    adversary: float,
) -> Trainer:
    encoder = small_encoder(width)
    shape = (block, block, 3)
    critic = [
        keras.layers.Conv2D(units, 4, 2, padding="same", activation="leaky_relu")
        for units in discriminator
    ]
    return trainers.ContextEncoder(
        encoder,
        pixel_decoder(decoder, encoder.output_shape[-1], shape),
        keras.Sequential(
            [
                keras.layers.Rescaling(1 / 127.5, offset=-1),
                *critic,
                keras.layers.Flatten(),
                keras.layers.Dense(1),
            ]
        ),
        block,
        # the error is that of pixels from 0 to 1
        reconstruction_weight=(1 - adversary) / 255**2,
        adversary_weight=adversary,
        augment=one_view(smallest_crop),
    )


METHODS = {
    "RotationPrediction": Method(rotation),
    "RelativePatchPosition": Method(relative_position),
    "JigsawPuzzle": Method(jigsaw),
    "Colorization": Method(colorization),
    "ContextEncoder": Method(context_encoder),
}
