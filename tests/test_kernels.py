"""Where kernels stand, and what their cache is keyed by."""

from __future__ import annotations

from pathlib import Path

from vfbench.kernels import ALL_SOURCES, SOURCES

ROOT = Path(__file__).resolve().parent.parent


def matching(patterns):
    return {path for pattern in patterns for path in ROOT.glob(pattern)}


def test_every_file_with_a_kernel_is_part_of_the_caches_key():
    compiles = {
        path
        for path in matching(ALL_SOURCES)
        if any(mark in path.read_text() for mark in ("@kernel", "@hook", "numba.njit", "@intrinsic"))
    }
    assert compiles
    assert compiles <= matching(SOURCES)
