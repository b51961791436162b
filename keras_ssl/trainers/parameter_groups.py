"""Learning rate and weight decay for groups of variables."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras

from keras_ssl import checks


class ParameterGroups:
    """Groups of variables, by their paths, that an optimizer treats in their own way.

    Args:
        learning_rate_multipliers: factors of the learning rate by regular expressions, of which
            the first that is found in `variable.path` counts.
        exclude_from_weight_decay: regular expressions of paths of variables without weight decay.

    Raises:
        TypeError: if a factor is not a number, or a pattern is not a string.
        ValueError: if a factor is negative.
    """

    def __init__(
        self,
        learning_rate_multipliers: Mapping[str, float] | None = None,
        exclude_from_weight_decay: Sequence[str] = (),
    ):
        if isinstance(exclude_from_weight_decay, str):
            exclude_from_weight_decay = (exclude_from_weight_decay,)
        self._multipliers = {
            _pattern("learning_rate_multipliers", pattern): checks.number(
                f"learning_rate_multipliers[{pattern!r}]", factor, 0.0
            )
            for pattern, factor in (learning_rate_multipliers or {}).items()
        }
        self._excluded = [
            _pattern("exclude_from_weight_decay", one) for one in exclude_from_weight_decay
        ]

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of `compile` that describe the groups."""
        return {
            "learning_rate_multipliers": {p.pattern: f for p, f in self._multipliers.items()},
            "exclude_from_weight_decay": [pattern.pattern for pattern in self._excluded],
        }

    def exclude(
        self, optimizer: keras.optimizers.Optimizer, variables: list[keras.Variable]
    ) -> None:
        """Tell an optimizer that is not built yet which variables get no weight decay.

        Raises:
            ValueError: if a pattern matches the path of no variable.
        """
        for name, patterns in (
            ("learning_rate_multipliers", self._multipliers),
            ("exclude_from_weight_decay", self._excluded),
        ):
            for pattern in patterns:
                if not any(pattern.search(variable.path) for variable in variables):
                    raise ValueError(
                        f"`{name}` must name variables by a part of their paths, such as "
                        f"{variables[0].path!r}. Received: {pattern.pattern!r}, which matches none "
                        f"of {len(variables)} variables"
                    )
        excluded = [v for v in variables if any(p.search(v.path) for p in self._excluded)]
        if excluded:
            # the optimizer within one that scales the loss decays the weights
            inner = getattr(optimizer, "inner_optimizer", optimizer)
            inner.exclude_from_weight_decay(var_list=excluded)

    @contextmanager
    def scaled_steps(self, variables: list[keras.Variable]) -> Iterator[None]:
        """Scale what an optimizer does to variables within this context by their multipliers.

        Every rule of Keras' optimizers is linear in the learning rate, decoupled weight decay
        included, so a scaled step is a step at a scaled rate.
        """
        factors = [(v, self._factor(v)) for v in variables] if self._multipliers else []
        before = [(v, factor, v + 0.0) for v, factor in factors if factor != 1.0]
        yield
        for variable, factor, old in before:
            variable.assign(old + factor * (variable - old))

    def _factor(self, variable: keras.Variable) -> float:
        found = (f for p, f in self._multipliers.items() if p.search(variable.path))
        return next(found, 1.0)


def _pattern(name: str, pattern: Any) -> re.Pattern:
    if not isinstance(pattern, str):
        raise TypeError(
            f"`{name}` must hold regular expressions, strings. "
            f"Received: {pattern!r} of type {type(pattern).__name__}"
        )
    return re.compile(pattern)
