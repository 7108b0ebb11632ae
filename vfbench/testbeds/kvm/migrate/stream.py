"""The migration stream: framed messages over TCP between two processes that know the run's token.

A message is a magic word, a kind and a length, then its payload. The first one carries the token; whoever
sends anything else is refused. A side that hears nothing for ``SILENCE_LIMIT_S`` gives up; one that lives but is
busy, or starved on a busy host, says so every ``BEAT_EVERY_S``.
"""

from __future__ import annotations

import hmac
import json
import math
import secrets
import socket
import struct
import threading
import time
from ipaddress import IPv4Address
from typing import Any

import numpy as np
import numpy.typing as npt

from vfbench.errors import RunFailed
from vfbench.machine.memory.guest_memory import PAGE_BYTES

LOOPBACK = "127.0.0.1"
SILENCE_LIMIT_S = 4.0
"""Only a process that is gone, or stands still, is silent for so long; with half a second to see what became of it and
the rest to clean up, the side that is left ends within 5 s. What a live side is busy with has limits of its own, which
may be longer (``site.WAIT_LIMIT_S``): a command to a guest on a starved host, or a comparison of large memories."""
BEAT_EVERY_S = 0.5
ANSWER_LIMIT_S = 180.0
"""For an answer from a side that lives: longer than all that any verb waits for together."""
TOKEN_BYTES = 32
MOST_PAGES = 256

_MAGIC = b"vfb1"
_HEADER = struct.Struct("<4sIQ")
_LONGEST_MESSAGE = 1 << 26

(
    HELLO,
    PAGES,
    GUEST_STATE,
    VF_STATE,
    RESTORE_RINGS,
    RESUME,
    TAKE_WIRE,
    PLUG_VF,
    TRACKING,
    PING,
    QUIT,
    DONE,
    ERROR,
    BEAT,
) = range(14)


def _bytes_of(array: Any) -> memoryview:
    """The bytes of a contiguous array, to be sent or filled without a copy."""
    return memoryview(array).cast("B")


class StreamBroken(RunFailed):
    """The connection is of no more use."""


class StrangerRefused(StreamBroken):
    """Whoever connected is not the run's source."""


def new_token() -> bytes:
    """What both sides of one run know, and nobody else."""
    return secrets.token_bytes(TOKEN_BYTES)


class Stream:
    """One end of a connection; `sent_bytes` counts what went out, headers included."""

    def __init__(self, connection: socket.socket, other_side: str) -> None:
        self._socket = connection
        self._other_side = other_side
        self.sent_bytes = 0
        self._sent_at = time.monotonic()
        connection.settimeout(SILENCE_LIMIT_S)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sending = threading.Lock()
        self._closed = threading.Event()
        self._answer_due = math.inf

    @property
    def quiet_s(self) -> float:
        """How long nothing has been sent; the other side gives up after SILENCE_LIMIT_S."""
        return time.monotonic() - self._sent_at

    def close(self) -> None:
        """Close the connection."""
        self._closed.set()
        self._socket.close()

    def start_beating(self) -> None:
        """From now on the other side hears that this one lives, whatever it is busy with."""
        threading.Thread(target=self._beat, name="beat", daemon=True).start()

    def _beat(self) -> None:
        while not self._closed.wait(BEAT_EVERY_S):
            try:
                if self.quiet_s >= BEAT_EVERY_S:
                    self.send(BEAT)
            except StreamBroken:
                return  # whoever uses the stream finds out, and says it

    def send(self, kind: int, payload: bytes = b"") -> None:
        """One message."""
        self._send(_HEADER.pack(_MAGIC, kind, len(payload)), payload)

    def send_json(self, kind: int, document: Any) -> None:
        """One message with a JSON document."""
        self.send(kind, json.dumps(document).encode())

    def send_pages(self, memory: npt.NDArray[np.uint8], pages: npt.NDArray[np.int64]) -> None:
        """Pages as they are now; at most MOST_PAGES. `memory` has a row for each page."""
        count = len(pages)
        first, contiguous = int(pages[0]), int(pages[-1]) - int(pages[0]) == count - 1
        content = memory[first : first + count] if contiguous else memory[pages]
        length = 8 * (1 + count) + count * PAGE_BYTES
        head = np.concatenate([[count], pages]).astype("<i8")
        self._send(_HEADER.pack(_MAGIC, PAGES, length), head.tobytes(), _bytes_of(content))

    def _send(self, *parts: bytes | memoryview) -> None:
        try:
            with self._sending:
                for part in parts:
                    self._socket.sendall(part)
                    self.sent_bytes += len(part)
        except OSError as error:
            raise StreamBroken(f"{self._other_side} takes nothing more: {error}") from error
        self._sent_at = time.monotonic()

    def receive(self) -> tuple[int, bytearray]:
        """The next message: kind and payload."""
        kind, length = self.receive_header()
        payload = bytearray(length)
        self.fill(memoryview(payload))
        return kind, payload

    def receive_header(self) -> tuple[int, int]:
        """Kind of the next message that is no beat, and length of the payload that follows it."""
        while True:
            header = bytearray(_HEADER.size)
            self.fill(memoryview(header))
            magic, kind, length = _HEADER.unpack(header)
            if magic != _MAGIC or kind > BEAT or length > (0 if kind == BEAT else _LONGEST_MESSAGE):
                raise StreamBroken(f"{self._other_side} sent what is no migration stream: {bytes(header)!r}")
            if kind != BEAT:
                return kind, length
            if time.monotonic() > self._answer_due:
                raise StreamBroken(f"{self._other_side} did not answer for {ANSWER_LIMIT_S:g} s")

    def receive_pages(self, memory: npt.NDArray[np.uint8], length: int) -> int:
        """Put the pages of a PAGES message where they belong; returns how many."""
        words = bytearray(8)
        self.fill(memoryview(words))
        (count,) = struct.unpack("<q", words)
        if not 0 < count <= MOST_PAGES or length != 8 * (1 + count) + count * PAGE_BYTES:
            raise StreamBroken(f"{self._other_side} sent {length} bytes for {count} pages")
        numbers = np.empty(count, "<i8")
        self.fill(_bytes_of(numbers))
        if numbers.min() < 0 or numbers.max() >= len(memory):
            raise StreamBroken(f"{self._other_side} sent page {numbers.max()} of {len(memory)}")
        self._fill_pages(memory, numbers)
        return int(count)

    def _fill_pages(self, memory: npt.NDArray[np.uint8], numbers: npt.NDArray[np.int64]) -> None:
        first, count = int(numbers[0]), len(numbers)
        if int(numbers[-1]) - first == count - 1:
            self.fill(_bytes_of(memory[first : first + count]))
            return
        content = np.empty((count, PAGE_BYTES), np.uint8)
        self.fill(_bytes_of(content))
        memory[numbers] = content

    def fill(self, view: memoryview) -> None:
        """Receive exactly as many bytes as `view` holds."""
        filled = 0
        try:
            while filled < len(view):
                got = self._socket.recv_into(view[filled:])
                if got == 0:
                    raise StreamBroken(f"{self._other_side} closed the connection")
                filled += got
        except TimeoutError as error:
            raise StreamBroken(f"nothing came from {self._other_side} for {SILENCE_LIMIT_S:g} s") from error
        except OSError as error:
            raise StreamBroken(f"the connection to {self._other_side} broke: {error}") from error

    def ask(self, kind: int, document: Any = None) -> Any:
        """Send a request and wait until the other side is done with it; returns what it answers."""
        self.send_json(kind, document)
        return self.answer()

    def answer(self) -> Any:
        """The other side's DONE. RunFailed with its reason if it could not."""
        self._answer_due = time.monotonic() + ANSWER_LIMIT_S
        try:
            kind, payload = self.receive()
        finally:
            self._answer_due = math.inf
        if kind == ERROR:
            raise RunFailed(f"{self._other_side}: {payload.decode(errors='replace')}")
        if kind != DONE:
            raise StreamBroken(f"{self._other_side} answered with message {kind}")
        return json.loads(payload)


def connect(port: int, token: bytes, address: str = LOOPBACK) -> Stream:
    """The source's end, for a destination that listens on `address`."""
    try:
        connection = socket.create_connection((_reachable(address), port), timeout=SILENCE_LIMIT_S)
    except OSError as error:
        raise StreamBroken(f"the destination can't be reached: {error}") from error
    stream = Stream(connection, "the destination")
    try:
        stream.send(HELLO, token)
        stream.answer()
    except BaseException:
        stream.close()
        raise
    stream.start_beating()
    return stream


def admit(connection: socket.socket, token: bytes) -> Stream:
    """The destination's end of a connection just accepted. StrangerRefused if it is not the run's source."""
    stream = Stream(connection, "the source")
    try:
        _check_token(stream, token)
    except StreamBroken as error:
        stream.close()
        raise StrangerRefused(f"refused a connection: {error}") from error
    stream.send_json(DONE, None)
    stream.start_beating()
    return stream


def _check_token(stream: Stream, token: bytes) -> None:
    kind, length = stream.receive_header()
    if kind != HELLO or length != TOKEN_BYTES:
        raise StreamBroken(f"message {kind} of {length} bytes where a token was due")
    given = bytearray(length)
    stream.fill(memoryview(given))
    if not hmac.compare_digest(bytes(given), token):
        raise StreamBroken("a wrong token")


def _reachable(address: str) -> str:
    """Where one that listens on `address` is found; on every address means on loopback too."""
    return LOOPBACK if IPv4Address(address).is_unspecified else address


def listen(address: str = LOOPBACK) -> socket.socket:
    """A port at `address` that the kernel chooses; RunFailed if this machine does not have the address."""
    try:
        server = socket.create_server((address, 0))
    except OSError as error:
        raise RunFailed(f"can't listen on {address}: {error.strerror}") from error
    server.settimeout(0.5)
    return server
