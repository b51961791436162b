"""Detection of collapsed representations."""

import warnings
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.callbacks._epoch_end_measure import EpochEndMeasure
from keras_ssl.distribute import on_chief
from keras_ssl.evaluate._batch_statistics import batch_statistics, describe_lag
from keras_ssl.evaluate._batches import as_batches, rows_that_count
from keras_ssl.evaluate._forward import Forward
from keras_ssl.evaluate.spectrum import effective_rank, feature_std
from keras_ssl.ops import l2_normalize

# In the order of the forward pass
_MEANINGS = {
    "representation": (
        "feature_std",
        "the encoder gives nearly the same features to every example",
    ),
    "projection": (
        "projection_spread",
        "the projector gives nearly the same output to every example, so that the encoder learns "
        "nothing more from the loss, even if its features still differ",
    ),
    "assignment": (
        "assignment_spread",
        "every example gets nearly the same distribution over the prototypes, so that the encoder "
        "learns nothing more from the loss, even if its features still differ",
    ),
}


class _Spreads:
    """Spreads of named sets of vectors, computed from sums over batches.

    With u the normalised vectors of a set, `spread = sqrt(mean ||u||² - ||mean u||²)`. Vectors of
    zeros count as one direction.
    """

    def __init__(self):
        self._sums = {}

    def add(self, vectors: dict[str, Any]) -> None:
        """Add a batch: tensors of shape `(batch, ...)` by name; other axes are flattened."""
        for name, batch in vectors.items():
            batch = ops.reshape(batch, (batch.shape[0], -1))
            units = ops.convert_to_numpy(l2_normalize(batch))
            rows, total, squares = self._sums.get(name, (0, 0.0, 0.0))
            self._sums[name] = (
                rows + len(units),
                # float32 would lose a spread of less than 1e-3
                total + units.sum(axis=0, dtype="float64"),
                squares + np.square(units, dtype="float64").sum(),
            )

    def numbers(self) -> dict[str, float]:
        """Return `{"<name>_spread": spread}` of all batches so far."""
        return {
            f"{name}_spread": float(np.sqrt(max(0.0, squares / rows - np.sum((total / rows) ** 2))))
            for name, (rows, total, squares) in self._sums.items()
        }


class CollapseMonitor(EpochEndMeasure):
    r"""Log how much the features vary and how many dimensions they fill; warn when they collapse.

    The logs of an epoch get two entries about the output of the model, `model(x)`, which is the
    representation for every trainer of keras_ssl:

    - `feature_std`: the standard deviation of the normalised features times $\sqrt d$, averaged
      over the $d$ dimensions (`keras_ssl.evaluate.feature_std`). About 1 for features spread evenly
      over the sphere, 0 if all are equal. Features after a ReLU lie in one orthant; values of 0.1
      to 0.6 are usual for them.
    - `effective_rank`: the number of directions in which the features vary, from 0 to $d$
      (`keras_ssl.evaluate.effective_rank`, about the mean).

    A projector collapses before the encoder does, and the encoder then learns nothing more. For
    trainers with a projector the vectors that the loss compares are therefore measured too, by
    their spread: the root of the summed variances of the normalised vectors,
    $\sqrt{1 - \|\bar u\|^2}$ with $\bar u$ their mean. It is 0 if all point in one direction and 1
    if their mean is zero; its square is 1 minus the mean cosine similarity.

    - `projection_spread`: the spread of the projections. VICReg's loss depends on lengths as well
      as directions; there it is about the standard deviation of a dimension, as long as that is
      small compared with the 1 that the variance term aims at.
    - `assignment_spread`, instead of it, for methods with prototypes: the spread of the
      distributions over the prototypes. It is 0 if all examples get one prototype, or all get the
      uniform distribution.

    A `UserWarning` is issued at the first epoch with

    - complete collapse of the representation, the projection or the assignment: `feature_std` or
      the spread is below `min_std` and is not growing, which means less than twice the value of
      the previous measurement (the first one is made before the first step);
    - dimensional collapse of the representation, whose features vary along very few directions:
      `effective_rank < 1 + min_rank_fraction * (m - 1)`, where $m$ is the smaller of the number of
      dimensions and the number of examples minus 1.

    Features are those of inference mode. If these look collapsed and those with the statistics of
    the batch do not, the warning says that the moving statistics of batch normalization lag behind
    (see `keras_ssl.evaluate.recalibrate`): nothing has collapsed then.

    Every measurement uses the same examples, the first ones of `data`, which are read once and
    kept. Labels are not used. Shuffle data that is sorted by class.

    Args:
        data: a batched `tf.data.Dataset` or `keras.utils.PyDataset` of `x` or `(x, y)`, an array
            `x`, or a tuple of arrays `(x, y)`.
        examples: number of examples to measure on.
        every: measure after the first epoch of `fit`, after every epoch whose number is a multiple
            of this, and after the last. Between measurements the last value is repeated.
        min_std: `feature_std` or spread below which the collapse is complete.
        min_rank_fraction: fraction of the possible directions, see above, below which the collapse
            is dimensional.
        batch_size: examples per batch if the data is arrays.

    Raises:
        ValueError: before the first step, if `data` is empty, endless or not batched, has fewer
            than two examples, or an argument is out of range.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl.callbacks import CollapseMonitor
    >>> x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4)])
    >>> model.compile(loss="mse")
    >>> history = model.fit(x, x[:, :4], verbose=0, callbacks=[CollapseMonitor(x)])
    >>> sorted(history.history)
    ['effective_rank', 'feature_std', 'loss']

    Reference:
        - [Chen & He, 2020](https://arxiv.org/abs/2011.10566), section 4.1: complete collapse
        - [Jing et al., 2021](https://arxiv.org/abs/2110.09348): dimensional collapse
        - [Roy & Vetterli, 2007](https://www.eurasip.org/Proceedings/Eusipco/Eusipco2007/Papers/a5p-h05.pdf):
          effective rank
    """

    def __init__(
        self,
        data: Any,
        examples: int = 1024,
        every: int = 1,
        min_std: float = 0.05,
        min_rank_fraction: float = 0.01,
        batch_size: int = 256,
    ):
        super().__init__(every)
        self.examples = checks.integer("examples", examples, minimum=2)
        self.min_std = checks.number("min_std", min_std, minimum=0)
        self.min_rank_fraction = checks.number("min_rank_fraction", min_rank_fraction, 0, 1)
        self.data = as_batches(data, "data", batch_size)
        self._batches = None
        self._before = None
        self._warned = set()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Read the examples and measure the model before training."""
        self._warned = set()
        super().on_train_begin(logs)
        strategy = self.model.distribute_strategy
        self._before = on_chief(lambda: self.measure(self._forward), strategy)

    def get_state(self) -> dict[str, Any]:
        """Return the state that `BackupAndResume` saves: the numbers and the warnings issued."""
        return {**super().get_state(), "before": self._before, "warned": sorted(self._warned)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned."""
        super().set_state(state)
        self._before = state["before"]
        self._warned = set(state["warned"])

    def _read(self, forward: Forward) -> list[Any]:
        batches, rows = [], 0
        for x, _, weights in self.data.with_weights():
            if not keras.tree.is_nested(x):  # graphs and several inputs are not cut
                x = x[: self.examples - rows]
            found = len(forward(x))
            counts = rows_that_count(x, weights, found)
            batches.append((x, counts))
            rows += found if counts is None else np.count_nonzero(counts)
            if rows >= self.examples:
                break
        if rows < 2:
            raise ValueError(f"`data` must have at least two examples. Received: {rows}")
        return batches

    def check(self, forward: Forward) -> None:
        """Read the examples, the first time; measuring before training shows whether they fit."""
        if self._batches is None:
            self._batches = self._read(forward)

    def measure(self, forward: Forward) -> dict[str, float]:
        """Return `feature_std`, `effective_rank`, and the spread of the vectors of the loss."""
        outputs = getattr(self.model, "monitored_outputs", None)
        features, spreads, missing = [], _Spreads(), self.examples
        for x, counts in self._batches:
            h = forward(x)
            h = (h if counts is None else h[counts])[:missing]
            missing -= len(h)
            features.append(ops.convert_to_numpy(h))
            if outputs is not None:
                spreads.add(outputs(h))
        features = np.concatenate(features)
        self._directions = min(features.shape[1], len(features) - 1)
        return {
            "feature_std": float(feature_std(features).mean()),
            "effective_rank": effective_rank(features),
            **spreads.numbers(),
        }

    def examine(self, epoch: int, numbers: dict[str, float]) -> None:
        """Warn of a kind of collapse that the previous measurement did not show."""
        found = self._complete(numbers) or self._dimensional(numbers)
        if found.keys() - self._warned and self._lag_check.applies:
            found = self._without_lag(epoch, numbers, found)
        for kind in found.keys() - self._warned:
            warnings.warn(
                f"CollapseMonitor: {kind} after epoch {epoch + 1}: {found[kind]}.", stacklevel=2
            )
        self._warned, self._before = set(found), numbers

    def _without_lag(
        self, epoch: int, numbers: dict[str, float], found: dict[str, str]
    ) -> dict[str, str]:
        """Return what is found with the statistics of the batch too, and warn if they differ."""
        with batch_statistics(self.model):
            by_batch = self.measure(self._lag_check.by_batch)
        measures = {f"complete collapse of the {one}": m for one, (m, _) in _MEANINGS.items()}
        limits = dict.fromkeys(measures.values(), self.min_std)
        limits["effective_rank"] = self._least_rank()
        for kind in list(found):
            measure = measures.get(kind, "effective_rank")
            if by_batch[measure] >= max(limits[measure], 2 * numbers[measure]):
                self.warn_of_lag(epoch, describe_lag(measure, numbers[measure], by_batch[measure]))
                del found[kind]
        return found

    def _least_rank(self) -> float:
        return 1 + self.min_rank_fraction * (self._directions - 1)

    def _complete(self, numbers: dict[str, float]) -> dict[str, str]:
        """The first stage of the forward pass that is nearly the same for all examples."""
        for name, (measure, meaning) in _MEANINGS.items():
            kind, value = f"complete collapse of the {name}", numbers.get(measure, np.inf)
            if value >= self.min_std:
                continue
            # a collapse that was warned about counts as one even if its value grows
            if kind in self._warned or value < 2 * self._before[measure] + 1e-6:
                return {
                    kind: (
                        f"{measure} is {value:.2g} (below min_std={self.min_std:g}): {meaning}. "
                        "Check the part of the method that prevents collapse (negatives, "
                        "stop-gradient and predictor, centring, a variance term), and try a lower "
                        "learning rate"
                    )
                }
        return {}

    def _dimensional(self, numbers: dict[str, float]) -> dict[str, str]:
        """Whether the features vary along too few directions."""
        rank = numbers["effective_rank"]
        least_rank = self._least_rank()
        if rank >= least_rank:
            return {}
        return {
            "dimensional collapse of the representation": (
                f"effective_rank is {rank:.2f} (below {least_rank:.2f}, for {self._directions} "
                "possible directions): features vary along very few directions. Try a projector "
                "between the encoder and the loss, weaker augmentation, more negatives or a "
                "stronger decorrelation term, and a lower learning rate"
            )
        }
