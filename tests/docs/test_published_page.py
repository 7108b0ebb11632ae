"""docs/published.md: every published result is on it, with its figure, its grade and what is lacking."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

from vfbench.validation.published.entries import published_results
from vfbench.validation.published.predict import Prediction
from vfbench.validation.published.table import published_table

DOCS = Path(__file__).resolve().parents[2] / "docs"
ENTRIES = {entry.name: entry for entry in published_results()}
LINES = dict(
    re.findall(r"^\| :\w+: \| `([\w-]+)` (\|.+)$", (DOCS / "published.md").read_text(encoding="utf-8"), re.M)
)


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("published_table", DOCS / "published_table.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_row_is_on_the_page_once_in_the_files_order():
    assert list(LINES) == list(ENTRIES)


@pytest.mark.parametrize("name", ENTRIES)
def test_a_row_says_what_was_published_and_how_sure(name):
    entry = ENTRIES[name]
    cells = [cell.strip() for cell in LINES[name].strip("|").split(" | ")]
    assert cells[0] == f"{entry.published} {entry.unit}"
    assert cells[3] == entry.sure
    assert entry.needs in LINES[name]


def test_a_row_is_red_when_it_misses_white_while_it_waits_and_green_when_it_meets_its_goal(script):
    missed, waiting, met = (
        ENTRIES[name] for name in ("power-kernel", "pml-over-write-protection", "strict-to-none")
    )
    found = (Prediction(missed, 1.0, -0.998), Prediction(waiting, None, None), Prediction(met, 8.0, 0.0))
    lines = script.page(published_table(found, {"date": "today"}), (missed, waiting, met)).splitlines()
    marks = [line.split("|")[1].strip() for line in lines if line.startswith("| :")]
    assert marks == [":red_circle:", ":white_circle:", ":green_circle:"]
    assert lines[-1].startswith("Run on today: 1 of 3 goals met")


def test_readme_and_reading_say_how_many_rows_meet_their_goal():
    """The figures of the page; whoever writes it anew has to say so there."""
    page = (DOCS / "published.md").read_text(encoding="utf-8")
    met, of = re.search(r": (\d+) of (\d+) goals met", page).groups()
    readme = " ".join((DOCS.parent / "README.md").read_text(encoding="utf-8").split())
    reading = " ".join((DOCS / "reading.md").read_text(encoding="utf-8").split())
    assert f"of {of} published results {met} come out within 25 %" in readme
    waiting = sum(entry.take == "pending" for entry in ENTRIES.values())
    assert f"{met} within it, {int(of) - int(met) - waiting} missed, and {waiting} that wait" in reading


def test_a_row_that_missed_names_what_is_lacking():
    red = [
        name for name in ENTRIES if f"| :red_circle: | `{name}`" in (DOCS / "published.md").read_text("utf-8")
    ]
    assert len(red) > 10
    assert [name for name in red if not ENTRIES[name].explains] == []
