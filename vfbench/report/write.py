"""A page on disk, in full or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from vfbench.errors import UserError


def write_text(path: Path, text: str) -> None:
    """Write beside `path`, then rename; UserError if it can't be written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"can't write {str(path)!r}: {error.strerror or error}") from error


def check_target(path: Path) -> None:
    """UserError now, not after the work, if a page can't be written there."""
    if path.is_dir():
        raise UserError(f"can't write {str(path)!r}: it is a folder; name a file")
    if not path.parent.is_dir():
        raise UserError(f"can't write {str(path)!r}: there is no folder {str(path.parent)!r}")
    if not os.access(path.parent, os.W_OK):
        raise UserError(f"can't write {str(path)!r}: the folder {str(path.parent)!r} takes no files")
