"""QEMU's pre-copy, round by round, from what it says when it is asked."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

Row = dict[str, Any]


@dataclass
class Round:
    """From one sync of the dirty log to the next; bytes and pages are QEMU's counters at its two ends."""

    start_ms: float
    begin: Row
    end: Row
    end_ms: float
    device_pages: int | None = None
    """Pages that the device wrote in the round, where its writes are shown to QEMU's dirty log."""


@dataclass
class Rounds:
    """``note`` is given each answer of ``query-migrate``, as often as one likes."""

    rounds: list[Round] = field(default_factory=list)
    moved_s: float = 0.0
    """When QEMU was last seen to have sent something or to have looked at its dirty log again."""
    _moved: tuple[int, int] = (0, 0)

    @property
    def count(self) -> int:
        """Syncs of the dirty log so far."""
        return len(self.rounds)

    @property
    def in_round_s(self) -> float:
        """For how long the present one has gone on, as far as is known."""
        return (self.rounds[-1].end_ms - self.rounds[-1].start_ms) / 1000 if self.rounds else 0.0

    def note(self, status: Row, at_s: float) -> bool:
        """Take down where QEMU is; True if a round began since the last call."""
        ram = status.get("ram")
        if not ram:
            self.moved_s = at_s
            return False
        moved = (int(ram["dirty-sync-count"]), int(ram["transferred"]))
        if moved != self._moved:
            self._moved, self.moved_s = moved, at_s
        if self.rounds and self.rounds[-1].begin["dirty-sync-count"] == ram["dirty-sync-count"]:
            self.rounds[-1].end, self.rounds[-1].end_ms = ram, at_s * 1000
            return False
        if self.rounds:
            self.rounds[-1].end, self.rounds[-1].end_ms = ram, at_s * 1000
        self.rounds.append(Round(at_s * 1000, ram, ram, at_s * 1000))
        return True

    def rows(self) -> list[Row]:
        """By the columns of ``vfbench.records.schema.ROUNDS``.

        QEMU does not tell the CPU's pages from the device's: the latter are what the VF's server counted. All pages are
        sent in the first round, so what is sent later is sent again.
        """
        return [
            {
                "round": number,
                "start_ms": each.start_ms,
                "duration_ms": each.end_ms - each.start_ms,
                "sent_pages": each.end["normal"] - each.begin["normal"],
                "sent_bytes": each.end["transferred"] - each.begin["transferred"],
                "resent_bytes": each.end["transferred"] - each.begin["transferred"] if number else 0,
                "dirty_pages": self._dirty_at_end(number),
                "dirty_pages_dma": each.device_pages,
                "pending_bytes": each.end["remaining"],
                "bandwidth_bps": each.end.get("mbps", 0.0) * 1e6 or None,
            }
            for number, each in enumerate(self.rounds)
        ]

    def _dirty_at_end(self, number: int) -> int | None:
        """What the sync at the round's end found: what was left to send just after it, in pages."""
        if number + 1 >= len(self.rounds):
            return None
        following = self.rounds[number + 1].begin
        return int(following["remaining"] // following.get("page-size", 4096))
