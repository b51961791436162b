"""Graphs of images, texts, molecules and knowledge, compared with other libraries and by hand."""

import networkx as nx
import numpy as np
import pytest

from keras_ssl import graphs
from keras_ssl.layers.graph import RGCNConv


@pytest.mark.parametrize("shape", [(4, 6), (5, 3, 2), (1, 4, 1), (1, 1)])
def test_image_of_four_neighbors_equals_scikit_learn(rng, shape):
    from sklearn.feature_extraction.image import grid_to_graph

    image = rng.uniform(size=shape)
    graph = graphs.from_image(image, neighbors=4)
    expected = grid_to_graph(*shape[:2], return_as=np.ndarray) - np.eye(shape[0] * shape[1])
    np.testing.assert_array_equal(graph.a.toarray(), expected)
    np.testing.assert_allclose(graph.x, image.reshape(shape[0] * shape[1], -1), rtol=1e-6)


def test_image_of_eight_neighbors_is_the_king_s_graph(rng):
    """The strong product of two paths."""
    image = rng.uniform(size=(4, 5, 3))
    graph = graphs.from_image(image, offsets=True, y=7)
    king = nx.strong_product(nx.path_graph(4), nx.path_graph(5))
    order = [(row, column) for row in range(4) for column in range(5)]
    expected = nx.to_numpy_array(king, nodelist=order)
    np.testing.assert_array_equal(graph.a.toarray(), expected)
    assert graph.y == 7
    receivers, senders = graph.a.nonzero()
    steps = np.array(order)[senders] - np.array(order)[receivers]
    np.testing.assert_array_equal(graph.e, steps)


@pytest.mark.parametrize("window", [1, 2, 9])
@pytest.mark.parametrize("directed", [False, True])
def test_text_connects_positions_within_the_window(window, directed):
    words = ["the", "cat", "sat", "on", "the", "mat"]
    graph = graphs.from_text(words, window=window, directed=directed, y=[0, 1, 2, 3, 0, 1])
    expected = np.zeros((6, 6))
    for later in range(6):
        for earlier in range(max(0, later - window), later):
            expected[later, earlier] = 1  # the later one receives
            expected[earlier, later] = not directed
    np.testing.assert_array_equal(graph.a.toarray(), expected)
    assert graph.x is None and graph.is_directed == directed


def test_features_of_tokens_from_a_mapping_or_a_table(rng):
    table = rng.normal(size=(5, 3)).astype("float32")
    np.testing.assert_array_equal(graphs.from_text([4, 0, 4], table).x, table[[4, 0, 4]])
    named = dict(zip("abcde", table, strict=True))
    np.testing.assert_array_equal(graphs.from_text(list("ead"), named).x, table[[4, 0, 3]])
    _, tokens = graphs.from_cooccurrences([np.array([4, 0, 4])], table)
    assert tokens == [4, 0]
    assert graphs.from_text(["alone"]).edges == 0
    with pytest.raises(ValueError, match=r"none for \['x'\]"):
        graphs.from_text(["a", "x"], named)
    with pytest.raises(ValueError, match="5 rows, tokens from 0 to 5"):
        graphs.from_text([0, 5], table)
    with pytest.raises(ValueError, match="if tokens are numbers"):
        graphs.from_text(["a"], table)


@pytest.mark.parametrize("window", [1, 2, 5])
def test_cooccurrences_equal_counting_pairs(rng, window):
    texts = [list(rng.choice(list("abcdef"), size=size)) for size in (9, 1, 0, 6)]
    graph, tokens = graphs.from_cooccurrences(texts, window=window, minimum_count=2)
    joined = [one for text in texts for one in text]
    assert set(tokens) == {one for one in joined if joined.count(one) >= 2}
    assert [joined.count(one) for one in tokens] == sorted(map(joined.count, tokens), reverse=True)
    expected = np.zeros((len(tokens), len(tokens)))
    for text in texts:
        for i, first in enumerate(text):
            for second in text[i + 1 : i + 1 + window]:
                if first != second and {first, second} <= set(tokens):
                    expected[tokens.index(first), tokens.index(second)] += 1
                    expected[tokens.index(second), tokens.index(first)] += 1
    np.testing.assert_array_equal(graph.a.toarray(), expected)


def test_strings_are_no_tokens():
    for build in (graphs.from_text, lambda text: graphs.from_cooccurrences([text])):
        with pytest.raises(TypeError, match=r"`text.split\(\)` for words, `list\(text\)`"):
            build("the cat")
    with pytest.raises(TypeError, match="several lists"):
        graphs.from_cooccurrences("the cat")
    with pytest.raises(ValueError, match="Received: none"):
        graphs.from_text([])
    with pytest.raises(ValueError, match="that occur 2 times"):
        graphs.from_cooccurrences([["a"], ["b"]], minimum_count=2)
    with pytest.raises(ValueError, match="`window`"):
        graphs.from_text(["a"], window=0)


def test_molecule_of_acetic_acid():
    """CH3 - C(=O) - OH without hydrogens."""
    bonds = [(2, 1, "double"), (0, 1), (1, 3, 1)]
    graph = graphs.from_molecule(["C", "C", "O", "O"], bonds, elements=("O", "C"), y=-1.5)
    np.testing.assert_array_equal(graph.x, [[0, 1], [0, 1], [1, 0], [1, 0]])
    expected = nx.to_numpy_array(nx.Graph([(0, 1), (1, 2), (1, 3)]))
    np.testing.assert_array_equal(graph.a.toarray(), expected)
    pairs = zip(*graph.a.nonzero(), strict=True)
    kinds = dict(zip(pairs, graph.e.argmax(1), strict=True))
    assert kinds == {(0, 1): 0, (1, 0): 0, (1, 2): 1, (2, 1): 1, (1, 3): 0, (3, 1): 0}
    assert graph.e.sum() == 6 and graph.y == -1.5


def test_molecule_of_all_kinds_of_bonds_and_own_features():
    kinds = [1, 2, 3, 1.5, "single", "double", "triple", "aromatic"]
    chain = [(n, n + 1, kind) for n, kind in enumerate(kinds)]
    graph = graphs.from_molecule(np.ones((9, 5)), chain)
    below = graph.e[[graph.a[:n].nnz for n in range(1, 9)]]  # the bond to the atom before
    np.testing.assert_array_equal(below.argmax(1), [0, 1, 2, 3] * 2)
    assert graph.x.shape == (9, 5)
    assert graphs.from_molecule(["C"], []).e.shape == (0, 4)


@pytest.mark.parametrize(
    ("bonds", "message"),
    [
        ([(0, 1), (1, 0)], r"once.*\(0, 1\)"),
        ([(0, 0)], r"two of the 2 atoms.*\(0, 0\)"),
        ([(0, 2)], r"two of the 2 atoms.*\(0, 2\)"),
        ([(0, 1, "weak")], "'aromatic'.*weak"),
    ],
)
def test_bad_bonds_raise(bonds, message):
    with pytest.raises(ValueError, match=message):
        graphs.from_molecule(["C", "C"], bonds)


@pytest.mark.parametrize("bonds", [[5], [(0, 1, 2, 3)], [(0,)]])
def test_bonds_of_other_lengths_raise(bonds):
    with pytest.raises(ValueError, match="must be a pair of atoms, or a triple"):
        graphs.from_molecule(["C", "C"], bonds)


@pytest.mark.parametrize(
    ("atoms", "bonds"),
    [
        (["C", "O"], [(0.5, 1)]),
        (["C", "O"], [("C", "O")]),
        ([[1.0, 0.0], [0.0, 1.0]], []),
    ],
)
def test_numbers_and_features_of_other_kinds_raise(atoms, bonds):
    with pytest.raises(TypeError, match=r"numbers of atoms|array `\(atoms, features\)`"):
        graphs.from_molecule(atoms, bonds)
    assert graphs.from_molecule(["C", "O"], np.array([[0, 1, 1.5]])).e.argmax() == 3


def test_unknown_elements_raise():
    with pytest.raises(ValueError, match=r"`elements`.*Received: \['Xx'\]"):
        graphs.from_molecule(["C", "Xx"], [])


@pytest.mark.parametrize("inverse", [False, True])
def test_triples_become_typed_edges(inverse):
    facts = [("c", "r", "a"), ("a", "q", "b"), ("c", "q", "a")]
    found = graphs.from_triples(facts, inverse=inverse)
    assert found.entities == ["a", "b", "c"]
    edges = zip(found.edges["senders"], found.types[:, 0], found.edges["receivers"], strict=True)
    named = {(found.entities[s], found.relations[t], found.entities[r]) for s, t, r in edges}
    back = {(tail, ("inverse", relation), head) for head, relation, tail in facts}
    assert named == set(facts) | (back if inverse else set())
    assert len(found.relations) == (4 if inverse else 2)
    x = np.eye(3, dtype="float32")
    layer = RGCNConv(2, len(found.relations), use_self=False, use_bias=False)
    out = np.asarray(layer([x, found.edges, found.types]))
    kernels = dict(zip(found.relations, np.asarray(layer.kernel), strict=True))
    expected = kernels["r"][2] + kernels["q"][2]
    if inverse:
        expected = expected + kernels["inverse", "q"][1]
    np.testing.assert_allclose(out[0], expected, rtol=1e-5, atol=1e-6)


def test_bad_triples_raise():
    with pytest.raises(ValueError, match=r"\(head, relation, tail\).*\('a', 'b'\)"):
        graphs.from_triples([("a", "b")])
    with pytest.raises(ValueError, match="'abc'"):
        graphs.from_triples(["abc"])
    with pytest.raises(ValueError, match="none"):
        graphs.from_triples([])
    with pytest.raises(TypeError, match="sorted"):
        graphs.from_triples([("a", "r", 1)])
