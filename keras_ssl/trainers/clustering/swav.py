"""SwAV: predict the cluster assignment of one view of an example from the other views."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, distribute, layers, losses
from keras_ssl.ops import l2_normalize
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.joint_embedding import MultiCrop
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch


@keras.saving.register_keras_serializable(package="keras_ssl")
class SwAV(MultiCrop):
    r"""SwAV: swapping assignments between views.

    Each example has two global views and any number of smaller, local views. The scores s of a
    view are the cosines of its embedding `z = g(f(view))` with K learned prototypes. The
    Sinkhorn-Knopp algorithm turns the scores of global views into codes q, soft assignments that
    use all prototypes equally over the batch of all replicas. The codes of each global view g are
    predicted from every other view v:

        s_v = cos(z_v, prototypes),  q_g = sinkhorn_knopp(s_g)
        L = - mean over pairs g ≠ v of Σ_k q_g(k) log softmax(s_v / τ)_k

    No gradient flows through codes. Equal use of the prototypes prevents collapse to one code.

    A batch that is small compared with the number of prototypes cannot use them equally. The
    optional queue adds the embeddings of the last batches when codes are computed. It is filled
    from the first step on, but has no effect before `queue_from_step`.

    Views of the same size are encoded together, as in the published code.

    Args:
        encoder: `keras.Model` or layer `f` that maps a batch of views of any of the sizes to
            `(batch, features)`, such as a ResNet built for `(None, None, 3)`.
        projector: layer `g`. `None` means `keras_ssl.layers.ProjectionHead((2048, 128))`.
        prototypes: `keras_ssl.layers.Prototypes`. `None` means
            `keras_ssl.layers.Prototypes(3000, kernel_constraint="unit_norm")`.
        augment: layer that makes two global views of a batch, followed by local ones, such as
            `keras_ssl.augment.MultiCropViews`. `None` if the data already holds views.
        loss: loss called `loss(global_scores, local_scores, queue_scores=queue_scores)` on lists
            of scores of shape `(batch, prototypes)`. `None` means `keras_ssl.losses.SwAVLoss()`.
        queue: `keras_ssl.layers.FeatureQueue` whose size is a multiple of the batch over all
            replicas; a row holds the embeddings of all global views of an example. The paper uses
            3840 for batches of 256. `None` means no queue.
        freeze_steps: number of optimizer steps at the start in which the prototypes are not
            updated; one epoch in the paper.
        queue_from_step: the optimizer step from which the queue is used, when it should be full;
            15 epochs in the paper.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of what the encoder takes.
        training: whether the encoder runs in training mode.

    Input shape:
        What the encoder takes: any structure of tensors.

    Output shape:
        `(batch, features)`, the output of the encoder.

    Raises:
        TypeError: if a part has the wrong type, or a number of steps is not an integer.
        ValueError: if a number of steps is negative; before the first step, if there are not two
            global views of one size, a local view is larger, the encoder does not take all sizes,
            or the size of the queue is not a multiple of the global batch size.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.SwAV(
    ...     encoder=keras_ssl.networks.small_resnet((None, None, 1), width=8),
    ...     projector=keras_ssl.layers.ProjectionHead((64, 16)),
    ...     prototypes=keras_ssl.layers.Prototypes(10, kernel_constraint="unit_norm"),
    ...     augment=keras_ssl.augment.MultiCropViews(28, 14, local_count=2),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> trainer.encoder(images).shape
    TensorShape([16, 32])

    Reference:
        - [Unsupervised Learning of Visual Features by Contrasting Cluster Assignments](
          https://arxiv.org/abs/2006.09882), Caron et al., 2020
    """

    minimum_batch = 2  # one example cannot use all prototypes equally

    def __init__(
        self,
        encoder: keras.layers.Layer,
        projector: keras.layers.Layer | None = None,
        prototypes: layers.Prototypes | None = None,
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        queue: layers.FeatureQueue | None = None,
        freeze_steps: int = 0,
        queue_from_step: int = 0,
        **kwargs: Any,
    ):
        projector = layers.ProjectionHead((2048, 128)) if projector is None else projector
        loss = losses.SwAVLoss() if loss is None else loss
        super().__init__(encoder, projector, augment, loss, **kwargs)
        if prototypes is None:
            prototypes = layers.Prototypes(3000, kernel_constraint="unit_norm")
        check_type("prototypes", prototypes, layers.Prototypes)
        if queue is not None:
            check_type("queue", queue, layers.FeatureQueue)
        self.prototypes = prototypes
        self.queue = queue
        self.freeze_steps = checks.integer("freeze_steps", freeze_steps, minimum=0)
        self.queue_from_step = checks.integer("queue_from_step", queue_from_step, minimum=0)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the embeddings of all views and the representation of the first."""
        h, z = self.project_crops(batch.views, training)
        # one row per example: (batch, views, dim)
        return {"z": ops.stack(z, axis=1), "representation": h[0]}

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the swapped prediction loss, then add the global views to the queue."""
        z = ops.swapaxes(embeddings["z"], 0, 1)
        frozen = self.is_before(self.freeze_steps)
        scores = ops.unstack(self.prototypes(z, frozen=frozen), z.shape[0])
        of_queue = () if self.queue is None else self._score_queue(embeddings["z"], training)
        local_scores = scores[self.global_count :]
        loss = self.loss_function(scores[: self.global_count], local_scores, queue_scores=of_queue)
        return {"swapped_prediction": loss}

    def _score_queue(self, z: Any, training: bool) -> list[Any]:
        """Return the scores of the embeddings in the queue, one tensor per global view."""
        z = ops.unstack(l2_normalize(z[:, : self.global_count]), self.global_count, axis=1)
        rows = ops.concatenate(z, axis=1)
        held = self.queue(rows, training=training)
        if self.queue_from_step:
            # a queue of repetitions of the batch leaves the codes of the batch unchanged
            batch = distribute.all_gather(ops.cast(rows, held.dtype))
            filled = ops.take(batch, ops.arange(self.queue.size) % ops.shape(batch)[0], axis=0)
            held = ops.where(self.is_before(self.queue_from_step), filled, held)
        return [self.prototypes(view) for view in ops.split(held, self.global_count, axis=1)]

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(prototypes=self.prototypes, queue=self.queue)
        steps = {"freeze_steps": self.freeze_steps, "queue_from_step": self.queue_from_step}
        return {**super().get_config(), **parts, **steps}
