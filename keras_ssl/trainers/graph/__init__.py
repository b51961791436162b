"""Methods that learn from graphs."""

from keras_ssl.trainers.graph.dgi import DGI
from keras_ssl.trainers.graph.graph_model import GraphModel
from keras_ssl.trainers.graph.info_graph import InfoGraph
from keras_ssl.trainers.graph.node2vec import Node2Vec

__all__ = ["DGI", "GraphModel", "InfoGraph", "Node2Vec"]
