"""Reading a record's Parquet tables, with a check of every cell.

`vfbench.records.parquet` writes them. Arrow knows the type of a column as a whole, so that what has to be checked
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
from vfbench.untrusted import UnreadableError, brief, read_bytes

if TYPE_CHECKING:
    import pyarrow

Row = dict[str, Cell]
MOST_FILE_BYTES = 256 << 20
MOST_BYTES = 256 << 20
MOST_CELLS = 8_000_000
"""Of a table that is unfolded and turned into rows, which takes some 100 bytes a cell."""
REMEDY = "take its folder away, and run or pack that again"


def read_arrow(path: Path) -> pyarrow.Table:
    """The file as it is; UserError for one that is no Parquet, can't be read, or unfolds to more than MOST_BYTES."""
    import pyarrow
    import pyarrow.parquet

    try:
        content = read_bytes(path, str(path), MOST_FILE_BYTES, "a table of a record")
        with pyarrow.parquet.ParquetFile(pyarrow.BufferReader(content), pre_buffer=False) as file:
            if _unfolds_little(path, file.metadata):
                return file.read(use_threads=False)
        return _read_repeated(path, content)
    except UnreadableError as error:
        raise broken(path, error.reason) from error
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise broken(path, error) from error


def _unfolds_little(path: Path, described: Any) -> bool:
    """Whether it would be small even if each row held all the bytes; UserError for what is large as it stands."""
    groups = [described.row_group(i) for i in range(described.num_row_groups)]
    unfolded = sum(group.total_byte_size for group in groups)
    cells = described.num_rows * described.num_columns
    if cells > MOST_CELLS or unfolded > MOST_BYTES:
        raise broken(
            path, f"it holds {cells} cells and {unfolded} bytes, more than {MOST_CELLS} or {MOST_BYTES}"
        )
    return bool(described.num_rows * unfolded <= MOST_BYTES)


def _read_repeated(path: Path, content: bytes) -> pyarrow.Table:
    """Texts are read as numbers of a dictionary first, for a long one repeated takes no room in a file."""
    import pyarrow
    import pyarrow.compute
    import pyarrow.parquet

    source = pyarrow.BufferReader(content)
    schema = pyarrow.parquet.read_schema(source)
    if not {str(each.type) for each in schema} <= {"int64", "int32", "double", "bool", "string"}:
        raise broken(path, "it has columns of other types than records have")
    texts = [each.name for each in schema if str(each.type) == "string"]
    with pyarrow.parquet.ParquetFile(source, read_dictionary=texts, pre_buffer=False) as file:
        table = file.read(use_threads=False)
    for name in texts:
        chunks = [chunk for chunk in table[name].chunks if len(chunk.dictionary)]
        longest = [
            pyarrow.compute.max(pyarrow.compute.binary_length(each.dictionary)).as_py() for each in chunks
        ]
        if (
            sum(len(chunk) * (length or 0) for chunk, length in zip(chunks, longest, strict=True))
            > MOST_BYTES
        ):
            raise broken(path, f"its column {brief(name)} unfolds to more than {MOST_BYTES} bytes")
    return table.cast(schema)


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
