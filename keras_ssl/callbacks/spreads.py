"""How far vectors that come in batches point in different directions."""

from typing import Any

import numpy as np
from keras import ops

from keras_ssl.ops import l2_normalize


class Spreads:
    r"""The spread of named sets of vectors, of which only sums are kept.

    With u the vectors of a set divided by their lengths, the root of their summed variances:

        spread = sqrt(mean ||u||² - ||mean u||²)

    It is 0 where all point one way, 1 where they have no direction in common, and its square is 1
    minus the mean cosine similarity. Vectors of zeros all count as one direction.

    Example:

    >>> import numpy as np
    >>> from keras_ssl.callbacks.spreads import Spreads
    >>> spreads = Spreads()
    >>> spreads.add({"projection": np.array([[3.0, 0.0], [0.0, 0.5]], "float32")})
    >>> spreads.add({"projection": np.array([[-1.0, 0.0], [0.0, -2.0]], "float32")})
    >>> spreads.numbers()
    {'projection_spread': 1.0}
    """

    def __init__(self):
        self._sums = {}

    def add(self, vectors: dict[str, Any]) -> None:
        """Take in a batch.

        Args:
            vectors: tensors of shape `(batch, ...)` by name; further axes are flattened.
        """
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
        """Return `{"<name>_spread": spread}` of what came so far."""
        return {
            f"{name}_spread": float(np.sqrt(max(0.0, squares / rows - np.sum((total / rows) ** 2))))
            for name, (rows, total, squares) in self._sums.items()
        }
