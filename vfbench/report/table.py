"""The table on the terminal: a row per strategy, three subjects stacked so that each fits a screen."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TextIO

from vfbench.records import Record
from vfbench.report.groups import Group, grouped
from vfbench.report.heading import heading

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PLAIN_WIDTH = 400
"""Width when not on a terminal: wider than any table, so nothing is cut; tables take only what they need."""

MISSING = "-"
KIB = 1024


def number(value: float) -> str:
    """Three significant digits, and all of them before the point."""
    if value == 0:
        return "0"
    exponent = int(f"{value:.2e}".partition("e")[2])
    return f"{value:,.{max(0, 2 - exponent)}f}"


def whole(value: float) -> str:
    """A count in full; a median between two counts keeps its half."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def size(value: float) -> str:
    """Bytes in the largest binary unit that leaves at least 1."""
    if value < KIB:
        return f"{value:.0f} B"
    units = ["KiB", "MiB", "GiB", "TiB"]
    value /= KIB
    while round(value) >= KIB and len(units) > 1:
        value /= KIB
        units.pop(0)
    return f"{number(value)} {units[0]}"


def share(value: float) -> str:
    """Of a yes-or-no measure."""
    return {0.0: "no", 1.0: "yes"}.get(value) or f"{value:.0%} yes"


@dataclass(frozen=True)
class Shown:
    """A measure as a column."""

    title: str
    measure: str
    text: Callable[[float], str] = number
    timed: bool = False
    """Whether it is a time or a rate, which do not count in a functional run."""


@dataclass(frozen=True)
class Subject:
    """A table of its own."""

    title: str
    columns: tuple[Shown, ...]


SUBJECTS = (
    Subject(
        "Speed",
        (
            Shown("Gb/s", "gbps", timed=True),
            Shown("Mpackets/s", "mpps", timed=True),
            Shown("Gb/s\nmigrating", "gbps_migrating", timed=True),
            Shown("guest cycles\nper packet", "guest_cycles_per_packet", timed=True),
            Shown("host cycles\nper packet", "host_cycles_per_packet", timed=True),
            Shown("latency\np50 us", "latency_p50_us", timed=True),
            Shown("latency\np99 us", "latency_p99_us", timed=True),
        ),
    ),
    Subject(
        "Migration",
        (
            Shown("converged", "converged", share),
            Shown("rounds", "rounds", whole),
            Shown("dirty\npages/s", "dirty_pages_per_s", timed=True),
            Shown("sent", "sent_bytes", size),
            Shown("re-sent", "resent_bytes", size),
            Shown("pages\nleft for\nthe stop", "residual_pages", whole),
            Shown("total\nms", "total_time_ms", timed=True),
            Shown("downtime\nms", "downtime_ms", timed=True),
            Shown("service\ngap ms", "service_gap_ms", timed=True),
        ),
    ),
    Subject(
        "Downtime in ms",
        (
            Shown("quiesce", "quiesce_ms", timed=True),
            Shown("final sync", "final_sync_ms", timed=True),
            Shown("final copy", "final_copy_ms", timed=True),
            Shown("VF state", "state_transfer_ms", timed=True),
            Shown("restore", "restore_ms", timed=True),
            Shown("announce", "announce_ms", timed=True),
            Shown("in all", "downtime_ms", timed=True),
            Shown("vCPU pause", "vcpu_pause_ms", timed=True),
        ),
    ),
    Subject(
        "Integrity: packets",
        (
            Shown("offered", "packets_offered", whole),
            Shown("delivered", "packets_delivered", whole),
            Shown("lost", "packets_lost", whole),
            Shown("duplicated", "packets_duplicated", whole),
            Shown("corrupted", "packets_corrupted", whole),
            Shown("phantom", "packets_phantom", whole),
            Shown("DMA faults", "dma_faults", whole),
        ),
    ),
    Subject(
        "Integrity: pages that are stale at the destination",
        (
            Shown("payload", "stale_pages_payload", whole),
            Shown("descriptor", "stale_pages_descriptor", whole),
            Shown("other", "stale_pages_other", whole),
            Shown("of compared", "pages_compared", whole),
        ),
    ),
)


def print_tables(records: Sequence[Record], file: TextIO) -> None:
    """Heading, tables, and why runs did not end well; plain text unless `file` is a terminal."""
    groups = grouped(records)
    console = _console(file)
    for line in heading(groups):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for subject in SUBJECTS:
        measured = any(_cell(group, column) != MISSING for group in groups for column in subject.columns)
        if measured or subject is SUBJECTS[0]:
            console.print(f"\n[bold]{subject.title}[/bold]")
            console.print(_table(subject, groups))
    for line in (*_footer(records), *_about_functional(groups)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _console(file: TextIO) -> Console:
    from rich.console import Console

    return Console(file=file) if file.isatty() else Console(file=file, width=PLAIN_WIDTH, color_system=None)


def _table(subject: Subject, groups: Iterable[Group]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 0, 0, 1), pad_edge=False)
    table.add_column("strategy", overflow="fold", max_width=44)
    if subject is SUBJECTS[0]:
        table.add_column("state")
        table.add_column("runs", justify="right")
    for column in subject.columns:
        table.add_column(column.title, justify="right", overflow="fold")
    for group in groups:
        cells = [_cell(group, column) for column in subject.columns]
        state = [group.states, str(len(group.records))] if subject is SUBJECTS[0] else []
        table.add_row(group.label, *state, *cells)
    return table


def _cell(group: Group, column: Shown) -> str:
    value = group.median(column.measure)
    if value is None:
        return MISSING
    return f"({column.text(value)})" if column.timed and _is_functional(group) else column.text(value)


def _is_functional(group: Group) -> bool:
    """Whether some run of it says of itself that its times and throughputs do not count."""
    return any(record.run["functional"] for record in group.records)


def _footer(records: Sequence[Record]) -> Iterable[str]:
    yield ""
    if len({record.run["seed"] for record in records}) > 1:
        yield "Figures are medians over the repeats that were measured."
    for record in records:
        if record.run["state"] != "ok":
            run = record.run
            yield f"{run['strategy']}, seed {run['seed']}: {run['state']}: {run['reason']}"


def _about_functional(groups: Iterable[Group]) -> Iterable[str]:
    """What the parentheses mean, and how much slower than its wire each such run was."""
    functional = [group for group in groups if _is_functional(group)]
    if not functional:
        return
    yield "Figures in parentheses do not count: guest code was emulated, or the clock waited for it (functional runs)."
    yield "Pages, rounds and packets of such runs count. Wall time over time on the wire (slowdown):"
    for group in functional:
        value = group.median("slowdown")
        yield f"  {group.label} {MISSING if value is None else number(value)}"
