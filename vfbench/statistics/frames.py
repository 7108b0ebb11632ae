"""The same on the frame of runs: a median per cell and measure, and each cell relative to a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from vfbench.errors import UserError
from vfbench.statistics.comparison import compare
from vfbench.statistics.estimate import estimate

if TYPE_CHECKING:
    import pandas

MEASURED = ("ok", "not-converged")
"""Only runs in these states count towards a median."""
_IDENTITY = ("strategy", "workload", "testbed", "profile", "profile_digest")


def cell_columns(runs: pandas.DataFrame) -> list[str]:
    """The columns in which repeats agree: strategy, workload, testbed, profile, and every setting.

    Everything by which runs can differ but their seed and what was measured.
    """
    return [name for name in runs.columns if name in _IDENTITY or "." in str(name)]


def measured(runs: pandas.DataFrame) -> pandas.DataFrame:
    """The runs that count towards a median."""
    return runs[runs["state"].isin(MEASURED)]


def medians(
    runs: pandas.DataFrame, measures: Sequence[str], by: Sequence[str] | None = None
) -> pandas.DataFrame:
    """One row per cell and measure: the columns of ``by``, ``measure``, ``n``, ``median``, ``low``, ``high``,
    ``level``, ``method``, ``too_wide``, and ``experiments``, the ids of the runs that it rests on.

    ``by`` is ``cell_columns(runs)`` unless given. Cells in order of appearance.
    """
    import pandas

    columns = list(by) if by is not None else cell_columns(runs)
    rows = []
    for cell, group in _cells(measured(runs), columns):
        for measure in measures:
            found = estimate(group[measure])
            rows.append(
                {
                    **cell,
                    "measure": measure,
                    "n": found.n,
                    "median": found.median,
                    "low": found.low,
                    "high": found.high,
                    "level": found.level,
                    "method": found.method,
                    "too_wide": found.too_wide,
                    "experiments": tuple(group["experiment"]),
                }
            )
    names = ["n", "median", "low", "high", "level", "method", "too_wide", "experiments"]
    return pandas.DataFrame(rows, columns=[*columns, "measure", *names])


def relative(
    runs: pandas.DataFrame,
    baseline: Mapping[str, Any],
    measures: Sequence[str],
    by: Sequence[str] | None = None,
) -> pandas.DataFrame:
    """One row per cell and measure: its median relative to the baseline's of the same workload and settings.

    ``baseline`` picks the baseline's runs by column (``{"strategy": "virtio-net"}``); each cell is held against
    the baseline's cell that agrees with it in everything else but the strategy's own parameters. Columns: those of
    ``by``, ``measure``, ``n``, ``n_baseline``, ``ratio``, ``low``, ``high``, ``p``, ``outcome``, ``warning``
    (see :class:`vfbench.statistics.Comparison`). UserError where no run is the baseline, or several cells are.
    Cells of the baseline itself, and cells without a counterpart, are left out.
    """
    import pandas

    columns = list(by) if by is not None else cell_columns(runs)
    shared = [name for name in columns if name not in baseline and not _is_of_strategy(name)]
    counted = measured(runs)
    is_baseline = _matches(counted, baseline)
    if not is_baseline.any():
        wanted = ", ".join(f"{name} {value}" for name, value in baseline.items())
        raise UserError(f"no run is the baseline ({wanted}): run it too, or name another")
    references = _references(counted[is_baseline], columns, shared)
    rows = []
    for cell, group in _cells(counted[~is_baseline], columns):
        reference = references.get(_key(cell, shared))
        if reference is None:
            continue
        for measure in measures:
            found = compare(group[measure], reference[measure])
            rows.append(
                {
                    **cell,
                    "measure": measure,
                    "n": found.ratio.n,
                    "n_baseline": found.ratio.n_baseline,
                    "ratio": found.ratio.ratio,
                    "low": found.ratio.low,
                    "high": found.ratio.high,
                    "p": found.test.p,
                    "outcome": found.outcome,
                    "warning": found.warning,
                }
            )
    names = ["n", "n_baseline", "ratio", "low", "high", "p", "outcome", "warning"]
    return pandas.DataFrame(rows, columns=[*columns, "measure", *names])


def _is_of_strategy(name: str) -> bool:
    return name == "strategy" or name.startswith("strategy.")


def _references(
    runs: pandas.DataFrame, columns: list[str], shared: list[str]
) -> dict[tuple[str, ...], pandas.DataFrame]:
    found: dict[tuple[str, ...], pandas.DataFrame] = {}
    for cell, group in _cells(runs, columns):
        key = _key(cell, shared)
        if key in found:
            raise UserError(
                "several variants of the baseline ran under the same settings: name one more of its parameters, "
                + "like "
                + _distinction(found[key], group, columns)
            )
        found[key] = group
    return found


def _distinction(one: pandas.DataFrame, other: pandas.DataFrame, columns: list[str]) -> str:
    differing = [
        name
        for name in columns
        if _is_of_strategy(name) and str(one[name].iloc[0]) != str(other[name].iloc[0])
    ]
    return ", ".join(f"{name}={one[name].iloc[0]}" for name in differing)


def _cells(runs: pandas.DataFrame, columns: list[str]) -> list[tuple[dict[str, Any], pandas.DataFrame]]:
    if runs.empty:
        return []
    grouped = runs.groupby(columns, dropna=False, sort=False, observed=True)
    return [(dict(zip(columns, key, strict=True)), group) for key, group in grouped]


def _key(cell: Mapping[str, Any], names: Sequence[str]) -> tuple[str, ...]:
    # As text: a missing value equals itself.
    return tuple(str(cell[name]) for name in names)


def _matches(runs: pandas.DataFrame, wanted: Mapping[str, Any]) -> pandas.Series[bool]:
    import pandas

    matching = pandas.Series(True, index=runs.index)
    for name, value in wanted.items():
        if name not in runs.columns:
            raise UserError(f"no column {name!r} by which to pick a baseline")
        matching &= (runs[name] == value).fillna(False).astype(bool)
    return matching
