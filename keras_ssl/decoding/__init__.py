"""Text from decoders, token by token: greedy, by sampling, and by beam search."""

from keras_ssl.decoding.decode import Decoded, decode
from keras_ssl.decoding.methods import BeamSearch, DecodingMethod, Greedy, Sampling

__all__ = ["BeamSearch", "Decoded", "DecodingMethod", "Greedy", "Sampling", "decode"]
