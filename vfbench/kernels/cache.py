"""The disk cache of compiled kernels: where it lies, what a kernel's file in it is named by, when old ones go.

A file is named by its kernel and by the digest of everything that its code is made of
(:mod:`vfbench.kernels.content`), so a stale one cannot be loaded, and what an edit does not reach stays. Only saving
writes: importing a module, or loading what is there, changes nothing on disk.
"""

from __future__ import annotations

import functools
import os
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import Any

import numba
from numba.core.caching import Cache, IndexDataCacheFile
from numba.core.compiler import CompileResult
from numba.core.typing import Signature
from platformdirs import user_cache_path

from vfbench.files import write_file
from vfbench.kernels.content import content_key

KEPT_DAYS = 30
KEPT_VERSIONS = 8
"""Of each kernel; more are deleted by whoever saves one, the oldest first."""

_VERSION = f"numba{numba.__version__}-{sys.implementation.cache_tag}"


def cache_folders() -> list[Path]:
    """Where compiled kernels are looked for: ``NUMBA_CACHE_DIR`` or the user's cache, then the temporary folder."""
    wanted = os.environ.get("NUMBA_CACHE_DIR")
    base = Path(wanted) if wanted else user_cache_path("vfbench") / "kernels"
    folders = [base, _temporary()] if wanted or base.is_absolute() else [_temporary()]
    return [folder / _VERSION for folder in folders]


def _temporary() -> Path:
    return Path(tempfile.gettempdir()) / f"vfbench-kernels-{os.geteuid()}"


def _may_be_read(folder: Path) -> bool:
    """What lies in a cache is run: in the temporary folder, where others write, only what is ours alone will do."""
    if folder.parent != _temporary():
        return True
    try:
        status = folder.parent.lstat()
    except OSError:
        return False
    ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    return ours and not status.st_mode & (stat.S_IRWXG | stat.S_IRWXO)


def writable_folder() -> Path:
    """The first of :func:`cache_folders` that can be written, made where it is not there yet.

    OSError where there is none. Says on stderr, once, where it is not the first.
    """
    return _first_writable(tuple(cache_folders()))


@functools.cache
def _first_writable(folders: tuple[Path, ...]) -> Path:
    refused = []
    for folder in folders:
        try:
            folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not _may_be_read(folder):
                raise PermissionError(f"{folder.parent} is another's or open to others")
            folder.mkdir(exist_ok=True)
            tempfile.TemporaryFile(dir=folder).close()
        except OSError as error:
            refused.append(f"{folder.parent}: {error.strerror or error}")
            continue
        if refused:
            _say(f"the kernel cache is in {folder.parent}, for {refused[0]}")
        return folder
    raise OSError("; ".join(refused))


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")


class KernelCache(Cache):  # type: ignore[misc]
    """numba's cache of one function's machine code, by what the code is made of instead of by its file's date."""

    def __init__(self, function: Any, kind: str, on_miss: Callable[[], None]) -> None:
        self._function = function
        self._kind = kind
        self._on_miss = on_miss

    def name(self, sides: Collection[str]) -> str:
        """Without its ending, the name of the file that holds what is compiled for records of these sides."""
        key = content_key(self._function, sides=sides)
        return f"{self._function.__module__}.{self._function.__name__}.{self._kind}.{key}"

    def is_kept(self, sides: Collection[str]) -> bool:
        """Whether there is machine code for records of these sides."""
        name = f"{self.name(sides)}.nbi"
        return any((folder / name).exists() for folder in filter(_may_be_read, cache_folders()))

    @property
    def cache_path(self) -> str:
        return str(cache_folders()[0])

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The machine code for these types, or None."""
        target_context.refresh()
        name, key = self.name(_fields(sig)), (sig, target_context.codegen().magic_tuple())
        for folder in filter(_may_be_read, cache_folders()):
            with suppress(OSError):
                data = IndexDataCacheFile(str(folder), name, self._kind).load(key)
                if data is not None:
                    _note_use(folder / f"{name}.nbi")
                    return CompileResult._rebuild(target_context, *data)
        self._on_miss()
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep the machine code; a cache that cannot be written is said once, and done without."""
        if data.library.has_dynamic_globals:
            return
        name, key = self.name(_fields(sig)), (sig, data.codegen.magic_tuple())
        try:
            folder = writable_folder()
            IndexDataCacheFile(str(folder), name, self._kind).save(key, data._reduce())
            _delete_old(folder, name)
        except OSError as error:
            _say_uncached(str(error))


def _fields(signature: Any) -> set[str]:
    """Of all records among the arguments, and in arrays among them."""
    arguments = signature.args if isinstance(signature, Signature) else signature
    dtypes = [getattr(each, "dtype", None) for each in arguments]
    return {field for dtype in dtypes for field in getattr(dtype, "fields", None) or ()}


def _note_use(index: Path) -> None:
    """What is used is not old."""
    with suppress(OSError):
        os.utime(index)


def kept_text(name: str, make: Callable[[], str]) -> str:
    """The text that ``make`` gives, kept in the cache by ``name``, which stands for everything that goes into it."""
    for folder in filter(_may_be_read, cache_folders()):
        with suppress(OSError):
            return (folder / name).read_text()
    text = make()
    try:
        write_file(writable_folder() / name, text, replace=True)
    except OSError as error:
        _say_uncached(str(error))
    return text


@functools.cache
def _say_uncached(reason: str) -> None:
    _say(f"compiled kernels are not kept: {reason}")


def _delete_old(folder: Path, saved: str) -> None:
    """Versions of the kernel beyond the newest few, and once in a process everything that was long not used."""
    kernel = saved.rpartition(".")[0]
    versions = sorted(folder.glob(f"{kernel}.*.nbi"), key=_age)
    for index in versions[KEPT_VERSIONS:]:
        _delete(index)
    _delete_unused(folder)


@functools.cache
def _delete_unused(folder: Path) -> None:
    for path in folder.iterdir():
        if path.suffix != ".nbc" and _age(path) > KEPT_DAYS * 86_400:
            _delete(path)


def _age(path: Path) -> float:
    try:
        return time.time() - path.stat().st_mtime
    except OSError:
        return 0.0


def _delete(index: Path) -> None:
    """The file, and the machine code that an index names."""
    for path in (index, *index.parent.glob(f"{index.stem}.*.nbc")):
        path.unlink(missing_ok=True)
