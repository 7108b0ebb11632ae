"""Runs as one JSON document, for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from vfbench.records import SCHEMA_VERSION, Record
from vfbench.records.damage import damage_of, verdict_of
from vfbench.report.answer import answer_of
from vfbench.report.groups import grouped


def json_document(records: Iterable[Record], relative: Sequence[dict[str, Any]] = ()) -> str:
    """`{"schema": ..., "integrity": [...], "answer": [...], "runs": [...]}`, and `relative` with a baseline.

    `integrity` leads: by variant whether it arrived whole, over all its repeats. A run has the same of itself, every
    column of `schema.RUNS`, its parameters and rounds. Missing values are null. `wall_s` is the seconds that the
    testbed took, `record` the run's folder.
    """
    records = list(records)
    document = {
        "schema": SCHEMA_VERSION,
        "integrity": integrity(records),
        "answer": answer_of(records).sentences if records else [],
        "runs": [_run(record) for record in records],
        **({"relative": list(relative)} if relative else {}),
    }
    return json.dumps(document, indent=2, allow_nan=False)


def integrity(records: Iterable[Record]) -> list[dict[str, Any]]:
    """By variant, whether it arrived whole: the verdict, in how many runs, and the worst of each kind of damage."""
    return [{"variant": group.label, **group.damage.to_json()} for group in grouped(records)]


def _run(record: Record) -> dict[str, Any]:
    return {
        "integrity": verdict_of(record.run),
        "damage": damage_of(record.run),
        **record.run,
        "wall_s": record.manifest["wall_s"],
        "settings": record.settings,
        "rounds": record.rounds,
        "record": str(record.path),
    }
