"""The file of a backup, and what can go wrong with it."""

import errno
import json
import os
import subprocess
import sys
import zipfile

import keras
import ml_dtypes
import numpy as np
import pytest

from keras_ssl.callbacks import BackupAndResume, backup_file
from keras_ssl.callbacks.backup_file import read_backup, write_backup
from tests.callbacks.interrupted import InterruptAt, compiled, dataset, examples

ARRAYS = {
    "float": np.linspace(-1, 1, 12, dtype="float32").reshape(3, 4),
    "half": np.array([1.5, np.nan, np.inf], "float16"),
    "brain": np.array([1.5, -2.0], ml_dtypes.bfloat16),
    "scalar": np.array(3, "int64"),
    "unsigned": np.array([2**32 - 1, 0], "uint32"),
    "flag": np.array(True),
    "nothing": np.zeros((0, 3), "float64"),
}


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "backup.npz"
    assert read_backup(path) is None
    write_backup(path, {"position": [1, 2], "nan": float("nan")}, ARRAYS)
    manifest, arrays, _ = read_backup(path)
    assert manifest["position"] == [1, 2] and np.isnan(manifest["nan"])
    assert set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype and arrays[name].shape == array.shape
        assert arrays[name].tobytes() == array.tobytes()


def test_there_is_no_pickle_in_it(tmp_path):
    path = tmp_path / "backup.npz"
    write_backup(path, {}, ARRAYS)
    with np.load(path, allow_pickle=False) as file:
        assert json.loads(file["manifest"].tobytes())["kind"] == "keras_ssl backup"
    with np.load(path, allow_pickle=True) as file:
        assert all(file[name].dtype.kind != "O" for name in file.files)


def fail_at(monkeypatch, target, name, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(target, name, fail)


@pytest.mark.parametrize("where", ["write", "fsync", "replace"])
def test_a_failed_write_leaves_the_one_before(tmp_path, monkeypatch, where):
    path = tmp_path / "backup.npz"
    write_backup(path, {"number": 1}, ARRAYS)
    full = OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as patch:
        if where == "write":
            fail_at(patch, backup_file.np, "savez", full)
        elif where == "fsync":
            fail_at(patch, backup_file.os, "fsync", full)
        else:
            fail_at(patch, backup_file.Path, "replace", full)
        with pytest.raises(OSError, match=r"could not be written \(No space left") as raised:
            write_backup(path, {"number": 2}, ARRAYS)
    assert raised.value.errno == errno.ENOSPC
    assert "The backup before it is whole" in str(raised.value)
    assert str(path) in str(raised.value)
    assert read_backup(path)[0]["number"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["backup.npz"]


FULL = """
import resource, signal, sys
import numpy as np
from pathlib import Path
from keras_ssl.callbacks.backup_file import write_backup
path = Path(sys.argv[1])
write_backup(path, {"number": 1}, {"a": np.zeros(100_000, "uint8")})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
write_backup(path, {"number": 2}, {"a": np.zeros(1_000_000, "uint8")})
"""


def test_a_file_system_that_takes_no_more(tmp_path):
    """The kernel itself refuses to write on: the limit of a process stands in for a full disk."""
    path = tmp_path / "backup.npz"
    ended = subprocess.run(
        [sys.executable, "-c", FULL, str(path)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 1
    assert "could not be written (File too large). The backup before it is whole" in ended.stderr
    assert read_backup(path)[0]["number"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["backup.npz"]


def test_truncated_at_any_length(tmp_path):
    path = tmp_path / "backup.npz"
    write_backup(path, {"number": 1}, ARRAYS)
    whole = path.read_bytes()
    for length in range(0, len(whole), max(len(whole) // 60, 1)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is damaged or is no backup of keras_ssl"):
            read_backup(path)
        assert path.stat().st_size == length


def test_a_flipped_bit_is_found(tmp_path):
    path = tmp_path / "backup.npz"
    arrays = {"a": np.arange(1000.0)}
    write_backup(path, {}, arrays)
    whole = path.read_bytes()
    start = whole.index(arrays["a"].tobytes())
    for position in (start, start + 4000, start + 7999):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(ValueError, match="Bad CRC-32"):
            read_backup(path)


def foreign_files():
    yield "weights", lambda path: np.savez(path, weight=np.zeros(3))
    yield "text", lambda path: path.write_text("epoch 3")
    yield "objects", lambda path: np.savez(path, manifest=np.array([{"a": 1}], dtype=object))
    yield "archive", lambda path: zipfile.ZipFile(path, "w").writestr("a.txt", "b")
    yield "json", lambda path: np.savez(path, manifest=np.frombuffer(b'{"format": 1}', "uint8"))


@pytest.mark.parametrize(("name", "write"), foreign_files(), ids=lambda value: str(value)[:7])
def test_something_else_of_that_name(tmp_path, name, write):
    path = tmp_path / "backup.npz"
    write(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="is no backup of keras_ssl"):
        train(compiled(), tmp_path)
    assert path.read_bytes() == before


def test_a_newer_format(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(backup_file, "FORMAT", 99)
        train(compiled(), tmp_path)
    before = (tmp_path / "backup.npz").read_bytes()
    with pytest.raises(ValueError, match=r"newer keras_ssl, in format 99.*Update keras_ssl"):
        train(compiled(), tmp_path)
    assert (tmp_path / "backup.npz").read_bytes() == before


def train(model, folder, *callbacks, data=None, epochs=2, **arguments):
    data = dataset().batch(4, drop_remainder=True) if data is None else data
    callbacks = [BackupAndResume(folder, every_steps=2), *callbacks]
    return model.fit(data, epochs=epochs, verbose=0, callbacks=callbacks, **arguments)


OTHERS = {
    "width": (lambda: compiled(width=5), {}, r"hidden.*|\[5, 4\] float32 there, \[5, 5\]"),
    "optimizer": (lambda: compiled("sgd"), {}, "the optimizer: .*Adam.* there, .*SGD.* here"),
    "number of batches": (
        compiled,
        {"data": dataset(20).batch(4, drop_remainder=True)},
        "batches in the data: 6 there, 5 here",
    ),
    "batch size": (
        compiled,
        {"data": dataset(36).batch(6, drop_remainder=True)},
        r"the shapes and dtypes of a batch: \[\[\[4, 5\]",
    ),
    "steps per epoch": (
        compiled,
        {"steps_per_epoch": 3},
        "`steps_per_epoch`: None there, 3 here",
    ),
    "steps per execution": (
        lambda: compiled(steps_per_execution=4),
        {},
        "made after 2 steps of an epoch. `steps_per_execution` must divide them",
    ),
    "initial epoch": (compiled, {"initial_epoch": 1}, "initial_epoch=0.*Received.*epoch=1"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_backup_of_another_run(tmp_path, name):
    with pytest.raises(KeyboardInterrupt):
        train(compiled(), tmp_path, InterruptAt(1, 3))
    before = (tmp_path / "backup.npz").read_bytes()
    make, arguments, message = OTHERS[name]
    model = make()
    with pytest.raises(ValueError, match=message):
        train(model, tmp_path, **arguments)
    assert int(model.optimizer.iterations) == 0
    assert (tmp_path / "backup.npz").read_bytes() == before


def test_another_model(tmp_path):
    train(compiled(), tmp_path)

    class Another(type(compiled())):
        pass

    model = Another()
    model.compile("adam", "mse", metrics=["mae"])
    with pytest.raises(ValueError, match="the model's class: Everything there, Another here"):
        train(model, tmp_path)


def test_a_missing_parent_folder(tmp_path):
    model = compiled()
    with pytest.raises(FileNotFoundError, match="its parent folder does not exist"):
        train(model, tmp_path / "mistyped" / "backup")
    assert int(model.optimizer.iterations) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_place_of_the_folder(tmp_path):
    (tmp_path / "backup").write_text("kept")
    with pytest.raises(OSError, match="cannot be written to"):
        train(compiled(), tmp_path / "backup")
    assert (tmp_path / "backup").read_text() == "kept"


def test_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    if os.geteuid() == 0:  # may write anywhere
        fail_at(
            monkeypatch, backup_file.Path, "write_bytes", PermissionError(13, "Permission denied")
        )
    else:
        tmp_path.chmod(0o500)
    model = compiled()
    with pytest.raises(PermissionError, match="cannot be written to") as raised:
        train(model, tmp_path)
    assert str(tmp_path) in str(raised.value)
    assert int(model.optimizer.iterations) == 0


def test_too_little_room_is_found_before_training(tmp_path, monkeypatch):
    usage = backup_file.shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(backup_file.shutil, "disk_usage", lambda _: usage)
    model = compiled()
    with pytest.raises(OSError, match=r"too little room: a backup takes .* MB") as raised:
        train(model, tmp_path)
    assert raised.value.errno == errno.ENOSPC
    assert int(model.optimizer.iterations) == 0


def test_a_disk_that_fills_up_in_training_stops_it(tmp_path, monkeypatch):
    model = compiled()
    written = []

    def sometimes(*args, write=backup_file.np.savez, **kwargs):
        written.append(1)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(*args, **kwargs)

    monkeypatch.setattr(backup_file.np, "savez", sometimes)
    with pytest.raises(OSError, match="The backup before it is whole"):
        train(model, tmp_path)
    manifest, _, _ = read_backup(tmp_path / "backup.npz")
    assert manifest["position"]["step"] == 2
    train(compiled(), tmp_path)  # there is room again


def test_a_second_process_that_writes_to_the_folder_is_noticed(tmp_path):
    class StartAgain(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            train(compiled(), tmp_path, epochs=epoch + 2)

    with pytest.raises(RuntimeError, match="Another process writes its backups to"):
        train(compiled(), tmp_path, StartAgain())
    manifest, _, _ = read_backup(tmp_path / "backup.npz")
    assert manifest["has_ended"] and manifest["epochs"] == 2  # the second one's
    train(compiled(), tmp_path)  # goes on from there


def test_a_backup_that_was_deleted_or_damaged_in_training_is_written_anew(tmp_path):
    path = tmp_path / "backup.npz"

    class Meddle(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0:
                path.unlink()
            else:
                path.write_bytes(path.read_bytes()[:100])

    train(compiled(), tmp_path, Meddle())
    assert read_backup(path)[0]["has_ended"]


def test_leftovers_are_removed(tmp_path):
    left = tmp_path / "backup.npz.12345.tmp"
    left.write_bytes(b"half")
    kept = tmp_path / "other.txt"
    kept.write_text("kept")
    train(compiled(), tmp_path)
    assert not left.exists() and kept.exists()


def test_arrays_of_the_same_length_with_other_batches_are_told_apart(tmp_path):
    x, y = examples()
    with pytest.raises(KeyboardInterrupt):
        compiled().fit(
            x, y, batch_size=4, verbose=0,
            callbacks=[BackupAndResume(tmp_path, every_steps=1), InterruptAt(0, 2)],
        )  # fmt: skip
    with pytest.raises(ValueError, match="batches in the data: 6 there, 3 here"):
        compiled().fit(x, y, batch_size=8, verbose=0, callbacks=[BackupAndResume(tmp_path)])
