"""Validation tables on a terminal, and the end that every `bench validate` command comes to."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from vfbench.validation.tables import FOLDER, Row, ValidationTable, format_error, format_value, store

if TYPE_CHECKING:
    from rich.table import Table

PLAIN_WIDTH = 150
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
    """Title, rows, what was missed, circumstances; plain text unless `file` is a terminal."""
    from rich.console import Console

    console = (
        Console(file=file) if file.isatty() else Console(file=file, width=PLAIN_WIDTH, color_system=None)
    )
    console.print(f"\n[bold]{table.title}[/bold]")
    console.print(_rich(table))
    for line in _footer(table):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _rich(table: ValidationTable) -> Table:
    from rich import box
    from rich.table import Table

    shown = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, 1), pad_edge=False)
    shown.add_column("case", overflow="fold")
    shown.add_column("measure", overflow="fold")
    for title in ("predicted", table.observed_as, "error"):
        shown.add_column(title, justify="right", overflow="fold")
    shown.add_column("unit")
    shown.add_column("goal")
    shown.add_column("note", overflow="fold")
    previous = None
    for row in table.rows:
        case = "" if row.case == previous else row.case
        previous = row.case
        shown.add_row(case, *cells(row))
    return shown


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
