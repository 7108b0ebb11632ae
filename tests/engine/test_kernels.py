"""Where kernels stand, and what their cache is keyed by."""

from __future__ import annotations

from pathlib import Path

import workloads
from vfbench.kernels import ALL_SOURCES, CACHE_FOLDER, SOURCES, cache_folder_beside

ROOT = Path(__file__).resolve().parents[2]


def matching(patterns):
    return {path for pattern in patterns for path in ROOT.glob(pattern)}


def test_every_file_with_a_kernel_is_part_of_the_caches_key():
    compiles = {
        path
        for path in matching(ALL_SOURCES[:1])
        if any(mark in path.read_text() for mark in ("@kernel", "@hook", "numba.njit", "@intrinsic"))
    }
    assert compiles
    assert compiles <= matching(SOURCES)


def test_a_workloads_kernels_are_cached_apart_from_the_machines(tmp_path):
    beside = Path(workloads.small_packets.arrivals._cache.cache_path)
    assert beside.is_relative_to(cache_folder_beside(Path(workloads.__file__).parent))
    assert beside.is_relative_to(CACHE_FOLDER)


def test_a_change_beside_a_workload_means_another_cache(tmp_path):
    (tmp_path / "mine.py").write_text("STEP = 1\n")
    before = cache_folder_beside(tmp_path)
    (tmp_path / "mine.py").write_text("STEP = 2\n")
    cache_folder_beside.cache_clear()
    assert cache_folder_beside(tmp_path) != before
