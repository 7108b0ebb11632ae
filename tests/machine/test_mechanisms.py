"""What each part of the machine claims to do, seen from outside: counters of a machine, or measures of a run."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from support.machines import (
    FRESH_PAGES,
    GBPS,
    MBPS,
    MS_PS,
    NEVER_CONVERGES,
    OLDEST_FIRST,
    QUIET,
    SMALL_RING,
    US_PS,
    after_opening,
    fall_silent,
    lost,
    steps,
    total,
)
from support.runs import (
    DRIVER,
    MIB,
    MS,
    US,
    changed,
    costs,
    fast_processor,
    machine,
    measured,
    run,
)

from strategies import DummyWrite, EmulatedIommu, Untracked
from vfbench.experiment import Device, Guest, Link
from vfbench.machine.cpu import model_store
from vfbench.machine.driver.state import (
    HELD_PACKETS,
    WATCHDOG_PS,
)
from vfbench.machine.memory.guest_memory import LOGGED
from vfbench.machine.vf.descriptors import rx_is_done
from workloads import Bulk, SmallPackets

# --- pages


def test_reused_pages_bound_what_each_round_resends():
    outcome = run(DummyWrite(), Bulk(**QUIET), migration=NEVER_CONVERGES)
    in_use = DRIVER.rx_ring + machine(DummyWrite()).layout.structures.pages
    dirty = [row["dirty_pages"] for row in outcome.rounds]
    assert len(dirty) == 6
    assert DRIVER.rx_ring // 2 < max(dirty) <= in_use


def test_without_reuse_what_is_sent_again_grows_with_the_rate():
    guest = Guest(memory_bytes=128 * MIB, packet_memory_bytes=32 * MIB)
    slow, fast = (
        measured(DummyWrite(), Bulk(rate_bps=rate, **QUIET), driver=OLDEST_FIRST, guest=guest)
        for rate in (200 * MBPS, 800 * MBPS)
    )
    bound = 4096 * (DRIVER.rx_ring + machine(DummyWrite()).layout.structures.pages)
    assert bound < slow["resent_bytes"] < fast["resent_bytes"]


def maps_per_packet(driver, workload):
    """Pages mapped for each packet received, over four milliseconds."""
    made = machine(EmulatedIommu(exit_to="none"), workload, driver=driver)
    maps, received = after_opening(made)
    made.advance(5 * MS_PS)
    assert made.pairs[0].oracle.rx_handed_over > received + 300
    assert made.pairs[0].oracle.lost_socket == 0
    return (total(made, "maps") - maps) / (made.pairs[0].oracle.rx_handed_over - received)


def test_a_held_packet_keeps_its_half_page_from_being_used_again():
    workload = {"rate_bps": 500 * MBPS, "frame_bytes": 512}
    assert maps_per_packet(SMALL_RING, SmallPackets(hold_ns=20 * US, **workload)) == 0
    held = maps_per_packet(SMALL_RING, SmallPackets(hold_ns=10 * MS, **workload))
    assert held == pytest.approx(1 / 2, abs=0.1)


def test_copybreak_frees_the_page_at_once():
    workload = SmallPackets(rate_bps=100 * MBPS, hold_ns=10 * MS)
    assert maps_per_packet(SMALL_RING, workload) > 0
    assert maps_per_packet(changed(SMALL_RING, rx_mode="copybreak"), workload) == 0


def test_copybreak_copies_packets_of_256_bytes_and_none_that_is_longer():
    driver = changed(SMALL_RING, rx_mode="copybreak")
    workload = {"rate_bps": 300 * MBPS, "hold_ns": 10 * MS}
    assert maps_per_packet(driver, SmallPackets(frame_bytes=256, **workload)) == 0
    assert maps_per_packet(driver, SmallPackets(frame_bytes=264, **workload)) > 0


def test_a_queue_that_ran_out_of_pages_goes_on_when_the_watchdog_polls_it():
    few_pages = Guest(memory_bytes=64 * MIB, packet_memory_bytes=MIB)
    driver = changed(FRESH_PAGES, rx_ring=64, tx_ring=64)
    made = machine(Untracked(), Bulk(rate_bps=100 * MBPS, hold_ns=50 * MS), guest=few_pages, driver=driver)
    made.advance(WATCHDOG_PS - MS_PS)
    assert made.pairs[0].oracle.rx_handed_over == 256
    made.advance(WATCHDOG_PS + 20 * MS_PS)
    assert made.pairs[0].oracle.rx_handed_over > 256


# --- the device


@pytest.mark.parametrize("frame_bytes", [64, 128, 256, 512, 1024, 1280, 1518])
def test_line_rate_is_exact_for_each_rfc_2544_size_when_the_processor_is_fast(frame_bytes):
    often_enough_for_the_ring = Device(interrupt_interval_ns=20 * US)
    made = machine(
        Untracked(), SmallPackets(frame_bytes=frame_bytes), fast_processor(), device=often_enough_for_the_ring
    )
    made.advance(5 * MS_PS)
    fall_silent(made)
    delivered = int(made.pairs[0].oracle.rx_delivered)
    assert delivered == -(-5 * MS_PS // ((frame_bytes + 20) * 800))
    assert lost(made) == 0


@pytest.mark.parametrize("interval_us", [10, 50, 200])
def test_interrupts_never_come_closer_than_the_throttle(interval_us):
    device = Device(interrupt_interval_ns=interval_us * US, moderation="fixed")
    made = machine(Untracked(), SmallPackets(rate_bps=100 * MBPS), device=device)
    seen = {int(made.pairs[0].last_interrupt_ps) for _ in steps(made, US_PS, 2 * MS_PS)} - {
        int(made.pairs[0].last_interrupt_ps)
    }
    times = sorted(time for time in seen if time > 0)
    assert len(times) > 3
    assert min(b - a for a, b in itertools.pairwise(times)) >= interval_us * US_PS


def test_without_a_throttle_each_packet_of_a_slow_stream_interrupts():
    made = machine(Untracked(), Bulk(rate_bps=100 * MBPS), device=Device(interrupt_interval_ns=0))
    made.advance(10 * MS_PS)
    assert made.pairs[0].oracle.rx_handed_over > 50
    assert total(made, "interrupts") == made.pairs[0].oracle.rx_handed_over


def descriptors_done(made):
    ring = int(made.cpus[0].rx_ring) >> 3
    return sum(rx_is_done(int(made.memory.words[ring + 2 * i + 1])) for i in range(DRIVER.rx_ring))


def test_descriptors_are_written_back_in_batches_and_the_rest_after_a_time():
    device = Device(writeback_batch=8)
    made = machine(Untracked(), SmallPackets(), costs(descriptor_write_back_timeout=10_000), device=device)
    made.pairs[0].quiesce_requested = 1  # the driver leaves them where they are
    made.source.frames_left = 20
    seen = {descriptors_done(made) for _ in steps(made, US_PS // 10, 5 * US_PS)}
    assert seen == {0, 8, 16}
    made.advance(20 * US_PS)
    assert descriptors_done(made) == 20


def test_a_vf_drops_what_a_slow_processor_leaves_no_descriptor_for():
    made = machine(Untracked(), SmallPackets())
    made.advance(10 * MS_PS)
    fall_silent(made)
    pair = made.pairs[0]
    assert pair.oracle.lost_descriptor > pair.oracle.rx_delivered
    assert pair.oracle.rx_offered == pair.oracle.rx_delivered + pair.oracle.lost_descriptor


def test_a_faster_link_offers_more():
    slow, fast = (machine(Untracked(), Bulk(), link=Link(rate_bps=rate)) for rate in (GBPS, 25 * GBPS))
    for made in (slow, fast):
        made.advance(MS_PS)
    assert (slow.pairs[0].oracle.rx_offered, fast.pairs[0].oracle.rx_offered) == (82, 2032)


# --- the dirty log


def test_a_first_store_costs_once_per_round():
    made = machine(DummyWrite())
    cpu, address = made.cpus[0], made.layout.heaps[0].base - 4096
    cpu.logging = 1
    for _ in range(2):
        before_ps, stores = int(cpu.clock_ps), int(cpu.first_stores)
        for value in range(5):
            model_store(cpu, address, value)
        assert cpu.clock_ps - before_ps == made.ps("write_fault")
        assert cpu.first_stores == stores + 1
        made.memory.marks &= 0xFF ^ LOGGED


def test_a_store_costs_nothing_while_nothing_is_logged():
    made = machine(DummyWrite())
    made.advance(MS_PS)
    assert total(made, "first_stores") == 0
    assert np.count_nonzero(made.memory.marks & LOGGED) > 0


def test_pml_marks_the_same_pages_as_write_faults_for_less():
    logs = {}
    for log in ("write-protect", "pml"):
        guest = Guest(memory_bytes=64 * MIB, packet_memory_bytes=8 * MIB, dirty_log=log)
        made = machine(DummyWrite(), Bulk(rate_bps=50 * MBPS), guest=guest)
        made.cpus["logging"] = 1
        made.advance(20 * MS_PS)
        busy_ps = int((made.cpus["clock_ps"] - made.cpus["idle_ps"])[0])
        logs[log] = (made.memory.marks & LOGGED, busy_ps)
    assert np.array_equal(logs["pml"][0], logs["write-protect"][0])
    assert logs["pml"][1] < logs["write-protect"][1]


# --- the application


def test_a_full_socket_drops_what_comes_next():
    made = machine(Untracked(), Bulk(rate_bps=GBPS, hold_ns=10**9))
    made.advance(30 * MS_PS)
    pair = made.pairs[0]
    assert pair.oracle.rx_handed_over == HELD_PACKETS
    assert pair.oracle.lost_socket > 500
    fall_silent(made, 2000 * MS_PS)
    assert pair.oracle.rx_delivered == HELD_PACKETS
    assert pair.oracle.rx_offered == HELD_PACKETS + lost(made)


# --- queues


def test_more_queues_spread_the_flows_and_deliver_more_together():
    delivered = []
    for queues in (1, 2, 4, 16):
        guest = Guest(memory_bytes=256 * MIB, packet_memory_bytes=64 * MIB, queues=queues)
        made = machine(Untracked(), SmallPackets(flows=256), guest=guest)
        made.advance(5 * MS_PS)
        before = int(made.pairs.oracle.rx_handed_over.sum())
        made.advance(8 * MS_PS)
        share = made.pairs.oracle.rx_offered / made.pairs.oracle.rx_offered.sum()
        assert share == pytest.approx(np.full(queues, 1 / queues), abs=0.3 / queues)
        delivered.append(int(made.pairs.oracle.rx_handed_over.sum()) - before)
    assert delivered == sorted(delivered)
    assert delivered[2] > 3.5 * delivered[0]


def test_a_flow_stays_on_its_queue():
    guest = Guest(memory_bytes=256 * MIB, packet_memory_bytes=64 * MIB, queues=4)
    made = machine(Untracked(), SmallPackets(flows=1), guest=guest)
    made.advance(MS_PS)
    assert np.count_nonzero(made.pairs.oracle.rx_offered) == 1
