"""The verdicts as rows of a page: the claim, a word and a mark for its outcome, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from vfbench.records import Record, intervals_frame, rounds_frame, runs_frame
from vfbench.report.verdicts import WORDS
from vfbench.verdicts import CLAIMS, OUTCOMES, evaluate

MARKS = {"holds": "\u2713", "fails": "\u2717", "holds-within": "\u25d0", "not-enough-data": "?"}
"""Check mark, ballot x, half circle: told apart by their shape."""


@dataclass(frozen=True)
class VerdictRow:
    """Texts; `runs` are digests of experiments."""

    claim: str
    claimed: str
    source: str
    outcome: str
    mark: str
    testbed: str
    profile: str
    sentence: str
    runs: tuple[str, ...]
    command: str


def verdict_rows(records: Sequence[Record]) -> list[VerdictRow]:
    """A row for each claim, testbed and profile."""
    claims = {claim.id: claim for claim in CLAIMS}
    verdicts = evaluate(runs_frame(records), rounds_frame(records), intervals_frame(records))
    return [
        VerdictRow(
            each.claim,
            claims[each.claim].text,
            claims[each.claim].source,
            WORDS[each.outcome],
            MARKS[each.outcome],
            each.testbed,
            each.profile,
            each.text,
            each.runs,
            each.command,
        )
        for each in verdicts
    ]


def tally(rows: Sequence[VerdictRow]) -> str:
    """`4 hold, 3 fail` and so on over the first testbed's claims; empty where nothing could be judged."""
    if not rows:
        return ""
    first = [row for row in rows if (row.testbed, row.profile) == (rows[0].testbed, rows[0].profile)]
    counts = Counter(row.outcome for row in first)
    if counts[WORDS["not-enough-data"]] == len(first):
        return ""
    said = [f"{WORDS[outcome]}: {counts[WORDS[outcome]]}" for outcome in OUTCOMES if counts[WORDS[outcome]]]
    return f"Of {len(first)} claims of the argument, on testbed {first[0].testbed}: {', '.join(said)}."
