"""Recomputation of activations in the backward pass, with the same random numbers."""

from collections.abc import Callable
from typing import Any

import keras

from keras_ssl._keras_internals import stored_values


def recompute(layer: keras.layers.Layer, function: Callable, tensors: list[Any]) -> list[Any]:
    """Call `function(*tensors)`, and again in the backward pass instead of keeping activations.

    `keras.remat` alone would draw other dropout masks the second time, and update seeds and moving
    statistics twice. Here `function` gets the values of all variables of `layer` as arguments, so
    that it computes the same both times, and what it assigns is assigned once.

    Args:
        layer: the layer whose variables `function` uses.
        function: function of the tensors, which returns a list of tensors.
        tensors: floating-point tensors that gradients are needed for. Others may be captured.
    """
    trained, others = layer.trainable_variables, layer.non_trainable_variables
    weights, state = stored_values(trained), stored_values(others)
    count = 0

    def pure(tensors: list[Any], weights: list[Any], state: list[Any]) -> tuple[list, list]:
        nonlocal count
        mapping = zip([*trained, *others], [*weights, *state], strict=True)
        with keras.StatelessScope(mapping, collect_losses=True) as scope:
            outputs = function(*tensors)
        count = len(outputs)
        return [*outputs, *scope.losses], [scope.get_current_value(one) for one in others]

    run = _in_tensorflow if keras.backend.backend() == "tensorflow" else keras.remat(pure)
    arguments = (tensors, weights, state)
    outputs, after = run(pure, *arguments) if run is _in_tensorflow else run(*arguments)
    for variable, value in zip(others, after, strict=True):
        variable.assign(value)
    for loss in outputs[count:]:
        layer.add_loss(loss)
    return outputs[:count]


def _in_tensorflow(
    pure: Callable, tensors: list[Any], weights: list[Any], state: list[Any]
) -> tuple[list, list]:
    """Call `pure` with a gradient that calls it again.

    `tf.recompute_grad` makes a copy of every argument, and knows no integers such as seeds.
    """
    import tensorflow as tf

    after = []

    def split(arguments: Any) -> tuple[list, list, list]:
        first, second = len(tensors), len(tensors) + len(weights)
        return list(arguments[:first]), list(arguments[first:second]), list(arguments[second:])

    @tf.custom_gradient
    def call(*arguments: Any) -> tuple[list, Callable]:
        # of these nothing is recorded by tapes, which would keep it
        outputs, after[:] = pure(*split([tf.stop_gradient(one) for one in arguments]))

        def gradient(*slopes: Any, variables: Any = ()) -> Any:
            tokens, kernels, seeds = split(arguments)
            # otherwise TensorFlow would find that both passes do the same, and keep the first
            zero = _zero_after(slopes[0])
            tokens, seeds = (
                [one + tf.cast(zero, one.dtype) for one in group] for group in (tokens, seeds)
            )
            with tf.GradientTape() as tape:
                tape.watch([*tokens, *kernels])
                outputs, _ = pure(tokens, kernels, seeds)
            sources = [*tokens, *kernels, *variables]
            found = tape.gradient(outputs, sources, output_gradients=list(slopes))
            used = len(tokens) + len(kernels)
            gradients = [*found[:used], *[None] * len(seeds)]
            return (gradients, found[used:]) if variables else gradients

        return outputs, gradient

    return list(call(*map(tf.convert_to_tensor, [*tensors, *weights, *state]))), after


def _zero_after(slope: Any) -> Any:
    """Return 0 in a way that XLA, too, cannot compute before `slope` is known."""
    import tensorflow as tf

    first = tf.cast(tf.reduce_max(tf.reshape(slope, (-1,))[:1]), "bool")
    return tf.where(tf.equal(first, first), 0.0, float("nan"))
