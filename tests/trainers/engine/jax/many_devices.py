"""Trainers on eight devices of JAX beside the same on one, in a process that has eight.

    KERAS_BACKEND=jax XLA_FLAGS=--xla_force_host_platform_device_count=8 \
        python -m tests.trainers.engine.jax.many_devices transformers NAME [NAME ...]
    ... python -m tests.trainers.engine.jax.many_devices cases NAME [NAME ...]

The first shares weights by `TransformerParallel` and prints into how many parts each is split; the
second shares batches of cases of the contract by `DataParallel`. Two steps must end with the logs
and variables of one device.
"""

import json
import sys

import jax
import keras
import numpy as np

from keras_ssl import distribute, layers, networks, trainers

GENERATOR = np.random.default_rng(0)
IMAGES = GENERATOR.uniform(0, 255, (64, 8, 8, 3)).astype("float32")
TOKENS = GENERATOR.integers(1, 48, (64, 6)).astype("int32")


def compiled(trainer):
    """Return the trainer with an optimizer that has slots."""
    trainer.compile(keras.optimizers.SGD(0.1, momentum=0.9))
    return trainer


def mae():
    """An encoder and a decoder, learned positions and a class token."""
    encoder = networks.vit((16, 1, 4), (8, 8, 3), 2, name="encoder")
    return compiled(trainers.MAE(encoder, layers.TokenDecoder(8, 1, 2, name="decoder"))), IMAGES


def masked_lm():
    """Embeddings of tokens that are read as the output's kernel too."""
    text = networks.bert((16, 1, 4), 48, max_length=6, dropout_rate=0.0, name="bert")
    return compiled(trainers.MaskedLM(text, mask_token_id=47, mask_ratio=0.5, seed=3)), TOKENS


def causal_lm():
    """An odd number of tokens, which is split by features; heads that four devices cannot share."""
    network = networks.gpt2((16, 1, 2), 49, max_length=6, dropout_rate=0.0, name="gpt2")
    return compiled(trainers.CausalLM(network)), TOKENS


TRANSFORMERS = {"MAE": mae, "MaskedLM": masked_lm, "CausalLM": causal_lm}


def transformers(names):
    """Weights are shared by four devices, and the batch by two."""
    mesh = keras.distribution.DeviceMesh((2, 4), ("batch", "model"))
    split = {}
    for make in map(TRANSFORMERS.get, names):
        trainer = compare(make, distribute.TransformerParallel(mesh))
        of_trainer = [(one.path, one) for one in trainer.trainable_variables]
        slots = trainer.optimizer.variables
        for path, one in [*of_trainer, *((f"slots/{one.path}", one) for one in slots)]:
            own = one.value.sharding.shard_shape(one.shape)
            split[path] = [whole // part for whole, part in zip(one.shape, own, strict=True)]
    return split


def case(name):
    """The batch is shared by all devices."""
    # all cases take seconds to import
    from tests.trainers import runs
    from tests.trainers.cases import CASES

    examples = CASES[name]
    y = examples.y()
    y = None if y is None else y[:64]

    def make():
        return runs.make(name), examples.first(64), y

    compare(make, keras.distribution.DataParallel())


def take_steps(make, distribution):
    """Take two steps under a distribution."""
    keras.distribution.set_distribution(distribution)
    try:
        keras.utils.set_random_seed(1)
        trainer, *data = make()
        logs = trainer.fit(*data, batch_size=32, shuffle=False, verbose=0).history
    finally:
        keras.distribution.set_distribution(None)
    return trainer, logs


def compare(make, distribution):
    """Raise unless a distribution changes nothing; return the trainer that had it."""
    one, expected = take_steps(make, None)
    several, found = take_steps(make, distribution)
    assert expected.keys() == found.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, err_msg=name)
    largest = max(np.abs(variable.value).max() for variable in one.trainable_variables)
    for ours, theirs in zip(several.variables, one.variables, strict=True):
        assert len(ours.value.sharding.device_set) == len(jax.devices()) == 8, ours.path
        tolerance = 1e-5 * max(1, largest)
        np.testing.assert_allclose(ours.value, theirs.value, 1e-5, tolerance, err_msg=ours.path)
    return several


if __name__ == "__main__":
    kind, *given = sys.argv[1:]
    if kind == "transformers":
        print(json.dumps(transformers(given)))
    else:
        for each in given:
            case(each)
