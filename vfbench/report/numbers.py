"""Figures as text: three significant digits, counts in full, sizes in binary units."""

from __future__ import annotations

KIB = 1024


def number(value: float) -> str:
    """Three significant digits, and all of them before the point."""
    if value == 0:
        return "0"
    exponent = int(f"{value:.2e}".partition("e")[2])
    return f"{value:,.{max(0, 2 - exponent)}f}"


def spread(reach: float, beside: float) -> str:
    """How far the repeats reach, with the decimals of the figure that it stands beside; 0 where none of them shows."""
    decimals = len(number(beside).partition(".")[2])
    text = f"{reach:,.{decimals}f}"
    return text if float(text.replace(",", "")) else "0"


def whole(value: float) -> str:
    """A count in full; a median between two counts keeps its half."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,.1f}"


def size(value: float) -> str:
    """Bytes in the largest binary unit that leaves at least 1."""
    if value < KIB:
        return f"{value:.0f} B"
    units = ["KiB", "MiB", "GiB", "TiB"]
    value /= KIB
    while round(value) >= KIB and len(units) > 1:
        value /= KIB
        units.pop(0)
    return f"{number(value)} {units[0]}"


def share(value: float) -> str:
    """Of a yes-or-no measure."""
    return {0.0: "no", 1.0: "yes"}.get(value) or f"{value:.0%} yes"


def percent(value: float) -> str:
    """A share as a percentage that says 100 only of all, and 0 only of nothing."""
    text = f"{100 * value:.0f}"
    if (text == "100" and value < 1) or (text == "0" and value > 0):
        text = f"{100 * value:.1f}" if 0.0005 <= value < 0.9995 else (">99.9" if value > 0.5 else "<0.1")
    return f"{text} %"
