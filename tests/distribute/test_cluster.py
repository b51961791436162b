import json

import pytest

from keras_ssl import distribute
from keras_ssl.distribute._cluster import parse_address, read_cluster

HOSTS = ["host0:12345", "[::1]:2", "10.0.0.7:65535"]


def config(cluster, task=None):
    return json.dumps({"cluster": cluster, "task": task})


def worker(index):
    return {"type": "worker", "index": index}


@pytest.mark.parametrize("text", [None, "", "{}", '{"cluster": {}}', '{"environment": "cloud"}'])
def test_no_cluster_is_one_process(monkeypatch, text):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    if text is not None:
        monkeypatch.setenv("TF_CONFIG", text)
    assert read_cluster() is None
    assert distribute.is_chief()


@pytest.mark.parametrize("index", [0, 1, 2, "0", "2"])
def test_the_first_worker_is_the_chief(monkeypatch, index):
    monkeypatch.setenv("TF_CONFIG", config({"worker": HOSTS}, worker(index)))
    cluster = read_cluster()
    assert cluster.names == ("worker 0", "worker 1", "worker 2")
    assert cluster.addresses == tuple(HOSTS) and cluster.index == int(index)
    assert distribute.is_chief() == (int(index) == 0)


def test_a_chief_comes_before_the_workers(monkeypatch):
    jobs = {"worker": HOSTS[1:], "chief": HOSTS[:1], "evaluator": ["other:1"]}
    monkeypatch.setenv("TF_CONFIG", config(jobs, worker(0)))
    assert read_cluster().names == ("chief", "worker 0", "worker 1")
    assert read_cluster().index == 1 and not distribute.is_chief()
    monkeypatch.setenv("TF_CONFIG", config(jobs, {"type": "chief", "index": 0}))
    assert read_cluster().index == 0 and distribute.is_chief()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{'cluster'", "Expected JSON"),
        ("[1]", "Expected a JSON object"),
        ('{"cluster": [1]}', "an object of lists of addresses as `cluster`"),
        (config({"ps": HOSTS}, worker(0)), "a list of addresses as `cluster.worker`"),
        (config({"worker": "host:1"}, worker(0)), "a list of addresses as `cluster.worker`"),
        (config({"chief": HOSTS, "worker": []}, worker(0)), "with at most one chief"),
        (config({"worker": ["host0"]}, worker(0)), "\"host:port\", not 'host0'"),
        (config({"worker": ["host0:x"]}, worker(0)), "\"host:port\", not 'host0:x'"),
        (config({"worker": ["host0:70000"]}, worker(0)), '"host:port"'),
        (config({"worker": [7]}, worker(0)), '"host:port", not 7'),
        (config({"worker": ["a:1", "a:1"]}, worker(0)), "a different address for each worker"),
        (config({"worker": HOSTS}), "`task.type`"),
        (config({"worker": HOSTS}, {"type": "ps", "index": 0}), "`task.type`"),
        (config({"worker": HOSTS}, worker(3)), "`task.index` to be an integer from 0 to 2"),
        (config({"worker": HOSTS}, worker(True)), "`task.index` to be an integer from 0 to 2"),
        (config({"worker": HOSTS}, worker("one")), "`task.index` to be an integer from 0 to 2"),
        (config({"worker": HOSTS}, {"type": "chief", "index": 0}), "which has no chief"),
    ],
)
def test_malformed_tf_config(monkeypatch, text, message):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError) as caught:
        read_cluster()
    assert message in str(caught.value) and "TF_CONFIG" in str(caught.value)
    assert text in str(caught.value)  # what was received


def test_addresses_are_split():
    assert parse_address("localhost:80") == ("localhost", 80)
    assert parse_address("[fe80::1]:8080") == ("fe80::1", 8080)
