"""A device that logs each page it writes into a ring, and must wait for the host when the ring is full."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from foreign_strategies.write_log import WriteLog
from vfbench.mechanisms.backends import Vf
from vfbench.parameters import parameter
from vfbench.strategy import Strategy, stop_and_copy


@dataclass(frozen=True)
class LoggingDevice(Strategy):
    """A device log that fills."""

    name: ClassVar[str] = "logging-device"
    entries: int = parameter(64, unit="count", low=1, high=1 << 20, help="entries of the ring")
    mechanisms = property(lambda self: (Vf(), WriteLog(self.entries)))

    def migrate(self, migration):
        migration.arm_tracking()
        migration.pre_copy()
        stop_and_copy(migration, "device-first")
        migration.transfer_vf_state()
        migration.restore_rings()
        migration.resume()
        migration.disarm_tracking()
