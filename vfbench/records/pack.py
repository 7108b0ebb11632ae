"""Many runs as one small folder: a file per table, and what the manifests share written once.

A run's folder is for runs as they come; a thousand of them say the same things a thousand times. A packed set
holds the very same records and is read like any other. It is what is published, or kept beside sources.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vfbench.errors import UserError
from vfbench.files import check_only, make_folders, remove_leftovers, write_folder
from vfbench.records.schema import INTERVALS, ROUNDS, RUNS, SCHEMA_VERSION, Cell, Column
from vfbench.records.tables import Row, broken, read_arrow, read_table
from vfbench.records.write import INTERVALS_FILE, ROUNDS_FILE, RUNS_FILE
from vfbench.untrusted import UnreadableError, parse_json, read_bytes

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
MOST_SHARED_BYTES = 64 << 20
FILES = (PACKED, MANIFESTS_FILE, *TABLES)


def check_place(folder: Path, *, force: bool) -> None:
    """UserError unless a packed set may be put at `folder`: it is not there, empty, or with `force` a packed set."""
    try:
        if not os.path.lexists(folder) or not any(folder.iterdir()):
            return
        check_only(folder, FILES)
    except OSError as error:
        raise UserError(
            f"{str(folder)!r} holds something else than a packed set ({error.strerror}): name another folder"
        ) from error
    if not force:
        raise UserError(f"{str(folder)!r} holds a packed set: --force replaces it, -o FOLDER names another")


def write_packed(records: Sequence[Record], folder: Path, *, force: bool = False) -> None:
    """The records as a packed set at `folder`; UserError if it can't be written or may not be replaced.

    With `force` an older packed set is replaced at once; something else never is.
    """
    check_place(folder, force=force)
    names = [record.path.name for record in records]
    if len(set(names)) < len(names):
        raise UserError("two of the runs are the same experiment: pack one result set")
    files = _encoded(records)
    try:
        make_folders(folder.parent)
        remove_leftovers(folder.parent, FILES)
        write_folder(folder, files, replaces=FILES if force else ())
    except OSError as error:
        raise UserError(f"can't write the packed set {str(folder)!r}: {error.strerror or error}") from error


def _encoded(records: Sequence[Record]) -> dict[str, bytes]:
    """The set's files by name."""
    shared: dict[str, list[Any]] = {part: [] for part in SHARED}
    manifests = [
        {FOLDER: record.path.name, "manifest": json.dumps(_with_places(record.manifest, shared))}
        for record in records
    ]
    runs = [{RUN: number, **record.run} for number, record in enumerate(records)]
    files = {
        MANIFESTS_FILE: _table(manifests, {FOLDER: "string", "manifest": "string"}),
        RUNS_FILE: _table(runs, _types(RUNS)),
    }
    for file, part in ((ROUNDS_FILE, "rounds"), (INTERVALS_FILE, "intervals")):
        rows = [{RUN: n, **row} for n, record in enumerate(records) for row in getattr(record, part)]
        files[file] = _table(rows, _types(TABLES[file]))
    document = {"schema": SCHEMA_VERSION, "runs": len(records), **shared}
    text = json.dumps(document, indent=1, ensure_ascii=False) + "\n"
    return {**files, PACKED: text.encode()}


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


def _table(rows: list[dict[str, Any]], types: Mapping[str, str]) -> bytes:
    """Without dictionaries and statistics, which take more room here than they save."""
    import pyarrow
    import pyarrow.parquet

    schema = pyarrow.schema([pyarrow.field(name, type_) for name, type_ in types.items()])
    table = pyarrow.Table.from_pylist(rows, schema=schema)
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(
        table,
        sink,
        compression="zstd",
        compression_level=LEVEL,
        use_dictionary=False,
        write_statistics=False,
    )
    content: bytes = sink.getvalue().to_pybytes()
    return content


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
            manifest = parse_json(row["manifest"])
            manifest.update({part: shared[part][manifest[part]] for part in SHARED})
            own = {file: rows.get(number, []) for file, rows in tables.items()}
            found.append((folder / row[FOLDER], manifest, own))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise broken(folder / MANIFESTS_FILE, error) from error
    return found


def _read_shared(path: Path) -> dict[str, Any]:
    try:
        document = parse_json(read_bytes(path, str(path), MOST_SHARED_BYTES, "a packed set"))
    except UnreadableError as error:
        raise broken(path, error.reason) from error
    except ValueError as error:
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
