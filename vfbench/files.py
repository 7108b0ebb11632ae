"""Files and folders of ours on disk: each there in full or not at all, an older one replaced at once or not at all.

What is written goes to a hidden name beside its place, which nobody can guess and which must not exist yet, is synced,
and then takes its place: by a rename, or where a folder is there already, by an exchange of the two names
(``renameat2(2)``). A crash at any point leaves the old or the new. What is replaced or left over is deleted file by
file, by the names that its writer gives: never a tree, and never what somebody else put there.

Whoever fills a hidden file or folder holds a lock on it (``flock(2)``), so that the next writer can tell what a killed
one left from what a living one is about to finish.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

HIDDEN = re.compile(r"\.vfbench-[0-9a-f]{16}")
REPLACED = re.compile(r"\.vfbench-older-[0-9a-f]{16}-(?P<name>.+)", re.DOTALL)
"""A folder that gives way on a file system which exchanges no names: if its place is empty, it goes back there."""
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NO_REPLACE, _EXCHANGE = 1, 2
_AT_FDCWD = -100
_CANNOT = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)


def write_file(path: Path, content: bytes | memoryview | str, *, replace: bool) -> None:
    """The content (text as UTF-8) as a file at `path`; OSError if it can't be written, and `path` is as it was.

    FileExistsError if there is one and it is not to be replaced. A symbolic link at `path` itself is replaced.
    """
    raw = content.encode() if isinstance(content, str) else content
    with _hidden_file(path.parent) as (temporary, descriptor):
        if replace:
            _take_mode_of(path, descriptor)
        _write_all(descriptor, raw)
        os.fsync(descriptor)
        if replace:
            temporary.rename(path)
        else:
            _rename_file_to_new(temporary, path)
    sync_folder(path.parent)


def write_folder(path: Path, files: Mapping[str, bytes], *, replaces: Collection[str] | None = None) -> None:
    """The files as a folder at `path`, whose parents are made; OSError if it can't be, and `path` is as it was.

    FileExistsError if it exists, unless `replaces` tells which files an older one may hold: those go, and if there
    is anything else in it, it stays (FileExistsError names it).
    """
    make_folders(path.parent)
    with _hidden_folder(path.parent, {*files, *(replaces or ())}) as (temporary, descriptor):
        for name, content in files.items():
            _write_new(name, content, descriptor)
        os.fsync(descriptor)
        if replaces is not None and os.path.lexists(path):
            check_only(path, replaces)
            _exchange_folders(temporary, path)
        else:
            _rename_folder_to_new(temporary, path)
        sync_folder(path.parent)


def put_folder(source: Path, target: Path) -> None:
    """The folder `source` takes the place of `target`; a folder that was there is afterwards at `source`."""
    if os.path.lexists(target):
        _exchange_folders(source, target)
    else:
        _rename_folder_to_new(source, target)
    sync_folder(target.parent)


def check_only(path: Path, names: Collection[str]) -> None:
    """FileExistsError unless `path` is a folder with nothing but regular files of these names in it."""
    if path.is_symlink() or not path.is_dir():
        raise FileExistsError(errno.EEXIST, "it is no folder of its own", str(path))
    for entry in os.scandir(path):
        if entry.name not in names or not entry.is_file(follow_symlinks=False):
            reason = f"it holds {entry.name!r}, which is not of ours"
            raise FileExistsError(errno.EEXIST, reason, str(path))


def make_new_folder(path: Path) -> None:
    """An empty folder that was not there before; FileExistsError if it was. Its parents are made."""
    make_folders(path.parent)
    path.mkdir()
    sync_folder(path.parent)


def make_folders(path: Path) -> None:
    """The folder and its parents, so that a crash does not take away what is then put there."""
    missing = [each for each in (path, *path.parents) if not each.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for each in missing:
        sync_folder(each.parent)


def sync_folder(path: Path) -> None:
    """What was made, renamed or deleted in it is on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(parent: Path, names: Collection[str] = (), hidden: re.Pattern[str] = HIDDEN) -> None:
    """Delete what killed writers left in `parent`: hidden files, and hidden folders with nothing but these names.

    `hidden` is how their names look. A folder that was about to be replaced, and that no other is there for, goes
    back to its place. What a living writer holds, what belongs to another user, and anything else stays.
    """
    with contextlib.suppress(OSError):
        for entry in list(os.scandir(parent)):
            replaced = REPLACED.fullmatch(entry.name)
            if replaced or hidden.fullmatch(entry.name):
                with contextlib.suppress(OSError):
                    _remove_leftover(Path(entry.path), names, parent / replaced["name"] if replaced else None)


def remove_folder(path: Path, names: Collection[str]) -> None:
    """Delete a folder of these files; OSError, and what else is in it stays, if there is more."""
    for name in names:
        with contextlib.suppress(FileNotFoundError):
            (path / name).unlink()
    path.rmdir()


# -- hidden names


@contextmanager
def _hidden_file(parent: Path) -> Iterator[tuple[Path, int]]:
    """A new file and its descriptor; if it is still there at the end of the block, it is deleted."""
    while True:
        path = parent / f".vfbench-{secrets.token_hex(8)}"
        descriptor = os.open(path, _NEW, 0o666)
        if _is_ours(path, descriptor):
            break
        os.close(descriptor)
    try:
        yield path, descriptor
    finally:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
        os.close(descriptor)


@contextmanager
def _hidden_folder(parent: Path, names: Collection[str]) -> Iterator[tuple[Path, int]]:
    """A new folder and its descriptor; whatever of these names is under its name at the end is deleted, and it."""
    while True:
        path = parent / f".vfbench-{secrets.token_hex(8)}"
        path.mkdir()
        descriptor = os.open(path, _FOLDER)
        if _is_ours(path, descriptor):
            break
        os.close(descriptor)
    try:
        yield path, descriptor
    finally:
        with contextlib.suppress(OSError):  # it has its place by now, or somebody put something into it
            remove_folder(path, names)
        os.close(descriptor)


def _is_ours(path: Path, descriptor: int) -> bool:
    """Lock it; False if somebody took it for a leftover between its making and its lock."""
    _lock(descriptor)
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _lock(descriptor: int) -> bool:
    """False if another holds it, or if this file system knows no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _remove_leftover(path: Path, names: Collection[str], place: Path | None) -> None:
    status = path.lstat()
    if status.st_uid != os.geteuid():
        return
    if stat.S_ISREG(status.st_mode) and place is None:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    elif stat.S_ISDIR(status.st_mode):
        descriptor = os.open(path, _FOLDER)
    else:
        return
    try:
        if not _lock(descriptor) or not os.path.samestat(path.lstat(), os.fstat(descriptor)):
            return
        if stat.S_ISREG(status.st_mode):
            path.unlink()
        elif place is not None and not os.path.lexists(place):
            _rename_folder_to_new(path, place)
        else:
            check_only(path, names)
            remove_folder(path, names)
    finally:
        os.close(descriptor)


# -- what the system does in one step


def _write_new(name: str, content: bytes, folder: int) -> None:
    descriptor = os.open(name, _NEW, 0o666, dir_fd=folder)
    try:
        _write_all(descriptor, content)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _take_mode_of(path: Path, descriptor: int) -> None:
    """Who may read a file that is replaced may read the new one."""
    with contextlib.suppress(FileNotFoundError):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode):
            os.fchmod(descriptor, stat.S_IMODE(status.st_mode))


def _write_all(descriptor: int, content: bytes | memoryview) -> None:
    left = memoryview(content)
    while left:
        left = left[os.write(descriptor, left) :]


def renameat2(source: Path, target: Path, flags: int) -> None:
    """``renameat2(2)``; OSError as the system gives it, ENOSYS where there is no such call."""
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except AttributeError:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS), str(target)) from None
    if call(_AT_FDCWD, os.fsencode(source), _AT_FDCWD, os.fsencode(target), flags) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), str(target))


def _rename_file_to_new(source: Path, target: Path) -> None:
    try:
        renameat2(source, target, _NO_REPLACE)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        os.link(source, target, follow_symlinks=False)
        source.unlink()


def _rename_folder_to_new(source: Path, target: Path) -> None:
    try:
        renameat2(source, target, _NO_REPLACE)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        # rename(2) puts a folder in the place of an empty one only, and so of two writers one comes too late.
        try:
            source.rename(target)
        except OSError as taken:
            if taken.errno not in (errno.ENOTEMPTY, errno.ENOTDIR):
                raise
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target)) from taken


def _exchange_folders(source: Path, target: Path) -> None:
    """Afterwards `target` is what `source` was; what `target` was is under the name of `source`."""
    try:
        renameat2(source, target, _EXCHANGE)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
        _exchange_in_steps(source, target)


def _exchange_in_steps(source: Path, target: Path) -> None:
    """A crash between the steps leaves the old one under a name from which `remove_leftovers` brings it back."""
    aside = target.with_name(f".vfbench-older-{secrets.token_hex(8)}-{target.name}")
    held = os.open(target, _FOLDER)
    try:
        _lock(held)
        target.rename(aside)
        try:
            source.rename(target)
        except BaseException:
            aside.rename(target)
            raise
        sync_folder(target.parent)
        aside.rename(source)
    finally:
        os.close(held)
