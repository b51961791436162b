"""Plots of views, embeddings, nearest neighbors and training histories."""

from keras_ssl.visualize.plot_embedding import plot_embedding
from keras_ssl.visualize.plot_history import plot_history
from keras_ssl.visualize.plot_neighbors import plot_neighbors
from keras_ssl.visualize.plot_views import plot_views

__all__ = ["plot_embedding", "plot_history", "plot_neighbors", "plot_views"]
