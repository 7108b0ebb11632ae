"""docs/model.md: its tables of costs are the profile's, and no cost is missing."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from vfbench.profiles import REQUIRED, load_profile

DOCS = Path(__file__).resolve().parents[2] / "docs"


def cost_tables():
    spec = importlib.util.spec_from_file_location("cost_tables", DOCS / "cost_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_says_what_the_profile_says():
    page = (DOCS / "model.md").read_text(encoding="utf-8")
    assert cost_tables().renewed(page, load_profile("xeon-82599")) == page


def test_every_cost_is_on_the_page_once():
    page = (DOCS / "model.md").read_text(encoding="utf-8")
    assert sorted(cost_tables().named(page)) == sorted(REQUIRED)


def test_every_cost_is_charged_by_something():
    """But one: what a hypercall takes is measured, and stands for H_PUT_TCE on POWER."""
    folders = ("machine", "migration", "testbeds")
    sources = [path for folder in folders for path in (DOCS.parent / "vfbench" / folder).rglob("*.py")]
    named = set(re.findall(r"\w+", "\n".join(path.read_text(encoding="utf-8") for path in sources).lower()))
    assert [name for name in REQUIRED if name not in named] == ["exit_hypercall"]


def test_every_file_that_the_page_names_exists():
    page = (DOCS / "model.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:vfbench|docs)/[a-z_/]+\.(?:py|toml))`", page)
    assert len(paths) > 8
    assert [path for path in paths if not (DOCS.parent / path).exists()] == []
