"""The table of costs that turn a verdict fits the terminal."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import Any

import pytest

from vfbench.report.sensitivity import print_sensitivity
from vfbench.search.sensitivity import Turn


def a_turn() -> Any:
    figure = SimpleNamespace(sure="C", value=1200.0, unit="cycles")
    variation = SimpleNamespace(cost="iommu_invalidate_entry", value=2400.0, figure=figure, end="high")
    return Turn(variation=variation, kind="outcome", subject="C7", before="holds", after="does not hold")


@pytest.mark.parametrize("width", [80, 100, 200])
def test_a_row_a_turn_and_no_line_is_wider_than_the_terminal(
    monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    turn, out = a_turn(), io.StringIO()
    plan: Any = SimpleNamespace(
        variations=[turn.variation], experiments=[None] * 3, profile=SimpleNamespace(name="xeon-82599")
    )
    print_sensitivity(plan, [turn], out)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert any("iommu_invalidate_entry" in line and "2400 cycles (stated 1200)" in line for line in lines)
    assert "1 turn a verdict (iommu_invalidate_entry)" in " ".join(lines)
