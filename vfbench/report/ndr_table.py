"""The table and the document of `bench ndr`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TextIO

import click

from vfbench.report.blocks import Column, rendered, width_of, wrap
from vfbench.report.numbers import number
from vfbench.report.table import MISSING
from vfbench.search.ndr import LOADS, Found, Limits


def print_ndr(found: Sequence[Found], limits: Limits, file: TextIO) -> None:
    """A row for each strategy and frame size; of a width that fits `file`."""
    width = width_of(file)
    titles = [*_titles("NDR"), *_titles(f"PDR {limits.partial_drop:.2%}")]
    rates = [(*rate_texts(each, each.ndr_bps), *rate_texts(each, each.pdr_bps)) for each in found]
    columns = [
        Column("frame\nB", tuple(str(each.frame_bytes) for each in found)),
        *(Column(title, tuple(row[number] for row in rates)) for number, title in enumerate(titles)),
        *(
            Column(f"p50 us\nat {load:.0%}", tuple(latency_text(each, load, "p50_us") for each in found))
            for load in LOADS
        ),
        *(
            Column(f"p99 us\nat {load:.0%}", tuple(latency_text(each, load, "p99_us") for each in found))
            for load in LOADS
        ),
        Column("trials", tuple(str(each.trials) for each in found)),
    ]
    for line in rendered([each.strategy for each in found], columns, width, bold=False):
        click.echo(line, file=file)
    for each in found:
        if each.reason:
            for line in wrap(f"{each.strategy}, {each.frame_bytes} B: failed: {each.reason}", width):
                click.echo(line, file=file)


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


def latency_text(found: Found, load: float, name: str) -> str:
    """`p50_us` or `p99_us` at a share of the non-drop rate."""
    values = [float(getattr(each, name)) for each in found.latency if each.load == load]
    return number(values[0]) if values else MISSING


def _titles(name: str) -> tuple[str, str, str]:
    return f"{name}\nMpackets/s", "\nGb/s", "\nof the link"


def rate_texts(found: Found, rate_bps: int | None) -> tuple[str, str, str]:
    """A rate in Mpackets/s, in Gb/s, and as a share of the link."""
    if rate_bps is None:
        return MISSING, MISSING, MISSING
    return number(found.mpps(rate_bps)), number(rate_bps / 1e9), f"{rate_bps / found.link_bps:.1%}"
