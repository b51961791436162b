"""An untrained encoder of the same architecture, the baseline of a report."""

import inspect
import random
from collections.abc import Iterator
from contextlib import contextmanager

import keras

from keras_ssl._keras_internals import all_layers


def random_encoder(encoder: keras.layers.Layer, seed: int = 0) -> keras.layers.Layer:
    """Build an encoder of the same architecture with newly initialized weights.

    It is a baseline: training must do better than this. Batch normalization starts from mean 0 and
    variance 1. The statistics of an adapted `keras.layers.Normalization` are kept, because they
    describe the scale of the input and are not learned by training. `encoder` is not changed.

    Args:
        encoder: a `keras.Model` or Keras layer. Its layers are rebuilt from their configs.
        seed: seed of the new weights. Initializers with a seed of their own keep it.

    Returns:
        A Keras model or layer.

    Raises:
        TypeError: if `encoder` is not a Keras model or layer.
        ValueError: if it cannot be rebuilt.

    Example:

    >>> import keras
    >>> from keras_ssl import evaluate
    >>> encoder = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    >>> fresh = evaluate.random_encoder(encoder, seed=1)
    >>> fresh.count_params() == encoder.count_params()
    True
    """
    if not isinstance(encoder, keras.layers.Layer):
        raise TypeError(
            "`encoder` must be a keras.Model or a Keras layer, since only these can be rebuilt. "
            f"Received: {encoder!r}"
        )
    try:
        with seeded(seed):
            fresh = _rebuild(encoder)
            if encoder.built and not fresh.built:
                fresh.build_from_config(encoder.get_build_config())
    except (TypeError, ValueError, NotImplementedError) as error:
        raise ValueError(
            "`encoder` must have a config that it can be rebuilt from. "
            f"Received: {encoder!r}, which failed with: {error}"
        ) from error
    shapes = [[tuple(weight.shape) for weight in layer.weights] for layer in (encoder, fresh)]
    if shapes[0] != shapes[1]:
        raise ValueError(
            "`encoder` must create all its weights when it is rebuilt from its config and build "
            f"config. Received: {encoder!r} with {len(shapes[0])} weights, rebuilt with "
            f"{len(shapes[1])}"
        )
    for layer, source in zip(*map(_normalizations, (fresh, encoder)), strict=True):
        layer.set_weights(source.get_weights())
        layer.finalize_state()
    return fresh


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed Python's generator, and restore its state afterwards.

    Keras draws from it the seeds of initializers and layers (dropout) that are created without a
    seed, and the order of the batches of a `keras.utils.PyDataset` in `fit`.
    """
    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)


def _rebuild(layer: keras.layers.Layer) -> keras.layers.Layer:
    if isinstance(layer, keras.Sequential) or hasattr(layer, "_run_through_graph"):
        return keras.models.clone_model(layer, clone_function=_rebuild, recursive=True)
    config = layer.get_config()
    try:
        return type(layer).from_config(config)
    except (TypeError, ValueError):
        # KerasHub's ViT has entries in its config that its constructors do not take
        bases = [base.__init__ for base in type(layer).__mro__]
        accepted = {name for init in bases for name in inspect.signature(init).parameters}
        if accepted.issuperset(config):
            raise
        known = {name: value for name, value in config.items() if name in accepted}
        return type(layer).from_config(known)


def _normalizations(encoder: keras.layers.Layer) -> list[keras.layers.Layer]:
    return [one for one in all_layers(encoder) if isinstance(one, keras.layers.Normalization)]
