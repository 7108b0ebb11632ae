"""Every outcome of the claims on what arrives and what is sent again, on made-up records; and what all claims share."""

from __future__ import annotations

from typing import Any

import pytest
from support.made_up_records import (
    DAMAGED,
    WHOLE,
    Rows,
    intervals_frame,
    made_up,
    rounds_frame,
    runs_frame,
    verdict,
)

from vfbench.errors import UserError
from vfbench.verdicts import CLAIMS, Verdict, chosen_claims, evaluate

# ---- All claims


@pytest.mark.parametrize("claim", [claim.id for claim in CLAIMS])
def test_too_few_records_say_what_is_missing_and_how_to_get_it(claim: str) -> None:
    found = verdict(claim, made_up("untracked", **DAMAGED))
    assert found.outcome == "not-enough-data"
    assert found.text.endswith(".")
    assert found.command == f"bench sweep sweeps/argument.toml --filter '{claim.lower()}/*'"


@pytest.mark.parametrize("claim", [claim.id for claim in CLAIMS])
def test_runs_that_failed_settle_nothing(claim: str) -> None:
    runs = [made_up(kind, state="failed") for kind in ("stores", "iommu", "copied")]
    assert verdict(claim, *runs).outcome == "not-enough-data"


def test_testbeds_get_verdicts_of_their_own() -> None:
    runs = runs_frame(
        made_up("stores", service_gap_ms=20.0), made_up("stores", service_gap_ms=900.0, testbed="kvm")
    )
    found = evaluate(runs, rounds_frame({}), intervals_frame(), chosen_claims(["C12"]))
    assert [(each.testbed, each.outcome) for each in found] == [("model", "holds"), ("kvm", "fails")]


def test_a_strategys_name_changes_no_verdict() -> None:
    runs = [made_up("iommu", gbps=3.0, guest_cycles_per_packet=9.0, host_cycles_per_packet=1.0)]
    runs += [made_up("copied", gbps=9.0, guest_cycles_per_packet=2.0, host_cycles_per_packet=5.0)]
    swapped = [[{**row, "strategy": name} for row in rows] for rows, name in zip(runs, "ab", strict=True)]
    assert verdict("C6", *runs).outcome == verdict("C6", *swapped).outcome == "holds"


def test_a_verdict_names_the_runs_that_it_rests_on() -> None:
    runs = made_up("stores", seeds=2, service_gap_ms=20.0)
    assert verdict("C12", runs).runs == tuple(row["experiment"] for row in runs)


def test_records_without_traits_are_told_to_be_old() -> None:
    silent = [{**row, "dma_visible_by": None} for row in made_up("stores", service_gap_ms=1.0)]
    assert "an older vfbench wrote them" in verdict("C12", silent).text


def test_an_unknown_claim_is_refused_with_those_there_are() -> None:
    with pytest.raises(UserError, match="no claim is called 'C13'"):
        chosen_claims(["C13"])


def test_where_a_claim_turns_is_said_by_the_setting_that_parts_the_cells() -> None:
    gaps = {10**9: 20.0, 5 * 10**9: 30.0, 8 * 10**9: 700.0, 10**10: 900.0}
    found = verdict(
        "C12",
        *(
            made_up("stores", service_gap_ms=gap, migration__downtime_limit_ns=rate)
            for rate, gap in gaps.items()
        ),
    )
    assert found.holds_where == "where migration.downtime-limit is up to 5s"
    assert found.fails_where == "where migration.downtime-limit is from 8s"


def test_settings_that_varied_together_are_not_told_apart() -> None:
    found = verdict(
        "C12",
        made_up("stores", service_gap_ms=20.0, guest__queues=1, driver__rx_ring=512),
        made_up("stores", service_gap_ms=900.0, guest__queues=4, driver__rx_ring=4096),
    )
    assert found.fails_where == "where guest.queues is 4 (driver.rx-ring varied with it)"


# ---- C1


def c1(**faults: dict[str, int]) -> Verdict:
    stops = {
        "orderly": {},
        "undrained": {"stop_order": "undrained", "faults": "3"},
        "last": {"stop_order": "device-last", "faults": "1"},
    }
    runs = [made_up("stores", **stops[name], **damage) for name, damage in faults.items()]
    return verdict("C1", made_up("untracked", **DAMAGED), *runs)


def test_c1_holds_where_every_stop_arrives_whole() -> None:
    assert c1(orderly=WHOLE, undrained=WHOLE, last=WHOLE).outcome == "holds"


def test_c1_fails_where_every_stop_is_damaged() -> None:
    assert c1(orderly=DAMAGED, undrained=DAMAGED).outcome == "fails"


def test_c1_holds_within_the_orderly_stop() -> None:
    found = c1(orderly=WHOLE, last=DAMAGED)
    assert found.outcome == "holds-within"
    assert found.holds_where == "where stop order is device-first"


def test_c1_takes_more_than_the_orderly_stop_to_be_enough() -> None:
    assert c1(orderly=WHOLE).outcome == "not-enough-data"


def test_c1_learns_nothing_where_untracked_memory_arrives_whole_too() -> None:
    runs = [made_up("stores", **WHOLE), made_up("stores", **WHOLE, stop_order="undrained", faults="3")]
    assert verdict("C1", made_up("untracked", **WHOLE), *runs).outcome == "not-enough-data"


def test_c1_says_how_the_orderly_stop_alone_did() -> None:
    text = c1(orderly=WHOLE, last=DAMAGED).text
    assert "With the device stopped first and the ring drained: 1 of 1 cells arrived whole (1 runs)." in text


# ---- C2

UNDRAINED = {"stop_order": "undrained", "faults": "3"}


def test_c2_holds_where_every_cell_resumes_with_data_that_is_not_there() -> None:
    found = verdict("C2", made_up("stores", **UNDRAINED, **DAMAGED, seeds=3))
    assert found.outcome == "holds"
    assert "3 of 3 migrations were hit" in found.text


def test_c2_fails_after_twenty_migrations_without_damage() -> None:
    assert verdict("C2", made_up("stores", **UNDRAINED, **WHOLE, seeds=20)).outcome == "fails"
    assert verdict("C2", made_up("stores", **UNDRAINED, **WHOLE, seeds=19)).outcome == "not-enough-data"


def test_c2_turns_at_a_packet_rate() -> None:
    slow = made_up("stores", **UNDRAINED, **DAMAGED, workload__rate_bps=10**8)
    fast = made_up("stores", **UNDRAINED, **WHOLE)
    found = verdict("C2", slow, fast)
    assert found.outcome == "holds-within"
    assert found.holds_where == "where workload.rate is 100Mbps"


def test_c2_asks_for_stale_packet_pages_beside_the_corruption() -> None:
    lost = {**WHOLE, "packets_corrupted": 2}
    assert verdict("C2", made_up("stores", **UNDRAINED, **lost, seeds=20)).outcome == "fails"


# ---- C3


def c3(*dirty: list[int], **settings: Any) -> Verdict:
    runs = [
        made_up("stores", workload__rate_bps=rate, **settings)
        for rate in [10**9 * (1 + number) for number in range(len(dirty))]
    ]
    found = {rows[0]["experiment"]: pages for rows, pages in zip(runs, dirty, strict=True)}
    return verdict("C3", *runs, rounds=rounds_frame(found))


def test_c3_holds_where_every_round_re_sends_the_ring() -> None:
    found = c3([500, 514, 514, 514], [500, 512, 514, 510])
    assert found.outcome == "holds"
    assert "2 of 2 cells stay within the receive rings' 512 pages" in found.text


def test_c3_fails_where_the_pages_die_out() -> None:
    assert c3([500, 300, 40, 3]).outcome == "fails"


def test_c3_turns_where_packets_come_faster_than_pages_are_sent() -> None:
    found = c3([500, 300, 40, 3], [500, 514, 514, 514])
    assert found.outcome == "holds-within"
    assert found.holds_where == "where workload.rate is 2Gbps"


def test_c3_cannot_be_told_where_the_pre_copy_switches_over_at_once() -> None:
    assert c3([500, 514]).outcome == "not-enough-data"


def test_c3_is_about_recycled_pages_only() -> None:
    assert c3([500, 514, 514], driver__page_reuse="none").outcome == "not-enough-data"


# ---- C4


MIB = 1 << 20


def skipping(skip: bool, mib: float, **more: Any) -> Rows:
    own = {"strategy.skip_mapped": skip, "strategy.entries": 1, **more.pop("parameters", {})}
    made = made_up("iommu", skip_mapped=skip, resent_bytes=int(mib * MIB), **more)
    return [{**row, **own} for row in made]


def c4(kept: float, sent: float, **more: Any) -> Verdict:
    runs = [*skipping(True, kept, residual_pages=518, **more), *skipping(False, sent, **more)]
    return verdict("C4", runs)


def test_c4_holds_where_skipping_halves_what_is_re_sent() -> None:
    found = c4(0.8, 2.8)
    assert found.outcome == "holds"
    assert "left for the stop with skipping 518 pages" in found.text


def test_c4_fails_where_skipping_saves_little() -> None:
    assert c4(2.7, 2.8).outcome == "fails"


def test_c4_turns_where_pages_are_not_recycled() -> None:
    runs = [
        *skipping(True, 0.8, driver__page_reuse="flip"),
        *skipping(False, 2.8, driver__page_reuse="flip"),
        *skipping(True, 13.0, driver__page_reuse="none"),
        *skipping(False, 16.0, driver__page_reuse="none"),
    ]
    found = verdict("C4", runs)
    assert found.outcome == "holds-within"
    assert found.fails_where == "where driver.page-reuse is none"


def test_c4_fails_where_what_is_kept_back_keeps_a_migration_from_completing() -> None:
    found = verdict("C4", skipping(True, 0.5, state="not-converged"), skipping(False, 2.8))
    assert found.outcome == "fails"
    assert "with skipping 1 of 1 cells never converged, without it 0" in found.text


def test_c4_compares_no_cells_that_differ_in_a_second_parameter() -> None:
    others = skipping(False, 2.8, parameters={"strategy.entries": 32})
    assert verdict("C4", skipping(True, 0.8), others).outcome == "not-enough-data"


def test_c4_is_not_settled_by_another_mechanism_that_re_sends_more() -> None:
    stores = made_up("stores", resent_bytes=60 * MIB)
    assert verdict("C4", skipping(True, 0.8), stores).outcome == "not-enough-data"
    found = verdict("C4", skipping(True, 0.8), skipping(False, 1.0), stores)
    assert found.outcome == "fails"
    assert "guest stores send 60 MiB again in the median cell, skipping 0.8 MiB" in found.text


def test_c4_learns_nothing_where_nothing_is_sent_again() -> None:
    assert c4(0.0, 0.0).outcome == "not-enough-data"


# ---- C5

LAST = {"stop_order": "device-last", "faults": "1"}


def test_c5_holds_where_the_other_order_alone_is_damaged() -> None:
    assert verdict("C5", made_up("stores", **WHOLE), made_up("stores", **LAST, **DAMAGED)).outcome == "holds"


def test_c5_fails_where_the_other_order_arrives_whole() -> None:
    assert verdict("C5", made_up("stores", **WHOLE), made_up("stores", **LAST, **WHOLE)).outcome == "fails"


def test_c5_holds_within_one_of_the_other_orders() -> None:
    guest_first = {"stop_order": "guest-first", "faults": "4"}
    found = verdict(
        "C5",
        made_up("stores", **WHOLE),
        made_up("stores", **LAST, **DAMAGED),
        made_up("stores", **guest_first, **WHOLE),
    )
    assert found.outcome == "holds-within"
    assert found.holds_where == "where stop order is device-last"


def test_c5_blames_no_order_where_both_are_damaged() -> None:
    found = verdict("C5", made_up("stores", **DAMAGED), made_up("stores", **LAST, **DAMAGED))
    assert found.outcome == "not-enough-data"


def test_a_claim_of_time_waits_where_guest_code_was_emulated() -> None:
    emulated = verdict("C12", made_up("stores", **WHOLE, service_gap_ms=90.0, functional=True))
    assert emulated.outcome == "not-enough-data"
    assert "this claim waits for a host on which KVM runs guests natively" in emulated.text
    counted = verdict("C12", made_up("untracked", **WHOLE, functional=False))
    assert "waits for a host" not in counted.text
    pages = verdict("C5", made_up("untracked", **WHOLE, functional=True))
    assert "waits for a host" not in pages.text


def test_a_claim_of_integrity_does_not_wait_for_it() -> None:
    orders = [made_up("stores", **WHOLE, functional=True)]
    orders.append(made_up("stores", **DAMAGED, functional=True, stop_order="guest-first", faults="4"))
    found = verdict("C1", made_up("untracked", **DAMAGED, functional=True), *orders)
    assert found.outcome == "holds-within"


def test_c3_says_nothing_where_nobody_counted_packets_pages() -> None:
    runs = made_up("stores", **WHOLE)
    rounds = rounds_frame({runs[0]["experiment"]: [None, None, None, None]})
    assert verdict("C3", runs, rounds=rounds).outcome == "not-enough-data"


def test_a_real_guests_claims_name_the_grid_of_the_real_driver() -> None:
    claims = {each.id: each for each in CLAIMS}
    assert claims["C5"].command_on("qemu") == "bench sweep sweeps/real-driver.toml --filter 'c5/*'"
    assert claims["C2"].command_on("qemu") == ""
    assert claims["C2"].command_on("model") == "bench sweep sweeps/argument.toml --filter 'c2/*'"
