"""A wide table as blocks that fit: no figure and no name is ever cut, columns that don't fit go into a block below."""

from __future__ import annotations

import os
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TextIO

import click

DEFAULT_WIDTH = 100
NARROWEST = 40
GAP = "  "


@dataclass(frozen=True)
class Column:
    """Header (with its line breaks) and a cell per row; `marked` cells are bold on a terminal."""

    title: str
    cells: tuple[str, ...]
    left: bool = False
    marked: frozenset[int] = frozenset()

    @property
    def width(self) -> int:
        """Of its longest line."""
        return max(map(len, [*self.title.split("\n"), *self.cells]), default=0)


def width_of(file: TextIO) -> int:
    """Of the terminal that `file` is; elsewhere what COLUMNS says, or `DEFAULT_WIDTH`."""
    asked = os.environ.get("COLUMNS", "")
    if file.isatty() or asked.isdecimal():
        return max(NARROWEST, shutil.get_terminal_size((DEFAULT_WIDTH, 24)).columns)
    return DEFAULT_WIDTH


def rendered(
    names: Sequence[str], columns: Sequence[Column], width: int, *, bold: bool, lead: str = "strategy"
) -> Iterable[str]:
    """Lines of `width` at most: the names on the left of every block, as many columns in each as fit.

    `lead` stands above the names.
    """
    left = max(NARROWEST // 2, width // 3, width - max((each.width for each in columns), default=0) - 24)
    wrapped = [wrap(name, min(left, 44)) for name in names]
    name_width = max(len(lead), *(len(line) for lines in wrapped for line in lines))
    for number, block in enumerate(_packed(columns, width - name_width)):
        if number:
            yield ""
        yield from _block(wrapped, name_width, block, lead, bold=bold)


def wrap(text: str, width: int) -> list[str]:
    """Lines broken between words only; a word that is longer stands on a line of its own."""
    return textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [""]


def wrap_line(line: str, width: int) -> list[str]:
    """A line of a table as it is, a longer one between its words."""
    return [line] if len(line) <= width else wrap(line, width)


def _packed(columns: Sequence[Column], room: int) -> list[list[Column]]:
    blocks: list[list[Column]] = []
    left = 0
    for each in columns:
        needed = len(GAP) + each.width
        if not blocks or needed > left:
            blocks.append([])
            left = room
        blocks[-1].append(each)
        left -= needed
    return blocks


def _block(
    names: Sequence[Sequence[str]], name_width: int, columns: Sequence[Column], above: str, *, bold: bool
) -> Iterable[str]:
    titles = [each.title.split("\n") for each in columns]
    height = max((len(lines) for lines in titles), default=1)
    widths = [each.width for each in columns]
    for line in range(height):
        texts = [([""] * (height - len(lines)) + lines)[line] for lines in titles]
        lead = above if line == height - 1 else ""
        yield _line(lead, name_width, texts, widths, columns)
    yield "-" * (name_width + sum(len(GAP) + width for width in widths))
    for row, name in enumerate(names):
        for number, part in enumerate(name):
            texts = [each.cells[row] if number == 0 else "" for each in columns]
            marks = [bold and number == 0 and row in each.marked for each in columns]
            yield _line(part, name_width, texts, widths, columns, marks)


def _line(
    name: str,
    name_width: int,
    texts: Sequence[str],
    widths: Sequence[int],
    columns: Sequence[Column],
    marks: Sequence[bool] = (),
) -> str:
    parts = [name.ljust(name_width)]
    for number, (text, width, column) in enumerate(zip(texts, widths, columns, strict=True)):
        padded = text.ljust(width) if column.left else text.rjust(width)
        marked = bool(marks) and marks[number]
        parts.append(GAP + (click.style(padded, bold=True, reverse=True) if marked else padded))
    return "".join(parts).rstrip()
