"""What a layer of a denoiser computes, as the representation of data."""

from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl._keras_internals import all_layers
from keras_ssl.ops import at_least_float32
from keras_ssl.ops.pixels import pixels_as_floats
from keras_ssl.samplers import NoisePath
from keras_ssl.trainers.generative import _conditions
from keras_ssl.trainers.generative._spaces import check_range, scaled
from keras_ssl.trainers.parts import serialize_parts

_SEED = 1


@keras.saving.register_keras_serializable(package="keras_ssl")
class DenoiserFeatures(keras.Model):
    r"""Encoder that returns what a layer of a denoiser computes from data with a little noise.

    To take noise away, a denoiser has to know what it sees. Noise is added to the data as at a
    time of training, the denoiser is called, and the output of one of its layers is averaged over
    all axes but the first and the last. The noise is the same for all examples and all calls.

    Which layer and which time are best depends on the network and the data; choose them by the
    accuracy of a probe on validation data. The middle of a U-Net and the blocks after it, and times
    at which a tenth of the data's variance or less is noise, are a start.

    Args:
        denoiser: `keras.Model` that is called on a dictionary with `"x"` and `"time"`.
        noise_path: `samplers.NoiseSchedule` or `samplers.StraightPath` that it was trained on.
        layer: name of the layer. `None` means the last one whose name begins with "middle", or the
            last but one with weights if there is none.
        time: the time. `None` means a twentieth of the last one.
        value_range: the smallest and the largest value of the data, which the denoiser gets from
            -1 to 1; `None` leaves data as they are.
        num_classes: number of classes of a denoiser that takes labels. It is told that there is no
            label.
        compress: layer from data to what the denoiser sees in their place, such as
            `trainers.Latents`.
        **kwargs: `name`, `dtype` of the model.

    Call arguments:
        x: data, or a dictionary of data `"x"` and conditions `"tokens"`, `"image"`.

    Input shape:
        That of the data, `(batch, ...)`.

    Output shape:
        `(batch, features)`.

    Raises:
        ValueError: if the denoiser has no such layer, or `time` is outside of the path.

    Example:

    >>> import keras, numpy as np
    >>> from keras_ssl import samplers, trainers
    >>> x, time = keras.Input((8,), name="x"), keras.Input((), name="time")
    >>> hidden = keras.layers.Dense(16, "relu", name="hidden")(x)
    >>> denoiser = keras.Model({"x": x, "time": time}, keras.layers.Dense(8)(hidden))
    >>> encoder = trainers.DenoiserFeatures(denoiser, samplers.NoiseSchedule(), "hidden", time=50)
    >>> encoder(np.zeros((4, 8))).shape
    TensorShape([4, 16])

    Reference:
        - [Denoising Diffusion Autoencoders are Unified Self-supervised Learners](
          https://arxiv.org/abs/2303.09769), Xiang et al., 2023
    """

    def __init__(
        self,
        denoiser: keras.Model,
        noise_path: NoisePath,
        layer: str | None = None,
        time: float | None = None,
        value_range: tuple[float, float] | None = None,
        num_classes: int | None = None,
        compress: keras.layers.Layer | None = None,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        self.denoiser, self.noise_path = denoiser, noise_path
        self.layer, self.time = layer, time
        _find(denoiser, layer)
        default = round(noise_path.last_time / 20)
        self._time = (
            default if time is None else checks.number("time", time, 0.0, noise_path.last_time)
        )
        self.value_range = check_range(value_range)
        self.num_classes = checks.integer("num_classes", num_classes, minimum=1, optional=True)
        self.compress = compress
        self.built = denoiser.built  # it has no weights of its own

    def build(self, input_shape: Any) -> None:
        """Do nothing: the denoiser is built with its trainer, or by the first call."""

    def call(self, x: Any) -> Any:
        """Return the features of data."""
        conditions = _conditions.of_data(x)
        x = pixels_as_floats(x["x"] if isinstance(x, dict) else x)
        x = self.prepare(x)
        count = ops.shape(x)[0]
        noise = keras.random.normal((1, *ops.shape(x)[1:]), seed=_SEED, dtype=x.dtype)
        time = ops.full((count,), self._time, dtype="float32")
        conditions = _conditions.complete(self.denoiser, conditions, count, self.num_classes)
        inputs = {"x": self.noise_path.add_noise(x, noise, time), "time": time, **conditions}
        features = at_least_float32(_output_of(self.denoiser, self.layer, inputs))
        axes = list(range(1, len(features.shape) - 1))
        return ops.mean(features, axis=axes) if axes else features

    def prepare(self, x: Any) -> Any:
        """Return data as the denoiser knows them, but for noise."""
        return scaled(x if self.compress is None else self.compress(x), self.value_range)

    def get_config(self) -> dict:
        """Return the constructor's arguments, the parts serialised."""
        return {
            **keras.layers.Layer.get_config(self),
            **serialize_parts(
                denoiser=self.denoiser, noise_path=self.noise_path, compress=self.compress
            ),
            "layer": self.layer,
            "time": self.time,
            "value_range": None if self.value_range is None else list(self.value_range),
            "num_classes": self.num_classes,
        }

    @classmethod
    def from_config(cls, config: dict, custom_objects: dict | None = None) -> Any:
        """Make the encoder that `config` describes."""
        return cls(**keras.saving.deserialize_keras_object(config, custom_objects=custom_objects))


def _find(denoiser: keras.Model, name: str | None) -> keras.layers.Layer:
    known = all_layers(denoiser)[1:]
    if name is None:
        in_middle = [one for one in known if one.name.startswith("middle")]
        named = in_middle or [one for one in getattr(denoiser, "layers", []) if one.weights]
        candidates = in_middle[-1:] or named[-2:][:1] or [denoiser]
        return candidates[0]
    for one in known:
        if one.name == name:
            return one
    raise ValueError(
        "`layer` must be the name of a layer of the denoiser. Expected one of "
        f"{[one.name for one in known]}. Received: layer={name!r}"
    )


def _output_of(model: keras.Model, name: str | None, inputs: Any) -> Any:
    """Return what a layer returns while a model that contains it is called.

    A functional model of that output would do for functional denoisers alone. In a graph, what the
    model computes after the layer is not run.
    """
    layer = _find(model, name)
    found, before = [], vars(layer).get("call")
    call = layer.call

    def call_and_keep(*args: Any, **kwargs: Any) -> Any:
        found.append(call(*args, **kwargs))
        return found[-1]

    vars(layer)["call"] = call_and_keep  # not `setattr`, for which Keras would track the function
    try:
        model(inputs, training=False)
    finally:
        vars(layer).pop("call")
        if before is not None:
            vars(layer)["call"] = before
    if not found:
        raise ValueError(
            f"`layer` must be called when the denoiser is called. Received: layer={layer.name!r}"
        )
    return found[0]
