"""Encoders and decoders of text."""

from keras_ssl.networks.text.bert import BERT, bert
from keras_ssl.networks.text.gpt2 import GPT2, gpt2, text_transformer
from keras_ssl.networks.text.heads import SentenceClassifier, SpanClassifier, TokenClassifier
from keras_ssl.networks.text.image_captioner import ImageCaptioner
from keras_ssl.networks.text.recurrent_encoder import RecurrentEncoder
from keras_ssl.networks.text.recurrent_lm import RecurrentLM
from keras_ssl.networks.text.recurrent_seq2seq import RecurrentSeq2Seq
from keras_ssl.networks.text.text_encoder import TextEncoder
from keras_ssl.networks.text.transformer import Transformer, transformer

__all__ = [
    "BERT",
    "GPT2",
    "ImageCaptioner",
    "RecurrentEncoder",
    "RecurrentLM",
    "RecurrentSeq2Seq",
    "SentenceClassifier",
    "SpanClassifier",
    "TextEncoder",
    "TokenClassifier",
    "Transformer",
    "bert",
    "gpt2",
    "text_transformer",
    "transformer",
]
