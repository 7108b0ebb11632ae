"""What was read from a capture, kept for the next run by the digest of the file's bytes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path

from vfbench.captures.packets import Capture
from vfbench.files import make_folders, remove_leftovers, write_file
from vfbench.untrusted import open_regular

_VERSION = 2
_KEPT = 16
_MOST_BYTES = 1 << 30
_ROWS = {"time_ns": np.int64, "length": np.int64, "flow": np.int64, "received": np.bool_}


def load(key: str) -> Capture | None:
    """What an earlier run read from the same bytes; None if there is nothing, or nothing sound."""
    try:
        with (
            open_regular(_place(key), "the cache", _MOST_BYTES, "another") as file,
            np.load(file, allow_pickle=False) as stored,
        ):
            rows = [stored[name] for name in _ROWS]
            link_type, sha256 = int(stored["link_type"]), str(stored["sha256"])
    except Exception:  # whatever is wrong with a cache, the capture itself is at hand
        return None
    kinds = zip(rows, _ROWS.values(), strict=True)
    if not all(row.dtype == kind and row.shape == rows[0].shape for row, kind in kinds):
        return None
    if rows[0].ndim != 1 or not rows[0].size or len(sha256) != 64:
        return None
    return Capture(rows[0], rows[1], rows[2], rows[3], link_type, sha256)


def save(key: str, capture: Capture) -> None:
    """Keep the arrays for the next run: whole or not at all, and not at all where nothing may be written."""
    try:
        folder = _place(key).parent
        content = io.BytesIO()
        np.savez(content, **vars(capture))
        make_folders(folder)
        remove_leftovers(folder)
        write_file(_place(key), content.getbuffer(), replace=True)
        by_age = sorted(folder.glob("*.npz"), key=lambda each: each.stat().st_mtime)
        for old in by_age[:-_KEPT]:
            old.unlink(missing_ok=True)
    except OSError:
        return


def _place(key: str) -> Path:
    return user_cache_path("vfbench") / "captures" / f"{key}-v{_VERSION}.npz"
