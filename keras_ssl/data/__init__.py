"""Images and graphs to train and evaluate on."""

from keras_ssl.data.graph_sets import load_graph
from keras_ssl.data.images import class_names, load_images
from keras_ssl.data.with_index import with_index

__all__ = ["class_names", "load_graph", "load_images", "with_index"]
