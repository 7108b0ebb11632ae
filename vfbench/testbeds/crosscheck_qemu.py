"""The model against the real driver: the same experiments on the model and on a stock ixgbevf or virtio-net.

Compared are counts, which do not depend on how fast the guest is: maps and unmaps a packet, pages that the device wrote
for each packet that landed, the classes of damage and of stale pages, and whether the pre-copy converged. The rate is
one that an emulated guest takes, so that no clock is slowed down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vfbench.options import Options, experiments
from vfbench.records.damage import KINDS
from vfbench.settings import Qemu
from vfbench.testbeds.crosscheck import COMPARABLE

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
    "bulk.dirty-rate": "1000pages/s",
    "migration.bandwidth": "240Mbps",
    "migration.downtime-limit": "30ms",
    "phases.warmup": f"{STEADY_S / 2}s",
    "phases.steady": f"{STEADY_S}s",
    "phases.interval": f"{STEADY_S}s",
    "phases.after": "2s",
}
_HELD = {"bulk.hold": "10s"}
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


_COPIED = Qemu(rings="copied")
VARIANTS = (
    Variant("soon freed", "untracked", _DEVICE_FIRST, _COPIED),
    Variant("held", "untracked", {**_DEVICE_FIRST, **_HELD}, _COPIED),
    Variant("soon freed", "dummy-write", {}, _COPIED),
    Variant("held", "dummy-write", _HELD, _COPIED),
    Variant("strict, soon freed", "emulated-iommu", _STRICT),
    Variant("strict, held", "emulated-iommu", {**_STRICT, **_HELD}),
    Variant("passthrough, held", "emulated-iommu", {**_STRICT, **_HELD, "emulated-iommu.mode": "static"}),
    Variant("soon freed", "virtio-net", {}),
    Variant("held", "virtio-net", _HELD),
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
    """A count that both sides have; ``agrees`` by its tolerance."""

    what: str
    model: str
    real: str
    agrees: bool


@dataclass(frozen=True)
class Check:
    """One experiment on both sides."""

    variant: Variant
    rows: tuple[Row, ...]

    @property
    def agrees(self) -> bool:
        return all(row.agrees for row in self.rows)


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
        real = on_qemu(replace(experiment, testbed="qemu", qemu=variant.real))
        yield Check(variant, tuple(compared(on_model(experiment), real)))


def compared(model: Outcome, real: Outcome) -> Iterator[Row]:
    """The counts that both have."""
    came_to_an_end = {model.state, real.state} <= {*COMPARABLE}
    one_said, other_said = (
        f"{each.state} ({each.reason})" if each.reason else each.state for each in (model, real)
    )
    yield Row("pre-copy", one_said, other_said, came_to_an_end and model.state == real.state)
    for what, column in (("maps a packet", "iommu_maps"), ("unmaps a packet", "iommu_unmaps")):
        one, other = (_per_packet(each, each.measures.get(column)) for each in (model, real))
        yield _close(what, one, other, MAPS_TOLERANCE, FEW_MAPS)
    one, other = (_per_packet(each, _steady(each).get("dirty_pages_dma")) for each in (model, real))
    yield _close("pages written by the device a packet", one, other, PAGES_TOLERANCE, 0.0)
    if model.state != "ok" or real.state != "ok":
        return
    for name in (kind.measure for kind in KINDS):
        seen = [_count(each.measures.get(name)) for each in (model, real)]
        yield Row(name, str(seen[0]), str(seen[1]), (seen[0] > 0) == (seen[1] > 0))


def describe(check: Check) -> list[str]:
    """Lines for people: what agrees in one, what differs in a line each."""
    same = ", ".join(f"{row.what} {row.model}/{row.real}" for row in check.rows if row.agrees)
    head = f"{check.variant.strategy}, {check.variant.name}: {'agree' if check.agrees else 'DIFFER'}"
    differing = [
        f"  differs: {row.what}: model {row.model}, real {row.real}" for row in check.rows if not row.agrees
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
