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
