"""Untracked.

The VF is assigned, its DMA is not tracked, and the guest is migrated all the same: only what the CPU stored to
crosses again. This is the bad baseline that the argument starts from. Pages that the device wrote after their
last copy arrive as they were before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from vfbench.mechanism import Mechanism
from vfbench.mechanisms.backends import Vf
from vfbench.parameters import parameter
from vfbench.strategy import FAULT_OF_STOP_ORDER, STOP_ORDERS, Migration, Strategy, stop_and_copy


@dataclass(frozen=True)
class Untracked(Strategy):
    """An assigned VF whose DMA nobody tracks: the bad baseline."""

    name: ClassVar[str] = "untracked"

    stop_order: str = parameter(
        "guest-first", choices=STOP_ORDERS, help="what stops first; the baseline asks nothing of the driver"
    )

    @property
    def mechanisms(self) -> tuple[Mechanism, ...]:
        return (Vf(),)

    @property
    def faults(self) -> tuple[int, ...]:
        return FAULT_OF_STOP_ORDER[self.stop_order]

    def migrate(self, migration: Migration) -> None:
        migration.pre_copy()
        stop_and_copy(migration, self.stop_order)
        migration.transfer_vf_state()
        migration.restore_rings()
        migration.resume()
