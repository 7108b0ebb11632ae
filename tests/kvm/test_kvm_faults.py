"""The seven faults, provoked on a real VM by the switch of a strategy, and the damage that they do.

Fault 7 is a race of two instructions with the device, and nobody can say when it is lost. Frames that come about
as far apart as the driver takes to react lose it often enough: about once in a hundred packets where a guest's
instruction takes 0.5 us.
"""

from __future__ import annotations

import pytest
from kvm.kvm_experiments import counts, run, slow

FRESH_PAGES = ("driver.page-reuse=none", "driver.page-order=fifo")
STALE = ("stale_pages_payload", "stale_pages_descriptor", "stale_pages_other")

pytestmark = pytest.mark.usefixtures("kvm_host")


def test_fault_1_dma_after_the_last_sync_is_stale() -> None:
    outcome = run("dummy-write", slow(), "dummy-write.stop-order=device-last", "migration.bandwidth=200Mbps")
    payload, descriptor, _ = counts(outcome, STALE)
    assert payload > 0
    assert descriptor > 0


def test_fault_4_a_guest_stopped_before_its_device_leaves_writes_that_nobody_marked() -> None:
    outcome = run("dummy-write", "dummy-write.stop-order=guest-first")
    payload, _, _ = counts(outcome, STALE)
    assert payload > 0


def test_fault_5_an_unmap_while_the_device_still_writes_leaves_pages_behind() -> None:
    outcome = run("emulated-iommu", slow(), "emulated-iommu.unmap-early=true", "migration.bandwidth=200Mbps")
    payload, _, _ = counts(outcome, STALE)
    assert payload > 0


def test_fault_6_mappings_made_after_tracking_was_armed_go_unnoticed() -> None:
    outcome = run(
        "emulated-iommu",
        slow(),
        "emulated-iommu.late-maps=false",
        "emulated-iommu.tracking=migrating",
        "driver.page-reuse=none",
        "migration.bandwidth=200Mbps",
    )
    payload, _, _ = counts(outcome, STALE)
    assert payload > 0


def test_fault_2_a_dummy_write_before_the_payload_leaves_the_payload_unmarked() -> None:
    outcome = run(
        "dummy-write", slow(), "dummy-write.when=given", "migration.bandwidth=200Mbps", *FRESH_PAGES
    )
    payload, _, _ = counts(outcome, STALE)
    assert payload > 0


def test_fault_3_descriptors_written_back_but_not_seen_travel_without_their_packets() -> None:
    outcome = run("dummy-write", "dummy-write.stop-order=undrained", *FRESH_PAGES)
    payload, descriptor, _ = counts(outcome, STALE)
    (corrupted,) = counts(outcome, ("packets_corrupted",))
    assert payload > 0
    assert descriptor == 0
    assert corrupted > 0


def corrupted_by_touching_ahead(*, atomic: bool) -> int:
    """Pairs of frames as far apart as an emulated driver takes to react; an odd number of pages.

    A page's old first byte would else be the new one's too, since it holds the packet's number modulo 8.
    """
    outcome = run(
        "dummy-write",
        "dummy-write.ahead=true",
        f"dummy-write.atomic={str(atomic).lower()}",
        "guest.packet-memory=16388KiB",
        "link.rate=2Mbps",
        "bursty.frame=64B",
        "bursty.burst-frames=4",
        "bursty.shape=4",
        "bursty.rate=268kbps",
        "phases.steady=4s",
        *FRESH_PAGES,
        workload="bursty",
    )
    (corrupted,) = counts(outcome, ("packets_corrupted",))
    return corrupted


@pytest.mark.slow
def test_fault_7_dma_between_a_dummy_writes_read_and_its_write_is_undone() -> None:
    assert corrupted_by_touching_ahead(atomic=False) > 0


@pytest.mark.slow
def test_fault_7_cannot_happen_where_read_and_write_are_one_locked_instruction() -> None:
    assert corrupted_by_touching_ahead(atomic=True) == 0
