"""The advice on a terminal and as JSON."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from vfbench.advice.facts import Facts
from vfbench.advice.possible import Finding, Hindrance
from vfbench.advice.ranking import CRITERIA, UNITS, Measured, Place, turning
from vfbench.advice.ways import Way
from vfbench.profiles import Profile
from vfbench.profiles.machine import CAPABILITIES
from vfbench.units import format_quantity
from vfbench.untrusted import shown

WIDTH: Final = 110
SHOWN: Final = (
    "vf_state",
    "device_dirty_log",
    "vf_state_precopy",
    "p2p",
    "parallel_load",
    "iommu_dirty_bits",
    "nested_translation",
    "vdpa",
    "failover",
    "post_copy",
    "pml",
)
"""The capabilities that decide which way there is, in the order in which people ask."""


@dataclass(frozen=True)
class Advice:
    """Everything that was found, ready to be shown."""

    facts: Facts
    profile: Profile
    found: Mapping[str, Finding]
    ways: Sequence[Way]
    measured: Sequence[Measured]
    places: Sequence[Place]
    weights: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        """One document."""
        return {
            "facts": self.facts.to_json(),
            "profile": self.profile.name,
            "capabilities": [self.found[name].to_json() for name in CAPABILITIES],
            "ways": [each.to_json() for each in self.ways],
            "weights": dict(self.weights),
            "ranking": [place.to_json() for place in self.places],
            "not_sound": {each.way.strategy: each.damaged for each in self.measured if each.damaged},
            "turns": [*turning(self.places, self.weights)],
        }


def lines(advice: Advice) -> Iterator[str]:
    """Facts, what is possible and why the rest is not, the ranking with its figures, and what would turn it."""
    yield from _facts(advice)
    yield from ("", "What host and card can do")
    told: set[Hindrance] = set()
    for name in SHOWN:
        yield from _finding(advice.found[name], told)
    yield from ("", "Strategies")
    for way in advice.ways:
        yield from _way(way)
    if advice.measured:
        yield from _ranking(advice)
    elif not any(way.is_possible for way in advice.ways):
        yield from ("", "None of them can be had as things are.")
        yield from _steps(advice.ways)


def _facts(advice: Advice) -> Iterator[str]:
    yield from _wrapped("Facts: ", _known(advice.facts), "nothing given")
    yield from _wrapped("May be changed: ", advice.facts.may_change, "nothing")
    yield f"Costs: profile {advice.profile.name} ({advice.profile.summary})"


def _known(facts: Facts) -> Iterator[str]:
    """Each fact as `name value`, quantities with their unit."""
    for key, value in facts.to_json().items():
        unit = next((unit for unit in ("bps", "bytes", "pages_per_s", "ns") if key.endswith(f"_{unit}")), "")
        name = key.removesuffix(f"_{unit}").replace("_", " ")
        if key not in ("may_change", "card_text", "options"):
            yield f"{name} {format_quantity(value, unit) if unit else shown(str(value))}"


def _finding(finding: Finding, told: set[Hindrance]) -> Iterator[str]:
    """The answer and its reasons; what an earlier one was told is not told again."""
    words = {True: "yes", False: "no"}
    has = words[finding.has] if isinstance(finding.has, bool) else str(finding.has)
    yield f"  {has:<14}{CAPABILITIES[finding.capability].what}"
    for each in finding.hindrances:
        if each not in told:
            yield from _hindrance(each)
    if told.intersection(finding.hindrances):
        yield from _indented("for what stands above" + (", too" if set(finding.hindrances) - told else ""))
    told.update(finding.hindrances)
    if finding.has and finding.assumed:
        yield from _indented(f"assumed: {'; '.join(finding.assumed)}")


def _hindrance(hindrance: Hindrance) -> Iterator[str]:
    yield from _indented(hindrance.reason)
    if hindrance.remedy:
        yield from _indented(f"do: {hindrance.remedy}")


def _way(way: Way) -> Iterator[str]:
    word = "possible" if way.is_possible else "not as it is" if way.has_remedy else "not possible"
    yield f"  {word:<14}{way.strategy}"
    for each in way.hindrances:
        yield from _hindrance(each)
    if way.changes and way.is_possible:
        yield from _indented(f"takes {'; '.join(way.changes)}")
    if way.unmerged:
        yield from _indented(f"in no Linux or QEMU as it comes: {'; '.join(way.unmerged)}")
    if way.hypothetical:
        yield from _indented(f"hypothetical on this hardware: {', '.join(way.hypothetical)}")


def _ranking(advice: Advice) -> Iterator[str]:
    weights = ", ".join(f"{name} {weight:g}" for name, weight in advice.weights.items())
    yield from ("", f"Ranking, by {weights}")
    titles = "".join(f"{f'{name} {UNITS[name]}':>26}" for name in CRITERIA)
    yield f"  {'':<3}{'strategy':<24}{'score':>7}{titles}"
    for number, place in enumerate(advice.places, 1):
        figures = "".join(f"{place.measured.value(name):>26,.4g}" for name in CRITERIA)
        yield f"  {number:<3}{place.measured.way.strategy:<24}{place.score:>7.2f}{figures}"
    for each in advice.measured:
        if each.damaged:
            yield f"  -  {each.way.strategy}: not ranked, what arrived is not what was sent ({each.damaged})"
    if advice.places:
        yield from _verdict(advice.places[0].measured.way)
        yield from ("", "What would turn it")
    for sentence in turning(advice.places, advice.weights):
        yield from _indented(sentence, 2)
    yield from _steps(advice.ways)


def _verdict(way: Way) -> Iterator[str]:
    """What to use, and what that takes which nobody ships."""
    yield from ("", f"Use {way.strategy}.")
    if way.unmerged or way.hypothetical:
        yield from _indented(f"It takes what does not come with Linux, QEMU or the card: {_taken(way)}.", 0)


def _taken(way: Way) -> str:
    return "; ".join((*way.unmerged, *way.hypothetical))


def _steps(ways: Iterable[Way]) -> Iterator[str]:
    """What could be had too, and what to do for it."""
    for way in ways:
        if way.has_remedy:
            steps = "; ".join(dict.fromkeys(each.remedy for each in way.hindrances))
            yield from _indented(f"{way.strategy} can be had and would be measured too: {steps}", 2)


def _indented(text: str, by: int = 16) -> list[str]:
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=" " * by,
        subsequent_indent=" " * by,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _wrapped(head: str, parts: Iterable[str], nothing: str) -> list[str]:
    return textwrap.wrap(
        head + (", ".join(parts) or nothing), WIDTH, subsequent_indent="  ", break_on_hyphens=False
    )
