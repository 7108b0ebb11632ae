"""A variant driver's state: how much, how much of it early, of how many VFs, loaded in turn or at once."""

from __future__ import annotations

from typing import Any

import pytest
from support.runs import measured, profile_for, run, with_costs

from strategies import Untracked, VfioMigration
from vfbench.experiment import Driver, Experiment, Guest
from vfbench.needs import needs_of
from vfbench.profiles import load_profile
from vfbench.records.damage import damage_of
from vfbench.testbeds.model.machine import Machine
from vfbench.testbeds.model.migration import ModelMigration
from vfbench.testbeds.model.timeline import Timeline
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


def four_vfs() -> Machine:
    """A queue each, and packets for all of them."""
    experiment = Experiment(
        VfioMigration(vfs=4),
        Bulk(rate_bps=5000 * MBPS),
        guest=Guest(memory_bytes=256 * MIB, packet_memory_bytes=64 * MIB, queues=4),
        driver=Driver(rx_ring=128, tx_ring=128),
    )
    assert ("queues_per_vf", 1) in needs_of(experiment)
    return Machine(experiment, MODERN)


def test_packets_go_through_each_of_several_vfs_until_all_stop_at_the_same_instant() -> None:
    """What P2P is for: from the moment when the first stands still no other writes to the guest's memory."""
    machine = four_vfs()
    timeline = Timeline(machine, 10**6, lambda _now_ps: None)
    migration = ModelMigration(machine, timeline)
    migration.arm_tracking()
    timeline.advance(machine.now_ps + 2 * 10**9)
    received = [int(pair.oracle.rx_delivered) for pair in machine.pairs]
    heads = [int(pair.nic.rx_head) for pair in machine.pairs]
    migration.pause_guest()
    migration.stop_device()
    stopped = [int(pair.nic.rx_head) for pair in machine.pairs]
    timeline.advance(machine.now_ps + 2 * 10**9)
    assert min(received) > 100
    assert all(before != after for before, after in zip(heads, stopped, strict=True))
    assert [int(pair.nic.rx_head) for pair in machine.pairs] == stopped


def test_several_vfs_that_carry_packets_arrive_whole_and_each_is_on_the_wire_again() -> None:
    found = run(
        VfioMigration(vfs=4, parallel=True),
        Bulk(rate_bps=5000 * MBPS),
        MODERN,
        guest=Guest(memory_bytes=256 * MIB, packet_memory_bytes=64 * MIB, queues=4),
        driver=Driver(rx_ring=128, tx_ring=128),
    )
    assert found.state == "ok"
    assert damage_of(found.measures) == {}
    after = [each["packets_delivered"] for each in found.intervals if each["phase"] == "after"]
    assert sum(after) > 0


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
