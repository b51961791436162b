"""Pictures: the views of a batch, the embedding in two dimensions, the curves of a training."""

from keras_ssl.visualize.embedding import plot_embedding
from keras_ssl.visualize.history import plot_history
from keras_ssl.visualize.views import plot_views

__all__ = ["plot_embedding", "plot_history", "plot_views"]
