"""What each part of the machine claims to do, seen from outside: counters of a machine, or measures of a run."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from runs import (
    DRIVER,
    MIB,
    MS,
    PHASES,
    STRATEGIES,
    US,
    changed,
    costs,
    fast_processor,
    machine,
    measured,
    run,
)

from strategies import DummyWrite, EmulatedIommu, Untracked, VirtioNet
from vfbench.experiment import Device, Guest, Link, Precopy
from vfbench.machine.cpu import model_store
from vfbench.machine.descriptors import rx_is_done
from vfbench.machine.driver_state import (
    FLUSH_COUNT,
    FLUSH_QUEUE_ENTRIES,
    HELD_PACKETS,
    NEXT_TO_CLEAN,
    NEXT_TO_USE,
    REGISTER_MIRROR,
    TX_NEXT_TO_CLEAN,
    TX_NEXT_TO_USE,
    VIRTIO_TX_ADDED,
    VIRTIO_TX_SEEN,
    WATCHDOG_PS,
)
from vfbench.machine.memory import LOGGED
from vfbench.machine.registers import QUEUE_REGISTERS, READ_ONLY
from vfbench.testbeds.model.timeline import LOSSES
from workloads import Bulk, SmallPackets

MBPS, GBPS = 10**6, 10**9
US_PS, MS_PS = 10**6, 10**9
QUIET = {"dirty_rate_pages_per_s": 0}
SMALL_RING = changed(DRIVER, rx_ring=64)
FRESH_PAGES = changed(DRIVER, page_reuse="none")
OLDEST_FIRST = changed(FRESH_PAGES, page_order="fifo")
# 0.3 s for all memory, so that there are rounds; and less than the ring's pages fit the downtime limit.
NEVER_CONVERGES = Precopy(bandwidth_bps=2 * GBPS, downtime_limit_ns=MS, max_rounds=6)


def field(made, offset):
    """A word of the first queue's driver."""
    return int(made.memory.words[(int(made.cpus[0].driver) + offset) >> 3])


def total(made, name):
    return int(made.cpus[name].sum())


def lost(made):
    return sum(int(made.ports[name].sum()) for name in LOSSES)


def fall_silent(made, ps=100 * MS_PS):
    made.source.frames_left = 0
    made.advance(made.now_ps + ps)


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


def after_opening(made):
    """Maps and packets so far, after a while: the slot at the tail gets its first page with the first refill."""
    made.advance(MS_PS)
    return total(made, "maps"), int(made.ports[0].rx_handed_over)


def maps_per_packet(driver, workload):
    """Pages mapped for each packet received, over four milliseconds."""
    made = machine(EmulatedIommu(exit_to="none"), workload, driver=driver)
    maps, received = after_opening(made)
    made.advance(5 * MS_PS)
    assert made.ports[0].rx_handed_over > received + 300
    assert made.ports[0].lost_socket == 0
    return (total(made, "maps") - maps) / (made.ports[0].rx_handed_over - received)


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


# --- the IOMMU


def test_the_emulated_iommu_maps_nothing_for_a_packet_received_with_reuse():
    made = machine(EmulatedIommu())
    maps, received = after_opening(made)
    made.advance(5 * MS_PS)
    assert made.ports[0].rx_handed_over > received + 1000
    assert (total(made, "maps") - maps, total(made, "unmaps")) == (0, 0)


def test_without_reuse_it_maps_and_unmaps_exactly_one_page_for_each_packet_received():
    made = machine(EmulatedIommu(), Bulk(rate_bps=500 * MBPS), driver=FRESH_PAGES)
    made.advance(5 * MS_PS)
    mask = FRESH_PAGES.rx_ring - 1
    to_refill = (field(made, NEXT_TO_CLEAN) - field(made, NEXT_TO_USE) - 1) & mask
    received = int(made.ports[0].rx_handed_over)
    assert received > 100
    assert total(made, "unmaps") == received
    assert total(made, "maps") == received - to_refill


def test_a_frame_sent_is_mapped_once_and_unmapped_once():
    made = machine(EmulatedIommu(), Bulk(rate_bps=500 * MBPS, send_ratio=1.0))
    maps, received = after_opening(made)
    made.advance(5 * MS_PS)
    in_ring = (field(made, TX_NEXT_TO_USE) - field(made, TX_NEXT_TO_CLEAN)) & (DRIVER.tx_ring - 1)
    sent = int(made.ports[0].tx_offered)
    assert sent > 100
    assert total(made, "maps") - maps == sent - received
    assert total(made, "unmaps") == sent - in_ring


def test_deferred_unmaps_are_flushed_when_there_are_256():
    made = machine(EmulatedIommu(mode="deferred"), Bulk(rate_bps=5 * GBPS), driver=FRESH_PAGES)
    flushed = set()
    for _ in range(200):
        made.advance(made.now_ps + 10 * US_PS)
        flushed.add(total(made, "unmaps"))
        assert field(made, FLUSH_COUNT) < FLUSH_QUEUE_ENTRIES
    assert max(flushed) >= 256
    assert {count % 256 for count in flushed} == {0}


def test_deferred_unmaps_are_flushed_four_ticks_later_however_few():
    made = machine(EmulatedIommu(mode="deferred"), Bulk(rate_bps=10 * MBPS), driver=FRESH_PAGES)
    first_ps = next(ps for ps in steps(made, 100 * US_PS, 40 * MS_PS) if field(made, FLUSH_COUNT) > 0)
    flush_ps = next(ps for ps in steps(made, 100 * US_PS, 40 * MS_PS) if total(made, "unmaps") > 0)
    # A tick is 4 ms, and at 10 Mb/s the next unmap, which does the flush, comes within 1.3 ms.
    assert 11.9 * MS_PS < flush_ps - first_ps < 17.5 * MS_PS
    assert 5 < total(made, "unmaps") < 20


def steps(made, step_ps, length_ps):
    """The times at which a machine stands still for a look."""
    until_ps = made.now_ps + length_ps
    while made.now_ps < until_ps:
        made.advance(made.now_ps + step_ps)
        yield made.now_ps


def test_static_mode_maps_everything_once_and_then_nothing():
    made = machine(EmulatedIommu(mode="static"), Bulk(send_ratio=0.5), driver=FRESH_PAGES)
    cpu = made.cpus[0]
    table = made.memory.words[cpu.page_table >> 3 :][: cpu.pool_pages]
    assert np.count_nonzero(table) == cpu.pool_pages
    made.advance(5 * MS_PS)
    assert made.ports[0].rx_handed_over > 500
    assert (total(made, "maps"), total(made, "unmaps"), total(made, "exits")) == (0, 0, 0)


def test_entries_per_call_divide_the_exits():
    def exits(entries):
        made = machine(
            EmulatedIommu(entries=entries), Bulk(rate_bps=GBPS), fast_processor(), driver=FRESH_PAGES
        )
        made.advance(5 * MS_PS)
        return total(made, "exits") / total(made, "unmaps")

    assert exits(1) == pytest.approx(2, rel=0.1)
    assert exits(8) < exits(1) / 4


def test_an_exit_costs_more_the_further_it_goes():
    cycles = [
        measured(EmulatedIommu(exit_to=to), Bulk(rate_bps=GBPS), driver=FRESH_PAGES)[
            "guest_cycles_per_packet"
        ]
        for to in ("none", "other-core", "kernel", "user-space")
    ]
    assert cycles == sorted(cycles)
    assert len(set(cycles)) == 4


def test_tracking_only_while_migrating_costs_nothing_before_and_after():
    free, charged = (
        measured(EmulatedIommu(tracking="migrating", exit_to=to), Bulk(rate_bps=GBPS), driver=FRESH_PAGES)
        for to in ("none", "user-space")
    )
    always = measured(EmulatedIommu(exit_to="user-space"), Bulk(rate_bps=GBPS), driver=FRESH_PAGES)
    assert charged["guest_cycles_per_packet"] == free["guest_cycles_per_packet"]
    assert always["guest_cycles_per_packet"] > 1.5 * free["guest_cycles_per_packet"]
    assert charged["guest_cycles_per_packet_migrating"] > 1.5 * free["guest_cycles_per_packet_migrating"]
    assert charged["guest_cycles_per_packet_after"] == pytest.approx(
        free["guest_cycles_per_packet_after"], rel=0.02
    )


# --- the device


@pytest.mark.parametrize("frame_bytes", [64, 128, 256, 512, 1024, 1280, 1518])
def test_line_rate_is_exact_for_each_rfc_2544_size_when_the_processor_is_fast(frame_bytes):
    often_enough_for_the_ring = Device(interrupt_interval_ns=20 * US)
    made = machine(
        Untracked(), SmallPackets(frame_bytes=frame_bytes), fast_processor(), device=often_enough_for_the_ring
    )
    made.advance(5 * MS_PS)
    fall_silent(made)
    delivered = int(made.ports[0].rx_delivered)
    assert delivered == -(-5 * MS_PS // ((frame_bytes + 20) * 800))
    assert lost(made) == 0


@pytest.mark.parametrize("interval_us", [10, 50, 200])
def test_interrupts_never_come_closer_than_the_throttle(interval_us):
    device = Device(interrupt_interval_ns=interval_us * US)
    made = machine(Untracked(), SmallPackets(rate_bps=100 * MBPS), device=device)
    seen = {int(made.ports[0].last_interrupt_ps) for _ in steps(made, US_PS, 2 * MS_PS)} - {
        int(made.ports[0].last_interrupt_ps)
    }
    times = sorted(time for time in seen if time > 0)
    assert len(times) > 3
    assert min(b - a for a, b in itertools.pairwise(times)) >= interval_us * US_PS


def test_without_a_throttle_each_packet_of_a_slow_stream_interrupts():
    made = machine(Untracked(), Bulk(rate_bps=100 * MBPS), device=Device(interrupt_interval_ns=0))
    made.advance(10 * MS_PS)
    assert made.ports[0].rx_handed_over > 50
    assert total(made, "interrupts") == made.ports[0].rx_handed_over


def descriptors_done(made):
    ring = int(made.cpus[0].rx_ring) >> 3
    return sum(rx_is_done(int(made.memory.words[ring + 2 * i + 1])) for i in range(DRIVER.rx_ring))


def test_descriptors_are_written_back_in_batches_and_the_rest_after_a_time():
    device = Device(writeback_batch=8)
    made = machine(Untracked(), SmallPackets(), costs(descriptor_write_back_timeout=10_000), device=device)
    made.ports[0].noticed = 1  # the driver leaves them where they are
    made.source.frames_left = 20
    seen = {descriptors_done(made) for _ in steps(made, US_PS // 10, 5 * US_PS)}
    assert seen == {0, 8, 16}
    made.advance(20 * US_PS)
    assert descriptors_done(made) == 20


def test_a_fifo_drops_what_a_slow_processor_leaves():
    made = machine(Untracked(), SmallPackets())
    made.advance(10 * MS_PS)
    fall_silent(made)
    port = made.ports[0]
    assert port.lost_fifo > port.rx_delivered
    assert port.rx_offered == port.rx_delivered + port.lost_fifo


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


# --- virtio-net


def test_kick_suppression_spares_the_kicks_that_find_vhost_awake():
    def kicks(suppress):
        made = machine(VirtioNet(suppress_kicks=suppress), Bulk(rate_bps=4 * GBPS, send_ratio=1.0))
        made.advance(5 * MS_PS)
        assert made.ports[0].tx_delivered > 500
        return total(made, "kicks")

    assert kicks(True) < kicks(False) / 2


def answering(packets_per_s, answered=1.0, **parameters):
    """A virtio-net guest that answers for 20 ms."""
    rate_bps = 8 * (64 + 20) * packets_per_s
    made = machine(VirtioNet(**parameters), SmallPackets(rate_bps=rate_bps, send_ratio=answered, **QUIET))
    made.advance(20 * MS_PS)
    return made


def test_a_frame_that_virtio_net_sends_alone_is_one_kick_and_one_interrupt():
    silent, answers = answering(2_000, answered=0.0), answering(2_000)
    sent = int(answers.ports[0].tx_delivered)
    assert sent == 40
    assert total(answers, "interrupts") - total(silent, "interrupts") == sent
    assert total(answers, "kicks") == sent


def test_frames_sent_together_share_a_kick_and_an_interrupt_for_most_of_them():
    polls, answers = answering(300_000, napi_tx=False), answering(300_000)
    sent = int(answers.ports[0].tx_delivered)
    frames_a_kick = sent / total(answers, "kicks")
    interrupts = total(answers, "interrupts") - total(polls, "interrupts")
    assert frames_a_kick > 8
    # The first three quarters of a batch are one, what is left has one each at most.
    assert interrupts < total(answers, "kicks") * (1 + frames_a_kick / 4 + 1)


def test_the_driver_of_2015_is_not_interrupted_for_frames_sent_and_takes_them_back_when_it_sends():
    silent, answers = answering(2_000, answered=0.0), answering(2_000, napi_tx=False)
    # One, because an index that nobody set is 0.
    assert total(answers, "interrupts") - total(silent, "interrupts") == 1
    assert field(answers, VIRTIO_TX_ADDED) - field(answers, VIRTIO_TX_SEEN) == 1
    assert answers.ports[0].tx_delivered == 40


def test_an_interrupt_for_a_frame_sent_costs_guest_and_host_what_any_interrupt_costs():
    def spent(made):
        return total(made, "clock_ps") - total(made, "idle_ps"), total(made, "host_ps")

    old, new = answering(2_000, napi_tx=False), answering(2_000)
    interrupts = total(new, "interrupts") - total(old, "interrupts")
    guest_ps, host_ps = (b - a for a, b in zip(spent(old), spent(new), strict=True))
    a_poll_ps = new.ps("interrupt_injection") + new.ps("poll_start")
    assert interrupts == 39
    assert guest_ps == pytest.approx(interrupts * a_poll_ps, rel=0.1)
    assert host_ps == interrupts * new.ps("interrupt_entry_host")


def test_vhost_sends_nothing_before_it_is_kicked_and_awake():
    def latency_ps(wakeup):
        figures = costs(vhost_wakeup=wakeup)
        workload = SmallPackets(rate_bps=672 * 2_000, send_ratio=1.0, **QUIET)
        made = machine(VirtioNet(), workload, figures)
        made.advance(MS_PS)
        assert made.ports[0].tx_delivered == 2
        return int(made.ports[0].seen_ps), made.ps("vhost_wakeup")

    (soon_ps, none_ps), (late_ps, wakeup_ps) = latency_ps(0), latency_ps(5000)
    assert none_ps == 0
    assert late_ps - soon_ps == 2 * wakeup_ps  # once for the frame received, once for the answer


def test_vhost_pays_with_a_host_core_and_the_vf_does_not():
    vf, virtio = measured(Untracked(), Bulk()), measured(VirtioNet(), Bulk())
    assert virtio["host_cycles_per_packet"] > 1000 > vf["host_cycles_per_packet"]


# --- the application


def test_a_full_socket_drops_what_comes_next():
    made = machine(Untracked(), Bulk(rate_bps=GBPS, hold_ns=10**9))
    made.advance(30 * MS_PS)
    port = made.ports[0]
    assert port.rx_handed_over == HELD_PACKETS
    assert port.lost_socket > 500
    fall_silent(made, 2000 * MS_PS)
    assert port.rx_delivered == HELD_PACKETS
    assert port.rx_offered == HELD_PACKETS + lost(made)


# --- queues


def test_more_queues_spread_the_flows_and_deliver_more_together():
    delivered = []
    for queues in (1, 2, 4, 16):
        guest = Guest(memory_bytes=256 * MIB, packet_memory_bytes=64 * MIB, queues=queues)
        made = machine(Untracked(), SmallPackets(flows=256), guest=guest)
        made.advance(5 * MS_PS)
        before = int(made.ports.rx_handed_over.sum())
        made.advance(8 * MS_PS)
        share = made.ports.rx_offered / made.ports.rx_offered.sum()
        assert share == pytest.approx(np.full(queues, 1 / queues), abs=0.3 / queues)
        delivered.append(int(made.ports.rx_handed_over.sum()) - before)
    assert delivered == sorted(delivered)
    assert delivered[2] > 3.5 * delivered[0]


def test_a_flow_stays_on_its_queue():
    guest = Guest(memory_bytes=256 * MIB, packet_memory_bytes=64 * MIB, queues=4)
    made = machine(Untracked(), SmallPackets(flows=1), guest=guest)
    made.advance(MS_PS)
    assert np.count_nonzero(made.ports.rx_offered) == 1


# --- the migration


class Script:
    """Writes down the verbs of a migration."""

    def __init__(self):
        self.verbs = []

    def __getattr__(self, verb):
        return lambda **_: self.verbs.append(verb)


def verbs(strategy):
    script = Script()
    strategy.migrate(script)
    return script.verbs


def test_a_fallback_unplugs_the_vf_before_the_migration_and_plugs_one_in_after_it():
    assert verbs(VirtioNet(use="fallback")) == ["unplug_vf", *verbs(VirtioNet()), "plug_vf"]
    assert verbs(VirtioNet())[0] == "pre_copy"
    assert verbs(VirtioNet())[-1] == "resume"


def test_during_a_fallback_vhost_carries_the_packets_and_before_and_after_the_vf():
    measures = measured(VirtioNet(use="fallback"), Bulk(rate_bps=GBPS))
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


@pytest.mark.parametrize("name", sorted(STRATEGIES))
def test_the_peer_waits_at_least_as_long_as_no_vcpu_runs(name):
    measures = measured(STRATEGIES[name](), Bulk(), phases=changed(PHASES, after_ns=20 * MS))
    assert measures["service_gap_ms"] >= measures["vcpu_pause_ms"] > 0
    assert measures["downtime_ms"] >= measures["vcpu_pause_ms"]


def test_registers_recorded_by_the_driver_are_those_of_the_device():
    made = machine(Untracked(), Bulk(send_ratio=0.5), migration=Precopy(vf_state="self-emulated"))
    made.advance(5 * MS_PS)
    mirror = made.memory.words[(int(made.cpus[0].driver) + REGISTER_MIRROR) >> 3 :][: len(QUEUE_REGISTERS)]
    travelling = [i for i in range(len(QUEUE_REGISTERS)) if i not in READ_ONLY]
    assert made.ports[0].register[travelling].tolist() == mirror[travelling].tolist()
    assert np.count_nonzero(mirror) >= 9


def test_self_emulation_spares_the_reading_of_registers_and_loses_no_packet_more():
    read, recorded = (
        measured(DummyWrite(), Bulk(rate_bps=GBPS), migration=Precopy(vf_state=state))
        for state in ("sysfs", "self-emulated")
    )
    assert recorded["state_transfer_ms"] < read["state_transfer_ms"]
    assert recorded["packets_corrupted"] == read["packets_corrupted"] == 0
    assert recorded["packets_lost_ring"] == read["packets_lost_ring"] == 0


def test_a_faster_link_offers_more():
    slow, fast = (machine(Untracked(), Bulk(), link=Link(rate_bps=rate)) for rate in (GBPS, 25 * GBPS))
    for made in (slow, fast):
        made.advance(MS_PS)
    assert (slow.ports[0].rx_offered, fast.ports[0].rx_offered) == (82, 2032)


def test_a_queue_that_ran_out_of_pages_goes_on_when_the_watchdog_polls_it():
    few_pages = Guest(memory_bytes=64 * MIB, packet_memory_bytes=MIB)
    driver = changed(FRESH_PAGES, rx_ring=64, tx_ring=64)
    made = machine(Untracked(), Bulk(rate_bps=100 * MBPS, hold_ns=50 * MS), guest=few_pages, driver=driver)
    made.advance(WATCHDOG_PS - MS_PS)
    assert made.ports[0].rx_handed_over == 256
    made.advance(WATCHDOG_PS + 20 * MS_PS)
    assert made.ports[0].rx_handed_over > 256


def test_vhost_takes_turns_where_there_is_work_both_ways():
    made = machine(VirtioNet(), Bulk(send_ratio=1.0), guest=Guest(memory_bytes=256 * MIB))
    made.advance(30 * MS_PS)
    port = made.ports[0]
    assert port.rx_handed_over > 5000
    assert port.tx_delivered > 0.5 * port.rx_handed_over
