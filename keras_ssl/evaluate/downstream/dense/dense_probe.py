"""A linear segmentation of frozen feature maps."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import keras
import numpy as np

from keras_ssl import checks
from keras_ssl.evaluate._batches import Batches, ShuffledArrays, as_batches
from keras_ssl.evaluate._forward import Forward, check_features, forward_function
from keras_ssl.evaluate._tokens import PatchTokens, mean_and_scale
from keras_ssl.evaluate.features import extract_features
from keras_ssl.evaluate.random_encoder import seeded
from keras_ssl.networks import TokenEncoder


class DenseProbeResult(NamedTuple):
    """How well a linear head on feature maps finds the class of each pixel.

    Attributes:
        mean_iou: mean of `iou` over the classes that it has.
        iou: array `(classes,)`, the intersection over union of each class on the test set, NaN of a
            class that is neither there nor predicted.
        pixel_accuracy: share of the pixels whose class is found.
        head: `keras.Model` from feature maps to logits `(batch, height, width, classes)`; an
            encoder that returns maps and the head are a model of segmentation.
    """

    mean_iou: float
    iou: np.ndarray
    pixel_accuracy: float
    head: keras.Model


def dense_probe(
    encoder: keras.layers.Layer | Callable,
    train: Any,
    test: Any,
    classes: int | None = None,
    grid: tuple[int, int] | None = None,
    ignore: Iterable[int] = (-1, 255),
    epochs: int = 20,
    optimizer: keras.optimizers.Optimizer | None = None,
    batch_size: int = 32,
    seed: int = 0,
    verbose: int = 0,
) -> DenseProbeResult:
    r"""Measure what frozen feature maps know of each pixel, by a linear classifier of positions.

    The features $f_{ij}$ of each position, standardised to mean 0 and variance 1 over the training
    set, get logits $W f_{ij} + b$, a convolution of 1x1. Logits are resized to the masks bilinearly
    and trained with the cross-entropy of each pixel. On the test set, with $T_c$ the pixels of
    class c and $P_c$ those where it is predicted, the mean is taken over classes of

    $$\mathrm{IoU}_c = \frac{\lvert T_c \cap P_c \rvert}{\lvert T_c \cup P_c \rvert}$$

    Pixels that are ignored count nowhere. The encoder is not trained, and no augmentation is
    applied. Each image goes through the encoder once; the maps are kept in memory, 4 bytes for each
    number.

    Args:
        encoder: a `keras.Model` or Keras layer, or any function of a batch, that returns feature
            maps `(batch, rows, columns, width)`, or tokens `(batch, tokens, width)` in the order of
            rows, without a class token. Of a `networks.TokenEncoder`, such as `networks.vit`, the
            tokens of the patches are used, whatever it returns by itself. For precomputed maps,
            pass `keras.layers.Identity()` and the maps in place of the images.
        train: images and masks: a batched `tf.data.Dataset` or `keras.utils.PyDataset`, or a
            tuple of arrays. Masks are integers `(batch, height, width)` or
            `(batch, height, width, 1)`, all of one size, which need not be that of the images.
        test: images and masks in the same form and with masks of the same size.
        classes: number of classes. `None` means the largest in the masks of `train` plus 1.
        grid: rows and columns of tokens. `None` means that of the `TokenEncoder`, or a square.
        ignore: values of masks that mean no class.
        epochs: passes over the training maps.
        optimizer: a Keras optimizer, which cannot be used again. `None` means `Adam` with a
            learning rate that falls from 0.01 to 0 along half a cosine.
        batch_size: images per batch in training, and for the encoder if the data is arrays.
        seed: seed of the initial weights and of the order of the images. The caller's random state
            is neither used nor changed.
        verbose: as in `keras.Model.fit`.

    Returns:
        A `keras_ssl.evaluate.DenseProbeResult`: `(mean_iou, iou, pixel_accuracy, head)`.

    Raises:
        TypeError: if masks are no integers.
        ValueError: if data is empty, infinite, not batched or without masks, masks are of several
            sizes or have a value that is no class, there is only one class, or nothing that counts,
            `encoder` does not return maps or tokens in a grid, features are not finite, or an
            argument is out of range.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl import evaluate
    >>> masks = np.random.default_rng(0).integers(2, size=(32, 4, 4))
    >>> maps = masks[..., None] + np.zeros(3, "float32")  # features that tell the class
    >>> result = evaluate.dense_probe(keras.layers.Identity(), (maps, masks), (maps, masks))
    >>> result.mean_iou, result.iou.tolist()
    (1.0, [1.0, 1.0])

    Reference:
        - [Everingham et al., The PASCAL Visual Object Classes Challenge](
          https://doi.org/10.1007/s11263-014-0733-5): intersection over union
        - [Oquab et al., DINOv2](https://arxiv.org/abs/2304.07193), section 7.4: the linear head
    """
    epochs = checks.integer("epochs", epochs, minimum=1)
    classes = checks.integer("classes", classes, minimum=2, optional=True)
    grid = None if grid is None else checks.image_size("grid", grid)
    ignore = [checks.integer("ignore", value) for value in ignore]
    read = _MaskReader(ignore)
    train = as_batches(train, "train", batch_size, labelled=read)
    test = as_batches(test, "test", batch_size, labelled=read)
    if isinstance(encoder, TokenEncoder):
        grid = encoder.grid(tuple(train.first()[0].shape)) if grid is None else grid
        encoder = PatchTokens(encoder)
    forward = forward_function(encoder)
    shape = _grid_shape(forward, train, grid)
    train_maps, train_masks = _maps(forward, train, shape, verbose)
    test_maps, test_masks = _maps(forward, test, shape, verbose)
    classes = _check_classes(train_masks, test_masks, classes)
    with seeded(seed):
        head = _head(train_maps, train_masks.shape[1:], classes)
        if optimizer is None:
            steps = epochs * -(-len(train_maps) // batch_size)
            optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.01, steps))
        head.compile(
            optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=-1)
        )
        pairs = ShuffledArrays((train_maps, train_masks), batch_size, seed)
        head.fit(pairs, epochs=epochs, verbose=verbose)
    counts = _confusion(head, test_maps, test_masks, classes, batch_size)
    right = np.diagonal(counts)
    union = counts.sum(axis=0) + counts.sum(axis=1) - right
    iou = np.where(union > 0, right / np.maximum(union, 1), np.nan)
    return DenseProbeResult(float(np.nanmean(iou)), iou, float(right.sum() / counts.sum()), head)


class _MaskReader:
    """Checks masks, which must have one size, and sets what is ignored to -1."""

    def __init__(self, ignore: list[int]):
        self._ignore = ignore
        self._size: tuple | None = None

    def __call__(self, masks: Any, name: str) -> np.ndarray:
        masks = np.asarray(masks)
        if masks.dtype.kind not in "iub":
            raise TypeError(
                f"The masks in `{name}` must be integers, the class of each pixel. "
                f"Received: dtype {masks.dtype}"
            )
        if masks.ndim == 4 and masks.shape[-1] == 1:
            masks = masks[..., 0]
        if masks.ndim != 3:
            raise ValueError(
                f"The masks in `{name}` must have shape (batch, height, width). For one-hot masks, "
                f"pass `argmax(masks, axis=-1)`. Received: shape {masks.shape}"
            )
        self._size = masks.shape[1:] if self._size is None else self._size
        if masks.shape[1:] != self._size:
            raise ValueError(
                "The masks in `train` and `test` must all have one size. "
                f"Received: {self._size} and, in `{name}`, {masks.shape[1:]}"
            )
        masks = masks.astype("int32")
        masks[np.isin(masks, self._ignore)] = -1
        return masks


def _grid_shape(forward: Forward, batches: Batches, grid: Any) -> tuple[int, int, int]:
    """Return rows, columns and width of the feature maps; raise if there are none."""
    forward(batches.first()[0])
    shape = forward.shape
    if len(shape) == 3 and None not in shape:
        return shape
    if len(shape) != 2 or None in shape:
        raise ValueError(
            "`encoder` must return feature maps (batch, rows, columns, width) or tokens "
            "(batch, tokens, width), such as a network before its pooling. "
            f"Received: an output of shape {(None, *shape)}"
        )
    tokens, width = shape
    side = round(tokens**0.5)
    rows, columns = (side, side) if grid is None else grid
    if rows * columns != tokens:
        raise ValueError(
            "`grid` must be the rows and columns of the tokens, and a class token left out. "
            f"Received: grid={grid} and {tokens} tokens"
        )
    return rows, columns, width


def _maps(
    forward: Forward, batches: Batches, shape: tuple[int, int, int], verbose: int
) -> tuple[np.ndarray, np.ndarray]:
    features, masks = extract_features(forward, batches, verbose=verbose)
    return check_features(features, batches.name).reshape(len(features), *shape), masks


def _check_classes(train: np.ndarray, test: np.ndarray, classes: int | None) -> int:
    for name, masks in (("train", train), ("test", test)):
        found = np.setdiff1d(masks, [-1])
        if not len(found) or (name == "train" and len(found) < 2):
            raise ValueError(
                f"The masks in `{name}` must hold pixels of {'two' if name == 'train' else 'the'} "
                f"classes that are not ignored. Received: the classes {found.tolist()}"
            )
        classes = int(found[-1]) + 1 if classes is None else classes
        if found[0] < 0 or found[-1] >= classes:
            raise ValueError(
                f"The masks in `{name}` must hold classes from 0 to {classes - 1}, or values in "
                f"`ignore`. Received: values from {found[0]} to {found[-1]}"
            )
    return classes


def _head(maps: np.ndarray, size: tuple[int, int], classes: int) -> keras.Model:
    rows, columns, width = maps.shape[1:]
    mean, scale = mean_and_scale(maps.reshape(len(maps), -1, width))
    return keras.Sequential(
        [
            keras.Input((rows, columns, width), dtype="float32"),
            keras.layers.Normalization(mean=mean, variance=scale**2, dtype="float32"),
            keras.layers.Conv2D(classes, 1, kernel_initializer="zeros", dtype="float32"),
            keras.layers.Resizing(*size, data_format="channels_last", dtype="float32"),
        ],
        name="dense_probe",
    )


def _confusion(
    head: keras.Model, maps: np.ndarray, masks: np.ndarray, classes: int, batch_size: int
) -> np.ndarray:
    """Return how many pixels of each class, in rows, are predicted as each class."""
    from sklearn.metrics import confusion_matrix

    counts = np.zeros((classes, classes), "int64")
    for start in range(0, len(maps), batch_size):
        rows = slice(start, start + batch_size)
        predicted = np.argmax(keras.ops.convert_to_numpy(head(maps[rows])), axis=-1)
        known = masks[rows] >= 0
        if known.any():
            counts += confusion_matrix(
                masks[rows][known], predicted[known], labels=np.arange(classes)
            )
    return counts
