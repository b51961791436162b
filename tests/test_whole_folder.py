from pathlib import Path

import pytest

from keras_ssl._whole_folder import whole_folder


def test_a_folder_appears_as_a_whole(tmp_path):
    folder = tmp_path / "a" / "b"
    with whole_folder(folder) as made:
        (made / "one").write_text("1")
        assert not folder.exists()
    assert (folder / "one").read_text() == "1"
    with whole_folder(folder) as made:
        (made / "two").write_text("2")
        assert (folder / "one").exists()
    assert [one.name for one in folder.iterdir()] == ["two"]
    assert [one.name for one in folder.parent.iterdir()] == ["b"]


@pytest.mark.parametrize("when", ["while writing", "while renaming"])
def test_after_an_error_the_old_folder_stays(tmp_path, monkeypatch, when):
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "old").touch()
    rename = Path.rename

    def fail_once(path, target):
        if path.name == "made" and when == "while renaming":
            raise OSError("disk full")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail_once)
    with pytest.raises(OSError, match="disk full"), whole_folder(folder) as made:
        (made / "new").touch()
        if when == "while writing":
            raise OSError("disk full")
    assert [one.name for one in folder.iterdir()] == ["old"]
    assert [one.name for one in tmp_path.iterdir()] == ["folder"]
