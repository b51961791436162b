"""data2vec: predict a momentum teacher's representation of hidden patches."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.ops import at_least_float32
from keras_ssl.trainers._hidden_patches import take_tokens
from keras_ssl.trainers._linear_to_targets import LinearToTargets
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.image_spec import ImageSpec
from keras_ssl.trainers.masked._masked_model import (
    MaskedModel,
    block_masking_for,
    check_inference_mode,
    layer_normalized,
    mask_token,
    smooth_l1,
)
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.step import Batch
from keras_ssl.trainers.teacher import EMATeacher


@keras.saving.register_keras_serializable(package="keras_ssl")
class Data2Vec(MaskedModel):
    r"""data2vec for images: the student predicts what the teacher makes of hidden patches.

    A learned mask token takes the place of the hidden patches, and the student sees all tokens. The
    teacher, whose weights are a moving average of the student's, sees the whole image. From the
    student's output at each hidden patch, a linear map predicts the mean of what the teacher's last
    K blocks return there:

        y = norm(1/K Σ_k norm(block_k(teacher, image))),  z = W student(image, some of it hidden)
        L = mean over hidden patches and features of smooth_l1(z - y)

    where norm subtracts the mean over features and divides by the standard deviation, and

        smooth_l1(d) = d² / (2 β) if |d| < β else |d| - β / 2

    The teacher runs in inference mode, without dropout or stochastic depth, as in the published
    code.

    Args:
        encoder: `networks.TokenEncoder` that returns `"blocks"`, such as
            `networks.vit(..., pooling="mean")`: only the outputs of patches are trained, so their
            mean should be the features.
        masking: layer that chooses the hidden patches, `True` in booleans `(batch, patches)`, whose
            method `count(patches)` says how many they are. The paper uses
            `keras_ssl.layers.BlockMasking(grid, 0.6)`, with the encoder's grid.
        head: layer between the student's outputs at hidden patches, `(batch, hidden patches,
            features)`, and the linear map. `None` means none, as in the paper.
        augment: layer that makes one view of a batch, which student and teacher see. `None` leaves
            the images unchanged. The paper uses random crops, flips and color jitter.
        target_blocks: K, the number of the teacher's last blocks whose outputs are averaged.
        beta: β of the smooth absolute error.
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
        TypeError: if an argument has the wrong type.
        ValueError: if `beta` is not positive, `momentum` is outside [0, 1), `target_blocks` is
            below 1, or the encoder has batch normalization; before the first step, if images are
            not divisible by patches, no patch would be hidden or left, or the encoder returns
            fewer blocks.

    Example:

    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.Data2Vec(
    ...     encoder=keras_ssl.networks.vit((32, 2, 4), (28, 28, 1), patch_size=4),
    ...     masking=keras_ssl.layers.BlockMasking((7, 7), ratio=0.6, min_tokens=4),
    ...     target_blocks=2,
    ...     momentum=keras_ssl.optimizers.cosine_momentum(0.9, steps=2),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> trainer.encoder(images).shape
    TensorShape([16, 32])

    Reference:
        - [data2vec: A General Framework for Self-supervised Learning in Speech, Vision and
          Language](https://arxiv.org/abs/2202.03555), Baevski et al., 2022
    """

    def __init__(
        self,
        encoder: keras.layers.Layer,
        masking: keras.layers.Layer,
        head: keras.layers.Layer | None = None,
        augment: keras.layers.Layer | None = None,
        target_blocks: int = 6,
        beta: float = 2.0,
        momentum: float | keras.optimizers.schedules.LearningRateSchedule = 0.9998,
        **kwargs: Any,
    ):
        super().__init__(encoder, masking, augment, **kwargs)
        check_inference_mode(self.encoder)
        if head is not None:
            check_type("head", head, keras.layers.Layer)
        self.head = head
        self.target_blocks = checks.integer("target_blocks", target_blocks, minimum=1)
        self.beta = checks.positive("beta", beta)
        self.mask_token = mask_token()
        self.to_targets = LinearToTargets(name="to_targets")
        self.teacher = EMATeacher(self, ["encoder"], momentum)

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the error of each hidden patch, `(batch, hidden patches)`."""
        targets = self.targets(batch.views)
        predicted, hidden = self._predict(batch.views, targets, training)
        return {"regression": smooth_l1(predicted, take_tokens(targets, hidden), self.beta)}

    def targets(self, images: Any) -> Any:
        """Return the teacher's representation of all patches, `(batch, patches, width)`.

        Args:
            images: `(batch, height, width, channels)`.
        """
        teacher, grid = self.teacher_encoder, self.encoder.grid(images.shape)
        outputs = teacher.encode(teacher.embed(images), grid, training=False)
        blocks = outputs.get("blocks")
        if blocks is None or len(blocks) < self.target_blocks:
            raise ValueError(
                "`encoder.encode` must return the outputs of at least `target_blocks` blocks as "
                f'"blocks". Received: target_blocks={self.target_blocks}, and '
                + (f"outputs {sorted(outputs)}" if blocks is None else f"{len(blocks)} blocks")
            )
        patches = [
            layer_normalized(at_least_float32(block[:, teacher.extra_tokens :]))
            for block in blocks[-self.target_blocks :]
        ]
        return ops.stop_gradient(layer_normalized(sum(patches) / len(patches)))

    def predict_hidden(self, images: Any, training: bool = False) -> tuple[Any, Any]:
        """Hide patches of images and predict the teacher's representation of them.

        Args:
            images: `(batch, height, width, channels)`.
            training: whether the student runs in training mode.

        Returns:
            The predictions, `(batch, hidden patches, width)`, and the numbers of the hidden
            patches, int32 `(batch, hidden patches)`.
        """
        return self._predict(images, self.targets(images), training)

    def _predict(self, images: Any, targets: Any, training: bool) -> tuple[Any, Any]:
        outputs, hidden = self.encode_with_mask_tokens(images, self.mask_token, training)
        outputs = take_tokens(outputs["patch_tokens"], hidden)
        if self.head is not None:
            outputs = self.head(outputs, training=training)
        return self.to_targets(outputs, targets), hidden

    @classmethod
    def masking_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the masking of a trainer that is made by its name, for its encoder's grid."""
        return block_masking_for(images, ratio=0.6)

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return {
            **super().get_config(),
            **serialize_parts(head=self.head, momentum=self.teacher.momentum),
            "target_blocks": self.target_blocks,
            "beta": self.beta,
        }
