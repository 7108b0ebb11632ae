"""What the queues share, what both directions count, and what a VF does that has no descriptor."""

from __future__ import annotations

import pytest
from support.machines import FRESH_PAGES, GBPS, MS_PS, QUIET, lost, total
from support.runs import GUEST, changed, experiment, machine, measured, profile

from strategies import EmulatedIommu, Untracked, VirtioNet
from vfbench.experiment import Driver, Link
from vfbench.machine.costs import IOTLB_INVALIDATE
from vfbench.testbeds.model.machine import Machine
from workloads import Bulk, RequestResponse, SmallPackets

FOUR_QUEUES = changed(GUEST, queues=4, packet_memory_bytes=32 << 20)
TWO_QUEUES = changed(GUEST, queues=2, packet_memory_bytes=16 << 20)
SLOW_LINK = Link(rate_bps=GBPS)


def sent_bytes(made: Machine, length_ps: int) -> int:
    made.advance(made.now_ps + 2 * MS_PS)
    before = int(made.ports["tx_delivered_bytes"].sum())
    made.advance(made.now_ps + length_ps)
    return int(made.ports["tx_delivered_bytes"].sum()) - before


@pytest.mark.parametrize("strategy", [Untracked(), VirtioNet()], ids=lambda each: each.name)
def test_one_busy_queue_of_four_has_the_wire_to_itself(strategy):
    one_flow = Bulk(flows=1, send_ratio=1.0, **QUIET)
    alone = sent_bytes(machine(strategy, one_flow, link=SLOW_LINK), 5 * MS_PS)
    among_four = sent_bytes(machine(strategy, one_flow, link=SLOW_LINK, guest=FOUR_QUEUES), 5 * MS_PS)
    assert alone * 8000 / (5 * MS_PS) == pytest.approx(1.0, rel=0.1)
    assert among_four == pytest.approx(alone, rel=0.1)


def test_four_busy_queues_send_no_more_than_the_wire_carries():
    made = machine(Untracked(), Bulk(send_ratio=1.0, **QUIET), link=SLOW_LINK, guest=FOUR_QUEUES)
    gbps = sent_bytes(made, 10 * MS_PS) * 8000 / (10 * MS_PS)
    assert 0.85 < gbps < 1.1


def strict_packets(guest) -> int:
    made = machine(
        EmulatedIommu(exit_to="user-space"), SmallPackets(**QUIET), driver=FRESH_PAGES, guest=guest
    )
    made.advance(10 * MS_PS)
    return int(made.ports["rx_handed_over"].sum())


def test_two_queues_behind_a_strict_iommu_do_less_than_twice_the_work_of_one():
    one, two = strict_packets(GUEST), strict_packets(TWO_QUEUES)
    assert one < two < 1.95 * one


def test_an_unmap_costs_one_invalidation():
    made = machine(EmulatedIommu(), Bulk(rate_bps=GBPS // 2, **QUIET), driver=FRESH_PAGES)
    made.advance(5 * MS_PS)
    assert total(made, "unmaps") > 100
    assert total(made, "invalidations") == total(made, "unmaps")
    assert made.cpus[0].cost[IOTLB_INVALIDATE] == profile().picoseconds("iotlb_invalidate")


def test_a_vf_without_descriptors_drops_and_its_fifo_waits_for_no_driver():
    made = machine(Untracked(), SmallPackets(**QUIET), driver=Driver(rx_ring=64, tx_ring=64))
    made.advance(5 * MS_PS)
    assert int(made.ports["lost_descriptor"].sum()) > 1000
    assert int(made.ports["lost_fifo"].sum()) == 0
    assert lost(made) == int(made.ports["lost_descriptor"].sum())


@pytest.mark.parametrize("strategy", [Untracked(), EmulatedIommu(), VirtioNet()], ids=lambda each: each.name)
def test_sent_and_refused_are_what_the_guest_wanted_to_send(strategy):
    row = measured(strategy, Bulk(send_ratio=1.0, **QUIET), link=SLOW_LINK)
    wanted = (
        row["packets_delivered"]
        + row["packets_corrupted"]
        + row["packets_duplicated"]
        + row["packets_phantom"]
    )
    assert row["packets_sent"] + row["packets_refused"] == wanted
    assert row["packets_sent_lost"] >= 0


def test_a_lone_request_is_answered_sooner_by_a_vf_than_by_virtio_net():
    lone = RequestResponse(flows=1, request_bytes=64, answer_bytes=64, **QUIET)
    vf, virtio = (measured(each, lone)["latency_p50_us"] for each in (Untracked(), VirtioNet()))
    assert vf < virtio


def test_the_interval_between_interrupts_follows_the_load():
    def interval_us(workload):
        made = machine(Untracked(), workload)
        made.advance(5 * MS_PS)
        return int(made.ports[0].interrupt_interval_ps) / 1e6

    few = SmallPackets(rate_bps=10**7, **QUIET)
    assert (interval_us(few), interval_us(Bulk(rate_bps=9 * GBPS, **QUIET))) == (10.0, 84.0)


def test_an_experiment_of_before_keeps_its_digest():
    made = experiment(Untracked())
    assert "moderation" in made.to_json()["device"]
    assert made.digest == experiment(Untracked(), device=changed(made.device, moderation="auto")).digest
    assert made.digest != experiment(Untracked(), device=changed(made.device, moderation="fixed")).digest
