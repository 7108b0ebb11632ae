"""What was measured: its schema, and how it is written and read.

`read_runs`, `read_rounds` and `read_intervals` give pandas frames; `read_records` the same as plain values.
"""

from __future__ import annotations

from vfbench.records.environment import environment
from vfbench.records.outcome import STATES, Outcome
from vfbench.records.read import (
    Record,
    intervals_frame,
    read_intervals,
    read_manifest,
    read_record,
    read_records,
    read_rounds,
    read_runs,
    rounds_frame,
    runs_frame,
)
from vfbench.records.schema import INTERVALS, MEASURES, ROUNDS, RUNS, SCHEMA_VERSION, TRAITS, Column
from vfbench.records.select import where
from vfbench.records.write import RECORD_FILES, Encoded, ResultSet, check_writable, encode, run_folder_name

__all__ = [
    "INTERVALS",
    "MEASURES",
    "RECORD_FILES",
    "ROUNDS",
    "RUNS",
    "SCHEMA_VERSION",
    "STATES",
    "TRAITS",
    "Column",
    "Encoded",
    "Outcome",
    "Record",
    "ResultSet",
    "check_writable",
    "encode",
    "environment",
    "intervals_frame",
    "read_intervals",
    "read_manifest",
    "read_record",
    "read_records",
    "read_rounds",
    "read_runs",
    "rounds_frame",
    "run_folder_name",
    "runs_frame",
    "where",
]
