"""Classification of images by the names of classes, without training."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_ssl import checks
from keras_ssl.evaluate._batches import as_batches
from keras_ssl.evaluate._forward import check_features
from keras_ssl.evaluate._labels import class_labels, labelled_only
from keras_ssl.evaluate._units import unit_features
from keras_ssl.evaluate.features import extract_features
from keras_ssl.ops import l2_normalize


def zero_shot_classifier(
    text_encoder: keras.layers.Layer | Callable,
    tokenize: Callable[[list[str]], Any],
    class_names: Sequence[str],
    templates: Sequence[str] = ("a photo of a {}.",),
    temperature: float = 0.01,
    batch_size: int = 256,
) -> "ZeroShotClassifier":
    r"""Make a classifier of images from the names of classes, by a text encoder.

    With the templates $t$ and the text encoder $g$, whose space is that of an image encoder, the
    embedding of a class is the mean direction of its prompts:

    $$w_c = \frac{\sum_t u_{ct}}{\lVert \sum_t u_{ct} \rVert}, \qquad
    u_{ct} = \frac{g(t(c))}{\lVert g(t(c)) \rVert}$$

    Args:
        text_encoder: a `keras.Model` or Keras layer, or any function, from a batch of what
            `tokenize` returns to a vector for each text.
        tokenize: function from a list of strings to a batch, an array or a dictionary of them: for
            a tokenizer of `keras_ssl.text`, `lambda texts: tokenizer(texts, length=32)`.
        class_names: different names of the classes, in the order of their labels.
        templates: texts with one `{}` for the name of the class.
        temperature: what cosines are divided by. CLIP's is 0.01; it changes probabilities, not the
            order of the classes.
        batch_size: texts at a time.

    Returns:
        A `keras_ssl.evaluate.ZeroShotClassifier`.

    Raises:
        TypeError: if `text_encoder` or `tokenize` is not callable, or names or templates are no
            strings.
        ValueError: if there are fewer than two names, names are equal, a template has no `{}`,
            `temperature` is not positive, or embeddings are not finite or 0.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> def letters(texts):  # how often each text has an a, and an o
    ...     return np.array([[text.count("a"), text.count("o")] for text in texts], "float32")
    >>> classifier = evaluate.zero_shot_classifier(
    ...     evaluate.raw_pixels, letters, ["cat", "dog"], templates=["{}", "the {}"]
    ... )
    >>> classifier.classify(evaluate.raw_pixels, np.array([[0.1, 3.0], [5.0, 1.0]]))
    ['dog', 'cat']

    Reference:
        [Radford et al., CLIP](https://arxiv.org/abs/2103.00020), section 3.1.4
    """
    classifier = ZeroShotClassifier(class_names, temperature)
    templates = _texts("templates", templates)
    for template in templates:
        if template.count("{}") != 1:
            raise ValueError(
                "`templates` must have one `{}`, the place of the name of the class. "
                f"Received: {template!r}"
            )
    if not callable(tokenize):
        raise TypeError(f"`tokenize` must be a function of a list of texts. Received: {tokenize!r}")
    names = classifier.class_names
    prompts = [template.replace("{}", name) for name in names for template in templates]
    features, _ = extract_features(text_encoder, tokenize(prompts), batch_size)
    if len(features) != len(prompts):
        raise ValueError(
            "`tokenize` must return a batch with one row per text. "
            f"Received: {len(features)} rows for {len(prompts)} texts"
        )
    units = unit_features(features, "the embeddings of prompts")
    units = units.reshape(len(names), len(templates), -1)
    classifier.set_embeddings(units.mean(axis=1))
    return classifier


@keras.saving.register_keras_serializable(package="keras_ssl")
class ZeroShotClassifier(keras.layers.Layer):
    r"""Cosines of features and the embeddings of classes, divided by a temperature.

    `keras_ssl.evaluate.zero_shot_classifier` makes one. It is a Keras layer without trainable
    weights: `keras.Sequential([image_encoder, classifier])` is a model whose softmax are the
    probabilities of the classes, and is saved with the class names in it.

    Args:
        class_names: different names of the classes.
        temperature: $\tau$, what cosines are divided by.

    Call arguments:
        features: features of images, in the space of the class embeddings.

    Input shape:
        `(batch, dimensions)`.

    Output shape:
        `(batch, classes)`: $\cos(f, w_c) / \tau$.

    Raises:
        TypeError: if names are no strings, or `temperature` is not a number.
        ValueError: if there are fewer than two names, names are equal, or `temperature` is not
            positive.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import evaluate
    >>> classifier = evaluate.ZeroShotClassifier(["cat", "dog"], temperature=1.0)
    >>> classifier.set_embeddings(np.array([[1.0, 0.0], [0.0, 1.0]]))
    >>> logits = classifier(np.array([[3.0, 4.0]]))
    >>> [round(float(one), 3) for one in logits[0]]
    [0.6, 0.8]

    Reference:
        [Radford et al., CLIP](https://arxiv.org/abs/2103.00020), section 3.1.4
    """

    def __init__(self, class_names: Sequence[str], temperature: float = 0.01, **kwargs: Any):
        super().__init__(**kwargs)
        self.class_names = _texts("class_names", class_names)
        if len(set(self.class_names)) != len(self.class_names) or len(self.class_names) < 2:
            raise ValueError(
                "`class_names` must be two different names or more. "
                f"Received: {len(self.class_names)}, {len(set(self.class_names))} of them different"
            )
        self.temperature = checks.positive("temperature", temperature)

    def build(self, input_shape: tuple) -> None:
        if len(input_shape) != 2 or input_shape[-1] is None:
            raise ValueError(
                "Features must have shape (batch, dimensions) with a known number of dimensions. "
                f"Received: {tuple(input_shape)}"
            )
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(len(self.class_names), input_shape[-1]),
            initializer="zeros",
            trainable=False,
            autocast=False,  # cosines are divided by a small temperature
        )
        self.input_spec = keras.layers.InputSpec(ndim=2, axes={-1: input_shape[-1]})

    def call(self, features: Any) -> Any:
        return ops.cast(self._cosines(features) / self.temperature, self.compute_dtype)

    def _cosines(self, features: Any) -> Any:
        units = l2_normalize(features)
        return ops.matmul(units, ops.transpose(ops.cast(self.embeddings, units.dtype)))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], len(self.class_names))

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "class_names": self.class_names,
            "temperature": self.temperature,
        }

    def set_embeddings(self, embeddings: Any) -> None:
        """Set the embeddings of the classes.

        Args:
            embeddings: array `(classes, dimensions)`, whose rows are scaled to length 1.

        Raises:
            ValueError: if there is not one finite row other than 0 for each class.
        """
        units = unit_features(embeddings, "embeddings")
        if len(units) != len(self.class_names):
            raise ValueError(
                f"`embeddings` must have {len(self.class_names)} rows, one for each class. "
                f"Received: shape {units.shape}"
            )
        if not self.built:
            self.build((None, units.shape[1]))
            self.built = True
        self.embeddings.assign(units)

    def classify(
        self, encoder: keras.layers.Layer | Callable, data: Any, batch_size: int = 256
    ) -> list[str]:
        """Return the name of the class of each example.

        Args:
            encoder: a `keras.Model` or Keras layer from images to features, or any function of a
                batch. For precomputed features, pass `keras_ssl.evaluate.raw_pixels` and the
                features in place of the images.
            data: a batched `tf.data.Dataset` or `keras.utils.PyDataset`, or an array.
            batch_size: examples per batch if the data is arrays.

        Returns:
            A name for each example.

        Raises:
            ValueError: if features are not finite, or of another width than the embeddings.
        """
        features, _ = extract_features(encoder, data, batch_size)
        return [self.class_names[one] for one in self._scores(features).argmax(axis=1)]

    def accuracy(
        self,
        encoder: keras.layers.Layer | Callable,
        data: Any,
        k: int = 1,
        batch_size: int = 256,
    ) -> float:
        """Return the share of examples whose class is among the `k` most similar ones.

        A class that is as similar as the right one comes before it.

        Args:
            encoder: as of `classify`.
            data: a batched data set of `(x, y)`, or a tuple of arrays `(x, y)`. Labels are names of
                classes, or integers, their places in `class_names`. Examples with the label -1,
                which means no label, are left out.
            k: number of classes that are looked at.
            batch_size: examples per batch if the data is arrays.

        Returns:
            The accuracy, from 0 to 1.

        Raises:
            TypeError: if labels are neither integers nor strings.
            ValueError: if there are no labels, a label is not a class, or features are not finite
                or of another width.
        """
        k = checks.integer("k", k, minimum=1)
        batches = as_batches(data, "data", batch_size, labelled=True)
        features, labels = labelled_only(*extract_features(encoder, batches), "data")
        labels = self._places(labels)
        scores = self._scores(features)
        right = np.take_along_axis(scores, labels[:, None], axis=1)
        # itself is one of them
        return float(np.mean(np.count_nonzero(scores >= right, axis=1) <= k))

    def _places(self, labels: np.ndarray) -> np.ndarray:
        labels = class_labels(labels, "data")
        names = self.class_names
        known = np.array(names) if labels.dtype.kind == "U" else np.arange(len(names))
        wrong = ~np.isin(labels, known)
        if wrong.any():
            raise ValueError(
                f"Labels must be names of the classes, or integers from 0 to {len(names) - 1}. "
                f"Received: {labels[wrong].tolist()[0]!r}"
            )
        if labels.dtype.kind != "U":
            return labels
        place = {name: number for number, name in enumerate(names)}
        return np.array([place[one] for one in labels.tolist()])

    def _scores(self, features: np.ndarray) -> np.ndarray:
        features = check_features(features, "features")
        if not self.built:
            raise ValueError(
                "The classes need embeddings: use `zero_shot_classifier`, or `set_embeddings`."
            )
        if features.shape[1] != self.embeddings.shape[1]:
            raise ValueError(
                f"Features must have {self.embeddings.shape[1]} dimensions, those of the class "
                f"embeddings. Received: shape {features.shape}"
            )
        return ops.convert_to_numpy(self._cosines(features))


def _texts(name: str, texts: Any) -> list[str]:
    if isinstance(texts, str) or not all(isinstance(one, str) for one in texts):
        raise TypeError(f"`{name}` must be a list of strings. Received: {texts!r}")
    if not len(texts):
        raise ValueError(f"`{name}` must hold at least one text. Received: none")
    return list(texts)
