"""How much of a capture was replayed: once through, a part of it, or again and again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from vfbench.report.groups import Group
from vfbench.report.numbers import number, whole


def about_input(groups: Sequence[Group]) -> Iterable[str]:
    """One sentence for each length of a capture."""
    found: dict[int, list[int]] = {}
    for group in groups:
        for record in group.measured:
            frames, offered = record.run["input_frames"], record.run["packets_offered"]
            if isinstance(frames, int) and isinstance(offered, int) and frames:
                found.setdefault(frames, []).append(offered)
    for frames, replayed in found.items():
        least, most = min(replayed), max(replayed)
        counts = whole(least) if least == most else f"{whole(least)} to {whole(most)}"
        times = f", {number(least / frames)} times all of it" if least > frames else ""
        yield f"Replayed of the capture's {whole(frames)} frames: {counts}{times}."
