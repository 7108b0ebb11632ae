"""The faults of the strategies of today: caught when switched on, absent when not, each with settings that show it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from support.runs import DRIVER, MIB, MS, changed, measured, profile_for, with_costs

from strategies import (
    BounceBuffers,
    CooperativeIommu,
    DeviceDirtyLog,
    DmaApiMarking,
    FencedDummyWrite,
    IommuDirtyBits,
    PostCopy,
    RingInspection,
    ShadowVirtqueue,
)
from vfbench.experiment import Device, Guest, Precopy
from vfbench.records.damage import damage_of
from vfbench.strategy import Strategy, faults_of
from vfbench.sweeps.faults import read_faults
from workloads import Bulk, Bursty, SmallPackets

GUEST = Guest(memory_bytes=128 * MIB, packet_memory_bytes=32 * MIB)
# At line rate with small frames the one core that reads the rings of all has more to do than it can.
MANY_QUEUES = Guest(memory_bytes=256 * MIB, packet_memory_bytes=128 * MIB, queues=8)
FRESH_PAGES = changed(DRIVER, page_reuse="none", page_order="fifo")
MBPS = 10**6

SLOW = 50 * MBPS
# So that what one sync found is sent, and written again, before the next.
IN_ROUNDS = Precopy(bandwidth_bps=2 * 10**9, downtime_limit_ns=MS, max_rounds=30)
SMALL_RING = changed(DRIVER, rx_ring=64, tx_ring=64)
TODAY: dict[str, tuple[type[Strategy], dict[str, Any], dict[str, Any], dict[str, Any]]] = {
    "1 of a host that sees the writes itself": (DeviceDirtyLog, {}, {}, {"stop_order": "device-last"}),
    "3 before the DMA API marks": (DmaApiMarking, {}, {}, {"stop_order": "undrained"}),
    "8 rings that the DMA API never syncs": (DmaApiMarking, {"rate_bps": MBPS}, {}, {"rings": "left-out"}),
    "8 rings outside the ranges of a device's log": (
        DeviceDirtyLog,
        {"rate_bps": MBPS},
        {},
        {"covers": "payload"},
    ),
    "8 a pool that the stop leaves out": (
        BounceBuffers,
        {"rate_bps": SLOW},
        {"pool_bytes": 8 * MIB},
        {"pool_at_stop": "left-out"},
    ),
    "9 a device's log after its error": (DeviceDirtyLog, {}, {"fails_at": 100}, {"heeds_errors": False}),
    "10 a bit before its data": (
        IommuDirtyBits,
        {"costs": {"dma_latency": 30_000}},
        {"entry_bytes": 4096},
        {"fence": False},
    ),
    "11 an unmap that loses bits": (
        IommuDirtyBits,
        {},
        {"guest_iommu": "strict"},
        {"read_on_unmap": False},
    ),
    "12 no flush after bits were cleared": (
        IommuDirtyBits,
        {"driver": SMALL_RING, "migration": IN_ROUNDS, "dirty_rate_pages_per_s": 20_000},
        {"entry_bytes": 4096},
        {"flush": False},
    ),
    "13 mappings from before the pool": (
        BounceBuffers,
        {"rate_bps": SLOW},
        {"pool_bytes": 8 * MIB, "when": "migrating"},
        {"old_mappings": "forgotten"},
    ),
    "14 a page mapped between two looks": (CooperativeIommu, {}, {}, {"remember": False}),
    "15 no last look at the rings": (
        RingInspection,
        {"workload": Bursty(rate_bps=500 * MBPS), "costs": {"ring_inspect_descriptor": 9000}},
        {},
        {"last_pass": False},
    ),
    "16 a reader that fell behind": (
        RingInspection,
        {"workload": SmallPackets(), "guest": MANY_QUEUES, "costs": {"ring_inspect_descriptor": 200}},
        {},
        {"heed_misses": False},
    ),
    "17 half a packet past the fence": (
        FencedDummyWrite,
        {"device": Device(writeback_batch=16), "costs": {"descriptor_write_back_timeout": 125_000}},
        {},
        {"reset": False},
    ),
    "19 a device let loose on absent memory": (PostCopy, {"rate_bps": 10**9}, {}, {"device": "let-loose"}),
    "20 a source that dies": (PostCopy, {}, {}, {"source_dies": True}),
    "18 a relay that logs nothing": (ShadowVirtqueue, {"rate_bps": SLOW}, {}, {"logs": False}),
}


def damage_today(fault: str, *, switched_on: bool) -> int:
    strategy, settings, common, switch = TODAY[fault]
    made = strategy(**common, **(switch if switched_on else {}))
    given = {"rate_bps": 500 * MBPS, "driver": FRESH_PAGES, **settings}
    figures = with_costs(profile_for(made), **given.pop("costs", {}))
    parts = {name: given.pop(name) for name in ("driver", "device", "migration", "guest") if name in given}
    workload = given.get("workload") or Bulk(**given)
    measures = measured(made, workload, figures, **{"guest": GUEST, **parts})
    numbers = {str(number) for number in faults_of(made)}
    assert (fault.split()[0] in numbers) == switched_on
    return sum(damage_of(measures).values())


@pytest.mark.parametrize("fault", TODAY)
def test_a_fault_of_today_that_is_switched_on_is_caught(fault: str) -> None:
    assert damage_today(fault, switched_on=True) > 0


@pytest.mark.parametrize("fault", TODAY)
def test_with_a_fault_of_today_off_there_is_no_damage(fault: str) -> None:
    assert damage_today(fault, switched_on=False) == 0


def test_every_fault_is_shown_here_and_has_its_row_in_the_page() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "faults.md").read_text(encoding="utf-8")
    shown = {int(fault.split()[0]) for fault in TODAY} | {int(each.number) for each in read_faults()}
    assert shown == {int(number) for number in re.findall(r"^\| (\d+) ", page, re.MULTILINE)}
