"""`load_graph`: the statistics published for the datasets, and small files written here."""

import networkx as nx
import numpy as np
import pytest
import scipy.sparse as sp

from keras_ssl import data
from tests.data.graph import pickles

# nodes, undirected edges, features, classes, label rate (Kipf & Welling, table 1)
CITATIONS = {
    "cora": (2708, 5278, 1433, 7, 0.052),
    "citeseer": (3327, 4552, 3703, 6, 0.036),
}

# graphs, mean nodes, mean edges (TUDataset's table), columns of x
COLLECTIONS = {
    "mutag": (188, 17.93, 19.79, 7),
    "proteins": (1113, 39.06, 72.82, 3),
    "nci1": (4110, 29.87, 32.30, 37),
    "ptc": (344, 25.56, 25.96, 19),
    "imdb_binary": (1000, 19.77, 96.53, 65),
}


@pytest.fixture(autouse=True)
def without_spektral(monkeypatch):
    """Disable downloads."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)


@pytest.mark.parametrize("name", CITATIONS)
def test_citation_graphs(name, graph_dir):
    nodes, edges, features, classes, rate = CITATIONS[name]
    graph = data.load_graph(name, graph_dir)
    assert (graph.nodes, graph.edges, graph.x.shape[1]) == (nodes, 2 * edges, features)
    assert not graph.is_directed and not graph.a.diagonal().any() and set(graph.a.data) == {1.0}
    assert sp.issparse(graph.x) and graph.x.nnz / np.prod(graph.x.shape) < 0.013
    splits = graph.splits
    assert np.bincount(graph.y[splits["train"]]).tolist() == [20] * classes
    assert splits["train"].mean() == pytest.approx(rate, abs=5e-4)
    assert [splits[name].sum() for name in ("val", "test")] == [500, 1000]
    assert sum(mask.astype(int) for mask in splits.values()).max() == 1
    # linked papers mostly share a class, if features, labels and edges are aligned
    rows, columns = graph.a.coords if hasattr(graph.a, "coords") else graph.a.nonzero()
    assert (graph.y[rows] == graph.y[columns]).mean() > 0.7


def test_undescribed_nodes_of_citeseer(graph_dir):
    graph = data.load_graph("citeseer", graph_dir)
    unknown = ~graph.splits["test"] & (np.arange(graph.nodes) >= 2312)
    assert unknown.sum() == 15
    assert not graph.x[unknown].nnz and not graph.y[unknown].any()
    assert (graph.a.sum(axis=1) == 0).sum() == 48


def test_citation_graphs_equal_spektral(graph_dir, tmp_path, monkeypatch):
    citation = pytest.importorskip("spektral.datasets.citation")
    folder = tmp_path / "Citation" / "cora"
    folder.parent.mkdir()
    folder.symlink_to(graph_dir / "planetoid")
    monkeypatch.setattr(citation, "DATASET_FOLDER", str(tmp_path))
    monkeypatch.setattr(sp.csr_matrix, "A", property(lambda self: self.toarray()), raising=False)
    theirs = citation.Citation("cora")
    ours = data.load_graph("cora", graph_dir)
    np.testing.assert_array_equal(ours.x.toarray(), theirs[0].x)
    np.testing.assert_array_equal(ours.y, theirs[0].y.argmax(axis=1))
    assert (ours.a != sp.csr_array(theirs[0].a)).nnz == 0
    for name, mask in zip(
        ("train", "val", "test"), (theirs.mask_tr, theirs.mask_va, theirs.mask_te), strict=True
    ):
        np.testing.assert_array_equal(ours.splits[name], mask)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name == "nci1" else [])
        for name in COLLECTIONS
    ],
)
def test_collections(name, graph_dir):
    count, nodes, edges, features = COLLECTIONS[name]
    graphs = data.load_graph(name, graph_dir)
    assert len(graphs) == count
    assert np.mean([graph.nodes for graph in graphs]) == pytest.approx(nodes, abs=0.006)
    assert np.mean([graph.edges / 2 for graph in graphs]) == pytest.approx(edges, abs=0.006)
    for graph in graphs:
        assert graph.x.shape == (graph.nodes, features)
        assert (graph.x.sum(axis=1) == 1).all() and not graph.is_directed
    assert set(np.stack([graph.y for graph in graphs])) == {0, 1}


def small_planetoid(folder, name="cora"):
    """Eight nodes: five in allx (two for training), two of three test nodes; 6 is missing."""
    x = sp.csr_array(np.arange(1, 22, dtype=np.float32).reshape(7, 3))
    y = np.eye(2, dtype=np.int32)[[0, 1, 1, 0, 1, 1, 0]]
    neighbors = {0: [1, 1, 0], 1: [0], 2: [5], 3: [], 4: [7], 5: [2], 6: [], 7: [4]}
    contents = {
        "x": pickles.csr(x[:2]),
        "y": pickles.array(y[:2]),
        "tx": pickles.csr(x[5:]),
        "ty": pickles.array(y[5:]),
        "allx": pickles.csr(x[:5]),
        "ally": pickles.array(y[:5]),
        "graph": pickles.defaultdict(neighbors),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for part, content in contents.items():
        (folder / f"ind.{name}.{part}").write_bytes(pickles.file(content))
    (folder / f"ind.{name}.test.index").write_text("7\n5\n")


@pytest.mark.parametrize("folder", [".", "planetoid"])
def test_planetoid_files(tmp_path, folder, monkeypatch):
    small_planetoid(tmp_path / folder)
    monkeypatch.setenv("KERAS_SSL_DATA_DIR", str(tmp_path))
    for graph in (data.load_graph("cora", tmp_path), data.load_graph("cora")):
        assert graph.nodes == 8 and graph.edges == 6
        assert graph.a[0, 1] == 1 and graph.a[0, 0] == 0
        # the first row of the test files is node 7 according to the index
        np.testing.assert_array_equal(graph.x[[7]].toarray(), [[16, 17, 18]])
        np.testing.assert_array_equal(graph.x[[5]].toarray(), [[19, 20, 21]])
        assert graph.y.tolist() == [0, 1, 1, 0, 1, 0, 0, 1]
        assert not graph.x[[6]].nnz
        assert np.flatnonzero(graph.splits["test"]).tolist() == [5, 7]
        assert np.flatnonzero(graph.splits["train"]).tolist() == [0, 1]


def test_a_planetoid_file_that_runs_code_raises(tmp_path):
    small_planetoid(tmp_path)
    evil = pickles.named("os", "system") + pickles.plain(("true",)) + pickles.REDUCE
    (tmp_path / "ind.cora.graph").write_bytes(pickles.file(evil))
    with pytest.raises(ValueError, match=r"contains os.system.*ind.cora.graph"):
        data.load_graph("cora", tmp_path)


def write_tu(folder, prefix, graphs, tags, labels):
    folder.mkdir(parents=True)
    offset, edges, indicator = 1, [], []
    for number, graph in enumerate(graphs, 1):
        edges += [(u + offset, v + offset) for u, v in graph.to_directed().edges]
        indicator += [number] * len(graph)
        offset += len(graph)
    tables = {"A": edges, "graph_indicator": indicator, "graph_labels": labels}
    tables |= {} if tags is None else {"node_labels": np.concatenate(tags)}
    for name, rows in tables.items():
        np.savetxt(folder / f"{prefix}_{name}.txt", rows, fmt="%d", delimiter=", ")


def write_gin(path, graphs, tags, labels):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [str(len(graphs))]
    for number, (graph, label) in enumerate(zip(graphs, labels, strict=True)):
        lines.append(f"{len(graph)} {label}")
        for node in graph:
            near = sorted(graph[node])
            tag = 0 if tags is None else tags[number][node]
            lines.append(" ".join(map(str, [tag, len(near), *near])))
    path.write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("tagged", [True, False])
def test_files_of_tu_and_of_gin(tmp_path, rng, tagged):
    members = [nx.gnp_random_graph(n, 0.5, seed=n) for n in (4, 7, 5)]
    tags = [rng.choice([3, 5, 9], size=len(g)) for g in members] if tagged else None
    labels = [-1, 1, 1]
    write_tu(tmp_path / "a" / "MUTAG", "MUTAG", members, tags, labels)
    write_gin(tmp_path / "b" / "tu" / "MUTAG.txt", members, tags, labels)
    for folder in (tmp_path / "a", tmp_path / "b", tmp_path / "a" / "MUTAG"):
        graphs = data.load_graph("mutag", folder)
        assert [int(graph.y) for graph in graphs] == [0, 1, 1]
        values = tags if tagged else [np.array([d for _, d in g.degree]) for g in members]
        columns = np.unique(np.concatenate(values))
        for graph, source, expected in zip(graphs, members, values, strict=True):
            np.testing.assert_array_equal(graph.a.toarray(), nx.to_numpy_array(source))
            np.testing.assert_array_equal(columns[graph.x.argmax(axis=1)], expected)


@pytest.mark.parametrize("text", ["", "2\n1 0\n0 0\n", "1\n2 0\n0 1 1\n", "1\n1 0\n0 1 4\n", "x"])
def test_broken_files_of_gin(tmp_path, text):
    (tmp_path / "MUTAG.txt").write_text(text)
    with pytest.raises(ValueError, match=r"not a valid collection of graphs.*MUTAG.txt"):
        data.load_graph("mutag", tmp_path)


def test_karate_club():
    graph = data.load_graph("karate_club")
    source = nx.karate_club_graph()
    np.testing.assert_array_equal(graph.a.toarray(), nx.to_numpy_array(source, weight=None))
    officers = [source.nodes[node]["club"] == "Officer" for node in source]
    np.testing.assert_array_equal(graph.y, officers)


def test_unknown_names():
    with pytest.raises(ValueError, match=r"must be one of 'cora'.*Similar names: \['cora'"):
        data.load_graph("Cora")
    with pytest.raises(ValueError, match="Received: name=3"):
        data.load_graph(3)


@pytest.mark.parametrize("name", ["pubmed", "mutag"])
def test_missing_files(name, tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match=f"(?s){tmp_path}.*KERAS_SSL_DATA_DIR") as caught:
        data.load_graph(name, tmp_path)
    assert "Spektral" in str(caught.value)
    monkeypatch.delenv("KERAS_SSL_DATA_DIR", raising=False)
    with pytest.raises(FileNotFoundError, match="no folder was given"):
        data.load_graph(name)


@pytest.fixture
def spektral_folder(tmp_path, monkeypatch):
    """An empty download folder of Spektral, and no other data."""
    pytest.importorskip("spektral")
    from spektral.data import dataset
    from spektral.datasets import citation

    monkeypatch.undo()
    monkeypatch.setattr(citation, "DATASET_FOLDER", str(tmp_path))
    monkeypatch.setattr(dataset, "DATASET_FOLDER", str(tmp_path))
    monkeypatch.delenv("KERAS_SSL_DATA_DIR", raising=False)
    return tmp_path


def test_download_by_spektral(spektral_folder, monkeypatch):
    from pathlib import Path

    from spektral import datasets

    monkeypatch.setattr(
        datasets.Citation, "download", lambda self: small_planetoid(Path(self.path))
    )
    monkeypatch.setattr(datasets.TUDataset, "available_datasets", staticmethod(lambda: ["MUTAG"]))
    monkeypatch.setattr(
        datasets.TUDataset,
        "download",
        lambda self: write_tu(
            Path(self.path), "MUTAG", [nx.path_graph(3), nx.cycle_graph(4)], None, [0, 1]
        ),
    )
    assert data.load_graph("cora").nodes == 8
    assert [graph.nodes for graph in data.load_graph("mutag")] == [3, 4]
    # a second call reads the downloaded files
    monkeypatch.setattr(datasets.Citation, "download", None)
    assert data.load_graph("cora").nodes == 8


def test_download_that_fails(tmp_path, monkeypatch):
    pytest.importorskip("spektral")
    from spektral import datasets
    from spektral.datasets import citation

    monkeypatch.undo()
    monkeypatch.setattr(citation, "DATASET_FOLDER", str(tmp_path / "none"))

    def fail(self):
        raise ConnectionError("no route")

    monkeypatch.setattr(datasets.Citation, "download", fail)
    with pytest.raises(FileNotFoundError, match=r"download it \(ConnectionError: no route"):
        data.load_graph("pubmed", tmp_path)


def test_an_interrupted_download_raises(spektral_folder):
    (spektral_folder / "Citation" / "cora").mkdir(parents=True)  # Spektral regards it as complete
    with pytest.raises(FileNotFoundError, match=r"interrupted: remove its folder.*Citation/cora"):
        data.load_graph("cora")
