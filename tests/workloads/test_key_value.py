"""key-value: keys by Zipf, sets that dirty memory."""

from __future__ import annotations

import numpy as np
import pytest
from support.workload_frames import Guest, collect

from vfbench.quantiles import zipf_table
from workloads.key_value import KEYS, STRIDE, KeyValue, value_address


@pytest.mark.parametrize("exponent", [0.0, 0.5, 0.99, 1.5, 4.0])
def test_the_shares_of_keys_follow_zipf(exponent: float) -> None:
    tags = collect(KeyValue(keys=1000, zipf=exponent), 200_000).tag >> 1
    weights = np.arange(1, 1001) ** -exponent
    share = np.bincount(tags, minlength=1000) / len(tags)
    assert len(share) == 1000
    assert share == pytest.approx(weights / weights.sum(), abs=0.004)


def test_the_zipf_table_reaches_the_last_key() -> None:
    table = zipf_table(1 << 20, 0.99)
    assert np.all(np.diff(table) >= 0)
    assert (table[0], table[-1] >> 16) == (0, 1 << 20)


def test_one_key_is_enough() -> None:
    assert set(collect(KeyValue(keys=1), 1000).tag >> 1) == {0}


def test_the_share_of_sets_and_their_size() -> None:
    frames = collect(KeyValue(set_share=0.3, request_bytes=100, value_bytes=200), 100_000)
    is_set = frames.tag & 1
    assert is_set.mean() == pytest.approx(0.3, abs=0.01)
    assert np.array_equal(frames.length, 100 + 200 * is_set)


def test_a_set_dirties_the_pages_of_its_value_and_a_get_none() -> None:
    guest = Guest(KeyValue(keys=40, value_bytes=1536, request_bytes=96), heap_pages=16)
    across = next(rank for rank in range(40) if value_address(guest.application, rank) % 4096 > 4096 - 1536)
    assert guest.deliver(96, across << 1) == 96 + 1536
    assert guest.dirty_pages() == []
    assert guest.deliver(96 + 1536, across << 1 | 1) == 96
    first, second = guest.dirty_pages()
    assert second == first + 1
    assert 8 <= first < second < 8 + 16


def test_all_keys_have_places_of_their_own_when_the_heap_is_large_enough() -> None:
    guest = Guest(KeyValue(keys=16, value_bytes=1952), heap_pages=8)
    for rank in range(16):
        guest.deliver(2048, rank << 1 | 1)
    assert len({value_address(guest.application, rank) for rank in range(16)}) == 16
    assert guest.dirty_pages() == list(range(8, 16))


def test_a_heap_too_small_for_a_value_is_left_alone() -> None:
    guest = Guest(KeyValue(value_bytes=1024, request_bytes=96), heap_pages=0)
    assert guest.deliver(1120, 1) == 96
    assert guest.dirty_pages() == []


def test_the_stride_visits_every_key() -> None:
    for keys in (1, 2, 6, 1000, 1 << 20):
        scratch = Guest(KeyValue(keys=keys)).application.scratch
        assert np.gcd(int(scratch[STRIDE]), int(scratch[KEYS])) == 1
