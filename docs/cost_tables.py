"""Writes the tables of costs in model.md and of machines in machines.md: `python docs/cost_tables.py`.

A table of costs stands between `<!-- costs: NAME NAME -->` and `<!-- end of costs -->`. What the machine of 2015 has
not is taken from the machine of today. A test sees to it that the pages say what the profiles say, and that every
cost is on them.
"""

from __future__ import annotations

import re
from pathlib import Path

from vfbench.files import write_file
from vfbench.profiles import CAPABILITIES, Figure, Profile, load_profile, shipped_profiles

PAGE = Path(__file__).with_name("model.md")
MACHINES = Path(__file__).with_name("machines.md")
OLDER, NEWER = "xeon-82599", "modern-100g"
BLOCK = re.compile(r"(<!-- costs: ([a-z0-9_ \n]+?) -->\n).*?(<!-- end of costs -->)", re.DOTALL)


def named(page: str) -> list[str]:
    """The costs that the page has tables of, in its order."""
    return [name for block in BLOCK.finditer(page) for name in block[2].split()]


def renewed(page: str, profile: Profile, newer: Profile) -> str:
    """The page with each of its tables as the profile has it, or the newer one where that has not."""
    figures = {**newer.figures, **profile.figures}
    return BLOCK.sub(lambda block: block[1] + _table(block[2].split(), figures) + block[3], page)


def machines(page: str) -> str:
    """The page with its table of what each shipped profile's machine has."""
    names = sorted(shipped_profiles(), key=lambda name: (load_profile(name).offers["year"], name))
    loaded = [load_profile(name) for name in names]
    lines = [f"| capability | {' | '.join(names)} | in words |", "| --- |" + " --- |" * (len(names) + 1)]
    for name, capability in CAPABILITIES.items():
        cells = [_offer(profile.offers[name], profile.machine[name].sure) for profile in loaded]
        lines.append(f"| `{name}` | {' | '.join(cells)} | {capability.what} |")
    head, _, rest = page.partition("<!-- machines -->\n")
    return head + "<!-- machines -->\n" + "\n".join(lines) + "\n<!-- end" + rest.partition("<!-- end")[2]


def _offer(has: object, sure: str) -> str:
    word = {"True": "yes", "False": "no"}.get(str(has), str(has))
    return f"{word} ({sure})"


def _table(names: list[str], figures: dict[str, Figure]) -> str:
    lines = [
        "| cost | figure | plausible | sure | what is paid | source |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [_row(name, figures[name]) for name in names]
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
    older, newer = load_profile(OLDER), load_profile(NEWER)
    write_file(PAGE, renewed(PAGE.read_text(encoding="utf-8"), older, newer), replace=True)
    write_file(MACHINES, machines(MACHINES.read_text(encoding="utf-8")), replace=True)
