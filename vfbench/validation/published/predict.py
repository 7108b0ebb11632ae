"""Predictions for the published results: each entry's runs on the model, and the figure taken from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from vfbench.errors import RunFailed
from vfbench.options import Options, command_line, experiments
from vfbench.profiles import load_profile
from vfbench.runner import outcome_of
from vfbench.time_limit import DEFAULT_S
from vfbench.validation.published.entries import Published, Run

if TYPE_CHECKING:
    from vfbench.experiment import Experiment
    from vfbench.strategy import Strategy
    from vfbench.workload import Workload

SHORT: Final = ("phases.after=1ms", "phases.steady=20ms", "migration.downtime-limit=2s")
"""Only the steady state is measured."""

Measures = Callable[["Experiment"], Mapping[str, object]]
"""Runs an experiment and gives its measures."""


@dataclass(frozen=True)
class Prediction:
    """An entry, what the suite predicts (None where it is pending or a run failed), and the relative error."""

    published: Published
    predicted: float | None
    error: float | None
    failure: str = ""


def measures_on_model(experiment: Experiment, limit_s: float = DEFAULT_S) -> Mapping[str, object]:
    """Run on the model under the experiment's profile; RunFailed for a run that broke, or took too long."""
    return outcome_of(experiment, load_profile(experiment.profile), limit_s).measures


def predictions(
    entries: tuple[Published, ...],
    strategies: Mapping[str, type[Strategy]],
    workloads: Mapping[str, type[Workload]],
    measures: Measures = measures_on_model,
) -> Iterator[Prediction]:
    """One prediction for each entry, as soon as its runs are done; a run that fails fails its entry alone."""

    def found(entry: Published, run: Run) -> float:
        return float(str(measures(experiment_of(run, strategies, workloads))[entry.measure]))

    for entry in entries:
        try:
            predicted = _taken(entry, [found(entry, run) for run in entry.runs])
        except RunFailed as failure:
            yield Prediction(entry, None, None, str(failure))
            continue
        yield Prediction(entry, predicted, None if predicted is None else entry.error(predicted))


def experiment_of(
    run: Run, strategies: Mapping[str, type[Strategy]], workloads: Mapping[str, type[Workload]]
) -> Experiment:
    """The experiment that `bench run` would make of it, cut short after its steady state."""
    stated = {setting.partition("=")[0] for setting in run.settings}
    short = [each for each in SHORT if each.partition("=")[0] not in stated]
    (experiment,) = experiments(
        Options((run.strategy,), run.workload, (*run.settings, *short), profile=run.profile),
        strategies,
        workloads,
    )
    return experiment


def commands_of(
    entries: tuple[Published, ...],
    strategies: Mapping[str, type[Strategy]],
    workloads: Mapping[str, type[Workload]],
) -> Iterator[str]:
    """Each entry's name and the commands that repeat its runs."""
    for entry in entries:
        yield entry.name
        for run in entry.runs:
            yield f"    {command_line(experiment_of(run, strategies, workloads))}"
        if entry.charged is not None:
            added = " + ".join((*entry.charged.costs, *entry.charged.queued))
            yield f"    no run: {added} of the profile {entry.charged.profile}"
        elif not entry.runs:
            yield f"    not modelled yet: {entry.needs}"


def _taken(entry: Published, found: list[float]) -> float | None:
    match entry.take:
        case "value":
            return entry.times * found[0]
        case "ratio":
            return entry.times * found[0] / found[1]
        case "loss":
            return 1 - found[0] / found[1]
        case "share":
            return entry.times * (found[0] - found[1]) / (found[2] - found[1])
        case "difference":
            return entry.times * (found[0] - found[1])
        case "longer":
            return entry.times * (1 / found[0] - 1 / found[1])
        case "costs":
            return entry.times * _charged_ns(entry)
        case "pending":
            return None


def _charged_ns(entry: Published) -> float:
    if entry.charged is None:
        raise ValueError(f"{entry.name}: no costs to add up")
    charged = entry.charged
    profile = load_profile(charged.profile)
    waits_ns = sum(profile.value(cost) * 8e9 / charged.line_bps for cost in charged.queued)
    return waits_ns + sum(profile.picoseconds(cost) for cost in charged.costs) / 1000
