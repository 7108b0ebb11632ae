"""A sweep's own cluster lets nobody in who has not its key, and listens to nobody else."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from distributed import Client
from distributed.security import Security

SCRIPT = """
import os
from vfbench.sweeps.local import local_cluster

if __name__ == "__main__":
    with local_cluster(1) as client:
        print(client.scheduler.address, os.getpid(), *client.run(os.getpid).values(), flush=True)
        input()
"""


def listening_ports(pid: int) -> set[int]:
    own = {str(fd.readlink()) for fd in list(Path(f"/proc/{pid}/fd").iterdir()) if fd.is_symlink()}
    rows = [
        line.split()
        for table in ("tcp", "tcp6")
        for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
    ]
    return {
        int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in own
    }


def gets_in(port: int) -> bool:
    """Whether somebody without a certificate is listened to; under TLS 1.3 he is turned away at the first read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            context.wrap_socket(plain) as stranger,
        ):
            stranger.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return stranger.recv(1) != b""
    except ssl.SSLError:
        return False


@pytest.mark.slow
def test_strangers_are_turned_away_at_every_port_of_the_cluster() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SCRIPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        address, *pids = process.stdout.readline().split()
        assert address.startswith("tls://127.0.0.1:")
        ports = set().union(*(listening_ports(int(pid)) for pid in pids))
        assert len(ports) == 3  # scheduler, nanny, worker
        assert [port for port in ports if gets_in(port)] == []
        for stranger in ("tcp" + address.removeprefix("tls"), address):
            with pytest.raises((OSError, TypeError)):
                Client(stranger, timeout=3, security=Security.temporary() if "tls" in stranger else None)
        process.communicate("\n")
