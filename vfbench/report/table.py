"""The tables on the terminal: a row per strategy, whether it arrived whole first, then one subject after the other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import TextIO

import click

from vfbench.records import Record
from vfbench.records.damage import MEASURES as DAMAGE
from vfbench.report.blocks import Column, rendered, width_of, wrap
from vfbench.report.columns import SUBJECTS, Shown, Subject
from vfbench.report.groups import Group, grouped
from vfbench.report.heading import heading, spans
from vfbench.report.input_note import about_input
from vfbench.report.load import overloaded
from vfbench.report.numbers import number, percent, share, size, spread, whole
from vfbench.report.rounds_note import why_no_rounds
from vfbench.untrusted import printable

__all__ = ["MISSING", "SUBJECTS", "Shown", "number", "print_tables", "share", "size", "table_lines", "whole"]

MISSING = "-"
FAR_TOO_MUCH = 0.8
"""Of what was offered: less than this carried is no matter of bursts, and a lower rate is named."""


def print_tables(
    records: Sequence[Record], file: TextIO, *, columns: Sequence[Shown] = (), brief: bool = False
) -> None:
    """Heading, tables, notes; of a width that fits `file`, without escapes unless it is a terminal.

    `columns`: one table of these and no other. `brief`: the main table and no other.
    """
    width = width_of(file)
    groups = grouped(records)
    for line in table_lines(groups, width, columns=columns, brief=brief, bold=file.isatty()):
        click.echo(line, file=file)


def table_lines(
    groups: Sequence[Group],
    width: int,
    *,
    columns: Sequence[Shown] = (),
    brief: bool = False,
    bold: bool = False,
) -> Iterable[str]:
    """Lines of `width` at most."""
    yield from heading(groups, width)
    main = next(subject for subject in SUBJECTS if subject.main)
    shown = [Subject("Chosen columns", tuple(columns), main=True)] if columns else [main]
    if not (brief or columns):
        shown += [subject for subject in SUBJECTS if subject is not main]
    for subject in shown:
        lines = list(_table(subject, groups, width, bold=bold))
        if lines:
            yield ""
            yield click.style(subject.title, bold=True) if bold else subject.title
            yield from lines
    yield from _notes(groups, width, brief=brief or bool(columns))


def _table(subject: Subject, groups: Sequence[Group], width: int, *, bold: bool) -> Iterable[str]:
    shown = [each for each in subject.columns if not each.quiet or _any(each, groups)]
    columns = [Column(each.title, tuple(cell_text(group, each) for group in groups)) for each in shown]
    if subject.main:
        columns = [*_identity(groups), *columns]
    elif all(set(column.cells) == {MISSING} for column in columns):
        return []
    return rendered([group.label for group in groups], columns, width, bold=bold)


def _any(shown: Shown, groups: Sequence[Group]) -> bool:
    return any(shown.value(record) for group in groups for record in group.measured)


def _identity(groups: Sequence[Group]) -> Iterable[Column]:
    """The verdict first; state, runs and the mark of a machine that never was only where they say something."""
    verdicts = [group.damage for group in groups]
    damaged = frozenset(row for row, each in enumerate(verdicts) if each.damaged)
    yield Column("verdict", tuple(each.short for each in verdicts), left=True, marked=damaged)
    if any(group.states != "ok" for group in groups):
        yield Column("state", tuple(group.states for group in groups), left=True)
    if any(len(group.records) > 1 for group in groups):
        yield Column("runs", tuple(str(len(group.records)) for group in groups))
    if any(group.hypothetical for group in groups):
        yield Column(
            "machine", tuple("hypothetical" if group.hypothetical else "" for group in groups), left=True
        )


def cell_text(group: Group, shown: Shown) -> str:
    """The median over the repeats, of damage the worst; with the spread where it is asked for."""
    values = [value for record in group.measured if (value := shown.value(record)) is not None]
    if not values:
        return MISSING
    if shown.measure in DAMAGE:
        text = shown.text(max(values))
    elif shown.measure == "carried":
        text = shown.text(min(values))
    elif shown.text is share:
        text = shown.text(sum(values) / len(values))
    else:
        text = _with_spread(values, shown) if shown.spread else shown.text(median(values))
    return f"({text})" if shown.timed and group.functional else text


def _with_spread(values: Sequence[float], shown: Shown) -> str:
    """`4.90 \u00b10.05`: the longer side of the interval."""
    if len(values) == 1:
        return shown.text(values[0])
    from vfbench.statistics import estimate

    found = estimate(values)
    reach = max(found.median - found.low, found.high - found.median)
    return f"{shown.text(found.median)} \u00b1{spread(reach, found.median)}"


def _notes(groups: Sequence[Group], width: int, *, brief: bool) -> Iterable[str]:
    notes = [
        *_ended_otherwise(groups),
        *about_input(groups),
        *_about_functional(groups),
        *_about_overload(groups),
    ]
    if not brief:
        notes += [*why_no_rounds(groups), *_about_repeats(groups), *_about_columns(groups)]
    if notes:
        yield ""
    for note in notes:
        yield from wrap(note, width)


def _ended_otherwise(groups: Sequence[Group]) -> Iterable[str]:
    """A line for each variant, state and reason."""
    for group in groups:
        found: dict[tuple[str, str], list[int]] = {}
        for record in group.records:
            if record.run["state"] != "ok":
                ended = (str(record.run["state"]), printable(str(record.run["reason"])))
                found.setdefault(ended, []).append(int(record.run["seed"] or 0))
        for (state, reason), seeds in found.items():
            yield f"{group.label}, seed{'s' if len(seeds) > 1 else ''} {spans(seeds)}: {state}: {reason}"
        if group.hypothetical:
            yield f"{group.label}: hypothetical: {group.hypothetical}"


def _about_functional(groups: Sequence[Group]) -> Iterable[str]:
    """What the parentheses mean, and how much slower than its wire each such run was."""
    functional = [group for group in groups if group.functional]
    if not functional:
        return
    yield (
        "Figures in parentheses do not count: guest code was emulated, or the clock waited for it (functional "
        "runs). Pages, rounds and packets of such runs count. Wall time over time on the wire (slowdown):"
    )
    for group in functional:
        value = group.median("slowdown")
        yield f"{group.label} {MISSING if value is None else number(value)}"


def _about_overload(groups: Sequence[Group]) -> Iterable[str]:
    """Latency behind a full queue says how long the queue is, and nothing of the strategy."""
    found = overloaded(groups)
    if not found:
        return
    names = ", ".join(f"{group.label} ({percent(share)})" for group, share in found)
    rates = [rate for group in groups if (rate := group.median("gbps"))]
    same_work = len({str(group.first.run["workload"]) for group in groups}) == 1
    has_rate = same_work and "workload.rate_bps" in groups[0].first.settings
    lower = " Bursts that no queue holds are part of it."
    if rates and has_rate and min(share for _, share in found) < FAR_TOO_MUCH:
        lower = f" All carry about --rate {0.9 * min(rates):.2g}Gbps."
    yield (
        f"Overloaded, not all that was offered was carried: {names}. Latency is then that of a full queue, and "
        f"throughput the most that it can.{lower}"
    )


def _about_repeats(groups: Sequence[Group]) -> Iterable[str]:
    counts = [len(group.measured) for group in groups]
    if max(counts, default=0) > 1:
        yield (
            "Figures are medians over the repeats that were measured, of damage the worst run. \u00b1: how far the "
            "interval reaches (95 %, bootstrap, from 6 repeats on; of fewer their range)."
        )


def _about_columns(groups: Sequence[Group]) -> Iterable[str]:
    if any(group.median("gbps_migrating") is not None for group in groups):
        yield (
            '"Whole migration" is from its start until the guest runs again, blackout included. '
            "`bench list measures` says what each column means."
        )
