"""Plots of data, features, training and of what is generated, and reports as one HTML file."""

from keras_ssl.visualize.plot_attention import plot_attention
from keras_ssl.visualize.plot_codes import plot_codes
from keras_ssl.visualize.plot_comparison import plot_comparison
from keras_ssl.visualize.plot_denoising import plot_denoising
from keras_ssl.visualize.plot_embedding import plot_embedding
from keras_ssl.visualize.plot_history import plot_history
from keras_ssl.visualize.plot_latents import plot_interpolation, plot_traversal
from keras_ssl.visualize.plot_neighbors import plot_neighbors
from keras_ssl.visualize.plot_reconstructions import plot_reconstructions
from keras_ssl.visualize.plot_samples import plot_samples
from keras_ssl.visualize.plot_views import plot_views
from keras_ssl.visualize.plot_words import plot_words
from keras_ssl.visualize.write_report import write_report

__all__ = [
    "plot_attention",
    "plot_codes",
    "plot_comparison",
    "plot_denoising",
    "plot_embedding",
    "plot_history",
    "plot_interpolation",
    "plot_neighbors",
    "plot_reconstructions",
    "plot_samples",
    "plot_traversal",
    "plot_views",
    "plot_words",
    "write_report",
]
