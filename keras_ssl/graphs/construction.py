"""Graphs of images, texts, molecules and knowledge."""

from __future__ import annotations

import numbers
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from keras_ssl import checks
from keras_ssl.graphs.graph import Graph

_ELEMENTS = ("H", "C", "N", "O", "F", "P", "S", "Cl", "Br", "I")
_BONDS = {"single": 0, "double": 1, "triple": 2, "aromatic": 3, 1: 0, 2: 1, 3: 2, 1.5: 3}


def from_image(image: Any, neighbors: int = 8, offsets: bool = False, y: Any = None) -> Graph:
    """Create the graph of an image: a node for each pixel, connected to the pixels around it.

    Args:
        image: array of shape `(height, width)` or `(height, width, channels)`.
        neighbors: 8, or 4 to leave out the diagonals.
        offsets: whether edges have features: the rows and columns from receiver to sender.
        y: label of the image, or labels of the pixels in the order of the nodes.

    Returns:
        A `Graph` with `height * width` nodes, row by row, whose features are the channels.

    Raises:
        ValueError: if `image` has another number of axes, or `neighbors` is not 4 or 8.

    Example:

    >>> import numpy as np
    >>> from keras_ssl import graphs
    >>> graphs.from_image(np.zeros((28, 28, 1)), y=3)
    Graph(nodes=784, edges=5940, x=(784, 1), y=())
    """
    import scipy.sparse

    image = np.asarray(image)
    if image.ndim not in (2, 3) or 0 in image.shape:
        raise ValueError(
            "`image` must have shape (height, width) or (height, width, channels). Received: "
            f"image.shape={image.shape}"
        )
    if neighbors not in (4, 8):
        raise ValueError(f"`neighbors` must be 4 or 8. Received: neighbors={neighbors!r}")
    height, width = image.shape[:2]
    around = [(row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if row or column]
    steps = around if neighbors == 8 else [one for one in around if 0 in one]
    rows, columns = (one.ravel() for one in np.indices((height, width)))
    senders, receivers, of_edges = [], [], []
    for row, column in steps:
        inside = (rows + row >= 0) & (rows + row < height)
        inside &= (columns + column >= 0) & (columns + column < width)
        receivers.append(np.flatnonzero(inside))
        senders.append(receivers[-1] + row * width + column)
        of_edges.append(np.tile((row, column), (len(receivers[-1]), 1)))
    senders, receivers = np.concatenate(senders), np.concatenate(receivers)
    ones, shape = np.ones(len(senders)), 2 * (rows.size,)
    a = scipy.sparse.coo_array((ones, (receivers, senders)), shape=shape)
    e = np.concatenate(of_edges)[np.lexsort((senders, receivers))] if offsets else None
    return Graph(image.reshape(rows.size, -1), a, e, y)


def from_text(
    tokens: Sequence[Any],
    features: Any = None,
    window: int = 1,
    directed: bool = False,
    y: Any = None,
) -> Graph:
    """Create the chain of a text: a node for each position, connected to its neighbors.

    Args:
        tokens: list of words, characters or numbers, such as `text.split()` or `list(text)`.
        features: vector of each token: a mapping, or an array indexed by numbers; `None` for nodes
            without features.
        window: how many following positions each token is connected to.
        directed: whether edges lead only from earlier to later positions.
        y: label of the text, or labels of the tokens.

    Returns:
        A `Graph`, whose nodes are in the order of the text.

    Raises:
        TypeError: if `tokens` is a string, or `window` not an integer.
        ValueError: if there is no token, one has no features, or `window` is not positive.

    Example:

    >>> from keras_ssl import graphs
    >>> graphs.from_text("the cat sat on the mat".split())
    Graph(nodes=6, edges=10)
    """
    import scipy.sparse

    tokens = _tokens(tokens, "tokens")
    window = checks.integer("window", window, minimum=1)
    n = len(tokens)
    steps = range(1, min(window, n - 1) + 1)
    # receivers are rows: row i holds what i receives
    a = scipy.sparse.csr_array((n, n))
    for step in steps:
        a = a + scipy.sparse.diags_array(np.ones(n - step), offsets=-step, shape=(n, n))
    return Graph(_features_of(tokens, features), a if directed else a + a.T, y=y)


def from_cooccurrences(
    texts: Iterable[Sequence[Any]],
    features: Any = None,
    window: int = 2,
    minimum_count: int = 1,
) -> tuple[Graph, list[Any]]:
    """Create the graph of the tokens of texts, connected by how often they are near each other.

    Args:
        texts: several lists of tokens, such as `[text.split() for text in texts]`.
        features: as in `from_text`.
        window: how many positions apart two tokens may be.
        minimum_count: number of occurrences that a token needs to become a node. Rarer ones still
            take their positions.

    Returns:
        A `Graph` whose weights are numbers of co-occurrences, without self-loops, and the list of
        the tokens of its nodes: frequent ones first, equally frequent ones as they first occur.

    Raises:
        TypeError: if `texts` is a string or holds strings, or a number is not an integer.
        ValueError: if no token is frequent enough, one has no features, or a number is not
            positive.

    Example:

    >>> from keras_ssl import graphs
    >>> graph, words = graphs.from_cooccurrences([["a", "rose", "is", "a", "rose"]], window=1)
    >>> words
    ['a', 'rose', 'is']
    >>> graph.a.toarray().tolist()
    [[0.0, 2.0, 1.0], [2.0, 0.0, 1.0], [1.0, 1.0, 0.0]]

    Reference:
        - [Yao et al., 2019](https://arxiv.org/abs/1809.05679), graphs of words in windows
    """
    import scipy.sparse

    if isinstance(texts, str):
        raise TypeError("`texts` must be several lists of tokens. Received: a string")
    texts = [_tokens(text, "texts", may_be_empty=True) for text in texts]
    window = checks.integer("window", window, minimum=1)
    minimum_count = checks.integer("minimum_count", minimum_count, minimum=1)
    counts = Counter(token for text in texts for token in text)
    tokens = [token for token, count in counts.most_common() if count >= minimum_count]
    if not tokens:
        raise ValueError(
            f"`texts` must hold tokens that occur {minimum_count} times. Received: {len(counts)} "
            f"tokens in {len(texts)} texts"
        )
    number = {token: place for place, token in enumerate(tokens)}
    pairs = []
    for text in texts:
        of_text = np.array([number.get(token, -1) for token in text], int)
        pairs += [np.stack([of_text[:-step], of_text[step:]]) for step in range(1, window + 1)]
    first, second = np.concatenate(pairs, axis=1)
    kept = (first >= 0) & (second >= 0) & (first != second)
    first, second = first[kept], second[kept]
    a = scipy.sparse.coo_array((np.ones(len(first)), (first, second)), shape=2 * (len(tokens),))
    return Graph(_features_of(tokens, features), a + a.T), tokens


def from_molecule(
    atoms: Sequence[Any],
    bonds: Iterable[tuple],
    elements: Sequence[Any] = _ELEMENTS,
    y: Any = None,
) -> Graph:
    """Create the graph of a molecule from its atoms and bonds.

    Args:
        atoms: list of the elements of the atoms, such as `["C", "C", "O"]`, or of whatever
            `elements` holds; or an array `(atoms, features)` of features of your own.
        bonds: pairs of numbers of atoms, or triples with the kind of bond: 1, 2, 3 or 1.5, or
            "single", "double", "triple" or "aromatic". Bonds have no direction, and each is given
            once. Pairs are single bonds.
        elements: the elements that the features tell apart.
        y: label of the molecule, such as its energy, or labels of the atoms.

    Returns:
        A `Graph`. Node features are one-hot vectors of the elements, edge features one-hot vectors
        of the kinds of bonds: single, double, triple, aromatic.

    Raises:
        TypeError: if `atoms` is a list of vectors, or numbers of atoms are not integers.
        ValueError: if an element or a kind of bond is unknown, or a bond is given twice, connects
            an atom with itself, has an atom out of range, or is neither pair nor triple.

    Example:

    >>> from keras_ssl import graphs
    >>> graphs.from_molecule(["C", "C", "O"], [(0, 1), (1, 2, "double")])
    Graph(nodes=3, edges=4, x=(3, 10), e=(4, 4))

    Reference:
        - [Gilmer et al., 2017](https://arxiv.org/abs/1704.01212)
    """
    import scipy.sparse

    if isinstance(atoms, np.ndarray) and atoms.ndim == 2:
        x = atoms
    else:
        atoms, known = list(atoms), {element: place for place, element in enumerate(elements)}
        if any(isinstance(atom, (list, tuple, np.ndarray)) for atom in atoms):
            raise TypeError(
                "`atoms` must be a list of elements, or an array `(atoms, features)`. Received: a "
                f"list with {atoms[0]!r}"
            )
        unknown = [atom for atom in atoms if atom not in known]
        if unknown:
            raise ValueError(
                f"`atoms` must be among `elements`, {list(known)}. Received: {unknown[:5]}"
            )
        x = np.eye(len(known), dtype=np.float32)[np.array([known[atom] for atom in atoms], int)]
    ends, kinds = [], []
    for bond in bonds:
        if not hasattr(bond, "__len__") or len(bond) not in (2, 3):
            raise ValueError(
                f"A bond must be a pair of atoms, or a triple with its kind. Received: {bond!r}"
            )
        first, second, kind = (*bond, 1) if len(bond) == 2 else bond
        if kind not in _BONDS:
            raise ValueError(
                "A bond must be 1, 2, 3 or 1.5, or 'single', 'double', 'triple' or 'aromatic'. "
                f"Received: {bond}"
            )
        first, second = (_number_of_atom(one, bond) for one in (first, second))
        if first == second or not (0 <= first < len(x) and 0 <= second < len(x)):
            raise ValueError(
                f"A bond must connect two of the {len(x)} atoms, counted from 0. Received: {bond}"
            )
        ends.append((first, second))
        kinds.append(_BONDS[kind])
    if len({frozenset(pair) for pair in ends}) < len(ends):
        twice = [pair for pair, n in Counter(tuple(sorted(pair)) for pair in ends).items() if n > 1]
        raise ValueError(f"`bonds` must hold each bond once. Received: twice {twice[:5]}")
    ends = np.array(ends, int).reshape(-1, 2)
    receivers, senders = np.concatenate([ends, ends[:, ::-1]]).T
    e = np.eye(4, dtype=np.float32)[np.array(kinds * 2, int)]
    a = scipy.sparse.coo_array((np.ones(len(senders)), (receivers, senders)), shape=2 * (len(x),))
    return Graph(x, a, e[np.lexsort((senders, receivers))], y)


def _number_of_atom(number: Any, bond: Any) -> int:
    """Return the number of an atom; that of an array of floats, such as `1.0`, is whole."""
    if not isinstance(number, numbers.Real) or number % 1:
        raise TypeError(f"A bond must hold numbers of atoms. Received: {bond!r}")
    return int(number)


class TypedEdges(NamedTuple):
    """The edges of a knowledge graph, inputs of `layers.graph.RGCNConv`.

    Attributes:
        edges: edge list, a dictionary of `senders` and `receivers`, int32.
        types: number of the relation of each edge, `(edges, 1)`, int32.
        entities: names of the nodes, in their order.
        relations: names of the relations, in the order of their numbers.
    """

    edges: dict[str, np.ndarray]
    types: np.ndarray
    entities: list[Any]
    relations: list[Any]


def from_triples(triples: Iterable[tuple], inverse: bool = True) -> TypedEdges:
    """Create the typed edges of a knowledge graph from facts (head, relation, tail).

    An edge leads from head to tail. Two entities may be connected by several relations, which a
    `Graph` cannot represent, so the result is an edge list with the type of each edge:
    `RGCNConv(channels, relations=len(result.relations))([x, result.edges, result.types])`.

    Args:
        triples: facts such as `("Paris", "capital of", "France")`, names or numbers.
        inverse: whether to add an edge from tail to head for each fact, with a relation of its own,
            `("inverse", relation)`, as RGCN needs it to send information in both directions.

    Returns:
        `TypedEdges`. Entities and relations are in sorted order, inverse relations last.

    Raises:
        ValueError: if there is no fact, or one is not a triple.
        TypeError: if entities or relations cannot be sorted.

    Example:

    >>> from keras_ssl import graphs
    >>> facts = [("Paris", "capital of", "France"), ("Lyon", "city in", "France")]
    >>> found = graphs.from_triples(facts)
    >>> found.entities, found.edges["receivers"]
    (['France', 'Lyon', 'Paris'], array([0, 0, 2, 1], dtype=int32))
    >>> found.relations
    ['capital of', 'city in', ('inverse', 'capital of'), ('inverse', 'city in')]

    Reference:
        - [Schlichtkrull et al., 2018](https://arxiv.org/abs/1703.06103)
    """
    triples = list(triples)
    wrong = [one for one in triples if isinstance(one, str) or len(one) != 3]
    if wrong or not triples:
        raise ValueError(
            "`triples` must hold facts (head, relation, tail). Received: "
            f"{repr(wrong[0]) if wrong else 'none'}"
        )
    try:
        entities = sorted({name for head, _, tail in triples for name in (head, tail)})
        relations = sorted({relation for _, relation, _ in triples})
    except TypeError as error:
        raise TypeError(
            f"Entities, and relations, must be of one type that can be sorted. Received: {error}"
        ) from error
    number = {name: place for place, name in enumerate(entities)}
    kind = {name: place for place, name in enumerate(relations)}
    heads, types, tails = np.array(
        [(number[head], kind[relation], number[tail]) for head, relation, tail in triples],
        np.int32,
    ).T
    if inverse:
        types = np.concatenate([types, types + np.int32(len(relations))])
        heads, tails = np.concatenate([heads, tails]), np.concatenate([tails, heads])
        relations += [("inverse", name) for name in relations]
    return TypedEdges({"senders": heads, "receivers": tails}, types[:, None], entities, relations)


def _tokens(tokens: Any, name: str, may_be_empty: bool = False) -> list[Any]:
    """Return tokens as a list, refusing a string, whose tokens could be words or characters."""
    if isinstance(tokens, str):
        raise TypeError(
            f"`{name}` must hold lists of tokens: `text.split()` for words, `list(text)` for "
            f"characters. Received: a string, {tokens[:20]!r}"
        )
    tokens = [one.item() if isinstance(one, np.generic) else one for one in tokens]
    if not tokens and not may_be_empty:
        raise ValueError(f"`{name}` must hold tokens. Received: none")
    return tokens


def _features_of(tokens: list[Any], features: Any) -> Any:
    """Return the vector of each token, from a mapping or an array."""
    if features is None:
        return None
    if isinstance(features, Mapping):
        missing = [token for token in tokens if token not in features]
        if missing:
            raise ValueError(
                f"`features` must have a vector for every token. Received: none for {missing[:5]}"
            )
        return np.stack([np.asarray(features[token], np.float32) for token in tokens])
    features, numbers = np.asarray(features), np.asarray(tokens)
    if features.ndim != 2 or numbers.dtype.kind not in "iu":
        raise ValueError(
            "`features` must be a mapping, or an array (vocabulary, features) if tokens are "
            f"numbers. Received: features of shape {features.shape}, tokens such as {tokens[0]!r}"
        )
    if numbers.min() < 0 or numbers.max() >= len(features):
        raise ValueError(
            f"`features` must have a row for every token. Received: {len(features)} rows, tokens "
            f"from {numbers.min()} to {numbers.max()}"
        )
    return features[numbers]
