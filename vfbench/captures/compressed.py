"""Compressed captures, unfolded piece by piece: gzip, bzip2, xz, Zstandard and LZ4 frames.

Told by their first bytes, never by the file's name. Several members in a row, as `cat` and parallel compressors
leave them, are read as one, and so is a member that is followed by zeros; a member that is cut short is an error.

Sources of the magic numbers: RFC 1952, RFC 8878, the xz and LZ4 frame formats.
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable
from typing import Any, BinaryIO

from vfbench.captures.defects import Defect

LONGEST_MAGIC_BYTES = 6
MOST_XZ_MEMORY_BYTES = 256 << 20
"""What `xz -9` asks for is a quarter of it."""
_PIECE_BYTES = 1 << 18


def unfolded(file: BinaryIO) -> tuple[BinaryIO, str]:
    """The content of ``file``, whose position is at its start, and what it was compressed with ("" for nothing)."""
    magic = file.read(LONGEST_MAGIC_BYTES)
    file.seek(0)
    name = compression(magic)
    return (_OPENERS[name](file) if name else file), name


def compression(magic: bytes) -> str:
    """What begins with these bytes: a key of the openers, or "" for anything else."""
    return next((name for start, name in _MAGICS if magic.startswith(start)), "")


class _Members(io.RawIOBase):
    """Compressed members one after the other; ``new`` makes the decompressor of a member."""

    def __init__(self, file: BinaryIO, name: str, new: Callable[[], Any]) -> None:
        self._file, self._name, self._new = file, name, new
        self._member = new()
        self._pending = b""
        self._unfolded_bytes = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        try:
            data = self._next(size)
        except (OSError, zlib.error, lzma.LZMAError, ValueError) as error:
            raise self._damaged(str(error) or type(error).__name__) from None
        self._unfolded_bytes += len(data)
        return data

    def _next(self, size: int) -> bytes:
        while True:
            if self._member.eof and not self._begin_next_member():
                return b""
            wants_input = getattr(self._member, "needs_input", True)
            if wants_input and not self._pending:
                self._pending = self._file.read(_PIECE_BYTES)
                if not self._pending:
                    raise self._damaged("they are cut short")
            data: bytes = self._member.decompress(self._pending if wants_input else b"", size)
            if wants_input:  # zlib hands back what it had no room for; the others keep it
                self._pending = getattr(self._member, "unconsumed_tail", b"")
            if data:
                return data

    def _begin_next_member(self) -> bool:
        rest = (self._member.unused_data or self._pending).lstrip(b"\0")
        while not rest:
            piece = self._file.read(_PIECE_BYTES)
            if not piece:
                return False
            rest = piece.lstrip(b"\0")
        self._member, self._pending = self._new(), rest
        return True

    def _damaged(self, reason: str) -> Defect:
        return Defect(f"its {self._name} data are damaged after {self._unfolded_bytes} bytes: {reason}")


class _ByArrow(io.RawIOBase):
    """What Arrow's codecs unfold."""

    def __init__(self, file: BinaryIO, name: str, codec: str) -> None:
        import pyarrow

        self._name = name
        self._content = pyarrow.CompressedInputStream(pyarrow.PythonFile(file, "r"), codec)
        self._unfolded_bytes = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        import pyarrow

        try:
            data: bytes = self._content.read(min(size, _PIECE_BYTES))
        except (OSError, pyarrow.ArrowException) as error:
            reason = " ".join(str(error).split())
            raise Defect(
                f"its {self._name} data are damaged after {self._unfolded_bytes} bytes: {reason}"
            ) from None
        self._unfolded_bytes += len(data)
        return data


def _gzip(file: BinaryIO) -> Any:
    return _Members(file, "gzip", lambda: zlib.decompressobj(wbits=31))


def _bzip2(file: BinaryIO) -> Any:
    return _Members(file, "bzip2", bz2.BZ2Decompressor)


def _xz(file: BinaryIO) -> Any:
    return _Members(file, "xz", lambda: lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=MOST_XZ_MEMORY_BYTES))


_OPENERS: dict[str, Callable[[BinaryIO], Any]] = {
    "gzip": _gzip,
    "bzip2": _bzip2,
    "xz": _xz,
    "Zstandard": lambda file: _ByArrow(file, "Zstandard", "zstd"),
    "LZ4": lambda file: _ByArrow(file, "LZ4", "lz4"),
}
_MAGICS = (
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "Zstandard"),
    *((bytes([kind]) + b"\x2a\x4d\x18", "Zstandard") for kind in range(0x50, 0x60)),  # a skippable frame
    (b"\x04\x22\x4d\x18", "LZ4"),
)
