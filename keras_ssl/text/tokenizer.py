"""WordPiece and byte-level BPE by the package `tokenizers`, as in BERT and GPT-2."""

from __future__ import annotations

import functools
import json as json_format
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_ssl import checks
from keras_ssl.text._texts import check_iterable, check_text
from keras_ssl.text.base_tokenizer import BaseTokenizer, Frame

_BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_GPT2 = ["<|endoftext|>"]
# names of special tokens in published vocabularies; of several, the first that there is
_KNOWN = {
    "pad": ["[PAD]", "<pad>", "<|pad|>", "<|padding|>"],
    "unknown": ["[UNK]", "<unk>"],
    "start": ["[CLS]", "<s>", "[BOS]", "<bos>", "<|startoftext|>", "<|endoftext|>"],
    "end": ["[SEP]", "</s>", "[EOS]", "<eos>", "<|endoftext|>"],
    "mask": ["[MASK]", "<mask>", "<|mask|>"],
}


@keras.saving.register_keras_serializable(package="keras_ssl")
class Tokenizer(BaseTokenizer):
    """A subword tokenizer of the package `tokenizers`, which is saved with the model.

    `word_piece` and `byte_pair` train one on texts, `from_file` reads a `tokenizer.json` of
    Hugging Face. All that belongs to it is in one JSON text, its config. As an argument of a
    trainer or model it is therefore part of the `.keras` file, without pickle. The package comes
    with the extra `keras-ssl[text]`.

    The special tokens of published vocabularies are known by their names (`[CLS]`, `<s>`,
    `<|endoftext|>`, ...). Without a pad token, as in GPT-2, the end token is at positions that the
    padding mask leaves out. A special token that is written in a text becomes that token, so a
    text may be `"The capital is [MASK]."`.

    Args:
        json: the content of a `tokenizer.json`. Truncation and padding in it are ignored: the
            length is an argument of the call.
        special_tokens: tokens by role (`"pad"`, `"unknown"`, `"start"`, `"end"`, `"mask"`) that
            have other names.

    Raises:
        ImportError: if `tokenizers` is not installed.
        ValueError: if `json` is not that of a tokenizer, or a token of `special_tokens` is not in
            its vocabulary.

    Example:

    >>> from keras_ssl import text
    >>> texts = ["the old man the boats", "the young man the old boats"]
    >>> tokenizer = text.Tokenizer.word_piece(texts, vocabulary_size=60)
    >>> batch = tokenizer(["The boats!", "old man"], length=6)
    >>> batch["token_ids"].shape, batch["padding_mask"].sum(axis=1)
    ((2, 6), array([5, 4]))
    >>> tokenizer.decode(batch["token_ids"])
    ['the boats', 'old man']
    >>> copy = text.Tokenizer.from_config(tokenizer.get_config())
    >>> copy.vocabulary == tokenizer.vocabulary
    True

    Reference:
        - [WordPiece in BERT (Devlin et al., 2018)](https://arxiv.org/abs/1810.04805)
        - [Byte pair encoding (Sennrich et al., 2015)](https://arxiv.org/abs/1508.07909)
    """

    def __init__(self, json: str, special_tokens: Mapping[str, str] | None = None) -> None:
        self._tokenizer = _parse(json)
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self.special_tokens = dict(special_tokens or {})
        ids = self._tokenizer.get_vocab()
        vocabulary = [""] * (max(ids.values()) + 1)  # ids need not be without gaps
        for token, number in ids.items():
            vocabulary[number] = token
        added = self._tokenizer.get_added_tokens_decoder()
        special = {number: one.content for number, one in added.items() if one.special}
        roles = {**_roles_of(set(special.values())), **self.special_tokens}
        if "pad" not in roles and "end" in roles:
            roles["pad"] = roles["end"]
        super().__init__(vocabulary, roles)
        self.special_token_ids = sorted({*special, *self.special_token_ids})
        self._read_templates()

    @classmethod
    def word_piece(
        cls,
        texts: Iterable[str],
        vocabulary_size: int,
        lowercase: bool = True,
        strip_accents: bool | None = None,
        minimum_count: int = 2,
        alphabet_size: int = 1000,
    ) -> Tokenizer:
        """Train a WordPiece vocabulary, as BERT's: `[PAD] [UNK] [CLS] [SEP] [MASK]` are ids 0 to 4.

        The same texts give the same vocabulary.

        Args:
            texts: strings; `text.Lines(path)` for files. They are read twice.
            vocabulary_size: largest number of tokens. There are fewer if the texts have no more.
            lowercase: whether to ignore the case, as in BERT's uncased models.
            strip_accents: whether to ignore accents; `None`: if `lowercase`.
            minimum_count: how often a pair of tokens must occur to be joined.
            alphabet_size: largest number of different characters; of more, the most frequent ones
                are taken, and words with others are `[UNK]`.

        Returns:
            A `Tokenizer`.

        Raises:
            ImportError: if `tokenizers` is not installed.
            TypeError: if `texts` is one string, or holds something else than strings.
            ValueError: if the texts have no words, or more characters than the vocabulary has
                room for.
        """
        tokenizers = _import_tokenizers()
        vocabulary_size = checks.integer("vocabulary_size", vocabulary_size, minimum=6)
        minimum_count = checks.integer("minimum_count", minimum_count, minimum=1)
        alphabet_size = checks.integer("alphabet_size", alphabet_size, minimum=1)
        normalizer = tokenizers.normalizers.BertNormalizer(
            lowercase=bool(lowercase), strip_accents=strip_accents
        )
        words = tokenizers.pre_tokenizers.BertPreTokenizer()
        texts = _read_twice(texts)
        alphabet = _alphabet(texts, normalizer, alphabet_size)
        # The package gives ids to these in the order of a hash table. Among equally frequent pairs
        # ids decide, so without fixed ids each training would give another vocabulary.
        within = (words.pre_tokenize_str(normalizer.normalize_str(f"a{x}a")) for x in alphabet)
        inner = [f"##{x}" for x, parts in zip(alphabet, within, strict=True) if len(parts) == 1]
        needed = len(_BERT) + len(alphabet) + len(inner)
        if needed > vocabulary_size:
            raise ValueError(
                f"`vocabulary_size` must be at least {needed} for the {len(alphabet)} different "
                "characters of `texts`, at the start of words and within; `alphabet_size` limits "
                f"them. Received: vocabulary_size={vocabulary_size}"
            )
        trained = tokenizers.Tokenizer(tokenizers.models.WordPiece(unk_token="[UNK]"))
        trained.normalizer, trained.pre_tokenizer = normalizer, words
        trainer = tokenizers.trainers.WordPieceTrainer(
            vocab_size=vocabulary_size,
            min_frequency=minimum_count,
            special_tokens=_BERT + inner,
            initial_alphabet=alphabet,
            limit_alphabet=len(alphabet),
            show_progress=False,
        )
        trained.train_from_iterator(texts, trainer)
        # the pieces within words, whose ids have served their purpose, are no special tokens
        result = tokenizers.Tokenizer(
            tokenizers.models.WordPiece(trained.get_vocab(), unk_token="[UNK]")
        )
        result.normalizer, result.pre_tokenizer = normalizer, words
        result.decoder = tokenizers.decoders.WordPiece()
        result.add_special_tokens(_BERT)
        result.post_processor = tokenizers.processors.TemplateProcessing(
            single="[CLS] $A [SEP]",
            pair="[CLS] $A [SEP] $B:1 [SEP]:1",
            special_tokens=[("[CLS]", _BERT.index("[CLS]")), ("[SEP]", _BERT.index("[SEP]"))],
        )
        return cls(result.to_str())

    @classmethod
    def byte_pair(
        cls, texts: Iterable[str], vocabulary_size: int, minimum_count: int = 2
    ) -> Tokenizer:
        """Train a byte-level BPE vocabulary, as GPT-2's, with `<|endoftext|>` as id 0.

        Every text can be encoded, and decoding gives it back to the byte. The same texts give the
        same vocabulary.

        Args:
            texts: strings; `text.Lines(path)` for files, which leaves out line ends.
            vocabulary_size: largest number of tokens, at least 257: the bytes and
                `<|endoftext|>`. There are fewer if the texts have no more.
            minimum_count: how often a pair of tokens must occur to be joined.

        Returns:
            A `Tokenizer`.

        Raises:
            ImportError: if `tokenizers` is not installed.
            TypeError: if `texts` is one string, or holds something else than strings.
            ValueError: if the texts have no words, or an argument is out of range.
        """
        tokenizers = _import_tokenizers()
        trainer = tokenizers.trainers.BpeTrainer(
            vocab_size=checks.integer("vocabulary_size", vocabulary_size, minimum=257),
            min_frequency=checks.integer("minimum_count", minimum_count, minimum=1),
            special_tokens=_GPT2,
            initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        )
        check_iterable("texts", texts)
        trained = tokenizers.Tokenizer(tokenizers.models.BPE())
        trained.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
        trained.decoder = tokenizers.decoders.ByteLevel()
        trained.post_processor = tokenizers.processors.ByteLevel(trim_offsets=False)
        trained.train_from_iterator(_with_words(texts), trainer)
        return cls(trained.to_str())

    @classmethod
    def from_file(
        cls, path: str | PathLike[str], special_tokens: Mapping[str, str] | None = None
    ) -> Tokenizer:
        """Read a `tokenizer.json` of Hugging Face, or what `save` wrote.

        Args:
            path: the file.
            special_tokens: tokens by role, as in the constructor.

        Returns:
            A `Tokenizer`.

        Raises:
            ImportError: if `tokenizers` is not installed.
            FileNotFoundError: if there is no such file.
            ValueError: if it is no `tokenizer.json`.
        """
        try:
            return cls(Path(path).read_text(encoding="utf-8"), special_tokens)
        except UnicodeDecodeError as error:
            raise ValueError(f"`path` must be a tokenizer.json. Received: {path}") from error

    def save(self, path: str | PathLike[str]) -> None:
        """Write a `tokenizer.json` that Hugging Face's packages read."""
        self._tokenizer.save(str(path))

    @property
    def json(self) -> str:
        """The content of a `tokenizer.json`."""
        return self._tokenizer.to_str()

    def encode_texts(self, texts: list[str]) -> list[np.ndarray]:
        encoded = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [np.array(one.ids, np.int32) for one in encoded]

    def decode_ids(self, ids: list[int], skip_special_tokens: bool) -> str:
        if skip_special_tokens:
            ids = [one for one in ids if one not in self._special_ids]
        return self._tokenizer.decode(ids, skip_special_tokens=False)

    @functools.cached_property
    def _special_ids(self) -> frozenset[int]:
        return frozenset(self.special_token_ids)

    @functools.cached_property
    def word_starts(self) -> np.ndarray:
        begins = _begins_word(json_format.loads(self.json))
        starts = np.array([begins(token) for token in self.vocabulary])
        starts[self.special_token_ids] = True
        return starts

    def frame_of(self, pair: bool = False) -> Frame:
        template = self._templates[pair]
        return template if template.size else super().frame_of(pair)

    def _read_templates(self) -> None:
        """Find the special tokens that the file itself puts around texts, by encoding one."""
        self._templates = {False: Frame(), True: Frame()}
        self.has_segments = False
        candidates = ("a", *self.vocabulary)
        probe = next((one for one in candidates if len(self.encode(one))), None)
        if probe is None:
            return
        for second in (None, probe):
            encoded = self._tokenizer.encode(probe, second)
            of_text = [n for n, owner in enumerate(encoded.sequence_ids) if owner is not None]
            first_end = 1 + max(n for n in of_text if encoded.sequence_ids[n] == 0)
            second_start = encoded.sequence_ids.index(1) if second else first_end
            ids, last = tuple(encoded.ids), of_text[-1]
            frame = Frame(ids[: of_text[0]], ids[first_end:second_start], ids[last + 1 :])
            self._templates[second is not None] = frame
        self.has_segments = frame.size > 0 and encoded.type_ids[last] == 1

    def get_config(self) -> dict:
        return {"json": self.json, "special_tokens": self.special_tokens or None}


def _import_tokenizers() -> Any:
    try:
        import tokenizers
    except ImportError as error:
        raise ImportError(
            "WordPiece and byte-level BPE need the package tokenizers. Install it with "
            "`pip install 'keras-ssl[text]'`."
        ) from error
    return tokenizers


def _parse(json: str) -> Any:
    tokenizers = _import_tokenizers()
    if not isinstance(json, str):
        raise TypeError(
            "`json` must be the content of a tokenizer.json; for a file use `Tokenizer.from_file`. "
            f"Received: {json!r} of type {type(json).__name__}"
        )
    try:
        parsed = tokenizers.Tokenizer.from_str(json)
    except Exception as error:  # the package raises no narrower class
        raise ValueError(
            f"`json` must be the content of a tokenizer.json. Received: {json[:60]!r}... ({error})"
        ) from error
    if not parsed.get_vocab():
        raise ValueError("`json` must have a vocabulary. Received: one without tokens")
    return parsed


def _roles_of(special: set[str]) -> dict[str, str]:
    """Return the special tokens with known names by their roles."""
    found = {role: [one for one in names if one in special] for role, names in _KNOWN.items()}
    return {role: names[0] for role, names in found.items() if names}


def _read_twice(texts: Iterable[str]) -> Iterable[str]:
    check_iterable("texts", texts)
    return list(texts) if iter(texts) is texts else texts


def _with_words(texts: Iterable[str]) -> Iterator[str]:
    """Yield the texts, and raise an error at their end if none of them had a word."""
    has_words = False
    for number, one in enumerate(texts):
        check_text("texts", number, one)
        has_words = has_words or bool(one.strip())
        yield one
    if not has_words:
        raise ValueError("`texts` must hold words. Received: an empty corpus")


def _alphabet(texts: Iterable[str], normalizer: Any, size: int) -> list[str]:
    """Return the most frequent characters of the texts, in the order of their code points."""
    counts = Counter()
    for one in _with_words(texts):
        counts.update(normalizer.normalize_str(one))
    counts = {one: count for one, count in counts.items() if not one.isspace()}
    return sorted(sorted(counts, key=lambda one: (-counts[one], one))[:size])


def _begins_word(json: dict) -> Any:
    """Return the function that says whether a token of a `tokenizer.json` begins a word."""
    model, kinds = json["model"], set(_kinds(json))
    prefix = model.get("continuing_subword_prefix")
    if prefix:
        return lambda token: not token.startswith(prefix)
    if "ByteLevel" in kinds:
        decoder = _import_tokenizers().decoders.ByteLevel()
        return lambda token: not is_within_word(decoder.decode([token]))
    if "Metaspace" in kinds:
        return lambda token: token.startswith("▁") or not is_within_word(token)
    if model["type"] == "WordLevel":
        return lambda token: True
    raise ValueError(
        "Words can be told apart in WordPiece, byte-level BPE and SentencePiece vocabularies. "
        f"Received: one of type {model['type']!r} with the parts {sorted(kinds)}"
    )


def _kinds(json: Any) -> Iterator[str]:
    """Yield the types of all parts that process texts."""
    if isinstance(json, dict):
        if isinstance(json.get("type"), str):
            yield json["type"]
        json = [value for key, value in json.items() if key not in ("vocab", "merges")]
    if isinstance(json, list):
        for one in json:
            yield from _kinds(one)


def is_within_word(token: str) -> bool:
    """Return whether a token goes on with the word before it, since it starts with a letter.

    Digits, accents, and parts of characters count as letters.
    """
    first = token[:1]
    return first.isalnum() or first == "\ufffd" or unicodedata.category(first or " ")[0] == "M"
