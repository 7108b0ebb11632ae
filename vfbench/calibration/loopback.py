"""What TCP over the loopback interface carries: the bound of a migration between two processes of this machine."""

from __future__ import annotations

import socket
import threading
import time
from typing import Final

from vfbench.calibration.measurement import Probe

CHUNK_BYTES: Final = 1 << 18
SAMPLE_BYTES: Final = 64 << 20


def _drain(receiver: socket.socket, expected_bytes: int) -> None:
    buffer = bytearray(CHUNK_BYTES)
    while expected_bytes > 0:
        got = receiver.recv_into(buffer)
        if got == 0:
            return
        expected_bytes -= got


def tcp_gbps() -> float:
    """Send 64 MiB from one thread to another over TCP on loopback; Gb/s of payload."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as sender,
    ):
        receiver, _ = server.accept()
        with receiver:
            reader = threading.Thread(target=_drain, args=(receiver, SAMPLE_BYTES))
            chunk = bytes(CHUNK_BYTES)
            began = time.perf_counter()
            reader.start()
            for _ in range(SAMPLE_BYTES // CHUNK_BYTES):
                sender.sendall(chunk)
            reader.join()
            return 8 * SAMPLE_BYTES / (time.perf_counter() - began) / 1e9


def loopback_probe() -> Probe:
    """No cost of a profile is like it: a migration over loopback has it as `migration.line-rate`."""
    method = (
        "64 MiB from one thread to another in writes of 256 KiB; a bound for migration.line-rate on loopback"
    )
    return Probe("loopback_tcp", "Gb/s", method, tcp_gbps, belongs=False)
