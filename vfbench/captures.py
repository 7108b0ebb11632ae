"""Reads a packet capture into arrays: pcap and pcapng, micro- and nanosecond, both byte orders.

A capture is believed whole or not at all: every defect is a `UserError` that names the file, the packet and
the value. Three things are tolerated: packets up to 100 us behind the latest before them, as several
processors that record at once leave them (sorted by time); blocks of unknown type, which the format asks
readers to skip; and simple packet blocks, which carry no time and take that of the packet before.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
import zlib
from array import array
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from vfbench.capture_files import MAX_PACKET_BYTES, Defect, NoCapture, Stream, records
from vfbench.capture_headers import (
    ETHERNET_HEADER_BYTES,
    INBOUND,
    LINKS,
    UNKNOWN,
    flow_key,
    linux_direction,
)
from vfbench.errors import UserError

MAX_FILE_BYTES = 4 << 30
MAX_PACKETS = 5_000_000
MAX_FLOWS = 1 << 18
MAX_STATIONS = 1 << 16
MAX_SPAN_NS = 10**18
MAX_BACKWARDS_NS = 100_000

_CACHE_VERSION = 1
_KEPT_IN_CACHE = 16


@dataclass(frozen=True)
class Capture:
    """A capture's packets in order of time; all arrays are of one length, which is at least 1."""

    time_ns: NDArray[np.int64]
    """Since the first packet; never decreasing."""
    length: NDArray[np.int64]
    """Length on the wire, as the Ethernet frame without its FCS would have it."""
    flow: NDArray[np.int64]
    """Number of the packet's flow (5-tuple; less where there are no ports), in order of first appearance."""
    received: NDArray[np.bool_]
    """Whether the port would receive it: see `_received`."""
    link_type: int
    """Of the first packet, by the LINKTYPE_ numbers."""


def read_capture(path: str | Path) -> Capture:
    """The capture in `path`, from the cache if the same bytes were read before; UserError for a bad one."""
    path = Path(path)
    with _open(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        cached = user_cache_path("vfbench") / "captures" / f"{digest}-{file.tell()}-v{_CACHE_VERSION}.npz"
        known = _load(cached)
        if known is None:
            file.seek(0)
            known = _parse(file, _shown(path))
            _save(cached, known)
    return known


def _shown(path: Path) -> str:
    return str(path) if str(path).isprintable() else repr(str(path))


def _open(path: Path) -> BufferedReader:
    """Open a regular file of bounded size: a named pipe would block for ever, a device would never end."""
    name = _shown(path)
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            raise UserError(f"capture {name}: is a directory; give a pcap or pcapng file")
        if not stat.S_ISREG(status.st_mode):
            raise UserError(f"capture {name}: is no regular file; give a pcap or pcapng file")
        if status.st_size == 0:
            raise UserError(f"capture {name}: is empty; give a pcap or pcapng file with packets")
        if status.st_size > MAX_FILE_BYTES:
            raise UserError(
                f"capture {name}: has {status.st_size} bytes, more than {MAX_FILE_BYTES}; cut it with "
                "`editcap -c 1000000` or shorten its packets with `editcap -s 128`"
            )
        return path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"capture {name}: cannot be read: {reason}; give a pcap or pcapng file") from None


def _load(cached: Path) -> Capture | None:
    """What an earlier run read from the same bytes; None if there is nothing, or nothing sound."""
    try:
        with np.load(cached, allow_pickle=False) as stored:
            columns = [stored[name] for name in ("time_ns", "length", "flow", "received", "link_type")]
    except Exception:  # whatever is wrong with a cache, the capture itself is at hand
        return None
    rows, link_type = columns[:4], columns[4]
    kinds = (np.int64, np.int64, np.int64, np.bool_)
    sound = all(
        row.dtype == kind and row.shape == rows[0].shape for row, kind in zip(rows, kinds, strict=True)
    )
    if not sound or rows[0].ndim != 1 or not rows[0].size or link_type.shape != ():
        return None
    return Capture(rows[0], rows[1], rows[2], rows[3], int(link_type))


def _save(cached: Path, capture: Capture) -> None:
    """Keep the arrays for the next run: whole or not at all, and not at all where nothing may be written."""
    try:
        cached.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=cached.parent, prefix=".reading-")
        try:
            with os.fdopen(handle, "wb") as file:
                np.savez(file, **vars(capture))
            Path(temporary).replace(cached)
        except BaseException:
            Path(temporary).unlink()
            raise
        by_age = sorted(cached.parent.glob("*.npz"), key=lambda each: each.stat().st_mtime)
        for old in by_age[:-_KEPT_IN_CACHE]:
            old.unlink(missing_ok=True)
    except OSError:
        return


def _parse(file: BufferedReader, name: str) -> Capture:
    packets = _Packets()
    stream = Stream(file)
    try:
        magic = stream.read(4)
        for record in records(stream, magic):
            packets.add(*record)
        if not packets.time_ns:
            raise UserError(f"capture {name}: has no packets; there is nothing to replay")
        return packets.finished()
    except NoCapture as defect:
        raise UserError(f"capture {name}: {defect}; give a pcap or pcapng file") from None
    except Defect as defect:
        raise UserError(
            f"capture {name}: packet {len(packets.time_ns) + 1}: {defect}{packets.remedy(defect)}"
        ) from None
    except OSError as error:
        raise UserError(f"capture {name}: cannot be read: {error.strerror}") from None


class _Packets:
    """The columns of a capture while it is read."""

    def __init__(self) -> None:
        self.time_ns = array("q")
        self._length = array("q")
        self._flow = array("i")
        self._pair = array("i")
        self._direction = array("b")
        self._flows: dict[bytes, int] = {}
        self._pairs: dict[bytes, int] = {}
        self._bytes_to: dict[bytes, int] = {}
        self._link_type = -1
        self._first_ns = 0
        self._latest_ns = 0

    def add(
        self,
        data: bytes,
        time_ns: int | None,
        captured: int,
        length: int,
        fcs_bytes: int,
        link_type: int,
        way: int,
    ) -> None:
        link = LINKS.get(link_type)
        if link is None:
            raise Defect(
                f"its link type {link_type} is not Ethernet (1), Linux cooked (113, 276) or raw IP (101)"
            )
        if length > MAX_PACKET_BYTES:
            raise Defect(f"its length {length} is more than {MAX_PACKET_BYTES} bytes")
        if captured > length:
            raise Defect(f"its captured length {captured} is more than its length {length}")
        if len(self.time_ns) == MAX_PACKETS:
            raise Defect(
                f"there are more than {MAX_PACKETS} packets; cut the file with `editcap -c {MAX_PACKETS}`"
            )
        self._add_time(time_ns)
        self._length.append(max(1, length - fcs_bytes - link.header_bytes + ETHERNET_HEADER_BYTES))
        self._flow.append(self._flow_number(flow_key(data, link)))
        self._pair.append(self._station_pair(data, length) if link.has_addresses else -1)
        self._direction.append(linux_direction(data, link_type) if way == UNKNOWN else way)
        if self._link_type < 0:
            self._link_type = link_type

    def remedy(self, defect: Defect) -> str:
        """What would do, where the defect does not say so itself."""
        if "`" in str(defect):
            return ""
        good = len(self.time_ns)
        return f"; `editcap -r IN OUT 1-{good}` keeps the packets before it" if good else "; record it anew"

    def _add_time(self, time_ns: int | None) -> None:
        if not self.time_ns:
            self._first_ns = time_ns or 0
        since_ns = self._latest_ns if time_ns is None else time_ns - self._first_ns
        if since_ns < self._latest_ns - MAX_BACKWARDS_NS:
            raise Defect(
                f"its time is {self._latest_ns - since_ns} ns before that of a packet before it, more than "
                f"{MAX_BACKWARDS_NS}; `reordercap IN OUT` sorts a capture"
            )
        if since_ns > MAX_SPAN_NS:
            raise Defect(
                f"its time is {since_ns // 10**9} s after the first packet's; no capture lasts so long"
            )
        self._latest_ns = max(self._latest_ns, since_ns)
        self.time_ns.append(since_ns)

    def _flow_number(self, key: bytes) -> int:
        """By first appearance; past a quarter of a million flows, further ones share numbers."""
        number = self._flows.get(key)
        if number is None:
            number = len(self._flows)
            if number == MAX_FLOWS:
                return zlib.crc32(key) % MAX_FLOWS
            self._flows[key] = number
        return number

    def _station_pair(self, data: bytes, length: int) -> int:
        """Number of the pair of MAC addresses; -1 if there are none, or too many."""
        pair = data[:12]
        number = self._pairs.get(pair)
        if number is None:
            number = len(self._pairs)
            if number == MAX_STATIONS or len(pair) < 12:
                return -1
            self._pairs[pair] = number
        if not pair[0] & 1:
            self._bytes_to[pair[:6]] = self._bytes_to.get(pair[:6], 0) + length
        return number

    def finished(self) -> Capture:
        time_ns = np.array(self.time_ns, dtype=np.int64)
        order = np.argsort(time_ns, kind="stable")
        return Capture(
            time_ns=time_ns[order] - time_ns[order[0]],
            length=np.array(self._length, dtype=np.int64)[order],
            flow=np.array(self._flow, dtype=np.int64)[order],
            received=self._received()[order],
            link_type=self._link_type,
        )

    def _received(self) -> NDArray[np.bool_]:
        """Which packets the port would receive.

        Where the capture says which way a packet went, that. Else the port is the station that was sent the
        most bytes: it receives what is addressed to it and what others send to groups. Without addresses
        everything counts as received.
        """
        way = np.array(self._direction, dtype=np.int8)
        port = max(self._bytes_to, key=lambda each: (self._bytes_to[each], each), default=None)
        taken = [
            port is None or pair[:6] == port or (bool(pair[0] & 1) and pair[6:] != port)
            for pair in self._pairs
        ]
        by_address = np.array([*taken, True], dtype=np.bool_)[np.array(self._pair, dtype=np.int64)]
        return np.where(way == UNKNOWN, by_address, way == INBOUND)
