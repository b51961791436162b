"""Masked time series: predict the values of spans of steps that are hidden."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks, layers
from keras_ssl.distribute import draw_per_example
from keras_ssl.ops import at_least_float32
from keras_ssl.trainers._class_labels import weights_of_labelled
from keras_ssl.trainers._linear_to_targets import LinearToTargets
from keras_ssl.trainers.base import SelfSupervisedModel
from keras_ssl.trainers.checks import check_type, describe
from keras_ssl.trainers.data_spec import DataSpec
from keras_ssl.trainers.pretext._values import check_finite
from keras_ssl.trainers.step import Batch

_KEYS = {"series", "padding_mask"}


@keras.saving.register_keras_serializable(package="keras_ssl")
class MaskedSeries(SelfSupervisedModel):
    r"""Masked time series: an encoder predicts the values of spans of steps that it does not see.

    Spans of `span` steps are hidden: a learned token, or 0, takes the place of their values. From
    the features that the encoder gives each step, a linear map predicts the values of all channels,
    and the loss is the squared error of the hidden ones:

        L = mean over hidden values of (x - W encoder(x, some of it hidden))²

    Spans begin at random steps and may overlap, as in wav2vec 2.0: each step is hidden with
    probability `rate`. Padding is neither hidden nor predicted.

    Args:
        encoder: `keras.Model` or layer that maps series to features of each step,
            `(batch, time, features)`: as many steps as the series has, each of which should see
            those on both sides, such as a bidirectional network or a transformer. Series with
            padding reach it as a dictionary.
        rate: share of the steps that are hidden, above 0 and below 1.
        span: number of steps of a span.
        by_channel: whether spans are drawn for each channel by itself, as in the transformer for
            multivariate series, so that a channel can be predicted from the others. With `False`
            all channels of a step are hidden together.
        learned_token: whether hidden values are replaced by learned numbers, one for each channel,
            or with `by_channel` one for all. With `False` they are replaced by 0.
        augment: layer that makes one view of a batch. `None` leaves the series unchanged.
        seed: integer seed of the spans, or `None` for a random one.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: a batch of series.
        training: whether the encoder runs in training mode.

    Input shape:
        `(batch, time, channels)`, integer or floating-point, without missing values; scale channels
        to variance 1. Or, for series of different lengths, a dictionary of such a tensor,
        `"series"`, and `"padding_mask"`, booleans `(batch, time)` that are `True` for real steps;
        the encoder gets it as it is and should not let padding reach real steps.

    Output shape:
        `(batch, features)`: the mean of the features over all real steps. `trainer.encoder(x)`
        gives those of each step.

    Raises:
        TypeError: if an argument has the wrong type.
        ValueError: if an argument is out of range; before the first step, if the data is not as
            above, arrays or a first batch have values that are not finite, or the encoder does not
            return features of every step.

    Example:

    >>> import keras, numpy as np, keras_ssl
    >>> x = np.sin(np.linspace(0, 20, 32 * 50)).reshape(32, 50, 1)
    >>> encoder = keras.layers.Bidirectional(keras.layers.GRU(8, return_sequences=True))
    >>> trainer = keras_ssl.trainers.MaskedSeries(encoder, rate=0.3, span=5)
    >>> trainer.compile(optimizer="adam")
    >>> history = trainer.fit(x, batch_size=16, verbose=0)
    >>> trainer(x).shape, trainer.encoder(x).shape
    (TensorShape([32, 16]), TensorShape([32, 50, 16]))

    Reference:
        - [A Transformer-based Framework for Multivariate Time Series Representation Learning](
          https://arxiv.org/abs/2010.02803), Zerveas et al., 2020
        - [wav2vec 2.0](https://arxiv.org/abs/2006.11477), Baevski et al., 2020, for the spans
    """

    view_count = 1
    learns_from = "time series"

    def __init__(
        self,
        encoder: keras.layers.Layer,
        rate: float = 0.3,
        span: int = 5,
        by_channel: bool = False,
        learned_token: bool = True,
        augment: keras.layers.Layer | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(encoder, augment, **kwargs)
        check_type("encoder", encoder, keras.layers.Layer)
        self.rate = checks.below_one("rate", rate, positive=True)
        self.span = checks.integer("span", span, minimum=1)
        self.by_channel, self.learned_token = bool(by_channel), bool(learned_token)
        self.mask_token = layers.MaskToken(name="mask_token") if self.learned_token else None
        self.to_values = LinearToTargets(name="to_values")
        self.seed = checks.integer("seed", seed, optional=True)
        self.seed_generator = keras.random.SeedGenerator(self.seed)

    def check_views(self, views: Any) -> None:
        """Raise unless there is one batch of series, maybe with a mask of their padding."""
        series, mask = _parts(views)
        shape = getattr(series, "shape", ())
        fits = mask is None or tuple(getattr(mask, "shape", ())[1:]) == tuple(shape[1:2])
        if len(shape) != 3 or shape[-1] is None or not fits:
            raise ValueError(
                "Expected series of shape (batch, time, channels), or a dictionary of such "
                "'series' and a 'padding_mask' of shape (batch, time). Received: "
                f"{describe(views)}"
            )

    def check_values(self, x: Any) -> None:
        """Raise a `ValueError` if values of series are missing."""
        check_finite(_parts(x)[0], "mark steps without values as padding, or interpolate them")

    def call(self, x: Any, training: bool = False) -> Any:
        """Return the mean of the features of the real steps of `x`."""
        series, mask = _parts(self.to_encode(x))
        h = self._encode(x, _as_floats(series), training)
        return _mean_of_real_steps(h, mask)

    def _encode(self, x: Any, series: Any, training: bool) -> Any:
        """Return the features of each step of series in the form of `x`."""
        inputs = {**x, "series": series} if isinstance(x, dict) else series
        return self.encoder(inputs, training=training)

    def hidden_values(self, series: Any, padding_mask: Any = None) -> Any:
        """Draw which values to hide, booleans `(batch, time, channels)`.

        Args:
            series: `(batch, time, channels)`.
            padding_mask: booleans `(batch, time)`, or `None` if all steps are real.
        """
        batch, time = ops.shape(series)[:2]
        channels = series.shape[2] if self.by_channel else 1
        # spans may begin before the first step, so that all steps are hidden equally often
        starts = time + self.span - 1
        uniforms = draw_per_example(
            lambda rows: keras.random.uniform(
                (rows, starts, channels), dtype="float32", seed=self.seed_generator
            ),
            batch,
        )
        begins = ops.cast(uniforms < 1 - (1 - self.rate) ** (1 / self.span), "float32")
        hidden = ops.max_pool(begins, self.span, 1, "valid", data_format="channels_last") > 0
        hidden = ops.broadcast_to(hidden, ops.shape(series))
        if padding_mask is not None:
            hidden = ops.logical_and(hidden, ops.cast(padding_mask, "bool")[..., None])
        return hidden

    def hide(self, series: Any, hidden: Any) -> Any:
        """Return series with a token, or 0, in the place of hidden values.

        Args:
            series: `(batch, time, channels)`, floating-point.
            hidden: booleans of that shape.
        """
        if self.mask_token is None:
            return ops.where(hidden, ops.zeros((), series.dtype), series)
        if self.by_channel:
            return self.mask_token([series[..., None], hidden])[..., 0]
        return self.mask_token([series, hidden[..., 0]])

    def embed(self, batch: Batch, training: bool) -> dict[str, Any]:
        """Return the error of every value, which are hidden, and the representation."""
        series, mask = _parts(batch.views)
        series = _as_floats(series)
        hidden = self.hidden_values(series, mask)
        h = self._encode(batch.views, self.hide(series, hidden), training)
        _check_steps(h, series)
        error = ops.square(self.to_values(h, series) - at_least_float32(series))
        return {
            "errors": ops.cast(error, "float32"),
            "hidden": hidden,
            "representation": _mean_of_real_steps(h, mask),
        }

    def losses_of(self, embeddings: dict[str, Any], training: bool) -> dict[str, Any]:
        """Return the errors of hidden values, weighted to have the mean over these alone."""
        errors, hidden = embeddings["errors"], embeddings["hidden"]
        # errors of padding may be anything
        errors = ops.where(hidden, errors, 0.0)
        return {"reconstruction": errors * weights_of_labelled(hidden)}

    def predict_hidden(self, x: Any, training: bool = False) -> tuple[Any, Any]:
        """Hide spans of series and predict all values.

        Args:
            x: a batch of series, as in `fit`.
            training: whether the encoder runs in training mode.

        Returns:
            The predictions, at least float32, and which values were hidden, booleans; both
            `(batch, time, channels)`.
        """
        x = keras.tree.map_structure(ops.convert_to_tensor, x)
        self.check_views(x)
        series, mask = _parts(x)
        series = _as_floats(series)
        hidden = self.hidden_values(series, mask)
        return self.to_values(self._encode(x, self.hide(series, hidden), training), series), hidden

    @classmethod
    def encoder_for(cls, data: DataSpec) -> keras.Model:
        """Return a bidirectional network, which sees the steps on both sides of a span."""
        layer = keras.layers.Bidirectional(keras.layers.GRU(64, return_sequences=True))
        return keras.Sequential([keras.Input(data.shape), layer])

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        names = ("rate", "span", "by_channel", "learned_token", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _parts(x: Any) -> tuple[Any, Any]:
    """Return series and the mask of their real steps, `None` if all are real."""
    if isinstance(x, dict) and set(x) == _KEYS:
        return x["series"], x["padding_mask"]
    return x, None


def _as_floats(series: Any) -> Any:
    if keras.backend.is_float_dtype(keras.backend.standardize_dtype(series.dtype)):
        return series
    return ops.cast(series, "float32")


def _mean_of_real_steps(h: Any, mask: Any) -> Any:
    if mask is None:
        return ops.mean(h, axis=1)
    weights = ops.cast(mask, h.dtype)[..., None]
    total = ops.sum(ops.where(weights > 0, h, 0), axis=1)
    return ops.divide_no_nan(total, ops.sum(weights, axis=1))


def _check_steps(h: Any, series: Any) -> None:
    shape = getattr(h, "shape", ())
    pair = (shape[1], series.shape[1]) if len(shape) == 3 else ()
    if not pair or (None not in pair and pair[0] != pair[1]):
        raise ValueError(
            "`encoder` must return features of every step, of shape (batch, "
            f"{series.shape[1]}, features). Received: {describe(h)}"
        )
