"""Base of methods whose student sees masked views and whose teacher sees them whole."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, layers
from keras_ssl.distribute import draw_per_example
from keras_ssl.networks import token_encoder
from keras_ssl.ops.schedules import value_now
from keras_ssl.trainers._hidden_patches import check_masking, hide, take_tokens
from keras_ssl.trainers.checks import check_features, check_type
from keras_ssl.trainers.image_spec import ImageSpec
from keras_ssl.trainers.joint_embedding import MultiCrop, call_by_size
from keras_ssl.trainers.masked._masked_model import block_masking_for, mask_token
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch, concatenate
from keras_ssl.trainers.teacher import EMATeacher


def default_projector() -> layers.ProjectionHead:
    """Return the head of DINO, without its last layer."""
    return layers.ProjectionHead(
        (2048, 2048, 256), normalization=False, activation="gelu", l2_normalize=True
    )


class MaskedSelfDistillation(MultiCrop):
    """Base of methods whose student sees masked views and whose teacher sees them whole.

    The student predicts the teacher's distribution over prototypes for the features of other
    views, as in DINO, and for the masked patches of the same view.

    Args:
        encoder: `networks.TokenEncoder`.
        projector: layer from features, and tokens of patches, to embeddings.
        prototypes: `layers.Prototypes`.
        patch_projector: the same as `projector` for patches alone; `None` for the same layer.
        patch_prototypes: the same as `prototypes` for patches alone; `None` for the same layer.
        masking: layer that chooses patches to hide.
        augment: layer that makes two global views and any number of local ones.
        loss: loss of features.
        patch_loss: loss of patches.
        center: layer that centres the teacher's scores of features.
        patch_center: layer that centres the teacher's scores of patches.
        mask_probability: probability that patches of a global view are hidden.
        teacher_temperature: replaces that of both losses, unless it is `None`.
        momentum: momentum of the teacher's moving average.
        freeze_steps: number of optimizer steps in which prototypes are not updated.
        seed: integer seed that decides which views are masked.
        **kwargs: `name`, `dtype` of the model.
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        projector: keras.layers.Layer,
        prototypes: layers.Prototypes,
        patch_projector: keras.layers.Layer | None,
        patch_prototypes: layers.Prototypes | None,
        masking: keras.layers.Layer | None,
        augment: keras.layers.Layer | None,
        loss: keras.losses.Loss,
        patch_loss: keras.losses.Loss,
        center: keras.layers.Layer,
        patch_center: keras.layers.Layer,
        mask_probability: float,
        teacher_temperature: Any,
        momentum: Any,
        freeze_steps: int,
        seed: int | None,
        **kwargs: Any,
    ):
        super().__init__(token_encoder(encoder), projector, augment, loss, **kwargs)
        if masking is None:
            masking = layers.BlockMasking((14, 14), ratio=0.3)
        for name, part, kind in (
            ("prototypes", prototypes, layers.Prototypes),
            ("patch_loss", patch_loss, keras.losses.Loss),
            ("center", center, keras.layers.Layer),
            ("patch_center", patch_center, keras.layers.Layer),
        ):
            check_type(name, part, kind)
        check_masking(masking)
        if teacher_temperature is not None:
            checks.positive_or_schedule("teacher_temperature", teacher_temperature)
        self.prototypes = prototypes
        self.has_shared_head = patch_projector is None
        followed = ["encoder", "projector", "prototypes"]
        if not self.has_shared_head:
            check_type("patch_projector", patch_projector, keras.layers.Layer)
            check_type("patch_prototypes", patch_prototypes, layers.Prototypes)
            self.patch_projector = patch_projector
            self.patch_prototypes = patch_prototypes
            followed += ["patch_projector", "patch_prototypes"]
        self.mask_token = mask_token()
        self.masking = masking
        self.patch_loss = patch_loss
        self.center = center
        self.patch_center = patch_center
        self.mask_probability = checks.probability("mask_probability", mask_probability)
        self.teacher_temperature = teacher_temperature
        self.freeze_steps = checks.integer("freeze_steps", freeze_steps, minimum=0)
        self.seed = checks.integer("seed", seed, optional=True)
        self.seed_generator = keras.random.SeedGenerator(seed)
        self.teacher = EMATeacher(self, followed, momentum)

    def check_views(self, views: Any) -> None:
        """Raise unless the views are images, which patches divide, the two global ones first."""
        super().check_views(views)
        for view in views:
            if len(getattr(view, "shape", ())) != 4:
                raise ValueError(
                    "Expected views of shape (batch, height, width, channels). "
                    f"Received: {view} among the views"
                )
            self.encoder.grid(view.shape)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return embeddings of views and hidden patches by student and teacher."""
        views = concatenate(batch.views[: self.global_count])
        local = batch.views[self.global_count :]
        of_global, tokens, hidden, is_masked = self.encode_masked(views, training)
        of_local = call_by_size(lambda view: self.encoder(view, training=training), local)
        of_views = [*ops.split(of_global, self.global_count), *of_local]
        for features in of_views:
            check_features(features)
        student = self.projector(ops.concatenate(of_views, axis=0), training=training)
        patches = _project(self._patch_part("projector"), tokens, hidden, training)
        teacher, teacher_patches = self._embed_by_teacher(views, hidden, training)
        return {
            "student": self._by_example(student, len(of_views)),
            "teacher": self._by_example(teacher, self.global_count),
            "student_patches": self._by_example(patches, self.global_count),
            "teacher_patches": self._by_example(teacher_patches, self.global_count),
            "is_masked": self._by_example(is_masked, self.global_count),
            "features": ops.stack(of_views[: self.global_count], axis=1),
            "representation": of_views[0],
        }

    def encode_masked(self, views: Any, training: bool = False) -> tuple[Any, Any, Any, Any]:
        """Hide patches of global views and encode them.

        Args:
            views: the global views of a batch, one after the other.
            training: whether the encoder runs in training mode.

        Returns:
            The features, `(views * batch, features)`; the outputs of all patches; the numbers of
            the patches that the masking chose, int32 `(views * batch, hidden patches)`; and whether
            they were hidden, 0 or 1, float32 `(views * batch,)`.
        """
        tokens = self.encoder.embed(views)
        chosen, hidden, is_masked = [], [], []
        # by view, so that several replicas draw for each what one would
        for view in ops.split(tokens, self.global_count):
            is_chosen, _, places = hide(self.masking, view)
            chosen.append(is_chosen)
            hidden.append(places)
            uniform = draw_per_example(
                lambda rows: keras.random.uniform(
                    (rows,), dtype="float32", seed=self.seed_generator
                ),
                ops.shape(view)[0],
            )
            is_masked.append(ops.less(uniform, self.mask_probability))
        chosen, hidden, is_masked = (
            ops.concatenate(one, axis=0) for one in (chosen, hidden, is_masked)
        )
        tokens = self.mask_token([tokens, ops.logical_and(chosen, is_masked[:, None])])
        outputs = self.encoder.encode(tokens, self.encoder.grid(views.shape), training=training)
        return outputs["features"], outputs["patch_tokens"], hidden, ops.cast(is_masked, "float32")

    def _embed_by_teacher(self, views: Any, hidden: Any, training: bool) -> tuple[Any, Any]:
        encoder = self.teacher_encoder
        outputs = encoder.encode(encoder.embed(views), encoder.grid(views.shape), training=training)
        projector = self._patch_part("projector", of_teacher=True)
        embeddings = (
            self.teacher_projector(outputs["features"], training=training),
            _project(projector, outputs["patch_tokens"], hidden, training),
        )
        return tuple(ops.stop_gradient(one) for one in embeddings)

    def _patch_part(self, name: str, of_teacher: bool = False) -> keras.layers.Layer:
        """Return the projector or the prototypes of patches."""
        name = name if self.has_shared_head else f"patch_{name}"
        return getattr(self, f"teacher_{name}" if of_teacher else name)

    def _by_example(self, rows: Any, views: int) -> Any:
        """Return rows of views one after the other as `(batch, views, ...)`."""
        return ops.stack(ops.split(rows, views), axis=1)

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the cross-entropies of features across views, and of masked patches."""
        frozen = self.is_before(self.freeze_steps)
        temperature = {}
        if self.teacher_temperature is not None:
            tau = value_now(self.teacher_temperature, "teacher_temperature")
            temperature = {"teacher_temperature": tau}
        # (views, batch, dim)
        student = self.prototypes(ops.swapaxes(embeddings["student"], 0, 1), frozen=frozen)
        teacher = self.teacher_prototypes(ops.swapaxes(embeddings["teacher"], 0, 1))
        teacher = self.center(ops.stop_gradient(teacher), training=training)
        views = ops.unstack(teacher, axis=0), ops.unstack(student, axis=0)
        # (batch * views, patches, dim)
        student, teacher = (
            ops.reshape(one, (-1, *one.shape[2:]))
            for one in (embeddings["student_patches"], embeddings["teacher_patches"])
        )
        student = self._patch_part("prototypes")(student, frozen=frozen)
        teacher = ops.stop_gradient(self._patch_part("prototypes", of_teacher=True)(teacher))
        patches = self.patch_center(teacher, training=training), student
        is_masked = ops.reshape(embeddings["is_masked"], (-1,))
        return {
            "class": self.loss_function(*views, **temperature),
            "patch": self.patch_loss(*patches, sample_weight=is_masked, **temperature),
        }

    @property
    def patch_head(self) -> dict[str, Any]:
        """The parts that are for patches alone, by the constructor's arguments; maybe `None`."""
        names = ("patch_projector", "patch_prototypes")
        return {name: None if self.has_shared_head else getattr(self, name) for name in names}

    @classmethod
    def encoder_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the vision transformer of a trainer that is made by its name."""
        return images.token_encoder()

    @classmethod
    def masking_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the masking of a trainer that is made by its name, for its encoder's grid."""
        return block_masking_for(images, ratio=0.3)

    def get_config(self) -> dict:
        """Return the constructor's arguments but the head of patches, the parts serialised."""
        parts = serialize_parts(
            prototypes=self.prototypes,
            masking=self.masking,
            patch_loss=self.patch_loss,
            center=self.center,
            patch_center=self.patch_center,
            teacher_temperature=self.teacher_temperature,
            momentum=self.teacher.momentum,
        )
        own = {
            "mask_probability": self.mask_probability,
            "freeze_steps": self.freeze_steps,
            "seed": self.seed,
        }
        return {**super().get_config(), **parts, **own}


def _project(projector: keras.layers.Layer, tokens: Any, indices: Any, training: bool) -> Any:
    """Return the embeddings of the tokens at indices, `(batch, count, dim)`."""
    chosen = take_tokens(tokens, indices)
    # as vectors, since the projector of class tokens may be that of patches
    rows = ops.reshape(chosen, (-1, chosen.shape[-1]))
    z = projector(rows, training=training)
    return ops.reshape(z, (-1, indices.shape[1], z.shape[-1]))
