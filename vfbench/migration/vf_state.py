"""The VF's state in its four parts (S1), and what each costs to save and to restore.

PCI configuration registers, the MSI-X table, the VF's state in the PF's driver, and the VF's own registers. With
self-emulation (S2) the driver kept every register that it wrote in guest memory, so nothing has to be read from
the device: the values travel with RAM and are only written again.
"""

from __future__ import annotations

from dataclasses import dataclass

from vfbench.machine.vf.registers import COMMON_REGISTERS, QUEUE_REGISTERS
from vfbench.profiles import Profile

CONFIG_REGISTERS = 64
"""256 bytes of configuration space, four at a time."""


@dataclass(frozen=True)
class StateCost:
    """Picoseconds to save the state at the source, and to restore it at the destination."""

    save_ps: int
    restore_ps: int


def state_cost(profile: Profile, queues: int, self_emulated: bool) -> StateCost:
    """What the four parts take for a VF with ``queues`` queue pairs and one MSI-X vector each, one for its mailbox."""
    registers = queues * len(QUEUE_REGISTERS) + len(COMMON_REGISTERS)
    vectors = queues + 1
    common_ps = (
        CONFIG_REGISTERS * profile.picoseconds("config_space_access")
        + vectors * profile.picoseconds("msix_entry")
        + profile.picoseconds("pf_state_read")
    )
    read_ps = 0 if self_emulated else registers * profile.picoseconds("mmio_read")
    return StateCost(common_ps + read_ps, common_ps + registers * profile.picoseconds("mmio_write"))
