"""Shadow virtqueues: a relay during the migration only, a gap at either end of it, and a core that can be full."""

from __future__ import annotations

from typing import Any

import pytest
from support.runs import PHASES, changed, experiment, measured, profile_for, run, with_costs

from strategies import ShadowVirtqueue, Untracked, VirtioNet
from vfbench.errors import RunFailed
from vfbench.experiment import Guest
from vfbench.mechanism import Mechanism
from vfbench.mechanisms.vdpa import Relay, Vdpa
from vfbench.migration.script import carry_out
from vfbench.records.damage import damage_of
from vfbench.strategy import Migration, backends
from vfbench.testbeds.kvm.refusals import refusals
from workloads import Bulk, SmallPackets

MIB = 1 << 20
GBPS = 10**9
MODERN = profile_for(ShadowVirtqueue())
SECONDS = changed(PHASES, after_ns=20_000_000)


def shown(workload: Any = None, strategy: ShadowVirtqueue | None = None, **costs: float) -> dict[str, Any]:
    return measured(strategy or ShadowVirtqueue(), workload, with_costs(MODERN, **costs), phases=SECONDS)


def test_before_and_after_the_migration_no_processor_of_the_host_touches_a_packet() -> None:
    row = shown(Bulk(rate_bps=GBPS))
    assert (row["host_cycles_per_packet"], row["host_cycles_per_packet_after"]) == (0, 0)
    relayed = 2 * MODERN.picoseconds("svq_relay") * MODERN.value("cpu_frequency") / 1000
    assert row["host_cycles_per_packet_migrating"] > relayed


def test_the_card_carries_what_a_vf_carries_without_the_core_that_vhost_takes() -> None:
    vdpa, vf, vhost = (
        measured(each, Bulk(), MODERN) for each in (ShadowVirtqueue(), Untracked(), VirtioNet())
    )
    assert vdpa["gbps"] == pytest.approx(vf["gbps"], rel=0.05)
    assert vdpa["host_cycles_per_packet"] == 0 < vhost["host_cycles_per_packet"]


def test_the_relay_logs_what_the_device_writes_and_nothing_arrives_damaged() -> None:
    for rate in (GBPS // 100, GBPS, 0):
        assert damage_of(shown(Bulk(rate_bps=rate, send_ratio=0.5))) == {}


def test_a_vdpa_device_without_the_relay_would_be_as_unseen_as_a_vf() -> None:
    class Unrelayed(ShadowVirtqueue):
        @property
        def mechanisms(self) -> tuple[Mechanism, ...]:
            return (Vdpa(),)

        def migrate(self, migration: Migration) -> None:
            migration.pre_copy()
            migration.pause_guest()
            migration.stop_device()
            migration.copy_rest()
            migration.resume()

    assert damage_of(run(Unrelayed(), Bulk(rate_bps=GBPS), MODERN).measures)


@pytest.mark.parametrize("queues", [1, 2])
def test_both_gaps_take_their_time_for_each_queue(queues: int) -> None:
    guest = Guest(memory_bytes=64 * MIB, packet_memory_bytes=16 * MIB, queues=queues)

    def row(**costs: float) -> dict[str, Any]:
        return measured(ShadowVirtqueue(), Bulk(rate_bps=GBPS), with_costs(MODERN, **costs), guest=guest)

    plain = row()
    first = row(svq_suspend_pair=20_000)["packets_lost_blackout"] - plain["packets_lost_blackout"]
    assert first / (plain["mpps"] * 1000) == pytest.approx(20 * queues, rel=0.1)
    second = row(svq_create_pair=20_000)
    longer_ms = 20 - MODERN.picoseconds("svq_create_pair") / 1e9
    assert second["restore_ms"] - plain["restore_ms"] == pytest.approx(longer_ms * queues, rel=0.01)
    assert second["service_gap_ms"] > plain["service_gap_ms"]


def test_a_relay_whose_core_is_full_holds_the_traffic_up_and_loses_what_finds_no_buffer() -> None:
    frames = SmallPackets(rate_bps=GBPS)
    quick, slow = shown(frames), shown(frames, svq_relay=12_000)
    most_mpps = MODERN.value("cpu_frequency") * 1000 / (2 * 12_000)
    carried_mpps = slow["gbps_migrating"] * 1000 / 8 / (64 + 20)
    assert carried_mpps < most_mpps < quick["gbps_migrating"] * 1000 / 8 / (64 + 20)
    assert slow["packets_lost_descriptor"] > quick["packets_lost_descriptor"]
    assert damage_of(slow) == {}


def test_memory_that_is_pinned_after_the_stop_stops_the_guest_for_each_device() -> None:
    def downtime_ms(**parameters: Any) -> float:
        return float(measured(ShadowVirtqueue(**parameters), Bulk(rate_bps=GBPS), MODERN)["downtime_ms"])

    ahead = downtime_ms()
    gib = experiment(ShadowVirtqueue()).guest.memory_bytes / (1 << 30)
    pin_ms = gib * MODERN.picoseconds("memory_pin_per_gib") / 1e9
    assert downtime_ms(pins_after_stop=1) - ahead == pytest.approx(pin_ms, rel=0.05)
    assert downtime_ms(pins_after_stop=2) - ahead == pytest.approx(2 * pin_ms, rel=0.05)


def test_one_core_relays_for_all_queues() -> None:
    guest = Guest(memory_bytes=64 * MIB, packet_memory_bytes=16 * MIB, queues=2)
    costs = with_costs(MODERN, svq_relay=12_000)
    one, two = (
        measured(ShadowVirtqueue(), SmallPackets(rate_bps=2 * GBPS), costs, **parts)["gbps_migrating"]
        for parts in ({}, {"guest": guest})
    )
    assert two == pytest.approx(one, rel=0.2)


def test_a_switch_to_what_serves_already_or_is_not_there_is_out_of_order() -> None:
    class Twice(ShadowVirtqueue):
        def migrate(self, migration: Migration) -> None:
            migration.switch_to("vdpa")

    class Elsewhere(ShadowVirtqueue):
        def migrate(self, migration: Migration) -> None:
            migration.switch_to("vf")

    with pytest.raises(RunFailed, match="vdpa serves already"):
        carry_out(Twice(), None)  # type: ignore[arg-type]
    with pytest.raises(RunFailed, match="its mechanisms that serve packets are vdpa, relay"):
        carry_out(Elsewhere(), None)  # type: ignore[arg-type]


def test_a_machine_without_such_a_card_and_a_real_vm_refuse_it() -> None:
    assert [each.name for each in backends(ShadowVirtqueue())] == ["vdpa", "relay"]
    assert Relay(logs=False).faults == (18,)
    assert any("vDPA" in line for line in refusals(experiment(ShadowVirtqueue())))
