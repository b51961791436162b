"""Images and graphs to train and evaluate on, as `tf.data`."""

from keras_ssl.data.class_weights import class_weights
from keras_ssl.data.equalise_classes import equalise_classes, restore_frequency
from keras_ssl.data.graph import (
    disjoint_batches,
    from_spektral_loader,
    load_graph,
    neighbor_batches,
    padded_batches,
    single_graph,
)
from keras_ssl.data.image_folder import ImageFolder, image_folder
from keras_ssl.data.images import class_names, load_images
from keras_ssl.data.with_index import with_index
from keras_ssl.data.words import WordVocabulary, read_analogies, read_word_pairs, word_windows

__all__ = [
    "ImageFolder",
    "WordVocabulary",
    "class_names",
    "class_weights",
    "disjoint_batches",
    "equalise_classes",
    "from_spektral_loader",
    "image_folder",
    "load_graph",
    "load_images",
    "neighbor_batches",
    "padded_batches",
    "read_analogies",
    "read_word_pairs",
    "restore_frequency",
    "single_graph",
    "with_index",
    "word_windows",
]
