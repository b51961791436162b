"""Reading and writing the file of a backup, which is replaced atomically."""

import contextlib
import errno
import json
import os
import shutil
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = 1
KIND = "keras_ssl backup"
# The name of the manifest's array; no other array may have it
_MANIFEST = "manifest"
# What reading a damaged file raises
_DAMAGES = (
    zipfile.BadZipFile,
    zlib.error,
    ValueError,
    KeyError,
    TypeError,
    EOFError,
    NotImplementedError,
    AttributeError,
)
# Bytes that a file needs besides the variables: the manifest and names
_OVERHEAD = 500_000


def check_folder(folder: Path) -> None:
    """Create the folder if it is missing; raise an `OSError` unless it can be written to."""
    if not folder.parent.is_dir():
        raise FileNotFoundError(
            errno.ENOENT, "`folder` of the backup: its parent folder does not exist", str(folder)
        )
    try:
        folder.mkdir(exist_ok=True)
        probe = folder / f"writable.{os.getpid()}.tmp"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        message = f"`folder` of the backup cannot be written to ({error.strerror})"
        raise type(error)(error.errno, message, str(folder)) from error


def check_space(folder: Path, size: int) -> None:
    """Raise an `OSError` unless there is room for a backup of variables of `size` bytes."""
    free, size = shutil.disk_usage(folder).free, size + _OVERHEAD
    if free < size:
        raise OSError(
            errno.ENOSPC,
            f"`folder` of the backup has too little space: a backup takes {_megabytes(size)} "
            f"besides the previous one, {_megabytes(free)} are free. Free some space or choose "
            "another folder",
            str(folder),
        )


def remove_unfinished(path: Path) -> None:
    """Remove the temporary files of interrupted writes."""
    for left in path.parent.glob(f"{path.name}.*.tmp"):
        left.unlink(missing_ok=True)


def write_backup(path: Path, manifest: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Write a manifest of JSON values and arrays by name to an `.npz` file, atomically.

    The new file is written under a temporary name, synced to disk and then renamed, so that `path`
    is at any time either the whole previous file or the whole new one. Raises an `OSError` if it
    cannot be written; the previous file stays.
    """
    manifest = {"kind": KIND, "format": FORMAT, **manifest}
    # NumPy cannot store dtypes such as bfloat16 by name: their bits are stored as integers
    manifest["types"] = {key: one.dtype.name for key, one in arrays.items() if _is_foreign(one)}
    stored = {
        key: one.view(f"u{one.dtype.itemsize}") if _is_foreign(one) else one
        for key, one in arrays.items()
    }
    stored[_MANIFEST] = np.frombuffer(json.dumps(manifest).encode(), "uint8")
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            np.savez(file, **stored)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        size = sum(one.nbytes for one in stored.values())
        previous = "The previous backup is intact" if path.exists() else "There is no previous one"
        raise OSError(
            error.errno,
            f"The backup of {_megabytes(size)} could not be written ({error.strerror or error}). "
            f"{previous}; start again with the same command once there is space",
            str(path),
        ) from error


def check_writer(path: Path, writers: set[str]) -> None:
    """Raise a `RuntimeError` unless the process that wrote the file is one of `writers`."""
    try:
        with np.load(path, allow_pickle=False) as file:
            writer = json.loads(file[_MANIFEST].tobytes())["writer"]
    except (OSError, *_DAMAGES):
        return  # missing, or damaged and of no use to another process
    if writer not in writers:
        raise RuntimeError(
            f"Another process writes its backups to {path}. Give each run its own folder, and "
            "restart a run only when its last process has ended. This process stops without "
            "overwriting the file"
        )


def read_backup(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray], int] | None:
    """The manifest, the arrays and a checksum of a backup; `None` if there is no file.

    Raises a `ValueError` if the file is damaged, is not a backup, or is of a newer format.
    """
    if not path.exists():
        return None
    try:
        # every array is read in full, which compares the checksums of the file
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        raw = arrays.pop(_MANIFEST).tobytes()
        manifest = json.loads(raw)
        kind, number = manifest["kind"], int(manifest["format"])
    except _DAMAGES as error:
        raise ValueError(
            f"{path} is damaged or is not a backup of keras_ssl, and was not overwritten. Move it "
            "away to start from the beginning, or replace it with a copy. Received: "
            f"{type(error).__name__}: {error}"
        ) from error
    if kind != KIND:
        raise ValueError(f"{path} is not a backup of keras_ssl. Received: kind={kind!r}")
    if number > FORMAT:
        raise ValueError(
            f"{path} was written by a newer keras_ssl; this one reads formats up to {FORMAT}. "
            f"Update keras_ssl, or choose another folder. Received: format={number}"
        )
    for key, name in manifest["types"].items():
        arrays[key] = arrays[key].view(_dtype(name))
    return manifest, arrays, zlib.crc32(raw)


def _is_foreign(array: np.ndarray) -> bool:
    return array.dtype.kind == "V"


def _dtype(name: str) -> np.dtype:
    import ml_dtypes

    return np.dtype(getattr(ml_dtypes, name))


def _sync_folder(folder: Path) -> None:
    """Sync the new name to disk, so that it survives a power failure."""
    if os.name == "nt":
        return  # folders cannot be opened there
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot sync folders
            raise
    finally:
        os.close(handle)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.3g} MB"
