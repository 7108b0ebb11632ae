"""An initramfs is a cpio archive; this writes one.

Source: the kernel's Documentation/driver-api/early-userspace/buffer-format.rst, format ``newc``: a header of the
magic number and thirteen 8-digit hexadecimal fields, the name with its NUL, the contents, each padded to 4 bytes.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass

MAGIC = "070701"
TRAILER = "TRAILER!!!"


@dataclass(frozen=True)
class Entry:
    """One file, folder or device node; ``mode`` is the st_mode word, ``device`` major and minor of a node."""

    name: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def folder(name: str) -> Entry:
    """A folder, readable by all."""
    return Entry(name, stat.S_IFDIR | 0o755)


def program(name: str, content: bytes) -> Entry:
    """A file that can be executed."""
    return Entry(name, stat.S_IFREG | 0o755, content)


def plain_file(name: str, content: bytes) -> Entry:
    """A file that can be read."""
    return Entry(name, stat.S_IFREG | 0o644, content)


def character_device(name: str, major: int, minor: int) -> Entry:
    """A device node; the kernel wants /dev/console before anything is mounted."""
    return Entry(name, stat.S_IFCHR | 0o600, device=(major, minor))


def archive(entries: Iterable[Entry]) -> bytes:
    """The bytes of a newc archive; folders must come before what lies in them."""
    parts = [_member(number, entry) for number, entry in enumerate(entries, start=1)]
    return b"".join((*parts, _member(0, Entry(TRAILER, 0))))


def _member(inode: int, entry: Entry) -> bytes:
    name = entry.name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (inode, entry.mode, 0, 0, links, 0, len(entry.content), 0, 0, *entry.device, len(name), 0)
    header = MAGIC + "".join(f"{field:08X}" for field in fields)
    return _padded(header.encode() + name) + _padded(entry.content)


def _padded(content: bytes) -> bytes:
    return content + b"\0" * (-len(content) % 4)
