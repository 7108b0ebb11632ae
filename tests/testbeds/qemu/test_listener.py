"""A socket of the server's: QEMU gets in, whoever comes before or after."""

import selectors
import socket
import struct

import pytest

from vfbench.testbeds.qemu.server.place import Listener
from vfbench.testbeds.qemu.vfio import messages as m
from vfbench.testbeds.qemu.vfio.connection import Connection

VERSION = struct.pack("<HH", 0, 1) + b'{"capabilities":{}}\0'
HELLO = m.HEADER.pack(1, m.VERSION, m.HEADER.size + len(VERSION), 0, 0) + VERSION


class Rig:
    def __init__(self, folder):
        self.selector = selectors.SelectSelector()
        self.events, self.gone = [], []
        self.path = folder / "vf"
        self.listener = Listener(
            self.path,
            self.selector,
            lambda peer: Connection(peer, None, None, lambda: 0),
            lambda: self.gone.append(True),
            self.events,
        )

    def client(self, words=b""):
        made = socket.socket(socket.AF_UNIX)
        made.connect(str(self.path))
        made.settimeout(2)
        if words:
            made.sendall(words)
        self.serve()
        return made

    def serve(self):
        while ready := self.selector.select(0.05):
            for key, _ in ready:
                key.data()


def is_hung_up_on(client):
    try:
        return client.recv(1) == b""
    except ConnectionResetError:  # what it had sent was never read
        return True


@pytest.fixture
def rig(tmp_path):
    made = Rig(tmp_path)
    yield made
    made.listener.close()


def test_a_stranger_before_qemu_does_not_keep_it_out(rig):
    silent = rig.client()
    loud = rig.client(b"GET / HTTP/1.0\r\n\r\n")
    assert is_hung_up_on(loud)
    qemu = rig.client(HELLO)
    assert m.HEADER.unpack(qemu.recv(m.HEADER.size))[1] == m.VERSION
    assert rig.listener.connection is not None
    assert len(rig.events) == 1
    assert "a stranger" in rig.events[0]
    silent.close()


def test_a_second_client_is_refused_and_told_of(rig):
    qemu = rig.client(HELLO)
    second = rig.client(HELLO)
    assert is_hung_up_on(second)
    assert "a second client" in rig.events[0]
    assert rig.gone == []
    qemu.close()


def test_qemu_hanging_up_is_noticed(rig):
    rig.client(HELLO).close()
    rig.serve()
    assert rig.gone == [True]
    assert rig.listener.connection is None
