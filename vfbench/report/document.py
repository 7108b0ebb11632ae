"""Runs as one JSON document, for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from vfbench.records import SCHEMA_VERSION, Record


def json_document(records: Iterable[Record], relative: Sequence[dict[str, Any]] = ()) -> str:
    """`{"schema": ..., "runs": [...]}`, and `relative` where rows relative to a baseline are given.

    A run has every column of `schema.RUNS`, its parameters and rounds. Missing values are null. `wall_s` is the
    seconds that the testbed took, `record` the run's folder.
    """
    runs = [_run(record) for record in records]
    document = {"schema": SCHEMA_VERSION, "runs": runs, **({"relative": list(relative)} if relative else {})}
    return json.dumps(document, indent=2, allow_nan=False)


def _run(record: Record) -> dict[str, Any]:
    return {
        **record.run,
        "wall_s": record.manifest["wall_s"],
        "settings": record.settings,
        "rounds": record.rounds,
        "record": str(record.path),
    }
