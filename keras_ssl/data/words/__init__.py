"""Words of a text: their vocabulary, windows around them, and files of questions on them."""

from keras_ssl.data.words.question_files import read_analogies, read_word_pairs
from keras_ssl.data.words.word_vocabulary import WordVocabulary
from keras_ssl.data.words.word_windows import word_windows

__all__ = ["WordVocabulary", "read_analogies", "read_word_pairs", "word_windows"]
