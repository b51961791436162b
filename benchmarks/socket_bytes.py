"""Bytes that this process has sent and received over TCP, as the kernel counts them."""

import contextlib
import os
import socket
import struct
from pathlib import Path

# of `struct tcp_info` in <linux/tcp.h>: two 64-bit numbers, bytes_acked and bytes_received
_OFFSET = 120


def sent_and_received() -> tuple[int, int]:
    """What the open TCP connections of this process have carried so far (Linux).

    Payload only, without the headers of TCP and IP, and of this process alone, so that other
    programs that talk over the same device do not disturb. Differences are what counts: a
    connection that was closed is gone from the sum.

    Returns:
        Bytes that were sent and acknowledged, and bytes that were received.
    """
    sent = received = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            if not str(descriptor.readlink()).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(descriptor.name))) as one:
                if one.type != socket.SOCK_STREAM or one.family == socket.AF_UNIX:
                    continue
                info = one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
                acknowledged, got = struct.unpack_from("=QQ", info, _OFFSET)
                sent, received = sent + acknowledged, received + got
    return sent, received
