import gzip

import pytest

from keras_ssl import text


def test_lines_and_documents_of_files(tmp_path):
    plain, packed = tmp_path / "a.txt", tmp_path / "b.txt.gz"
    plain.write_text("eins\n zwei \r\n\n\ndrei Übel\n", encoding="utf-8")
    packed.write_bytes(gzip.compress("vier\nfünf".encode()))
    lines = text.Lines(plain, str(packed))
    expected = [["eins", "zwei"], ["drei Übel"], ["vier", "fünf"]]
    assert lines.documents() == expected
    assert list(lines) == list(lines) == [line for document in expected for line in document]
    tokenizer = text.VocabularyTokenizer.words(lines)
    assert set(tokenizer.vocabulary[5:]) == {"eins", "zwei", "drei", "Übel", "vier", "fünf"}
    plain.write_text("größe", encoding="latin-1")
    assert list(text.Lines(plain, encoding="latin-1")) == ["größe"]


def test_bad_paths(tmp_path):
    with pytest.raises(ValueError, match="at least one file"):
        text.Lines()
    with pytest.raises(FileNotFoundError, match="must be files that exist"):
        text.Lines(tmp_path)
