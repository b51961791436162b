"""Workers that look for each other, as threads and sockets of this process on loopback."""

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from keras_ssl.distribute._cluster import Cluster, answers, meet
from keras_ssl.distribute.launch._worker import HOST, find_ports


def clusters(count):
    addresses = tuple(f"{HOST}:{port}" for port in find_ports(count))
    names = tuple(f"worker {i}" for i in range(count))
    return [Cluster(names, addresses, index) for index in range(count)]


def test_workers_that_start_one_after_the_other_meet():
    def come(cluster):
        time.sleep(0.3 * cluster.index)
        # listens for a while, as TensorFlow does on the same address
        meet(cluster, 20)
        met = time.monotonic()
        host, port = cluster.addresses[cluster.index].split(":")
        with socket.create_server((host, int(port))):
            time.sleep(1.5)
        return met

    start = time.monotonic()
    with ThreadPoolExecutor(4) as pool:
        met = list(pool.map(come, clusters(4)))
    # nobody goes on before the last one has come
    assert 0.9 <= min(met) - start <= max(met) - start < 15


def test_missing_workers_are_named_in_time():
    all_three = clusters(3)
    chief = all_three[0]
    host, port = chief.addresses[2].split(":")
    start = time.monotonic()
    with (
        socket.create_server((host, int(port))),
        pytest.raises(TimeoutError, match=r"no answer from 1 of 2: worker 1 \(127") as caught,
    ):
        meet(chief, 1.0)
    assert time.monotonic() - start < 4
    assert chief.addresses[1] in str(caught.value)
    assert chief.addresses[2] not in str(caught.value)


def test_a_single_worker_does_not_wait():
    meet(clusters(1)[0], 0.1)


def test_an_address_in_use_is_named():
    cluster = clusters(2)[1]
    host, port = cluster.addresses[1].split(":")
    with (
        socket.create_server((host, int(port))),
        pytest.raises(RuntimeError, match=rf"worker 1 cannot listen .*{port}.*in use"),
    ):
        meet(cluster, 1.0)


def test_answers_only_if_a_process_listens():
    (port,) = find_ports(1)
    assert not answers((HOST, port))
    with socket.create_server((HOST, port)):
        assert answers((HOST, port))
