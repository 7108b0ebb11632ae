"""The log and the table at once: two mechanisms, named, make a hybrid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from foreign_strategies.published_maps import SharedTable
from foreign_strategies.write_log import WriteLog
from vfbench.mechanisms.backends import Vf
from vfbench.strategy import Strategy, stop_and_copy


@dataclass(frozen=True)
class BothTogether(Strategy):
    """A log in the device and a table of maps; what either shows is dirty."""

    name: ClassVar[str] = "both-together"
    mechanisms = property(lambda self: (Vf(), WriteLog(), SharedTable()))

    def migrate(self, migration):
        migration.arm_tracking()
        migration.pre_copy()
        stop_and_copy(migration, "device-first")
        migration.transfer_vf_state()
        migration.restore_rings()
        migration.resume()
        migration.disarm_tracking()
