"""ContextEncoder: paint a hidden block of an image by reconstruction and an adversary."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks, distribute, losses
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import check_features, check_type
from keras_ssl.trainers.generative._image_networks import pixel_decoder, pixel_discriminator
from keras_ssl.trainers.generative._output_range import check_output_range
from keras_ssl.trainers.image_spec import ImageSpec
from keras_ssl.trainers.parts import serialize_parts
from keras_ssl.trainers.pretext._images import check_images
from keras_ssl.trainers.pretext._patch_task import cut_patches, integers_below
from keras_ssl.trainers.step import Batch, Update

OVERLAP_WEIGHT = 10.0


@keras.saving.register_keras_serializable(package="keras_ssl")
class ContextEncoder(SelfSupervisedModel):
    r"""ContextEncoder: inpainting of a hidden block by reconstruction and an adversary.

    A block x of an image is hidden: its pixels are replaced by the mean of the others. From the
    image with the hole, u, an encoder f and a decoder g make the block, and a discriminator D
    learns to tell such blocks from real ones. With the default objective,

        L_f,g = λ_rec |x - g(f(u))|² / pixels - λ_adv log D(g(f(u)))
        L_D   = - log D(x) - log(1 - D(g(f(u))))

    The reconstruction alone would give blurred means of what is likely; the adversary sees the
    block alone and not what is around it. In a training step the discriminator takes a gradient
    step, then encoder and decoder take one.

    Args:
        encoder: `keras.Model` or layer f that maps images to `(batch, features)`.
        decoder: layer g that maps features to blocks, `(batch, block height, block width,
            channels)`, on the scale of the data.
        discriminator: layer that maps blocks to `(batch, 1)`, or to several outputs per block,
            whose losses are averaged.
        block_size: height and width of the block, an integer or a pair. The paper has half of the
            image.
        random: whether the block lies at a random place, and not in the middle. The decoder
            makes the block, wherever it is.
        overlap: pixels by which the block reaches over the hole on each side, so that the decoder
            has to go on with what is around the hole. They count 10 times in the reconstruction.
            The paper has 7 in the middle of images of 128.
        loss: objective of the adversary, a `losses.GANLoss`. `None` means
            `losses.NonSaturatingGAN()`.
        reconstruction_weight: λ_rec, at least 0.
        adversary_weight: λ_adv, at least 0.
        augment: layer that makes one view of a batch. `None` leaves the images unchanged.
        seed: integer seed of the places of blocks.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: batch of images.
        training: whether the encoder runs in training mode.

    Input shape:
        `(batch, height, width, channels)`. Integers become floats of the same numbers: their scale
        is the decoder's.

    Output shape:
        `(batch, features)`, the output of the encoder for whole images.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if a number is out of range, or the overlap leaves no hole. Before the first
            step, if the block is not smaller than the images, the encoder does not return one
            vector per image or the decoder no block, or the decoder ends in a sigmoid or tanh and
            the data has other values.

    Example:

    >>> import keras, numpy as np, keras_ssl
    >>> images = np.random.default_rng(0).uniform(size=(8, 16, 16, 1)).astype("float32")
    >>> trainer = keras_ssl.trainers.ContextEncoder(
    ...     encoder=keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(16, "relu")]),
    ...     decoder=keras.Sequential(
    ...         [keras.layers.Dense(64, "sigmoid"), keras.layers.Reshape((8, 8, 1))]
    ...     ),
    ...     discriminator=keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(1)]),
    ...     block_size=8,
    ... )
    >>> trainer.compile({"generator": "adam", "discriminator": "adam"})
    >>> history = trainer.fit(images, batch_size=4, verbose=0)
    >>> sorted(history.history)
    ['adversary', 'discriminator', 'loss', 'reconstruction']
    >>> with_hole, filled = trainer.inpaint(images)
    >>> filled.shape, trainer(images).shape
    (TensorShape([8, 16, 16, 1]), TensorShape([8, 16]))

    Reference:
        - [Context Encoders: Feature Learning by Inpainting](https://arxiv.org/abs/1604.07379),
          Pathak et al., 2016
    """

    view_count = 1
    # the first is the one whose steps count, for schedules
    optimizer_names = ("generator", "discriminator")

    def __init__(
        self,
        encoder: keras.layers.Layer,
        decoder: keras.layers.Layer,
        discriminator: keras.layers.Layer,
        block_size: int | tuple[int, int],
        random: bool = False,
        overlap: int = 0,
        loss: losses.GANLoss | None = None,
        reconstruction_weight: float = 0.999,
        adversary_weight: float = 0.001,
        augment: keras.layers.Layer | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(encoder, augment, **kwargs)
        loss = losses.NonSaturatingGAN() if loss is None else loss
        check_type("encoder", encoder, keras.layers.Layer)
        check_type("decoder", decoder, keras.layers.Layer)
        check_type("discriminator", discriminator, keras.layers.Layer)
        if not isinstance(loss, losses.GANLoss):
            raise TypeError(
                "`loss` must be a `keras_ssl.losses.GANLoss`, such as `losses.HingeGAN()`. "
                f"Received: loss={loss!r}"
            )
        self.decoder = decoder
        self.discriminator = discriminator
        self.loss_function = loss
        self.block_size = checks.image_size("block_size", block_size)
        self.random = bool(random)
        self.overlap = checks.integer("overlap", overlap, minimum=0)
        if 2 * self.overlap >= min(self.block_size):
            raise ValueError(
                "`overlap` must leave a hole: expected less than half of `block_size`. Received: "
                f"overlap={overlap} and block_size={block_size}"
            )
        weight = checks.number("reconstruction_weight", reconstruction_weight, minimum=0)
        self.reconstruction_weight = weight
        self.adversary_weight = checks.number("adversary_weight", adversary_weight, minimum=0)
        self.seed = checks.integer("seed", seed, optional=True)
        self.seed_generator = keras.random.SeedGenerator(seed)

    def check_views(self, views: Any) -> None:
        """Raise unless there is one batch of images that are larger than the block."""
        height, width, _ = check_images(views)
        block_height, block_width = self.block_size
        if block_height >= height or block_width >= width:
            raise ValueError(
                "`block_size` must be smaller than the images, or nothing is left to see. "
                f"Received: block_size={self.block_size} and images of {height}x{width}"
            )

    def check_values(self, x: Any) -> None:
        """Raise a `ValueError` if the decoder cannot return values of the data."""
        check_output_range("decoder", self.decoder, x, self.augment)

    def check_representation(self, features: Any) -> None:
        """Raise unless the encoder returns one vector per image."""
        check_features(features)

    # Training

    def updates(self) -> list[Update]:
        """Return the gradient steps: of the discriminator, then of encoder and decoder."""
        return [
            Update(
                self.discriminator_losses,
                self.discriminator.trainable_weights,
                self.optimizers["discriminator"],
                embed=self.discriminate,
                losses_of=self.losses_of_discriminator,
            ),
            Update(
                self.generator_losses,
                [*self.encoder.trainable_weights, *self.decoder.trainable_weights],
                self.optimizers["generator"],
                embed=self.paint,
                losses_of=self.losses_of_generator,
            ),
        ]

    def discriminator_losses(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the discriminator's loss of a batch."""
        return self.losses_of_discriminator(self.discriminate(batch, training), training)

    def discriminate(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return what the discriminator says of true blocks and of those that are painted."""
        block, painted = self._blocks(batch.views, training)
        painted = ops.stop_gradient(painted)
        return {
            "real": self.discriminator(block, training=training),
            "fake": self.discriminator(painted, training=training),
        }

    def losses_of_discriminator(self, outputs: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the discriminator's part of the objective."""
        return {"discriminator": self.loss_function(outputs["real"], outputs["fake"])}

    def generator_losses(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the reconstruction of a batch, and the generator's part of the objective."""
        return self.losses_of_generator(self.paint(batch, training), training)

    def paint(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the error of each painted block, and what the discriminator says of it."""
        block, painted = self._blocks(batch.views, training)
        error = ops.square(ops.cast(painted, "float32") - block) * self._pixel_weights()
        return {
            "error": ops.mean(error, axis=(1, 2, 3)),
            "fake": self.discriminator(painted, training=training),
        }

    def losses_of_generator(self, outputs: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the reconstruction, and the generator's part of the objective."""
        return {
            "reconstruction": outputs["error"],
            "adversary": self.loss_function.generator(outputs["fake"]),
        }

    def loss_weight(self, name: str) -> Any:
        """Return the factor of a named loss in the total loss, which holds λ."""
        own = {
            "reconstruction": self.reconstruction_weight,
            "adversary": self.adversary_weight,
        }
        return own.get(name, 1.0) * super().loss_weight(name)

    def _blocks(self, images: Any, training: bool) -> tuple[Any, Any]:
        """Return the hidden blocks of images, and what is painted in their place."""
        images = ops.cast(images, "float32")
        rows, columns = self._places(images)
        block = cut_patches(images, rows[:, None], columns[:, None], self.block_size)[:, 0]
        return block, self._paint(self._with_hole(images, rows, columns), training)

    def _paint(self, with_hole: Any, training: bool) -> Any:
        h = self.encoder(with_hole, training=training)
        check_features(h)
        painted = self.decoder(h, training=training)
        expected = (*self.block_size, with_hole.shape[-1])
        found = tuple(getattr(painted, "shape", ()))[1:]
        if found != expected:
            raise ValueError(
                "`decoder` must return blocks of `block_size` with the channels of the images, "
                f"(batch, {', '.join(map(str, expected))}). Received: shape {(None, *found)}"
            )
        return painted

    def _places(self, images: Any) -> tuple[Any, Any]:
        """Return the first row and column of the block of each image, int32 `(batch,)`."""
        count = ops.shape(images)[0]
        room = [images.shape[1 + axis] - self.block_size[axis] for axis in (0, 1)]
        if not self.random:
            return tuple(ops.full((count,), one // 2, dtype="int32") for one in room)
        uniforms = distribute.draw_per_example(
            lambda n: keras.random.uniform((n, 2), dtype="float32", seed=self.seed_generator), count
        )
        return tuple(integers_below(one + 1, uniforms[:, axis]) for axis, one in enumerate(room))

    def _with_hole(self, images: Any, rows: Any, columns: Any) -> Any:
        """Replace the block, without its overlap, by the mean of the pixels that stay."""
        is_hidden = self._is_within(images, rows, columns, self.overlap)
        seen = ops.cast(ops.logical_not(is_hidden), "float32")
        mean = ops.sum(images * seen, axis=(1, 2), keepdims=True)
        mean = mean / ops.sum(seen, axis=(1, 2), keepdims=True)
        return ops.where(is_hidden, mean, images)

    def _is_within(self, images: Any, rows: Any, columns: Any, margin: int) -> Any:
        """Return which pixels lie in the block, `margin` away from its sides."""
        within = []
        for axis, start in enumerate((rows, columns)):
            place = ops.arange(images.shape[1 + axis], dtype="int32") - start[:, None]
            inner = ops.logical_and(place >= margin, place < self.block_size[axis] - margin)
            within.append(inner)
        return ops.logical_and(within[0][:, :, None, None], within[1][:, None, :, None])

    def _pixel_weights(self) -> np.ndarray:
        """The weights of the block's pixels: more of those that overlap what is seen."""
        weights = np.full((*self.block_size, 1), OVERLAP_WEIGHT, "float32")
        weights[tuple(slice(self.overlap, side - self.overlap) for side in self.block_size)] = 1.0
        return weights

    # Use

    def inpaint(self, images: Any) -> tuple[Any, Any]:
        """Hide a block of each image and paint it.

        Args:
            images: `(batch, height, width, channels)`.

        Returns:
            The images with the hole, as the encoder sees them, and with the hole painted. Both are
            float32 and have the shape and the scale of `images`.
        """
        images = ops.cast(images, "float32")
        rows, columns = self._places(images)
        with_hole = self._with_hole(images, rows, columns)
        painted = ops.cast(self._paint(with_hole, training=False), "float32")
        is_hidden = self._is_within(images, rows, columns, self.overlap)
        # each pixel of an image takes the pixel of the block that lies there
        places = []
        for axis, start in enumerate((rows, columns)):
            place = ops.arange(images.shape[1 + axis], dtype="int32") - start[:, None]
            places.append(ops.one_hot(place, self.block_size[axis], dtype="float32"))
        whole = ops.einsum("bhi,bwj,bijc->bhwc", *places, painted)
        return with_hole, ops.where(is_hidden, whole, images)

    @classmethod
    def augment_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the view of images that a trainer made by its name sees: a crop and a flip."""
        return images.crop()

    @classmethod
    def block_size_for(cls, images: ImageSpec) -> int:
        """Return the side of the block of a trainer that is made by its name: half of the image."""
        return images.size // 2

    @classmethod
    def decoder_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the decoder of a trainer that is made by its name: to the pixels of a block."""
        return pixel_decoder(_block_shape(images), features=images.features())

    @classmethod
    def discriminator_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the discriminator of a trainer that is made by its name: of blocks."""
        return pixel_discriminator(_block_shape(images))

    @classmethod
    def reconstruction_weight_for(cls, images: ImageSpec) -> float:
        """Return the weight of errors of pixels up to 255, which the paper has up to 1."""
        return 0.999 / 255**2

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        parts = {
            "decoder": self.decoder,
            "discriminator": self.discriminator,
            "loss": self.loss_function,
        }
        return {
            **super().get_config(),
            **serialize_parts(**parts),
            "block_size": self.block_size,
            "random": self.random,
            "overlap": self.overlap,
            "reconstruction_weight": self.reconstruction_weight,
            "adversary_weight": self.adversary_weight,
            "seed": self.seed,
        }


def _block_shape(images: ImageSpec) -> tuple[int, int, int]:
    height, width = checks.image_size("block_size", images.part("block_size"))
    return height, width, images.channels
