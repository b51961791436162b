"""Learning rate and weight decay for groups of variables."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from keras_ssl import checks
from keras_ssl._keras_internals import decays_weights_as_keras
from keras_ssl.ops.schedules import is_schedule, value_now
from keras_ssl.optimizers._wrapper import chain, innermost
from keras_ssl.optimizers.lookahead import Lookahead

NO_WEIGHT_DECAY = (
    r"(^|[/_])(bias|beta|gamma|scale|factors|lambda1|tokens?|query|positions?"
    r"|position(al)?_embeddings?(_\d+)?(/embeddings)?)$"
)
"""Names of the variables that recipes of transformers do not decay.

They are biases, the scales and offsets of normalisation, LayerScale's factors, learned tokens and
positions. A name may have a prefix, as in `output_bias`; a table of positions is known by the name
of its layer, which Keras numbers.
"""


class ParameterGroups:
    """Groups of variables, by their paths, that an optimizer treats in their own way.

    The path of a variable is that of Keras, after the name of the trainer's attribute that holds
    it: `encoder/dense/kernel`.

    Args:
        learning_rate_multipliers: factors of the learning rate by regular expressions, of which
            the first that is found in a variable's path counts.
        exclude_from_weight_decay: regular expressions of paths of variables without weight decay.
        weight_decay: schedule of the weight decay by training steps, in place of the optimizers'
            constant.

    Raises:
        TypeError: if a factor is not a number, a pattern is not a string, or `weight_decay` is not
            a schedule.
        ValueError: if a factor is negative.
    """

    def __init__(
        self,
        learning_rate_multipliers: Mapping[str, float] | None = None,
        exclude_from_weight_decay: Sequence[str] = (),
        weight_decay: keras.optimizers.schedules.LearningRateSchedule | None = None,
    ):
        if weight_decay is not None and not is_schedule(weight_decay):
            raise TypeError(
                "`weight_decay` must be a schedule of Keras. A constant is an argument of the "
                f"optimizer: `AdamW(weight_decay=0.05)`. Received: weight_decay={weight_decay!r}"
            )
        self._weight_decay = weight_decay
        if isinstance(exclude_from_weight_decay, str):
            exclude_from_weight_decay = (exclude_from_weight_decay,)
        self._multipliers = {
            _pattern("learning_rate_multipliers", pattern): checks.number(
                f"learning_rate_multipliers[{pattern!r}]", factor, minimum=0
            )
            for pattern, factor in (learning_rate_multipliers or {}).items()
        }
        self._excluded = [
            _pattern("exclude_from_weight_decay", one) for one in exclude_from_weight_decay
        ]
        self._paths = {}
        self._prepared = []  # the optimizers that know which variables they do not decay
        self._constants = {}  # their own weight decay, where a schedule replaces it

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of `compile` that describe the groups."""
        return {
            "learning_rate_multipliers": {p.pattern: f for p, f in self._multipliers.items()},
            "exclude_from_weight_decay": [pattern.pattern for pattern in self._excluded],
            "weight_decay": self._weight_decay,
        }

    def take_over(self, before: "ParameterGroups") -> None:
        """Note what optimizers already know, if the groups have not changed."""
        if self._excluded == before._excluded:
            self._prepared = before._prepared

    def name(self, parts: Mapping[str, Any], variables: list[keras.Variable]) -> None:
        """Note the paths of all variables that learn, and check that each pattern is found.

        Args:
            parts: layers by the names that their variables' paths begin with; what is no layer is
                left out.
            variables: the variables that learn.

        Raises:
            ValueError: if a pattern matches no path.
        """
        for attribute, part in parts.items():
            if isinstance(part, keras.layers.Layer):
                for v in part.variables:  # the first attribute that holds a variable names it
                    self._paths.setdefault(id(v), f"{attribute}/{v.path}")
        paths = [self._path(variable) for variable in variables]
        for argument, patterns in (
            ("learning_rate_multipliers", self._multipliers),
            ("exclude_from_weight_decay", self._excluded),
        ):
            for pattern in patterns:
                if not any(pattern.search(path) for path in paths):
                    raise ValueError(
                        f"`{argument}` must name variables by a part of their paths, such as "
                        f"{paths[0]!r}. Received: {pattern.pattern!r}, which matches none of "
                        f"{len(paths)} variables"
                    )

    def prepare(
        self, optimizer: keras.optimizers.Optimizer, variables: list[keras.Variable]
    ) -> None:
        """Tell an optimizer which variables get no weight decay, before it is built.

        Raises:
            ValueError: if it is built already, or its steps cannot be scaled.
        """
        inner = innermost(optimizer)  # which decays the weights
        not_linear = (keras.optimizers.Ftrl, Lookahead)
        is_linear = not any(isinstance(one, not_linear) for one in chain(optimizer))
        if self._multipliers and (inner.use_ema or not is_linear):
            raise ValueError(
                "`learning_rate_multipliers` scale the steps of an optimizer, which is not "
                f"possible for Ftrl, Lookahead or with `use_ema=True`. Received: {optimizer}"
            )
        if self._weight_decay is not None:
            if not decays_weights_as_keras(inner):
                raise ValueError(
                    "A schedule of `weight_decay` needs an optimizer with the decoupled weight "
                    "decay of Keras, such as AdamW. That of "
                    f"{type(inner).__name__} is its own. Received: {inner}"
                )
            self._constants[id(inner)] = inner.weight_decay
        if any(optimizer is one for one in self._prepared):
            return
        if self._excluded and optimizer.built:
            raise ValueError(
                "`exclude_from_weight_decay` needs an optimizer that has not been used. "
                f"Received: {optimizer}, which has state already"
            )
        if self._excluded:
            matches = [v for v in variables if _found(self._excluded, self._path(v))]
            inner.exclude_from_weight_decay(var_list=matches)
        self._prepared.append(optimizer)

    @contextmanager
    def applied(
        self, optimizer: keras.optimizers.Optimizer, variables: list[keras.Variable]
    ) -> Iterator[None]:
        """Scale what an optimizer does to variables within this context by their multipliers.

        Its weight decay is that of the schedule. The rules of Keras' optimizers are linear in the
        learning rate, decoupled weight decay included, so a scaled step is a step at a scaled rate.
        Constraints hold after scaling.
        """
        factors = [(v, self._factor(v)) for v in variables] if self._multipliers else []
        before = [(v, factor, v + 0.0) for v, factor in factors if factor != 1.0]
        with self._scheduled_weight_decay(optimizer):
            yield
        for variable, factor, old in before:
            variable.assign(_scaled(variable, factor, old, variable))

    def scaled(
        self, variables: list[keras.Variable], before: list[Any], after: list[Any]
    ) -> list[Any]:
        """Scale a step that is given by values of variables by their multipliers.

        Args:
            variables: the variables.
            before: their values before the step.
            after: their values after it.

        Returns:
            Their values after the scaled step.
        """
        return [
            new if self._factor(v) == 1.0 else _scaled(v, self._factor(v), old, new)
            for v, old, new in zip(variables, before, after, strict=True)
        ]

    @contextmanager
    def _scheduled_weight_decay(self, optimizer: keras.optimizers.Optimizer) -> Iterator[None]:
        if self._weight_decay is None:
            yield
            return
        inner = innermost(optimizer)
        inner.weight_decay = value_now(self._weight_decay, "weight_decay")
        try:
            yield
        finally:
            # Not what was found above: replicas are threads, which share the optimizer. All of
            # them have set it before the first one comes here.
            inner.weight_decay = self._constants[id(inner)]

    def _path(self, variable: keras.Variable) -> str:
        return self._paths.get(id(variable), variable.path)

    def _factor(self, variable: keras.Variable) -> float:
        path = self._path(variable)
        return next((f for p, f in self._multipliers.items() if p.search(path)), 1.0)


def _scaled(variable: keras.Variable, factor: float, before: Any, after: Any) -> Any:
    """Return the value of a variable after a part of a step."""
    scaled = before + factor * (after - before)
    return scaled if variable.constraint is None else variable.constraint(scaled)


def _found(patterns: list[re.Pattern], path: str) -> bool:
    return any(pattern.search(path) for pattern in patterns)


def _pattern(name: str, pattern: Any) -> re.Pattern:
    if not isinstance(pattern, str):
        raise TypeError(
            f"`{name}` must hold regular expressions, strings. "
            f"Received: {pattern!r} of type {type(pattern).__name__}"
        )
    return re.compile(pattern)
