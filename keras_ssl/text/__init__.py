"""Text as token ids: tokenizers that are saved with models, and batches of static shapes."""

from keras_ssl.text.base_tokenizer import BaseTokenizer
from keras_ssl.text.lines import Lines
from keras_ssl.text.next_sentences import next_sentence_batches
from keras_ssl.text.packed_blocks import packed_blocks
from keras_ssl.text.text_batches import batches, parallel_batches
from keras_ssl.text.text_model import TextModel
from keras_ssl.text.token_windows import token_windows
from keras_ssl.text.tokenizer import Tokenizer
from keras_ssl.text.vocabulary_tokenizer import VocabularyTokenizer

__all__ = [
    "BaseTokenizer",
    "Lines",
    "TextModel",
    "Tokenizer",
    "VocabularyTokenizer",
    "batches",
    "next_sentence_batches",
    "packed_blocks",
    "parallel_batches",
    "token_windows",
]
