"""The seven faults of the argument: caught when switched on, absent when not."""

from __future__ import annotations

import pytest
from support.runs import DRIVER, MIB, STRATEGIES, changed, measured

from vfbench.experiment import Guest
from vfbench.records.damage import damage_of
from workloads import Bulk

GUEST = Guest(memory_bytes=128 * MIB, packet_memory_bytes=32 * MIB)
FRESH_PAGES = changed(DRIVER, page_reuse="none", page_order="fifo")
MBPS = 10**6

# A page that is written often is marked by something else anyway, so the damage shows where packets are rare
# enough, or pages many enough, that the fault is the last thing that happened to a page.
FAULTS = {
    "1 DMA after the last sync": ("dummy-write", FRESH_PAGES, 500 * MBPS, {}, {"stop_order": "device-last"}),
    "2 dummy write before the payload": ("dummy-write", FRESH_PAGES, 50 * MBPS, {}, {"when": "given"}),
    "3 dummy write beside a descriptor not seen": (
        "dummy-write",
        FRESH_PAGES,
        500 * MBPS,
        {},
        {"stop_order": "undrained"},
    ),
    "4 guest stopped before the device": (
        "dummy-write",
        FRESH_PAGES,
        500 * MBPS,
        {},
        {"stop_order": "guest-first"},
    ),
    "5 unmap while the device writes": ("emulated-iommu", DRIVER, 0, {}, {"unmap_early": True}),
    "6 mapping after tracking was armed": (
        "emulated-iommu",
        FRESH_PAGES,
        0,
        {"tracking": "migrating"},
        {"late_maps": False},
    ),
    "7 DMA between the read and the write": (
        "dummy-write",
        FRESH_PAGES,
        500 * MBPS,
        {"ahead": True, "atomic": True},
        {"atomic": False},
    ),
}


def damage(strategy, driver, rate_bps, parameters):
    measures = measured(
        STRATEGIES[strategy](**parameters), Bulk(rate_bps=rate_bps), driver=driver, guest=GUEST
    )
    return sum(damage_of(measures).values())


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_is_switched_on_is_caught(fault):
    strategy, driver, rate_bps, common, switch = FAULTS[fault]
    assert damage(strategy, driver, rate_bps, common | switch) > 0


@pytest.mark.parametrize("fault", FAULTS)
def test_with_the_fault_off_there_is_no_damage(fault):
    strategy, driver, rate_bps, common, _ = FAULTS[fault]
    assert damage(strategy, driver, rate_bps, common) == 0
