"""Standby failover: how long the VF takes to go, what carries the traffic meanwhile, and when the VF is back."""

from __future__ import annotations

import pytest
from support.runs import costs, measured, profile, run

from strategies import StandbyFailover
from workloads import Bulk

QUIET = Bulk(rate_bps=10**9)


@pytest.mark.parametrize(("unplug", "cost"), [("acpi", "unplug_acpi"), ("native", "unplug_native")])
def test_the_migration_begins_only_once_the_guest_has_given_its_vf_up(unplug, cost):
    took_ms = profile().picoseconds(cost) / 1e9
    outcome = measured(StandbyFailover(unplug=unplug, link_watch=False), QUIET)
    others_ms = measured(StandbyFailover(unplug="acpi", link_watch=False), QUIET)["total_time_ms"]
    shift_ms = took_ms - profile().picoseconds("unplug_acpi") / 1e9
    assert outcome["total_time_ms"] - others_ms == pytest.approx(shift_ms, rel=0.1, abs=50)


def test_nothing_of_it_is_in_the_downtime_and_the_standby_carries_the_traffic():
    outcome = measured(StandbyFailover(link_watch=False), QUIET)
    assert outcome["downtime_ms"] < 1000
    assert outcome["gbps_migrating"] == pytest.approx(1.0, rel=0.4)
    assert (outcome["stale_pages_payload"], outcome["packets_corrupted"]) == (0, 0)


@pytest.mark.parametrize(("took_ms", "waited_ms"), [(100, 250), (251, 500), (6500, 6500)])
def test_the_source_looks_every_250_ms_whether_the_vf_is_gone(took_ms, waited_ms):
    plain = measured(StandbyFailover(link_watch=False), QUIET, costs(unplug_acpi=0))["total_time_ms"]
    unplugged = measured(StandbyFailover(link_watch=False), QUIET, costs(unplug_acpi=took_ms))
    assert unplugged["total_time_ms"] - plain == pytest.approx(waited_ms, abs=5)


def test_a_guest_that_keeps_its_vf_has_its_migration_cancelled_after_30_s_and_goes_on():
    outcome = run(StandbyFailover(unplug="refused"), Bulk(rate_bps=10**7))
    assert outcome.state == "not-converged"
    assert "did not give its VF up" in outcome.reason
    waited_ms = sum(each["length_ms"] for each in outcome.intervals if each["phase"] == "migrating")
    assert waited_ms == pytest.approx(30_000, rel=0.01)
    assert outcome.measures["packets_lost"] == 0


def test_the_vf_is_back_only_after_its_link_watch_and_the_standby_carries_on_until_then():
    watched, at_once = (measured(StandbyFailover(link_watch=watch), QUIET) for watch in (True, False))
    link_ms = profile().picoseconds("link_watch") / 1e9
    more_ms = (watched["packets_offered"] - at_once["packets_offered"]) / (at_once["mpps"] * 1000)
    assert more_ms == pytest.approx(link_ms, rel=0.02)
    assert watched["packets_lost"] == pytest.approx(at_once["packets_lost"], rel=0.05)


def test_what_the_peer_loses_in_both_changes_of_device_is_counted_and_nothing_comes_twice():
    lost_us = {}
    for bond_us in (0, 2000):
        row = measured(StandbyFailover(link_watch=False), QUIET, costs(bond_failover=bond_us))
        assert row["packets_duplicated"] == 0
        lost_us[bond_us] = row["packets_lost_blackout"] / row["mpps"]
    assert lost_us[2000] - lost_us[0] == pytest.approx(2 * 2000, rel=0.1)


def test_a_real_guest_can_be_told_neither_to_refuse_nor_to_wait_for_a_button():
    for unplug in ("refused", "native"):
        (vf, _) = StandbyFailover(unplug=unplug).mechanisms
        assert vf.refusals("kvm")
    assert StandbyFailover().mechanisms[0].refusals("kvm") == ()
