"""A kernel's modules: found, unpacked, and in the order in which they can be loaded.

What a module needs stands in its section .modinfo, as modpost wrote it: ``depends=a,b`` names modules only, never what
is built into the kernel. So no depmod and no modules.dep are needed, which a package that is only unpacked lacks.
"""

from __future__ import annotations

import gzip
import io
import lzma
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path

from elftools.elf.elffile import ELFFile

from vfbench.errors import UserError


def _zstd(packed: bytes) -> bytes:
    import pyarrow as pa

    return bytes(pa.input_stream(pa.py_buffer(packed), compression="zstd").read())


UNPACKED: dict[str, Callable[[bytes], bytes]] = {
    ".ko": lambda content: content,
    ".xz": lzma.decompress,
    ".gz": gzip.decompress,
    ".zst": _zstd,
}


def in_loading_order(folder: Path, wanted: Iterable[str]) -> tuple[tuple[str, bytes], ...]:
    """Name and content of each module and of what it depends on, in loading order; what is built in is left out.

    UserError for a name that is neither a module below ``folder`` nor in its modules.builtin.
    """
    ordered: dict[str, bytes] = {}

    def load(name: str) -> None:
        if name in ordered:
            return
        content = module(folder, name)
        if content is None:
            return
        for needed in depends(content):
            load(needed)
        ordered[name] = content

    for name in wanted:
        load(_canonical(name))
    return tuple(ordered.items())


def module(folder: Path, name: str) -> bytes | None:
    """The module, unpacked; None for one that is built in. UserError where there is none."""
    files, builtin = _index(folder)
    path = files.get(_canonical(name))
    if path is not None:
        return UNPACKED[path.suffix](path.read_bytes())
    if _canonical(name) in builtin:
        return None
    raise UserError(f"the kernel's modules in {folder} have no {name}.ko, packed or not")


def depends(content: bytes) -> tuple[str, ...]:
    """The modules that a module needs, from its section .modinfo; ValueError for what is no module."""
    section = ELFFile(io.BytesIO(content)).get_section_by_name(".modinfo")
    if section is None:
        raise ValueError("no section .modinfo: not a kernel module")
    for line in section.data().split(b"\0"):
        if line.startswith(b"depends="):
            return tuple(_canonical(name) for name in line[8:].decode().split(",") if name)
    return ()


@lru_cache(maxsize=8)
def _index(folder: Path) -> tuple[dict[str, Path], frozenset[str]]:
    files = {
        _canonical(path.name.partition(".")[0]): path
        for path in folder.rglob("*.ko*")
        if path.suffix in UNPACKED
    }
    listed = folder / "modules.builtin"
    lines = listed.read_text().splitlines() if listed.is_file() else []
    return files, frozenset(_canonical(Path(line).stem) for line in lines)


def _canonical(name: str) -> str:
    """The kernel takes dashes and underscores in a module's name for the same."""
    return name.replace("-", "_")
