"""How a strategy looks in every figure: colour, marker and hatch follow from its name alone.

The colours are those of Okabe and Ito ("Color Universal Design", 2008) that stand out from white and from black;
marker and hatch tell the same without any colour.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

COLOURS = ("#CC79A7", "#D55E00", "#E69F00", "#0072B2", "#56B4E9", "#009E73")
"""Reddish purple, vermillion, orange, blue, sky blue, bluish green."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")
HATCHES = ("", "///", "|||", "\\\\\\", "xx", "---", "++")
SALT = (107_810).to_bytes(4, "little")
"""With it no two shipped strategies share two of colour, marker and hatch."""
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 3)))
"""A strategy's variants, in their order in the figure."""

INK = "#202124"
"""Text, axes and outlines; the report's page replaces it by its own text colour."""
MUTED = "#5f6469"
FAINT = "#d3d6da"

RC: dict[Any, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "hatch.color": INK,
    "hatch.linewidth": 0.5,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 6.0,
    "figure.facecolor": "white",
    "svg.fonttype": "path",
    "svg.hashsalt": "vfbench",
}
"""Text becomes paths in SVG, so that no reader's fonts can make it overlap; equal figures are equal bytes."""


@dataclass(frozen=True)
class Look:
    """What tells a strategy apart, with colour and without."""

    colour: str
    marker: str
    hatch: str


def look(strategy: str) -> Look:
    """The same for a name everywhere, in every version: a digest of the name picks."""
    digest = int.from_bytes(hashlib.blake2b(strategy.encode(), digest_size=8, salt=SALT).digest(), "little")
    rest, colour = divmod(digest, len(COLOURS))
    rest, shape = divmod(rest, len(MARKERS))
    return Look(COLOURS[colour], MARKERS[shape], HATCHES[rest % len(HATCHES)])
