"""Methods that learn from text."""

from keras_ssl.trainers.language.causal_lm import CausalLM
from keras_ssl.trainers.language.masked_lm import MaskedLM
from keras_ssl.trainers.language.sentence_autoencoder import SentenceAutoencoder
from keras_ssl.trainers.language.seq2seq import Seq2Seq
from keras_ssl.trainers.language.sim_cse import SimCSE

__all__ = ["CausalLM", "MaskedLM", "SentenceAutoencoder", "Seq2Seq", "SimCSE"]
