"""Writes published.md from what `bench validate published` stored: `python docs/published_table.py [FILE]`.

README.md and reading.md say how many rows meet their goal; these counts are written too. A test sees to it that every
row of results.toml is on the page with its published figure; what was predicted is of the day that the page names.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from vfbench.files import write_file
from vfbench.validation.published.entries import Published, published_results
from vfbench.validation.tables import Row, ValidationTable, format_error, format_value, load

PAGE = Path(__file__).with_name("published.md")
STORED = Path("results") / "validation" / "published.json"
HEAD = """# Published results, predicted

Each row is a result of others, predicted by the suite and held to one goal, 25 %, that stands before the run. No cost
is set by a result, no row is removed, and what explains a miss excuses none. :red_circle: missed, :white_circle: missed
because its mechanism is not modelled yet, :green_circle: met,
:black_circle: not run for this page. `bench validate published` runs them,
`bench validate published --commands` prints the runs, `vfbench/validation/published/results.toml` has every source.

"""


def page(table: ValidationTable, entries: tuple[Published, ...]) -> str:
    """The whole page; a row that was not run that day is shown without a prediction."""
    rows = {row.case: row for row in table.rows}
    lines = [
        "| | result | published | predicted | error | sure | in words, and what is lacking |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_line(entry, rows.get(entry.name)) for entry in entries]
    summary = (
        "Nothing was run for this page: `bench validate published && python docs/published_table.py` does."
    )
    if table.rows:
        summary = f"Run on {table.circumstances.get('date', '')}: {table.summary()} {_first(table)}".strip()
    return HEAD + "\n".join(lines) + f"\n\n{summary}\n"


def _first(table: ValidationTable) -> str:
    """The median error, which stands first below the table."""
    text = next((each for each in table.left_out if each.startswith("the median error")), "")
    return text[:1].upper() + text[1:]


def _line(entry: Published, row: Row | None) -> str:
    mark = _mark(entry, row)
    predicted = "-" if row is None else format_value(row.predicted)
    error = "-" if row is None else format_error(row)
    lacking = f"; not modelled yet: {entry.needs}" if entry.needs else ""
    if mark == ":red_circle:" and entry.explains:
        lacking = f"; there: {entry.explains}"
    words = f"{entry.what}{lacking}".replace("|", "\\|")
    figures = f"{entry.published} {entry.unit} | {predicted} | {error} | {entry.sure}"
    return f"| {mark} | `{entry.name}` | {figures} | {words} |"


def _mark(entry: Published, row: Row | None) -> str:
    if entry.take == "pending":
        return ":white_circle:"
    if row is None:
        return ":black_circle:"
    return ":green_circle:" if row.met else ":red_circle:"


def counted(text: str, table: ValidationTable, entries: tuple[Published, ...]) -> str:
    """``text`` with its counts of rows as they are now, wherever it has them."""
    met, of = sum(row.met is True for row in table.rows), len(entries)
    waiting = sum(entry.take == "pending" for entry in entries)
    text = re.sub(r"of \d+ published results \d+ come out", f"of {of} published results {met} come out", text)
    text = re.sub(r"\d+ results of others", f"{of} results of others", text)
    outcome = f"{met} within it, {of - met - waiting} missed, and {waiting} that wait"
    return re.sub(r"\d+ within it, \d+ missed, and \d+ that wait", outcome, text)


if __name__ == "__main__":
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else STORED
    stored = (
        load(path) if path.exists() else ValidationTable("published", "Published results", "published", ())
    )
    write_file(PAGE, page(stored, published_results()), replace=True)
    for told in (PAGE.parents[1] / "README.md", PAGE.with_name("reading.md")):
        text = told.read_text(encoding="utf-8")
        write_file(told, counted(text, stored, published_results()), replace=True)
