"""What the contrastive losses share."""

from typing import Any

from keras import ops

from keras_ssl import checks, distribute
from keras_ssl.losses._base import Float32Loss, like
from keras_ssl.losses._checks import (
    are_compatible,
    check_dtype,
    check_has_negatives,
    check_views,
)
from keras_ssl.losses._class_numbers import class_numbers
from keras_ssl.ops import l2_normalize, log_sum_exp_of_similarities
from keras_ssl.ops.schedules import serialize


class ContrastiveLoss(Float32Loss):
    """Base of the losses that are a softmax over similarities divided by a temperature.

    Args:
        temperature: positive number or schedule.
        chunk_size: how many rows of the similarities are computed at a time; `None` for all.
        **kwargs: `reduction`, `name`, `dtype`, as of `keras.losses.Loss`.
    """

    def __init__(self, temperature: Any = 0.1, chunk_size: int | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.temperature = checks.positive_or_schedule("temperature", temperature)
        self.chunk_size = checks.integer("chunk_size", chunk_size, minimum=1, optional=True)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "temperature": serialize(self.temperature),
            "chunk_size": self.chunk_size,
        }


class TwoViewLoss(ContrastiveLoss):
    """Base of the contrastive losses of two views, both of which give anchors."""

    def __call__(self, z1: Any, z2: Any, sample_weight: Any = None) -> Any:
        """Compute the loss of two views."""
        check_views(z1, z2)
        return super().__call__(z1, z2, sample_weight=sample_weight)


class PairLoss(ContrastiveLoss):
    """Base of the contrastive losses of two modalities, of which pairs may match in groups.

    A subclass passes its learned numbers to `of_pairs`, and defines `values(images, texts, groups,
    **numbers)`.

    Args:
        temperature: number above 0, or a schedule.
        chunk_size: `None`, or the side of the tiles of similarities.
        **kwargs: `reduction`, `name` and `dtype`, as in `keras.losses.Loss`.
    """

    def of_pairs(
        self, images: Any, texts: Any, sample_weight: Any, group_ids: Any, **numbers: Any
    ) -> Any:
        """Compute the loss; numbers may be tensors."""
        inputs = {"images": images, "numbers": numbers}
        if group_ids is not None:
            check_group_ids(group_ids, images)
            # Keras casts to float, in which large ids lose digits; numbers from 0 do not
            inputs["groups"] = class_numbers(group_ids)
        return super().__call__(inputs, texts, sample_weight=sample_weight)

    def call(self, inputs: dict[str, Any], texts: Any) -> Any:
        """Return the values of the anchors; `inputs` are images, numbers and any groups."""
        groups = inputs.get("groups")
        groups = None if groups is None else ops.cast(groups, "int32")
        return self.values(inputs["images"], texts, groups, **inputs["numbers"])

    def values(self, images: Any, texts: Any, groups: Any, **numbers: Any) -> Any:
        """Return one value per anchor; groups are numbered from 0, or `None`."""
        raise NotImplementedError(f"{type(self).__name__} must implement `values`.")


def view_similarities(
    z1: Any, z2: Any, temperature: Any, chunk_size: int | None
) -> tuple[Any, Any]:
    """Similarities of each view with the other view, and with all views of other examples.

    With s the cosine similarity, i one of this replica's 2n embeddings and j the other view of
    the same example:

        positives(i) = s(i, j) / τ
        negatives(i) = log Σ_{k ∉ {i, j}} exp(s(i, k) / τ)

    where k runs over both views of all other examples of all replicas. Both have shape `(2 * n,)`,
    the rows of `z1` first. Where a batch of unknown size holds a single example, its negatives
    are so low that their `exp` is 0.
    """
    temperature = checks.temperature("temperature", temperature)
    checks.integer("chunk_size", chunk_size, minimum=1, optional=True)
    check_views(z1, z2)
    z1, z2 = l2_normalize(z1), l2_normalize(z2)
    temperature = like(temperature, z1)
    check_has_negatives(z1)
    anchors = ops.concatenate([z1, z2], axis=0)
    # replica by replica, each with its first views and then its second ones
    candidates = distribute.all_gather(anchors)

    count = ops.shape(anchors)[0]
    rows, first = ops.arange(count, dtype="int32"), distribute.replica_index() * count
    itself, other_view = first + rows, first + (rows + count // 2) % count
    negatives = log_sum_exp_of_similarities(
        anchors / temperature, candidates, ops.stack([itself, other_view], axis=1), chunk_size
    )
    positives = ops.tile(ops.sum(z1 * z2, axis=-1) / temperature, [2])
    return positives, negatives


def sums_of_groups(candidates: Any, candidate_groups: Any, groups: Any) -> tuple[Any, Any]:
    """Sums of the candidates of groups, and how many they are.

    The candidates of a group are added up once for all its anchors, so no `(anchors, candidates)`
    matrix is stored.

    Args:
        candidates: `(m, dim)`, those of all replicas.
        candidate_groups: integers `(m,)` in 0..m - 1, the group of each.
        groups: integers `(n,)`, the groups that are asked for.

    Returns:
        Tensors `(n, dim)` and `(n,)`.
    """
    total = ops.shape(candidates)[0]  # there are no more groups than candidates
    sums = ops.segment_sum(candidates, candidate_groups, num_segments=total)
    ones = ops.ones_like(candidates[:, 0])
    sizes = ops.segment_sum(ones, candidate_groups, num_segments=total)
    return ops.take(sums, groups, axis=0), ops.take(sizes, groups)


def check_group_ids(group_ids: Any, z: Any) -> None:
    """Raise unless there is an integer for each row of embeddings."""
    shape = tuple(check_dtype(group_ids, "group_ids", "integer").shape)
    if not are_compatible(shape[:1] if shape[1:] == (1,) else shape, tuple(z.shape)[:1]):
        raise ValueError(
            "`group_ids` must have shape (batch,), an integer for each pair. "
            f"Received: group_ids.shape={shape}, for embeddings of shape {tuple(z.shape)}"
        )
