"""The seven faults, provoked on a real VM by the switch of a strategy, and the damage that they do.

Fault 7 is a race of two instructions with the device. In lockstep the guest leaves between the two, and the device
has its turn: a frame that is due by then falls between them in every run.
"""

from __future__ import annotations

import pytest
from support.kvm_experiments import counts, run, slow

PACED = ("migration.bandwidth=200Mbps", "kvm.clock=lockstep")
FRESH_PAGES = ("driver.page-reuse=none", "driver.page-order=fifo")
STALE = ("stale_pages_payload", "stale_pages_descriptor", "stale_pages_other")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("kvm_host")]


def test_fault_1_dma_after_the_last_sync_is_stale() -> None:
    outcome = run("dummy-write", slow(), "dummy-write.stop-order=device-last", *PACED)
    payload, descriptor, _ = counts(outcome, STALE)
    assert payload > 0
    assert descriptor > 0


def test_fault_4_a_guest_stopped_before_its_device_leaves_writes_that_nobody_marked() -> None:
    outcome = run("dummy-write", "dummy-write.stop-order=guest-first", *FRESH_PAGES)
    payload, _, _ = counts(outcome, STALE)
    assert payload > 0


def test_fault_5_an_unmap_while_the_device_still_writes_leaves_pages_behind() -> None:
    outcome = run("emulated-iommu", slow(), "emulated-iommu.unmap-early=true", *PACED)
    payload, _, _ = counts(outcome, STALE)
    assert payload > 0


def test_fault_6_mappings_made_after_tracking_was_armed_go_unnoticed() -> None:
    outcome = run(
        "emulated-iommu",
        slow(),
        "emulated-iommu.late-maps=false",
        "emulated-iommu.tracking=migrating",
        "driver.page-reuse=none",
        *PACED,
    )
    payload, _, _ = counts(outcome, STALE)
    assert payload > 0


def test_fault_2_a_dummy_write_before_the_payload_leaves_the_payload_unmarked() -> None:
    outcome = run("dummy-write", slow(), "dummy-write.when=given", *PACED, *FRESH_PAGES)
    payload, _, _ = counts(outcome, STALE)
    assert payload > 0


def test_fault_3_descriptors_written_back_but_not_seen_travel_without_their_packets() -> None:
    outcome = run("dummy-write", "dummy-write.stop-order=undrained", *FRESH_PAGES)
    payload, descriptor, _ = counts(outcome, STALE)
    (corrupted,) = counts(outcome, ("packets_corrupted",))
    assert payload > 0
    # The ring's page arrives as it was, and with it claims that are not true, if a dummy write marked it since the
    # last sync; else it is stale itself.
    assert corrupted + descriptor > 0


def corrupted_by_touching(*settings: str) -> int:
    """Short bursts whose frames come 1.5 us apart: the second while the driver rewrites a byte of its buffer.

    An exit takes 1 us. The one between read and write of the first frame's descriptor is the first after the
    interrupt; the one between read and write of the next buffer's first byte is the second.

    The number of pages is odd. A page's old first byte would else be the new one's too, since it holds the packet's
    number modulo 8.
    """
    outcome = run(
        "dummy-write",
        *settings,
        "guest.packet-memory=16388KiB",
        "link.rate=448Mbps",
        "bursty.frame=64B",
        "bursty.burst-frames=4",
        "bursty.shape=4",
        "bursty.rate=268kbps",
        "phases.steady=2s",
        "kvm.clock=lockstep",
        *FRESH_PAGES,
        workload="bursty",
    )
    (corrupted,) = counts(outcome, ("packets_corrupted",))
    return corrupted


def test_fault_7_dma_between_a_dummy_writes_read_and_its_write_is_undone() -> None:
    assert corrupted_by_touching("dummy-write.ahead=true", "dummy-write.atomic=false") > 0


@pytest.mark.parametrize(
    "settings",
    [("dummy-write.ahead=true", "dummy-write.atomic=true"), ("dummy-write.ahead=false",)],
    ids=["one locked instruction", "only what the device is done with"],
)
def test_fault_7_cannot_happen_where_nothing_falls_between_read_and_write(settings: tuple[str, ...]) -> None:
    assert corrupted_by_touching(*settings) == 0
