"""README: what its table says of the claims is what the rules say of results/reference."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from vfbench.report.verdicts import WORDS
from vfbench.verdicts import CLAIMS, Verdict

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| (C\d+) [^|]+ \| ([^|]+) \|$", re.MULTILINE)
FIGURE = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
ROWS = dict(ROW.findall((ROOT / "README.md").read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("claims_table", ROOT / "docs" / "claims_table.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def every_verdict(script: ModuleType) -> list[Verdict]:
    found: list[Verdict] = script.verdicts_of(ROOT / "results" / "reference")
    return found


@pytest.fixture(scope="module")
def verdicts(script: ModuleType, every_verdict: list[Verdict]) -> dict[str, Verdict]:
    return {claim.id: script.chosen(every_verdict, claim.id) for claim in CLAIMS}


def test_the_readme_shows_every_claim() -> None:
    assert list(ROWS) == [claim.id for claim in CLAIMS]


def test_the_table_is_the_one_that_its_script_writes(
    script: ModuleType, every_verdict: list[Verdict]
) -> None:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert script.readme(page, every_verdict) == page


def test_every_settled_row_ends_with_what_to_do(verdicts: dict[str, Verdict]) -> None:
    for claim, verdict in verdicts.items():
        assert verdict.advice[1:] in ROWS[claim]


@pytest.mark.parametrize("claim", ROWS)
def test_the_readme_says_what_the_rule_says(claim: str, verdicts: dict[str, Verdict]) -> None:
    assert ROWS[claim].startswith(WORDS[verdicts[claim].outcome].removeprefix("holds ")), verdicts[claim].text
    known = {*FIGURE.findall(verdicts[claim].text), *FIGURE.findall(claim)}
    assert [figure for figure in FIGURE.findall(ROWS[claim]) if figure not in known] == [], verdicts[
        claim
    ].text
