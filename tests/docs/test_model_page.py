"""docs/model.md: its tables of costs are the profile's, and no cost is missing."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from vfbench.profiles import DIMENSIONS, load_profile

DOCS = Path(__file__).resolve().parents[2] / "docs"


def cost_tables():
    spec = importlib.util.spec_from_file_location("cost_tables", DOCS / "cost_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_says_what_the_profile_says():
    page = (DOCS / "model.md").read_text(encoding="utf-8")
    assert cost_tables().renewed(page, load_profile("xeon-82599"), load_profile("modern-100g")) == page


def test_the_page_of_machines_says_what_the_profiles_say():
    page = (DOCS / "machines.md").read_text(encoding="utf-8")
    assert cost_tables().machines(page) == page


def test_every_cost_is_on_the_page_once():
    page = (DOCS / "model.md").read_text(encoding="utf-8")
    assert sorted(cost_tables().named(page)) == sorted(DIMENSIONS)


AWAITED = """dma_requests swiotlb_map_most device_log_message
vf_state_initial"""
"""Costs named before the mechanism that charges them; the commit that charges one strikes it here. Only shrinks."""


OF_PARAMETERS = ["swiotlb_pool", "swiotlb_slot_bytes", "device_log_ring", "device_log_ranges"]
"""Sizes that are the defaults of strategies' parameters; tests/strategies/test_today.py holds the two together."""


def test_every_cost_is_charged_by_something():
    """But one: what a hypercall takes is measured, and stands for H_PUT_TCE on POWER."""
    folders = ("vfbench/machine", "vfbench/mechanisms", "vfbench/migration", "vfbench/testbeds", "strategies")
    sources = [path for folder in folders for path in (DOCS.parent / folder).rglob("*.py")]
    named = set(re.findall(r"\w+", "\n".join(path.read_text(encoding="utf-8") for path in sources).lower()))
    idle = [name for name in DIMENSIONS if name not in (*named, *OF_PARAMETERS)]
    assert idle == ["exit_hypercall", *(name for name in AWAITED.split() if name in idle)]
    assert [name for name in AWAITED.split() if name in named] == []


def test_every_file_that_the_page_names_exists():
    page = (DOCS / "model.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:vfbench|docs)/[a-z_/]+\.(?:py|toml))`", page)
    assert len(paths) > 8
    assert [path for path in paths if not (DOCS.parent / path).exists()] == []
