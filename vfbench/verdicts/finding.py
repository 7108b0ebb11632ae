"""From cell to verdict: how one cell is judged, and what all of them come to."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from vfbench.statistics import ratio
from vfbench.verdicts.evidence import Cell
from vfbench.verdicts.ranges import where_it_turns
from vfbench.verdicts.verdict import Claim, Figure, NotEnough, Verdict

Measures = dict[tuple[str, str], float]
"""Values by name and unit."""


@dataclass(frozen=True)
class Finding:
    """One cell: whether the claim holds in it (None where the spread is too wide to tell)."""

    holds: bool | None
    cells: tuple[Cell, ...]
    """The cell that is judged, then those that it was held against."""
    measures: Measures
    more_axes: dict[str, Any] = field(default_factory=dict)
    """What sets it apart besides the settings, like the phase of the run."""


@dataclass(frozen=True)
class Judgement:
    """All findings of a rule, the axes along which it looks for a turn first, and what else is worth saying."""

    findings: Sequence[Finding]
    axes: Sequence[str] = ()
    remark: str = ""
    never_migrated: int = 0
    """Cells of the claim's subject in which a repeat never completed its migration; they support nothing."""
    subject: int = 0
    """Cells of the claim's subject in the records, those included that say nothing of the claim."""
    besides: str = ""
    """What else the rule found, in a word, where that changes what to do."""


def share_of(value: float, whole: float) -> float:
    """Of nothing there is no share: NaN, which no figure is made of."""
    return value / whole if whole else math.nan


def exceeds(values: Iterable[object], baseline: Iterable[object], factor: float) -> bool | None:
    """Whether the ratio of the medians is over ``factor``; None where its interval is too wide to say."""
    found = ratio(values, baseline)
    if math.isnan(found.ratio):
        return None
    if found.too_wide and found.low <= factor <= found.high:
        return None
    return found.ratio > factor


def conclude(claim: Claim, judgement: Judgement, testbed: str, profile: str) -> Verdict:
    """The verdict that the findings come to. NotEnough where none of them says anything."""
    decided = [finding for finding in judgement.findings if finding.holds is not None]
    if not decided:
        raise NotEnough("the spread of the repeats is too wide to tell in every cell; more repeats may do")
    holding = sum(finding.holds is True for finding in decided)
    outcome = {len(decided): "holds", 0: "fails"}.get(holding, "holds-within")
    unclear = len(judgement.findings) - len(decided)
    turn = where_it_turns([(_axes(each), each.holds is True) for each in decided], judgement.axes)
    figures = tuple(_figures(decided))
    counts = {"holds": holding, "fails": len(decided) - holding, "unclear": unclear}
    advice = claim.advised(outcome, *turn, judgement.besides)
    parts = [
        _in_words(counts, turn),
        _of_the_grid(len({id(finding.cells[0]) for finding in judgement.findings}), judgement.subject),
        _figure_sentence(figures),
        judgement.remark,
        _never(judgement.never_migrated),
        advice and f"So: {advice}",
    ]
    experiments = [name for each in decided for cell in each.cells for name in cell.experiments]
    return Verdict(
        claim=claim.id,
        testbed=testbed,
        profile=profile,
        outcome=outcome,
        text=" ".join(part for part in parts if part),
        figures=figures,
        runs=tuple(dict.fromkeys(experiments)),
        holds_where=turn[0],
        fails_where=turn[1],
        cells=counts,
        subject=judgement.subject,
        advice=advice,
    )


def _axes(finding: Finding) -> dict[str, Any]:
    return {**finding.cells[0].shared, **finding.more_axes}


def _in_words(counts: dict[str, int], turn: tuple[str, str]) -> str:
    decided = counts["holds"] + counts["fails"]
    if counts["fails"] == 0:
        words = f"Holds in {_all(decided)}"
    elif counts["holds"] == 0:
        words = f"Fails in {_all(decided)}"
    else:
        words = f"Holds in {counts['holds']} of {_cells(decided)}: {turn[0]}; fails {turn[1]}"
    if counts["unclear"]:
        words += f" ({_cells(counts['unclear'])} more spread too wide to tell)"
    return words + "."


def _of_the_grid(judged: int, subject: int) -> str:
    """How much of what was run of the claim's subject the verdict rests on."""
    if subject <= judged:
        return ""
    return f"Judged by {judged} of the {_cells(subject)} that were run of its subject; the others can't tell."


def _never(count: int) -> str:
    if not count:
        return ""
    return f"{_cells(count)} more never completed a migration and support{'s' if count == 1 else ''} nothing."


def _all(count: int) -> str:
    return "the 1 cell asked" if count == 1 else f"all {count} cells asked"


def _cells(count: int) -> str:
    return "1 cell" if count == 1 else f"{count} cells"


def _figures(findings: Sequence[Finding]) -> Iterable[Figure]:
    for side, holds in (("holds", True), ("fails", False)):
        found: dict[tuple[str, str], list[float]] = {}
        for finding in findings:
            if finding.holds is holds:
                for key, value in finding.measures.items():
                    found.setdefault(key, []).append(value)
        for (name, unit), values in found.items():
            numbers = [value for value in values if math.isfinite(value)]
            if numbers:
                middle = median(numbers)
                yield Figure(name, unit, side, middle, min(numbers), max(numbers), len(numbers))


def _figure_sentence(figures: Sequence[Figure]) -> str:
    sides = {figure.side for figure in figures}
    sentences = []
    for side in ("holds", "fails"):
        own = [figure_text(figure) for figure in figures if figure.side == side]
        if own:
            lead = f"Where it {side}: " if len(sides) == 2 else "Measured: "
            sentences.append(lead + ", ".join(own) + ".")
    return " ".join(sentences)


def figure_text(figure: Figure) -> str:
    """`Gb/s 9.9 (7.1 to 10)`: the median cell, and the range where there is one."""
    unit = f" {figure.unit}" if figure.unit else ""
    text = f"{figure.name} {short(figure.median)}"
    if short(figure.low) != short(figure.high):
        text += f" ({short(figure.low)} to {short(figure.high)})"
    return text + unit


def short(value: float) -> str:
    """Three significant digits."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    exponent = int(f"{value:.2e}".partition("e")[2])
    text = f"{value:,.{max(0, 2 - exponent)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
