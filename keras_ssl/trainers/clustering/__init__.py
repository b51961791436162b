"""Clustering methods: assign examples to clusters and predict the clusters from other views."""

from keras_ssl.trainers.clustering.deep_cluster_v2 import DeepClusterV2
from keras_ssl.trainers.clustering.swav import SwAV

__all__ = ["DeepClusterV2", "SwAV"]
