"""Strategies on a real VM, migrated into another process.

What must hold for every one, and what tells them apart.
"""

from __future__ import annotations

import pytest
from kvm.kvm_experiments import NAMES, counts, experiment, run, slow

from vfbench.records import Outcome
from vfbench.testbeds import kvm

LEDGER = ("packets_offered", "packets_delivered", "packets_corrupted", "packets_lost")
STALE = ("stale_pages_payload", "stale_pages_descriptor", "stale_pages_other")


def assert_the_ledger_adds_up(outcome: Outcome) -> None:
    offered, delivered, corrupted, lost = counts(outcome, LEDGER)
    assert offered == delivered + corrupted + lost
    assert delivered > 0


@pytest.mark.usefixtures("kvm_host")
@pytest.mark.parametrize("strategy", NAMES)
def test_every_strategy_migrates_a_real_guest_and_its_ledger_adds_up(strategy: str) -> None:
    outcome = run(strategy, slow())
    assert (outcome.state, outcome.reason) == ("ok", "")
    assert_the_ledger_adds_up(outcome)
    assert outcome.measures["pages_compared"] == (64 << 20) // 4096
    assert outcome.measures["packets_phantom"] == 0
    assert outcome.measures["stale_pages_other"] == 0


@pytest.mark.usefixtures("kvm_host")
@pytest.mark.parametrize("strategy", ["dummy-write", "emulated-iommu", "virtio-net"])
def test_what_is_tracked_arrives_as_it_was(strategy: str) -> None:
    outcome = run(strategy, slow())
    assert counts(outcome, STALE) == [0, 0, 0]
    assert outcome.measures["packets_corrupted"] == 0


@pytest.mark.usefixtures("kvm_host")
def test_untracked_dma_is_stale_at_the_destination() -> None:
    outcome = run("untracked", slow())
    payload, descriptor, other = counts(outcome, STALE)
    assert payload > 0
    assert (descriptor, other) == (0, 0)


@pytest.mark.usefixtures("kvm_host")
@pytest.mark.parametrize("strategy", NAMES)
def test_frames_sent_by_the_guest_reach_the_peer_whole(strategy: str) -> None:
    outcome = run(strategy, slow(), "small-packets.send-ratio=0.5")
    sent, lost, corrupted = counts(outcome, ("packets_sent", "packets_sent_lost", "packets_sent_corrupted"))
    assert sent > 50
    assert corrupted == 0
    assert lost <= 64
    assert_the_ledger_adds_up(outcome)


@pytest.mark.usefixtures("kvm_host")
@pytest.mark.parametrize("workload", ["bulk", "imix-simple", "request-response", "key-value"])
def test_other_workloads_run_too(workload: str) -> None:
    outcome = run("dummy-write", workload=workload)
    assert outcome.state == "ok"
    assert_the_ledger_adds_up(outcome)
    assert counts(outcome, STALE) == [0, 0, 0]


@pytest.mark.usefixtures("kvm_host")
@pytest.mark.parametrize(
    ("strategy", "settings"),
    [
        ("emulated-iommu", ["emulated-iommu.exit-to=user-space"]),
        ("emulated-iommu", ["emulated-iommu.exit-to=other-core"]),
        ("emulated-iommu", ["emulated-iommu.mode=deferred"]),
        ("emulated-iommu", ["emulated-iommu.mode=static"]),
        ("emulated-iommu", ["emulated-iommu.tracking=migrating", "driver.page-reuse=none"]),
        ("dummy-write", ["driver.rx-mode=copybreak"]),
        ("dummy-write", ["driver.page-reuse=none", "driver.page-order=fifo", "dummy-write.byte=both"]),
        ("dummy-write", ["dummy-write.atomic=true", "device.writeback-batch=8"]),
        ("dummy-write", ["migration.vf-state=self-emulated"]),
        ("virtio-net", ["virtio-net.use=fallback"]),
    ],
)
def test_variants_lose_no_page(strategy: str, settings: list[str]) -> None:
    outcome = run(strategy, slow(), *settings)
    assert outcome.state == "ok"
    assert counts(outcome, STALE) == [0, 0, 0]
    assert outcome.measures["packets_corrupted"] == 0
    assert_the_ledger_adds_up(outcome)


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
        (["emulated-iommu.exit-to=none"], "exit-to: 'none', but"),
        (["guest.packet-memory=4MiB"], "guest.packet-memory: 4194304 bytes are 1024 pages"),
    ],
)
def test_what_a_real_vm_cannot_honour_is_refused_in_one_line(settings: list[str], line: str) -> None:
    (refusal,) = kvm.refusals(experiment("emulated-iommu", *settings))
    assert refusal.startswith(line)
