"""`load_graph`: graph datasets by name, from local files or downloaded by Spektral."""

from __future__ import annotations

import difflib
import importlib.util
import os
from os import PathLike
from pathlib import Path

import numpy as np

from keras_ssl.data._prepared import ENVIRONMENT_VARIABLE
from keras_ssl.data.graph import planetoid, tu_graphs
from keras_ssl.graphs import Graph, from_networkx

_NAMES = (*planetoid.NAMES, *tu_graphs.NAMES, "karate_club")


def load_graph(name: str, data_dir: str | PathLike[str] | None = None) -> Graph | list[Graph]:
    """Load a graph for node classification, or a list of graphs for graph classification.

    - `"cora"`, `"citeseer"`, `"pubmed"`: citation graphs with bags of words as features and the
      public split (20 training nodes per class, 500 for validation, 1,000 for test) in `splits`.
      Features are not normalized; most papers use `graphs.row_normalize(graph.x)`. 15 nodes of
      CiteSeer without features and class have label 0 and are in no split.
    - `"mutag"`, `"proteins"`, `"nci1"`, `"ptc"`, `"imdb_binary"`: lists of graphs with one label
      each. Features are the one-hot node tags, or for `"imdb_binary"`, which has no tags, the
      one-hot degrees.
    - `"karate_club"`: Zachary's karate club of 34 members, from networkx; `x` is the identity and
      `y` the club that each member joined.

    Files are read from `data_dir`, by default the folder in the environment variable
    `KERAS_SSL_DATA_DIR`: `ind.cora.*` in it or its subfolder `planetoid`; `MUTAG.txt` (as published
    with GIN) or `MUTAG_A.txt` and the other files of TU in it, its subfolder `tu`, or a folder
    `MUTAG` in one of these. If there are none and Spektral is installed, Spektral downloads them
    once, into its own folder.

    Args:
        name: one of the names above.
        data_dir: folder of the files, instead of the default.

    Returns:
        A `graphs.Graph`, or a list of them. `y` is int32; edges have weight 1 and go both ways. The
        citation graphs have sparse features and no self-loops.

    Raises:
        ValueError: if the name is unknown, or a file is not valid.
        FileNotFoundError: if the files are not found and cannot be downloaded.

    Example:

    >>> from keras_ssl import data
    >>> data.load_graph("karate_club")
    Graph(nodes=34, edges=156, x=(34, 34), y=(34,))

    Reference:
        - [Planetoid (Yang et al., 2016)](https://arxiv.org/abs/1603.08861)
        - [TUDataset (Morris et al., 2020)](https://arxiv.org/abs/2007.08663)
        - [GIN (Xu et al., 2018)](https://arxiv.org/abs/1810.00826)
    """
    if name not in _NAMES:
        near = difflib.get_close_matches(str(name).lower(), _NAMES, n=3)
        hint = f" Similar names: {near}." if near else ""
        raise ValueError(
            f"`name` must be one of {', '.join(map(repr, _NAMES))}.{hint} Received: name={name!r}"
        )
    if name == "karate_club":
        return _karate_club()
    folders = _folders(name, data_dir)
    graph = _find_and_read(name, folders)
    if graph is None:
        folder = _download(name, folders)
        graph = _find_and_read(name, [folder])
    if graph is None:
        # Spektral does not download into an existing folder
        reason = f"a download by Spektral was interrupted: remove its folder {folder} and try again"
        raise FileNotFoundError(_not_found(name, [*folders, folder], reason))
    return graph


def _find_and_read(name: str, folders: list[Path]) -> Graph | list[Graph] | None:
    for folder in folders:
        if name in planetoid.NAMES:
            if all(file.is_file() for file in planetoid.files_of(name, folder)):
                return planetoid.read_planetoid(name, folder)
        elif (path := tu_graphs.find_tu(name, folder)) is not None:
            return tu_graphs.read_tu(name, path)
    return None


def _folders(name: str, data_dir: str | PathLike[str] | None) -> list[Path]:
    root = os.environ.get(ENVIRONMENT_VARIABLE) if data_dir is None else data_dir
    if not root:
        return []
    root = Path(root).expanduser()
    return [root / ("planetoid" if name in planetoid.NAMES else "tu"), root]


def _download(name: str, folders: list[Path]) -> Path:
    """Download the files with Spektral, and return the folder."""
    if importlib.util.find_spec("spektral") is None:
        reason = "Spektral, which could download it, is not installed"
        raise FileNotFoundError(_not_found(name, folders, reason))
    from spektral import datasets

    citation = name in planetoid.NAMES
    parent = datasets.Citation if citation else datasets.TUDataset
    # download only, since Spektral's reader would unpickle the files; the folder is named after
    # the class
    downloader = type(parent.__name__, (parent,), {"read": lambda self: []})
    try:
        dataset = downloader(name if citation else tu_graphs.NAMES[name][1])
    except Exception as error:  # the downloader may raise anything
        lines = str(error).strip().splitlines() or [""]
        reason = f"Spektral could not download it ({type(error).__name__}: {lines[0]})"
        raise FileNotFoundError(_not_found(name, folders, reason)) from error
    return Path(dataset.path)


def _not_found(name: str, folders: list[Path], reason: str) -> str:
    if name in planetoid.NAMES:
        files = f"ind.{name}.x, .y, .tx, .ty, .allx, .ally, .graph and .test.index"
    else:
        file, directory = tu_graphs.NAMES[name]
        files = f"{file}.txt, or {directory}_A.txt and the other files of TU"
    looked = "\n".join(f"  - {folder}" for folder in folders) or "  (no folder was given)"
    return (
        f"The files of {name!r} were not found, and {reason}.\n"
        f"Looked for {files} in:\n{looked}\n"
        "To get them:\n"
        "  1. With internet access: `pip install spektral`, and call again.\n"
        "  2. Put the files into a folder, and pass it as `data_dir` or the environment variable "
        f"{ENVIRONMENT_VARIABLE}.\n"
        "  3. Or use 'karate_club', which needs no files."
    )


def _karate_club() -> Graph:
    import networkx

    graph = from_networkx(networkx.karate_club_graph(), y="club", weight=None)
    return Graph(np.eye(graph.nodes), graph.a, y=graph.y.astype(np.int32))
