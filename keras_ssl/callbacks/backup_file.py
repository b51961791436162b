"""One file that is there whole or not at all."""

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
# of an array of the manifest's own, which no other array may be called
MANIFEST = "manifest"
# what reading a damaged file raises
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
# what a file holds besides the variables: the manifest, names
_BESIDES = 500_000


def check_folder(folder: Path) -> None:
    """Make the folder if it is missing, and try to write into it.

    Raises:
        OSError: if that is not possible; the message says what is in the way.
    """
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
        raise type(error)(
            error.errno,
            f"`folder` of the backup cannot be written to ({error.strerror})",
            str(folder),
        ) from error


def check_space(folder: Path, size: int) -> None:
    """Raise unless the file system has room for a backup of variables of so many bytes.

    Raises:
        OSError: with ENOSPC.
    """
    free, size = shutil.disk_usage(folder).free, size + _BESIDES
    if free < size:
        raise OSError(
            errno.ENOSPC,
            f"`folder` of the backup has too little room: a backup takes {_megabytes(size)} beside "
            f"the one before, {_megabytes(free)} are free. Make room or choose another folder",
            str(folder),
        )


def remove_unfinished(path: Path) -> None:
    """Remove what interrupted writes of this file have left behind."""
    for left in path.parent.glob(f"{path.name}.*.tmp"):
        left.unlink(missing_ok=True)


def write_backup(path: Path, manifest: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
    """Write a file and put it in the place of the one before, in one step.

    Whatever happens, `path` is the whole file of before or the whole new one: the new one is
    written under another name and is on the disk before it takes its place.

    Args:
        path: where to write, an `.npz` file.
        manifest: what JSON can hold.
        arrays: arrays by name.

    Raises:
        OSError: if it cannot be written; the file of before stays.
    """
    manifest = {"kind": KIND, "format": FORMAT, **manifest}
    # NumPy has no names for types such as bfloat16 in a file: their bits are kept as integers
    manifest["types"] = {key: one.dtype.name for key, one in arrays.items() if _is_foreign(one)}
    stored = {
        key: one.view(f"u{one.dtype.itemsize}") if _is_foreign(one) else one
        for key, one in arrays.items()
    }
    stored[MANIFEST] = np.frombuffer(json.dumps(manifest).encode(), "uint8")
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
        before = "The backup before it is whole" if path.exists() else "There is none before it"
        raise OSError(
            error.errno,
            f"The backup of {_megabytes(size)} could not be written ({error.strerror or error}). "
            f"{before}; start again with the same command once there is room",
            str(path),
        ) from error


def check_writer(path: Path, writers: set[str]) -> None:
    """Raise if another process has written the file since this one last looked at it.

    Args:
        path: the file that is about to be replaced.
        writers: what `writer` of its manifest may be: the process that this one goes on from, and
            this one itself.

    Raises:
        RuntimeError: if it is another one.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            writer = json.loads(file[MANIFEST].tobytes())["writer"]
    except (OSError, *_DAMAGES):
        return  # there is none, or one that is of no use to anybody
    if writer not in writers:
        raise RuntimeError(
            f"Another process writes its backups to {path}. Give each run a folder of its own, and "
            "start a run again only when its last process has ended. This process stops and "
            "overwrites nothing"
        )


def read_backup(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray], int] | None:
    """Read what `write_backup` wrote.

    Args:
        path: the file.

    Returns:
        The manifest, the arrays, and a number that tells this file from others; `None` if there is
        no file.

    Raises:
        ValueError: if the file is damaged, is something else, or is newer than this package.
    """
    if not path.exists():
        return None
    try:
        # every array is read whole, so that the checksums of the file are compared
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in file.files}
        raw = arrays.pop(MANIFEST).tobytes()
        manifest = json.loads(raw)
        kind, number = manifest["kind"], int(manifest["format"])
    except _DAMAGES as error:
        raise ValueError(
            f"{path} is damaged or is no backup of keras_ssl ({type(error).__name__}: {error}). "
            "Nothing was overwritten. Move it away to start anew, or put a copy in its place"
        ) from error
    if kind != KIND:
        raise ValueError(f"{path} is no backup of keras_ssl. Received: kind={kind!r}")
    if number > FORMAT:
        raise ValueError(
            f"{path} was written by a newer keras_ssl, in format {number}; this one reads up to "
            f"{FORMAT}. Update keras_ssl, or choose another folder"
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
    """Make the new name itself last through a loss of power."""
    if os.name == "nt":
        return  # folders cannot be opened there
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot do it for folders
            raise
    finally:
        os.close(handle)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.3g} MB"
