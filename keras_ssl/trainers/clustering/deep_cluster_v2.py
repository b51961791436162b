"""DeepCluster-v2: predict, from any crop of an image, the cluster that it was in an epoch ago."""

import random
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks, distribute, layers
from keras_ssl.ops import l2_normalize
from keras_ssl.trainers._indexed import check_indices_of_arrays, indices_of, without_index
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.clustering.spherical_k_means import spherical_k_means
from keras_ssl.trainers.joint_embedding import MultiCrop
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch

UNKNOWN = -1


@keras.saving.register_keras_serializable(package="keras_ssl")
class DeepClusterV2(MultiCrop):
    r"""DeepCluster-v2: cluster the embeddings of an epoch, learn the clusters in the next.

    A memory bank holds the embeddings `z = g(f(view))` of the global views of every example as they
    were in the last epoch. Before each epoch, spherical k-means clusters them. The centroids
    become the prototypes, which no gradient moves, and every view of an example, global or local,
    learns to predict the cluster a_i that the example is in:

        L = - mean over views v of log softmax(cos(z_v, prototypes) / τ)_{a_i}

    The mean is over several clusterings as well, by default three into 3,000 clusters each, which
    take turns with the global views: the first clusters those of the first view, and so on.

    Each image must come with its index in the data set, `{"image": image, "index": index}`:
    `keras_ssl.data.with_index` puts it there.

    In the first epoch there is nothing to cluster. It fills the memory, as the published code does
    before training: no gradient flows, and the loss is log K, which is what a guess among K
    clusters costs. The same holds of any example that has not come before.

    Clusters are made by `fit` when an epoch begins; a loop over `train_on_batch` calls
    `assign_clusters()`. In validation, each example is in the cluster nearest to its own global
    view, and needs no index once the trainer has trained or been loaded.

    Args:
        encoder: `keras.Model` or layer `f` that maps a batch to `(batch, features)`, for
            images of both sizes, such as a ResNet built for `(None, None, 3)`.
        bank: `keras_ssl.layers.MemoryBank` of as many entries as the data set has images, each of
            which holds the embeddings of all global views. The published one remembers the last
            epoch alone: `keras_ssl.layers.MemoryBank(n, momentum=0.0)`.
        projector: layer `g`. `None` means `keras_ssl.layers.ProjectionHead((2048, 128))`.
        prototypes: K, at least 2 and at most as many as the bank has entries; a sequence for
            several clusterings.
        augment: layer that makes two global views of a batch and after them local ones, such as
            `keras_ssl.augment.MultiCropViews`. `None` means that the data holds ready views.
        loss: loss called `loss(cluster, logits)` on batches of integers and of `(batch, K)`.
            `None` means `keras.losses.SparseCategoricalCrossentropy(from_logits=True)`.
        temperature: τ, above 0.
        iterations: how often the centroids move before an epoch, at least 0.
        seed: integer seed, at least 0, of the examples at which the centroids start.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of images, or `{"image": images, "index": indices}`.
        training: whether the encoder runs in training mode.

    Input shape:
        Images as the encoder takes them, as a rule `(batch, height, width, channels)`; indices
        `(batch,)`, integers from 0 to n - 1.

    Output shape:
        What the encoder returns, `(batch, features)`.

    Raises:
        TypeError: if a part is not a Keras object of its kind, or a number of another type.
        ValueError: if there are fewer than two prototypes or more than entries, or a number is out
            of its range; before the first step, if the data has no indices, does not give two
            global views of one size and local ones that are no larger, the encoder does not take
            both sizes, or an index of arrays is outside of the bank.
        tf.errors.InvalidArgumentError: if one of other data is, in its step. XLA leaves that out.

    Example:

    >>> import keras_ssl, numpy as np
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.DeepClusterV2(
    ...     encoder=keras_ssl.networks.resnet18(input_shape=(None, None, 1), width=4),
    ...     bank=keras_ssl.layers.MemoryBank(16, momentum=0.0),
    ...     projector=keras_ssl.layers.ProjectionHead((64, 16)),
    ...     prototypes=(4, 4),
    ...     augment=keras_ssl.augment.MultiCropViews(28, 14, local_count=2),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> data = {"image": images.numpy(), "index": np.arange(16)}
    >>> history = trainer.fit(data, batch_size=8, epochs=2, verbose=0)
    >>> round(history.history["clustering"][0], 3)  # log 4: no clusters yet
    1.386
    >>> int(trainer.assignments.numpy().min()) >= 0
    True

    Reference:
        - [Unsupervised Learning of Visual Features by Contrasting Cluster Assignments](
          https://arxiv.org/abs/2006.09882), Caron et al., 2020, appendix D
        - [Deep Clustering for Unsupervised Learning of Visual Features](
          https://arxiv.org/abs/1807.05520), Caron et al., 2018
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        bank: layers.MemoryBank,
        projector: keras.layers.Layer | None = None,
        prototypes: int | Sequence[int] = (3000, 3000, 3000),
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        temperature: float = 0.1,
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
        self.temperature = checks.positive("temperature", temperature)
        self.iterations = checks.integer("iterations", iterations, minimum=0)
        seed = random.randrange(2**31) if seed is None else seed
        self.seed = checks.integer("seed", seed, minimum=0)
        # all replicas assign the same: no second exchange
        state = {"trainable": False, "dtype": "int32", "aggregation": "only_first_replica"}
        self.seen = self.add_weight(name="seen", shape=(bank.size,), initializer="zeros", **state)
        self.assignments = self.add_weight(
            name="assignments",
            shape=(len(self.prototypes), bank.size),
            initializer=keras.initializers.Constant(UNKNOWN),
            **state,
        )

    def to_encode(self, x: Any) -> Any:
        """Return a batch without the indices of its examples."""
        return without_index(x)

    def check_data(self, data: Any) -> None:
        """Raise unless the indices of arrays have a place in the bank."""
        check_indices_of_arrays(data, self.bank.size)

    def training_callbacks(self) -> list[keras.callbacks.Callback]:
        """Return the callback that makes clusters when an epoch begins."""
        return [_AssignClusters(self)]

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the embeddings of all views, a representation, and in training the indices."""
        h, z = self.project_crops(batch.views, training)
        # one row per example: (batch, views, dim)
        embeddings = {"z": ops.stack(z, axis=1), "representation": h[0]}
        if training:
            embeddings["index"] = indices_of(batch.x, self.bank.size)
        return embeddings

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the loss of predicting clusters, and remember the global views."""
        z = ops.swapaxes(embeddings["z"], 0, 1)
        total = 0
        for head, prototypes in enumerate(self.prototypes):
            scores = prototypes(z)
            if training:
                cluster = ops.take(self.assignments[head], embeddings["index"])
            else:
                nearest = ops.argmax(scores[head % self.global_count], axis=-1)
                cluster = ops.cast(nearest, "int32")
            is_known = ops.cast(cluster != UNKNOWN, "bool")
            # all logits alike cost log K and have no gradient
            logits = ops.cast(scores, "float32") / self.temperature
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
        """Cluster what the bank holds: make the prototypes and assign all examples seen."""
        seen = np.flatnonzero(ops.convert_to_numpy(self.seen))
        if not len(seen):
            return
        rows = ops.convert_to_numpy(self.bank.embeddings)[seen]
        views = np.split(rows, self.global_count, axis=1)
        # of the state that is saved, so that a run that goes on draws what it would have drawn
        step = int(ops.convert_to_numpy(self.optimizers["main"].iterations))
        draw = np.random.default_rng([self.seed, step])
        assignments = np.full(self.assignments.shape, UNKNOWN, "int32")
        with self.distribute_strategy.scope():
            for head, prototypes in enumerate(self.prototypes):
                points = views[head % self.global_count]
                start = draw.choice(len(seen), prototypes.count, len(seen) < prototypes.count)
                centroids, nearest = spherical_k_means(points, points[start], self.iterations)
                prototypes.kernel.assign(ops.transpose(centroids))
                assignments[head, seen] = ops.convert_to_numpy(nearest)
            self.assignments.assign(assignments)

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(bank=self.bank)
        return {
            **super().get_config(),
            **parts,
            "prototypes": [one.count for one in self.prototypes],
            "temperature": self.temperature,
            "iterations": self.iterations,
            "seed": self.seed,
        }


class _AssignClusters(keras.callbacks.Callback):
    """Makes clusters when an epoch begins, in every worker."""

    def __init__(self, trainer: DeepClusterV2):
        super().__init__()
        self._trainer = trainer

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        self._trainer.assign_clusters()


def _make_prototypes(counts: Any, examples: int) -> list[layers.Prototypes]:
    """Layers of centroids, which k-means moves and no optimizer."""
    counts = counts if isinstance(counts, (tuple, list)) else (counts,)
    found = [layers.Prototypes(count, trainable=False) for count in counts]
    if not found or max(counts) > examples:
        raise ValueError(
            "`prototypes` must be a number of clusters, or several, none above the "
            f"{examples} entries of `bank`. Received: prototypes={tuple(counts)}"
        )
    return found
