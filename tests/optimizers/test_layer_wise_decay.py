"""Factors of the learning rate by depth: those of MAE's `get_layer_id_for_vit`."""

import re

import keras
import numpy as np
import pytest

from keras_ssl import networks, optimizers


def vit(**arguments):
    return networks.vit((8, 3, 2), input_shape=(8, 8, 1), patch_size=4, **arguments)


def factors_of(encoder, multipliers):
    """The factor of each path, as the trainers look it up."""
    return {
        v.path: next((f for p, f in multipliers.items() if re.search(p, f"encoder/{v.path}")), 1.0)
        for v in encoder.trainable_variables
    }


def layer_id(path, blocks):
    """MAE's function, in the names of `networks.vit`."""
    if re.search("patch_embedding|class_token|register_tokens|position_embedding", path):
        return 0
    found = re.search(r"block_(\d+)", path)
    return int(found[1]) if found else blocks + 1


def test_factors_are_those_of_mae():
    encoder = vit(registers=2, pooling="attention")
    found = factors_of(encoder, optimizers.layer_wise_decay(encoder, 0.65))
    assert {round(0.65**k, 6) for k in range(5)} == {round(f, 6) for f in found.values()}
    for path, factor in found.items():
        assert factor == pytest.approx(0.65 ** (4 - layer_id(path, 3))), path


def test_blocks_may_be_named_by_layers_and_lists_of_layers():
    encoder = keras.Sequential(
        [keras.Input((4,)), *(keras.layers.Dense(4, name=f"dense_{i}") for i in range(5))]
    )
    stages = [encoder.layers[1], encoder.layers[2:4]]
    found = factors_of(encoder, optimizers.layer_wise_decay(encoder, 0.5, blocks=stages))
    kernels = [found[layer.kernel.path] for layer in encoder.layers]
    assert kernels == [0.125, 0.25, 0.5, 0.5, 1.0]


def test_layers_between_blocks_count_to_the_earlier_one():
    encoder = networks.resnet18(input_shape=(8, 8, 3), width=2)
    stages = [
        [one for one in encoder.layers if one.name.startswith(f"stage{number}_")]
        for number in (1, 2, 3, 4)
    ]
    found = factors_of(encoder, optimizers.layer_wise_decay(encoder, 0.5, blocks=stages))
    for path, factor in found.items():
        stage = re.match(r"stage(\d)_", path)
        assert factor == 0.5 ** (5 - (int(stage[1]) if stage else 0)), path
    first, last = stages[0], stages[-1]
    found = factors_of(encoder, optimizers.layer_wise_decay(encoder, 0.5, blocks=[first, last]))
    assert {f for path, f in found.items() if re.match("stage[23]_", path)} == {0.25}


def test_variables_of_several_blocks_have_the_factor_one_as_in_beit():
    encoder = vit(relative_bias="shared")
    found = factors_of(encoder, optimizers.layer_wise_decay(encoder, 0.5))
    (shared,) = (factor for path, factor in found.items() if path.endswith("table"))
    assert shared == 1.0
    assert sorted(set(found.values())) == [0.0625, 0.125, 0.25, 0.5, 1.0]


def test_frozen_layers_have_no_factor():
    encoder = vit()
    encoder.patch_embedding.trainable = encoder.blocks[0].trainable = False
    patterns = optimizers.layer_wise_decay(encoder, 0.5)
    assert not any("patch_embedding" in one or "block_1" in one for one in patterns)
    assert factors_of(encoder, patterns)[encoder.blocks[1].trainable_variables[0].path] == 0.25


SAME = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2), keras.layers.Dense(2)])
OTHER = keras.layers.Dense(2)
OTHER.build((None, 2))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"encoder": keras.layers.Dense(2)}, ValueError, "`encoder` must be built"),
        ({"encoder": np.ones}, TypeError, "`encoder` must be a keras.Model"),
        ({"decay": 0.0}, ValueError, "`decay`"),
        ({"decay": 1.5}, ValueError, "`decay`"),
        ({"blocks": None}, ValueError, "`blocks` must hold the layers of `encoder` in the order"),
        ({"blocks": []}, ValueError, "`blocks` must hold the layers of `encoder` in the order"),
        ({"blocks": ["dense"]}, TypeError, "`blocks` must hold Keras layers"),
        ({"blocks": [OTHER]}, ValueError, "a layer with '.*kernel', which the encoder does not"),
    ],
)
def test_wrong_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        optimizers.layer_wise_decay(**{"encoder": SAME, "blocks": SAME.layers, **arguments})


def test_paths_that_two_blocks_share_are_refused():
    class Alike(keras.Model):
        def __init__(self):
            super().__init__(name="alike")
            self.blocks = [keras.layers.Dense(2, name="dense") for _ in range(2)]

        def call(self, x):
            return self.blocks[1](self.blocks[0](x))

    encoder = Alike()
    encoder(np.ones((1, 2)))
    with pytest.raises(ValueError, match=r"different paths.*'alike/dense/kernel'"):
        optimizers.layer_wise_decay(encoder)
