"""Where `-o FILE` goes: checked before the work, so that nothing is lost when it will not do, and written after it.

A new file appears in full or not at all, an older one is replaced only with `--force`. A device or a FIFO is written
through, as a shell's `>` does, and so is the file that a symbolic link names: neither is replaced by a file.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from types import TracebackType

import click

from vfbench.errors import UserError
from vfbench.files import remove_leftovers, write_file

force_option = click.option("--force", is_flag=True, help="Replace what -o names if it is there already.")
_THROUGH = (stat.S_IFCHR, stat.S_IFIFO)
_MOST_LINKS = 40


class Output:
    """`with Output(path, force=force) as output:` - UserError at once if it can't be written or may not be replaced."""

    def __init__(self, path: Path, *, force: bool) -> None:
        self._named = path
        self._force = force
        self._descriptor: int | None = None
        try:
            self._place = _end_of_links(path)
            self._check()
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            raise self._refused(getattr(error, "strerror", None) or str(error)) from error

    def __enter__(self) -> Output:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)

    def write(self, text: str) -> None:
        """The text as UTF-8; UserError if it can't be written."""
        content = text.encode(errors="backslashreplace")
        try:
            if self._descriptor is not None:
                with os.fdopen(os.dup(self._descriptor), "wb") as through:
                    through.write(content)
                return
            write_file(self._place, content, replace=self._force)
        except FileExistsError as error:
            raise self._taken() from error
        except OSError as error:
            raise self._refused(error.strerror or str(error)) from error

    def _check(self) -> None:
        kind = _kind(self._place)
        if kind == stat.S_IFDIR:
            raise self._refused("it is a folder; name a file")
        if kind in _THROUGH or _is_open_file(self._place):
            self._descriptor = self._open()
            return
        if kind not in (0, stat.S_IFREG):
            raise self._refused("it is neither a file, a character device nor a FIFO")
        if kind and not self._force:
            raise self._taken()
        self._check_folder(self._place.parent)

    def _check_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            raise self._refused(f"there is no folder {str(folder)!r}")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise self._refused(f"the folder {str(folder)!r} takes no files")
        remove_leftovers(folder)

    def _open(self) -> int:
        """Without waiting for a FIFO's reader, who has to be there first."""
        if self._place.parent.resolve() == Path(f"/proc/{os.getpid()}/fd") and self._place.name.isdigit():
            return os.dup(int(self._place.name))  # opened anew it would begin at the file's beginning
        try:
            descriptor = os.open(self._place, os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno == errno.ENXIO:
                raise self._refused("it is a FIFO that nobody reads; start its reader first") from error
            raise
        os.set_blocking(descriptor, True)
        return descriptor

    def _taken(self) -> UserError:
        return UserError(f"{str(self._named)!r} exists: --force replaces it, -o FILE names another")

    def _refused(self, reason: str) -> UserError:
        return UserError(f"can't write {str(self._named)!r}: {reason}")


def _kind(path: Path) -> int:
    """The type of the file that `path` leads to; 0 if there is none."""
    try:
        return stat.S_IFMT(path.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return 0


def _is_open_file(path: Path) -> bool:
    """Whether it is a name of a file that a process has open, like /dev/stdout: replaced, it would be another."""
    return path.parent.resolve().parts[:2] == ("/", "proc")


def _end_of_links(path: Path) -> Path:
    """Where a file is that `path` leads to, or would be; a link in /proc is an end, for it has no name to follow.

    As Linux does for files that are opened (fs.protected_symlinks), nobody follows another user's link in a folder
    that anybody may write to.
    """
    for _ in range(_MOST_LINKS):
        if not path.is_symlink() or _is_open_file(path):
            return path
        folder, link = path.parent.stat(), path.lstat()
        for_anybody = folder.st_mode & stat.S_ISVTX and folder.st_mode & stat.S_IWOTH
        if for_anybody and link.st_uid not in (os.geteuid(), folder.st_uid):
            raise PermissionError(errno.EACCES, "it is another user's symbolic link", str(path))
        path = path.parent / path.readlink()
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
