"""What each of the strategies of today must show: a sentence each, and what a run without the mechanism would not."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from support.runs import DRIVER, GUEST, MIB, MS, changed, measured, profile_for, run, with_costs

from strategies import (
    AllPinnedDirty,
    BounceBuffers,
    CooperativeIommu,
    DeviceDirtyLog,
    DmaApiMarking,
    DummyWrite,
    FencedDummyWrite,
    IommuDirtyBits,
    RingInspection,
    Untracked,
)
from vfbench.experiment import Device, Guest, Precopy
from vfbench.linux_guest import LinuxGuest
from vfbench.mechanisms.bounce_pool import SLOT_BYTES
from vfbench.mechanisms.device_log import merged_ranges, runs_of
from vfbench.records.damage import damage_of
from vfbench.strategy import Strategy, linux_guest
from workloads import Bulk, SmallPackets

MBPS = 10**6
FRESH = changed(DRIVER, page_reuse="none", page_order="fifo")
LARGE = Guest(memory_bytes=128 * MIB, packet_memory_bytes=32 * MIB)
SLOW = Bulk(rate_bps=50 * MBPS)
POOL = 4 * MIB
PAGE_ON_THE_LINE = 4096 + 8


def shown(strategy: Strategy, workload: Bulk | None = None, **parts: Any) -> dict[str, Any]:
    """The measures of a run on the first profile whose machine has what it needs, with some costs changed."""
    figures = with_costs(profile_for(strategy), **parts.pop("costs", {}))
    return measured(strategy, workload, figures, **parts)


def reported(measures: dict[str, Any], figure: str) -> float:
    return float(json.loads(measures["reports"])[figure])


# ---- device-dirty-log


def test_a_device_log_of_large_pages_sends_more_again() -> None:
    small, large = (shown(DeviceDirtyLog(page_bytes=size), SLOW) for size in (4096, 2 * MIB))
    assert large["resent_bytes"] > 1.5 * small["resent_bytes"]


def test_ranges_merge_at_the_smallest_gap() -> None:
    assert merged_ranges([(0, 4), (6, 8), (20, 30)], 2) == [(0, 8), (20, 30)]
    assert runs_of(np.array([True, True, False, True])) == [(0, 8192), (12288, 16384)]


def test_a_query_takes_its_time_by_the_addresses_that_it_covers_and_not_by_what_is_dirty() -> None:
    dirty, idle = (shown(DeviceDirtyLog(), Bulk(rate_bps=rate))["final_sync_ms"] for rate in (0, MBPS))
    in_spans = shown(DeviceDirtyLog(), SLOW, costs={"device_log_span": 8 * MIB})["final_sync_ms"]
    assert dirty == pytest.approx(idle, rel=0.1)
    assert in_spans > 7 * shown(DeviceDirtyLog(), SLOW)["final_sync_ms"]


def test_more_ranges_take_more_queries() -> None:
    apart, merged = (shown(DeviceDirtyLog(covers="dma", ranges=n), SLOW)["final_sync_ms"] for n in (256, 1))
    assert apart > 1.5 * merged


def test_a_full_ring_makes_the_device_wait_until_the_host_reads_it() -> None:
    full, empty = (shown(DeviceDirtyLog(ring_entries=n)) for n in (64, 262_144))
    assert (reported(full, "device-log.waits"), reported(empty, "device-log.waits")) == (1, 0)
    assert full["packets_lost_fifo"] > 10_000 > empty["packets_lost_fifo"]
    assert damage_of(full) == {}


def test_after_an_error_of_the_log_everything_is_dirty_and_nothing_is_damaged() -> None:
    failed = shown(DeviceDirtyLog(fails_at=100), SLOW)
    assert failed["resent_bytes"] >= GUEST.memory_bytes
    assert damage_of(failed) == {}


def test_a_device_log_costs_the_guest_nothing_before_a_migration() -> None:
    logged, bare = shown(DeviceDirtyLog()), shown(Untracked(), costs={})
    modern = measured(Untracked(), None, profile_for(DeviceDirtyLog()))
    assert logged["guest_cycles_per_packet"] == modern["guest_cycles_per_packet"]
    assert bare["packets_offered"] > 0


# ---- iommu-dirty-bits


def test_an_entry_of_2_mib_makes_512_pages_dirty_unless_it_is_split() -> None:
    large, split, small = (
        shown(IommuDirtyBits(**entry), SLOW)["resent_bytes"]
        for entry in ({}, {"split": True}, {"entry_bytes": 4096})
    )
    assert large > 1.5 * small
    assert split == pytest.approx(small, rel=0.05)


def test_the_walk_takes_its_time_by_entries_and_a_flush_each_round() -> None:
    costs = {"iommu_dirty_walk_per_gib": 16.0, "iommu_dirty_flush": 500.0}
    small = shown(IommuDirtyBits(entry_bytes=4096), SLOW, costs=costs)["final_sync_ms"]
    large = shown(IommuDirtyBits(), SLOW, costs=costs)["final_sync_ms"]
    assert small - large == pytest.approx(16.0 * GUEST.memory_bytes / (1 << 30), abs=0.05)
    assert large == pytest.approx(0.5, abs=0.02)


def test_dirty_bits_behind_a_guest_iommu_survive_its_unmaps() -> None:
    bits = IommuDirtyBits(guest_iommu="strict")
    assert damage_of(shown(bits, Bulk(rate_bps=500 * MBPS), driver=FRESH, guest=LARGE)) == {}


# ---- all-pinned-dirty


@pytest.mark.parametrize("when", ["every-round", "at-stop"])
def test_all_pinned_pages_go_again_whether_in_rounds_or_at_the_stop(when: str) -> None:
    measures = shown(AllPinnedDirty(when=when), SLOW, guest=LARGE)
    all_pages_ms = LARGE.memory_bytes // 4096 * PAGE_ON_THE_LINE * 8 / 10e9 * 1000
    assert all_pages_ms <= measures["final_copy_ms"] < 1.1 * all_pages_ms
    assert damage_of(measures) == {}


def test_all_pinned_pages_keep_a_pre_copy_from_ever_converging_unless_they_are_left_to_the_stop() -> None:
    migration = Precopy(bandwidth_bps=2 * 10**9, downtime_limit_ns=10 * MS, max_rounds=6)
    outcomes = [
        run(AllPinnedDirty(when=when), SLOW, guest=LARGE, migration=migration)
        for when in ("every-round", "at-stop")
    ]
    assert [each.state for each in outcomes] == ["not-converged", "ok"]
    # All memory, what nobody touches as well.
    assert {row["dirty_pages"] for row in outcomes[0].rounds} == {LARGE.memory_bytes // 4096}


def test_behind_a_guest_iommu_only_what_is_mapped_is_dirty() -> None:
    everything, mapped = (shown(AllPinnedDirty(guest_iommu=mode), SLOW) for mode in ("none", "strict"))
    assert mapped["resent_bytes"] < everything["resent_bytes"] / 10


# ---- dma-api-marking


def test_the_dma_api_marks_always_and_so_costs_about_a_dummy_write() -> None:
    marked, dummy, bare = (
        measured(strategy, Bulk(rate_bps=500 * MBPS), driver=FRESH, guest=LARGE)["guest_cycles_per_packet"]
        for strategy in (DmaApiMarking(), DummyWrite(), Untracked())
    )
    assert marked > dummy > bare


def test_what_is_never_synced_is_marked_at_the_stop() -> None:
    assert damage_of(shown(DmaApiMarking(), Bulk(rate_bps=MBPS), guest=LARGE)) == {}


# ---- bounce-buffers


def test_a_bounced_packet_costs_a_copy() -> None:
    bounced, bare = (measured(each)["guest_cycles_per_packet"] for each in (BounceBuffers(POOL), Untracked()))
    assert bounced > bare + 100


def test_a_pool_that_is_armed_by_the_migration_costs_nothing_before_it() -> None:
    armed, bare = (
        measured(each)["guest_cycles_per_packet"]
        for each in (BounceBuffers(POOL, when="migrating"), Untracked())
    )
    assert armed == bare


def test_a_full_pool_fails_mappings_and_the_driver_goes_on_with_fewer_buffers() -> None:
    full = shown(BounceBuffers(MIB))
    assert reported(full, "bounce-pool.failed_maps") > 0
    assert reported(full, "bounce-pool.most_slots") == 512
    assert full["packets_delivered"] > 10_000
    assert damage_of(full) == {}


def test_the_pool_is_copied_at_the_stop() -> None:
    small, large = (shown(BounceBuffers(size), SLOW)["final_copy_ms"] for size in (2 * MIB, 8 * MIB))
    assert large - small == pytest.approx(6 * MIB / 4096 * PAGE_ON_THE_LINE * 8 / 10e9 * 1000, rel=0.1)


def test_what_strategies_take_by_default_is_what_the_profiles_say() -> None:
    figures = profile_for(DeviceDirtyLog())
    assert BounceBuffers().pool_bytes == figures.value("swiotlb_pool")
    assert figures.value("swiotlb_slot_bytes") == SLOT_BYTES
    assert DeviceDirtyLog().ring_entries == figures.value("device_log_ring")
    assert DeviceDirtyLog().ranges == figures.value("device_log_ranges")


# ---- cooperative-iommu


def test_a_shared_table_takes_no_exit_and_holds_more_than_was_written() -> None:
    table = shown(CooperativeIommu(), SLOW, driver=FRESH, guest=LARGE)
    assert table["iommu_exits"] == 0
    exact = shown(DummyWrite(), SLOW, driver=FRESH, guest=LARGE)
    assert table["resent_bytes"] > exact["resent_bytes"]
    assert damage_of(table) == {}


# ---- ring-inspection


def test_a_ring_reader_leaves_the_guest_as_it_was() -> None:
    read, bare = (measured(each)["guest_cycles_per_packet"] for each in (RingInspection(), Untracked()))
    assert read == bare


def test_a_reader_whose_core_is_full_falls_behind_and_everything_is_dirty() -> None:
    many = Guest(memory_bytes=256 * MIB, packet_memory_bytes=128 * MIB, queues=8)
    keeps_up = shown(RingInspection(), driver=FRESH, guest=LARGE)
    full = shown(
        RingInspection(), SmallPackets(), driver=FRESH, guest=many, costs={"ring_inspect_descriptor": 200}
    )
    assert reported(keeps_up, "ring-reader.missed") == 0
    assert keeps_up["resent_bytes"] < LARGE.memory_bytes / 2
    assert reported(full, "ring-reader.missed") > 0
    assert full["resent_bytes"] > 0.8 * many.packet_memory_bytes > 2 * keeps_up["resent_bytes"]
    assert damage_of(full) == {}


def test_the_last_pass_takes_its_time_after_the_stop() -> None:
    with_it, without = (
        shown(RingInspection(last_pass=last), SLOW)["final_sync_ms"] for last in (True, False)
    )
    assert with_it > without


# ---- fenced-dummy-write


def fenced(strategy: Strategy, seed_rate: int) -> dict[str, Any]:
    device = Device(writeback_batch=16)
    costs = {"descriptor_write_back_timeout": 125_000}
    workload = Bulk(rate_bps=seed_rate * MBPS, send_ratio=0.5)
    return shown(strategy, workload, driver=FRESH, guest=LARGE, device=device, costs=costs)


@pytest.mark.parametrize("rate", [100, 300, 500, 900])
def test_a_fenced_dummy_write_cannot_corrupt_and_knows_each_packets_fate(rate: int) -> None:
    measures = fenced(FencedDummyWrite(), rate)
    assert damage_of(measures) == {}
    assert reported(measures, "fence.lost_past_the_fence") <= measures["packets_lost_reset"]


def test_what_lies_past_the_fence_is_lost_or_comes_again() -> None:
    fates = [fenced(FencedDummyWrite(), rate) for rate in (100, 300, 500, 900)]
    assert sum(reported(each, "fence.lost_past_the_fence") for each in fates) > 0
    assert all(each["packets_sent_lost"] == 0 for each in fates)
    again = shown(FencedDummyWrite(), Bulk(send_ratio=0.5))
    assert reported(again, "fence.come_again") > 0
    assert again["packets_sent_lost"] == 0


def test_a_fence_keeps_whole_what_a_dummy_write_leaves_half_written() -> None:
    rates = (100, 300, 500, 900)
    assert any(damage_of(fenced(DummyWrite(), rate)) for rate in rates)
    assert not any(damage_of(fenced(FencedDummyWrite(), rate)) for rate in rates)


# ---- on a stock Linux guest


def test_what_a_stock_guest_can_have_says_how() -> None:
    assert linux_guest(BounceBuffers()).kernel_arguments == ("swiotlb=32768,force",)
    assert linux_guest(DeviceDirtyLog()) == LinuxGuest(primary="vf", device_log="dma")


@pytest.mark.parametrize(
    "strategy",
    [
        DmaApiMarking(),
        CooperativeIommu(),
        IommuDirtyBits(),
        RingInspection(),
        AllPinnedDirty(),
        FencedDummyWrite(),
    ],
)
def test_what_a_stock_guest_cannot_have_says_why(strategy: Strategy) -> None:
    assert all(len(line) > 20 for line in linux_guest(strategy).refusals)
    assert linux_guest(strategy).refusals


def test_small_packets_are_bounced_too() -> None:
    assert damage_of(shown(BounceBuffers(POOL), SmallPackets(rate_bps=100 * MBPS))) == {}
