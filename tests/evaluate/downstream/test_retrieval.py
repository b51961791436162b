"""Recall and rank beside a loop over queries in float64."""

import numpy as np
import pytest

from keras_ssl import evaluate


def rank(query, items, right):
    """The place of the best right item, wrong ones of equal similarity first."""
    query, items = query.astype("float64"), items.astype("float64")
    cosines = items @ query / np.linalg.norm(items, axis=1) / np.linalg.norm(query)
    order = sorted(range(len(items)), key=lambda j: (-round(cosines[j], 9), right[j]))
    return 1 + next(place for place, j in enumerate(order) if right[j])


def expected(queries, items, query_ids, item_ids, k):
    asked = [(q, i) for q, i in zip(queries, query_ids, strict=True) if i != -1]
    ranks = np.array([rank(q, items, item_ids == i) for q, i in asked])
    recalls = {f"recall_at_{one}": np.mean(ranks <= one) for one in k}
    return {**recalls, "median_rank": np.median(ranks)}


def test_pairs_equal_a_formula(rng):
    first = rng.normal(size=(90, 6))
    second = first + 1.5 * rng.normal(size=(90, 6))
    result = evaluate.retrieval_metrics(first, second, k=(1, 3), chunk_size=40)
    ids = np.arange(90)
    assert result["first_to_second"] == expected(first, second, ids, ids, (1, 3))
    assert result["second_to_first"] == expected(second, first, ids, ids, (1, 3))
    assert 0.1 < result["first_to_second"]["recall_at_3"] < 0.9
    whole = evaluate.retrieval_metrics(first, second, k=(1, 3))
    assert whole == result


@pytest.mark.parametrize("strings", [False, True])
def test_several_partners_by_ids(rng, strings):
    ids, other_ids = np.repeat(np.arange(20), 2), rng.permutation(np.repeat(np.arange(20), 3))
    centers = rng.normal(size=(20, 5))
    first, second = (centers[i] + rng.normal(size=(len(i), 5)) for i in (ids, other_ids))
    if strings:
        ids, other_ids = ids.astype(str), other_ids.astype(str)[:, None]
    result = evaluate.retrieval_metrics(first, second, ids, other_ids)
    other_ids = other_ids.reshape(-1)
    assert result["first_to_second"] == expected(first, second, ids, other_ids, (1, 5, 10))
    assert result["second_to_first"] == expected(second, first, other_ids, ids, (1, 5, 10))


def test_rows_without_a_partner_are_found_wrongly_only(rng):
    first, second = rng.normal(size=(2, 12, 4))
    ids = np.arange(12)
    ids[::3] = -1
    result = evaluate.retrieval_metrics(first, second, ids, ids)
    assert result["first_to_second"] == expected(first, second, ids, ids, (1, 5, 10))


def test_equal_features_find_nothing_and_equal_items_with_one_id_do(rng):
    same = np.ones((8, 3))
    worst = evaluate.retrieval_metrics(same, same)["first_to_second"]
    assert worst == {
        "recall_at_1": 0.0,
        "recall_at_5": 0.0,
        "recall_at_10": 1.0,
        "median_rank": 8.0,
    }
    features = np.repeat(rng.normal(size=(5, 9)), 2, axis=0)
    alone = evaluate.retrieval_metrics(features, features)["first_to_second"]
    assert (alone["recall_at_1"], alone["median_rank"]) == (0.0, 2.0)
    ids = np.repeat(np.arange(5), 2)
    together = evaluate.retrieval_metrics(features, features, ids, ids)["first_to_second"]
    assert (together["recall_at_1"], together["median_rank"]) == (1.0, 1.0)


def test_huge_and_tiny_features_have_directions(rng):
    first = rng.normal(size=(10, 4)).astype("float32")
    scale = np.array([1e-30, 1.0, 1e30] * 3 + [1.0], "float32")[:, None]
    result = evaluate.retrieval_metrics(first * scale, first)
    assert result["first_to_second"]["recall_at_1"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"first": np.full((3, 2), np.nan)}, "`first` must be finite"),
        ({"second": np.zeros((3, 2))}, "`second` must have directions"),
        ({"second": np.ones((3, 4))}, "same number of dimensions"),
        ({"second": np.ones((4, 2))}, "equally many rows"),
        ({"first_ids": [0, 1, 2]}, "or none"),
        ({"first_ids": [0, 1], "second_ids": [0, 1, 2]}, "one id per row"),
        ({"first_ids": [0, 1, 7], "second_ids": [0, 1, 2]}, "must occur in `second`"),
        ({"first_ids": [-1] * 3, "second_ids": [0, 1, 2]}, "no id"),
        ({"k": (0,)}, "`k` must be a positive"),
    ],
)
def test_bad_input(arguments, message):
    with pytest.raises(ValueError, match=message):
        evaluate.retrieval_metrics(
            **{"first": np.ones((3, 2)), "second": np.ones((3, 2))} | arguments
        )


def test_ids_of_two_kinds():
    with pytest.raises(TypeError, match="both strings"):
        evaluate.retrieval_metrics(np.ones((2, 2)), np.ones((2, 2)), [0, 1], ["a", "b"])
