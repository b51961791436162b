"""Our side of `gpu.py` on JAX: `python gpu_parts.py PART SETTINGS` prints a line of JSON."""

import json
import sys
from collections.abc import Callable
from time import perf_counter
from typing import Any

import jax
import keras
import numpy as np
from fit_epochs import seconds_per_step

from keras_ssl import evaluate, layers, losses, networks, samplers, trainers
from keras_ssl.networks.vision.stems import imagenet_stem


def _count(network: keras.Model) -> int:
    return sum(int(np.prod(weight.shape)) for weight in network.trainable_weights)


def _normal(seed: int, *shape: int) -> jax.Array:
    return jax.block_until_ready(jax.random.normal(jax.random.key(seed), shape, "float32"))


def _call(function: Callable[[], Any], repeats: int) -> dict[str, Any]:
    """Seconds of a function, and of its first call, which compiles."""
    seconds = []
    for _ in range(1 + repeats):
        start = perf_counter()
        jax.block_until_ready(function())
        seconds.append(perf_counter() - start)
    return {"first": seconds[0], "seconds": seconds[1:]}


def _fit(trainer: keras.Model, batch: Any, settings: dict[str, Any]) -> dict[str, Any]:
    """Seconds of a step of `fit`, and of a first `fit` of one step."""
    start = perf_counter()
    seconds_per_step(trainer, [batch])
    first = perf_counter() - start
    batches = [batch] * settings["steps"]
    seconds = [seconds_per_step(trainer, batches) for _ in range(settings["repeats"])]
    return {"first": first, "seconds": seconds, "parameters": _count(trainer)}


def simclr(settings: dict[str, Any]) -> dict[str, Any]:
    """A step of SimCLR with ResNet-50."""
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    shape = (settings["size"], settings["size"], 3)
    encoder = networks.resnet(
        settings["blocks"],
        shape,
        settings["width"],
        bottleneck=True,
        stem=imagenet_stem,
        include_rescaling=False,
    )
    trainer = trainers.SimCLR(encoder, layers.ProjectionHead(settings["head"]))
    trainer.compile(keras.optimizers.SGD(0.05, momentum=0.9))
    views = tuple(_normal(seed, settings["pairs"], *shape) for seed in (0, 1))
    return _fit(trainer, views, settings)


def mae(settings: dict[str, Any]) -> dict[str, Any]:
    """A step of MAE with a vision transformer."""
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    shape = (settings["size"], settings["size"], 3)
    encoder = networks.vit(
        tuple(settings["encoder"]),
        shape,
        settings["patch"],
        positions="sincos",
        include_rescaling=False,
    )
    trainer = trainers.MAE(encoder, layers.TokenDecoder(*settings["decoder"]))
    trainer.compile(keras.optimizers.AdamW(1e-4))
    return _fit(trainer, _normal(0, settings["batch"], *shape), settings)


def nt_xent(settings: dict[str, Any]) -> dict[str, Any]:
    """NT-Xent and its gradient."""
    loss = losses.NTXent(chunk_size=settings["chunk_size"])
    views = [_normal(seed, settings["embeddings"] // 2, settings["dim"]) for seed in (0, 1)]
    both = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
    return _call(lambda: both(*views), settings["repeats"])


def knn(settings: dict[str, Any]) -> dict[str, Any]:
    """Classes of queries by their neighbours."""
    generator = np.random.default_rng(0)
    features, queries = (
        generator.standard_normal((settings[name], settings["dim"]), "float32")
        for name in ("features", "queries")
    )
    labels = generator.integers(settings["classes"], size=settings["features"])
    return _call(
        lambda: evaluate.knn_predict(features, labels, queries, settings["k"]), settings["repeats"]
    )


def ddim(settings: dict[str, Any]) -> dict[str, Any]:
    """Images by DDIM."""
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    shape = tuple(settings["shape"])
    network = networks.dit(tuple(settings["network"]), shape, settings["patch"])
    trainer = trainers.Diffusion(network)
    trainer.compile("adam")
    trainer.build((None, *shape))
    count, sampler = settings["images"], samplers.DDIM()

    def sample() -> Any:
        steps = settings["steps"]
        return trainer.sample(count, steps, sampler=sampler, seed=0, batch_size=count)

    return {**_call(sample, settings["repeats"]), "parameters": _count(network)}


PARTS = {"simclr": simclr, "mae": mae, "nt_xent": nt_xent, "knn": knn, "ddim": ddim}


def main() -> None:
    """Runs the part that the command line names."""
    found = PARTS[sys.argv[1]](json.loads(sys.argv[2]))
    device = jax.devices()[0]
    memory = device.memory_stats() or {}
    found |= {"device": device.device_kind, "bytes": memory.get("peak_bytes_in_use")}
    print(json.dumps({**found, "versions": {"jax": jax.__version__, "keras": keras.__version__}}))


if __name__ == "__main__":
    main()
