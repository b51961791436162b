"""Images of a folder of files, as batches of one size."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_ssl import checks
from keras_ssl.data._autotuning import without_autotuning
from keras_ssl.data._row_batches import batched, in_order

if TYPE_CHECKING:
    import tensorflow as tf
    from PIL import Image

_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
_FORMATS = ("BMP", "GIF", "JPEG", "PNG")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}
# bytes of images that are kept in memory unless `cache` says otherwise
_MEMORY = 2 * 1024**3
# skipped files that a warning names
_NAMED = 5


def image_folder(
    path: str | PathLike[str],
    image_size: int | tuple[int, int] = 224,
    channels: int = 3,
    labels: bool = False,
    cache: bool | None = None,
) -> ImageFolder:
    """Read a folder of JPEG, PNG, BMP and GIF files as images of one size.

    The folder is searched with all its subfolders, in alphabetical order. Images may have any size
    and any number of channels. Each is turned as its EXIF data say, resized with its aspect ratio
    kept until it covers `image_size`, bilinearly and antialiased, and cropped to its centre. Large
    JPEGs are decoded at 1/2, 1/4 or 1/8 of their size where that leaves at least twice
    `image_size`. Of 16 bits per channel the upper 8 are kept, of an animated GIF the first frame.
    With 1 or 3 channels, transparent pixels lie on white.

    All files are read once, by this call, in parallel. Those that cannot be read are left out, with
    one warning, so the number of images is known before training.

    Args:
        path: the folder. Names that begin with a dot and files with other suffixes than `.jpg`,
            `.jpeg`, `.png`, `.bmp` and `.gif` are left aside.
        image_size: height and width of the images, or one integer for both.
        channels: 1 (grey), 3 (RGB) or 4 (RGBA).
        labels: whether the subfolders of `path` are classes. Each image needs to be in one.
        cache: `True` keeps the images in memory as uint8, so that files are read only once. `False`
            decodes them again in each epoch. `None` keeps them if they take at most 2 GiB.

    Returns:
        `keras_ssl.data.ImageFolder`, with the names of the files, their classes, and data sets.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if there are no images in the folder, none can be read, an image is in no
            subfolder although `labels=True`, or `image_size` or `channels` has a wrong value.
        FileNotFoundError: if there is no such folder.
        NotADirectoryError: if `path` is a file.

    Example:

    >>> import pathlib, tempfile
    >>> from PIL import Image
    >>> from keras_ssl import data
    >>> path = pathlib.Path(tempfile.mkdtemp())
    >>> for name, width in [("cat/1.png", 40), ("cat/2.jpg", 20), ("dog/1.png", 8)]:
    ...     (path / name).parent.mkdir(exist_ok=True)
    ...     Image.new("RGB", (width, 30), "red").save(path / name)
    >>> images = data.image_folder(path, image_size=16, labels=True)
    >>> images.files
    ['cat/1.png', 'cat/2.jpg', 'dog/1.png']
    >>> images.class_names
    ['cat', 'dog']
    >>> x, y = next(iter(images.batches(3)))
    >>> x.shape, y.numpy()
    (TensorShape([3, 16, 16, 3]), array([0, 0, 1]))
    """
    size = checks.image_size("image_size", image_size)
    channels = checks.integer("channels", channels)
    if channels not in _MODES:
        raise ValueError(f"`channels` must be 1, 3 or 4. Received: channels={channels}")
    if not isinstance(cache, bool | None):
        raise TypeError(f"`cache` must be True, False or None. Received: cache={cache!r}")
    folder = _check_folder(path)
    files = _find(folder)
    classes = _classes(folder, files) if labels else None

    if cache is None:
        cache = len(files) * size[0] * size[1] * channels <= _MEMORY
    images = np.empty((len(files), *size, channels), np.uint8) if cache else None
    skipped = {}
    read = partial(_try_to_read, folder, size=size, channels=channels)
    with ThreadPoolExecutor() as pool:
        for number, result in enumerate(pool.map(read, files)):
            if isinstance(result, str):
                skipped[files[number]] = result
            elif cache:
                images[number] = result
    _report(folder, files, skipped)

    kept = [number for number, file in enumerate(files) if file not in skipped]
    if skipped and cache:
        images = images[kept]
    return ImageFolder(
        folder,
        [files[number] for number in kept],
        (*size, channels),
        images,
        skipped,
        *(None, None) if classes is None else (classes[0][kept], classes[1]),
    )


class ImageFolder:
    """The images of a folder that could be read; what `keras_ssl.data.image_folder` returns.

    Its length is the number of images. All that it returns is in the order of `files`, unless it is
    shuffled.

    Args:
        path: the folder.
        files: the files that could be read, with their subfolders, as strings relative to `path`.
        shape: height, width and channels of the images.
        images: the images, uint8 of shape `(n, *shape)`, or `None` to read them when needed.
        skipped: the reason by file, for each file that could not be read.
        labels: the class of each file, integers of shape `(n,)`, or `None`.
        class_names: names of the classes in the order of the labels, or `None`.

    Example:

    >>> import pathlib
    >>> import numpy as np
    >>> from keras_ssl import data
    >>> pixels = np.zeros((3, 8, 8, 1), "uint8")
    >>> files = ["a.png", "b.png", "c.png"]
    >>> images = data.ImageFolder(pathlib.Path("photos"), files, (8, 8, 1), pixels, skipped={})
    >>> [batch.shape[0] for batch in images.batches(2)]
    [2, 1]
    >>> images.images([2]).shape
    (1, 8, 8, 1)
    """

    def __init__(
        self,
        path: Path,
        files: list[str],
        shape: tuple[int, int, int],
        images: np.ndarray | None,
        skipped: dict[str, str],
        labels: np.ndarray | None = None,
        class_names: list[str] | None = None,
    ) -> None:
        import tensorflow as tf

        self.path = path
        self.files = files
        self.shape = shape
        self.skipped = skipped
        self.labels = labels
        self.class_names = class_names
        with tf.device("CPU"):  # the pipeline runs there
            self._held = None if images is None else tf.constant(images)

    def __len__(self) -> int:
        return len(self.files)

    def __repr__(self) -> str:
        return f"<ImageFolder of {len(self)} images of shape {self.shape} in {self.path}>"

    def batches(
        self,
        batch_size: int,
        shuffle: bool = False,
        seed: int | None = None,
        drop_remainder: bool = False,
    ) -> tf.data.Dataset:
        """Batch the images, for `fit`, `predict` and evaluation.

        Args:
            batch_size: number of images per batch.
            shuffle: whether to shuffle all images before each epoch. Each epoch has a new order,
                and a resumed run sees the order that the interrupted one would have seen.
            seed: integer seed of the shuffling. `None` takes TensorFlow's global seed, which
                `keras.utils.set_random_seed` sets.
            drop_remainder: whether to drop a smaller last batch.

        Returns:
            `tf.data.Dataset` of uint8 images of shape `(batch, height, width, channels)` with
            values from 0 to 255, or, if the folder was read with labels, of tuples of it and int64
            labels of shape `(batch,)`. Its length is known.

        Raises:
            ValueError: if `batch_size` is not positive, or above the number of images with
                `drop_remainder`.

        Example: see `keras_ssl.data.image_folder`.
        """
        numbers = in_order(len(self), shuffle, seed)
        return batched(numbers, self._examples, batch_size, drop_remainder)

    def examples(self) -> tf.data.Dataset:
        """Return the images one by one, as `keras_ssl.data.load_images` does.

        Returns:
            Unbatched `tf.data.Dataset` of images or of tuples `(image, label)`, for
            `keras_ssl.data.with_index` and pipelines of your own.

        Example: see `keras_ssl.data.image_folder`.
        """
        import tensorflow as tf

        def example(number: tf.Tensor) -> Any:
            return tf.nest.map_structure(lambda x: x[0], self._examples(number[None]))

        numbers = tf.data.Dataset.range(len(self))
        return without_autotuning(numbers.map(example, num_parallel_calls=tf.data.AUTOTUNE))

    def images(self, rows: Sequence[int] | np.ndarray | None = None) -> np.ndarray:
        """Return some of the images as an array, such as to look at them.

        Args:
            rows: their indices in `files`, or `None` for all.

        Returns:
            uint8 array of shape `(rows, height, width, channels)`.

        Raises:
            IndexError: if there is no such image.
            OSError: if a file can no longer be read.

        Example: see `keras_ssl.data.image_folder`.
        """
        rows = np.arange(len(self)) if rows is None else np.asarray(rows, np.int64)
        if rows.size and not -len(self) <= rows.min() <= rows.max() < len(self):
            raise IndexError(
                f"`rows` must be indices of the {len(self)} images. Received: from {rows.min()} to "
                f"{rows.max()}"
            )
        return self._read(rows % len(self))

    def _read(self, rows: np.ndarray) -> np.ndarray:
        import tensorflow as tf

        if self._held is not None:
            return tf.gather(self._held, rows).numpy()
        read = partial(_try_to_read, self.path, size=self.shape[:2], channels=self.shape[2])
        images = np.empty((len(rows), *self.shape), np.uint8)
        with ThreadPoolExecutor() as pool:
            results = pool.map(read, [self.files[row] for row in rows])
            for place, (row, result) in enumerate(zip(rows, results, strict=True)):
                if isinstance(result, str):
                    raise OSError(
                        f"{self.files[row]} in {self.path} can no longer be read: {result}"
                    )
                images[place] = result
        return images

    def _examples(self, rows: tf.Tensor) -> Any:
        """Return images, and labels if there are any, within a `tf.data.Dataset`."""
        import tensorflow as tf

        if self._held is not None:
            images = tf.gather(self._held, rows)
        else:  # threads of `_read` decode a batch, without Python's lock
            images = tf.numpy_function(self._read, [rows], tf.uint8)
            images.set_shape([*rows.shape, *self.shape])
        return images if self.labels is None else (images, tf.gather(self.labels, rows))


def _check_folder(path: Any) -> Path:
    if not isinstance(path, str | PathLike):
        raise TypeError(f"`path` must be the name of a folder. Received: path={path!r}")
    folder = Path(path).expanduser()
    if not folder.exists():
        raise FileNotFoundError(
            f"`path` must be a folder that exists. Received: path={str(path)!r}"
        )
    if not folder.is_dir():
        raise NotADirectoryError(
            f"`path` must be a folder of images. Received: the file {str(path)!r}"
        )
    return folder


def _find(folder: Path) -> list[str]:
    """Return the files with a suffix of images, relative to the folder, or raise."""
    files = sorted(file.relative_to(folder).as_posix() for file in _walk(folder, ()))
    found = [file for file in files if file.lower().endswith(_SUFFIXES)]
    if not found:
        others = sorted({Path(file).suffix or file for file in files})[:_NAMED]
        received = f"{len(files)} others, such as {', '.join(others)}" if files else "no files"
        raise ValueError(
            f"`path` must be a folder with image files ({', '.join(_SUFFIXES)}), in it or its "
            f"subfolders. Received: path={str(folder)!r} with {received}"
        )
    return found


def _walk(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    """Yield all files without a leading dot; links are followed unless they lead in a circle."""
    here = folder.resolve()
    if here in above:
        return
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(entry, (*above, here))
        else:
            yield entry


def _classes(folder: Path, files: list[str]) -> tuple[np.ndarray, list[str]]:
    """Return the class of each file, and the names of the classes."""
    for file in files:
        if "/" not in file:
            raise ValueError(
                "`labels=True` takes the subfolders of `path` for classes, so each image must be "
                f"in one. Move it or pass `labels=False`. Received: {file!r} in {str(folder)!r}"
            )
    names, labels = np.unique([file.partition("/")[0] for file in files], return_inverse=True)
    return labels.astype(np.int64), names.tolist()


def _report(folder: Path, files: list[str], skipped: dict[str, str]) -> None:
    """Warn of files that cannot be read, or raise if none can."""
    if not skipped:
        return
    lines = [f"  {file}: {reason}" for file, reason in list(skipped.items())[:_NAMED]]
    if len(skipped) > _NAMED:
        lines.append(f"  and {len(skipped) - _NAMED} more")
    if len(skipped) == len(files):
        raise ValueError(
            "`path` must be a folder with images that can be read. Received: path="
            f"{str(folder)!r} with {len(files)} image files, none of which can be:\n"
            + "\n".join(lines)
        )
    warnings.warn(
        f"{len(skipped)} of {len(files)} image files in {folder} cannot be read and are left out "
        "(all are in `skipped`):\n" + "\n".join(lines),
        stacklevel=3,
    )


def _try_to_read(folder: Path, file: str, size: tuple[int, int], channels: int) -> Any:
    """Return the image of a file, uint8 `(height, width, channels)`, or why it cannot be read."""
    try:
        return _read_image(folder / file, size, channels)
    except Exception as error:  # broken files raise errors of all kinds
        return f"{type(error).__name__}: {error}"


def _read_image(path: Path, size: tuple[int, int], channels: int) -> np.ndarray:
    from PIL import Image, ImageOps

    with Image.open(path, formats=_FORMATS) as file:
        file.draft(None, (2 * max(size),) * 2)  # the scale at which a JPEG is decoded
        image = _to_mode(ImageOps.exif_transpose(file), _MODES[channels])
    height, width = size
    image = ImageOps.fit(image, (width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(height, width, channels)


def _to_mode(image: Image.Image, mode: str) -> Image.Image:
    """Convert an image to 8 bits and the channels of a mode of Pillow."""
    from PIL import Image

    if image.mode.startswith("I"):  # grey with 16 bits, which Pillow would clip to 8
        image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
    if image.has_transparency_data and mode != "RGBA":
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)
