"""Colorization: predict the colours of an image from its lightness."""

from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import check_type
from keras_ssl.trainers.image_spec import ImageSpec
from keras_ssl.trainers.pretext._images import check_images
from keras_ssl.trainers.pretext._lab import colors_of_grid, lab_to_rgb, rgb_to_lab
from keras_ssl.trainers.step import Batch

GRID = 10  # of colours, in units of a and b
REACH = 110.0  # the largest distance of a or b from 0
MEASURED_IMAGES = 1024


@keras.saving.register_keras_serializable(package="keras_ssl")
class Colorization(SelfSupervisedModel):
    r"""Colorization: predict the colours of an image from its lightness, as classes.

    An image is converted to CIE Lab. From the lightness L alone, the encoder makes feature maps,
    and a convolution of size 1 predicts at each place a distribution p over Q colours: those of
    a grid of 10 in a and b that sRGB has. The target z is the mean colour of the place, softly
    encoded: its five nearest colours of the grid, weighted by a Gaussian of their distance, of
    deviation σ. The loss of a place, and the weight v of its nearest colour q, are

        l = - v(q) Σ_k z_k log p_k,    v(q) ∝ 1 / ((1 - λ) π_q + λ / Q),    Σ_q π_q v(q) = 1

    with π the frequencies of colours in the data, smoothed by the same Gaussian. Without these
    weights, the pale colours of sky, sand and walls would be all that counts. The frequencies are
    measured before training and are a part of the saved trainer: by `measure_colors`, or else on
    the first data that `fit` or `evaluate` gets: arrays, of which up to 1,024 images are taken, or
    the first batch.

    Q is 261: the points of the grid that are nearest to a colour of sRGB, at any lightness. The
    paper's list, which the authors publish as a file, has 313.

    With `regression=True`, a convolution predicts a and b themselves, divided by 110, with half the
    squared distance as the loss, which prefers greyish means where several colours are likely.

    Args:
        encoder: `keras.Model` or layer that maps lightness, `(batch, height, width, 1)` on the
            scale of the images, to feature maps, `(batch, rows, columns, features)`, whose rows and
            columns divide those of the image.
        augment: layer that makes one view of a batch of colour images. `None` leaves them
            unchanged.
        regression: whether to predict colours and not classes of them.
        sigma: σ, above 0, in units of a and b.
        uniform_weight: λ, in [0, 1]: the share of a uniform distribution in the frequencies. 1
            gives all colours the same weight. The paper has 0.5.
        pixel_scale: the largest value of pixels.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: batch of colour images.
        training: whether the encoder runs in training mode.

    Input shape:
        `(batch, height, width, 3)`: red, green and blue of sRGB, integer or floating-point, from 0
        to `pixel_scale`.

    Output shape:
        `(batch, features)`: the mean of the feature maps over all places. `trainer.encoder` gets
        `trainer.lightness(images)`.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if a number is out of range. Before the first step, if images are grey, in one
            channel or in three that are equal, lie outside of the range, or the encoder does not
            return feature maps that fit.

    Example:

    >>> import keras, numpy as np, keras_ssl
    >>> images = np.random.default_rng(0).integers(0, 256, size=(8, 16, 16, 3)).astype("uint8")
    >>> encoder = keras.Sequential(
    ...     [
    ...         keras.layers.Rescaling(1 / 127.5, offset=-1),
    ...         keras.layers.Conv2D(16, 3, strides=2, padding="same", activation="relu"),
    ...         keras.layers.Conv2D(16, 3, strides=2, padding="same", activation="relu"),
    ...     ]
    ... )
    >>> trainer = keras_ssl.trainers.Colorization(encoder)
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(images, batch_size=4, verbose=0)
    >>> trainer.encoder(trainer.lightness(images)).shape, trainer(images).shape
    (TensorShape([8, 4, 4, 16]), TensorShape([8, 16]))
    >>> trainer.colorize(images).shape
    TensorShape([8, 16, 16, 3])

    Reference:
        - [Colorful Image Colorization](https://arxiv.org/abs/1603.08511), Zhang et al., 2016
    """

    view_count = 1
    neighbors = 5

    def __init__(
        self,
        encoder: keras.layers.Layer,
        augment: keras.layers.Layer | None = None,
        regression: bool = False,
        sigma: float = 5.0,
        uniform_weight: float = 0.5,
        pixel_scale: float = 255.0,
        **kwargs: Any,
    ):
        super().__init__(encoder, augment, **kwargs)
        check_type("encoder", encoder, keras.layers.Layer)
        self.regression = bool(regression)
        self.sigma = checks.positive("sigma", sigma)
        self.uniform_weight = checks.probability("uniform_weight", uniform_weight)
        self.pixel_scale = checks.positive("pixel_scale", pixel_scale)
        self._colors = colors_of_grid(GRID)
        settings = {"trainable": False, "dtype": "float32", "autocast": False}
        self.color_prior = self.add_weight(
            name="color_prior",
            shape=(len(self._colors),),
            initializer=keras.initializers.Constant(1 / len(self._colors)),
            **settings,
        )
        self.is_measured = self.add_weight(
            name="is_measured", shape=(), initializer="zeros", **settings
        )
        self.head = keras.layers.Conv2D(2 if regression else len(self._colors), 1, name="head")

    @property
    def colors(self) -> np.ndarray:
        """The colours that are told apart, a and b, float32 `(Q, 2)`."""
        return self._colors.copy()

    # Data

    def check_views(self, views: Any) -> None:
        """Raise unless there is one batch of images in three channels."""
        *_, channels = check_images(views)
        if channels != 3:
            raise ValueError(
                "Colorization learns from colours: expected images of 3 channels, red, green and "
                "blue. Grey images have none, and cannot be used. Received: images of "
                f"{channels} channel{'s' if channels > 1 else ''}"
            )

    def check_values(self, x: Any) -> None:
        """Raise if images are grey or out of range, and measure their colours if unknown."""
        if len(getattr(x, "shape", ())) != 4 or x.shape[-1] != 3 or not x.shape[0]:
            return  # `check_views` says what is wrong
        images = _some_of(x)
        least, largest = float(images.min()), float(images.max())
        margin = 0.01 * self.pixel_scale
        is_unit = images.dtype.kind == "f" and largest <= 1 < self.pixel_scale
        fits = least >= -margin and largest <= self.pixel_scale + margin  # NaN does not
        if not fits or is_unit:
            raise ValueError(
                f"Images must have values from 0 to `pixel_scale`, {self.pixel_scale:g}: rescale "
                "them, or pass their largest value as `pixel_scale`. Received: values from "
                f"{least:.4g} to {largest:.4g}"
            )
        if np.all(images == images[..., :1]):
            raise ValueError(
                "Colorization learns from colours, and the images are grey. Received: images "
                "whose three channels are equal at every pixel"
            )
        if not self.regression and not ops.convert_to_numpy(self.is_measured):
            self.measure_colors(images)

    def measure_colors(self, images: Any) -> None:
        """Measure how frequent colours are, for the weights of the loss.

        Args:
            images: arrays `(images, height, width, 3)` from 0 to `pixel_scale`, such as a sample of
                the data to train on.
        """
        table = _nearest_on_grid(self._colors)
        counts = np.zeros(len(self._colors))
        images = np.asarray(images)
        for start in range(0, len(images), 64):
            lab = rgb_to_lab(images[start : start + 64].astype("float32") / self.pixel_scale)
            ab = np.rint(ops.convert_to_numpy(lab)[..., 1:] / GRID).astype("int64")
            places = np.clip(ab + len(table) // 2, 0, len(table) - 1)
            found = table[places[..., 0], places[..., 1]]
            counts += np.bincount(found.ravel(), minlength=len(counts))
        distance = np.square(self._colors[:, None] - self._colors).sum(axis=-1)
        kernel = np.exp(-distance / (2 * self.sigma**2))
        smooth = kernel / kernel.sum(axis=0) @ counts
        self.color_prior.assign(smooth / smooth.sum())
        self.is_measured.assign(1.0)

    @property
    def color_weights(self) -> Any:
        """The weight v of each colour, float32 `(Q,)`, with mean 1 over the measured colours."""
        prior, share = ops.convert_to_tensor(self.color_prior), self.uniform_weight
        weights = 1 / ((1 - share) * prior + share / len(self._colors))
        return weights / ops.sum(prior * weights)

    # Training

    def _build_encoder(self, input_shape: Any) -> None:
        super()._build_encoder((*input_shape[:-1], 1))

    def lightness(self, images: Any) -> Any:
        """Return what the encoder sees: lightness from 0 to `pixel_scale`.

        Args:
            images: `(batch, height, width, 3)`, from 0 to `pixel_scale`.

        Returns:
            Float32 `(batch, height, width, 1)`.
        """
        return self._lightness_of(self._lab(images))

    def _lab(self, images: Any) -> Any:
        return rgb_to_lab(ops.cast(images, "float32") / self.pixel_scale)

    def _lightness_of(self, lab: Any) -> Any:
        return lab[..., :1] * (self.pixel_scale / 100.0)

    def _features(self, lab: Any, training: bool) -> Any:
        maps = self.encoder(self._lightness_of(lab), training=training)
        shape = tuple(getattr(maps, "shape", ()))
        fits = len(shape) == 4 and None not in shape[1:3]
        if not fits or lab.shape[1] % shape[1] or lab.shape[2] % shape[2]:
            raise ValueError(
                "`encoder` must return feature maps of shape (batch, rows, columns, features), "
                "whose rows and columns divide those of the images; take the output before the "
                f"pooling. Received: shape {shape} for images of {lab.shape[1]}x{lab.shape[2]}"
            )
        return maps

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the mean of the feature maps of `x`."""
        self.check_views(x)
        return ops.mean(self._features(self._lab(x), training), axis=(1, 2))

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the loss of each place, and the features."""
        lab = self._lab(batch.views)
        maps = self._features(lab, training)
        outputs = ops.cast(self.head(maps), "float32")
        pool = tuple(lab.shape[axis] // maps.shape[axis] for axis in (1, 2))
        ab = ops.average_pool(lab[..., 1:], pool, pool)
        if self.regression:
            values = ops.sum(ops.square(outputs - ab / REACH), axis=-1) / 2
        else:
            values = self._of_classes(ab, outputs)
        return {"color": values, "representation": ops.mean(maps, axis=(1, 2))}

    def _of_classes(self, ab: Any, logits: Any) -> Any:
        """Return the weighted cross-entropy of each place, `(batch, rows, columns)`."""
        colors = ops.convert_to_tensor(self._colors)
        # the square of the distance, without that of the place itself, which is the same for all
        score = 2 * ops.matmul(ab, ops.transpose(colors)) - ops.sum(ops.square(colors), axis=-1)
        score, nearest = ops.top_k(score, self.neighbors)
        target = ops.softmax(score / (2 * self.sigma**2))
        log_p = ops.take_along_axis(ops.log_softmax(logits), nearest, axis=-1)
        weights = ops.take(self.color_weights, nearest[..., 0])
        return -weights * ops.sum(target * log_p, axis=-1)

    # Use

    def colorize(self, images: Any, temperature: float = 0.38) -> Any:
        """Return images with the colours that are predicted from their lightness.

        Args:
            images: `(batch, height, width, 3)`, from 0 to `pixel_scale`.
            temperature: of the distribution over colours, of which the mean is taken: above 0. A
                temperature of 1 gives the mean, 0.38 is that of the paper, and near 0 it is the
                most probable colour. It has no meaning with `regression=True`.

        Returns:
            Images of the same shape and scale, float32.
        """
        temperature = checks.positive("temperature", temperature)
        lab = self._lab(images)
        outputs = ops.cast(self.head(self._features(lab, training=False)), "float32")
        if self.regression:
            ab = outputs * REACH
        else:
            ab = ops.matmul(ops.softmax(outputs / temperature), self._colors)
        ab = ops.image.resize(ab, tuple(lab.shape[1:3]), data_format="channels_last")
        return lab_to_rgb(ops.concatenate([lab[..., :1], ab], axis=-1)) * self.pixel_scale

    @classmethod
    def encoder_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the encoder of a trainer that is made by its name: from lightness to maps."""
        return images.feature_maps(channels=1)

    @classmethod
    def augment_for(cls, images: ImageSpec) -> keras.layers.Layer:
        """Return the view of images that a trainer made by its name sees: a crop and a flip."""
        return images.crop()

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        settings = {
            "regression": self.regression,
            "sigma": self.sigma,
            "uniform_weight": self.uniform_weight,
            "pixel_scale": self.pixel_scale,
        }
        return {**super().get_config(), **settings}


def _some_of(x: Any) -> np.ndarray:
    """Return some images of an array, spread over all, as an array."""
    step = max(1, x.shape[0] // MEASURED_IMAGES)
    return np.asarray(ops.convert_to_numpy(x[::step][:MEASURED_IMAGES]))


def _nearest_on_grid(colors: np.ndarray) -> np.ndarray:
    """Return the number of the colour that is nearest to each point of a grid around 0."""
    reach = int(np.abs(colors).max() // GRID) + 1
    side = np.arange(-reach, reach + 1) * GRID
    points = np.stack(np.meshgrid(side, side, indexing="ij"), axis=-1)
    return np.square(points[:, :, None] - colors).sum(axis=-1).argmin(axis=-1)
