"""Many runs as one small folder: a file per table, and what the manifests share written once.

A run's folder is for runs as they come; a thousand of them say the same things a thousand times. A packed set
holds the very same records and is read like any other. It is what is published, or kept beside sources.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vfbench.errors import UserError
from vfbench.records.schema import INTERVALS, ROUNDS, RUNS, SCHEMA_VERSION, Cell, Column
from vfbench.records.tables import Row, broken, read_arrow, read_table
from vfbench.records.write import INTERVALS_FILE, ROUNDS_FILE, RUNS_FILE

if TYPE_CHECKING:
    from vfbench.records.read import Record

PACKED = "packed.json"
MANIFESTS_FILE = "manifests.parquet"
SHARED = ("profile", "environment")
"""Parts of a manifest that few runs have of their own."""
FOLDER = "run_folder"
RUN = "run_number"
"""The column by which a table's row knows its run: 0 is the first of the manifests."""
TABLES = {RUNS_FILE: RUNS, ROUNDS_FILE: ROUNDS, INTERVALS_FILE: INTERVALS}
LEVEL = 19


def write_packed(records: Sequence[Record], folder: Path) -> None:
    """The records as a packed set at `folder`; UserError if it exists and is none, or can't be written."""
    if folder.exists() and not (folder / PACKED).exists() and any(folder.iterdir()):
        raise UserError(f"{str(folder)!r} holds something else than a packed set: name another folder")
    names = [record.path.name for record in records]
    if len(set(names)) < len(names):
        raise UserError("two of the runs are the same experiment: pack one result set")
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        temporary.mkdir(parents=True)
        _write(records, temporary)
        if folder.exists():
            shutil.rmtree(folder)
        temporary.rename(folder)
    except OSError as error:
        raise UserError(f"can't write the packed set {str(folder)!r}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(records: Sequence[Record], folder: Path) -> None:
    shared: dict[str, list[Any]] = {part: [] for part in SHARED}
    manifests = [
        {FOLDER: record.path.name, "manifest": json.dumps(_with_places(record.manifest, shared))}
        for record in records
    ]
    _write_table(folder / MANIFESTS_FILE, manifests, {FOLDER: "string", "manifest": "string"})
    runs = [{RUN: number, **record.run} for number, record in enumerate(records)]
    _write_table(folder / RUNS_FILE, runs, _types(RUNS))
    for file, part in ((ROUNDS_FILE, "rounds"), (INTERVALS_FILE, "intervals")):
        rows = [{RUN: n, **row} for n, record in enumerate(records) for row in getattr(record, part)]
        _write_table(folder / file, rows, _types(TABLES[file]))
    document = {"schema": SCHEMA_VERSION, "runs": len(records), **shared}
    (folder / PACKED).write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _types(columns: tuple[Column, ...]) -> dict[str, str]:
    return {RUN: "int64", **{column.name: column.type for column in columns}}


def _with_places(manifest: Mapping[str, Any], shared: dict[str, list[Any]]) -> dict[str, Any]:
    """The manifest with the number of its profile and environment in place of them."""
    places = {}
    for part in SHARED:
        if manifest[part] not in shared[part]:
            shared[part].append(manifest[part])
        places[part] = shared[part].index(manifest[part])
    return {**manifest, **places}


def _write_table(path: Path, rows: list[dict[str, Any]], types: Mapping[str, str]) -> None:
    """Without dictionaries and statistics, which take more room here than they save."""
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([pyarrow.field(name, type_) for name, type_ in types.items()])
    table = pyarrow.Table.from_pylist(rows, schema=schema)
    pyarrow.parquet.write_table(
        table,
        path,
        compression="zstd",
        compression_level=LEVEL,
        use_dictionary=False,
        write_statistics=False,
    )


def unpacked(folder: Path) -> list[tuple[Path, dict[str, Any], dict[str, list[Row]]]]:
    """Of each run its folder's name below `folder`, its manifest, and its checked rows by table.

    UserError for a set of a newer schema or a broken one.
    """
    shared = _read_shared(folder / PACKED)
    manifests = read_arrow(folder / MANIFESTS_FILE).to_pylist()
    tables = {file: _by_run(folder / file, columns) for file, columns in TABLES.items()}
    found = []
    try:
        for number, row in enumerate(manifests):
            manifest = json.loads(row["manifest"])
            manifest.update({part: shared[part][manifest[part]] for part in SHARED})
            own = {file: rows.get(number, []) for file, rows in tables.items()}
            found.append((folder / row[FOLDER], manifest, own))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise broken(folder / MANIFESTS_FILE, error) from error
    return found


def _read_shared(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise broken(path, error) from error
    version = document.get("schema") if isinstance(document, dict) else None
    if type(version) is not int:
        raise broken(path, "it names no schema version")
    if version > SCHEMA_VERSION:
        raise UserError(
            f"{path} has schema {version}; this vfbench reads up to {SCHEMA_VERSION}: use a newer one"
        )
    return dict(document)


def _by_run(path: Path, columns: tuple[Column, ...]) -> dict[Cell, list[Row]]:
    """The checked rows of each run."""
    found: dict[Cell, list[Row]] = {}
    number = Column(RUN, "int64", "", "")
    for row in read_table(path, (number, *columns)):
        found.setdefault(row.pop(RUN), []).append(row)
    return found
