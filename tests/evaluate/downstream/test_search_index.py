"""The index beside scikit-learn's neighbours, its files, and faiss where it is installed."""

import json
import zipfile

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from keras_ssl import evaluate
from keras_ssl.evaluate.downstream import _device_store

ENGINES = [None, "Flat"]


@pytest.fixture
def small_blocks(monkeypatch):
    """Several blocks, whose last is no whole number of groups, from few vectors."""
    monkeypatch.setattr(_device_store, "BLOCK_ROWS", 256)
    monkeypatch.setattr(_device_store, "_QUERIES_AT_ONCE", 30)
    monkeypatch.setattr("keras_ssl.evaluate.downstream.search_index.BLOCK_ROWS", 256)


def make(dim=7, metric="cosine", faiss=None):
    if faiss is not None:
        pytest.importorskip("faiss")
    return evaluate.SearchIndex(dim, metric, faiss)


def reference(vectors, queries, metric, k):
    """Values and places by scikit-learn, or by a product, in float64."""
    vectors, queries = vectors.astype("float64"), queries.astype("float64")
    if metric == "inner_product":
        products = queries @ vectors.T
        order = np.argsort(-products, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(products, order, axis=1), order
    neighbors = NearestNeighbors(metric=metric, algorithm="brute").fit(vectors)
    distances, order = neighbors.kneighbors(queries, k)
    return (1 - distances if metric == "cosine" else distances), order


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("faiss", ENGINES)
@pytest.mark.parametrize("metric", ["cosine", "inner_product", "l2"])
def test_neighbours_equal_scikit_learn(rng, metric, faiss):
    vectors = rng.normal(size=(1000, 7)).astype("float32") + 1
    queries = rng.normal(size=(70, 7)).astype("float32")
    index = make(7, metric, faiss)
    for part in np.split(vectors, [300, 301, 900]):
        index.add(part)
    for k in (1, 10, 100, 1000):
        values, ids = index.query(queries, k)
        expected, order = reference(vectors, queries, metric, k)
        np.testing.assert_allclose(values, expected, atol=2e-5)
        assert values.dtype == np.float32 and ids.dtype == np.int64
        assert np.mean(ids == order) > 0.999  # but for ties up to rounding


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("ascending", [True, False])
def test_every_order_of_similarities(ascending):
    """All the best in the last block, or in the first; and whole blocks of equal ones."""
    angles = np.sort(np.linspace(0, 1.5, 700).round(2))
    angles = angles[::-1] if ascending else angles
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    index = make(2)
    index.add(vectors)
    ids = index.query(np.array([[2.0, 0.0]]), 120)[1][0]
    np.testing.assert_array_equal(ids, np.argsort(angles, kind="stable")[:120])


def test_distances_of_near_vectors_keep_their_digits(rng):
    vectors = (1000 + rng.normal(size=(50, 4))).astype("float32")
    queries = vectors + rng.uniform(0.001, 0.002, size=(50, 4)).astype("float32")
    index = make(4, "l2")
    index.add(vectors)
    distances, _ = index.query(queries, 1)
    expected = np.linalg.norm(vectors.astype("float64") - queries, axis=1)
    near = distances[:, 0] < 0.1
    assert near.mean() > 0.5  # which one is chosen is decided in float32
    np.testing.assert_allclose(distances[near, 0], expected[near], rtol=1e-3)


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("faiss", ENGINES)
def test_ids_and_removal(rng, faiss):
    vectors = rng.normal(size=(900, 5)).astype("float32")
    index = make(5, faiss=faiss)
    np.testing.assert_array_equal(index.add(vectors[:600]), np.arange(600))
    own = np.arange(5000, 5300)
    index.add(vectors[600:], ids=own)
    gone = np.r_[0:300, 5007, 5299]
    index.remove(gone)
    kept = np.setdiff1d(np.r_[0:600, own], gone)
    np.testing.assert_array_equal(index.ids, kept)
    assert len(index) == len(kept) == 598
    rows = np.where(kept < 600, kept, kept - 4400)
    queries = rng.normal(size=(9, 5))
    found = index.query(queries, 20)[1]
    np.testing.assert_array_equal(found, kept[reference(vectors[rows], queries, "cosine", 20)[1]])
    assert index.add(vectors[:1]).tolist() == [5300]  # never an id that was given before
    index.remove(index.ids)
    assert len(index) == 0
    index.add(vectors[:3])
    assert index.query(vectors[:1], 1)[1].tolist() == [[5301]]


@pytest.mark.usefixtures("small_blocks")
@pytest.mark.parametrize("faiss", ENGINES)
@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_saved_and_loaded(rng, tmp_path, metric, faiss):
    index = make(5, metric, faiss)
    index.add(rng.normal(size=(700, 5)), ids=rng.permutation(700))
    index.remove([13])
    queries = rng.normal(size=(6, 5))
    expected = index.query(queries, 4)
    index.save(tmp_path / "index.npz")
    loaded = evaluate.SearchIndex.load(tmp_path / "index.npz")
    assert (loaded.dim, loaded.metric, loaded.faiss) == (5, metric, faiss)
    np.testing.assert_array_equal(loaded.ids, index.ids)
    for one, other in zip(loaded.query(queries, 4), expected, strict=True):
        np.testing.assert_array_equal(one, other)
    assert loaded.add(rng.normal(size=(1, 5))).tolist() == [700]
    assert [one.name for one in tmp_path.iterdir()] == ["index.npz"]
    arrays = np.load(tmp_path / "index.npz", allow_pickle=False)
    assert all(arrays[name].dtype != object for name in arrays.files)


def test_an_empty_index_is_saved(tmp_path):
    make(3).save(str(tmp_path / "empty"))
    assert len(evaluate.SearchIndex.load(str(tmp_path / "empty"))) == 0


def changed(path, **header):
    """Write the file with another header."""
    with zipfile.ZipFile(path) as file:
        entries = {name: file.read(name) for name in file.namelist()}
        with file.open("header.npy") as entry:
            old = json.loads(str(np.lib.format.read_array(entry)))
    with zipfile.ZipFile(path, "w") as file:
        for name, content in entries.items():
            if name != "header.npy":
                file.writestr(name, content)
        with file.open("header.npy", "w") as entry:
            np.lib.format.write_array(entry, np.array(json.dumps({**old, **header})))


def test_files_that_are_no_index(rng, tmp_path):
    path = tmp_path / "index.npz"
    index = make(16)
    index.add(rng.normal(size=(100, 16)))
    index.save(path)
    content = path.read_bytes()
    for share in (0.0, 0.3, 0.9, 0.999):
        path.write_bytes(content[: int(share * len(content))])
        with pytest.raises(ValueError, match="must be a complete file"):
            evaluate.SearchIndex.load(path)
    place = content.index(b"vectors_0") + 1000
    path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(ValueError, match="CRC"):
        evaluate.SearchIndex.load(path)
    for header, message in (
        ({"version": 2}, "of version 2"),
        ({"format": "other"}, "it is 'other'"),
        ({"dim": 8}, r"\(n, 8\)"),
        ({"metric": "hamming"}, "`metric`"),
    ):
        path.write_bytes(content)
        changed(path, **header)
        with pytest.raises(ValueError, match=message):
            evaluate.SearchIndex.load(path)
    np.savez(path, x=np.zeros(3))
    with pytest.raises(ValueError, match="header"):
        evaluate.SearchIndex.load(path)
    with pytest.raises(FileNotFoundError):
        evaluate.SearchIndex.load(tmp_path / "missing.npz")


def test_a_failed_save_leaves_the_old_file(rng, tmp_path, monkeypatch):
    path = tmp_path / "index.npz"
    index = make(4)
    index.add(rng.normal(size=(5, 4)))
    index.save(path)
    content = path.read_bytes()

    def fail():
        raise OSError("no space left")
        yield

    monkeypatch.setattr(index._store, "vectors", fail)
    with pytest.raises(OSError, match="no space"):
        index.save(path)
    assert path.read_bytes() == content and len(list(tmp_path.iterdir())) == 1


def test_no_vectors_are_added(rng):
    index = evaluate.SearchIndex(4)
    assert index.add(np.zeros((0, 4))).shape == (0,) and len(index) == 0
    index.add(rng.normal(size=(3, 4)))
    index.add(np.zeros((0, 4)))
    assert len(index) == 3


def test_vectors_that_are_refused_change_nothing(rng):
    index = make(4)
    index.add(rng.normal(size=(3, 4)))
    bad = rng.normal(size=(5000, 4))  # in the second block
    bad[4999, 2] = np.nan
    with pytest.raises(ValueError, match="`vectors` must be finite"):
        index.add(bad)
    with pytest.raises(ValueError, match="must have directions"):
        index.add(np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"shape \(n, 4\)"):
        index.add(np.ones((2, 5)))
    for ids in ([2, 3], [5, 5], [-1, 4], [7]):
        with pytest.raises(ValueError, match="2 different integers"):
            index.add(np.ones((2, 4)), ids)
    with pytest.raises(TypeError, match="must be integers"):
        index.add(np.ones((2, 4)), [0.5, 1.5])
    with pytest.raises(ValueError, match=r"must be in the index\. Received: 8, and 1 more"):
        index.remove([1, 8, 9])
    assert index.ids.tolist() == [0, 1, 2]
    assert index.add(np.ones((1, 4))).tolist() == [3]


def test_bad_queries_and_arguments(rng):
    index = make(4, "l2")
    with pytest.raises(ValueError, match="k=10 and 0 vectors"):
        index.query(np.ones((1, 4)))
    index.add(rng.normal(size=(3, 4)))
    with pytest.raises(ValueError, match=r"shape \(n, 4\)"):
        index.query(np.ones((1, 3)), 1)
    with pytest.raises(ValueError, match="must be finite"):
        index.query(np.full((1, 4), np.inf), 1)
    with pytest.raises(ValueError, match="at most 1e"):
        index.query(np.full((1, 4), 1e30), 1)
    with pytest.raises(ValueError, match="`k` must be a positive"):
        index.query(np.ones((1, 4)), 0)
    with pytest.raises(ValueError, match="`metric` must be one of"):
        make(4, "hamming")
    with pytest.raises(TypeError, match="`faiss` must be a description"):
        evaluate.SearchIndex(4, faiss=True)


def test_other_indices_of_faiss(rng):
    vectors = rng.normal(size=(500, 8)).astype("float32")
    trained = make(8, faiss="IVF4,Flat")
    trained.add(vectors)
    assert np.mean(trained.query(vectors, 1)[1][:, 0] == np.arange(500)) > 0.9
    with pytest.raises(ValueError, match=r"that `faiss\.index_factory` knows"):
        make(8, faiss="Tree")
    graph = make(8, faiss="HNSW16")
    graph.add(vectors)
    with pytest.raises(ValueError, match="removes no vectors"):
        graph.remove([3])
    assert len(graph) == 500


def test_without_faiss(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "faiss", None)
    with pytest.raises(ImportError, match=r"keras-ssl\[faiss\]"):
        evaluate.SearchIndex(4, faiss="Flat")
