"""What kind of data a trainer takes."""

from typing import Any

import keras
from keras import ops

from keras_ssl.ops.pixels import pixels_as_floats
from keras_ssl.trainers.step import Batch, batch_size_of


class ExampleInput:
    """Data whose first axis counts examples: what most trainers learn from.

    A trainer's class attribute `input_kind` holds one of these. `trainers.graph` has another, for
    data in which a batch is a graph.
    """

    # several tensors are ready views where the trainer has no augmentation
    may_be_views = True
    # whether inputs stay as they are in a call of the trainer, since its layers cast them
    keeps_dtypes = False

    def as_data(self, x: Any) -> Any:
        """Convert what `fit`, `evaluate` and `predict` were given to data that Keras reads."""
        return x

    def as_tensors(self, x: Any) -> Any:
        """Convert what the trainer was called on to tensors or arrays."""
        return x

    def as_floats(self, x: Any) -> Any:
        """Cast images of integers to float32, without rescaling."""
        return pixels_as_floats(x)

    def check_shapes(self, trainer: keras.Model, x: Any) -> None:
        """Raise a `ValueError` if a batch of these shapes cannot be trained on."""
        if batch_size_of(x) == 0:
            raise ValueError("Expected batches with examples. Received: an empty batch")

    def export(self, trainer: keras.Model, export: Any, *args: Any, **kwargs: Any) -> None:
        """Write a trainer for serving by `export`, `keras.Model.export` of it."""
        export(*args, **kwargs)

    def examples_in(self, x: Any) -> Any:
        """Return how many examples the losses of a batch are means of.

        The losses of an epoch are means of those of its batches with these weights.
        """
        return ops.shape(keras.tree.flatten(x)[0])[0]

    def weights_of_labels(self, batch: Batch) -> Any:
        """Return the weights of the labels of a batch for the probe, or `None`."""
        return batch.sample_weight

    def mask_padding(self, h: Any, x: Any, layer: keras.layers.Layer) -> Any:
        """Return features of `x` for `layer`, with a Keras mask of the rows that are padding."""
        return h

    def check_values(self, trainer: keras.Model, data: Any) -> None:
        """Raise a `ValueError` if the values of the data cannot be trained on."""
