"""The VF's state in its four parts (S1), and what each costs to save and to restore.

PCI configuration registers, the MSI-X table, the VF's state in the PF's driver, and the VF's own registers. With
self-emulation (S2) the driver kept every register that it wrote in guest memory, so nothing has to be read from
the device: the values travel with RAM and are only written again.
"""

from __future__ import annotations

from dataclasses import dataclass

from vfbench.machine.vf.registers import COMMON_REGISTERS, QUEUE_REGISTERS
from vfbench.mechanism import DeviceState
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


def driver_state_cost(profile: Profile, state: DeviceState, line_rate_bps: int) -> StateCost:
    """What a variant driver takes to save and load what was not sent before the stop, for all VFs of a guest.

    All VFs go through P2P together before any of them stops (VFIO_DEVICE_STATE_RUNNING_P2P), so stopping and starting
    cost twice with several. Saving streams: the slower of driver and line counts. Loads follow one another unless they
    are `parallel`.
    """
    steps = 2 if state.vfs > 1 else 1
    left_bytes = max(0, state.state_bytes - state.precopy_bytes)
    save_ps = left_bytes * profile.picoseconds_per_byte("vf_state_save_rate")
    line_ps = left_bytes * 8e12 / line_rate_bps
    load_ps = left_bytes * profile.picoseconds_per_byte("vf_state_load_rate")
    loads = 1 if state.parallel else state.vfs
    return StateCost(
        round(steps * profile.picoseconds("vf_stop") + state.vfs * max(save_ps, line_ps)),
        round(steps * profile.picoseconds("vf_start") + loads * load_ps),
    )
