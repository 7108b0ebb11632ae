"""Reading a record's Parquet tables, with a check of every cell.

`vfbench.records.parquet` writes them. Arrow knows the type of a column as a whole, so that what has to be looked at
one by one is only what a float may hold besides numbers.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vfbench.errors import UserError
from vfbench.records.schema import Cell, Column

if TYPE_CHECKING:
    import pyarrow

Row = dict[str, Cell]
REMEDY = "take its folder away, and run or pack that again"


def read_arrow(path: Path) -> pyarrow.Table:
    """The file as it is; UserError for one that is no Parquet or can't be read."""
    import pyarrow
    import pyarrow.parquet

    try:
        with (
            pyarrow.OSFile(str(path)) as content,
            pyarrow.parquet.ParquetFile(content, pre_buffer=False) as file,
        ):
            return file.read(use_threads=False)
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise broken(path, error) from error


def read_table(path: Path, columns: Sequence[Column]) -> list[Row]:
    """Its rows, checked; what it lacks is None. UserError for a broken file, or a value of another type."""
    table = read_arrow(path)
    try:
        return rows_of(table, columns)
    except ValueError as error:
        raise broken(path, error) from error


def read_tables(paths: Sequence[Path], columns: Sequence[Column]) -> list[list[Row]]:
    """What `read_table` gives of each; a thousand small files are decoded on all cores, and checked in one go."""
    import pyarrow

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        tables = list(pool.map(read_arrow, paths))
    expected = _types(tuple(columns))
    if not tables or not all(table.schema.equals(expected) for table in tables):
        return [read_table(path, columns) for path in paths]
    try:
        rows = iter(rows_of(pyarrow.concat_tables(tables), columns))
    except ValueError:  # one of them, and it is to be named
        return [read_table(path, columns) for path in paths]
    return [list(islice(rows, table.num_rows)) for table in tables]


def rows_of(table: pyarrow.Table, columns: Sequence[Column]) -> list[Row]:
    """The rows with every column of `columns`, None where the table has none; ValueError for another type."""
    rows: list[dict[str, Any]] = table.to_pylist()
    if not table.schema.equals(_types(tuple(columns))):
        return [{column.name: column.checked(row.get(column.name)) for column in columns} for row in rows]
    floats = [column for column in columns if column.type == "float64"]
    for row in rows:  # the types are right; what is left is what a float may hold besides numbers
        for column in floats:
            value = row[column.name]
            if value is not None and not -math.inf < value < math.inf:
                row[column.name] = column.checked(value)
    return rows


@cache
def _types(columns: tuple[Column, ...]) -> pyarrow.Schema:
    import pyarrow

    return pyarrow.schema([(column.name, column.type) for column in columns])


def broken(path: Path, reason: object) -> UserError:
    """One line, whatever the library said, and what would do."""
    if isinstance(reason, FileNotFoundError):
        return UserError(f"{path} is missing: {REMEDY}")
    return UserError(f"{path} is broken ({' '.join(str(reason).split()).rstrip('.')}): {REMEDY}")
