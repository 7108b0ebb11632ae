"""A record's table as the bytes of a Parquet file, at the cost of milliseconds: a sweep writes thousands of them.

Columns are made from buffers as Arrow's columnar format lays them out (values, offsets, a validity bitmap with the
least significant bit first), because `pyarrow.array` imports pandas, half a second in every run. Dictionaries,
statistics and zstd's contexts would take longer than they save in tables of a few rows; `pack` is for size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from vfbench.records.schema import Cell, Column

if TYPE_CHECKING:
    import pyarrow


def parquet(rows: Sequence[Mapping[str, Cell]], columns: tuple[Column, ...]) -> bytes:
    """The rows as a Parquet file of these columns, null where a row has None; units and meanings go with them."""
    import pyarrow
    import pyarrow.parquet

    arrays = [_array([row[column.name] for row in rows], column.type) for column in columns]
    table = pyarrow.Table.from_arrays(arrays, schema=_schema(columns))
    sink = pyarrow.BufferOutputStream()
    pyarrow.parquet.write_table(
        table, sink, compression="snappy", use_dictionary=False, write_statistics=False
    )
    content: bytes = sink.getvalue().to_pybytes()
    return content


@cache
def _schema(columns: tuple[Column, ...]) -> pyarrow.Schema:
    import pyarrow

    return pyarrow.schema(
        [
            pyarrow.field(column.name, column.type, metadata={"unit": column.unit, "meaning": column.meaning})
            for column in columns
        ]
    )


def _array(values: Sequence[Cell], type_: str) -> pyarrow.Array:
    import pyarrow

    present = [value is not None for value in values]
    valid = _bitmap(present)
    match type_:
        case "string":
            texts = [
                str(value).encode(errors="backslashreplace") if value is not None else b"" for value in values
            ]
            offsets = np.cumsum([0, *map(len, texts)], dtype=np.int32)
            buffers = [valid, pyarrow.py_buffer(offsets), pyarrow.py_buffer(b"".join(texts))]
        case "bool":
            buffers = [valid, _bitmap([bool(value) for value in values])]
        case _:
            numbers = np.array([0 if value is None else value for value in values], dtype=type_)
            buffers = [valid, pyarrow.py_buffer(numbers)]
    type_of = getattr(pyarrow, type_ + ("_" if type_ == "bool" else ""))()
    return pyarrow.Array.from_buffers(type_of, len(values), buffers)


def _bitmap(bits: Sequence[bool]) -> pyarrow.Buffer:
    import pyarrow

    return pyarrow.py_buffer(np.packbits(np.array(bits, dtype=bool), bitorder="little").tobytes())
