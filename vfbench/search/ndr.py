"""The highest rate without loss, and the highest with a small share of loss, by binary search.

The first is what RFC 2544 (section 26.1) calls throughput: the fastest rate at which as many frames come out as were
sent. The field also calls it the non-drop rate, NDR, and the second the partial-drop rate, PDR, with its loss ratio
named: both names as in FD.io CSIT. RFC 2544 asks for trials of 60 s; here a trial is as long as it is told to be,
in virtual time, and buffers hide an overload that they can take for that long.

Only frames lost in the steady state count. The migration that ends every run comes after it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vfbench.errors import RunFailed, UserError
from vfbench.experiment import Experiment
from vfbench.options import Options
from vfbench.parameters import parameters_of, unknown
from vfbench.profiles import load_profile
from vfbench.runner import asked_for, outcome_of, refuse_what_cannot_be_honoured
from vfbench.time_limit import DEFAULT_S

if TYPE_CHECKING:
    from vfbench.profiles import Profile
    from vfbench.records import Outcome
    from vfbench.strategy import Strategy
    from vfbench.workload import Workload

RFC_2544_FRAME_BYTES = (64, 128, 256, 512, 1024, 1280, 1518)
"""Section 9.1, Ethernet, FCS included."""
WIRE_OVERHEAD_BYTES = 20
INTERVALS = 10
LOWEST = 10_000
FAST_BPS = 10**12
NEEDED = ("frame", "rate")

LossAt = Callable[[int], float]
"""From an offered rate in bit/s, frame + 20 bytes counted, to the share of frames lost."""


@dataclass(frozen=True)
class Limits:
    """`tolerance`: how close to get, as a share of the rate; `partial_drop`: the PDR's loss ratio.

    `limit_s`: wall time that a trial may take.
    """

    trial_ns: int
    tolerance: float
    partial_drop: float
    limit_s: float = DEFAULT_S


LOADS = (0.1, 0.5, 0.9)
"""Shares of the non-drop rate at which latency is measured: as FD.io CSIT does."""


@dataclass(frozen=True)
class Latency:
    """From the wire to the application in the steady state, at a share of the non-drop rate."""

    load: float
    rate_bps: int
    p50_us: float
    p99_us: float


@dataclass(frozen=True)
class Found:
    """A search's answer; a rate is None where even the lowest that was tried loses too much."""

    strategy: str
    frame_bytes: int
    link_bps: int
    ndr_bps: int | None
    pdr_bps: int | None
    trials: int
    reason: str = ""
    """Why there is no answer, if a run failed."""
    latency: tuple[Latency, ...] = ()
    """At `LOADS` of the non-drop rate; empty where there is none, or times don't count."""

    def mpps(self, rate_bps: int) -> float:
        """Million frames a second."""
        return rate_bps / (8 * (self.frame_bytes + WIRE_OVERHEAD_BYTES)) / 1e6


def planned(
    options: Options,
    frames: Sequence[str],
    limits: Limits,
    strategies: Mapping[str, type[Strategy]],
    workloads: Mapping[str, type[Workload]],
) -> list[Experiment]:
    """An experiment for each frame size and strategy, ready to search; UserError for what won't do."""
    if options.workload not in workloads:
        raise unknown("no workload is called", options.workload, workloads)
    _refuse_without_rate(options.workload, workloads)
    owned = {setting.partition("=")[0] for setting in options.settings}
    for name in NEEDED:
        if f"{options.workload}.{name}" in owned:
            raise UserError(
                f"{options.workload}.{name} is what the search varies; leave it out (--frame names sizes)"
            )
    sized = [
        dataclasses.replace(options, settings=(*options.settings, f"{options.workload}.frame={frame}"))
        for frame in frames or [f"{size_bytes}B" for size_bytes in RFC_2544_FRAME_BYTES]
    ]
    found = [
        steady_only(experiment, limits.trial_ns)
        for each in sized
        for experiment in asked_for(each, strategies, workloads)
    ]
    refuse_what_cannot_be_honoured(found, load_profile(options.profile))
    return found


def highest_rate(
    loss_at: LossAt, link_bps: int, tolerance: float, allowed: float, known: Mapping[int, float]
) -> int | None:
    """The highest rate that loses no more than `allowed`, too low by `tolerance` of itself at most.

    `known` are the losses at rates tried so far, which narrow the range. None if even the link's rate divided by
    `LOWEST` loses more. Taken for granted: whoever loses frames at a rate loses frames at any higher one.
    """
    if loss_at(link_bps) <= allowed:
        return link_bps
    high = min(rate for rate, loss in known.items() if loss > allowed)
    low = max((rate for rate, loss in known.items() if loss <= allowed), default=0)
    while high - low > max(1, tolerance * low) and high > link_bps // LOWEST:
        middle = (low + high) // 2
        low, high = (middle, high) if loss_at(middle) <= allowed else (low, middle)
    return low or None


def search(experiment: Experiment, profile: Profile, limits: Limits) -> Found:
    """Both rates of a planned experiment."""
    losses: dict[int, float] = {}

    def trial_at(rate_bps: int) -> Outcome:
        offered = dataclasses.replace(experiment.workload, rate_bps=rate_bps)
        trial = dataclasses.replace(experiment, workload=offered)
        return outcome_of(trial, profile, limits.limit_s)

    def loss_at(rate_bps: int) -> float:
        if rate_bps not in losses:
            losses[rate_bps] = steady_loss(trial_at(rate_bps))
        return losses[rate_bps]

    link_bps = experiment.link.rate_bps
    frame_bytes: int = getattr(experiment.workload, "frame_bytes")  # noqa: B009 - not every workload has one
    ndr_bps = pdr_bps = None
    reason = ""
    latency: tuple[Latency, ...] = ()
    try:
        ndr_bps = highest_rate(loss_at, link_bps, limits.tolerance, 0.0, losses)
        pdr_bps = highest_rate(loss_at, link_bps, limits.tolerance, limits.partial_drop, losses)
        if ndr_bps is not None:
            latency = tuple(latency_at(trial_at, ndr_bps))
    except RunFailed as failure:
        reason = str(failure)
    name = experiment.strategy.name
    return Found(name, frame_bytes, link_bps, ndr_bps, pdr_bps, len(losses), reason, latency)


def latency_at(trial_at: Callable[[int], Outcome], ndr_bps: int) -> Iterable[Latency]:
    """At each of LOADS; nothing of a run whose times don't count."""
    for load in LOADS:
        rate_bps = max(1, round(load * ndr_bps))
        row = trial_at(rate_bps).measures
        p50, p99 = row.get("latency_p50_us"), row.get("latency_p99_us")
        if isinstance(p50, float) and isinstance(p99, float) and not row.get("functional"):
            yield Latency(load, rate_bps, p50, p99)


def steady_only(experiment: Experiment, trial_ns: int) -> Experiment:
    """`experiment` with a steady state of a trial's length, and a migration that is over at once."""
    phases = dataclasses.replace(
        experiment.phases, steady_ns=trial_ns, packets=0, after_ns=0, interval_ns=trial_ns // INTERVALS
    )
    migration = dataclasses.replace(experiment.migration, bandwidth_bps=FAST_BPS, line_rate_bps=FAST_BPS)
    return dataclasses.replace(experiment, phases=phases, migration=migration)


def steady_loss(outcome: Outcome) -> float:
    """The share of the frames offered in the steady state that was found lost in it.

    By number: a further interval begins the moment that the steady state ends, and holds the migration's losses.
    """
    rows: list[dict[str, Any]] = outcome.intervals[:INTERVALS]
    offered = sum(row["packets_offered"] for row in rows)
    if offered == 0:
        raise RunFailed("no frame was offered in the steady state; make the trial longer")
    return sum(row["packets_lost"] for row in rows) / float(offered)


def _refuse_without_rate(name: str, workloads: Mapping[str, type[Workload]]) -> None:
    able = [
        each
        for each, workload in workloads.items()
        if set(NEEDED) <= {known.name for known in parameters_of(workload)}
    ]
    if name not in able:
        raise UserError(
            f"workload {name!r} has no frame size and rate to search over; these have: {', '.join(able)}"
        )
