"""Strategies on a real VM, migrated into another process.

What must hold for every one, and what tells them apart.
"""

from __future__ import annotations

import functools
import statistics

import numpy as np
import numpy.typing as npt
import pytest
from support.kvm_experiments import NAMES, REFUSED, counts, experiment, run, slow

from vfbench.machine.driver.state import VIRTIO_TX_ADDED, VIRTIO_TX_SEEN
from vfbench.machine.memory.guest_memory import BLOCKS_SHIFT, CONTENT, SENT
from vfbench.profiles import load_profile
from vfbench.records import Outcome
from vfbench.testbeds import kvm
from vfbench.testbeds.kvm.guest.payload import SENT_WORD_STEP, holds_sent_frame
from vfbench.testbeds.kvm.one_run import Run

LEDGER = ("packets_offered", "packets_delivered", "packets_corrupted", "packets_lost")
FRESH_PAGES = ("driver.page-reuse=none", "driver.page-order=fifo")
STALE = ("stale_pages_payload", "stale_pages_descriptor", "stale_pages_other")


def assert_the_ledger_adds_up(outcome: Outcome) -> None:
    offered, delivered, corrupted, lost = counts(outcome, LEDGER)
    assert offered == delivered + corrupted + lost
    assert delivered > 0


@functools.cache
def outcome_of(strategy: str) -> Outcome:
    """One run for all that must hold of it, in lockstep, so that a busy host changes nothing; half is answered."""
    return run(strategy, slow(), "small-packets.send-ratio=0.5", "kvm.clock=lockstep")


EVERY_STRATEGY = [
    pytest.param(name, marks=[] if name == "dummy-write" else pytest.mark.slow) for name in NAMES
]


@pytest.mark.usefixtures("kvm_host")
@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
def test_every_strategy_migrates_a_real_guest_and_its_ledger_adds_up(strategy: str) -> None:
    outcome = outcome_of(strategy)
    assert (outcome.state, outcome.reason) == ("ok", "")
    assert_the_ledger_adds_up(outcome)
    assert outcome.measures["pages_compared"] == (64 << 20) // 4096
    assert outcome.measures["packets_phantom"] == 0
    assert outcome.measures["stale_pages_other"] == 0


@pytest.mark.usefixtures("kvm_host")
@pytest.mark.parametrize("strategy", [each for each in EVERY_STRATEGY if each.values != ("untracked",)])
def test_what_is_tracked_arrives_as_it_was(strategy: str) -> None:
    assert counts(outcome_of(strategy), STALE) == [0, 0, 0]
    assert outcome_of(strategy).measures["packets_corrupted"] == 0


@pytest.mark.slow
@pytest.mark.usefixtures("kvm_host")
def test_untracked_dma_is_stale_at_the_destination() -> None:
    payload, _, other = counts(outcome_of("untracked"), STALE)
    assert payload > 0
    assert other == 0


@pytest.mark.usefixtures("kvm_host")
@pytest.mark.parametrize("strategy", EVERY_STRATEGY)
def test_frames_sent_by_the_guest_reach_the_peer_whole(strategy: str) -> None:
    names = ("packets_sent", "packets_sent_lost", "packets_sent_corrupted")
    sent, lost, corrupted = counts(outcome_of(strategy), names)
    assert sent > 50
    assert corrupted == 0
    assert lost <= 64


@pytest.mark.usefixtures("kvm_host")
def test_the_steady_state_has_a_dirty_rate_by_cause() -> None:
    rates = [outcome_of("dummy-write").measures[f"dirty_pages_per_s{each}"] for each in ("", "_cpu", "_dma")]
    either, cpu, dma = (float(str(rate)) for rate in rates)
    assert 0 < dma <= cpu <= either


def on_their_way(*settings: str) -> list[int]:
    """Frames that a real virtio driver has queued and not taken back, each time that the run is looked at."""
    seen: list[int] = []

    def look(_: float, phase: str) -> None:
        if phase == "steady":
            driver = made._endpoint.layout.queues[0].driver.base
            added, back = (
                int(made._endpoint.word(driver + at)[0]) for at in (VIRTIO_TX_ADDED, VIRTIO_TX_SEEN)
            )
            if added > 0:
                seen.append(added - back)

    answers = ("small-packets.send-ratio=1", "kvm.clock=lockstep")
    planned = experiment("virtio-net", slow(), *answers, *settings)
    made = Run(planned, load_profile(planned.profile), look)
    assert made.outcome().state == "ok"
    return seen


@pytest.mark.slow
@pytest.mark.usefixtures("kvm_host")
def test_a_real_guest_takes_a_frame_back_when_vhost_interrupts_and_that_of_2015_when_it_sends_the_next() -> (
    None
):
    assert statistics.median(on_their_way()) == 0
    assert statistics.median(on_their_way("virtio-net.napi-tx=false")) == 1


def sent_frame(length_bytes: int, sequence: int) -> npt.NDArray[np.uint8]:
    """A frame as the guest writes it, in whole words."""
    frame = np.zeros(2048, np.uint8)
    words = frame.view(np.int64)
    for block in range(-(-length_bytes // 512)):
        first = CONTENT | SENT | sequence << BLOCKS_SHIFT | block
        with np.errstate(over="ignore"):
            words[64 * block : 64 * (block + 1)] = first + np.arange(64, dtype=np.int64) * SENT_WORD_STEP
    return frame


@pytest.mark.parametrize("length_bytes", [60, 64, 513, 1514])
def test_a_sent_frame_with_any_byte_changed_is_not_whole(length_bytes: int) -> None:
    frame = sent_frame(length_bytes, 4711)
    first = int(frame.view(np.int64)[0])
    assert holds_sent_frame(frame.ctypes.data, length_bytes, first)
    for byte in (8, 59, length_bytes // 2, length_bytes - 1):
        frame[byte] ^= 1
        assert not holds_sent_frame(frame.ctypes.data, length_bytes, first)
        frame[byte] ^= 1


@pytest.mark.slow
@pytest.mark.usefixtures("kvm_host")
@pytest.mark.parametrize(
    ("strategy", "settings"),
    [
        ("emulated-iommu", ["emulated-iommu.exit-to=user-space", "emulated-iommu.mode=static"]),
        ("emulated-iommu", ["emulated-iommu.exit-to=other-core", "emulated-iommu.mode=deferred"]),
        ("emulated-iommu", ["emulated-iommu.tracking=migrating", "driver.page-reuse=none"]),
        ("dummy-write", ["driver.rx-mode=copybreak", "dummy-write.atomic=true", "device.writeback-batch=8"]),
        ("dummy-write", [*FRESH_PAGES, "dummy-write.byte=both", "migration.vf-state=self-emulated"]),
        ("standby-failover", ["standby-failover.link-watch=false"]),
    ],
)
def test_variants_lose_no_page(strategy: str, settings: list[str]) -> None:
    outcome = run(strategy, slow(), *settings)
    assert outcome.state == "ok"
    assert counts(outcome, STALE) == [0, 0, 0]
    assert outcome.measures["packets_corrupted"] == 0
    assert_the_ledger_adds_up(outcome)


@pytest.mark.slow
@pytest.mark.usefixtures("kvm_host")
def test_a_precopy_that_cannot_keep_up_ends_as_not_converged_and_the_guest_stays() -> None:
    outcome = run(
        "dummy-write",
        slow(),
        "small-packets.dirty-rate=3kpages/s",
        "migration.bandwidth=100Mbps",
        "migration.downtime-limit=1ms",
        "migration.max-rounds=2",
    )
    assert outcome.state == "not-converged"
    assert outcome.measures["converged"] is False
    assert_the_ledger_adds_up(outcome)


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        (["guest.queues=2"], "guest.queues: 2, but"),
        (["guest.memory=4GiB"], "guest.memory: 4GiB is over"),
        (["guest.dirty-log=pml"], "guest.dirty-log: 'pml', but"),
        (["emulated-iommu.exit-to=none"], "guest-iommu: exits to nobody, but"),
        (["guest.packet-memory=4MiB"], "guest.packet-memory: 4194304 bytes are 1024 pages"),
    ],
)
def test_what_a_real_vm_cannot_honour_is_refused_in_one_line(settings: list[str], line: str) -> None:
    (refusal,) = kvm.refusals(experiment("emulated-iommu", *settings))
    assert refusal.startswith(line)


def test_all_strategies_but_two_can_be_had_in_a_real_vm() -> None:
    for name in NAMES:
        assert kvm.refusals(experiment(name)) == []
    for name in REFUSED:
        assert len(kvm.refusals(experiment(name))) == 1
