"""What changes in a run when one cost lies at an end of its range: of all ends, only those that can change it run.

A run meets some of its profile's costs only. Ends are tried in groups first, all of a group at once: where the run
comes out the same to the last bit, none of them matters to it, and where it does not, each of the group runs by
itself. (Two whose effects cancel to the last bit would be missed.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from vfbench.experiment import Experiment
from vfbench.profiles import Profile
from vfbench.records import INTERVALS, MEASURES, ROUNDS, Outcome, Record
from vfbench.runner import attempt
from vfbench.search.sensitivity import Variation, variations_of
from vfbench.sweeps.specification import read_specification
from vfbench.testbeds import load_testbed

AS_STATED: Final = "as stated"
GROUP: Final = 5
"""Ends tried at once; neighbours in a profile are of one subject, and a run meets most or none of it."""

Run = Callable[[Experiment, Profile], Outcome]


def variation_name(variation: Variation) -> str:
    """`exit_kernel at 4000 cycles (high)`."""
    return f"{variation.cost} at {variation.value:g} {variation.figure.unit} ({variation.end})"


def varied_outcomes(
    experiment: Experiment, profile: Profile, variations: Sequence[Variation], run: Run
) -> dict[str, Outcome]:
    """The run as stated, and by name each end that changes anything of it."""
    stated = run(experiment, profile)
    found = {AS_STATED: stated}
    for group in _groups(variations):
        if len(group) > 1 and _same(run(experiment, _all_of(profile, group)), stated):
            continue
        for variation in group:
            outcome = run(experiment, variation.of(profile))
            if not _same(outcome, stated):
                found[variation_name(variation)] = outcome
    return found


def run_on_model(experiment: Experiment, profile: Profile) -> Outcome:
    """One run; what fails is an outcome."""
    return attempt(load_testbed(experiment.testbed), experiment, profile, lambda *_: None)[0]


def vary_cell(document: Mapping[str, Any], costs: Sequence[str]) -> dict[str, Outcome]:
    """:func:`varied_outcomes` in the process that runs it, from a sweep's specification of the run."""
    experiment, profile = read_specification(dict(document))
    return varied_outcomes(experiment, profile, tuple(variations_of(profile, costs)), run_on_model)


def varied_record(stated: Record, outcome: Outcome) -> Record:
    """The record of a run as another outcome of it would have left it."""
    measures = {column.name: outcome.measures.get(column.name) for column in MEASURES}
    return dataclasses.replace(
        stated,
        run={**stated.run, **measures, "state": outcome.state, "reason": outcome.reason},
        rounds=[{column.name: row.get(column.name) for column in ROUNDS} for row in outcome.rounds],
        intervals=[{column.name: row.get(column.name) for column in INTERVALS} for row in outcome.intervals],
    )


def _groups(variations: Sequence[Variation]) -> Iterator[Sequence[Variation]]:
    """Of one end each, so that no cost is in a group twice."""
    for end in ("low", "high"):
        ends = [variation for variation in variations if variation.end == end]
        for begin in range(0, len(ends), GROUP):
            yield ends[begin : begin + GROUP]


def _all_of(profile: Profile, group: Sequence[Variation]) -> Profile:
    for variation in group:
        profile = variation.of(profile)
    return profile


def _same(one: Outcome, other: Outcome) -> bool:
    return dataclasses.replace(one, wall_s=0.0) == dataclasses.replace(other, wall_s=0.0)
