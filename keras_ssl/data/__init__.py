"""Images to train and evaluate on, as `tf.data`."""

from keras_ssl.data.images import class_names, load_images
from keras_ssl.data.with_index import with_index

__all__ = ["class_names", "load_images", "with_index"]
