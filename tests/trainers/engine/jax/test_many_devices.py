"""Eight devices on JAX take the steps of one: batches and weights that they share."""

import json

import keras
import pytest

if keras.backend.backend() != "tensorflow":
    pytest.skip("starts processes of the JAX backend", allow_module_level=True)
pytest.importorskip("jax")

from tests.trainers.cases import REPRESENTATIVES
from tests.trainers.engine.jax.on_jax import on_jax

PROGRAM = ("-m", "tests.trainers.engine.jax.many_devices")

BLOCK = {
    "block_1/attention/query_key_value_kernel": [1, 4],
    "block_1/attention/query_key_value_bias": [4],
    "block_1/attention/output_kernel": [4, 1],
    "block_1/attention/output_bias": [1],
    "block_1/feed_forward/hidden/kernel": [1, 4],
    "block_1/feed_forward/hidden/bias": [4],
    "block_1/feed_forward/outputs/kernel": [4, 1],
    "block_1/feed_forward/outputs/bias": [1],
    "block_1/attention_residual/norm/gamma": [1],
}


SPLIT = {
    "MAE": {
        "encoder": {**BLOCK, "patch_embedding/kernel": [1, 1]},
        "decoder": {**BLOCK, "enter/kernel": [1, 1]},
    },
    "MaskedLM": {"bert": {**BLOCK, "token_embedding/embeddings": [4, 1]}},
    # 49 tokens are split by features
    "CausalLM": {"gpt2": {**BLOCK, "token_embedding/embeddings": [1, 4]}},
}


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("MAE", marks=pytest.mark.slow),
        *(pytest.param(name, marks=pytest.mark.full) for name in ("MaskedLM", "CausalLM")),
    ],
)
def test_transformers_whose_weights_are_shared_take_the_steps_of_one_device(name):
    split = json.loads(on_jax(*PROGRAM, "transformers", name, devices=8).splitlines()[-1])
    for network, expected in SPLIT[name].items():
        for path, parts in expected.items():
            assert split[f"{network}/{path}"] == parts, (network, path)
    momentum = "_block_1_attention_output_kernel_momentum"
    slots = [parts for path, parts in split.items() if path.endswith(momentum)]
    assert slots == [[4, 1]] * len(SPLIT[name])


@pytest.mark.full
@pytest.mark.parametrize("name", REPRESENTATIVES.values())
def test_batches_that_are_shared_take_the_steps_of_one_device(name):
    on_jax(*PROGRAM, "cases", name, devices=8)
