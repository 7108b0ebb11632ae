"""The pages of today's strategies are what the strategies and the records make of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from strategies import ALL_STRATEGIES
from vfbench.demands import DEMANDS
from workloads import ALL_WORKLOADS

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def made() -> ModuleType:
    spec = importlib.util.spec_from_file_location("today_pages", DOCS / "today_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["catalogue.md", "today.md", "hybrid.md"])
def test_a_page_is_what_its_command_makes_of_strategies_and_records(made: ModuleType, name: str) -> None:
    assert made.pages()[name] == (DOCS / name).read_text(encoding="utf-8")


def test_readmes_table_is_what_the_command_makes_and_has_every_strategy(made: ModuleType) -> None:
    page = made.README.read_text(encoding="utf-8")
    assert made.readme(page, made.read_records(made.RECORDS)) == page
    table = page.split("<!-- today -->\n")[1].split("<!-- end of today -->")[0]
    assert [row.split(" | ")[0].removeprefix("| ") for row in table.splitlines()[2:]] == [
        each.name for each in ALL_STRATEGIES
    ]


def test_a_star_marks_what_cannot_be_had_as_it_comes(made: ModuleType) -> None:
    needed = {each.name: made.needed(each) for each in made.strategies()}
    assert needed["dummy-write"] == "VF driver*, PF driver*"
    assert needed["vfio-migration"] == "variant driver, PRE_COPY, log in the device"
    assert "readable rings*" in needed["ring-inspection"]


def test_every_strategy_is_in_the_catalogue_with_its_source_and_ran(made: ModuleType) -> None:
    page = (DOCS / "catalogue.md").read_text(encoding="utf-8")
    for each in ALL_STRATEGIES:
        section = page.split(f"\n## {each.name}\n")[1].split("\n## ")[0]
        assert section.count("\n- ") == 9
        assert each.name == "untracked" or "- source: none" not in section
        assert "costs -" not in section


def test_every_fault_of_the_page_can_be_switched_on_by_some_strategy(made: ModuleType) -> None:
    switched = {number for each in ALL_STRATEGIES for number in made.possible_faults(each)}
    assert switched == set(made.fault_names())


def test_whatever_takes_a_changed_guest_or_host_says_so(made: ModuleType) -> None:
    unmerged = {each.what for each in DEMANDS.values() if not each.stock}
    asked = {each.name: " ".join(made.demanded(each).values()) for each in made.strategies()}
    for name in (
        "dummy-write",
        "dma-api-marking",
        "cooperative-iommu",
        "ring-inspection",
        "post-copy",
        "hybrid",
    ):
        assert any(what in asked[name] for what in unmerged - {DEMANDS["host-driver"].what})
    assert "not merged" not in asked["standby-failover"] + asked["vfio-migration"] + asked["virtio-net"]


def test_the_hybrids_page_holds_it_against_each_of_its_parts_under_every_work(made: ModuleType) -> None:
    page = (DOCS / "hybrid.md").read_text(encoding="utf-8")
    for part in made.PARTS:
        section = page.split(f"\n## Against `{part}`")[1].split("\n## ")[0]
        assert section.count("\n| workload=") == 2 * len(ALL_WORKLOADS)
