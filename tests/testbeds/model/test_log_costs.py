"""What it takes to begin a dirty log and to clear it in chunks: the migration's time, not the guest's."""

from __future__ import annotations

import pytest
from support.runs import GUEST, changed, costs, profile_for, run, with_costs

from strategies import Untracked, VfioMigration
from workloads import SmallPackets

MIB = 1 << 20
ROOMY = changed(GUEST, memory_bytes=256 * MIB)
"""Takes longer than the first window of 100 ms, so that a sync ends the first round."""
QUIET = SmallPackets(rate_bps=1000, working_set_bytes=16 * MIB, dirty_rate_pages_per_s=10_000)


def first_round(strategy, profile):
    return run(strategy, QUIET, profile, guest=ROOMY).rounds[0]


@pytest.mark.parametrize("cost", ["log_start_per_gib", "log_split_per_gib"])
def test_the_first_round_begins_when_the_log_has_begun(cost):
    at_once, later = (first_round(Untracked(), costs(**{cost: ms})) for ms in (0, 160))
    assert later["start_ms"] - at_once["start_ms"] == pytest.approx(160 / 4)


def cleared(chunk_bytes: int, call_us: float):
    known = profile_for(VfioMigration())
    return first_round(
        VfioMigration(), with_costs(known, log_clear_chunk=chunk_bytes, log_clear_call=call_us)
    )


def test_each_chunk_that_holds_a_dirty_page_is_cleared_by_a_call_of_its_own():
    whole, halves, free = cleared(256 * MIB, 1000), cleared(128 * MIB, 1000), cleared(256 * MIB, 0)
    assert halves["start_ms"] - whole["start_ms"] == pytest.approx(1)
    assert whole["sync_ms"] - free["sync_ms"] == pytest.approx(1, abs=0.1)


def test_a_machine_whose_log_clears_itself_makes_no_such_call():
    assert "log_clear_call" not in costs().figures
    assert first_round(Untracked(), costs())["sync_ms"] < 1


def test_a_source_that_scans_for_zeros_more_slowly_than_the_line_sends_no_faster():
    figures = (costs(destination_load_rate=10**6, zero_page_scan_rate=rate) for rate in (10**6, 500))
    free, slow = (first_round(Untracked(), each) for each in figures)
    assert free["sent_pages"] * 4096 / free["duration_ms"] > 1000e3
    assert slow["sent_pages"] * 4096 / slow["duration_ms"] == pytest.approx(500e3, rel=0.01)
