"""Finding prepared TFDS sets, and downloading them if there are none."""

from __future__ import annotations

import contextlib
import difflib
import fnmatch
import logging
import os
import socket
import urllib.parse
import urllib.request
from collections.abc import Iterator
from os import PathLike
from typing import TYPE_CHECKING, Any

from keras_ssl.data import _fashion_mnist_mini as fashion_mnist_mini

if TYPE_CHECKING:
    import tensorflow_datasets as tfds

ENVIRONMENT_VARIABLE = "KERAS_SSL_DATA_DIR"


def find_or_download(name: str, data_dir: str | PathLike[str] | None) -> tfds.core.DatasetBuilder:
    """Return the builder of a prepared TFDS set, which is downloaded only if it is not on disk.

    Raise a `ValueError` if TFDS has no such set, or several configs are prepared and the name does
    not say which; a `FileNotFoundError` if the set is not on disk and cannot be downloaded.
    """
    import tensorflow_datasets as tfds

    folders = candidate_folders(data_dir)
    for folder in folders:
        prepared = _newest_prepared(folder, name)
        if prepared is not None:
            return tfds.builder_from_directory(prepared)
    _check_known(name)
    try:
        builder = tfds.builder(name, data_dir=folders[0])
    except (AssertionError, ValueError) as error:  # no such config or version
        raise ValueError(f"TFDS has no {name!r}: {error} Received: name={name!r}") from error
    try:
        _check_reachable(builder)
        with quiet("urllib3.connectionpool"):  # which warns of every retry
            builder.download_and_prepare()
    except Exception as error:  # TFDS raises many kinds of errors
        raise FileNotFoundError(_not_found_message(name, folders, error)) from error
    return builder


def candidate_folders(data_dir: str | PathLike[str] | None) -> list[Any]:
    """Return the folders to search, as `etils.epath` paths, so that cloud storage works."""
    import tensorflow_datasets as tfds

    if data_dir is not None:
        roots = [data_dir]
    else:
        default = os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")
        roots = [root for root in (os.environ.get(ENVIRONMENT_VARIABLE), default) if root]
    folders = []
    for root in roots:
        path = tfds.core.Path(root).expanduser()
        folders.append(path / "tfds" if (path / "tfds").is_dir() else path)
    return folders


def _newest_prepared(folder: Any, name: str) -> Any | None:
    """Return the folder of the newest prepared version of a set, or `None`."""
    path, _, version = name.partition(":")
    found = [
        info.parent
        for pattern in ("*/dataset_info.json", "*/*/dataset_info.json")
        for info in (folder / path).glob(pattern)
        if _version_key(info.parent.name) and fnmatch.fnmatch(info.parent.name, version or "*")
    ]
    configs = sorted({str(parent.parent.relative_to(folder)) for parent in found})
    if len(configs) > 1:
        raise ValueError(
            f"Several configs of {path!r} are in {folder}. Expected `name` to be one of {configs}. "
            f"Received: name={name!r}"
        )
    return max(found, key=lambda parent: _version_key(parent.name), default=None)


def _version_key(text: str) -> tuple[int, ...] | None:
    """Return the numbers of a version such as 3.0.1, or `None`."""
    parts = text.split(".")
    return tuple(map(int, parts)) if len(parts) == 3 and all(map(str.isdigit, parts)) else None


def _check_known(name: str) -> None:
    import tensorflow_datasets as tfds

    plain = name.partition(":")[0].partition("/")[0]
    try:
        tfds.builder_cls(plain)
    except tfds.core.DatasetNotFoundError:
        known = {fashion_mnist_mini.NAME, *tfds.list_builders(with_community_datasets=False)}
        near = difflib.get_close_matches(plain, known, n=5)
        hint = f"Similar names: {near}. " if near else ""
        # without the cause, whose message lists all names of TFDS
        raise ValueError(
            f"There is no data set {plain!r}. {hint}`tfds.list_builders()` lists all of TFDS, and "
            f"{fashion_mnist_mini.NAME!r} is embedded. Received: name={name!r}"
        ) from None


def _check_reachable(builder: tfds.core.DatasetBuilder) -> None:
    """Raise if no host of the set can be resolved: TFDS would retry for minutes."""
    if urllib.request.getproxies():
        return  # which resolves the names
    hosts = {urllib.parse.urlparse(url).hostname for url in builder.url_infos or ()} - {None}
    for host in hosts:
        with contextlib.suppress(OSError):
            socket.getaddrinfo(host, None)
            return
    if hosts:
        raise ConnectionError(f"no network: the names {sorted(hosts)} cannot be resolved")


def _not_found_message(name: str, folders: list[Any], error: Exception) -> str:
    lines = str(error).strip().splitlines() or [""]
    reason = f"{type(error).__name__}: {lines[0]}"
    looked = "\n".join(f"  - {folder / name.partition(':')[0]}" for folder in folders)
    return (
        f"The data set {name!r} is not on this machine and TFDS could not download it ({reason}).\n"
        f"Searched for the prepared set in:\n{looked}\n"
        "Three ways to get it:\n"
        f"  1. With network: run the same call again; TFDS downloads the set to {folders[0]}.\n"
        f"  2. Prepare it on another machine (`tfds build {name}`), copy the folder, and name it: "
        f"`data_dir=...` or the environment variable {ENVIRONMENT_VARIABLE}.\n"
        f"  3. Use the embedded set, which needs neither: {fashion_mnist_mini.NAME!r}."
    )


@contextlib.contextmanager
def quiet(logger_name: str) -> Iterator[None]:
    """Let a logger pass only errors."""
    logger = logging.getLogger(logger_name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
