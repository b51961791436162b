"""Tables of encoders beside the single measures and SciPy."""

import csv
import json

import keras
import numpy as np
import pytest
from scipy import stats

from keras_ssl import evaluate


def blobs(rng, count):
    y = np.arange(count) % 3
    return (3 * np.eye(4)[y] + rng.normal(size=(count, 4))).astype("float32"), y


def dense_encoder(seed):
    keras.utils.set_random_seed(seed)
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(6)])


def test_values_are_those_of_the_single_measures(rng):
    train, test = blobs(rng, 120), blobs(rng, 90)
    test = test[0], np.where(np.arange(90) < 5, -1, test[1])
    encoders = [dense_encoder(1), dense_encoder(2)]
    found = evaluate.compare(
        {"ours": encoders, "first": lambda x: x[:, :1]},
        train,
        test,
        ["knn_accuracy", "linear_probe", "clustering", "anomalies", "few_labels", "effective_rank"],
        verbose=0,
        seed=3,
    )
    assert list(found) == ["ours", "ours, untrained", "first", "raw pixels"]
    assert {len(values) for values in found["ours"].values()} == {2}
    known = test[0][5:], test[1][5:]
    functions = {
        "ours": encoders,
        "ours, untrained": [evaluate.random_encoder(encoders[i], 3 + i) for i in range(2)],
        "first": [lambda x: x[:, :1]],
        "raw pixels": [evaluate.raw_pixels],
    }
    for name, row in found.items():
        for number, encoder in enumerate(functions[name]):
            features, labels = evaluate.extract_features(encoder, known)
            clusters = evaluate.k_means(features, 3, seed=3).clusters
            metrics = evaluate.clustering_metrics(labels, clusters)
            expected = {
                "k-NN accuracy": evaluate.knn_accuracy(encoder, train, test),
                "linear probe": evaluate.linear_probe(encoder, train, test),
                "NMI": metrics["normalized_mutual_information"],
                "anomaly AUROC": evaluate.anomaly_report(encoder, train, test)["knn"]["auroc"],
                **evaluate.few_labels(
                    encoder, train, test, methods=["linear_probe"], seed=3
                ).means(),
                "effective rank": evaluate.effective_rank(features),
            }
            assert {key: values[number] for key, values in row.items()} == pytest.approx(expected)
    json.dumps(found)


def test_functions_get_the_encoder_and_the_data(rng):
    train, test = blobs(rng, 30), blobs(rng, 30)
    seen = []

    def count(encoder, *data):
        seen.append((encoder, *data))
        return {"train": len(data[0][0]), "layers": 1}

    encoder = dense_encoder(0)
    functions = {"count": count, "zero": lambda encoder, train, test: np.float32(0)}
    found = evaluate.compare(
        {"ours": encoder}, train, test, [], functions, with_untrained=False, verbose=0
    )
    assert found["ours"] == {"count, train": [30.0], "count, layers": [1.0], "zero": [0.0]}
    assert seen == [(encoder, train, test), (evaluate.raw_pixels, train, test)]


@pytest.mark.parametrize("confidence", [0.95, 0.5])
def test_intervals_are_those_of_scipy(rng, tmp_path, confidence):
    values = rng.normal(size=5).tolist()
    found = evaluate.Comparison({"a": {"x": values}, "b": {"x": [40.0], "y": [2.0]}}, confidence)
    cell = found.intervals()["a"]["x"]
    low, high = stats.ttest_1samp(values, 0).confidence_interval(confidence)
    assert (cell["low"], cell["high"]) == pytest.approx((low, high))
    assert cell["mean"] == pytest.approx(np.mean(values)) and cell["seeds"] == 5
    half = (high - low) / 2
    lines = str(found).splitlines()
    assert [one.strip() for one in lines[2].split("|")[1:-1]] == [
        *("a", "5", f"{np.mean(values):.3f} ± {half:.3f}", "")
    ]
    assert [one.strip() for one in lines[3].split("|")[1:-1]] == ["b", "1", "40.0", "2.000"]
    found.to_csv(tmp_path / "table.csv")
    with (tmp_path / "table.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["encoder"] for row in rows] == ["a", "b", "b"]
    assert float(rows[0]["low"]) == pytest.approx(low) and rows[2]["high"] == ""


def test_prints_what_it_measures_and_adds_what_is_asked_for(rng, capsys):
    data = blobs(rng, 30)
    encoders = {"one": dense_encoder(0), "two": dense_encoder(1)}
    found = evaluate.compare(
        encoders, data, data, ["clustering"], with_untrained=["two"], with_raw_pixels=False
    )
    assert list(found) == ["one", "two", "two, untrained"]
    assert capsys.readouterr().out.splitlines()[0] == "Measuring one, 1 of 1"


def test_bad_input_is_refused(rng):
    data, encoder = blobs(rng, 30), dense_encoder(0)

    def run(encoders, train=data, test=data, **arguments):
        return evaluate.compare(encoders, train, test, **arguments)

    ours = {"ours": encoder}
    for encoders in (encoder, [encoder], {1: encoder}):
        with pytest.raises(TypeError, match="`encoders` must be a dictionary of encoders"):
            run(encoders)
    with pytest.raises(TypeError, match=r"`encoder` must be a keras\.Model"):
        run({"ours": [encoder, 3]})
    for encoders in ({}, {"ours": []}):
        with pytest.raises(ValueError, match="one encoder or more for each name"):
            run(encoders)
    for name in ("raw pixels", "ours, untrained"):
        with pytest.raises(ValueError, match="must not have the names of baselines"):
            run(ours | {name: encoder})
    for evaluations in ("clustering", ["svm"]):
        with pytest.raises(ValueError, match="`evaluations` must be a list of some of"):
            run(ours, evaluations=evaluations)
    with pytest.raises(ValueError, match="Received: neither"):
        run(ours, evaluations=[])
    with pytest.raises(TypeError, match=r"`functions` must be functions.*Received: 3 for 'a'"):
        run(ours, functions={"a": 3})
    with pytest.raises(TypeError, match=r"must return a number.*Received: 'b'"):
        run(ours, functions={"a": lambda *data: "b"}, evaluations=[])
    with pytest.raises(ValueError, match=r"`with_untrained` must be.*where \['ours'\] are"):
        run(ours | {"plain": evaluate.raw_pixels}, with_untrained=["plain"])
    with pytest.raises(ValueError, match="`confidence` must be a number in"):
        run(ours, confidence=95)
    with pytest.raises(ValueError, match="at least two classes"):
        run(ours, train=(data[0], np.zeros(30, int)))
    with pytest.raises(ValueError, match="`test` must hold examples with a label"):
        run(ours, test=(data[0], np.full(30, -1)))
    with pytest.raises(ValueError, match="`train` must be finite"):
        run(ours, train=(data[0] * np.nan, data[1]))
