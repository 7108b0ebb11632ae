"""The order of strategies under the same work, by what a user looks at."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from vfbench.verdicts.evidence import Cell, cells_of

if TYPE_CHECKING:
    import pandas

APART = 0.01
"""Two values are in order if they are further apart than this share; closer ones are level."""

MEASURES: dict[str, Callable[[Cell], float]] = {
    "Gb/s": lambda cell: cell.median("gbps"),
    "cycles per packet": lambda cell: cell.total("guest_cycles_per_packet", "host_cycles_per_packet"),
    "longest gap": lambda cell: cell.median("service_gap_ms"),
}

Ranking = dict[tuple[object, str], dict[str, float]]
"""By work and measure: the value of each strategy's variant."""


def ranking(runs: pandas.DataFrame) -> Ranking:
    """What is measured of each variant, by work and measure."""
    cells = cells_of(runs)
    labels = _labels(cells)
    found: Ranking = {}
    for cell, label in zip(cells, labels, strict=True):
        for name, measure in MEASURES.items():
            value = measure(cell)
            if math.isfinite(value):
                found.setdefault((_work(cell), name), {})[label] = value
    return found


def _work(cell: Cell) -> object:
    """Whatever the profile: that is what is varied."""
    return tuple(pair for pair in cell.work if pair[0] not in ("profile", "profile_digest"))


def turned_pairs(before: Ranking, after: Ranking) -> Iterator[tuple[str, str, str]]:
    """Measure, order before, order after: of every two variants whose order is reversed under some work."""
    turned: Counter[tuple[str, str, str]] = Counter()
    works: Counter[tuple[str, str, str]] = Counter()
    for key, values in before.items():
        now = after.get(key, {})
        names = [name for name in values if name in now]
        for i, one in enumerate(names):
            for other in names[i + 1 :]:
                pair = (key[1], min(one, other), max(one, other))
                works[pair] += 1
                turned[pair] += _order(values[one], values[other]) * _order(now[one], now[other]) < 0
    for (measure, one, other), count in turned.items():
        if count:
            where = f"under {count} of {works[measure, one, other]} works"
            yield measure, f"{one} against {other}", f"reversed {where}"


def _order(one: float, other: float) -> int:
    if abs(one - other) <= APART * max(abs(one), abs(other)):
        return 0
    return 1 if one > other else -1


def _labels(cells: list[Cell]) -> list[str]:
    """The strategy's name, with those of its parameters that vary."""
    values: dict[tuple[str, str], set[str]] = {}
    for cell in cells:
        for name, value in cell.shared.items():
            if name.startswith("strategy."):
                values.setdefault((cell["strategy"], name), set()).add(str(value))
    return [
        " ".join(
            [str(cell["strategy"])]
            + [
                f"{name.removeprefix('strategy.')}={value}"
                for name, value in cell.shared.items()
                if len(values.get((cell["strategy"], name), ())) > 1
            ]
        )
        for cell in cells
    ]
