"""SwAV: predict, from any crop of an image, which cluster another crop belongs to."""

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

    Of an image there are two global views and any number of local ones, which are smaller and show
    less. The embedding `z = g(f(view))` of each is compared with K prototypes, which are learned
    as well. Sinkhorn-Knopp makes codes of the scores of the global views: soft assignments to
    prototypes that use all of them equally over a batch. Every view learns to predict the codes
    of the others:

        s_v = cos(z_v, prototypes),  q_g = sinkhorn_knopp(s_g)
        L = - mean over pairs g ≠ v of Σ_k q_g(k) log softmax(s_v / τ)_k

    No gradient flows through codes. That they use all prototypes keeps all images from one code.

    A batch that is small beside the number of prototypes cannot use all of them equally. A queue
    adds the embeddings of the last batches when codes are computed. It starts with random vectors
    and takes embeddings in from the first step; until `queue_from_step` it counts for nothing, as
    until epoch 15 in the paper.

    Crops of one size are encoded together, as in the published code. The gradient of a prototype
    is that of its direction.

    Args:
        encoder: `keras.Model` or layer `f` that maps a batch to `(batch, features)`, for
            images of both sizes, such as a ResNet built for `(None, None, 3)`.
        projector: layer `g`. `None` means `keras_ssl.layers.ProjectionHead((2048, 128))`.
        prototypes: `keras_ssl.layers.Prototypes`. `None` means
            `keras_ssl.layers.Prototypes(3000, kernel_constraint="unit_norm")`.
        augment: layer that makes two global views of a batch and after them local ones, such as
            `keras_ssl.augment.MultiCropViews`. `None` means that the data holds ready views.
        loss: loss called `loss(global_scores, local_scores, queue_scores=queue_scores)` on lists
            of scores of shape `(batch, prototypes)`. `None` means `keras_ssl.losses.SwAVLoss()`.
        queue: `keras_ssl.layers.FeatureQueue` of a size that is a multiple of the batch over all
            replicas, each row of which holds the embeddings of all global views of an image. The
            paper has 3840 for batches of 256. `None` means no queue.
        freeze_steps: for how many optimizer steps at the start the prototypes do not learn. The
            paper has one epoch.
        queue_from_step: from which optimizer step on the queue counts. By then it should be full.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of what the encoder takes.
        training: whether the encoder runs in training mode.

    Input shape:
        What the encoder takes, any structure of tensors; `(batch, height, width, channels)`
        for images.

    Output shape:
        What the encoder returns, `(batch, features)`.

    Raises:
        TypeError: if a part is not a Keras object of its kind, or a number of steps no integer.
        ValueError: if a number of steps is below 0; before the first step, if the data does not
            give two global views of one size and local ones that are no larger, the encoder does
            not take both sizes, or the queue's size is no multiple of the batch.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.SwAV(
    ...     encoder=keras_ssl.networks.resnet18(input_shape=(None, None, 1), width=4),
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

    minimum_batch = 2

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
        """Return the embeddings of all views, and the first's representation."""
        h, z = self.project_crops(batch.views, training)
        # one row per example: (batch, views, dim)
        return {"z": ops.stack(z, axis=1), "representation": h[0]}

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the loss of predicting codes, and let the global views into the queue."""
        z = ops.swapaxes(embeddings["z"], 0, 1)
        frozen = self.is_before(self.freeze_steps)
        scores = ops.unstack(self.prototypes(z, frozen=frozen), z.shape[0])
        of_queue = () if self.queue is None else self._score_queue(embeddings["z"], training)
        local_scores = scores[self.global_count :]
        loss = self.loss_function(scores[: self.global_count], local_scores, queue_scores=of_queue)
        return {"swapped_prediction": loss}

    def _score_queue(self, z: Any, training: bool) -> list[Any]:
        """The scores of what the queue holds, one tensor per global view."""
        z = ops.unstack(l2_normalize(z[:, : self.global_count]), self.global_count, axis=1)
        rows = ops.concatenate(z, axis=1)
        held = self.queue(rows, training=training)
        if self.queue_from_step:
            # with the batch over and over in its place, the queue changes no code
            batch = distribute.all_gather(ops.cast(rows, held.dtype))
            filled = ops.take(batch, ops.arange(self.queue.size) % ops.shape(batch)[0], axis=0)
            held = ops.where(self.is_before(self.queue_from_step), filled, held)
        return [self.prototypes(view) for view in ops.split(held, self.global_count, axis=1)]

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(prototypes=self.prototypes, queue=self.queue)
        steps = {"freeze_steps": self.freeze_steps, "queue_from_step": self.queue_from_step}
        return {**super().get_config(), **parts, **steps}
