"""Methods that learn from graphs."""

from keras_ssl.trainers.graph.bgrl import BGRL
from keras_ssl.trainers.graph.dgi import DGI
from keras_ssl.trainers.graph.grace import GRACE
from keras_ssl.trainers.graph.graph_autoencoder import GAE, VGAE
from keras_ssl.trainers.graph.graph_input import GraphInput
from keras_ssl.trainers.graph.graph_mae import GraphMAE
from keras_ssl.trainers.graph.graph_model import GraphModel
from keras_ssl.trainers.graph.info_graph import InfoGraph
from keras_ssl.trainers.graph.node2vec import Node2Vec

__all__ = [
    "BGRL",
    "DGI",
    "GAE",
    "GRACE",
    "VGAE",
    "GraphInput",
    "GraphMAE",
    "GraphModel",
    "InfoGraph",
    "Node2Vec",
]
