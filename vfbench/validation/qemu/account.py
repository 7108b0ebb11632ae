"""One case of a migration, and the account of it: the same fields, whether QEMU gives them or the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vfbench.validation.qemu.guest import Program

HEADER_BYTES: Final = 8
"""What QEMU puts before each page."""


@dataclass(frozen=True)
class Case:
    """What to migrate, and how. After `limit_ms` a migration that hasn't converged is cancelled."""

    name: str
    program: Program
    bandwidth_bytes_per_s: int
    downtime_limit_ms: int
    limit_ms: int


@dataclass(frozen=True)
class Account:
    """What became of a migration. `syncs`: of the dirty log, QEMU's dirty-sync-count, the first and last included."""

    converged: bool
    syncs: int
    sent_bytes: int
    total_ms: float
    downtime_ms: float | None


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
    towards a window's share; 1 where each counts at once.
    """

    line_bytes_per_s: float
    stopped_bytes_per_s: float
    window_late_ms: float
    pages: int
    nonzero_pages: int
    buffer_pages: int = 1
