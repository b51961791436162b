"""Networks on graphs."""

from keras_ssl.networks.graph.gat import gat
from keras_ssl.networks.graph.gcn import gcn
from keras_ssl.networks.graph.gin import gin
from keras_ssl.networks.graph.graphsage import graphsage

__all__ = ["gat", "gcn", "gin", "graphsage"]
