"""Seconds of a training step on JAX: `fit`'s, and one written by hand.

    KERAS_BACKEND=jax taskset -c 0 python benchmarks/jax_step.py

SimCLR and MoCo with a small residual network, and MAE with a small vision transformer, float32,
views ready in memory. Both sides have the same layers, loss, optimizer and batches.

- `keras_ssl`: a batch of `fit`, an epoch with its start and end divided by its batches.
- `by hand`: `jax.jit` with donated buffers of a function of the weights: `jax.value_and_grad` under
  `keras.StatelessScope`, `stateless_apply` of the optimizer, and what the method does besides.

Before it is timed, each pair takes three steps from equal weights, and must end with equal ones.
The first step is timed with new trainers, tracing and compiling included.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import jax
import keras
import numpy as np
from fit_epochs import seconds_per_step
from keras import ops
from measure import interleave, machine, medians, print_machine, print_ratio, print_table

from keras_ssl import layers, networks, trainers
from keras_ssl.ops import l2_normalize
from keras_ssl.trainers._hidden_patches import hide, take_tokens

AIM = 1.05
FIRST_AIM = 1.3
MOMENTUM = 0.99


class ByHand:
    """The step of a method as a function of the values of its variables, compiled by JAX.

    Args:
        trainer: built trainer, whose layers and optimizer are used.
        loss: function of a batch that returns the method's loss.
        pairs: pairs of a student's layer and the moving average of it.
    """

    def __init__(
        self,
        trainer: keras.Model,
        loss: Callable[[Any], Any],
        pairs: tuple[tuple[keras.Layer, keras.Layer], ...],
    ):
        self._loss = loss
        self._optimizer = trainer.optimizer
        self._trained = trainer.trainable_variables
        metrics = {id(one) for one in trainer.metrics_variables}
        self._others = [one for one in trainer.non_trainable_variables if id(one) not in metrics]
        place = {id(one): number for number, one in enumerate(self._others)}
        source = {id(one): number for number, one in enumerate(self._trained)}
        self._follows = [
            (source[id(of_student)], place[id(of_teacher)])
            for student, teacher in pairs
            for of_student, of_teacher in zip(student.weights, teacher.weights, strict=True)
            if id(of_student) in source
        ]
        groups = (self._trained, self._others, self._optimizer.variables)
        self.state = tuple([jax.numpy.array(one.value) for one in group] for group in groups)
        self._step = jax.jit(self._take_step, donate_argnums=0)

    def _forward(self, weights: list, others: list, batch: Any) -> tuple[Any, list]:
        values = [
            *zip(self._trained, weights, strict=True),
            *zip(self._others, others, strict=True),
        ]
        with keras.StatelessScope(state_mapping=values) as scope:
            loss = self._loss(batch)
            after = [scope.get_current_value(one) for one in self._others]
        return loss, after

    def _take_step(self, state: tuple, batch: Any) -> tuple[tuple, Any]:
        weights, others, slots = state
        differentiated = jax.value_and_grad(self._forward, has_aux=True)
        (loss, others), gradients = differentiated(weights, others, batch)
        weights, slots = self._optimizer.stateless_apply(slots, gradients, weights)
        for student, teacher in self._follows:
            others[teacher] = MOMENTUM * others[teacher] + (1 - MOMENTUM) * weights[student]
        return (weights, others, slots), loss

    def train(self, batches: list) -> float:
        """Take a step per batch and return the last loss."""
        for batch in batches:
            self.state, loss = self._step(self.state, batch)
        jax.block_until_ready(self.state)
        return float(loss)


class SimCLR:
    """SimCLR: both views through the network at once."""

    views = 2

    @staticmethod
    def make(arguments: argparse.Namespace) -> keras.Model:
        """Our trainer."""
        encoder = _resnet(arguments)
        trainer = trainers.SimCLR(encoder, layers.ProjectionHead((4 * arguments.width, 64)))
        trainer.compile(keras.optimizers.SGD(0.05, momentum=0.9))
        return trainer

    @staticmethod
    def by_hand(trainer: keras.Model) -> ByHand:
        """The same step, written by hand."""

        def loss(views: tuple) -> Any:
            h = trainer.encoder(ops.concatenate(views), training=True)
            return trainer.loss_function(*ops.split(trainer.projector(h, training=True), 2))

        return ByHand(trainer, loss, ())


class MoCo:
    """MoCo: queries, and keys of the moving averages, beside those of a queue."""

    views = 2

    @staticmethod
    def make(arguments: argparse.Namespace) -> keras.Model:
        """Our trainer."""
        trainer = trainers.MoCo(
            _resnet(arguments),
            layers.ProjectionHead((4 * arguments.width, 64), normalization=False),
            queue=layers.FeatureQueue(16 * arguments.batch_size),
            momentum=MOMENTUM,
        )
        trainer.compile(keras.optimizers.SGD(0.05, momentum=0.9))
        return trainer

    @staticmethod
    def by_hand(trainer: keras.Model) -> ByHand:
        """The same step, written by hand."""
        names = ("encoder", "projector")
        pairs = tuple((getattr(trainer, n), getattr(trainer, f"teacher_{n}")) for n in names)

        def loss(views: tuple) -> Any:
            query, key = views
            for student, _ in pairs:
                query = student(query, training=True)
            for _, teacher in pairs:
                key = teacher(key, training=True)
            key = ops.stop_gradient(key)
            queue = trainer.queue(l2_normalize(key), training=True)
            return trainer.loss_function(query, key, queue=queue)

        return ByHand(trainer, loss, pairs)


class MAE:
    """MAE: a quarter of the patches through the encoder, the others through a small decoder."""

    views = 1

    @staticmethod
    def make(arguments: argparse.Namespace) -> keras.Model:
        """Our trainer."""
        width = 3 * arguments.width
        encoder = networks.vit(
            (width, 4, 3), _shape(arguments), 4, positions="sincos", include_rescaling=False
        )
        trainer = trainers.MAE(encoder, layers.TokenDecoder(width // 2, 1, 3))
        trainer.compile(keras.optimizers.AdamW(1e-3))
        return trainer

    @staticmethod
    def by_hand(trainer: keras.Model) -> ByHand:
        """The same step, written by hand."""
        encoder = trainer.encoder

        def loss(images: Any) -> Any:
            grid, tokens = encoder.grid(images.shape), encoder.embed(images)
            _, visible, hidden = hide(trainer.masking, tokens)
            seen = take_tokens(tokens, visible)
            known = encoder.encode(seen, grid, indices=visible, training=True)
            known = ops.concatenate([known["class_token"][:, None], known["patch_tokens"]], axis=1)
            decoded = trainer.decoder(known, visible, hidden, grid=grid, training=True)
            pixels = trainer.targets(images)
            error = trainer.to_targets(decoded, pixels) - take_tokens(pixels, hidden)
            return ops.mean(ops.square(error))

        return ByHand(trainer, loss, ())


METHODS = {"simclr": SimCLR, "moco": MoCo, "mae": MAE}


def _shape(arguments: argparse.Namespace) -> tuple[int, int, int]:
    return (arguments.size, arguments.size, 3)


def _resnet(arguments: argparse.Namespace) -> keras.Model:
    return networks.small_resnet(_shape(arguments), width=arguments.width, include_rescaling=False)


def _new(method: type, arguments: argparse.Namespace) -> keras.Model:
    """A trainer with the weights that all of its kind start from."""
    keras.utils.set_random_seed(0)
    return method.make(arguments)


def _built(method: type, arguments: argparse.Namespace) -> keras.Model:
    """The same with all of its variables, before its first step."""
    trainer = _new(method, arguments)
    shape = (None, *_shape(arguments))
    trainer.build(shape if method.views == 1 else (shape,) * method.views)
    trainer.before_steps()
    trainer.optimizer.build(trainer.trainable_variables)
    return trainer


def check(method: type, arguments: argparse.Namespace, batches: list) -> None:
    """Raise unless both sides end with equal weights."""
    trainer = _built(method, arguments)
    by_hand = method.by_hand(trainer)
    by_hand.train(batches[:3])
    seconds_per_step(trainer, batches[:3])
    for ours, theirs in zip(trainer.trainable_variables, by_hand.state[0], strict=True):
        np.testing.assert_allclose(ours.value, theirs, rtol=1e-4, atol=1e-4, err_msg=ours.path)


def first_steps(
    method: type, arguments: argparse.Namespace, batches: list
) -> dict[str, list[float]]:
    """Measures the first step, from a trainer that has no variables but its encoder's yet."""

    def ours() -> float:
        trainer = _new(method, arguments)
        start = perf_counter()
        seconds_per_step(trainer, batches[:1])
        return perf_counter() - start

    def theirs() -> float:
        trainer = _built(method, arguments)
        start = perf_counter()
        method.by_hand(trainer).train(batches[:1])
        return perf_counter() - start

    return interleave({"keras_ssl": ours, "by hand": theirs}, arguments.first_steps)


def steps(method: type, arguments: argparse.Namespace, batches: list) -> dict[str, list[float]]:
    """Measures later steps."""
    trainer, others = _new(method, arguments), _built(method, arguments)
    by_hand = method.by_hand(others)

    def theirs() -> float:
        start = perf_counter()
        by_hand.train(batches)
        return (perf_counter() - start) / len(batches)

    contenders = {"keras_ssl": lambda: seconds_per_step(trainer, batches), "by hand": theirs}
    return interleave(contenders, arguments.repeats)


def measure(arguments: argparse.Namespace) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Measures and prints the methods that `arguments.methods` names."""
    found = {}
    for name in arguments.methods:
        method = METHODS[name]
        shape = (arguments.steps, method.views, arguments.batch_size, *_shape(arguments))
        views = np.random.default_rng(0).uniform(-1, 1, shape).astype("float32")
        batches = [tuple(one) if method.views > 1 else one[0] for one in views]
        check(method, arguments, batches)
        found[name] = {"steps": steps(method, arguments, batches)}
        kinds = [("steps", AIM)]
        if arguments.first_steps:
            found[name]["first step"] = first_steps(method, arguments, batches)
            kinds.append(("first step", FIRST_AIM))
        for kind, aim in kinds:
            measured = found[name][kind]
            print(f"\n{name}, {kind}")
            print_table(medians(measured), per="by hand")
            print_ratio(measured, "keras_ssl", "by hand", aim)
    return found


def main(given: list[str] | None = None) -> None:
    """Measures, prints, and writes JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--width", type=int, default=16, help="channels of the first stage")
    parser.add_argument("--size", type=int, default=32, help="height and width of the views")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--steps", type=int, default=20, help="steps in each measurement")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--first-steps", type=int, default=3, help="first steps; 0 for none")
    parser.add_argument("--json", type=Path, help="file to write the measurements to")
    arguments = parser.parse_args(given)
    if keras.backend.backend() != "jax":
        parser.error("set KERAS_BACKEND=jax before the start")
    print_machine()
    print(f"{'jax':28}{jax.__version__}")
    found = measure(arguments)
    if arguments.json:
        report = {"machine": machine(), "settings": vars(arguments), "seconds": found}
        arguments.json.write_text(json.dumps(report, indent=2, default=str))


if __name__ == "__main__":
    main()
