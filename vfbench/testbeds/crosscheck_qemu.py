"""The model against the real driver: the same experiments on the model and on a stock ixgbevf or virtio-net.

Compared are counts, which do not depend on how fast the guest is: maps and unmaps a packet, pages that the device wrote
for each packet that landed, the classes of damage and of stale pages, and whether the pre-copy converged. The
experiments stand in a file (``sweeps/crosscheck-qemu.toml``), at a rate that an emulated guest takes, so that no clock
is slowed down.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from vfbench.errors import UserError
from vfbench.options import Options, experiments
from vfbench.records.damage import KINDS
from vfbench.settings import Qemu
from vfbench.testbeds.crosscheck import COMPARABLE
from vfbench.testbeds.qemu import adapted
from vfbench.untrusted import read_toml, shown

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.records import Outcome
    from vfbench.strategy import Strategy
    from vfbench.workload import Workload

MAPS_TOLERANCE, PAGES_TOLERANCE = 0.05, 0.10
FEW_MAPS = 0.05
"""Where less than 5 in 100 packets are mapped, the difference may be as much."""
_UNMAPS = "unmaps a packet"
_PAGES = "pages written by the device a packet"


class Common(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What all experiments have."""

    workload: str
    set: dict[str, str]


class Variant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An experiment: its settings on both sides, and those that only the real one has."""

    name: str
    strategy: str
    set: dict[str, str] = {}
    real: Qemu = Qemu()
    lacking: dict[str, str] = {}
    """Counts in which the two are known to differ, each with what the model lacks."""


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file of experiments."""

    common: Common
    experiment: tuple[Variant, ...]


def read_variants(path: Path) -> Document:
    """The experiments of a TOML file; UserError for one that is not as it should be."""
    document = read_toml(path, shown(path), "name a file of experiments")
    try:
        return msgspec.convert(document, Document)
    except msgspec.ValidationError as error:
        raise UserError(f"{shown(path)}: {error}") from None


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
    document: Document,
    strategies: Mapping[str, type[Strategy]],
    workloads: Mapping[str, type[Workload]],
    only: Sequence[str] = (),
) -> list[tuple[Variant, Experiment]]:
    """Every variant, or those whose strategy, or part of whose name, is in ``only``."""
    plan = []
    for variant in document.experiment:
        if only and not any(word in variant.name or word == variant.strategy for word in only):
            continue
        settings = [f"{name}={value}" for name, value in {**document.common.set, **variant.set}.items()]
        found = experiments(
            Options([variant.strategy], document.common.workload, settings), strategies, workloads
        )
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
