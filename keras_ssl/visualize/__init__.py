"""Plots of views, embeddings, neighbors, attention, codes of patches and training histories."""

from keras_ssl.visualize.plot_attention import plot_attention
from keras_ssl.visualize.plot_codes import plot_codes
from keras_ssl.visualize.plot_embedding import plot_embedding
from keras_ssl.visualize.plot_history import plot_history
from keras_ssl.visualize.plot_neighbors import plot_neighbors
from keras_ssl.visualize.plot_views import plot_views

__all__ = [
    "plot_attention",
    "plot_codes",
    "plot_embedding",
    "plot_history",
    "plot_neighbors",
    "plot_views",
]
