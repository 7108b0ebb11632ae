"""Writes the tables of costs in model.md from the profile: `python docs/cost_tables.py`.

A table stands between `<!-- costs: NAME NAME -->` and `<!-- end of costs -->`. A test sees to it that the page says
what the profile says, and that every cost is on it.
"""

from __future__ import annotations

import re
from pathlib import Path

from vfbench.profiles import Figure, Profile, load_profile

PAGE = Path(__file__).with_name("model.md")
BLOCK = re.compile(r"(<!-- costs: ([a-z0-9_ \n]+?) -->\n).*?(<!-- end of costs -->)", re.DOTALL)


def named(page: str) -> list[str]:
    """The costs that the page has tables of, in its order."""
    return [name for block in BLOCK.finditer(page) for name in block[2].split()]


def renewed(page: str, profile: Profile) -> str:
    """The page with each of its tables as the profile has it."""
    return BLOCK.sub(lambda block: block[1] + _table(block[2].split(), profile) + block[3], page)


def _table(names: list[str], profile: Profile) -> str:
    lines = [
        "| cost | figure | plausible | sure | what is paid | source |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_row(name, profile.figures[name]) for name in names]
    return "\n".join(lines) + "\n"


def _row(name: str, figure: Figure) -> str:
    unit = figure.unit.replace("_per_", "/")
    cells = (
        f"`{name}`",
        f"{figure.value:g} {unit}",
        f"{figure.low:g} to {figure.high:g}",
        figure.sure,
        figure.what,
        " ".join(figure.source.split()),
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8"), load_profile("xeon-82599")), encoding="utf-8")
