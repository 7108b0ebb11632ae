"""Choosing rows of a frame by their settings, with an error that says what there is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from vfbench.errors import UserError
from vfbench.parameters import unknown

if TYPE_CHECKING:
    import pandas

MOST_LISTED = 12


def where(frame: pandas.DataFrame, wanted: Mapping[str, Any]) -> pandas.DataFrame:
    """The rows in which each column has the wanted value, or one of a list of values.

    `where(runs, {"workload.frame_bytes": 1518, "strategy": ["a", "b"]})`. A strategy that has no such parameter
    has no say in it: its rows stay. UserError for an unknown column, and where no row is left.
    """
    for name, value in wanted.items():
        if name not in frame.columns:
            raise unknown("these records have no column", name, [str(each) for each in frame.columns])
        values = value if isinstance(value, list | tuple | set) else [value]
        matching = frame[name].isin(list(values))
        if name.startswith(("strategy.", "workload.")):
            matching = matching | frame[name].isna()
        if not matching.any():
            there = list(dict.fromkeys(str(each) for each in frame[name]))[:MOST_LISTED]
            raise UserError(f"no row has {name} {value!r}; there are: {', '.join(there) or 'none'}")
        frame = frame[matching]
    return frame
