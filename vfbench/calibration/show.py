"""What a calibration found, as lines for people."""

from __future__ import annotations

from collections.abc import Iterator

from vfbench.calibration.calibrate import Calibration
from vfbench.calibration.measurement import Result
from vfbench.profiles import Profile

NONE = "-"


def lines(found: Calibration, base: Profile) -> Iterator[str]:
    """A table of what was measured, with the base's figure beside it; then what was not, and why; then how."""
    yield f"{'figure':<26} {'median':>10} {'5 %':>10} {'95 %':>10} {'unit':<13} {base.name}"
    for each in found.results:
        yield (
            f"{each.figure:<26} {each.median:>10.4g} {each.low:>10.4g} {each.high:>10.4g} {each.unit:<13} "
            f"{_of_base(each, base)}"
        )
    kept = sum(each.measured is None for each in found.profile.figures.values())
    yield ""
    yield f"{kept} of {len(found.profile.figures)} figures are kept from {base.name}."
    for missed in found.not_measured:
        yield f"{missed.figure}: not measured, {missed.reason}; that of {base.name} is kept"
    for each in found.results:
        place = "" if each.belongs else " (belongs to no cost of a profile)"
        yield f"{each.figure}{place}: {each.method}"


def _of_base(result: Result, base: Profile) -> str:
    """The base's figure in the unit of the result."""
    if not result.belongs:
        return NONE
    if result.unit == "ns":
        return f"{base.picoseconds(result.figure) / 1000:.4g}"
    if result.unit == "bytes_per_us":
        return f"{1e6 / base.picoseconds_per_byte(result.figure):.4g}"
    return f"{base.value(result.figure):.4g}"
