"""The grid files that come with the suite: beside it in a clone, in the package where it was installed."""

from __future__ import annotations

from pathlib import Path

from vfbench.errors import UserError

SWEEPS = Path(__file__).resolve().parent.parent.parent / "sweeps"
NO_GRID = ("crosscheck-qemu", "faults")
"""Files there that hold something else."""


def shipped_sweeps() -> list[str]:
    """The names by which `bench sweep` finds them."""
    return [path.stem for path in sorted(SWEEPS.glob("*.toml")) if path.stem not in NO_GRID]


def grid_file(text: str) -> Path:
    """`quick`, `sweeps/quick.toml`, or a file of one's own; UserError that says what there is."""
    path = Path(text)
    if path.exists():
        return path
    name = path.stem if path.suffix == ".toml" else text
    shipped = SWEEPS / f"{name}.toml"
    if name in shipped_sweeps() and path.parent in (Path(), Path("sweeps")):
        return shipped
    there = ", ".join(shipped_sweeps()) or "none"
    raise UserError(f"there is no grid file {text!r}; name a file in TOML, or one of those shipped: {there}")
