"""One case of a migration, and the account of it: the same fields, whether QEMU gives them or the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from vfbench.settings import Precopy
from vfbench.validation.qemu.guest import Program

HEADER_BYTES: Final = 8
"""What QEMU puts before each page."""
MOST_BYTES_PER_S: Final = 10**11


@dataclass(frozen=True)
class Case:
    """What to migrate, and how. After `limit_ms` a migration that hasn't converged is cancelled.

    `channels` are multifd's, 0 for the one stream; `zero_pages` is QEMU's zero-page-detection, "" for its default.
    """

    name: str
    program: Program
    bandwidth_bytes_per_s: int
    downtime_limit_ms: int
    limit_ms: int
    channels: int = 0
    zero_pages: str = ""
    auto_converge: bool = False
    least_release: tuple[int, int] = (0, 0)
    """The first QEMU that has what the case asks for."""

    @property
    def settings(self) -> Precopy:
        """What of it an experiment's settings say."""
        return Precopy(
            bandwidth_bps=8 * min(self.bandwidth_bytes_per_s, MOST_BYTES_PER_S),
            line_rate_bps=8 * MOST_BYTES_PER_S,
            downtime_limit_ns=self.downtime_limit_ms * 10**6,
            max_rounds=100_000,
            multifd_channels=self.channels,
            zero_pages=self.zero_pages or "filled",
            auto_converge=self.auto_converge,
        )


@dataclass(frozen=True)
class Account:
    """What became of a migration. `syncs`: of the dirty log, QEMU's dirty-sync-count, the first and last included.

    `throttle_percent` is the last throttle of the vCPUs, None without auto-converge.
    """

    converged: bool
    syncs: int
    sent_bytes: int
    total_ms: float
    downtime_ms: float | None
    throttle_percent: int | None = None


@dataclass(frozen=True)
class Stores:
    """What the guest's own count says: stores to pages made before the migration began, and made per second."""

    before: int
    per_s: float


@dataclass(frozen=True)
class Host:
    """What the model has to know of this QEMU on this machine: measured on guests of their own, never on a case.

    `line_bytes_per_s` is what QEMU sends without a limit; `stopped_bytes_per_s` what it sends once the guest stands
    still, of pages that it sent before: the destination has them already and takes no faults. A bandwidth window
    lasts `window_late_ms` longer than 100 ms, because the migration thread wakes late and doesn't make up for it; of
    the RAM's `pages`, `nonzero_pages` hold something. `buffer_pages` go into QEMU's buffer before what is in it counts
    towards a window's share; 1 where each counts at once. A packet of multifd counts once its channel has sent it, and
    the migration thread has queued more by then: with so many channels a window sends `channels_ahead_bytes` more.
    """

    line_bytes_per_s: float
    stopped_bytes_per_s: float
    window_late_ms: float
    pages: int
    nonzero_pages: int
    buffer_pages: int = 1
    channels_ahead_bytes: Mapping[int, float] = field(default_factory=dict)
