"""A migration: its verbs, its intervals, its gaps, and the state that travels."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from support.machines import (
    GBPS,
    MS_PS,
    NEVER_CONVERGES,
)
from support.runs import (
    GUEST,
    MIB,
    MS,
    PHASES,
    STRATEGIES,
    changed,
    costs,
    machine,
    measured,
    run,
)

from strategies import DummyWrite, EmulatedIommu, StandbyFailover, Untracked, VirtioNet
from vfbench.experiment import Precopy
from vfbench.machine.driver.state import (
    REGISTER_MIRROR,
)
from vfbench.machine.vf.registers import QUEUE_REGISTERS, READ_ONLY
from workloads import Bulk


class Script:
    """Writes down the verbs of a migration."""

    def __init__(self):
        self.verbs = []

    def __getattr__(self, verb):
        return lambda *_: self.verbs.append(verb)


def verbs(strategy):
    script = Script()
    strategy.migrate(script)
    return script.verbs


def test_a_fallback_unplugs_the_vf_before_the_migration_and_plugs_one_in_after_it():
    assert verbs(StandbyFailover()) == ["unplug_vf", *verbs(VirtioNet()), "plug_vf"]
    assert verbs(VirtioNet())[0] == "pre_copy"
    assert verbs(VirtioNet())[-1] == "resume"


def test_during_a_fallback_vhost_carries_the_packets_and_before_and_after_the_vf():
    measures = measured(StandbyFailover(link_watch=False), Bulk(rate_bps=GBPS))
    assert measures["host_cycles_per_packet"] < 1000
    assert measures["host_cycles_per_packet_migrating"] > 1000
    assert measures["host_cycles_per_packet_after"] < 1000


@pytest.mark.parametrize("kind", [DummyWrite, EmulatedIommu])
def test_the_device_stops_before_the_guest_unless_told_otherwise(kind):
    def order(strategy):
        script = verbs(strategy)
        return script.index("stop_device") < script.index("pause_guest")

    assert order(kind())
    assert not order(kind(stop_order="guest-first"))
    assert not order(kind(stop_order="device-last"))


def test_a_migration_that_does_not_converge_leaves_the_guest_at_the_source():
    short_intervals = changed(PHASES, interval_ns=MS)
    outcome = run(DummyWrite(), Bulk(), migration=NEVER_CONVERGES, phases=short_intervals)
    assert outcome.state == "not-converged"
    assert outcome.measures["converged"] is False
    assert outcome.measures["rounds"] == len(outcome.rounds) == 6
    assert outcome.measures.get("downtime_ms") is None
    assert outcome.measures.get("pages_compared") is None
    assert sum(each["packets_delivered"] for each in outcome.intervals if each["phase"] == "after") > 0
    assert outcome.measures["packets_lost_blackout"] == 0


def test_an_interval_ends_where_its_phase_does_so_the_blackout_is_as_long_as_it_was():
    outcome = run(DummyWrite(), Bulk(), phases=changed(PHASES, after_ns=20 * MS))
    phases = [phase for phase, _ in itertools.groupby(each["phase"] for each in outcome.intervals)]
    assert phases == ["steady", "migrating", "blackout", "after"]
    blackout_ms = sum(each["length_ms"] for each in outcome.intervals if each["phase"] == "blackout")
    assert blackout_ms == pytest.approx(outcome.measures["downtime_ms"] - outcome.measures["announce_ms"])


def test_intervals_follow_one_another_without_a_gap_and_their_rates_are_by_their_own_length():
    intervals = run(DummyWrite(), Bulk(), phases=changed(PHASES, after_ns=20 * MS)).intervals
    for each, following in itertools.pairwise(intervals):
        assert each["start_ms"] + each["length_ms"] == pytest.approx(following["start_ms"])
    assert any(each["length_ms"] < 0.9 * PHASES.interval_ns / MS for each in intervals)
    for each in intervals:
        assert each["mpps"] * each["length_ms"] * 1000 == pytest.approx(each["packets_delivered"])


def test_nothing_reaches_the_new_place_before_it_is_announced():
    soon, late = (
        measured(DummyWrite(), Bulk(), costs(switch_learn=us), phases=changed(PHASES, after_ns=20 * MS))
        for us in (100, 10_100)
    )
    assert (soon["announce_ms"], late["announce_ms"]) == (0.1, 10.1)
    assert late["downtime_ms"] - soon["downtime_ms"] == pytest.approx(10)
    extra = late["packets_lost_blackout"] - soon["packets_lost_blackout"]
    assert extra == pytest.approx(10 * MS_PS / (1538 * 800), abs=2)


A_FRAME_MS = 1538 * 800 / 1e9
"""The last one may still be on its way when the vCPU stops."""


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_the_peer_waits_at_least_as_long_as_no_vcpu_runs(name):
    roomy = changed(GUEST, memory_bytes=256 * MIB)  # a bounce pool takes 64 MiB
    measures = measured(STRATEGIES[name](), Bulk(), phases=changed(PHASES, after_ns=20 * MS), guest=roomy)
    assert measures["service_gap_ms"] >= measures["vcpu_pause_ms"] - A_FRAME_MS > 0
    assert measures["downtime_ms"] >= measures["vcpu_pause_ms"]


def test_registers_recorded_by_the_driver_are_those_of_the_device():
    made = machine(Untracked(), Bulk(send_ratio=0.5), migration=Precopy(vf_state="self-emulated"))
    made.advance(5 * MS_PS)
    mirror = made.memory.words[(int(made.cpus[0].driver) + REGISTER_MIRROR) >> 3 :][: len(QUEUE_REGISTERS)]
    travelling = [i for i in range(len(QUEUE_REGISTERS)) if i not in READ_ONLY]
    assert made.pairs[0].nic.register[travelling].tolist() == mirror[travelling].tolist()
    assert np.count_nonzero(mirror) >= 9


def test_self_emulation_spares_the_reading_of_registers_and_loses_no_packet_more():
    read, recorded = (
        measured(DummyWrite(), Bulk(rate_bps=GBPS), migration=Precopy(vf_state=state))
        for state in ("sysfs", "self-emulated")
    )
    assert recorded["state_transfer_ms"] < read["state_transfer_ms"]
    assert recorded["packets_corrupted"] == read["packets_corrupted"] == 0
    assert recorded["packets_lost_ring"] == read["packets_lost_ring"] == 0
