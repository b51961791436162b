"""RelativePatchPosition: tell on which side of a patch another one lies."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import augment as augmentation
from keras_ssl import checks
from keras_ssl.trainers.pretext._patch_task import PatchTask, integers_below

# rows and columns from the central patch to its neighbours, row by row
NEIGHBORS = np.array(
    [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if (row, column) != (0, 0)],
    "int32",
)


@keras.saving.register_keras_serializable(package="keras_ssl")
class RelativePatchPosition(PatchTask):
    r"""RelativePatchPosition: predict on which of eight sides of a patch another one lies.

    From each image a patch a is cut at a random place, and one of its eight neighbours b in a grid
    of 3x3 patches. The encoder f sees each patch alone; a head g gets the features of both, and a
    softmax finds the neighbour's place k:

        L = - log p(k | a, b),    p(· | a, b) = softmax(W g([f(a), f(b)]) + c)

    To know that one patch belongs above the other, the encoder must know what they show. Four
    things keep the network from finding the place without that:

    - a gap between the patches, so that lines and edges do not go on from one to the other;
    - jitter of the neighbour's place by a few pixels, for the same reason;
    - normalisation: each channel of a patch is brought to the mean and the standard deviation of
      the whole image, so that brightness, which falls from the middle or from the top, is not seen;
    - colour dropping: one random channel of a patch is kept, since the coloured fringes of a lens
      tell how far a patch is from the middle.

    Args:
        encoder: `keras.Model` or layer f that maps images of any size, patches as well as whole
            images, to `(batch, features)`.
        patch_size: height and width of a patch, an integer or a pair. The paper has 96.
        gap: pixels between patches. `None` means half of the smaller side of a patch, as in the
            paper.
        jitter: by how many pixels up or down, and left or right, the neighbour is moved at most.
            `None` means a seventh of the gap, as in the paper.
        augment: layer that makes one view of a batch of images, before patches are cut. `None`
            leaves the images unchanged. It should not turn or mirror images at random.
        patch_augment: layer that changes each patch. `None` means
            `keras_ssl.augment.RandomColorDrop()`, which does not change grey images;
            `keras.layers.Identity()` changes nothing.
        head: layer g. `None` means `keras.layers.Dense(4096, "relu")`, as in the paper.
        normalize: whether patches are brought to the mean and deviation of their image.
        seed: integer seed of the places.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: batch of images.
        training: whether the encoder runs in training mode.

    Input shape:
        `(batch, height, width, channels)`, integer or floating-point. Each side must be at least
        three patches, two gaps and twice the jitter long.

    Output shape:
        `(batch, features)`: what the encoder returns for whole images.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if a number is out of range, or the jitter is larger than the gap, so that
            patches might overlap. Before the first step, if images are too small, or the encoder
            takes images of one size only or does not return one vector for each.

    Example:

    >>> import keras
    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.RelativePatchPosition(
    ...     encoder=keras_ssl.networks.small_resnet((None, None, 1), width=8),
    ...     patch_size=7,
    ...     gap=2,
    ...     jitter=1,
    ...     head=keras.layers.Dense(32, "relu"),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> trainer.encoder(images).shape
    TensorShape([16, 32])

    Reference:
        - [Unsupervised Visual Representation Learning by Context Prediction](
          https://arxiv.org/abs/1505.05192), Doersch et al., 2015
    """

    loss_name = "position"
    uniforms_per_image = 5  # neighbour; row and column of the centre; jitter of row and column

    def __init__(
        self,
        encoder: keras.layers.Layer,
        patch_size: int | tuple[int, int],
        gap: int | None = None,
        jitter: int | None = None,
        augment: keras.layers.Layer | None = None,
        patch_augment: keras.layers.Layer | None = None,
        head: keras.layers.Layer | None = None,
        normalize: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ):
        if patch_augment is None:
            patch_augment = augmentation.RandomColorDrop(seed=seed)
        places = len(NEIGHBORS)
        parts = (augment, patch_augment, head)
        super().__init__(encoder, patch_size, places, *parts, normalize, seed, **kwargs)
        half = min(self.patch_size) // 2
        self.gap = half if gap is None else checks.integer("gap", gap, minimum=0)
        seventh = round(self.gap / 7)
        self.jitter = seventh if jitter is None else checks.integer("jitter", jitter, minimum=0)
        if self.jitter > self.gap:
            raise ValueError(
                "`jitter` must not be larger than `gap`, or patches might overlap and be matched "
                f"by the pixels that they share. Received: jitter={jitter} and gap={self.gap}"
            )

    def check_size(self, height: int, width: int) -> None:
        """Raise unless all eight neighbours fit into an image."""
        least = [3 * side + 2 * (self.gap + self.jitter) for side in self.patch_size]
        if height < least[0] or width < least[1]:
            raise ValueError(
                f"Images must be at least {least[0]}x{least[1]}, which 3x3 patches of "
                f"{self.patch_size[0]}x{self.patch_size[1]} with gap={self.gap} and "
                f"jitter={self.jitter} take: resize them, or choose a smaller `patch_size`. "
                f"Received: images of {height}x{width}"
            )

    def places(self, uniforms: Any, height: int, width: int) -> tuple[Any, Any, Any]:
        """Draw the central patch among all places that have eight neighbours, and one of them."""
        neighbor = integers_below(len(NEIGHBORS), uniforms[:, 0])
        sides = []
        for axis, length in enumerate((height, width)):
            step = self.patch_size[axis] + self.gap
            margin = step + self.jitter
            room = length - self.patch_size[axis] - 2 * margin + 1
            # the centre is where it might be whatever the neighbour, and tells nothing about it
            center = margin + integers_below(room, uniforms[:, 1 + axis])
            jitter = integers_below(2 * self.jitter + 1, uniforms[:, 3 + axis]) - self.jitter
            side = ops.take(ops.convert_to_tensor(NEIGHBORS[:, axis]), neighbor, axis=0)
            sides.append(ops.stack([center, center + step * side + jitter], axis=1))
        return *sides, neighbor

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return {**super().get_config(), "gap": self.gap, "jitter": self.jitter}
