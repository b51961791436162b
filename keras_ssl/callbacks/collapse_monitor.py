"""Watch whether the features keep telling examples apart."""

import warnings
from typing import Any

import keras
import numpy as np

from keras_ssl import checks
from keras_ssl.callbacks.epoch_end_measure import EpochEndMeasure
from keras_ssl.callbacks.spreads import Spreads
from keras_ssl.distribute import on_chief
from keras_ssl.evaluate._batches import as_batches
from keras_ssl.evaluate._forward import Forward
from keras_ssl.evaluate.spectrum import effective_rank, feature_std

# in the order in which an example passes them
_MEANINGS = {
    "representation": (
        "feature_std",
        "the encoder gives nearly the same feature to every example, so that they tell nothing "
        "about it",
    ),
    "projection": (
        "projection_spread",
        "the projector gives nearly the same to every example, so that the loss has nothing left "
        "to teach the encoder, even where its features still differ",
    ),
    "assignment": (
        "assignment_spread",
        "every example gets nearly the same distribution over the prototypes, so that the loss "
        "has nothing left to teach the encoder, even where its features still differ",
    ),
}


class CollapseMonitor(EpochEndMeasure):
    r"""Log how much the features vary and how many dimensions they fill; warn when they collapse.

    Two entries come into the logs of an epoch. They are about the output of the model that is
    trained, `model(x)`, which for every trainer of keras_ssl is the representation:

    - `feature_std`: the standard deviation of the normalised features times $\sqrt d$, mean over
      the $d$ dimensions (`keras_ssl.evaluate.feature_std`). About 1 when features spread evenly
      over the sphere, 0 when all are the same. Features behind a ReLU lie in one corner of the
      sphere; with them 0.1 to 0.6 is usual.
    - `effective_rank`: how many directions the features vary in, from 0 to $d$
      (`keras_ssl.evaluate.effective_rank`, about the mean).

    A projector collapses before the encoder does, and then the encoder has nothing left to learn
    from. So of the trainers with a projector what the loss compares is measured as well, by its
    spread: the root of the summed variances of the vectors divided by their lengths,
    $\sqrt{1 - \|\bar u\|^2}$ with $\bar u$ their mean. It is 0 when all point one way and 1 when
    they have no direction in common; its square is 1 minus the mean cosine similarity.

    - `projection_spread`: of the projections. VICReg's loss sees lengths as well as directions;
      there it is about the standard deviation of a dimension, as long as that is small beside the
      1 that the variance term asks for.
    - `assignment_spread`, in its place where the method has prototypes: of the distributions over
      them. It is 0 when one prototype is given to all examples, and when all are given all
      prototypes alike.

    A `UserWarning` says so when an epoch is the first with

    - complete collapse, of the representation, the projection or the assignment: every example gets
      nearly the same, `feature_std` or the spread is below `min_std`, and is not growing: it is
      less than twice what the measurement before it gave, the first of which is made before the
      first step;
    - dimensional collapse of the representation, the features vary along very few directions:
      `effective_rank < 1 + min_rank_fraction * (m - 1)`, where $m$ is the smaller of the number of
      dimensions and of examples minus 1.

    The same examples are measured every time, and once before training: the first ones of `data`,
    read once and kept. Labels
    are not used. Shuffle data that is sorted by class before it comes here.

    Args:
        data: a batched `tf.data.Dataset` or `keras.utils.PyDataset` of `x` or `(x, y)`, an array
            `x`, or a tuple of arrays `(x, y)`.
        examples: how many of the first examples to measure on.
        every: measure after the first epoch of `fit`, after every epoch whose number is a multiple
            of this, and after the last. Between measurements the last value stands.
        min_std: below this `feature_std` or spread, the collapse is called complete.
        min_rank_fraction: the share of the possible directions, see above, below which the collapse
            is called dimensional.
        batch_size: examples a batch where the data is arrays.

    Raises:
        ValueError: if `data` is empty, endless or not batched, has fewer than two examples, or an
            argument is out of range; before the first step.

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
        """Read the examples, once, find mistakes early, and measure what training starts from."""
        self._warned = set()
        super().on_train_begin(logs)
        strategy = self.model.distribute_strategy
        self._before = on_chief(lambda: self.measure(self._forward), strategy)

    def get_state(self) -> dict[str, Any]:
        """Return what `BackupAndResume` keeps: the numbers, and what was warned about."""
        return {**super().get_state(), "before": self._before, "warned": sorted(self._warned)}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what `get_state` returned."""
        super().set_state(state)
        self._before = state["before"]
        self._warned = set(state["warned"])

    def _read(self, forward: Forward) -> list[Any]:
        batches, rows = [], 0
        for x, _ in self.data:
            if not keras.tree.is_nested(x):  # a graph, or inputs side by side, are not cut
                x = x[: self.examples - rows]
            batches.append(x)
            rows += len(forward(x))
            if rows >= self.examples:
                break
        if rows < 2:
            raise ValueError(f"`data` must hold at least two examples to compare. Received: {rows}")
        return batches

    def check(self, forward: Forward) -> None:
        """Read the examples, once; raise unless the model takes them."""
        if self._batches is None:
            self._batches = self._read(forward)
        else:
            forward(self._batches[0])

    def measure(self, forward: Forward) -> dict[str, float]:
        """Return `feature_std`, `effective_rank`, and the spread of what the loss compares."""
        compared = getattr(self.model, "compared", None)
        features, spreads, missing = [], Spreads(), self.examples
        for x in self._batches:
            h = forward(x)[:missing]
            missing -= len(h)
            features.append(h.numpy())
            if compared is not None:
                spreads.add(compared(h))
        features = np.concatenate(features)
        self._directions = min(features.shape[1], len(features) - 1)
        return {
            "feature_std": float(feature_std(features).mean()),
            "effective_rank": effective_rank(features),
            **spreads.numbers(),
        }

    def examine(self, epoch: int, numbers: dict[str, float]) -> None:
        """Warn when a kind of collapse appears that the measurement before did not show."""
        found = self._complete(numbers) or self._dimensional(numbers)
        for kind in found.keys() - self._warned:
            warnings.warn(
                f"CollapseMonitor: {kind} after epoch {epoch + 1}: {found[kind]}.", stacklevel=2
            )
        self._warned, self._before = set(found), numbers

    def _complete(self, numbers: dict[str, float]) -> dict[str, str]:
        """The first thing on the way to the loss that is nearly the same for all examples."""
        for name, (measure, meaning) in _MEANINGS.items():
            kind, value = f"complete collapse of the {name}", numbers.get(measure, np.inf)
            if value >= self.min_std:
                continue
            # what has been told lasts, however it wavers
            if kind in self._warned or value < 2 * self._before[measure] + 1e-6:
                return {
                    kind: (
                        f"{measure} is {value:.2g} (below min_std={self.min_std:g}): {meaning}. "
                        "Check what should keep examples apart in this method (negatives, "
                        "stop-gradient and predictor, centring, a variance term), and try a lower "
                        "learning rate"
                    )
                }
        return {}

    def _dimensional(self, numbers: dict[str, float]) -> dict[str, str]:
        """What few directions tell."""
        rank = numbers["effective_rank"]
        least_rank = 1 + self.min_rank_fraction * (self._directions - 1)
        if rank >= least_rank:
            return {}
        return {
            "dimensional collapse of the representation": (
                f"effective_rank is {rank:.2f} (below {least_rank:.2f}, for {self._directions} "
                "possible directions): examples differ along very few directions. Try a projector "
                "between the encoder and the loss, weaker augmentation, more negatives or a "
                "stronger decorrelation term, and a lower learning rate"
            )
        }
