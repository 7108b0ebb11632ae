"""What a validation found: predictions beside what was observed, each with its error and its goal.

All validations (`published`, `qemu`, `linux`, `model`) end in one :class:`ValidationTable`, stored as
`<folder>/<name>.json`. The page and the README's worst errors are made from these files alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeGuard

from vfbench.errors import UserError
from vfbench.files import make_folders, remove_leftovers, write_file
from vfbench.untrusted import parse_json, read_bytes, shown

SCHEMA: Final = 1
MOST_TABLE_BYTES: Final = 16 << 20
FOLDER: Final = Path("results") / "validation"

Value = float | int | str | bool | None
Goal = Literal["relative", "absolute", "same", "none"]
"""How a row is judged: by its error in proportion, by its difference, by equality, or not at all."""


@dataclass(frozen=True)
class Row:
    """One prediction and what was observed.

    `limit` is the largest error that meets the goal: a ratio (0.1 is 10 %) for `relative`, in `unit` for
    `absolute`; without meaning for `same` and `none`. `source` says where the observed figure comes from.
    """

    case: str
    measure: str
    unit: str
    predicted: Value
    observed: Value
    goal: Goal = "none"
    limit: float = 0.0
    source: str = ""
    note: str = ""

    @property
    def error(self) -> float | None:
        """(predicted - observed) / |observed|; the difference where the goal is `absolute`; None without numbers."""
        predicted, observed = self.predicted, self.observed
        if not _is_number(predicted) or not _is_number(observed):
            return None
        difference = float(predicted) - float(observed)
        if self.goal == "absolute":
            return difference
        if difference == 0:
            return 0.0
        return difference / abs(float(observed)) if observed else math.inf

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none. A prediction that is missing misses its goal."""
        if self.goal == "none":
            return None
        if self.goal == "same":
            return self.predicted == self.observed
        return self.error is not None and abs(self.error) <= self.limit


@dataclass(frozen=True)
class ValidationTable:
    """A validation's rows, and under which circumstances they were obtained.

    `observed_as` heads the column of what was observed ("measured", "published", "closed form"). `circumstances`
    are facts that a reader needs to judge or repeat it (versions, host, date, command). `left_out` names what
    the model leaves out, and what that costs, a sentence each.
    """

    name: str
    title: str
    observed_as: str
    rows: tuple[Row, ...]
    circumstances: Mapping[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()

    @property
    def missed(self) -> tuple[Row, ...]:
        """Rows whose goal is not met."""
        return tuple(row for row in self.rows if row.met is False)

    @property
    def worst(self) -> Row | None:
        """The row with the largest relative error among those with a relative goal; else among all relative rows."""
        judged = [row for row in self.rows if row.goal == "relative" and row.error is not None]
        rows = judged or [row for row in self.rows if row.goal == "none" and row.error is not None]
        return max(rows, key=lambda row: abs(row.error or 0.0), default=None)

    def summary(self) -> str:
        """One sentence: how many goals were met, the worst error, and how many rows have no goal."""
        goals = [row for row in self.rows if row.met is not None]
        met = f"{len(goals) - len(self.missed)} of {len(goals)} goals met"
        parts = [met if goals else f"{len(self.rows)} rows"]
        if self.worst is not None and self.worst.error is not None:
            parts.append(f"worst error {format_error(self.worst)} ({self.worst.case}: {self.worst.measure})")
        if 0 < len(goals) < len(self.rows):
            parts.append(f"{len(self.rows) - len(goals)} more rows without a goal")
        return f"{'; '.join(parts)}."

    def to_json(self) -> dict[str, Any]:
        """The table as a JSON document; errors and goals met are in it for readers, and ignored when read back."""
        rows = [asdict(row) | {"error": _finite(row.error), "met": row.met} for row in self.rows]
        return {
            "schema": SCHEMA,
            "name": self.name,
            "title": self.title,
            "observed_as": self.observed_as,
            "circumstances": dict(self.circumstances),
            "left_out": list(self.left_out),
            "summary": self.summary(),
            "rows": rows,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ValidationTable:
        """The table that `to_json` wrote; KeyError or TypeError if it is none."""
        rows = (
            Row(**{name: value for name, value in row.items() if name not in ("error", "met")})
            for row in document["rows"]
        )
        return cls(
            name=document["name"],
            title=document["title"],
            observed_as=document["observed_as"],
            rows=tuple(rows),
            circumstances=dict(document["circumstances"]),
            left_out=tuple(document["left_out"]),
        )


def format_value(value: Value) -> str:
    """A figure with four significant digits, a verdict as yes or no, a dash for nothing."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return value
    if isinstance(value, int) or (value.is_integer() and abs(value) < 1e15):
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def format_error(row: Row) -> str:
    """The error as a reader sees it: in per cent, in the row's unit, or as a word for verdicts."""
    if row.goal == "same":
        return "same" if row.met else "differs"
    error = row.error
    if error is None:
        return "-"
    if row.goal == "absolute":
        return f"{error:+.4g}" if error else "0"
    if abs(error) < 5e-7:
        return "0 %" if error == 0 else "<0.0001 %"
    return f"{100 * error:+.{1 if abs(error) >= 0.001 else 4}f} %"


def store(table: ValidationTable, folder: Path = FOLDER) -> Path:
    """Write `<folder>/<name>.json`, whole or not at all; UserError if the folder can't be written."""
    path = folder / f"{table.name}.json"
    write_whole(path, json.dumps(table.to_json(), indent=1, allow_nan=False) + "\n", _is_table)
    return path


def load(path: Path) -> ValidationTable:
    """The table stored at `path`; UserError if it is none."""
    try:
        document = parse_json(read_bytes(path, shown(path), MOST_TABLE_BYTES, "a table of a validation"))
        if document["schema"] != SCHEMA:
            raise UserError(f"{path}: schema {document['schema']!r} is not known; {SCHEMA} is")
        return ValidationTable.from_json(document)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(
            f"{path}: no table of a validation; run `bench validate {path.stem}` again"
        ) from error


def load_all(names: Sequence[str], folder: Path = FOLDER) -> list[ValidationTable]:
    """The stored tables of these validations, in this order; one that was not run here is left out."""
    return [load(path) for name in names if (path := folder / f"{name}.json").exists()]


def write_whole(path: Path, text: str, is_ours: Callable[[str], bool]) -> None:
    """Write a file in full or not at all; UserError if it can't be, or if what is there already is not ours."""
    try:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise UserError(f"{path} is no file that a validation wrote: give another folder")
        if path.exists() and not is_ours(_text_of(path)):
            raise UserError(f"{path} was not written by a validation: move it away or give another folder")
        make_folders(path.parent)
        remove_leftovers(path.parent)
        write_file(path, text, replace=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror}); give a writable folder") from error


def _text_of(path: Path) -> str:
    return read_bytes(path, shown(path), MOST_TABLE_BYTES, "another folder").decode(errors="replace")


def _is_table(text: str) -> bool:
    """Whether it is a table of any schema."""
    with suppress(ValueError):
        document = parse_json(text)
        return isinstance(document, dict) and {"schema", "name", "rows"} <= document.keys()
    return False


def _is_number(value: Value) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _finite(error: float | None) -> float | None:
    return error if error is None or math.isfinite(error) else None
