"""The table and the document of `bench ndr`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, TextIO

from vfbench.report.table import MISSING, PLAIN_WIDTH, number

if TYPE_CHECKING:
    from vfbench.search.ndr import Found, Limits


def print_ndr(found: Sequence[Found], limits: Limits, file: TextIO) -> None:
    """A row for each strategy and frame size; plain text unless `file` is a terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, 1), pad_edge=False)
    table.add_column("strategy")
    for title in ("frame\nB", *_titles("NDR"), *_titles(f"PDR {limits.partial_drop:.2%}"), "trials"):
        table.add_column(title, justify="right")
    for each in found:
        rates = (*_cells(each, each.ndr_bps), *_cells(each, each.pdr_bps))
        table.add_row(each.strategy, str(each.frame_bytes), *rates, str(each.trials))
    plain = Console(file=file, width=PLAIN_WIDTH, color_system=None)
    console = Console(file=file) if file.isatty() else plain
    console.print(table)
    for each in found:
        if each.reason:
            console.print(f"{each.strategy}, {each.frame_bytes} B: failed: {each.reason}", markup=False)


def ndr_document(found: Sequence[Found], limits: Limits) -> str:
    """One JSON document; a rate is null where even the lowest that was tried loses too much."""
    rows = []
    for each in found:
        row = asdict(each)
        for name in ("ndr", "pdr"):
            rate_bps = row[f"{name}_bps"]
            row[f"{name}_mpps"] = None if rate_bps is None else each.mpps(rate_bps)
        rows.append(row)
    return json.dumps({**asdict(limits), "found": rows}, indent=2, allow_nan=False)


def _titles(name: str) -> tuple[str, str, str]:
    return f"{name}\nMpackets/s", "\nGb/s", "\nof the link"


def _cells(found: Found, rate_bps: int | None) -> tuple[str, str, str]:
    if rate_bps is None:
        return MISSING, MISSING, MISSING
    return number(found.mpps(rate_bps)), number(rate_bps / 1e9), f"{rate_bps / found.link_bps:.1%}"
