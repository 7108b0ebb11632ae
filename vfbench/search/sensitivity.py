"""Which costs turn a verdict: each cost of the profile at the ends of its range, one at a time.

A profile gives each figure with the range in which it may lie. The experiments of a result set run again with one
figure at its low end, then at its high end, the rest as stated; what then differs from the run with all figures as
stated is that figure's doing. Three things can turn: the outcome of a claim, the range in which it holds, and the
order of two strategies under the same work.
"""

from __future__ import annotations

import dataclasses
import json
import math
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from vfbench.errors import UserError
from vfbench.experiment import Experiment
from vfbench.profiles import Figure, Profile
from vfbench.records import Record, ResultSet, intervals_frame, read_records, rounds_frame, runs_frame
from vfbench.runner import run_all
from vfbench.search.ranking import Ranking, ranking, turned_pairs
from vfbench.statistics import MEASURED
from vfbench.verdicts import Claim, Verdict, evaluate

if TYPE_CHECKING:
    from vfbench.strategy import Strategy
    from vfbench.workload import Workload

TESTBED = "model"
"""The only one whose costs come from a profile."""

Progress = Callable[[int, Experiment, float, str], None]


@dataclass(frozen=True)
class Variation:
    """The profile with one figure at an end of its range."""

    cost: str
    end: str
    """``low`` or ``high``."""
    figure: Figure

    @property
    def value(self) -> float:
        """What the figure is set to."""
        return self.figure.low if self.end == "low" else self.figure.high

    def of(self, profile: Profile) -> Profile:
        """``profile`` with that figure changed."""
        changed = dataclasses.replace(self.figure, value=self.value)
        return dataclasses.replace(profile, figures={**profile.figures, self.cost: changed})


@dataclass(frozen=True)
class Plan:
    """What is to be run: every experiment once as stated, and once for each variation."""

    experiments: tuple[Experiment, ...]
    profile: Profile
    variations: tuple[Variation, ...]
    claims: tuple[Claim, ...]
    seconds: float
    """Wall time that the records took, times the number of runs."""

    @property
    def runs(self) -> int:
        """How many there will be."""
        return len(self.experiments) * (1 + len(self.variations))


@dataclass(frozen=True)
class Turn:
    """Something that came out differently with a figure at an end of its range."""

    variation: Variation
    kind: str
    """``outcome``, ``range`` or ``order``."""
    subject: str
    """A claim, or a measure."""
    before: str
    after: str


def plan(
    records: Sequence[Record],
    strategies: Mapping[str, type[Strategy]],
    workloads: Mapping[str, type[Workload]],
    claims: Sequence[Claim],
    costs: Sequence[str],
    only_what_they_rest_on: bool,
) -> Plan:
    """The experiments behind ``records``, each with its lowest seed, and the variations of the chosen costs.

    ``costs`` are globs over the profile's figures; none means all. With ``only_what_they_rest_on`` only runs count
    on which a verdict on ``claims`` rests. UserError where nothing is left, and for records of several profiles.
    """
    counted = [record for record in records if record.run["testbed"] == TESTBED]
    if not counted:
        raise UserError(f"no run is of testbed {TESTBED!r}, the only one whose costs come from a profile")
    counted = [record for record in counted if record.run["state"] in MEASURED]
    if not counted:
        raise UserError(
            "no run was measured (all failed, timed out or were skipped): there is nothing to vary"
        )
    digests = {str(record.run["profile_digest"]) for record in counted}
    if len(digests) > 1:
        raise UserError(f"the runs have {len(digests)} profiles: name a result set that has one")
    if only_what_they_rest_on:
        verdicts = judged_by(counted, claims)
        needed = {name for verdict in verdicts for name in verdict.runs}
        counted = [record for record in counted if record.run["experiment"] in needed]
        if not counted:
            missing = "; ".join(f"{verdict.claim}: {verdict.text}" for verdict in verdicts)
            raise UserError(f"the runs settle none of these claims, so nothing can turn ({missing})")
    first = _first_seeds(counted)
    experiments = [
        Experiment.from_json(record.manifest["experiment"], strategies, workloads) for record in first
    ]
    profile = _profile_of(first[0])
    variations = tuple(variations_of(profile, costs))
    seconds = sum(float(record.manifest["wall_s"]) for record in first) * (1 + len(variations))
    return Plan(tuple(experiments), profile, variations, tuple(claims), seconds)


def sensitivity(plan: Plan, progress: Progress) -> list[Turn]:
    """Run the plan; the turns in the order of the variations."""
    verdicts, order = _evaluated(plan, plan.profile, starting_at(progress, 0))
    turns = []
    for number, variation in enumerate(plan.variations):
        begun = (1 + number) * len(plan.experiments)
        now, order_now = _evaluated(plan, variation.of(plan.profile), starting_at(progress, begun))
        turns += [
            *_turnedjudged_by(variation, verdicts, now),
            *(Turn(variation, "order", *pair) for pair in turned_pairs(order, order_now)),
        ]
    return turns


def evaluated_claims(plan: Plan, profile: Profile, progress: Progress) -> list[Verdict]:
    """The plan's claims, judged by its experiments at the costs of ``profile``; nothing else is kept."""
    return _evaluated(plan, profile, progress)[0]


def _evaluated(plan: Plan, profile: Profile, progress: Progress) -> tuple[list[Verdict], Ranking]:
    with tempfile.TemporaryDirectory(prefix="vfbench-sensitivity-") as folder:
        for _ in run_all(plan.experiments, profile, ResultSet(Path(folder) / "runs"), progress):
            pass
        records = read_records(folder)
    return judged_by(records, plan.claims), ranking(runs_frame(records))


def judged_by(records: Sequence[Record], claims: Sequence[Claim]) -> list[Verdict]:
    """What the records say of the claims."""
    return evaluate(runs_frame(records), rounds_frame(records), intervals_frame(records), claims)


def _turnedjudged_by(
    variation: Variation, before: Sequence[Verdict], after: Sequence[Verdict]
) -> Iterator[Turn]:
    for old, new in zip(before, after, strict=True):
        if old.outcome != new.outcome:
            yield Turn(variation, "outcome", old.claim, old.outcome, new.outcome)
        elif old.holds_where != new.holds_where or old.cells != new.cells:
            yield Turn(variation, "range", old.claim, range_in_words(old), range_in_words(new))


def range_in_words(verdict: Verdict) -> str:
    """How many of its cells hold, and where."""
    cells = verdict.cells
    return (
        f"holds in {cells['holds']} of {cells['holds'] + cells['fails']} cells, {verdict.holds_where}".rstrip(
            ", "
        )
    )


def _first_seeds(records: Sequence[Record]) -> list[Record]:
    found: dict[str, Record] = {}
    for record in sorted(records, key=lambda record: int(record.run["seed"] or 0)):
        document = {key: value for key, value in record.identity.items() if key != "seed"}
        found.setdefault(json.dumps(document, sort_keys=True), record)
    return list(found.values())


def _profile_of(record: Record) -> Profile:
    """The profile as the record holds it: the file may have changed since."""
    return Profile.from_json(record.manifest["profile"]["figures"])


def variations_of(profile: Profile, globs: Sequence[str]) -> Iterator[Variation]:
    """Each end of each cost that ``globs`` name (none: all), where it is not the figure itself."""
    chosen = [name for name in profile.figures if not globs or any(fnmatchcase(name, each) for each in globs)]
    if not chosen:
        raise UserError(
            f"--costs: no cost of profile {profile.name!r} matches {', '.join(globs)}; there are: "
            + ", ".join(profile.figures)
        )
    for name in chosen:
        figure = profile.figures[name]
        for end, value in (("low", figure.low), ("high", figure.high)):
            if not math.isclose(value, figure.value):
                yield Variation(name, end, figure)


def starting_at(progress: Progress, begun: int) -> Progress:
    """The same progress with ``begun`` runs before it."""
    return lambda number, experiment, fraction, phase: progress(begun + number, experiment, fraction, phase)


def turning_costs(turns: Iterable[Turn]) -> dict[str, list[Turn]]:
    """The turns by cost, in order."""
    found: dict[str, list[Turn]] = {}
    for turn in turns:
        found.setdefault(turn.variation.cost, []).append(turn)
    return found
