"""A figure as SVG for a page with its own colours, or as PNG."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

import matplotlib

from vfbench.report.figures.look import FAINT, INK, MUTED, RC

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PAGE_COLOURS = {INK: "var(--ink)", MUTED: "var(--muted)", FAINT: "var(--rule)"}
PNG_DPI = 130


def to_svg(figure: Figure, name: str, description: str) -> str:
    """An `<svg>` element to stand in a page: ids begin with `name`, ink is the page's `--ink`.

    The page has to define `--ink`, `--muted` and `--rule`. `description` is what a screen reader says.
    """
    file = io.StringIO()
    with matplotlib.rc_context(RC):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", svg)
    for ink, colour in _PAGE_COLOURS.items():
        svg = svg.replace(ink, colour)
    width, height = (round(size * 72) for size in figure.get_size_inches())
    head = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{_attribute(description)}"'
    head += ' xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">'
    return head + svg[svg.index(">") + 1 :]


def to_png(figure: Figure) -> bytes:
    """The same on white paper."""
    file = io.BytesIO()
    with matplotlib.rc_context(RC):
        figure.savefig(file, format="png", dpi=PNG_DPI, metadata={"Software": None})
    return file.getvalue()


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
