"""Methods that learn from graphs."""

from keras_ssl.trainers.graph.graph_model import GraphModel

__all__ = ["GraphModel"]
