"""JigsawPuzzle: tell in which order nine patches of an image are shown."""

from functools import cache
from itertools import permutations as all_permutations
from math import factorial
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.trainers.image_spec import ImageSpec
from keras_ssl.trainers.pretext._patch_task import PatchTask, integers_below

GRID = 3
PATCHES = GRID * GRID


@keras.saving.register_keras_serializable(package="keras_ssl")
class JigsawPuzzle(PatchTask):
    r"""JigsawPuzzle: classify in which order nine shuffled patches of an image are shown.

    An image is divided into 3x3 cells, and a patch x_i is cut from each at a random place. The
    patches are shuffled by one of K permutations σ. The encoder f sees each patch alone, as a
    siamese network; a head g gets the features of all nine in their new order, and a softmax finds
    the permutation:

        L = - log p(k),    p = softmax(W g([f(x_σ_k(1)), ..., f(x_σ_k(9))]) + c)

    To put a patch where it belongs, the encoder must know which part of an object it shows. The
    permutations differ in as many places as possible, so that no single patch gives the answer;
    see `permutations`. Two things keep the network from solving the puzzle by the edges of patches
    and by their brightness: random gaps between patches, which are smaller than their cells, and
    normalisation, which brings each channel of a patch to the mean and the standard deviation of
    the whole image.

    Args:
        encoder: `keras.Model` or layer f that maps images of any size, patches as well as whole
            images, to `(batch, features)`.
        patch_size: height and width of a patch, an integer or a pair. The paper has 64, in cells
            of 75. It must be smaller than a third of the images.
        permutation_count: K, how many permutations there are, from 2 to 362,880. More are harder
            to tell apart.
        augment: layer that makes one view of a batch of images, before patches are cut. `None`
            leaves the images unchanged. The paper crops images at random.
        patch_augment: layer that changes each patch, such as `keras_ssl.augment.RandomColorDrop()`
            or `keras_ssl.augment.ColorJitter(...)`, against the coloured fringes of lenses. `None`
            changes nothing.
        head: layer g. `None` means `keras.layers.Dense(4096, "relu")`, as in the paper.
        normalize: whether patches are brought to the mean and deviation of their image.
        seed: integer seed of places and permutations. `None` takes the permutations of seed 0.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: batch of images.
        training: whether the encoder runs in training mode.

    Input shape:
        `(batch, height, width, channels)`, integer or floating-point.

    Output shape:
        `(batch, features)`: what the encoder returns for whole images.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if a number is out of range. Before the first step, if images have no room for
            nine patches with gaps, or the encoder takes images of one size only or does not return
            one vector for each.

    Example:

    >>> import keras
    >>> import keras_ssl
    >>> images, _ = next(iter(keras_ssl.data.load_images("fashion_mnist_mini", "train").batch(16)))
    >>> trainer = keras_ssl.trainers.JigsawPuzzle(
    ...     encoder=keras_ssl.networks.small_resnet((None, None, 1), width=8),
    ...     patch_size=7,
    ...     permutation_count=20,
    ...     head=keras.layers.Dense(32, "relu"),
    ... )
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=8, verbose=0)
    >>> trainer.encoder(images).shape, trainer.permutations.shape
    (TensorShape([16, 32]), (20, 9))

    Reference:
        - [Unsupervised Learning of Visual Representations by Solving Jigsaw Puzzles](
          https://arxiv.org/abs/1603.09246), Noroozi and Favaro, 2016
    """

    loss_name = "permutation"
    uniforms_per_image = 1 + 2 * PATCHES  # the permutation; rows and columns within the cells

    def __init__(
        self,
        encoder: keras.layers.Layer,
        patch_size: int | tuple[int, int],
        permutation_count: int = 100,
        augment: keras.layers.Layer | None = None,
        patch_augment: keras.layers.Layer | None = None,
        head: keras.layers.Layer | None = None,
        normalize: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ):
        count = checks.integer("permutation_count", permutation_count, minimum=2)
        if count > factorial(PATCHES):
            raise ValueError(
                f"`permutation_count` must be at most {factorial(PATCHES)}, the number of orders "
                f"of nine patches. Received: permutation_count={count}"
            )
        if patch_augment is None:
            patch_augment = keras.layers.Identity(dtype="float32")
        parts = (augment, patch_augment, head)
        super().__init__(encoder, patch_size, count, *parts, normalize, seed, **kwargs)
        self.permutation_count = count
        self._permutations = _distant_permutations(count, self.seed or 0)

    @property
    def permutations(self) -> np.ndarray:
        """The orders of patches, integers `(permutation_count, 9)`, each row one of 0 to 8.

        The cells of an image are counted row by row. The set is built one by one, as in the paper:
        the first is drawn, and each further one has the largest mean Hamming distance from all that
        are chosen, the number of places in which two permutations differ. Of several such, the
        first in a random order of all 362,880 is taken, which the seed alone decides. The first
        nine differ from each other in all nine places.
        """
        return self._permutations.copy()

    def check_size(self, height: int, width: int) -> None:
        """Raise unless nine patches with gaps between them fit into an image."""
        least = [GRID * (side + 1) for side in self.patch_size]
        if height < least[0] or width < least[1]:
            raise ValueError(
                f"Images must have room for nine patches with gaps, 3x3 cells that are larger than "
                f"`patch_size`, at least {least[0]}x{least[1]}: resize them, or choose a smaller "
                f"`patch_size`. Received: patch_size={self.patch_size} and images of "
                f"{height}x{width}"
            )

    def places(self, uniforms: Any, height: int, width: int) -> tuple[Any, Any, Any]:
        """Draw a permutation, and the place of each patch within its cell."""
        number = integers_below(self.permutation_count, uniforms[:, 0])
        order = ops.take(ops.convert_to_tensor(self._permutations, "int32"), number, axis=0)
        cells = (order // GRID, order % GRID)
        sides = []
        for axis, length in enumerate((height, width)):
            cell = length // GRID
            of_axis = uniforms[:, 1 + axis * PATCHES : 1 + (axis + 1) * PATCHES]
            within = integers_below(cell - self.patch_size[axis] + 1, of_axis)
            sides.append(cells[axis] * cell + within)
        return *sides, number

    @classmethod
    def patch_size_for(cls, images: ImageSpec) -> int:
        """Return the side of the patches of a trainer that is made by its name."""
        # as in the paper; in small images gaps of fewer pixels than these give the places away
        return max(1, min(images.size * 64 // 225, images.size // GRID - 4))

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return {**super().get_config(), "permutation_count": self.permutation_count}


@cache
def _distant_permutations(count: int, seed: int) -> np.ndarray:
    """Return permutations of 0 to 8 that differ in many places, int32 `(count, 9)`."""
    # the raw numbers of a bit generator are the same in every version of NumPy, so a saved trainer
    # finds its permutations again
    keys = np.random.PCG64(seed).random_raw(factorial(PATCHES))
    orders = np.array(list(all_permutations(range(PATCHES))), "uint8")[np.argsort(keys)]
    columns = np.ascontiguousarray(orders.T)
    distance = np.zeros(len(orders), "int32")  # the sum of the distances from those chosen
    chosen = [0]
    for _ in range(count - 1):
        for column in columns:
            distance += column != column[chosen[-1]]
        distance[chosen[-1]] = np.iinfo("int32").min // 2  # not again
        chosen.append(int(np.argmax(distance)))
    return orders[chosen].astype("int32")
