"""Whole messages, with the descriptors that came with them, out of a socket that is never waited for."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable

SEND_S = 2.0
"""QEMU waits for its answers; who does not read them is not QEMU."""


class Hangup(Exception):  # noqa: N818  the end of a connection is no error
    """The other side closed the connection, or speaks another protocol; the text says which."""


class MessageStream:
    """Reads a header, then what the header announces, and no byte more: so descriptors belong to their message."""

    def __init__(self, peer: socket.socket, most_descriptors: int) -> None:
        self._socket = peer
        self._most_descriptors = most_descriptors
        peer.setblocking(False)
        self._buffer = bytearray()
        self._descriptors: list[int] = []

    def next(self, header_bytes: int, size_of: Callable[[bytes], int]) -> bytes | None:
        """The next message, or None if it is not complete yet. ``size_of`` gives its size by its header."""
        while True:
            complete = len(self._buffer) >= header_bytes
            wanted = size_of(bytes(self._buffer[:header_bytes])) if complete else header_bytes
            if complete and len(self._buffer) == wanted:
                message = bytes(self._buffer)
                self._buffer.clear()
                return message
            if not self._receive(wanted - len(self._buffer)):
                return None

    def take_descriptors(self) -> list[int]:
        """Those of the message that ``next`` gave; they are the caller's now."""
        descriptors, self._descriptors = self._descriptors, []
        return descriptors

    def send(self, message: bytes) -> None:
        """Send all of it."""
        try:
            self._socket.settimeout(SEND_S)
            self._socket.sendall(message)
        except OSError as error:
            raise Hangup(error.strerror or "connection lost") from None
        finally:
            self._socket.setblocking(False)

    def close(self) -> None:
        """Close it, and every descriptor that came with an unfinished message."""
        for descriptor in self.take_descriptors():
            os.close(descriptor)
        self._socket.close()

    def _receive(self, count: int) -> bool:
        try:
            data, descriptors, _, _ = socket.recv_fds(self._socket, count, self._most_descriptors)
        except BlockingIOError:
            return False
        except OSError as error:
            raise Hangup(error.strerror or "connection lost") from None
        self._descriptors += descriptors
        if not data:
            raise Hangup("connection closed")
        self._buffer += data
        return True
