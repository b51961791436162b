"""Rows of token ids from which batches are gathered: what all pipelines of this folder share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf


class FlatRows:
    """Rows of different lengths in one long array, from which batches of one length are gathered.

    Args:
        tokens: int32 ids of all rows, one after the other.
        length: number of tokens of a gathered row.
        pad_token_id: id after the end of shorter rows.
        columns: other int32 values of each token by name, gathered alike and padded with 0.
    """

    def __init__(
        self,
        tokens: np.ndarray,
        length: int,
        pad_token_id: int,
        columns: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        import tensorflow as tf

        columns = {"token_ids": tokens, **(columns or {})}
        with tf.device("CPU"):  # the pipeline runs there
            self._columns = {
                name: tf.constant(values.astype(np.int32)) for name, values in columns.items()
            }
        self._length = length
        self._fill = {name: pad_token_id if name == "token_ids" else 0 for name in columns}

    def gather(self, starts: tf.Tensor, sizes: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the rows that start at these places, and their padding mask."""
        import tensorflow as tf

        place = tf.range(self._length, dtype=tf.int64)
        mask = place < tf.cast(sizes, tf.int64)[:, None]
        rows = tf.where(mask, tf.cast(starts, tf.int64)[:, None] + place, 0)
        gathered = {
            name: tf.where(mask, tf.gather(values, rows), self._fill[name])
            for name, values in self._columns.items()
        }
        return {**gathered, "padding_mask": mask}


class TextRows(FlatRows):
    """Rows that are texts, gathered by their numbers.

    Args:
        rows: int32 ids of each text.
        length: as in `FlatRows`.
        pad_token_id: as in `FlatRows`.
        columns: as in `FlatRows`, as one array for each text.
    """

    def __init__(
        self,
        rows: Sequence[np.ndarray],
        length: int,
        pad_token_id: int,
        columns: Mapping[str, Sequence[np.ndarray]] | None = None,
    ) -> None:
        import tensorflow as tf

        sizes = np.array([len(row) for row in rows], np.int64)
        if not sizes.all():
            raise ValueError(
                "`texts` must have tokens. An empty text needs `special_tokens`, without which "
                f"nothing is left of it. Received: no tokens in text {int(np.argmin(sizes))}"
            )
        columns = {name: np.concatenate(one) for name, one in (columns or {}).items()}
        super().__init__(np.concatenate(rows), length, pad_token_id, columns)
        with tf.device("CPU"):
            self._sizes = tf.constant(sizes)
            self._starts = tf.constant(np.cumsum(sizes) - sizes)

    def texts(self, numbers: tf.Tensor) -> dict[str, tf.Tensor]:
        """Return the texts with these numbers."""
        import tensorflow as tf

        return self.gather(tf.gather(self._starts, numbers), tf.gather(self._sizes, numbers))
