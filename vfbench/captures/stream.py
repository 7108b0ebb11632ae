"""A capture's bytes in order: bounded reads, and the digest of what was read."""

from __future__ import annotations

import hashlib
import io
from typing import Any, BinaryIO

from vfbench.captures.defects import Defect, NoCapture

MAX_UNFOLDED_BYTES = 4 << 30
SKIPPED_AT_ONCE_BYTES = 1 << 20
_BUFFER_BYTES = 1 << 20


class Stream:
    """What a reader of a format sees of a file; `position` counts the bytes read."""

    def __init__(self, content: BinaryIO) -> None:
        self._hashed = _Hashed(content)
        self._buffered = io.BufferedReader(self._hashed, _BUFFER_BYTES)
        self.position = 0

    def peek(self, size: int) -> bytes:
        """The first bytes of what comes next, fewer only at the end of the file."""
        return self._buffered.peek(size)[:size]

    def read(self, size: int) -> bytes:
        """The next bytes, fewer at the end of the file only; the caller bounds ``size``."""
        data = self._buffered.read(size)
        self.position += len(data)
        return data

    def skip(self, size: int) -> bool:
        """Pass over bytes without keeping them; False if the file ends before."""
        while size > 0:
            passed = len(self.read(min(size, SKIPPED_AT_ONCE_BYTES)))
            if passed == 0:
                return False
            size -= passed
        return True

    def digest(self) -> str:
        """SHA-256 of the whole content, which is read to its end."""
        while self.skip(SKIPPED_AT_ONCE_BYTES):
            pass
        return self._hashed.sha256.hexdigest()


class _Hashed(io.RawIOBase):
    """Hashes what passes through, and ends what unfolds without end."""

    def __init__(self, content: BinaryIO) -> None:
        self._content: Any = content
        self._bytes = 0
        self.sha256 = hashlib.sha256()

    def readable(self) -> bool:
        return True

    def readinto(self, view: Any) -> int:
        """As much as there is room for: decompressors hand out less, and `peek` reads once."""
        filled = 0
        while filled < len(view):
            data = self._content.read(len(view) - filled)
            if not data:
                break
            view[filled : filled + len(data)] = data
            filled += len(data)
            self._bytes += len(data)
            if self._bytes > MAX_UNFOLDED_BYTES:
                reason = f"it unfolds to more than {MAX_UNFOLDED_BYTES} bytes"
                raise Defect(reason, "shorten its packets with `editcap -s 128 IN OUT`")
            self.sha256.update(data)
        return filled


def exactly(stream: Stream, size: int, what: str) -> bytes:
    """The next ``size`` bytes of the file's own header; NoCapture if there are fewer."""
    data = stream.read(size)
    if len(data) < size:
        raise NoCapture(f"{what} is cut short after {stream.position} bytes")
    return data
