"""The file of a backup, and errors in reading and writing it."""

import errno
import json
import os
import signal
import zipfile

import keras
import ml_dtypes
import numpy as np
import pytest

from keras_ssl.callbacks import BackupAndResume, _backup_file
from keras_ssl.callbacks._backup_file import read_backup, write_backup
from tests.callbacks.interrupted import (
    Everything,
    InterruptAt,
    compiled,
    dataset,
    examples,
    restarted,
)

ARRAYS = {
    "float": np.linspace(-1, 1, 12, dtype="float32").reshape(3, 4),
    "half": np.array([1.5, np.nan, np.inf], "float16"),
    "brain": np.array([1.5, -2.0], ml_dtypes.bfloat16),
    "scalar": np.array(3, "int64"),
    "unsigned": np.array([2**32 - 1, 0], "uint32"),
    "flag": np.array(True),
    "nothing": np.zeros((0, 3), "float64"),
}


def test_write_and_read(tmp_path):
    path = tmp_path / "backup.npz"
    assert read_backup(path) is None
    write_backup(path, {"position": [1, 2], "nan": float("nan")}, ARRAYS)
    manifest, arrays, _ = read_backup(path)
    assert manifest["position"] == [1, 2] and np.isnan(manifest["nan"])
    assert set(arrays) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype and arrays[name].shape == array.shape
        assert arrays[name].tobytes() == array.tobytes()


def test_the_file_has_no_pickles(tmp_path):
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
def test_a_failed_write_leaves_the_previous_backup(tmp_path, monkeypatch, where):
    path = tmp_path / "backup.npz"
    write_backup(path, {"number": 1}, ARRAYS)
    full = OSError(errno.ENOSPC, "No space left on device")
    with monkeypatch.context() as patch:
        if where == "write":
            fail_at(patch, _backup_file.np, "savez", full)
        elif where == "fsync":
            fail_at(patch, _backup_file.os, "fsync", full)
        else:
            fail_at(patch, _backup_file.Path, "replace", full)
        with pytest.raises(OSError, match=r"could not be written \(No space left") as raised:
            write_backup(path, {"number": 2}, ARRAYS)
    assert raised.value.errno == errno.ENOSPC
    assert "The previous backup is intact" in str(raised.value)
    assert str(path) in str(raised.value)
    assert read_backup(path)[0]["number"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["backup.npz"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
def test_a_full_file_system(tmp_path):
    """Simulated by a limit of the process, beyond which the kernel rejects writes."""
    path, said = tmp_path / "backup.npz", tmp_path / "said.txt"
    write_backup(path, {"number": 1}, {"a": np.zeros(100_000, "uint8")})
    child = os.fork()
    if child == 0:
        import resource

        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
            write_backup(path, {"number": 2}, {"a": np.zeros(1_000_000, "uint8")})
        except BaseException as error:
            said.write_text(f"{type(error).__name__}: {error}")
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert said.read_text().startswith("OSError")
    expected = "could not be written (File too large). The previous backup is intact"
    assert expected in said.read_text()
    said.unlink()
    assert read_backup(path)[0]["number"] == 1
    assert [file.name for file in tmp_path.iterdir()] == ["backup.npz"]


def test_truncated_at_any_length(tmp_path):
    path = tmp_path / "backup.npz"
    write_backup(path, {"number": 1}, ARRAYS)
    whole = path.read_bytes()
    for length in range(0, len(whole), max(len(whole) // 60, 1)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is damaged or is not a backup of keras_ssl"):
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
def test_a_file_that_is_not_a_backup(tmp_path, name, write):
    path = tmp_path / "backup.npz"
    write(path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="is not a backup of keras_ssl"):
        train(restarted(), tmp_path)
    assert path.read_bytes() == before


def test_a_newer_format(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(_backup_file, "FORMAT", 99)
        train(restarted(), tmp_path)
    before = (tmp_path / "backup.npz").read_bytes()
    with pytest.raises(ValueError, match=r"newer keras_ssl.*Update keras_ssl.*Received: format=99"):
        train(restarted(), tmp_path)
    assert (tmp_path / "backup.npz").read_bytes() == before


def train(model, folder, *callbacks, data=None, epochs=2, **arguments):
    data = dataset().batch(4, drop_remainder=True) if data is None else data
    callbacks = [BackupAndResume(folder, every_steps=2), *callbacks]
    return model.fit(data, epochs=epochs, verbose=0, callbacks=callbacks, **arguments)


OTHERS = {
    "width": (
        lambda: compiled(width=5),
        {},
        r"\[5, 4\] float32 in the backup, \[5, 5\] float32 now",
    ),
    "optimizer": (
        lambda: compiled("sgd"),
        {},
        "the optimizer: .*Adam.* in the backup, .*SGD.* now",
    ),
    "number of batches": (
        restarted,
        {"data": dataset(20).batch(4, drop_remainder=True)},
        "batches in the data: 6 in the backup, 5 now",
    ),
    "batch size": (
        restarted,
        {"data": dataset(36).batch(6, drop_remainder=True)},
        r"the shapes and dtypes of a batch: \[\[\[4, 5\]",
    ),
    "steps per epoch": (
        restarted,
        {"steps_per_epoch": 3},
        "`steps_per_epoch`: None in the backup, 3 now",
    ),
    "steps per execution": (
        lambda: compiled(steps_per_execution=4),
        {},
        "made after 2 steps of an epoch, a number that `steps_per_execution` must divide",
    ),
    "initial epoch": (restarted, {"initial_epoch": 1}, "initial_epoch=0.*Received.*epoch=1"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_backup_of_another_run(tmp_path, name):
    with pytest.raises(KeyboardInterrupt):
        train(restarted(), tmp_path, InterruptAt(1, 3))
    before = (tmp_path / "backup.npz").read_bytes()
    make, arguments, message = OTHERS[name]
    model = make()
    with pytest.raises(ValueError, match=message):
        train(model, tmp_path, **arguments)
    assert int(model.optimizer.iterations) == 0
    assert (tmp_path / "backup.npz").read_bytes() == before


def test_another_model(tmp_path):
    train(restarted(), tmp_path)

    class Another(Everything):
        pass

    model = Another()
    model.compile("adam", "mse", metrics=["mae"])
    with pytest.raises(ValueError, match="model's class: Everything in the backup, Another now"):
        train(model, tmp_path)


def test_a_missing_parent_folder(tmp_path):
    model = restarted()
    with pytest.raises(FileNotFoundError, match="its parent folder does not exist"):
        train(model, tmp_path / "mistyped" / "backup")
    assert int(model.optimizer.iterations) == 0
    assert list(tmp_path.iterdir()) == []


def test_a_file_instead_of_the_folder(tmp_path):
    (tmp_path / "backup").write_text("kept")
    with pytest.raises(OSError, match="cannot be written to"):
        train(restarted(), tmp_path / "backup")
    assert (tmp_path / "backup").read_text() == "kept"


def test_a_folder_that_cannot_be_written_to(tmp_path, monkeypatch):
    if os.geteuid() == 0:  # may write anywhere
        fail_at(
            monkeypatch, _backup_file.Path, "write_bytes", PermissionError(13, "Permission denied")
        )
    else:
        tmp_path.chmod(0o500)
    model = restarted()
    with pytest.raises(PermissionError, match="cannot be written to") as raised:
        train(model, tmp_path)
    assert str(tmp_path) in str(raised.value)
    assert int(model.optimizer.iterations) == 0


def test_too_little_space_is_found_before_training(tmp_path, monkeypatch):
    usage = _backup_file.shutil.disk_usage(tmp_path)._replace(free=100)
    monkeypatch.setattr(_backup_file.shutil, "disk_usage", lambda _: usage)
    model = restarted()
    with pytest.raises(OSError, match=r"too little space: a backup takes .* MB") as raised:
        train(model, tmp_path)
    assert raised.value.errno == errno.ENOSPC
    assert int(model.optimizer.iterations) == 0


def test_a_disk_that_fills_up_stops_training(tmp_path, monkeypatch):
    model = restarted()
    written = []

    def sometimes(*args, write=_backup_file.np.savez, **kwargs):
        written.append(1)
        if len(written) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(*args, **kwargs)

    monkeypatch.setattr(_backup_file.np, "savez", sometimes)
    with pytest.raises(OSError, match="The previous backup is intact"):
        train(model, tmp_path)
    manifest, _, _ = read_backup(tmp_path / "backup.npz")
    assert manifest["position"]["step"] == 2
    train(restarted(), tmp_path)  # there is space again


def test_a_second_process_that_writes_to_the_folder_is_detected(tmp_path):
    class StartAgain(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            train(compiled(), tmp_path, epochs=epoch + 2)  # not the model in training

    with pytest.raises(RuntimeError, match="Another process writes its backups to"):
        train(restarted(), tmp_path, StartAgain())
    manifest, _, _ = read_backup(tmp_path / "backup.npz")
    assert manifest["has_ended"] and manifest["epochs"] == 2  # the second one's
    train(restarted(), tmp_path)  # resumes from it


def test_a_backup_that_is_deleted_or_damaged_during_training_is_written_again(tmp_path):
    path = tmp_path / "backup.npz"

    class Meddle(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch == 0:
                path.unlink()
            else:
                path.write_bytes(path.read_bytes()[:100])

    train(restarted(), tmp_path, Meddle())
    assert read_backup(path)[0]["has_ended"]


def test_temporary_files_are_removed(tmp_path):
    left = tmp_path / "backup.npz.12345.tmp"
    left.write_bytes(b"half")
    kept = tmp_path / "other.txt"
    kept.write_text("kept")
    train(restarted(), tmp_path)
    assert not left.exists() and kept.exists()


def test_another_batch_size_for_the_same_arrays(tmp_path):
    x, y = examples()
    with pytest.raises(KeyboardInterrupt):
        restarted().fit(
            x, y, batch_size=4, verbose=0,
            callbacks=[BackupAndResume(tmp_path, every_steps=1), InterruptAt(0, 2)],
        )  # fmt: skip
    with pytest.raises(ValueError, match="batches in the data: 6 in the backup, 3 now"):
        restarted().fit(x, y, batch_size=8, verbose=0, callbacks=[BackupAndResume(tmp_path)])
