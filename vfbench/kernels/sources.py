"""The hash of all sources, by which a record says what it was made with."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numba

ROOT = Path(__file__).resolve().parent.parent.parent
ALL_SOURCES = ("vfbench/**/*.py", "strategies/*.py", "workloads/*.py")


def source_hash(patterns: tuple[str, ...] = ALL_SOURCES) -> str:
    """Sixteen hex digits over the sources that match ``patterns``, and over numba's version."""
    digest = hashlib.sha256(numba.__version__.encode())
    for path in [path for pattern in patterns for path in sorted(ROOT.glob(pattern))]:
        digest.update(path.relative_to(ROOT).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
