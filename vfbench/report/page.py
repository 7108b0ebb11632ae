"""The report: one page for a reader in a hurry, and the same in Markdown for a pull request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vfbench.errors import UserError
from vfbench.records import Record, intervals_frame, rounds_frame, runs_frame
from vfbench.records.damage import damage
from vfbench.report.against_baseline import Comparison, choose_baseline, compared
from vfbench.report.answer import Answer, answer, answer_of
from vfbench.report.decision import decision_map
from vfbench.report.families import Family, frame_size_families
from vfbench.report.heading import heading
from vfbench.report.ndr_section import COLUMNS as NDR_COLUMNS
from vfbench.report.ndr_section import NdrRow
from vfbench.report.overall import overall
from vfbench.report.provenance import SURE, commands, environments, profiles, seeds
from vfbench.report.ranking import Ranked, ranking
from vfbench.report.scenarios import Scenario, in_rounds, main_scenarios, scenarios
from vfbench.report.verdict_rows import tally, verdict_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = ("html", "md")
MOST_DETAILED = 40
"""Scenarios beyond these are counted, not shown: a page with hundreds of tables answers nothing."""

MOST_FAMILIES = 4


@dataclass(frozen=True)
class Picture:
    """A figure in the page, with the sentence above it; `absent` says why there is none."""

    title: str
    reading: str
    svg: str = ""
    absent: str = ""


@dataclass(frozen=True)
class Section:
    """A scenario with its answer and its table; main ones have pictures."""

    scenario: Scenario
    heading: tuple[str, ...]
    answer: Answer
    comparison: Comparison
    columns: tuple[str, ...]
    ranking: tuple[Ranked, ...]
    pareto: Picture | None = None
    pictures: tuple[Picture, ...] = field(default=())
    integrity: Picture | None = None


def render(
    records: Sequence[Record],
    format_: str,
    baseline: str | None = None,
    validation: str = "",
    ndr: Sequence[NdrRow] = (),
) -> str:
    """The page as text. UserError for an unknown baseline, or no runs. `validation`: where to link to."""
    chosen = choose_baseline(records, baseline)
    found = scenarios(records)
    main = main_scenarios(found)
    with_pictures = format_ == "html"
    others = [each for each in found if each not in main]
    verdicts = verdict_rows(records)
    context = {
        "baseline": chosen,
        "verdict": damage(record.run for record in records),
        "answer": answer_of(records),
        "map": decision_map(found),
        "overall": overall(found),
        "main": [_section(each, chosen, found if with_pictures else ()) for each in main],
        "sizes": _sizes(records) if with_pictures else [],
        "others": [_section(each, chosen) for each in others[:MOST_DETAILED]],
        "left_out": max(0, len(others) - MOST_DETAILED),
        "verdicts": verdicts,
        "tally": tally(verdicts),
        "validation": validation,
        "ndr": ndr,
        "ndr_columns": NDR_COLUMNS,
        "environments": environments(records),
        "profiles": profiles(records),
        "sure": SURE,
        "seeds": seeds(records),
        "commands": commands(records),
        "runs": len(records),
        "failures": [record for record in records if record.run["state"] not in ("ok",)],
    }
    return _template(format_).render(context)


def _section(scenario: Scenario, baseline: str, found: Sequence[Scenario] = ()) -> Section:
    """With pictures if all scenarios are given: not every figure has something to show of this one."""
    comparison = compared(scenario, baseline)
    lines = tuple(heading(scenario.groups))
    columns, rows = ranking(scenario.groups)
    if not found:
        return Section(scenario, lines, answer(scenario), comparison, columns, rows)
    return Section(
        scenario,
        lines,
        answer(scenario),
        comparison,
        columns,
        rows,
        _pareto(scenario.typical),
        tuple(_pictures(scenario.typical, in_rounds(scenario, found))),
        _integrity(scenario.typical),
    )


def _pictures(scenario: Scenario, rounds_of: Scenario) -> Iterable[Picture]:
    from vfbench.report import figures

    runs, intervals = runs_frame(scenario.records), intervals_frame(scenario.records)
    reading = "What each round of the pre-copy found dirty, and what it cost."
    if rounds_of.title != scenario.title:
        reading += (
            f" No pre-copy of the scenario above ran in rounds; this is another one: {rounds_of.title}."
        )
        rounds_of = rounds_of.plainest
    yield _picture(
        "Dirty pages and what was sent again",
        reading,
        rounds_of,
        lambda: figures.pre_copy_rounds(rounds_frame(rounds_of.records)),
    )
    if scenario.functional:
        absent = (
            "Guest code was emulated: times and throughput don't count, so there is nothing to see of them."
        )
        yield Picture("The migration over time, latency, processor time", "", absent=absent)
        return
    timed: list[tuple[str, str, Callable[[], Figure]]] = [
        (
            "The migration over time",
            "A dip while memory is copied is the price of the strategy; the gap is the blackout.",
            lambda: figures.migration_timeline(intervals),
        ),
        (
            "The downtime, part by part",
            "Which part to shorten; the mark is the gap that the peer sees.",
            lambda: figures.downtime_parts(runs),
        ),
        (
            "Latency",
            "From the wire to the application; lower is better.",
            lambda: figures.latency_percentiles(runs),
        ),
        (
            "Processor time per packet",
            "Who pays for it, the guest or the host, and when.",
            lambda: figures.cycles_per_packet(runs),
        ),
    ]
    for title, reading, draw in timed:
        yield _picture(title, reading, scenario, draw)


def _pareto(scenario: Scenario) -> Picture | None:
    """None where times don't count: the ranking stands alone then."""
    from vfbench.report import figures

    if scenario.functional:
        return None
    return _picture(
        "Blackout against steady cost",
        "Nearer to the corner is better; crossed out is damaged.",
        scenario,
        lambda: figures.pareto(runs_frame(scenario.records)),
    )


def _integrity(scenario: Scenario) -> Picture:
    from vfbench.report import figures

    return _picture(
        "What arrived wrong",
        "Anything but zero is damage.",
        scenario,
        lambda: figures.integrity(runs_frame(scenario.records)),
    )


def _sizes(records: Sequence[Record]) -> list[Picture]:
    """Throughput against frame size, for each set of runs that differ in their frame size and strategy only."""
    from vfbench.report import figures

    return [
        _picture(
            "Throughput against frame size",
            f"Workload {family.title}, testbed {family.scenarios[0].testbed}.",
            family.scenarios[0],
            lambda family=family: figures.throughput_by_frame_size(runs_frame(family.typical)),  # type: ignore[misc]
        )
        for family in _drawn_families(records)
    ]


def _drawn_families(records: Sequence[Record]) -> list[Family]:
    """Those with most runs; a throughput that doesn't count is not drawn."""
    counting = [family for family in frame_size_families(records) if not family.scenarios[0].functional]
    return counting[:MOST_FAMILIES]


def _picture(title: str, reading: str, scenario: Scenario, draw: Callable[[], Figure]) -> Picture:
    from vfbench.report import figures

    try:
        name = f"{title} {reading} {scenario.title}".lower()
        name = "".join(letter if letter.isalnum() else "-" for letter in name)
        return Picture(title, reading, figures.to_svg(draw(), name, f"{title}, {scenario.title}"))
    except UserError as error:
        return Picture(title, reading, absent=f"No picture: {error}.")


def _as_markdown(value: Any) -> Any:
    """No HTML out of names and reasons: Markdown would pass it through. What is escaped already stays as it is."""
    return value.replace("<", "&lt;") if isinstance(value, str) else value


def _template(format_: str) -> Any:
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("vfbench.report"),
        autoescape=select_autoescape(["html.j2"]),
        undefined=StrictUndefined,
        finalize=_as_markdown if format_ == "md" else None,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(f"report.{format_}.j2")
