"""A variant driver's state: how much, how much of it early, of how many VFs, loaded in turn or at once."""

from __future__ import annotations

from typing import Any

import pytest
from support.runs import measured, profile_for, with_costs

from strategies import Untracked, VfioMigration
from vfbench.profiles import load_profile
from vfbench.records.damage import damage_of
from workloads import Bulk

MIB = 1 << 20
MBPS = 10**6
MODERN = profile_for(VfioMigration())
LOAD_MS_A_MIB = MODERN.picoseconds_per_byte("vf_state_load_rate") * MIB / 1e9
START_MS = MODERN.picoseconds("vf_start") / 1e9


def shown(**parameters: Any) -> dict[str, Any]:
    figures = with_costs(MODERN, **parameters.pop("costs", {}))
    return measured(VfioMigration(**parameters), Bulk(rate_bps=100 * MBPS), figures)


@pytest.mark.parametrize("state_mib", [0.1, 1, 100, 400])
def test_what_is_left_for_the_stop_is_loaded_at_the_drivers_rate(state_mib: float) -> None:
    none, some = (shown(state_bytes=int(mib * MIB), initial_bytes=0) for mib in (0, state_mib))
    assert some["restore_ms"] - none["restore_ms"] == pytest.approx(state_mib * LOAD_MS_A_MIB, rel=0.01)


def test_initial_bytes_go_before_the_stop_and_shorten_it_by_what_they_are() -> None:
    late, early = (shown(state_bytes=100 * MIB, initial_bytes=mib * MIB) for mib in (0, 90))
    assert late["restore_ms"] - early["restore_ms"] == pytest.approx(90 * LOAD_MS_A_MIB, rel=0.01)
    assert late["state_transfer_ms"] > 5 * early["state_transfer_ms"]


def test_several_vfs_go_through_p2p_together_before_any_stops() -> None:
    one, two, four = (shown(vfs=n, state_bytes=0) for n in (1, 2, 4))
    stop_ms = MODERN.picoseconds("vf_stop") / 1e9
    assert two["state_transfer_ms"] - one["state_transfer_ms"] == pytest.approx(stop_ms)
    assert four["state_transfer_ms"] == pytest.approx(two["state_transfer_ms"])
    assert two["restore_ms"] - one["restore_ms"] == pytest.approx(START_MS)


def test_states_are_loaded_one_after_the_other_or_all_at_once() -> None:
    one, in_turn, at_once = (
        shown(vfs=n, parallel=parallel, initial_bytes=0)
        for n, parallel in ((1, False), (4, False), (4, True))
    )
    assert in_turn["restore_ms"] - at_once["restore_ms"] == pytest.approx(300 * LOAD_MS_A_MIB, rel=0.01)
    assert at_once["restore_ms"] - one["restore_ms"] == pytest.approx(START_MS)


@pytest.mark.parametrize("source", ["device-log", "iommu-dirty-bits"])
def test_over_either_dirty_source_nothing_arrives_damaged(source: str) -> None:
    assert damage_of(shown(source=source)) == {}
    assert damage_of(measured(Untracked(), Bulk(rate_bps=100 * MBPS), MODERN))


def test_the_source_of_choice_is_the_one_that_costs() -> None:
    costs = {"iommu_dirty_flush": 500.0}
    log, bits = (
        shown(source=source, costs=costs)["final_sync_ms"] for source in ("device-log", "iommu-dirty-bits")
    )
    assert bits == pytest.approx(0.5, abs=0.05)
    assert log == pytest.approx(shown(source="device-log")["final_sync_ms"])


def test_each_asks_of_the_machine_what_it_takes() -> None:
    (vf, _) = VfioMigration(vfs=4, parallel=True).mechanisms
    assert vf.needs == ("vf_state", "vf_state_precopy", ("vfs_per_guest", 4), "p2p", "parallel_load")
    assert VfioMigration(initial_bytes=0).mechanisms[0].needs == ("vf_state",)
    assert load_profile("xeon-82599").refusals(vf.needs)
    assert any("not 5" in line for line in MODERN.refusals(VfioMigration(vfs=5).mechanisms[0].needs))
