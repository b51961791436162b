"""MSN: predict the prototypes of a whole view from masked and small views."""

from typing import Any

import keras
from keras import ops

from keras_ssl import augment, layers, losses
from keras_ssl.networks import TokenEncoder, token_encoder
from keras_ssl.trainers._hidden_patches import check_masking, hide, take_tokens
from keras_ssl.trainers.checks import check_features, check_type
from keras_ssl.trainers.image_spec import ImageSpec
from keras_ssl.trainers.joint_embedding import MultiCrop, call_by_size
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch
from keras_ssl.trainers.teacher import EMATeacher


@keras.saving.register_keras_serializable(package="keras_ssl")
class MSN(MultiCrop):
    r"""MSN: masked siamese networks.

    The first view of an example, the target, is whole. The M others, the anchors, show part of it:
    a view with random patches masked, and small crops (focal masks). The student embeds the
    anchors; the teacher, whose weights are a moving average of those of the student, embeds the
    target. Both are softly assigned to the same K prototypes, and from each anchor the sharpened
    assignment of the target is predicted:

        p = softmax(cos(projector(encoder(anchor)), prototypes) / τ)
        p⁺ = softmax(cos(teacher's projection of the target, prototypes) / (τ T))
        L = - mean over anchors of Σ_k p⁺(k) log p(k) + λ (log K - H(mean of all p))

    H is the entropy of the mean assignment of all anchors of the batch, over all replicas. It
    prevents collapse to one prototype. The prototypes get gradients from the anchors only.

    With `masking`, anchors of the target's size lose patches before they enter the transformer, as
    in the paper; smaller anchors stay whole. For encoders that need all pixels, such as
    convolutions, masking is part of the augmentation, which fills patches.

    Args:
        encoder: `keras.Model` or layer that maps a batch of views of any of the sizes to
            `(batch, features)`, such as a ResNet built for `(None, None, 3)`.
        projector: layer that maps features to embeddings. `None` means
            `keras_ssl.layers.ProjectionHead((2048, 2048, 256), activation="gelu")`.
        prototypes: `keras_ssl.layers.Prototypes`. `None` means 1,024 of them.
        augment: layer that makes the views of a batch: the target, an anchor of the same size, and
            any number of anchors that are no larger, as in the example. `None` if the data already
            holds views.
        loss: loss called `loss(target_scores, anchor_scores)` on `(batch, prototypes)` and a list
            of them, one per anchor. `None` means `keras_ssl.losses.MSNLoss()`.
        momentum: of the teacher, in [0, 1), or a schedule by optimizer steps. The paper raises it
            from 0.996 to 1: `keras.optimizers.schedules.PolynomialDecay(0.996, steps, 1.0)`.
        masking: layer that chooses the patches that anchors of the target's size lose, such as
            `keras_ssl.layers.RandomMasking(0.15)`; the paper drops 15 % with ViT-S and 70 % with
            ViT-L. The encoder must be a `networks.TokenEncoder` whose `encode` takes `indices`.
            `None` if masking is part of the augmentation.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of what the encoder takes.
        training: whether the encoder runs in training mode.

    Input shape:
        What the encoder takes: any structure of tensors.

    Output shape:
        `(batch, features)`, the output of the encoder.

    Raises:
        TypeError: if an argument has the wrong type, or `encoder` cannot leave patches out and
            there is a `masking`.
        ValueError: if `momentum` is outside [0, 1); before the first step, if there are not a
            target and an anchor of one size, another anchor is larger, the encoder does not take
            all sizes, or a batch holds a single example.

    Example:

    >>> import keras_ssl
    >>> from keras_ssl import augment
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> whole = augment.simclr_pipeline(28, scale=(0.3, 1.0))
    >>> masked = [augment.simclr_pipeline(28, scale=(0.3, 1.0)), augment.RandomPatchMask(7, 0.15)]
    >>> focal = augment.simclr_pipeline(14, scale=(0.05, 0.3))
    >>> trainer = keras_ssl.trainers.MSN(
    ...     encoder=keras_ssl.networks.small_resnet((None, None, 1), width=8),
    ...     projector=keras_ssl.layers.ProjectionHead((64, 16)),
    ...     prototypes=keras_ssl.layers.Prototypes(128),
    ...     augment=augment.AsymmetricViews([whole, masked, focal, focal]),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> trainer.encoder(images).shape
    TensorShape([16, 32])

    A vision transformer, which does not see masked patches at all:

    >>> trainer = keras_ssl.trainers.MSN(
    ...     encoder=keras_ssl.networks.vit((32, 2, 4), (28, 28, 1), patch_size=7),
    ...     projector=keras_ssl.layers.ProjectionHead((64, 16)),
    ...     prototypes=keras_ssl.layers.Prototypes(128),
    ...     augment=augment.AsymmetricViews([whole, whole, focal, focal]),
    ...     masking=keras_ssl.layers.RandomMasking(0.7),
    ... )

    Reference:
        - [Masked Siamese Networks for Label-Efficient Learning](
          https://arxiv.org/abs/2204.07141), Assran et al., 2022
    """

    minimum_batch = 2  # one example cannot use all prototypes equally

    def __init__(
        self,
        encoder: keras.layers.Layer,
        projector: keras.layers.Layer | None = None,
        prototypes: layers.Prototypes | None = None,
        augment: keras.layers.Layer | None = None,
        loss: keras.losses.Loss | None = None,
        momentum: float | keras.optimizers.schedules.LearningRateSchedule = 0.996,
        masking: keras.layers.Layer | None = None,
        **kwargs: Any,
    ):
        if projector is None:
            projector = layers.ProjectionHead((2048, 2048, 256), activation="gelu")
        loss = losses.MSNLoss() if loss is None else loss
        if masking is not None:
            check_masking(masking)
            encoder = token_encoder(encoder, needs=["indices"])
        super().__init__(encoder, projector, augment, loss, **kwargs)
        prototypes = layers.Prototypes(1024) if prototypes is None else prototypes
        check_type("prototypes", prototypes, layers.Prototypes)
        self.masking = masking
        self.prototypes = prototypes
        self.teacher = EMATeacher(self, ["encoder", "projector"], momentum)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return embeddings of the anchors by the student, of the target by the teacher."""
        target, *anchors = batch.views
        if self.masking is None:
            h, z = self.project_crops(anchors, training)
        else:
            h, z = self._project_visible(target, anchors, training)
        # one row per example: (batch, anchors, dim)
        return {
            "anchors": ops.stack(z, axis=1),
            "target": self.teacher.project(target, training),
            "representation": h[0],
        }

    def _project_visible(
        self, target: Any, anchors: list[Any], training: bool
    ) -> tuple[list[Any], list[Any]]:
        """Return the same as `project_crops`, of anchors without their masked patches."""
        is_large = [view.shape[1:3] == target.shape[1:3] for view in anchors]
        large = [view for view, one in zip(anchors, is_large, strict=True) if one]
        small = [view for view, one in zip(anchors, is_large, strict=True) if not one]
        grid = self.encoder.grid(target.shape)
        tokens, places = [], []
        # by view, so that several replicas draw for each what one would
        for view in large:
            patches = self.encoder.embed(view)
            _, visible, _ = hide(self.masking, patches)
            tokens.append(take_tokens(patches, visible))
            places.append(visible)
        tokens, places = (ops.concatenate(one, axis=0) for one in (tokens, places))
        outputs = self.encoder.encode(tokens, grid, indices=places, training=training)
        h = ops.split(outputs["features"], len(large))
        h += call_by_size(lambda view: self.encoder(view, training=training), small)
        for features in h:
            check_features(features)
        return h, ops.split(self.projector(ops.concatenate(h, axis=0), training=training), len(h))

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the cross-entropy of the assignments of target and anchors, regularised."""
        anchors = self.prototypes(ops.swapaxes(embeddings["anchors"], 0, 1))
        target = ops.stop_gradient(self.prototypes(embeddings["target"]))
        return {"assignment": self.loss_function(target, ops.unstack(anchors, axis=0))}

    @classmethod
    def augment_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the views of images that a trainer made by its name compares."""
        encoder = images.part("encoder")
        whole = augment.simclr_pipeline(images.size, scale=(0.3, 1.0))
        masked = [augment.simclr_pipeline(images.size, scale=(0.3, 1.0))]
        if not isinstance(encoder, TokenEncoder):  # which leaves patches out itself
            masked.append(augment.RandomPatchMask(images.size // images.patch_size, 0.15))
        patch = getattr(encoder, "patch_size", (1, 1))[0]
        local = max(1, round(images.size * 96 / 224 / patch)) * patch
        focal = augment.simclr_pipeline(local, scale=(0.05, 0.3))
        return augment.AsymmetricViews([whole, masked] + 10 * [focal])

    @classmethod
    def masking_for(cls, images: ImageSpec) -> keras.layers.Layer | None:
        """Return the masking of a trainer that is made by its name, if its encoder is of tokens."""
        has_tokens = isinstance(images.part("encoder"), TokenEncoder)
        return layers.RandomMasking(0.15) if has_tokens else None

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(
            prototypes=self.prototypes, momentum=self.teacher.momentum, masking=self.masking
        )
        return {**super().get_config(), **parts}
