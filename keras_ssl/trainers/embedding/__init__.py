"""Methods that learn one vector for each word."""

from keras_ssl.trainers.embedding.architectures import CBOW, SkipGram
from keras_ssl.trainers.embedding.objectives import (
    FullSoftmax,
    NegativeSampling,
    NoiseContrastive,
    WordObjective,
)
from keras_ssl.trainers.embedding.word2vec import Word2Vec

__all__ = [
    "CBOW",
    "FullSoftmax",
    "NegativeSampling",
    "NoiseContrastive",
    "SkipGram",
    "Word2Vec",
    "WordObjective",
]
