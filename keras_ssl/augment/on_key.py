"""Augmentation of one part of a structure."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_ssl.augment._view_generator import as_pipeline
from keras_ssl.augment.augmentation import Augmentation


@keras.saving.register_keras_serializable(package="keras_ssl")
class OnKey(Augmentation):
    """Augmentation of one entry of a dictionary or tuple; the other entries stay as they are.

    Args:
        key: key of a dictionary, or index of a tuple or list.
        pipeline: a Keras layer or a list of them, applied to that entry.
        seed: integer seed, or `None` for a random one.
        **kwargs: `name` and other arguments of `keras.layers.Layer`.

    Call arguments:
        inputs: a dictionary, tuple or list.
        training: whether to augment.

    Output shape:
        The structure of the inputs, with what the pipeline returns for the entry.

    Raises:
        TypeError: if `pipeline` holds anything but Keras layers, or `key` is neither a string nor
            an integer.
        ValueError: if the inputs have no such entry.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import augment
    >>> views = augment.Views(
    ...     [
    ...         augment.OnKey("image", augment.RandomResizedCrop(24)),
    ...         augment.OnKey("table", augment.tabular.RandomFeatureCorruption(0.5)),
    ...     ]
    ... )
    >>> first, second = views(
    ...     {"image": np.zeros((4, 32, 32, 3), "uint8"), "table": np.zeros((4, 7), "float32")}
    ... )
    >>> first["image"].shape, second["table"].shape
    (TensorShape([4, 24, 24, 3]), TensorShape([4, 7]))
    """

    def __init__(
        self,
        key: str | int,
        pipeline: keras.layers.Layer | Sequence[keras.layers.Layer],
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(seed=seed, **kwargs)
        if isinstance(key, bool) or not isinstance(key, str | int):
            raise TypeError(
                "`key` must be a key of a dictionary (a string) or an index of a tuple (an "
                f"integer). Received: key={key!r} of type {type(key).__name__}"
            )
        self.key = key
        self.pipeline = as_pipeline(pipeline)

    def build(self, input_shape: Any) -> None:
        """Build the pipeline for its entry."""
        self.check_inputs(input_shape)
        if not self.pipeline.built:
            self.pipeline.build(input_shape[self.key])
        self.built = True

    def check_inputs(self, inputs: Any) -> None:
        """Raise unless the inputs have an entry `key`."""
        if isinstance(inputs, dict):
            has_entry, entries = self.key in inputs, f"a dictionary with keys {list(inputs)}"
        elif isinstance(inputs, tuple | list):
            has_entry = isinstance(self.key, int) and -len(inputs) <= self.key < len(inputs)
            entries = f"a {type(inputs).__name__} of length {len(inputs)}"
        else:
            has_entry, entries = False, type(inputs).__name__
        if not has_entry:
            raise ValueError(
                f"Layer '{self.name}' expects a dictionary or tuple with an entry {self.key!r}. "
                f"Received: {entries}"
            )

    def transform(self, inputs: Any, training: bool, seed: Any = None) -> Any:
        """Apply the pipeline to its entry."""
        self.check_inputs(inputs)
        seed = self.seed_generator if seed is None else seed
        entry = self.pipeline.transform(inputs[self.key], training, seed)
        return self._with_entry(inputs, entry)

    @property
    def keeps_range(self) -> bool:
        """Whether the pipeline does."""
        return self.pipeline.keeps_range

    def value_ranges(self, inputs: Any) -> list:
        """Those of the pipeline, for its entry."""
        self.check_inputs(inputs)
        return self.pipeline.value_ranges(inputs[self.key])

    def compute_output_shape(self, input_shape: Any) -> Any:
        """Shapes of the inputs, with that behind the pipeline for its entry."""
        shape = self.pipeline.compute_output_shape(input_shape[self.key])
        return self._with_entry(input_shape, shape)

    def _with_entry(self, structure: Any, entry: Any) -> Any:
        if isinstance(structure, dict):
            return {**structure, self.key: entry}
        entries = list(structure)
        entries[self.key] = entry
        if hasattr(structure, "_replace"):  # a named tuple
            return type(structure)(*entries)
        return type(structure)(entries)

    def get_config(self) -> dict:
        """Arguments of the constructor."""
        pipeline = keras.saving.serialize_keras_object(self.pipeline)
        return {**super().get_config(), "key": self.key, "pipeline": pipeline}

    @classmethod
    def from_config(cls, config: dict) -> "OnKey":
        """Make the layer from the result of `get_config`."""
        pipeline = keras.saving.deserialize_keras_object(config["pipeline"])
        return cls(**{**config, "pipeline": pipeline})
