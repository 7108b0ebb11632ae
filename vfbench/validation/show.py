"""Validation tables on a terminal, and the end that every `bench validate` command comes to."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from vfbench.report.blocks import Column, rendered, width_of, wrap
from vfbench.untrusted import printable
from vfbench.validation.tables import FOLDER, Row, ValidationTable, format_error, format_value, store

EXIT_MISSED = 1


def conclude(
    table: ValidationTable, *, as_json: bool, folder: Path = FOLDER, file: TextIO | None = None
) -> int:
    """Store the table, print it (or its JSON document alone), and give the exit code: 1 if a goal was missed."""
    out = file or sys.stdout
    path = store(table, folder)
    if as_json:
        out.write(json.dumps(table.to_json()) + "\n")
    else:
        print_table(table, out)
        out.write(f"Stored: {path}\n")
    return EXIT_MISSED if table.missed else 0


def print_table(table: ValidationTable, file: TextIO) -> None:
    """Title, rows, notes, what was missed, circumstances, in lines that fit `file`."""
    width = width_of(file)
    file.write("\n" + "\n".join(wrap(printable(table.title), width)) + "\n")
    titles = ("predicted", table.observed_as, "error", "unit", "goal")
    shown = [cells(row)[1:-1] for row in table.rows]
    columns = [
        Column(title, tuple(row[i] for row in shown), left=title in ("unit", "goal"))
        for i, title in enumerate(titles)
    ]
    names = [f"{row.case}: {row.measure}" for row in table.rows]
    for line in rendered(names, columns, width, bold=False, lead="case: measure"):
        file.write(f"{printable(line)}\n")
    for line in (*_notes(table), *_footer(table)):
        file.write("\n".join(wrap(printable(line), width)) + "\n")


def _notes(table: ValidationTable) -> Iterable[str]:
    """Each note once, with the rows that it is about."""
    rows: dict[str, list[str]] = {}
    for row in table.rows:
        if row.note:
            rows.setdefault(row.note, []).append(f"{row.case}: {row.measure}")
    for note, about in rows.items():
        more = f" and {len(about) - 1} more" if len(about) > 1 else ""
        yield f"{about[0]}{more}: {note}"


def cells(row: Row) -> tuple[str, ...]:
    """What is shown of a row beside its case."""
    judged = {True: "met", False: "MISSED", None: "-"}[row.met]
    values = (format_value(row.predicted), format_value(row.observed), format_error(row))
    return (row.measure, *values, row.unit, judged, row.note)


def _footer(table: ValidationTable) -> Iterable[str]:
    yield ""
    yield table.summary()
    for name, value in table.circumstances.items():
        yield f"{name}: {value}"
    for sentence in table.left_out:
        yield f"Left out: {sentence}"
