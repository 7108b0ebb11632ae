"""`bench validate model`: every known answer beside what the model gives, as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Final

from vfbench.records.environment import environment
from vfbench.validation.known.precopy import divergence_rows, held_back_rows, series_rows
from vfbench.validation.known.queueing import little_rows, waiting_rows
from vfbench.validation.known.throughput import line_rate_rows, processor_limit_rows
from vfbench.validation.tables import Row, ValidationTable

PARTS: Final[tuple[Callable[[], Iterator[Row]], ...]] = (
    line_rate_rows,
    processor_limit_rows,
    series_rows,
    divergence_rows,
    held_back_rows,
    waiting_rows,
    little_rows,
)


def compare() -> ValidationTable:
    """Compute all; some seconds once the kernels are compiled."""
    return ValidationTable(
        name="model",
        title="The model against itself",
        observed_as="closed form",
        rows=tuple(row for part in PARTS for row in part()),
        circumstances={
            "costs": "all zero, but for those named",
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "source hash": str(environment()["source_hash"]),
            "command": "bench validate model",
        },
    )
