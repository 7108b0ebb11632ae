"""Predicted against published, as the table that every validation ends in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from vfbench.validation.published.entries import Published
from vfbench.validation.published.predict import LARGEST_ERROR, Prediction
from vfbench.validation.tables import Row, ValidationTable

LEFT_OUT: Final = (
    "Offloads that join packets (segmentation in the card, GRO in the driver): each packet pays the stack alone, "
    "which makes the predicted processor-bound throughput of TCP too low.",
    "A range counts as met anywhere inside; its column shows the bound that is nearest to the prediction.",
)


def published_table(predictions: Sequence[Prediction], circumstances: Mapping[str, str]) -> ValidationTable:
    """One row for each prediction. What is off and says why is shown with its error, but is not judged."""
    return ValidationTable(
        name="published",
        title="Published results",
        observed_as="published",
        rows=tuple(_row(each) for each in predictions),
        circumstances=circumstances,
        left_out=(*_excused(predictions), *LEFT_OUT),
    )


def _excused(predictions: Sequence[Prediction]) -> tuple[str, ...]:
    """The results that are far off and not judged, counted, with the worst: a summary of goals hides them."""
    off = [each for each in predictions if each.is_off and each.published.lacks]
    if not off:
        return ()
    worst = max(off, key=lambda each: abs(each.error or 0.0))
    return (
        f"{len(off)} of {len(predictions)} results are off by more than {LARGEST_ERROR:.0%} and say what their source "
        f"had that the suite has not; worst {worst.published.name}, {100 * (worst.error or 0.0):+.1f} %.",
    )


def _row(prediction: Prediction) -> Row:
    entry = prediction.published
    is_excused = entry.lacks != "" and (entry.take == "nothing" or prediction.is_off)
    return Row(
        case=entry.name,
        measure=entry.what,
        unit=entry.unit,
        predicted=prediction.predicted,
        observed=_observed(entry, prediction.predicted),
        goal="none" if is_excused else "relative",
        limit=LARGEST_ERROR,
        source=f"{entry.source}; {entry.machine} ({entry.sure})",
        note=_note(entry, prediction.failure),
    )


def _observed(entry: Published, predicted: float | None) -> float | str:
    if predicted is None:
        return entry.published
    return min(max(predicted, entry.low), entry.high)


def _note(entry: Published, failure: str) -> str:
    failed = f"the run failed: {failure}" if failure else ""
    stated = f"published as {entry.published}" if entry.low < entry.high else ""
    lacks = f"lacks: {entry.lacks}" if entry.lacks else ""
    return "; ".join(part for part in (failed, f"sure {entry.sure}", stated, lacks) if part)
