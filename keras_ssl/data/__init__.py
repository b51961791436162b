"""Images to train and evaluate on, as `tf.data`."""

from keras_ssl.data.images import class_names, load_images

__all__ = ["class_names", "load_images"]
