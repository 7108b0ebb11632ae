"""The model against the real driver: the same experiments on the model and on a stock ixgbevf or virtio-net.

Compared are counts, which do not depend on how fast the guest is: maps and unmaps a packet, pages that the device wrote
for each packet that landed, the classes of damage and of stale pages, and whether the pre-copy converged. The rate is
one that an emulated guest takes, so that no clock is slowed down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from vfbench.options import Options, experiments
from vfbench.records.damage import KINDS
from vfbench.settings import Qemu
from vfbench.testbeds.crosscheck import COMPARABLE
from vfbench.testbeds.qemu import adapted

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.records import Outcome
    from vfbench.strategy import Strategy
    from vfbench.workload import Workload

MAPS_TOLERANCE, PAGES_TOLERANCE = 0.05, 0.10
FEW_MAPS = 0.05
"""Where less than 5 in 100 packets are mapped, the difference may be as much."""
FRAME_BITS = 8 * (1518 + 20)
PACKETS_PER_S = 250
STEADY_S = 8.192
"""2048 packets, four turns of a ring of 512: a driver that uses both halves of a page repeats itself every two turns.
The warm-up is two turns, so that both sides begin at the same one."""
WORKLOAD = "bulk"

_COMMON = {
    "guest.memory": "256MiB",
    "bulk.rate": f"{PACKETS_PER_S * FRAME_BITS}bps",
    "bulk.hold": "500ms",
    "bulk.dirty-rate": "3000pages/s",
    "migration.bandwidth": "240Mbps",
    "migration.downtime-limit": "30ms",
    "phases.warmup": f"{STEADY_S / 2}s",
    "phases.steady": f"{STEADY_S}s",
    "phases.interval": f"{STEADY_S}s",
    "phases.after": "2s",
}
_HELD = {"bulk.hold": "3s"}
"""750 packets: longer than a turn of the ring, so that a page's first half is still held when its second is used, and
fewer than the 1,024 that the model's socket holds."""
_NO_WARMUP = {"phases.warmup": "0ms"}
"""For where pages are not used again soon: the model counts a warm-up's pages with those of its first interval."""
_ALL_HELD = {**_NO_WARMUP, "bulk.hold": "4s", "phases.steady": "3.5s", "phases.interval": "3.5s"}
"""Nothing is let go before the steady state ends, so no page is written twice."""
_DEVICE_FIRST = {"untracked.stop-order": "device-first"}
"""How many frames come between the guest's stop and the device's is a matter of time, not of the mechanism."""
_STRICT = {
    "emulated-iommu.exit-to": "user-space",
    "emulated-iommu.skip-mapped": "false",
}


@dataclass(frozen=True)
class Variant:
    """An experiment: its settings on both sides, and those that only the real one has."""

    name: str
    strategy: str
    settings: Mapping[str, str]
    real: Qemu = Qemu()  # noqa: RUF009  frozen
    lacking: Mapping[str, str] = field(default_factory=dict)
    """Counts in which the two are known to differ, each with what the model lacks."""


_COPIED = Qemu(rings="copied")
_UNMAPS = "unmaps a packet"
_PAGES = "pages written by the device a packet"
_NEVER_UNMAPPED = {
    _UNMAPS: "ixgbevf up to 6.x does not unmap a page that it gives up (ixgbevf_put_rx_buffer: only if IS_ERR(skb)), "
    "so the device can still write to it; the model's driver unmaps it"
}
_BUDDY = {
    _PAGES: "virtio_net cuts its buffers from pieces of 32 KiB (skb_page_frag_refill), and which piece that was let go "
    "comes next is the buddy allocator's; the model's takes the page let go last"
}
VARIANTS = (
    Variant("soon freed", "untracked", _DEVICE_FIRST, _COPIED),
    Variant("held", "untracked", {**_DEVICE_FIRST, **_HELD}, _COPIED),
    Variant("soon freed", "dummy-write", {}, _COPIED),
    Variant("held", "dummy-write", _HELD, _COPIED),
    Variant("strict, soon freed", "emulated-iommu", _STRICT),
    Variant("strict, held", "emulated-iommu", {**_STRICT, **_HELD}, lacking=_NEVER_UNMAPPED),
    Variant("strict, some answered", "emulated-iommu", {**_STRICT, "bulk.send-ratio": "0.1"}),
    Variant("passthrough, held", "emulated-iommu", {**_STRICT, **_HELD, "emulated-iommu.mode": "static"}),
    Variant("soon freed", "virtio-net", {}, lacking=_BUDDY),
    Variant("all held", "virtio-net", _ALL_HELD),
    Variant("soon freed", "bounce-buffers", {}),
    Variant(
        "never converges",
        "dummy-write",
        {
            "bulk.dirty-rate": "10000pages/s",
            "bulk.working-set": "64MiB",
            "migration.downtime-limit": "5ms",
            "migration.max-rounds": "3",
        },
        _COPIED,
    ),
)

Run = Callable[["Experiment"], "Outcome"]


@dataclass(frozen=True)
class Row:
    """A count that both sides have; ``agrees`` by its tolerance, ``lacking`` says what the model is known to lack."""

    what: str
    model: str
    real: str
    agrees: bool
    lacking: str = ""


@dataclass(frozen=True)
class Check:
    """One experiment on both sides."""

    variant: Variant
    rows: tuple[Row, ...]

    @property
    def agrees(self) -> bool:
        return all(row.agrees for row in self.rows)

    @property
    def explained(self) -> bool:
        """Whether each count that differs is one of which it is known what the model lacks."""
        return all(row.agrees or row.lacking for row in self.rows)


def planned(
    strategies: Mapping[str, type[Strategy]],
    workloads: Mapping[str, type[Workload]],
    only: Sequence[str] = (),
) -> list[tuple[Variant, Experiment]]:
    """Every variant, or those whose strategy, or part of whose name, is in ``only``."""
    plan = []
    for variant in VARIANTS:
        if only and not any(word in variant.name or word == variant.strategy for word in only):
            continue
        settings = [f"{name}={value}" for name, value in {**_COMMON, **variant.settings}.items()]
        found = experiments(Options([variant.strategy], WORKLOAD, settings), strategies, workloads)
        plan.append((variant, found[0]))
    return plan


def crosscheck(plan: list[tuple[Variant, Experiment]], on_model: Run, on_qemu: Run) -> Iterator[Check]:
    """Run each experiment on both and compare."""
    for variant, experiment in plan:
        real = on_qemu(adapted(replace(experiment, testbed="qemu", qemu=variant.real)))
        rows = compared(on_model(experiment), real)
        yield Check(variant, tuple(replace(row, lacking=variant.lacking.get(row.what, "")) for row in rows))


def compared(model: Outcome, real: Outcome) -> Iterator[Row]:
    """The counts that both have."""
    came_to_an_end = {model.state, real.state} <= {*COMPARABLE}
    one_said, other_said = (
        f"{each.state} ({each.reason})" if each.reason else each.state for each in (model, real)
    )
    yield Row("pre-copy", one_said, other_said, came_to_an_end and model.state == real.state)
    if not came_to_an_end:
        return
    for what, column in (("maps a packet", "iommu_maps"), (_UNMAPS, "iommu_unmaps")):
        one, other = (_per_packet(each, each.measures.get(column)) for each in (model, real))
        yield _close(what, one, other, MAPS_TOLERANCE, FEW_MAPS)
    one, other = (_per_packet(each, _steady(each).get("dirty_pages_dma")) for each in (model, real))
    yield _close(_PAGES, one, other, PAGES_TOLERANCE, 0.0)
    if model.state != "ok" or real.state != "ok":
        return
    for name in (kind.measure for kind in KINDS):
        seen = [_count(each.measures.get(name)) for each in (model, real)]
        yield Row(name, str(seen[0]), str(seen[1]), (seen[0] > 0) == (seen[1] > 0))


def describe(check: Check) -> list[str]:
    """Lines for people: what agrees in one, what differs in a line each."""
    same = ", ".join(f"{row.what} {row.model}/{row.real}" for row in check.rows if row.agrees)
    verdict = "agree" if check.agrees else "differ, and why is known" if check.explained else "DIFFER"
    head = f"{check.variant.strategy}, {check.variant.name}: {verdict}"
    differing = [
        f"  differs: {row.what}: model {row.model}, real {row.real}"
        + (f" ({row.lacking})" if row.lacking else "")
        for row in check.rows
        if not row.agrees
    ]
    return [head, *differing, f"  model/real: {same}"]


def _steady(outcome: Outcome) -> Mapping[str, object]:
    return next((row for row in outcome.intervals if row["phase"] == "steady"), {})


def _per_packet(outcome: Outcome, count: object) -> float | None:
    packets = _count(_steady(outcome).get("packets_offered"))
    return _count(count) / packets if packets and count is not None else None


def _close(what: str, model: float | None, real: float | None, share: float, least: float) -> Row:
    one, other = ("none" if each is None else f"{each:.3f}" for each in (model, real))
    if model is None or real is None:
        return Row(what, one, other, model == real)
    return Row(what, one, other, abs(model - real) <= max(share * real, least))


def _count(value: object) -> int:
    return int(value) if isinstance(value, int) else 0
