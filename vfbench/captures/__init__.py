"""Reads a packet capture into arrays: pcap and pcapng, as they are or compressed.

A capture is believed whole or not at all: every defect is a `UserError` that names the file, the packet and the
value, and says what would do. What libpcap and Wireshark read is read, with their values: captured lengths over the
snap length, original lengths below the captured one, packets without a time, several sections and link types.
Packets up to 100 us behind the latest before them, as several processors that record at once leave them, are sorted.

No kept library reads all of it: `benchmarks/capture_readers.py` says of each what it lacks.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from functools import lru_cache
from io import BufferedReader
from pathlib import Path

from vfbench.captures import cache
from vfbench.captures.compressed import unfolded
from vfbench.captures.defects import Defect, NoCapture
from vfbench.captures.formats import HEAD_BYTES, refused
from vfbench.captures.packets import KEPT_BYTES, Capture, Columns, Packet
from vfbench.captures.pcap import is_pcap, pcap_packets
from vfbench.captures.pcapng import MAGIC, pcapng_packets
from vfbench.captures.stream import Stream
from vfbench.errors import UserError
from vfbench.untrusted import open_regular, shown

__all__ = ["Capture", "content_sha256", "read_capture"]

MAX_FILE_BYTES = 4 << 30
WANTED = "a pcap or pcapng file"


def read_capture(path: str | Path) -> Capture:
    """The capture in `path`, from the cache if the same bytes were read before; UserError for a bad one."""
    name = f"capture {shown(path)}"
    with open_regular(path, name, MAX_FILE_BYTES, WANTED) as file:
        key = hashlib.file_digest(file, "sha256").hexdigest()
        if file.tell() == 0:
            raise UserError(f"{name}: is empty; give a pcap or pcapng file with packets")
        known = cache.load(key)
        if known is None:
            file.seek(0)
            known = _parse(file, name)
            cache.save(key, known)
    return known


def content_sha256(path: str | Path) -> str:
    """SHA-256 of the capture's content, unfolded; "" for a file that is no capture, of which no run comes."""
    try:
        status = os.stat(path)  # noqa: PTH116  the path may be no Path, and hold a NUL
        return _content_sha256(str(path), status.st_ino, status.st_size, status.st_mtime_ns)
    except (OSError, ValueError, UserError):
        return ""


@lru_cache(maxsize=64)
def _content_sha256(path: str, _inode: int, _size: int, _changed_ns: int) -> str:
    return read_capture(path).sha256


def _parse(file: BufferedReader, name: str) -> Capture:
    columns = Columns()
    try:
        content, packed = unfolded(file)
        stream = Stream(content)
        _read_into(columns, stream, packed)
        if not len(columns):
            raise UserError(f"{name}: has no packets; there is nothing to replay")
        return columns.capture(stream.digest())
    except NoCapture as defect:
        raise UserError(f"{name}: {defect}; {defect.remedy}") from None
    except Defect as defect:
        where = "" if str(defect).startswith("packet ") else f"packet {len(columns) + 1}: "
        raise UserError(f"{name}: {where}{defect}; {_remedy(defect, len(columns))}") from None
    except OSError as error:
        raise UserError(f"{name}: cannot be read: {error.strerror}; give {WANTED}") from None


def _read_into(columns: Columns, stream: Stream, packed: str) -> None:
    for packet in packets_of(stream, packed):
        columns.add(packet)


def packets_of(stream: Stream, packed: str, kept_bytes: int = KEPT_BYTES) -> Iterator[Packet]:
    """The packets of either format with their first ``kept_bytes``; NoCapture for a file of another."""
    head = stream.peek(HEAD_BYTES)
    if head.startswith(MAGIC):
        return pcapng_packets(stream, kept_bytes)
    if is_pcap(head[:4]):
        return pcap_packets(stream, kept_bytes)
    raise refused(head, packed)


def _remedy(defect: Defect, good: int) -> str:
    """What would do, where the defect does not say so itself."""
    if defect.remedy:
        return defect.remedy.format(number=good + 1)
    return f"`editcap -r IN OUT 1-{good}` keeps the packets before it" if good else "record it anew"
