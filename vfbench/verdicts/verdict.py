"""What a claim is, and what a verdict on it says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vfbench.verdicts.evidence import Evidence
    from vfbench.verdicts.finding import Judgement

OUTCOMES = ("holds", "fails", "holds-within", "not-enough-data")
GRIDS: Mapping[str, tuple[str, tuple[str, ...]]] = {"qemu": ("real-driver", ("C1", "C3", "C5"))}
"""By testbed, the grid of its own and the claims that it is for; elsewhere it is that of the argument, for all."""
LONGEST_RANGE = 110
"""Characters; of a range that takes more the advice names a part."""


class NotEnough(Exception):  # noqa: N818 - an outcome, not an error
    """What a rule raises where the records don't settle its claim; the text says what is missing."""


@dataclass(frozen=True)
class Claim:
    """A sentence of the argument, who said it, and the rule that settles it."""

    id: str
    text: str
    source: str
    settled_by: str
    rule: Callable[[Evidence], Judgement]
    """NotEnough where the records don't do."""
    advice: Mapping[str, str] = field(default_factory=dict)
    """What a reader should do, by outcome, or by outcome and what the rule found besides (``holds-within, orderly``);
    ``{holds}`` and ``{fails}`` stand for where the claim does."""

    def command_on(self, testbed: str) -> str:
        """The line that gives the runs which the rule needs; empty where no grid that is shipped has them."""
        grid, claims = GRIDS.get(testbed, ("argument", None))
        if claims is not None and self.id not in claims:
            return ""
        return f"bench sweep sweeps/{grid}.toml --filter '{self.id.lower()}/*'"

    def advised(self, outcome: str, holds_where: str, fails_where: str, besides: str = "") -> str:
        """The sentence for an outcome, with the verdict's own ranges in it; empty where nothing is advised."""
        sentence = self.advice.get(f"{outcome}, {besides}", self.advice.get(outcome, ""))
        return sentence.format(
            holds=_as_told(holds_where, "where it holds"), fails=_as_told(fails_where, "elsewhere")
        )


def _as_told(where: str, instead: str) -> str:
    """A range in words; of one that takes too many, its first part that has no exception."""
    if len(where) <= LONGEST_RANGE:
        return where or instead
    whole = [
        part for part in where.split(", or ") if part.startswith("where ") and len(part) <= LONGEST_RANGE
    ]
    return f"{whole[0]} (among others)" if whole else instead


@dataclass(frozen=True)
class Figure:
    """A measure over the cells on one side of a verdict: the median cell, the lowest and the highest."""

    name: str
    unit: str
    side: str
    """``holds`` or ``fails``: whether these are the cells in which the claim holds."""
    median: float
    low: float
    high: float
    cells: int


@dataclass(frozen=True)
class Verdict:
    """The outcome for one claim on one testbed, with what it rests on."""

    claim: str
    testbed: str
    profile: str
    outcome: str
    """One of ``OUTCOMES``."""
    text: str
    """Some sentences with figures, the last of them the advice; for ``not-enough-data`` what is missing."""
    figures: tuple[Figure, ...] = ()
    runs: tuple[str, ...] = ()
    """Digests of the experiments that it rests on, in the order in which they were run."""
    command: str = ""
    """For ``not-enough-data``: the line that gives what is missing."""
    holds_where: str = ""
    fails_where: str = ""
    cells: dict[str, int] = field(default_factory=dict)
    """Cells by how they were judged: ``holds``, ``fails``, ``unclear``."""
    subject: int = 0
    """Cells of the claim's subject in these records, those included that say nothing of the claim."""
    advice: str = ""
    """What to do, as the outcome and its ranges say."""
    varied: int = 0
    """Ends of plausible ranges of costs at which the verdict was recomputed; 0 if it was not."""
    turned_by: tuple[str, ...] = ()
    """Of those, each that changes the outcome, with what it then is."""
    moved_by: tuple[str, ...] = ()
    """Of those, each that moves only the range in which it holds."""

    def to_json(self) -> dict[str, Any]:
        """Every field, in plain values."""
        figures = [vars(figure) for figure in self.figures]
        lists = {name: list(getattr(self, name)) for name in ("runs", "turned_by", "moved_by")}
        return {**vars(self), "figures": figures, **lists}
