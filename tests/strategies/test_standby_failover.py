"""Standby failover: how long the VF takes to go, what carries the traffic meanwhile, and when the VF is back."""

from __future__ import annotations

import pytest
from support.runs import measured, profile

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
