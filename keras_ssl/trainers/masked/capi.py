"""CAPI: cluster a teacher's patches, and predict the clusters of hidden ones."""

from typing import Any

import keras
from keras import ops

from keras_ssl import layers, losses
from keras_ssl.trainers._hidden_patches import hide, take_tokens
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.image_spec import ImageSpec
from keras_ssl.trainers.masked._masked_model import (
    MaskedModel,
    check_inference_mode,
    grid_for,
)
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch
from keras_ssl.trainers.teacher import EMATeacher


@keras.saving.register_keras_serializable(package="keras_ssl")
class CAPI(MaskedModel):
    r"""CAPI: cluster and predict latent patches.

    A teacher, the moving average of the encoder, sees the whole image. A layer of clusters scores
    its output at each patch, s. The Sinkhorn-Knopp algorithm turns the scores into assignments q
    that use all clusters equally at every position of the grid, over the batch of all replicas. The
    encoder sees the visible patches only; a predictor, which attends to its outputs, and prototypes
    predict the assignments of the hidden patches from scores p:

        q = sinkhorn_knopp(s / τ_teacher)
        L_clustering = - mean over patches j of Σ_k q_j(k) log softmax(s_j / τ_student)_k
        L_prediction = - mean over hidden patches j of Σ_k q_j(k) log softmax(p_j / τ_student)_k

    The clustering loss trains the clusters alone, and the prediction loss everything else; the
    teacher gets no gradient. The teacher runs in inference mode. The authors' code predicts a
    random part of the hidden patches, and clusters learn at half the rate, for which
    `keras_ssl.optimizers.ParameterGroups` can be used.

    Args:
        encoder: `networks.TokenEncoder` whose `encode` takes `indices`, such as `networks.vit(...,
            class_token=False, pooling="mean")`.
        masking: layer that chooses the patches to hide: it maps tokens `(batch, patches, width)` to
            booleans `(batch, patches)` with as many `True` in every row, and has a method
            `count(patches)`. `None` means `keras_ssl.layers.InverseBlockMasking((14, 14))`.
        predictor: layer called as `layers.TokenDecoder`, which returns a vector for each hidden
            patch. `None` means `keras_ssl.layers.CrossTokenDecoder(768, depth=12, num_heads=12)`.
        prototypes: `keras_ssl.layers.Prototypes`, which scores predictions. `None` means
            `keras_ssl.layers.Prototypes(16384)`.
        clusters: layer that scores the teacher's patches, `(batch, patches, width)`, for as many
            clusters. `None` means a linear map, with biases, of outputs of length 1.
        augment: layer that makes one view of a batch, such as
            `keras_ssl.augment.RandomResizedCrop(224, scale=(0.6, 1.0))`. `None` leaves the images
            unchanged.
        loss: `keras_ssl.losses.CAPILoss`, or a subclass. `None` means the paper's.
        momentum: momentum of the teacher's moving average, in [0, 1), or a schedule by optimizer
            steps.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: batch of images.
        training: whether the encoder runs in training mode.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        `(batch, features)`: the features of all patches.

    Raises:
        TypeError: if an argument has the wrong type, or the encoder cannot leave patches out.
        ValueError: if `momentum` is outside [0, 1), or the encoder has batch normalization; before
            the first step, if images are not divisible by patches, `masking` does not choose among
            them, there are not as many clusters as prototypes, or a batch holds a single example.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.CAPI(
    ...     encoder=keras_ssl.networks.vit(
    ...         (32, 2, 4), (28, 28, 1), patch_size=4, class_token=False, pooling="mean"
    ...     ),
    ...     masking=keras_ssl.layers.InverseBlockMasking((7, 7)),
    ...     predictor=keras_ssl.layers.CrossTokenDecoder(width=16, depth=1, num_heads=2),
    ...     prototypes=keras_ssl.layers.Prototypes(8),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> sorted(history.history)
    ['clustering', 'loss', 'prediction']

    Reference:
        - [Cluster and Predict Latent Patches for Improved Masked Image Modeling](
          https://arxiv.org/abs/2502.08769), Darcet et al., 2025
    """

    minimum_batch = 2  # assignments are balanced over the examples

    def __init__(
        self,
        encoder: keras.layers.Layer,
        masking: keras.layers.Layer | None = None,
        predictor: keras.layers.Layer | None = None,
        prototypes: layers.Prototypes | None = None,
        clusters: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        loss: losses.CAPILoss | None = None,
        momentum: float | keras.optimizers.schedules.LearningRateSchedule = 0.999,
        **kwargs: Any,
    ):
        masking = layers.InverseBlockMasking((14, 14)) if masking is None else masking
        super().__init__(encoder, masking, augment, needs=["indices"], **kwargs)
        check_inference_mode(self.encoder)
        if predictor is None:
            predictor = layers.CrossTokenDecoder(768, depth=12, num_heads=12)
        prototypes = layers.Prototypes(16384) if prototypes is None else prototypes
        loss = losses.CAPILoss() if loss is None else loss
        for name, part, kind in (
            ("predictor", predictor, keras.layers.Layer),
            ("prototypes", prototypes, layers.Prototypes),
            ("loss", loss, losses.CAPILoss),
        ):
            check_type(name, part, kind)
        if clusters is None:
            unit, dense = keras.layers.UnitNormalization(), keras.layers.Dense(prototypes.count)
            clusters = keras.Sequential([unit, dense], name="clusters")
        check_type("clusters", clusters, keras.layers.Layer)
        self.predictor = predictor
        self.prototypes = prototypes
        self.clusters = clusters
        self.loss_function = loss
        self.teacher = EMATeacher(self, ["encoder"], momentum)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return predictions of hidden patches, their places, and the teacher's patches."""
        predicted, hidden = self.predict_hidden(batch.views, training)
        return {"predicted": predicted, "hidden": hidden, "patches": self.targets(batch.views)}

    def targets(self, images: Any) -> Any:
        """Return the teacher's outputs of all patches, `(batch, patches, width)`.

        Args:
            images: `(batch, height, width, channels)`.
        """
        teacher, grid = self.teacher_encoder, self.encoder.grid(images.shape)
        outputs = teacher.encode(teacher.embed(images), grid, training=False)
        return ops.stop_gradient(outputs["patch_tokens"])

    def predict_hidden(self, images: Any, training: bool = False) -> tuple[Any, Any]:
        """Hide patches and predict a vector for each from the visible ones.

        Args:
            images: `(batch, height, width, channels)`.
            training: whether the networks run in training mode.

        Returns:
            The predictions, `(batch, hidden patches, width)`, which `prototypes` scores, and the
            numbers of these patches, int32 `(batch, hidden patches)`.
        """
        grid = self.encoder.grid(images.shape)
        tokens = self.encoder.embed(images)
        _, visible, hidden = hide(self.masking, tokens)
        seen = take_tokens(tokens, visible)
        outputs = self.encoder.encode(seen, grid, indices=visible, training=training)
        known = outputs["patch_tokens"]
        return self.predictor(known, visible, hidden, grid=grid, training=training), hidden

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the losses of the hidden patches' prediction and of the clusters."""
        scores = self.clusters(embeddings["patches"], training=training)
        if scores.shape[-1] != self.prototypes.count:
            raise ValueError(
                "`clusters` must score as many clusters as there are `prototypes`, "
                f"{self.prototypes.count}. Received: scores of shape {tuple(scores.shape)}"
            )
        assignments = self.loss_function.assign(scores)
        of_hidden = take_tokens(assignments, embeddings["hidden"])
        predicted = self.prototypes(embeddings["predicted"])
        return {
            "prediction": self.loss_function(of_hidden, predicted),
            "clustering": self.loss_function(assignments, scores),
        }

    @classmethod
    def encoder_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the vision transformer of a trainer that is made by its name."""
        return images.token_encoder(class_token=False, pooling="mean")

    @classmethod
    def masking_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the masking of a trainer that is made by its name, for its encoder's grid."""
        return layers.InverseBlockMasking(grid_for(images))

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(
            predictor=self.predictor,
            prototypes=self.prototypes,
            clusters=self.clusters,
            loss=self.loss_function,
            momentum=self.teacher.momentum,
        )
        return {**super().get_config(), **parts}
