"""What the queues share, what both directions count, and what a VF does that has no descriptor."""

from __future__ import annotations

import pytest
from support.machines import FRESH_PAGES, GBPS, MS_PS, QUIET, lost, total
from support.runs import GUEST, changed, experiment, machine, measured, profile

from strategies import BounceBuffers, EmulatedIommu, Untracked, VirtioNet
from vfbench.experiment import Driver, Link
from vfbench.machine.costs import IOTLB_INVALIDATE
from vfbench.testbeds.model.machine import Machine
from workloads import Bulk, RequestResponse, SmallPackets

FOUR_QUEUES = changed(GUEST, queues=4, packet_memory_bytes=32 << 20)
TWO_QUEUES = changed(GUEST, queues=2, packet_memory_bytes=16 << 20)
SLOW_LINK = Link(rate_bps=GBPS)


def sent_bytes(made: Machine, length_ps: int) -> int:
    made.advance(made.now_ps + 2 * MS_PS)
    before = int(made.pairs["oracle"]["tx_delivered_bytes"].sum())
    made.advance(made.now_ps + length_ps)
    return int(made.pairs["oracle"]["tx_delivered_bytes"].sum()) - before


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
    return int(made.pairs["oracle"]["rx_handed_over"].sum())


def test_two_queues_behind_a_strict_iommu_do_less_than_twice_the_work_of_one():
    one, two = strict_packets(GUEST), strict_packets(TWO_QUEUES)
    assert one < two < 1.95 * one


def test_without_an_iommu_in_the_guest_the_physical_one_is_passed():
    def misses(host_pages):
        guest = changed(GUEST, host_pages=host_pages)
        made = machine(Untracked(), Bulk(**QUIET), driver=FRESH_PAGES, guest=guest)
        made.advance(5 * MS_PS)
        return int(made.pairs[0].oracle.iotlb_misses), int(made.pairs["oracle"]["rx_handed_over"].sum())

    (few, _), (many, packets) = misses("2MiB"), misses("4KiB")
    assert 0 < few <= 16 << 20 >> 21
    assert many > packets / 2


def test_an_unmap_costs_one_invalidation():
    made = machine(EmulatedIommu(), Bulk(rate_bps=GBPS // 2, **QUIET), driver=FRESH_PAGES)
    made.advance(5 * MS_PS)
    assert total(made, "unmaps") > 100
    assert total(made, "invalidations") == total(made, "unmaps")
    assert made.cpus[0].cost[IOTLB_INVALIDATE] == profile().picoseconds("iotlb_invalidate")


def test_queues_that_share_the_lock_of_one_pool_do_less_than_with_a_lock_each():
    def packets(areas):
        strategy = BounceBuffers(areas=areas)
        made = machine(strategy, SmallPackets(**QUIET), driver=FRESH_PAGES, guest=FOUR_QUEUES)
        made.advance(10 * MS_PS)
        return int(made.pairs["oracle"]["rx_handed_over"].sum())

    assert packets(1) < 0.97 * packets(4)


def test_a_lock_that_only_one_queue_takes_is_free():
    strategy = BounceBuffers(areas=4)
    made = machine(strategy, SmallPackets(**QUIET), driver=FRESH_PAGES, guest=FOUR_QUEUES)
    made.advance(5 * MS_PS)
    assert {int(cpu.guest_lock_wait_ps) for cpu in made.cpus} == {0}


def test_a_page_that_is_mapped_again_soon_costs_neither_map_nor_invalidation():
    def made(mode):
        found = machine(EmulatedIommu(mode=mode), Bulk(rate_bps=GBPS, **QUIET), driver=FRESH_PAGES)
        found.advance(20 * MS_PS)
        return found

    strict, kept = made("strict"), made("optimistic")
    assert total(kept, "maps") < total(strict, "maps") / 2
    assert total(kept, "invalidations") < total(strict, "invalidations") / 20


def test_a_guest_that_keeps_unmapped_pages_mapped_arrives_whole():
    row = measured(EmulatedIommu(mode="optimistic"), Bulk(rate_bps=GBPS), driver=FRESH_PAGES)
    assert (row["packets_corrupted"], row["packets_phantom"], row["stale_pages_payload"]) == (0, 0, 0)
    assert row["packets_delivered"] > 1000


def test_a_vf_without_descriptors_drops_and_its_fifo_waits_for_no_driver():
    made = machine(Untracked(), SmallPackets(**QUIET), driver=Driver(rx_ring=64, tx_ring=64))
    made.advance(5 * MS_PS)
    assert int(made.pairs["oracle"]["lost_descriptor"].sum()) > 1000
    assert int(made.pairs["oracle"]["lost_fifo"].sum()) == 0
    assert lost(made) == int(made.pairs["oracle"]["lost_descriptor"].sum())


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


@pytest.mark.parametrize("strategy", [Untracked(), VirtioNet()], ids=lambda each: each.name)
def test_what_was_sent_is_at_the_peer_or_lost(strategy):
    made = machine(strategy, Bulk(send_ratio=1.0, **QUIET), link=SLOW_LINK)
    made.advance(10 * MS_PS)
    sent, there = (int(made.pairs.oracle[field].sum()) for field in ("tx_offered", "tx_delivered"))
    assert 0 < sent - there <= 512  # on the ring, or on its way


def test_a_lone_request_is_answered_sooner_by_a_vf_than_by_virtio_net():
    lone = RequestResponse(flows=1, request_bytes=64, answer_bytes=64, **QUIET)
    vf, virtio = (measured(each, lone)["latency_p50_us"] for each in (Untracked(), VirtioNet()))
    assert vf < virtio


def test_the_interval_between_interrupts_follows_the_load():
    def interval_us(workload):
        made = machine(Untracked(), workload)
        made.advance(5 * MS_PS)
        return int(made.pairs[0].interrupt_interval_ps) / 1e6

    few = SmallPackets(rate_bps=10**7, **QUIET)
    assert (interval_us(few), interval_us(Bulk(rate_bps=9 * GBPS, **QUIET))) == (10.0, 84.0)


def test_the_host_s_own_card_adapts_its_interrupts_too():
    """With one interval, 50 us, a lone request is answered 20,000 times a second whatever else costs time."""
    lone = RequestResponse(flows=1, request_bytes=71, answer_bytes=71, **QUIET)
    fixed = changed(experiment(VirtioNet()).device, moderation="fixed")
    made = machine(VirtioNet(), lone)
    made.advance(5 * MS_PS)
    assert int(made.pairs[0].vhost.host_interrupt_interval_ps) == 10_000_000
    paced = machine(VirtioNet(), lone, device=fixed)
    paced.advance(5 * MS_PS)
    assert int(paced.pairs["oracle"]["rx_handed_over"].sum()) == pytest.approx(100, abs=1)
    assert int(made.pairs["oracle"]["rx_handed_over"].sum()) > 105


def test_an_experiment_of_before_keeps_its_digest():
    made = experiment(Untracked())
    assert "moderation" in made.to_json()["device"]
    assert made.digest == experiment(Untracked(), device=changed(made.device, moderation="auto")).digest
    assert made.digest != experiment(Untracked(), device=changed(made.device, moderation="fixed")).digest
