"""The model against the real VM: the same experiments on both, in lockstep on the real one.

In lockstep (``kvm.clock``) the wire waits for the guest and for the migration, so pages found dirty in a round
depend on the packets that came in it and not on how fast, or how busy, the host is.

Compared are what both can know: pages found dirty in each round, which classes of pages are stale at the
stop, which kinds of damage the packets took, and whether the pre-copy converged. Times are not compared. Since the
wire waits while the real guest and its device are stopped, and its clock stands while the hypervisor syncs its log,
the model must be told that both take no time (`as_in_lockstep`): else a frame can fall between the one's stop and the
other's on the model alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from vfbench.needs import needs_of
from vfbench.options import Options, experiments
from vfbench.profiles import load_profile
from vfbench.records.damage import KINDS, PACKETS, STALE
from vfbench.settings import Kvm

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.profiles import Profile
    from vfbench.records import Outcome
    from vfbench.strategy import Strategy
    from vfbench.workload import Workload

TOLERANCE = 0.01
FEW_PAGES = 8
"""A difference of so few pages is no more than where in a packet's life a sync happened to fall."""
PACKET_BITS = 8 * (64 + 20)
AT_ONCE = (
    # the stop, during which the wire waits
    "mailbox_round_trip",
    "device_stop",
    "guest_pause",
    "emulator_stop",
    "emulator_start",
    # the dirty log, whose start and syncs the clock does not see
    "log_start_per_gib",
    "log_split_per_gib",
    "log_clear_call",
    "log_sync_per_gib",
    "log_sync_per_page",
)

_COMMON = {
    # A bounce pool of 64 MiB fits into it, beside packet memory and working set.
    "guest.memory": "96MiB",
    # The real VM's device has one interval, and does not adapt it.
    "device.moderation": "fixed",
    "guest.packet-memory": "16MiB",
    "migration.bandwidth": "200Mbps",
    "migration.downtime-limit": "40ms",
    "phases.steady": "300ms",
    "phases.after": "300ms",
    "small-packets.working-set": "8MiB",
    "small-packets.dirty-rate": "500pages/s",
}
VARIANTS: Mapping[str, Mapping[str, str]] = {
    "slow, recycled": {"small-packets.rate": f"{400 * PACKET_BITS}bps"},
    "faster, recycled, small ring": {
        "small-packets.rate": f"{800 * PACKET_BITS}bps",
        "driver.rx-ring": "128",
    },
    "faster, fresh pages": {
        "small-packets.rate": f"{800 * PACKET_BITS}bps",
        "driver.page-reuse": "none",
        "driver.page-order": "fifo",
    },
    "never converges": {
        "small-packets.rate": f"{800 * PACKET_BITS}bps",
        "small-packets.dirty-rate": "1500pages/s",
        "small-packets.working-set": "32MiB",
        "guest.memory": "128MiB",
        "migration.bandwidth": "60Mbps",
        "migration.downtime-limit": "5ms",
        "migration.max-rounds": "3",
    },
}

COMPARABLE = ("ok", "not-converged")
"""States of runs that came to their end."""

Run = Callable[["Experiment"], "Outcome"]


@dataclass(frozen=True)
class Check:
    """One experiment on both testbeds; `differences` is empty where they agree."""

    variant: str
    strategy: str
    model: Outcome
    kvm: Outcome
    differences: tuple[str, ...]


def planned(
    strategies: Mapping[str, type[Strategy]],
    workloads: Mapping[str, type[Workload]],
    only: Sequence[str] = (),
) -> list[tuple[str, Experiment]]:
    """Every variant under every strategy.

    Or those whose strategy, or part of whose variant's name, is in ``only``.
    """
    return [
        (name, experiment)
        for name, changes in VARIANTS.items()
        for experiment in experiments(
            Options(["all"], "small-packets", [f"{k}={v}" for k, v in {**_COMMON, **changes}.items()]),
            strategies,
            workloads,
        )
        if not only or any(word in name or word == experiment.strategy.name for word in only)
        if not load_profile(experiment.profile).refusals(needs_of(experiment))
    ]


def as_in_lockstep(profile: Profile) -> Profile:
    """The profile of a host on which no frame comes while guest and device are being stopped, or the log is synced."""
    at_once = {
        name: replace(profile.figures[name], value=0.0, low=0.0)
        for name in AT_ONCE
        if name in profile.figures
    }
    return replace(profile, figures={**profile.figures, **at_once})


def crosscheck(plan: list[tuple[str, Experiment]], on_model: Run, on_kvm: Run) -> Iterator[Check]:
    """Run each experiment on both and compare."""
    for variant, experiment in plan:
        in_lockstep = replace(experiment, testbed="kvm", kvm=Kvm(clock="lockstep"))
        model, kvm = on_model(experiment), on_kvm(in_lockstep)
        yield Check(variant, experiment.strategy.name, model, kvm, tuple(differences(model, kvm)))


def dirty_pages(outcome: Outcome) -> list[int]:
    """Pages found dirty at the end of each round."""
    return [_count(row["dirty_pages"]) for row in outcome.rounds]


def differences(model: Outcome, kvm: Outcome) -> Iterator[str]:
    """What the two disagree on, in words; a run that broke agrees with nothing."""
    for name, each in (("model", model), ("kvm", kvm)):
        if each.state not in COMPARABLE:
            yield f"{name} {each.state}: {each.reason}"
    if model.state != kvm.state:
        yield f"state {model.state}, {kvm.state}"
    if len(model.rounds) != len(kvm.rounds):
        yield f"rounds: {len(model.rounds)}, {len(kvm.rounds)}"
    for number, (expected, seen) in enumerate(zip(dirty_pages(model), dirty_pages(kvm), strict=False)):
        if abs(seen - expected) > max(FEW_PAGES, TOLERANCE * expected):
            yield f"dirty pages of round {number}: {expected}, {seen}"
    for name in (kind.measure for kind in KINDS):
        expected, seen = _count(model.measures.get(name)), _count(kvm.measures.get(name))
        if (expected > 0) != (seen > 0):
            yield f"{name}: {expected}, {seen}"


def _count(value: object) -> int:
    return int(value) if isinstance(value, int) else 0


def describe(check: Check) -> list[str]:
    """Lines for people: what each testbed saw, and whether they agree."""
    verdict = "agree" if not check.differences else "DIFFER: " + "; ".join(check.differences)
    lines = [f"{check.strategy}, {check.variant}: {verdict}"]
    for name, outcome in (("model", check.model), ("kvm", check.kvm)):
        rounds = " ".join(str(pages) for pages in dirty_pages(outcome))
        stale = "/".join(str(_count(outcome.measures.get(each.measure))) for each in STALE)
        packets = "/".join(str(_count(outcome.measures.get(each.measure))) for each in PACKETS)
        lines.append(
            f"  {name:5}  {outcome.state}, dirty pages by round {rounds or '-'}, "
            f"stale payload/descriptor/other {stale}, corrupted/phantom/twice/sent {packets}"
        )
    return lines
