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
    missed, waiting, met = (ENTRIES[name] for name in ("power-kernel", "vdpa-downtime", "strict-to-none"))
    found = (Prediction(missed, 1.0, -0.998), Prediction(waiting, None, None), Prediction(met, 8.0, 0.0))
    lines = script.page(published_table(found, {"date": "today"}), (missed, waiting, met)).splitlines()
    marks = [line.split("|")[1].strip() for line in lines if line.startswith("| :")]
    assert marks == [":red_circle:", ":white_circle:", ":green_circle:"]
    assert lines[-1].startswith("Run on today: 1 of 3 goals met")
