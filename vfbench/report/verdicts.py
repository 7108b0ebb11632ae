"""The verdicts on the terminal, and as one JSON document."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Sequence

from vfbench.records import SCHEMA_VERSION
from vfbench.verdicts import CLAIMS, Verdict

WIDTH = 100
SHOWN_RUNS = 6
SHOWN_TURNS = 4
WORDS = {
    "holds": "holds",
    "fails": "fails",
    "holds-within": "holds within a range",
    "not-enough-data": "not enough data",
}


def verdict_lines(verdicts: Sequence[Verdict], width: int = WIDTH) -> Iterable[str]:
    """Each claim with its verdict, figures and run ids; a heading where the testbed or the profile changes.

    Lines of `width` at most.
    """
    shown = None
    for verdict in verdicts:
        place = (verdict.testbed, verdict.profile)
        if place != shown:
            yield f"Testbed {verdict.testbed}, profile {verdict.profile}"
            yield ""
            shown = place
        yield from _lines(verdict, width)
        yield ""


def verdicts_document(verdicts: Sequence[Verdict]) -> str:
    """`{"schema": ..., "claims": {...}, "verdicts": [...]}`."""
    asked = {verdict.claim for verdict in verdicts}
    claims = {
        claim.id: {"text": claim.text, "source": claim.source, "settled_by": claim.settled_by}
        for claim in CLAIMS
        if claim.id in asked
    }
    found = [verdict.to_json() for verdict in verdicts]
    return json.dumps(
        {"schema": SCHEMA_VERSION, "claims": claims, "verdicts": found}, indent=2, allow_nan=False
    )


def _lines(verdict: Verdict, width: int) -> Iterable[str]:
    claim = next(each for each in CLAIMS if each.id == verdict.claim)
    lead = f"{verdict.claim:<4}"
    yield from textwrap.wrap(claim.text, width, initial_indent=lead, subsequent_indent=" " * 4)
    yield from _indented(f"{WORDS[verdict.outcome].upper()}. {verdict.text}", width)
    if verdict.varied:
        yield from _indented(turns_in_words(verdict), width)
    if verdict.command:
        yield from _indented(f"To get it: {verdict.command}", width)
    if verdict.runs:
        yield from _indented(f"Runs: {_runs(verdict.runs)}", width)


def turns_in_words(verdict: Verdict) -> str:
    """What turns it, of the costs at the ends of their plausible ranges, one at a time."""
    tried = f"{verdict.varied} ends tried on some of its cells"
    if not verdict.turned_by:
        moved = f"; {len(verdict.moved_by)} move its range" if verdict.moved_by else ""
        return f"Turned by no cost within its plausible range ({tried}{moved})."
    shown = "; ".join(verdict.turned_by[:SHOWN_TURNS])
    more = len(verdict.turned_by) - SHOWN_TURNS
    return f"Turned by {shown}{f' and {more} more' if more > 0 else ''} ({tried})."


def _runs(runs: Sequence[str]) -> str:
    if len(runs) <= SHOWN_RUNS:
        return ", ".join(runs)
    return f"{', '.join(runs[:SHOWN_RUNS])} and {len(runs) - SHOWN_RUNS} more (--json lists them)"


def _indented(text: str, width: int) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=" " * 4, subsequent_indent=" " * 4, break_on_hyphens=False
    )
