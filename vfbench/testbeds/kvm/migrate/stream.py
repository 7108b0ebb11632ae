"""The migration stream: framed messages over a socket that only the run's two processes have.

Both ends are the run's own, so the source makes the pair (``socketpair``) and its destination inherits an end: there
is no address to connect to, and nobody to be refused. A message is a magic word, a kind and a length, then its
payload. A side that hears nothing for ``SILENCE_LIMIT_S`` gives up; one that lives but is busy, or starved on a busy
host, says so every ``BEAT_EVERY_S``. The source listens all the time, whatever else it does, so that a destination
that stands still is found out in time from its first moment to its last.

This module loads quickly: the destination's first beat comes after it, and before everything else.
"""

from __future__ import annotations

import contextlib
import json
import queue
import reprlib
import socket
import struct
import threading
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from vfbench.errors import RunFailed
from vfbench.machine.memory.guest_memory import PAGE_BYTES

SILENCE_LIMIT_S = 4.0
"""Only a process that is gone, or stands still, is silent for so long; with half a second to see what became of it and
the rest to clean up, the side that is left ends within 5 s. What a live side is busy with has limits of its own, which
may be longer (``site.WAIT_LIMIT_S``): a command to a guest on a starved host, or a comparison of large memories."""
BEAT_EVERY_S = 0.5
ANSWER_LIMIT_S = 180.0
"""For an answer from a side that lives: longer than all that any verb waits for together."""
READY_LIMIT_S = 300.0
"""For the answer to the order, before which the destination may have kernels to compile."""
_LISTENER_LEAVES_S = 1.0
MOST_PAGES = 256

_MAGIC = b"vfb1"
_HEADER = struct.Struct("<4sIQ")
_LONGEST_MESSAGE = 1 << 26

(
    ORDER,
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


class Stream:
    """One end of a connection; `sent_bytes` counts what went out, headers included."""

    def __init__(self, connection: socket.socket, other_side: str) -> None:
        self._socket = connection
        self._other_side = other_side
        self.sent_bytes = 0
        self._sent_at = time.monotonic()
        connection.settimeout(SILENCE_LIMIT_S)
        self._sending = threading.Lock()
        self._closed = threading.Event()
        self._broken: StreamBroken | None = None
        self._listener: threading.Thread | None = None
        self._inbox: queue.SimpleQueue[tuple[int, bytearray] | StreamBroken] = queue.SimpleQueue()

    @property
    def quiet_s(self) -> float:
        """How long nothing has been sent; the other side gives up after SILENCE_LIMIT_S."""
        return time.monotonic() - self._sent_at

    def close(self) -> None:
        """Close the connection."""
        self._closed.set()
        # Whoever waits in it, to send or to receive, comes back before its number may belong to another file.
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        if self._listener is not None:
            self._listener.join(_LISTENER_LEAVES_S)
        self._socket.close()

    def check(self) -> None:
        """StreamBroken if the other side is gone or silent; only an end that listens notices by itself."""
        if self._broken is not None:
            raise self._broken

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

    def start_listening(self) -> None:
        """From now on messages are received as they come, and silence is noticed, whatever this side is busy with."""
        self._listener = threading.Thread(target=self._listen, name="listener", daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        while True:
            try:
                self._inbox.put(self._receive_now())
            except StreamBroken as broken:
                self._inbox.put(self._break(broken))
                return

    def _break(self, broken: StreamBroken) -> StreamBroken:
        """The first reason why the stream is of no more use; whoever waits to send is not kept waiting."""
        if self._broken is None:
            self._broken = broken
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        return self._broken

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
        with self._sending:
            self.check()
            try:
                for part in parts:
                    self._socket.sendall(part)
                    self.sent_bytes += len(part)
            except OSError as error:
                raise self._break(StreamBroken(f"{self._other_side} takes nothing more: {error}")) from error
        self._sent_at = time.monotonic()

    def receive(self, limit_s: float = ANSWER_LIMIT_S) -> tuple[int, bytearray]:
        """The next message: kind and payload; StreamBroken if none comes within the limit from a side that lives."""
        if self._listener is None:
            return self._receive_now()
        try:
            received = self._inbox.get(timeout=limit_s)
        except queue.Empty:
            raise StreamBroken(f"{self._other_side} did not answer for {limit_s:g} s") from None
        if isinstance(received, StreamBroken):
            self._inbox.put(received)  # for whoever asks again
            raise received
        return received

    def _receive_now(self) -> tuple[int, bytearray]:
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
        if count == 1 or (np.diff(numbers) == 1).all():
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

    def answer(self, limit_s: float = ANSWER_LIMIT_S) -> Any:
        """The other side's DONE. RunFailed with its reason if it could not."""
        kind, payload = self.receive(limit_s)
        if kind == ERROR:
            raise RunFailed(f"{self._other_side}: {payload.decode(errors='replace')}")
        if kind != DONE:
            raise StreamBroken(f"{self._other_side} answered with message {kind}")
        return parsed(payload, self._other_side)


def parsed(payload: bytearray, other_side: str) -> Any:
    """A message's JSON document; StreamBroken for a payload that is none."""
    try:
        return json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise StreamBroken(f"{other_side} sent what is no JSON: {reprlib.repr(bytes(payload))}") from error


def source_pair() -> tuple[Stream, socket.socket]:
    """The source's end, which listens, and the other, to be inherited by the destination (and closed here)."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    stream = Stream(here, "the destination")
    stream.start_listening()
    return stream, there


def inherited(descriptor: int) -> Stream:
    """The destination's end, from the number of the descriptor that it was started with."""
    return Stream(socket.socket(fileno=descriptor), "the source")
