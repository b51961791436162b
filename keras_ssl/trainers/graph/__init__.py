"""Methods that learn from graphs."""

from keras_ssl.trainers.graph.graph_model import GraphModel
from keras_ssl.trainers.graph.node2vec import Node2Vec

__all__ = ["GraphModel", "Node2Vec"]
