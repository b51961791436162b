"""Guidance of a denoiser by the gradient of a classifier."""

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_ssl import checks
from keras_ssl.ops import at_least_float32
from keras_ssl.trainers.checks import check_type


class ClassifierGuidance:
    r"""Guidance of a denoiser by a classifier: samples are moved to what it takes for a class.

    At each step the noise that the denoiser predicts is changed by the gradient of the classifier's
    log-probability of the label y, with the scale w:

        ε <- ε - w s_t ∇_{x_t} log p(y | x_t)

    A classifier of clean data is called on the data that the denoiser predicts from x_t, in their
    own range, and the gradient goes through the denoiser. A classifier that was trained on noisy
    data, such as `schedule.add_noise` makes, is called on `{"x": x_t, "time": t}`; there x_t is in
    the range of the denoiser, from -1 to 1 for images.

    Args:
        classifier: `keras.Model` or layer that returns `(batch, classes)`.
        scale: w, at least 0.
        from_logits: whether the classifier returns logits, and not probabilities, as one does that
            ends in softmax.
        takes_noise: whether it was trained on noisy data.

    Raises:
        TypeError: if `classifier` is not a Keras layer.
        ValueError: if `scale` is negative, or a classifier that ends in softmax or sigmoid should
            return logits.

    Example:

    >>> import keras
    >>> from keras_ssl import trainers
    >>> classifier = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Flatten()])
    >>> classifier.add(keras.layers.Dense(10, "softmax"))
    >>> guidance = trainers.ClassifierGuidance(classifier, scale=2.0, from_logits=False)

    and `trainer.sample(label=3, n=16, classifier=guidance)`.

    Reference:
        - [Diffusion Models Beat GANs on Image Synthesis](https://arxiv.org/abs/2105.05233),
          Dhariwal & Nichol, 2021
        - [Universal Guidance for Diffusion Models](https://arxiv.org/abs/2302.07121), Bansal et
          al., 2023, for classifiers of clean data
    """

    def __init__(
        self,
        classifier: keras.layers.Layer,
        scale: float = 1.0,
        from_logits: bool = True,
        takes_noise: bool = False,
    ):
        check_type("classifier", classifier, keras.layers.Layer)
        self.classifier = classifier
        self.scale = checks.number("scale", scale, minimum=0.0)
        self.from_logits, self.takes_noise = bool(from_logits), bool(takes_noise)
        activation = _last_activation(classifier)
        if self.from_logits and activation:
            raise ValueError(
                f"`classifier` ends in {activation} and returns probabilities. Expected "
                "ClassifierGuidance(classifier, from_logits=False), or a classifier without the "
                f"activation. Received: from_logits=True and {classifier}"
            )

    @property
    def key(self) -> tuple:
        """What tells this guidance from another, but for the scale."""
        return id(self.classifier), self.from_logits, self.takes_noise

    def log_probability(self, noisy: Any, time: Any, labels: Any, data: Callable[[], Any]) -> Any:
        """Return the log-probability of the labels, `(batch,)`.

        Args:
            noisy: x_t.
            time: t, a scalar.
            labels: the classes, int32 `(batch,)`.
            data: function that returns the data that the denoiser predicts.
        """
        output = self.outputs(noisy, time, data)
        if self.from_logits:
            logs = ops.log_softmax(output)
        else:
            logs = ops.log(ops.maximum(output, keras.config.epsilon()))
        return ops.take_along_axis(logs, labels[:, None], axis=-1)[:, 0]

    def outputs(self, noisy: Any, time: Any, data: Callable[[], Any]) -> Any:
        """Return what the classifier returns, at least float32, `(batch, classes)`.

        Args:
            noisy: x_t.
            time: t, a scalar.
            data: function that returns the data that the denoiser predicts.
        """
        inputs = data()
        if self.takes_noise:
            inputs = {"x": noisy, "time": ops.broadcast_to(time, (noisy.shape[0],))}
        return at_least_float32(self.classifier(inputs, training=False))


def _last_activation(layer: Any) -> str | None:
    """Return "softmax" or "sigmoid" if a layer or model ends in one, as far as Keras tells."""
    if isinstance(layer, keras.Sequential):
        return _last_activation(layer.layers[-1]) if layer.layers else None
    if len(getattr(layer, "outputs", None) or ()) == 1:  # a functional model
        return _last_activation(layer.operations[-1])
    activation = getattr(layer, "activation", None)
    name = getattr(activation, "__name__", type(layer).__name__).lower()
    return name if name in ("softmax", "sigmoid") else None
