"""Predicted against published, as the table that every validation ends in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Final

from vfbench.validation.published.entries import GOAL, Published
from vfbench.validation.published.predict import Prediction
from vfbench.validation.tables import Row, ValidationTable

LEFT_OUT: Final = (
    "TCP's own work: acknowledgements, window and retransmission; a stream is frames of one flow that GRO joins.",
    "A range counts as met anywhere inside; its column shows the bound that is nearest to the prediction.",
)


def published_table(predictions: Sequence[Prediction], circumstances: Mapping[str, str]) -> ValidationTable:
    """One row for each prediction, each judged by the same goal. What waits for its mechanism is missed."""
    return ValidationTable(
        name="published",
        title="Published results",
        observed_as="published",
        rows=tuple(_row(each) for each in predictions),
        circumstances=circumstances,
        left_out=(*_typical(predictions), *_waiting(predictions), *LEFT_OUT),
    )


def _typical(predictions: Sequence[Prediction]) -> tuple[str, ...]:
    """The median error of what was run: one good row and one bad one say little."""
    errors = [abs(each.error) for each in predictions if each.error is not None]
    return (
        (f"the median error of the {len(errors)} that are run is {100 * median(errors):.1f} %.",)
        if errors
        else ()
    )


def _waiting(predictions: Sequence[Prediction]) -> tuple[str, ...]:
    """How many rows are missed because their mechanism is not modelled."""
    waiting = [each for each in predictions if each.published.take == "pending"]
    return (
        (f"{len(waiting)} of {len(predictions)} wait for a mechanism, and count as missed.",)
        if waiting
        else ()
    )


def _row(prediction: Prediction) -> Row:
    entry = prediction.published
    return Row(
        case=entry.name,
        measure=entry.what,
        unit=entry.unit,
        predicted=prediction.predicted,
        observed=_observed(entry, prediction.predicted),
        goal="relative",
        limit=GOAL,
        source=f"{entry.source}; {entry.machine} ({entry.sure})",
        note=_note(prediction),
    )


def _observed(entry: Published, predicted: float | None) -> float | str:
    if predicted is None:
        return entry.published
    return min(max(predicted, entry.low), entry.high)


def _note(prediction: Prediction) -> str:
    entry, failure = prediction.published, prediction.failure
    failed = f"the run failed: {failure}" if failure else ""
    waits = f"not modelled yet: {entry.needs}" if entry.needs else ""
    stated = f"published as {entry.published}" if entry.low < entry.high else ""
    is_off = prediction.error is not None and abs(prediction.error) > GOAL
    explains = f"there: {entry.explains}" if entry.explains and is_off else ""
    return "; ".join(part for part in (failed, waits, f"sure {entry.sure}", stated, explains) if part)
