"""`load_graph`: graphs by name, from files on disk or Spektral's downloads."""

from __future__ import annotations

import difflib
import importlib.util
import os
from os import PathLike
from pathlib import Path

import numpy as np

from keras_ssl.data.graph import planetoid, tu_graphs
from keras_ssl.data.prepared import ENVIRONMENT_VARIABLE
from keras_ssl.graphs import Graph, from_networkx

_NAMES = (*planetoid.NAMES, *tu_graphs.NAMES, "karate_club")


def load_graph(name: str, data_dir: str | PathLike[str] | None = None) -> Graph | list[Graph]:
    """Load a graph to classify the nodes of, or a list of graphs to classify.

    - `"cora"`, `"citeseer"`, `"pubmed"`: citation graphs with bags of words as features and the
      public split (20 nodes a class to train, 500 to validate, 1,000 to test) in `splits`. Features
      are as stored: `graphs.row_normalize(graph.x)` is what most papers train on. 15 nodes of
      CiteSeer have no features and no class: their label is 0 and they are in no split.
    - `"mutag"`, `"proteins"`, `"nci1"`, `"ptc"`, `"imdb_binary"`: lists of graphs with one label
      each. Features are the nodes' tags, one-hot; for `"imdb_binary"`, which has none, their
      degrees, one-hot.
    - `"karate_club"`: Zachary's 34 members and who meets whom, from networkx; `x` is the identity
      and `y` the club that each joined.

    Files are looked for in `data_dir`, or with `data_dir=None` in the folder that the environment
    variable `KERAS_SSL_DATA_DIR` names: `ind.cora.*` in it or its subfolder `planetoid`,
    `MUTAG.txt` (as published with GIN) or `MUTAG_A.txt` and its kin (as published by TU) in it,
    its subfolder `tu` or a folder `MUTAG` therein. If they lie nowhere and Spektral is installed,
    Spektral downloads them once, into its own folder.

    Args:
        name: one of the names above.
        data_dir: folder to look in, instead of the default one.

    Returns:
        A `graphs.Graph`, or for the sets of many graphs a list of them. `y` is int32, edges have
        weight 1 and go both ways, without self-loops for the citation graphs, whose `x` is sparse.

    Raises:
        ValueError: if there is no set of this name, or a file is not what it should be.
        FileNotFoundError: if the files lie nowhere and cannot be downloaded.

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
        hint = f" Near names: {near}." if near else ""
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
        # a folder that is there, Spektral never fills again
        reason = f"a download by Spektral was broken off: remove its folder {folder} and try again"
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
    """Let Spektral download the files; return the folder."""
    if importlib.util.find_spec("spektral") is None:
        reason = "Spektral, which could download it, is not installed"
        raise FileNotFoundError(_not_found(name, folders, reason))
    from spektral import datasets

    citation = name in planetoid.NAMES
    parent = datasets.Citation if citation else datasets.TUDataset
    # only the download is wanted: Spektral's reader of these files would unpickle them. The
    # folder has the class's name.
    downloader = type(parent.__name__, (parent,), {"read": lambda self: []})
    try:
        dataset = downloader(name if citation else tu_graphs.NAMES[name][1])
    except Exception as error:  # whatever its downloader raises
        lines = str(error).strip().splitlines() or [""]
        reason = f"Spektral could not download it ({type(error).__name__}: {lines[0]})"
        raise FileNotFoundError(_not_found(name, folders, reason)) from error
    return Path(dataset.path)


def _not_found(name: str, folders: list[Path], reason: str) -> str:
    if name in planetoid.NAMES:
        files = f"ind.{name}.x, .y, .tx, .ty, .allx, .ally, .graph and .test.index"
    else:
        file, directory = tu_graphs.NAMES[name]
        files = f"{file}.txt, or {directory}_A.txt with its kin"
    looked = "\n".join(f"  - {folder}" for folder in folders) or "  (no folder was named)"
    return (
        f"The graphs {name!r} are not on this machine, and {reason}.\n"
        f"Looked for {files} in:\n{looked}\n"
        "Ways to get them:\n"
        "  1. With network: `pip install spektral` and run the same call again.\n"
        "  2. Put the files into a folder and name it: `data_dir=...` or the environment variable "
        f"{ENVIRONMENT_VARIABLE}.\n"
        "  3. Use 'karate_club', which needs neither."
    )


def _karate_club() -> Graph:
    import networkx

    graph = from_networkx(networkx.karate_club_graph(), y="club", weight=None)
    return Graph(np.eye(graph.nodes), graph.a, y=graph.y.astype(np.int32))
