import socket
import sys
import time

import pytest

from benchmarks.socket_bytes import sent_and_received

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads Linux' counters")


def test_counts_what_connections_of_this_process_carry():
    before = sent_and_received()
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as one,
        server.accept()[0] as other,
    ):
        one.sendall(b"x" * 12_345)
        other.sendall(b"y" * 77)
        received = 0
        while received < 12_345:
            received += len(other.recv(65536))
        assert len(one.recv(100)) == 77
        # both ends are ours; an acknowledgement may be on its way
        deadline = time.monotonic() + 10
        while (after := sent_and_received())[0] - before[0] < 12_345 + 77:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    # the kernel counts the first packet of each connection, which opens it, as a byte or so
    assert after[0] - before[0] - (12_345 + 77) <= 4
    assert abs(after[1] - before[1] - (12_345 + 77)) <= 4
