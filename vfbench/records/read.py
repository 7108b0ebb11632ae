"""Reading records: from a run's folder, a result set, or a folder of result sets.

A folder without a manifest, or inside one with a hidden name, is no result: it was cut off while being
written. UserError for a path without results, a record of a newer schema, and a broken file.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vfbench.errors import UserError
from vfbench.experiment import identity
from vfbench.records.damage import verdict_of
from vfbench.records.pack import PACKED, SHARED, TABLES, unpacked
from vfbench.records.renamed import renewed
from vfbench.records.schema import INTERVALS, ROUNDS, RUNS, SCHEMA_VERSION, TRAITS, Cell, Column
from vfbench.records.shape import check_manifest
from vfbench.records.tables import broken, read_tables
from vfbench.records.write import INTERVALS_FILE, MANIFEST, ROUNDS_FILE, RUNS_FILE
from vfbench.untrusted import UnreadableError, parse_json, read_bytes

if TYPE_CHECKING:
    import pandas

MOST_MANIFEST_BYTES = 16 << 20
_PANDAS_TYPES = {"int64": "Int64", "float64": "float64", "bool": "boolean", "string": "str"}


@dataclass(frozen=True)
class Record:
    """One run: its folder, its manifest, and the rows of its tables by column name (None where missing)."""

    path: Path
    manifest: dict[str, Any]
    run: dict[str, Cell]
    rounds: list[dict[str, Cell]]
    intervals: list[dict[str, Cell]]

    @cached_property
    def settings(self) -> dict[str, Cell]:
        """Every parameter as `guest.memory_bytes`, `strategy.<field>`, `workload.<field>`."""
        flat: dict[str, Cell] = {}
        for part, value in self.manifest["experiment"].items():
            if isinstance(value, Mapping):
                values = value.get("parameters", {}) if part in ("strategy", "workload") else value
                flat.update({f"{part}.{name}": each for name, each in values.items()})
        for name, sha256 in self.manifest["experiment"]["workload"].get("inputs", {}).items():
            flat[f"workload.{name}_sha256"] = sha256
        return flat

    @cached_property
    def identity(self) -> dict[str, Any]:
        """The experiment, without the paths of files whose content is known: equal for equal ones, seed and all."""
        return identity(self.manifest["experiment"])


def read_records(path: str | Path) -> list[Record]:
    """The records at or below `path`, in the order in which they were run; UserError if there is none."""
    root = Path(path)
    if not root.exists():
        raise UserError(f"no result at {str(root)!r}: name a folder that `bench run` or `bench sweep` wrote")
    if not root.is_dir():
        raise UserError(f"{str(root)!r} is a file: name the folder that `bench run` or `bench sweep` wrote")
    folders = list(_run_folders(root))
    packed = [folder for folder in folders if (folder / PACKED).exists()]
    records = _loose([folder for folder in folders if folder not in packed])
    records += [record for folder in packed for record in _records_in(folder)]
    _share(records)
    if not records:
        raise UserError(
            f"{str(root)!r} holds no finished run: name a folder that `bench run` or `bench sweep` wrote"
        )
    return sorted(records, key=lambda record: (record.manifest["started"], record.path))


def _share(records: Iterable[Record]) -> None:
    """One object for equal profiles and environments: they are most of a manifest, and few differ."""
    for part in SHARED:
        known: list[Any] = []
        for record in records:
            own = record.manifest[part]
            found = next((each for each in known if each == own), None)
            if found is None:
                known.append(own)
            else:
                record.manifest[part] = found


def read_runs(path: str | Path) -> pandas.DataFrame:
    """One row per run: the columns of `schema.RUNS`, `wall_s`, `record`, every parameter (`settings`)."""
    return runs_frame(read_records(path))


def read_rounds(path: str | Path) -> pandas.DataFrame:
    """One row per pre-copy round: `schema.ROUNDS`, with the run's identity and parameters beside them."""
    return rounds_frame(read_records(path))


def read_intervals(path: str | Path) -> pandas.DataFrame:
    """One row per interval: `schema.INTERVALS`, with the run's identity and parameters beside them."""
    return intervals_frame(read_records(path))


def runs_frame(records: Sequence[Record]) -> pandas.DataFrame:
    """What `read_runs` gives, of records that have been read.

    `integrity` is `WHOLE` or `DAMAGED` (`vfbench.records.damage`), `record` the run's folder.
    """
    extra = [
        {
            "integrity": verdict_of(record.run),
            "wall_s": record.manifest["wall_s"],
            "record": _text(record.path),
        }
        for record in records
    ]
    rows = [{**record.run, **more, **record.settings} for record, more in zip(records, extra, strict=True)]
    return _frame(rows, RUNS, ["integrity", "wall_s", "record", *_setting_names(records)])


def _text(path: Path) -> str:
    """A path as Arrow's strings can hold it: bytes that are no UTF-8 are written as escapes."""
    return os.fsencode(path).decode(errors="backslashreplace")


def rounds_frame(records: Sequence[Record]) -> pandas.DataFrame:
    """What `read_rounds` gives, of records that have been read."""
    return _frame_of_parts(records, "rounds", ROUNDS)


def intervals_frame(records: Sequence[Record]) -> pandas.DataFrame:
    """What `read_intervals` gives, of records that have been read."""
    return _frame_of_parts(records, "intervals", INTERVALS)


def _run_folders(root: Path) -> Iterable[Path]:
    for folder, inside, files in os.walk(root):
        inside[:] = sorted(name for name in inside if not name.startswith("."))
        hidden = Path(folder).name.startswith(".") and Path(folder).name not in (".", "..")
        if (MANIFEST in files or PACKED in files) and not hidden:
            inside.clear()
            yield Path(folder)


def _records_in(folder: Path) -> Iterable[Record]:
    """Those of a packed set."""
    for path, manifest, tables in unpacked(folder):
        rows = tables[RUNS_FILE]
        if len(rows) != 1:
            raise broken(folder, f"it holds {len(rows)} rows of {path.name}, not one")
        checked = _checked_manifest(path, manifest)
        yield _record(path, checked, rows[0], tables[ROUNDS_FILE], tables[INTERVALS_FILE])


def read_record(folder: Path) -> Record:
    """The record of one run's folder."""
    (record,) = _loose([folder])
    return record


def _record(
    path: Path,
    manifest: dict[str, Any],
    run: dict[str, Cell],
    rounds: list[dict[str, Cell]],
    intervals: list[dict[str, Cell]],
) -> Record:
    """A record whose run goes by the strategy's name of today, as its manifest does."""
    named = {**run, "strategy": manifest["experiment"]["strategy"]["name"]}
    return Record(path, manifest, named, rounds, intervals)


def _loose(folders: Sequence[Path]) -> list[Record]:
    """The record of each run's folder."""
    manifests = [read_manifest(folder) for folder in folders]
    runs, rounds, intervals = (
        read_tables([folder / file for folder in folders], columns) for file, columns in TABLES.items()
    )
    for folder, rows in zip(folders, runs, strict=True):
        if len(rows) != 1:
            raise broken(folder / RUNS_FILE, f"it holds {len(rows)} runs, not one")
    return [
        _record(folder, manifest, run[0], *parts)
        for folder, manifest, run, *parts in zip(folders, manifests, runs, rounds, intervals, strict=True)
    ]


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of one run's folder, without its tables."""
    path = folder / MANIFEST
    try:
        manifest = parse_json(read_bytes(path, str(path), MOST_MANIFEST_BYTES, "a manifest"))
    except UnreadableError as error:
        raise broken(path, error.reason) from error
    except ValueError as error:
        raise broken(path, error) from error
    return _checked_manifest(path, manifest)


def _checked_manifest(path: Path, manifest: Any) -> dict[str, Any]:
    version = manifest.get("schema") if isinstance(manifest, dict) else None
    if type(version) is not int:
        raise broken(path, "it names no schema version")
    if version > SCHEMA_VERSION:
        raise UserError(
            f"{path} has schema {version}; this vfbench reads up to {SCHEMA_VERSION}: use a newer one"
        )
    try:
        check_manifest(manifest)
    except ValueError as error:
        raise broken(path, error) from error
    return renewed(dict(manifest))


def _frame_of_parts(records: Sequence[Record], part: str, columns: tuple[Column, ...]) -> pandas.DataFrame:
    """What a run says of itself is put into columns once for each run, then repeated for its rows."""
    import pandas

    identity = tuple(column for column in RUNS if column.name in _IDENTITY)
    rows = [row for record in records for row in getattr(record, part)]
    counts = [len(getattr(record, part)) for record in records]
    names = _setting_names(records)
    runs = [
        {**{each.name: record.run[each.name] for each in identity}, **record.settings}
        for record, count in zip(records, counts, strict=True)
        if count
    ]
    settled = _frame(runs, identity, names)
    settled = settled.loc[settled.index.repeat([count for count in counts if count])].reset_index(drop=True)
    own = _frame(rows, columns, [])
    return pandas.concat([settled[[each.name for each in identity]], own, settled[names]], axis=1)


_IDENTITY = (
    *("strategy", "workload", "testbed", "profile", "profile_digest", "experiment", "seed", "state"),
    *("functional", *(column.name for column in TRAITS)),
)


def _setting_names(records: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(name for record in records for name in record.settings))


def _frame(rows: list[dict[str, Any]], columns: tuple[Column, ...], more: list[str]) -> pandas.DataFrame:
    import pandas

    frame = pandas.DataFrame(rows, columns=[*(column.name for column in columns), *more])
    return frame.astype({column.name: _PANDAS_TYPES[column.type] for column in columns})
