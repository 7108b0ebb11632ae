"""Code that docs/architecture.md shows is the code that there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
DESIGNS = re.findall(
    r"\(`(mechanisms/\w+\.py)`\):[^`]*(?:`[^`]*`[^`]*)*?```python\n(.*?)```", PAGE, re.DOTALL
)


def test_the_page_has_six_designs() -> None:
    assert len(DESIGNS) == 6


@pytest.mark.parametrize(("file", "shown"), DESIGNS, ids=[file for file, _ in DESIGNS])
def test_a_design_is_shown_as_it_is_written(file: str, shown: str) -> None:
    lines = iter((ROOT / "vfbench" / file).read_text().splitlines())
    for line in filter(None, shown.splitlines()):
        assert line in lines, f"{file} has no such line, or not in this order: {line}"
