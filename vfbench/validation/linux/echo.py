"""A peer that pings a guest at a steady rate and looks for the longest gap in its answers, wherever the guest runs.

Between them it is the switch, too: a request goes to where the guest's last frame came from, so that after a
migration the new place counts from its first frame, which is QEMU's own announcement (RARP) or an answer.
"""

from __future__ import annotations

import select
import socket
import struct
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import NamedTuple, Self

from vfbench.validation.linux.frames import GUEST_ADDRESS, IPV4, PEER_ADDRESS, checksum
from vfbench.validation.linux.guest import WiredGuest

ICMP, ECHO_REQUEST, ECHO_REPLY = 1, 8, 0
MIN_FRAME_BYTES = 60


def echo_request(mac: bytes, peer: bytes, sequence: int) -> bytes:
    """The smallest ping (RFC 792)."""
    body = struct.pack(">HH", 1, sequence & 0xFFFF)
    icmp = (
        struct.pack(">BBH", ECHO_REQUEST, 0, checksum(struct.pack(">BBH", ECHO_REQUEST, 0, 0) + body)) + body
    )
    header = struct.pack(
        ">BBHHHBBH4s4s", 0x45, 0, 20 + len(icmp), 0, 0, 64, ICMP, 0, PEER_ADDRESS, GUEST_ADDRESS
    )
    header = header[:10] + struct.pack(">H", checksum(header)) + header[12:]
    return (mac + peer + IPV4 + header + icmp).ljust(MIN_FRAME_BYTES, b"\0")


def is_echo_reply(frame: bytes) -> bool:
    """Whether a frame is the answer to a ping."""
    return frame[12:14] == IPV4 and frame[23:24] == bytes((ICMP,)) and frame[34:35] == bytes((ECHO_REPLY,))


class Gap(NamedTuple):
    """Seconds without an answer, and when (monotonic) they began."""

    length_s: float
    began: float


class EchoPeer:
    """A context: requests are sent as long as it lasts. The lists are of monotonic seconds."""

    def __init__(self, places: Sequence[WiredGuest], mac: bytes, peer: bytes, packets_per_s: int) -> None:
        self._places = {place.peer: place for place in places}
        self._here = self._first = places[0]
        self._addresses = mac, peer
        self._gap_s = 1 / packets_per_s
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.requests = 0
        self.answers: list[float] = []
        self.arrived_elsewhere: list[float] = []

    def __enter__(self) -> Self:
        for sock in self._places:
            sock.setblocking(False)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()

    def longest_gap(self, since: float) -> Gap:
        """The longest time between two answers of which the second came after ``since``."""
        pairs = zip(self.answers, self.answers[1:], strict=False)
        return max((Gap(b - a, a) for a, b in pairs if b >= since), default=Gap(float("inf"), since))

    def _run(self) -> None:
        due = time.monotonic()
        while not self._done.is_set():
            due = max(due + self._gap_s, time.monotonic())
            with suppress(OSError):  # nobody takes it: the place is full, or gone
                self._here.send(echo_request(*self._addresses, self.requests))
            self.requests += 1
            self._listen_until(due)

    def _listen_until(self, due: float) -> None:
        while (left := due - time.monotonic()) > 0:
            for arrived in select.select(list(self._places), [], [], left)[0]:
                self._take(arrived)

    def _take(self, arrived: socket.socket) -> None:
        frame = arrived.recv(1 << 16)
        now = time.monotonic()
        self._here = self._places[arrived]
        if self._here is not self._first:
            self.arrived_elsewhere.append(now)
        if is_echo_reply(frame):
            self.answers.append(now)
