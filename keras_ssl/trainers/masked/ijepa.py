"""I-JEPA: predict a momentum teacher's representation of blocks from the rest of the image."""

from typing import Any

import keras
from keras import ops

from keras_ssl import layers
from keras_ssl.ops import at_least_float32
from keras_ssl.trainers._hidden_patches import take_tokens
from keras_ssl.trainers._linear_to_targets import LinearToTargets
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.image_spec import ImageSpec
from keras_ssl.trainers.masked._masked_model import (
    MaskedModel,
    check_inference_mode,
    grid_for,
    layer_normalized,
    smooth_l1,
)
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch
from keras_ssl.trainers.teacher import EMATeacher


@keras.saving.register_keras_serializable(package="keras_ssl")
class IJEPA(MaskedModel):
    r"""I-JEPA: image-based joint-embedding predictive architecture.

    Several blocks of patches are the targets, and a part of the other patches is the context. The
    encoder sees the context only. From its outputs c, a narrow transformer predicts, for one target
    at a time, what the teacher makes of the patches of the target, when it sees the whole image.
    The teacher's weights are a moving average of the encoder's:

        y = norm(teacher(image)),  z = predictor(encoder(context), places of the target)
        L = mean over targets, their patches and features of smooth_l1(z - y)

    where norm subtracts the mean over features and divides by the standard deviation, and

        smooth_l1(d) = d² / 2 if |d| < 1 else |d| - 1 / 2

    The method needs no hand-crafted views, and predicts no pixels. The teacher runs in inference
    mode, without dropout or stochastic depth.

    Args:
        encoder: `networks.TokenEncoder` whose `encode` takes `indices`. The paper's has neither
            class token nor registers: `networks.vit(..., class_token=False, pooling="mean",
            positions="sincos")`.
        masking: layer from tokens to the places of the context, int32 `(batch, patches)`, and of
            the targets, `(batch, targets, patches)`, such as
            `keras_ssl.layers.MultiBlockMasking(grid)` with the encoder's grid, the paper's.
        predictor: layer called as `layers.TokenDecoder`, which returns a vector for each patch of a
            target. A linear map from them to the encoder's width follows. `None` means
            `layers.TokenDecoder(384, depth=12, num_heads=12)`.
        augment: layer that makes one view of a batch. `None` leaves the images unchanged. The paper
            uses random crops.
        momentum: momentum of the teacher's moving average, in [0, 1), or a schedule by optimizer
            steps. The paper raises it linearly:
            `keras.optimizers.schedules.PolynomialDecay(0.996, steps, 1.0)`.
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
            the first step, if images are not divisible by patches, or `masking` does not return
            places of a context and of targets.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.IJEPA(
    ...     encoder=keras_ssl.networks.vit(
    ...         (32, 2, 4), (28, 28, 1), patch_size=4, class_token=False, pooling="mean"
    ...     ),
    ...     masking=keras_ssl.layers.MultiBlockMasking((7, 7)),
    ...     predictor=keras_ssl.layers.TokenDecoder(width=16, depth=1, num_heads=2),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> trainer.encoder(images).shape
    TensorShape([16, 32])

    Reference:
        - [Self-Supervised Learning from Images with a Joint-Embedding Predictive
          Architecture](https://arxiv.org/abs/2301.08243), Assran et al., 2023
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        masking: keras.layers.Layer,
        predictor: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        momentum: float | keras.optimizers.schedules.LearningRateSchedule = 0.996,
        **kwargs: Any,
    ):
        super().__init__(encoder, masking, augment, needs=["indices"], **kwargs)
        check_inference_mode(self.encoder)
        if predictor is None:
            predictor = layers.TokenDecoder(384, depth=12, num_heads=12)
        check_type("predictor", predictor, keras.layers.Layer)
        self.predictor = predictor
        self.to_targets = LinearToTargets(name="to_targets")
        self.teacher = EMATeacher(self, ["encoder"], momentum)

    def check_masking(self, masking: keras.layers.Layer) -> None:
        """Accept any layer: what it returns is checked before the first step."""

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the error of each patch of each target, `(batch, targets * patches)`."""
        targets = self.targets(batch.views)
        predicted, places = self._predict(batch.views, targets, training)
        return {"regression": smooth_l1(predicted, take_tokens(targets, places), beta=1.0)}

    def targets(self, images: Any) -> Any:
        """Return the teacher's representation of all patches, `(batch, patches, width)`.

        Args:
            images: `(batch, height, width, channels)`.
        """
        teacher, grid = self.teacher_encoder, self.encoder.grid(images.shape)
        outputs = teacher.encode(teacher.embed(images), grid, training=False)
        return ops.stop_gradient(layer_normalized(at_least_float32(outputs["patch_tokens"])))

    def predict_hidden(self, images: Any, training: bool = False) -> tuple[Any, Any]:
        """Predict the teacher's representation of targets from the context.

        Args:
            images: `(batch, height, width, channels)`.
            training: whether the networks run in training mode.

        Returns:
            The predictions, `(batch, targets * patches, width)`, one target after the other, and
            the numbers of these patches, int32 `(batch, targets * patches)`.
        """
        return self._predict(images, self.targets(images), training)

    def _predict(self, images: Any, targets: Any, training: bool) -> tuple[Any, Any]:
        grid = self.encoder.grid(images.shape)
        tokens = self.encoder.embed(images)
        context, places = self._places(tokens)
        seen = take_tokens(tokens, context)
        outputs = self.encoder.encode(seen, grid, indices=context, training=training)
        # each target on its own, so that the predictor does not see how the others lie
        count, patches = places.shape[1:]
        known = ops.repeat(outputs["patch_tokens"], count, axis=0)
        predicted = self.predictor(
            known,
            ops.repeat(context, count, axis=0),
            ops.reshape(places, (-1, patches)),
            grid=grid,
            training=training,
        )
        predicted = self.to_targets(predicted, targets)
        places = ops.reshape(places, (-1, count * patches))
        return ops.reshape(predicted, (-1, count * patches, targets.shape[-1])), places

    def _places(self, tokens: Any) -> tuple[Any, Any]:
        """Return the places of the context and of the targets."""
        places = self.masking(tokens)
        shapes = [tuple(one.shape) for one in keras.tree.flatten(places)]
        if [len(shape) for shape in shapes] != [2, 3]:
            raise ValueError(
                "`masking` must return the places of the context, (batch, patches), and of the "
                "targets, (batch, targets, patches), like `keras_ssl.layers.MultiBlockMasking`. "
                f"Received: shapes {shapes}"
            )
        return places

    @classmethod
    def encoder_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the vision transformer of a trainer that is made by its name."""
        return images.token_encoder(class_token=False, pooling="mean", positions="sincos")

    @classmethod
    def masking_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the masking of a trainer that is made by its name, for its encoder's grid."""
        return layers.MultiBlockMasking(grid_for(images))

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = serialize_parts(predictor=self.predictor, momentum=self.teacher.momentum)
        return {**super().get_config(), **parts}
