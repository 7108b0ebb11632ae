"""Writes README's table of claims from a result set: `python docs/claims_table.py [RESULTS]`.

What turns a verdict comes from what `bench claims RESULTS --sensitivity` stored, if it has been run. A test holds the
table to `results/reference`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from vfbench.files import write_file
from vfbench.records import intervals_frame, read_records, rounds_frame, runs_frame
from vfbench.report.verdicts import WORDS
from vfbench.search.claim_turns import Store, with_turns
from vfbench.verdicts import CLAIMS, Verdict, evaluate

README = Path(__file__).parents[1] / "README.md"
REFERENCE = Path("results") / "reference"
TABLE = re.compile(r"(?<=^\| --- \| --- \|\n)(?:\| C\d+ .*\n)+", re.MULTILINE)


def table(verdicts: list[Verdict]) -> str:
    """The rows, a claim each; of several profiles the one that settles it, the first if several do."""
    return "".join(f"{_row(claim.id, claim.text, chosen(verdicts, claim.id))}\n" for claim in CLAIMS)


def chosen(verdicts: list[Verdict], claim: str) -> Verdict:
    """The verdict of the first profile that settles a claim: a grid that needs many queues has one of its own."""
    own = [verdict for verdict in verdicts if verdict.claim == claim]
    return min(own, key=lambda verdict: verdict.outcome == "not-enough-data")


def _row(name: str, text: str, verdict: Verdict) -> str:
    outcome = WORDS[verdict.outcome].removeprefix("holds ")
    if verdict.outcome == "not-enough-data":
        return f"| {name} {text.rstrip('.')} | {outcome}: {verdict.text} |"
    decided = verdict.cells["holds"] + verdict.cells["fails"]
    cells = f"{verdict.cells['holds']} of {decided} cells"
    advice = f"{verdict.advice[:1].upper()}{verdict.advice[1:]}"
    return f"| {name} {text.rstrip('.')} | {outcome}: {cells}. {advice}{_turned_by(verdict)} |"


def _turned_by(verdict: Verdict) -> str:
    """The costs, without their figures; nothing where none was varied."""
    if not verdict.varied:
        return ""
    costs = dict.fromkeys(f"`{turn.partition(' ')[0]}`" for turn in verdict.turned_by)
    return f" Turned by {', '.join(costs)}." if costs else " No cost within its range turns it."


def readme(page: str, verdicts: list[Verdict]) -> str:
    """`page` with its table written anew."""
    renewed, count = TABLE.subn(lambda _: table(verdicts), page)
    if count != 1:
        raise ValueError("README.md has no table of claims, or several")
    return renewed


def verdicts_of(results: Path) -> list[Verdict]:
    """Of a result set or a folder of them."""
    records = read_records(results)
    found = evaluate(runs_frame(records), rounds_frame(records), intervals_frame(records))
    return with_turns(found, Store.beside(results))


if __name__ == "__main__":
    found = verdicts_of(Path(sys.argv[1]) if len(sys.argv) > 1 else REFERENCE)
    write_file(README, readme(README.read_text(encoding="utf-8"), found), replace=True)
