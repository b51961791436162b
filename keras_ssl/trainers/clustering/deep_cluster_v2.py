"""DeepCluster-v2: predict the cluster of an example, computed from the previous epoch."""

import random
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks, distribute, layers
from keras_ssl.ops import l2_normalize
from keras_ssl.ops.schedules import serialize, value_now
from keras_ssl.trainers._indexed import check_indices_of_arrays, indices_of, without_index
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.image_spec import ImageSpec
from keras_ssl.trainers.joint_embedding import MultiCrop
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch

_UNKNOWN = -1  # in place of the cluster of an example that has not been seen


@keras.saving.register_keras_serializable(package="keras_ssl")
class DeepClusterV2(MultiCrop):
    r"""DeepCluster-v2: cluster the embeddings of an epoch, predict the clusters in the next.

    A memory bank holds the embeddings `z = g(f(view))` of the global views of each example from
    the last epoch. Before each epoch, spherical k-means clusters them. The centroids become the
    prototypes, which are not trained, and from each view of example i, global or local, the
    cluster a_i of the example is predicted:

        L = - mean over views v of log softmax(cos(z_v, prototypes) / τ)_{a_i}

    This is averaged over several clusterings, by default three with 3,000 clusters each. They use
    the global views in turn: the first clusters the embeddings of the first view, and so on.

    The data must hold the index of each example, `{"image": x, "index": index}`; see
    `keras_ssl.data.with_index`.

    The first epoch fills the memory bank, as the published code does before training. For
    examples that have not been seen before, the loss is log K, that of a uniform prediction, and
    has no gradient.

    `fit` computes clusters at the beginning of each epoch. In a custom loop over `train_on_batch`,
    call `assign_clusters()`. In evaluation, the cluster of an example is the one nearest to its own
    global view, and indices are not needed once the trainer is built.

    Args:
        encoder: `keras.Model` or layer `f` that maps a batch of views of any of the sizes to
            `(batch, features)`, such as a ResNet built for `(None, None, 3)`.
        bank: `keras_ssl.layers.MemoryBank` with one entry per example of the data set, which holds
            the embeddings of all its global views. The published code keeps those of the last
            epoch: `keras_ssl.layers.MemoryBank(n, momentum=0.0)`.
        projector: layer `g`. `None` means `keras_ssl.layers.ProjectionHead((2048, 128))`.
        prototypes: K, at least 2 and at most the size of the bank, or a sequence of them for
            several clusterings.
        augment: layer that makes two global views of a batch, followed by local ones, such as
            `keras_ssl.augment.MultiCropViews`. `None` if the data already holds views.
        loss: loss called `loss(cluster, logits)` on batches of integers and of `(batch, K)`.
            `None` means `keras.losses.SparseCategoricalCrossentropy(from_logits=True)`.
        temperature: τ, above 0, or a schedule of it by optimizer steps.
        iterations: number of iterations of k-means before an epoch, at least 0.
        seed: integer seed, at least 0, of the choice of the initial centroids.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of what the encoder takes, or a dictionary of it and `"index"`.
        training: whether the encoder runs in training mode.

    Input shape:
        What the encoder takes: any structure of tensors. Indices: `(batch,)`, integers from 0 to
        n - 1.

    Output shape:
        `(batch, features)`, the output of the encoder.

    Raises:
        TypeError: if a part or a number has the wrong type.
        ValueError: if a number is out of range; before the first step, if the data has no indices,
            there are not two global views of one size, a local view is larger, the encoder does
            not take all sizes, or arrays hold an index that is not in the bank.
        tf.errors.InvalidArgumentError: in the step, if a `tf.data.Dataset` holds such an index. Not
            raised under XLA.

    Example:

    >>> import keras_ssl, numpy as np
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.DeepClusterV2(
    ...     encoder=keras_ssl.networks.small_resnet((None, None, 1), width=8),
    ...     bank=keras_ssl.layers.MemoryBank(16, momentum=0.0),
    ...     projector=keras_ssl.layers.ProjectionHead((64, 16)),
    ...     prototypes=(4, 4),
    ...     augment=keras_ssl.augment.MultiCropViews(28, 14, local_count=2),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> data = {"image": images.numpy(), "index": np.arange(16)}
    >>> history = trainer.fit(data, batch_size=8, epochs=2, verbose=0)
    >>> round(history.history["loss"][0], 3)  # log 4: no clusters yet
    1.386
    >>> int(trainer.assignments.numpy().min()) >= 0
    True

    Reference:
        - [Unsupervised Learning of Visual Features by Contrasting Cluster Assignments](
          https://arxiv.org/abs/2006.09882), Caron et al., 2020, appendix D
        - [Deep Clustering for Unsupervised Learning of Visual Features](
          https://arxiv.org/abs/1807.05520), Caron et al., 2018
    """

    uses_index = True

    def __init__(
        self,
        encoder: keras.layers.Layer,
        bank: layers.MemoryBank,
        projector: keras.layers.Layer | None = None,
        prototypes: int | Sequence[int] = (3000, 3000, 3000),
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        temperature: float | keras.optimizers.schedules.LearningRateSchedule = 0.1,
        iterations: int = 10,
        seed: int | None = None,
        **kwargs: Any,
    ):
        projector = layers.ProjectionHead((2048, 128)) if projector is None else projector
        if loss is None:
            loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        super().__init__(encoder, projector, augment, loss, **kwargs)
        check_type("bank", bank, layers.MemoryBank)
        self.bank = bank
        self.prototypes = _make_prototypes(prototypes, bank.size)
        self.temperature = checks.positive_or_schedule("temperature", temperature)
        self.iterations = checks.integer("iterations", iterations, minimum=0)
        seed = random.randrange(2**31) if seed is None else seed
        self.seed = checks.integer("seed", seed, minimum=0)
        # all replicas assign the same values, so no exchange is needed
        state = {"trainable": False, "dtype": "int32", "aggregation": "only_first_replica"}
        self.seen = self.add_weight(name="seen", shape=(bank.size,), initializer="zeros", **state)
        self.assignments = self.add_weight(
            name="assignments",
            shape=(len(self.prototypes), bank.size),
            initializer=keras.initializers.Constant(_UNKNOWN),
            **state,
        )

    def to_encode(self, x: Any) -> Any:
        """Return the batch without its indices."""
        return without_index(x)

    def check_data(self, data: Any) -> None:
        """Raise if arrays hold indices that are not in the bank."""
        check_indices_of_arrays(data, self.bank.size)

    def training_callbacks(self) -> list[keras.callbacks.Callback]:
        """Return the callback that computes clusters at the beginning of each epoch."""
        return [_AssignClusters(self)]

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the embeddings of all views, the representation, and in training the indices."""
        h, z = self.project_crops(batch.views, training)
        # one row per example: (batch, views, dim)
        embeddings = {"z": ops.stack(z, axis=1), "representation": h[0]}
        if training:
            embeddings["index"] = indices_of(batch.x, self.bank.size)
        return embeddings

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the loss of predicting clusters, then store the global views in the bank."""
        z = ops.swapaxes(embeddings["z"], 0, 1)
        total = 0
        for head, prototypes in enumerate(self.prototypes):
            scores = prototypes(z)
            if training:
                cluster = ops.take(self.assignments[head], embeddings["index"])
            else:
                nearest = ops.argmax(scores[head % self.global_count], axis=-1)
                cluster = ops.cast(nearest, "int32")
            is_known = ops.cast(cluster != _UNKNOWN, "bool")
            # equal logits give a loss of log K without gradient
            logits = ops.cast(scores, "float32") / value_now(self.temperature)
            logits = ops.where(is_known[None, :, None], logits, 0.0)
            cluster = ops.tile(ops.maximum(cluster, 0), (z.shape[0],))
            total += self.loss_function(cluster, ops.reshape(logits, (-1, prototypes.count)))
        if training:
            self._remember(z[: self.global_count], embeddings["index"])
        return {"clustering": total / len(self.prototypes)}

    def _remember(self, z: Any, index: Any) -> None:
        rows = ops.concatenate(ops.unstack(l2_normalize(z), self.global_count), axis=1)
        self.bank(rows, index, training=True)
        index = distribute.all_gather(index)[:, None]
        self.seen.assign(ops.scatter_update(self.seen.value, index, ops.ones_like(index[:, 0])))

    def assign_clusters(self) -> None:
        """Cluster the embeddings in the bank: set the prototypes and the clusters of examples."""
        seen = np.flatnonzero(ops.convert_to_numpy(self.seen))
        if not len(seen):
            return
        rows = ops.convert_to_numpy(self.bank.embeddings)[seen]
        views = np.split(rows, self.global_count, axis=1)
        # depends on saved state alone, so that a resumed run draws the same centroids
        step = int(ops.convert_to_numpy(self.optimizers["main"].iterations))
        draw = np.random.default_rng([self.seed, step])
        assignments = np.full(self.assignments.shape, _UNKNOWN, "int32")
        with self.distribute_strategy.scope():
            for head, prototypes in enumerate(self.prototypes):
                points = views[head % self.global_count]
                start = draw.choice(len(seen), prototypes.count, len(seen) < prototypes.count)
                centroids, nearest = _spherical_k_means(points, points[start], self.iterations)
                prototypes.kernel.assign(ops.transpose(centroids))
                assignments[head, seen] = ops.convert_to_numpy(nearest)
            self.assignments.assign(assignments)

    @classmethod
    def bank_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the memory of a trainer that is made by its name: one entry per image."""
        return layers.MemoryBank(images.count, momentum=0.0)

    @classmethod
    def prototypes_for(cls, images: ImageSpec) -> tuple[int, ...]:
        """Return the numbers of clusters of a trainer that is made by its name."""
        return 3 * (max(2, min(3000, images.count // 10)),)

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(bank=self.bank)
        settings = {
            "prototypes": [one.count for one in self.prototypes],
            "temperature": serialize(self.temperature),
            "iterations": self.iterations,
            "seed": self.seed,
        }
        return {**super().get_config(), **parts, **settings}


class _AssignClusters(keras.callbacks.Callback):
    """Computes clusters at the beginning of each epoch, in every worker."""

    def __init__(self, trainer: DeepClusterV2):
        super().__init__()
        self._trainer = trainer

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._trainer.assign_clusters()


def _make_prototypes(counts: Any, examples: int) -> list[layers.Prototypes]:
    """Return layers of prototypes, which k-means sets and no optimizer updates."""
    counts = counts if isinstance(counts, (tuple, list)) else (counts,)
    found = [layers.Prototypes(count, trainable=False) for count in counts]
    if not found or max(counts) > examples:
        raise ValueError(
            "`prototypes` must be one or more numbers of clusters, at most the "
            f"{examples} entries of `bank`. Received: prototypes={tuple(counts)}"
        )
    return found


def _spherical_k_means(
    points: Any, centroids: Any, iterations: int = 10, chunk_size: int = 8192
) -> tuple[Any, Any]:
    """Cluster points x_i by direction, starting from given centroids c_k, all of length 1.

    Returns the centroids and the index of the nearest centroid of each point after repeating

        a_i = argmax_k c_k · x_i,  c_k = normalize(Σ_{i: a_i = k} x_i)

    A centroid without points stays unchanged. scikit-learn's k-means does not normalise centroids.
    Similarities are computed for `chunk_size` points at a time. See
    [Dhillon & Modha, 2001](https://doi.org/10.1023/A:1007612920971).
    """
    points, centroids = l2_normalize(points), l2_normalize(centroids)
    chunks = [points[i : i + chunk_size] for i in range(0, points.shape[0], chunk_size)]
    for _ in range(iterations):
        total = ops.zeros_like(centroids)
        for chunk in chunks:
            # a matrix product is deterministic, unlike scattering on a GPU
            members = ops.one_hot(_nearest(chunk, centroids), centroids.shape[0], axis=0)
            total = total + ops.matmul(ops.cast(members, chunk.dtype), chunk)
        is_empty = ops.all(total == 0, axis=1, keepdims=True)
        centroids = ops.where(is_empty, centroids, l2_normalize(total))
    return centroids, ops.concatenate([_nearest(chunk, centroids) for chunk in chunks])


def _nearest(points: Any, centroids: Any) -> Any:
    return ops.argmax(ops.matmul(points, ops.transpose(centroids)), axis=1)
