"""What every verdict owes its reader: both directions, a completed migration, its share of the grid, what to do."""

from __future__ import annotations

import string

import pytest
from support.made_up_records import DAMAGED, WHOLE, made_up, verdict

from vfbench.verdicts import CLAIMS
from vfbench.verdicts.verdict import LONGEST_RANGE, Claim

SENDING = {"workload__send_ratio": 1.0}
LINE = {"gbps": 10.0, "tx_gbps": 10.0}


def c6(copied_tx: float) -> str:
    mapped = made_up("iommu", **SENDING, gbps=5.0, tx_gbps=5.0, guest_cycles_per_packet=9.0)
    copied = made_up("copied", **SENDING, gbps=6.0, tx_gbps=copied_tx, guest_cycles_per_packet=9.0)
    cycles = {"host_cycles_per_packet": 1.0}
    return verdict("C6", [{**row, **cycles} for row in mapped], [{**row, **cycles} for row in copied]).outcome


def test_c6_is_not_won_by_who_sends_less():
    assert c6(copied_tx=6.0) == "holds"
    assert c6(copied_tx=1.0) == "fails"


def test_c10_takes_line_rate_in_both_directions():
    free = made_up("untracked", **SENDING, **LINE, host_cycles_per_packet=1.0, latency_p50_us=1.0)
    for tx, outcome in ((10.0, "holds"), (4.0, "fails")):
        copied = made_up("copied", **SENDING, gbps=10.0, tx_gbps=tx, host_cycles_per_packet=1.0)
        assert verdict("C10", free, copied).outcome == outcome


def test_c7_is_not_refuted_by_a_guest_that_receives_only():
    free = made_up("untracked", **SENDING, **LINE)
    plain = {"exit_class": "user-space"}
    for tx, outcome in ((10.0, "fails"), (4.0, "holds")):
        mapped = made_up("iommu", **plain, **SENDING, gbps=10.0, tx_gbps=tx)
        assert verdict("C7", free, mapped).outcome == outcome


def test_what_a_guest_sends_is_not_asked_of_one_that_is_not_to_send():
    free = made_up("untracked", gbps=10.0, tx_gbps=0.0, host_cycles_per_packet=1.0, latency_p50_us=1.0)
    copied = made_up("copied", gbps=10.0, tx_gbps=0.0, host_cycles_per_packet=1.0)
    assert verdict("C10", free, copied).outcome == "holds"


NEVER = {"state": "not-converged"}


@pytest.mark.parametrize("claim", ["C6", "C7", "C9", "C10", "C12"])
def test_a_run_that_never_migrates_supports_no_claim(claim):
    cost = {"guest_cycles_per_packet": 9.0, "host_cycles_per_packet": 1.0, "service_gap_ms": 1.0}
    runs = [made_up("untracked", **LINE, **cost)]
    runs += [made_up(kind, **NEVER, **LINE, **cost) for kind in ("iommu", "copied", "stores")]
    assert verdict(claim, *runs).outcome == "not-enough-data"


def test_cells_that_never_migrated_are_counted_beside_the_others():
    free = made_up("untracked", **LINE)
    plain = {"exit_class": "user-space", "gbps": 2.0}
    stuck = made_up("iommu", **plain, **NEVER, workload__frame_bytes=64)
    text = verdict("C7", free, made_up("iommu", **plain), stuck).text
    assert "1 cell more never completed a migration and supports nothing." in text
    assert "Judged by 1 of the 2 cells that were run of its subject" in text


def test_c1_does_not_hold_by_migrations_that_never_completed():
    stuck = made_up("stores", **WHOLE, stop_order="undrained", faults="3", **NEVER)
    assert verdict("C1", made_up("untracked", **DAMAGED), stuck).outcome == "not-enough-data"


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.id)
def test_every_outcome_says_what_to_do(claim: Claim):
    for outcome in ("holds", "fails", "holds-within"):
        said = claim.advised(outcome, "where a is 1", "where b is 2")
        assert said.endswith(".")
        assert "{" not in said
    fields = {name for _, name, _, _ in string.Formatter().parse(claim.advice["holds-within"]) if name}
    assert fields
    assert "where a is 1" in said or "where b is 2" in said
    assert claim.advised("holds", "", "") != claim.advised("fails", "", "")


def test_advice_is_the_last_sentence_and_follows_the_outcome():
    free = made_up("untracked", **LINE)
    low, high = (made_up("iommu", exit_class="user-space", gbps=rate) for rate in (2.0, 10.0))
    holds, fails = verdict("C7", free, low), verdict("C7", free, high)
    assert holds.text.endswith(f"So: {holds.advice}")
    assert holds.advice != fails.advice


def test_of_a_range_that_takes_many_words_the_advice_names_a_part():
    claim = next(claim for claim in CLAIMS if claim.id == "C6")
    long = "where " + "x" * LONGEST_RANGE
    assert "where it holds" in claim.advised("holds-within", long, long)
    parts = f"in 3 of the 4 where b is 1, or where a is 2, or {long}"
    assert "where a is 2 (among others)" in claim.advised("holds-within", parts, long)


def test_c1_advises_the_orderly_stop_only_if_it_arrived_whole():
    last = made_up("stores", **WHOLE, stop_order="device-last", faults="1")
    for orderly, advised in ((WHOLE, True), (DAMAGED, False)):
        rest = [made_up("stores", **orderly), made_up("untracked", **DAMAGED)]
        undrained = made_up("stores", **DAMAGED, stop_order="undrained", faults="3")
        found = verdict("C1", last, undrained, *rest)
        assert found.outcome == "holds-within"
        assert ("stop the device first and drain the ring" in found.advice) is advised
