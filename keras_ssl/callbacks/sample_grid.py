"""Pictures of what a generative trainer makes, along training."""

from importlib.util import find_spec
from os import PathLike
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_ssl import checks
from keras_ssl.distribute import on_chief
from keras_ssl.visualize._figures import check_images, check_value_range, to_unit
from keras_ssl.visualize._grid import tile


class SampleGrid(keras.callbacks.Callback):
    """Draw a grid of samples before training and at the end of epochs.

    Every grid is made with the same seed, so that grids of two epochs show what the training
    between them has changed: of most methods, the same place holds the same random numbers. The
    trainer's `sample` makes the images, with averaged weights where the method has some. Training
    goes on as it would without the callback.

    A grid is a PNG file of plain pixels, `epoch_0001.png`, an image of TensorBoard, or both. The
    one before the first step, of untrained weights, has number 0. If training goes on from
    earlier, the samples before the first step are made only to find wrong arguments in time. A
    `trainers.LatentDiffusion` that measures its scale on the first batch makes none before.

    With several workers the chief draws.

    Args:
        folder: folder of the files, or `None` for none.
        log_dir: folder of TensorBoard's logs, such as that of `keras.callbacks.TensorBoard`, or
            `None`. The image is called `samples`. Needs the packages `tensorboard` and
            `tensorflow`, which writes the logs, on JAX too.
        n: number of samples.
        columns: number of samples in a row.
        every: draw after every epoch whose number (from 1) is a multiple of this, and after the
            last.
        seed: integer seed of the samples.
        value_range: the values shown as black and as white. Values outside are clipped. `None`
            means the trainer's own `value_range`, which those of diffusion and flow matching have.
        **arguments: other arguments of the trainer's `sample`, such as `label` and `steps`.

    Raises:
        ImportError: if there is a `log_dir`, and TensorFlow is not installed.
        TypeError: before the first step, if `sample` does not take an argument.
        ValueError: if there is neither `folder` nor `log_dir`, or a number is out of range; before
            the first step, if the trainer has no `sample`, it does not return images, an argument
            of it is wrong, or `value_range` is not known.

    Example:

    >>> import keras, numpy as np, tempfile, keras_ssl
    >>> images = np.random.default_rng(0).random((16, 8, 8, 1)).astype("float32")
    >>> trainer = keras_ssl.trainers.VAE(
    ...     keras_ssl.networks.conv_encoder((8, 8, 1), (4, 8), 16),
    ...     keras_ssl.networks.conv_decoder((8, 8, 1), (4, 8), 2),
    ...     latent_dim=2,
    ... )
    >>> trainer.compile("adam")
    >>> folder = tempfile.mkdtemp()
    >>> grids = keras_ssl.callbacks.SampleGrid(folder, n=20, columns=5, value_range=(0, 1))
    >>> history = trainer.fit(images, epochs=2, verbose=0, callbacks=[grids])
    >>> keras.utils.load_img(f"{folder}/epoch_0002.png").size  # width and height
    (48, 38)
    """

    def __init__(
        self,
        folder: str | PathLike[str] | None = None,
        log_dir: str | PathLike[str] | None = None,
        n: int = 64,
        columns: int = 8,
        every: int = 1,
        seed: int = 0,
        value_range: tuple[float, float] | None = None,
        **arguments: Any,
    ):
        checks.training_backend()
        super().__init__()
        if folder is None and log_dir is None:
            raise ValueError(
                "SampleGrid needs `folder`, `log_dir` or both, to write to. Received: folder=None, "
                "log_dir=None"
            )
        if log_dir is not None and find_spec("tensorflow") is None:
            raise ImportError(
                "`log_dir` needs TensorFlow, which writes the logs of TensorBoard: `pip install "
                f"tensorflow`, or pass `folder` alone. Received: log_dir={log_dir!r}"
            )
        self.folder = None if folder is None else Path(folder)
        self.log_dir = None if log_dir is None else str(log_dir)
        self.n = checks.integer("n", n, minimum=1)
        self.columns = checks.integer("columns", columns, minimum=1)
        self.every = checks.integer("every", every, minimum=1)
        self.seed = checks.integer("seed", seed)
        self.value_range = None if value_range is None else check_value_range(value_range)
        self.arguments = arguments
        self._range = self._writer = None

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Check the arguments by sampling once, and draw what an untrained model makes."""
        if not callable(getattr(self.model, "sample", None)):
            raise ValueError(
                "SampleGrid needs a trainer that makes examples with `sample`, such as "
                f"`trainers.Diffusion`. Received: {type(self.model).__name__}"
            )
        self._range = self.value_range or getattr(self.model, "value_range", None)
        if self._range is None:
            raise ValueError(
                f"{type(self.model).__name__} does not say what its values are between. Expected "
                "`value_range`, the values of black and of white, such as (0, 1). Received: "
                "value_range=None"
            )
        if not getattr(self.model, "can_sample", True):
            return
        is_untrained = int(keras.ops.convert_to_numpy(self.model.optimizer.iterations)) == 0
        on_chief(lambda: self._draw(0, write=is_untrained), self.model.distribute_strategy)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Draw if it is due."""
        number = epoch + 1
        if number % self.every == 0 or number == self.params.get("epochs"):
            on_chief(lambda: self._draw(number), self.model.distribute_strategy)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Close TensorBoard's log."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _draw(self, number: int, write: bool = True) -> None:
        """Make the grid of an epoch, and write it."""
        made = self.model.sample(n=self.n, seed=self.seed, **self.arguments)
        if not hasattr(made, "shape"):
            raise ValueError(
                "SampleGrid draws images. Expected one array from `trainer.sample`. Received: "
                f"{keras.tree.map_structure(lambda one: one.shape, made)}"
            )
        images = to_unit(check_images("trainer.sample(...)", made), self._range)
        if not write:
            return
        grid = np.round(255 * tile(images, min(self.columns, len(images)))).astype("uint8")
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"epoch_{number:04}.png"
            keras.utils.save_img(path, grid, data_format="channels_last", scale=False)
        if self.log_dir is not None:
            import tensorflow as tf

            if self._writer is None:
                self._writer = tf.summary.create_file_writer(self.log_dir)
            with self._writer.as_default(step=number):
                tf.summary.image("samples", grid[np.newaxis])
            self._writer.flush()
