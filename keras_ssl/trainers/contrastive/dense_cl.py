"""DenseCL: match the positions of two views, besides the views themselves."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.layers import FeatureQueue, ProjectionHead
from keras_ssl.ops import l2_normalize
from keras_ssl.trainers._layer_outputs import LayerOutputs, positions_of
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.contrastive.moco import MoCo
from keras_ssl.trainers.image_spec import ImageSpec, maps_of
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch
from keras_ssl.trainers.teacher import EMATeacher


@keras.saving.register_keras_serializable(package="keras_ssl")
class DenseCL(MoCo):
    r"""DenseCL: dense contrastive learning, for encoders whose feature maps will be used.

    MoCo compares one vector per view. DenseCL adds a loss for each position of the encoder's
    feature map F: a second projector d turns each position into a dense query r_i (of the query's
    view) or a dense key t_j (of the key's view, by moving averages). The positive of r_i is the
    dense key whose features are most similar to its own, before any projector:

        c_i = argmax_j cos(F_i, F'_j)
        L_r = mean over i of - log( exp(r_i·t_{c_i} / τ)
                                    / (exp(r_i·t_{c_i} / τ) + Σ over the queue of exp(r_i·t / τ)) )
        L = (1 - λ) L_q + λ L_r

    L_q is MoCo's loss. The negatives of L_r are the means over positions of the dense keys of
    earlier batches, scaled to length 1, in a queue of their own.

    The map is the output of a layer of the encoder. Both projectors are discarded after training.

    Args:
        encoder: functional or sequential `keras.Model` that maps a batch to `(batch, features)`.
        map_layer: name of the layer of the encoder whose output is the map F, `(batch, ...,
            channels)`, such as `"stage4_block2_output"` of `keras_ssl.networks.resnet18`.
        projector: layer that maps features to queries and keys. `None` means
            `keras_ssl.layers.ProjectionHead((2048, 128), normalization=False)`.
        dense_projector: layer d that maps `(batch, positions, channels)` to dense queries and keys,
            `(batch, positions, dim)`. `None` means another projector like the default one.
        augment: layer that makes two views of a batch, for queries and keys, such as
            `keras_ssl.augment.SimCLRViews`. `None` if the data already holds pairs of views.
        loss: loss called `loss(query, key, queue=queue)`, of views and of positions. `None` means
            `keras_ssl.losses.InfoNCE(temperature=0.2)`.
        queue: layer that holds the keys. Its size must be a multiple of the global batch size.
            `None` means `keras_ssl.layers.FeatureQueue(65536)`.
        dense_queue: the same for the means of the dense keys.
        momentum: of the moving averages, in [0, 1), or a schedule by optimizer steps.
        dense_weight: λ, in [0, 1]: the share of the loss of positions.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of what the encoder takes.
        training: whether the encoder runs in training mode.

    Input shape:
        What the encoder takes: any structure of tensors.

    Output shape:
        `(batch, features)`, the output of the encoder.

    Raises:
        TypeError: if a part is not a Keras object, `momentum` neither a number nor a schedule, or
            `dense_weight` not a number.
        ValueError: if the encoder has no layer `map_layer`, `momentum` is outside [0, 1), or
            `dense_weight` outside [0, 1]. Before the first step, if the layer does not return a
            map, there are not two views, or the size of a queue is not a multiple of
            the global batch size.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.DenseCL(
    ...     encoder=keras_ssl.networks.small_resnet((28, 28, 1), width=8),
    ...     map_layer="stage3_block1_output",
    ...     augment=keras_ssl.augment.SimCLRViews(28),
    ...     queue=keras_ssl.layers.FeatureQueue(64),
    ...     dense_queue=keras_ssl.layers.FeatureQueue(64),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> sorted(history.history)
    ['contrastive', 'dense', 'loss']

    Reference:
        - [Dense Contrastive Learning for Self-Supervised Visual Pre-Training](
          https://arxiv.org/abs/2011.09157), Wang et al., 2021
    """

    def __init__(
        self,
        encoder: keras.Model,
        map_layer: str,
        projector: keras.layers.Layer | None = None,
        dense_projector: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        queue: keras.layers.Layer | None = None,
        dense_queue: keras.layers.Layer | None = None,
        momentum: float | keras.optimizers.schedules.LearningRateSchedule = 0.999,
        dense_weight: float = 0.5,
        **kwargs: Any,
    ):
        check_type("encoder", encoder, keras.Model)
        super().__init__(encoder, projector, augment, loss, queue, momentum, **kwargs)
        if dense_projector is None:
            dense_projector = ProjectionHead((2048, 128), normalization=False)
        check_type("dense_projector", dense_projector, keras.layers.Layer)
        self.dense_projector = dense_projector
        self.dense_queue = FeatureQueue(65536) if dense_queue is None else dense_queue
        check_type("dense_queue", self.dense_queue, keras.layers.Layer)
        self.dense_weight = checks.probability("dense_weight", dense_weight)
        self.map_layer = map_layer
        self.dense_teacher = EMATeacher(self, ["dense_projector"], momentum)
        self._outputs = LayerOutputs("encoder", encoder, [map_layer])
        self._teacher_outputs = LayerOutputs("encoder", self.teacher_encoder, [map_layer])

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return queries and keys of views and of positions, and the representation."""
        x_q, x_k = batch.views
        h, maps = self._encode(self._outputs, x_q, training)
        h_k, maps_k = self._encode(self._teacher_outputs, x_k, training)
        key = self.teacher_projector(h_k, training=training)
        dense_keys = self.teacher_dense_projector(maps_k, training=training)
        embeddings = {
            "query": self.projector(h, training=training),
            "key": ops.stop_gradient(key),
            "dense_query": self.dense_projector(maps, training=training),
            "dense_key": ops.stop_gradient(_select_most_similar(maps, maps_k, dense_keys)),
            "mean_dense_key": ops.stop_gradient(ops.mean(dense_keys, axis=1)),
        }
        return {**embeddings, "representation": h}

    def _encode(self, outputs: LayerOutputs, x: Any, training: bool) -> tuple[Any, Any]:
        """Return features and the local features of a view."""
        h, by_layer = outputs(x, training=training)
        return h, positions_of(by_layer[self.map_layer], self.map_layer)

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return both weighted losses against their queues, then add the keys to the queues."""
        losses = super().losses_of(embeddings, training)
        queue = self.dense_queue(l2_normalize(embeddings["mean_dense_key"]), training=training)
        positions = (embeddings[name] for name in ("dense_query", "dense_key"))
        query, key = (ops.reshape(z, (-1, z.shape[-1])) for z in positions)
        dense = self.loss_function(query, key, queue=queue)
        return {
            "contrastive": (1 - self.dense_weight) * losses["contrastive"],
            "dense": self.dense_weight * dense,
        }

    @classmethod
    def map_layer_for(cls, images: ImageSpec) -> str:
        """Return the layer of a trainer that is made by its name: the last with feature maps."""
        return maps_of(images.part("encoder")).name

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(dense_projector=self.dense_projector, dense_queue=self.dense_queue)
        settings = {"map_layer": self.map_layer, "dense_weight": self.dense_weight}
        return {**super().get_config(), **parts, **settings}


def _select_most_similar(x: Any, y: Any, values: Any) -> Any:
    """Return for each row of `x`, within its example, the value of the most similar row of `y`.

    Similar by the cosine; no gradient flows through the choice.

    Args:
        x: `(batch, positions, channels)`.
        y: `(batch, candidates, channels)`.
        values: `(batch, candidates, dim)`.
    """
    similarities = ops.einsum("bic,bjc->bij", l2_normalize(x), l2_normalize(y))
    chosen = ops.argmax(similarities, axis=-1)
    return ops.take_along_axis(values, chosen[:, :, None], axis=1)
