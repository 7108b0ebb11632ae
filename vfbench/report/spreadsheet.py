"""Runs as CSV: a row for each, whether it arrived whole first."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from typing import TextIO

from vfbench.records import RUNS, Record
from vfbench.records.damage import damage_of, verdict_of
from vfbench.report.columns import Shown

IDENTITY = ("strategy", "workload", "testbed", "profile", "seed", "state", "reason")
RISKY = ("=", "+", "-", "@", "\t", "\r")
"""A text that begins with one of these is a formula to a spreadsheet."""


def write_csv(records: Iterable[Record], file: TextIO, columns: Sequence[Shown] = ()) -> None:
    """Every column of a run and every setting, or only what identifies it and `columns`; what is missing is empty."""
    records = list(records)
    settings = list(dict.fromkeys(name for record in records for name in record.settings))
    names = ["integrity", "damage", *IDENTITY]
    if columns:
        names += [column.measure for column in columns]
    else:
        names += [*(column.name for column in RUNS if column.name not in IDENTITY), *settings, "record"]
    rows = csv.writer(file, lineterminator="\n")
    rows.writerow(names)
    for record in records:
        found = {**record.settings, **record.run, "record": str(record.path)}
        found |= {"integrity": verdict_of(record.run) or "", "damage": sum(damage_of(record.run).values())}
        found |= {column.measure: column.value(record) for column in columns}
        rows.writerow([_cell(found.get(name)) for name in names])


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str) and value.startswith(RISKY):
        return f"'{value}"
    return "" if value is None else value
