"""The registers that a guest reaches by leaving it: 64 I/O ports and a window of device registers.

Both are one array of values with one array of counts beside it: entry 0 to 63 is a port, entry 64 + n the
32-bit register at MMIO_BASE + 4 n. The exit loop stores what the guest writes and answers reads from it; a
device that runs in another thread reads and writes the same array.
"""

from __future__ import annotations

import numpy as np

PORTS = 64
MMIO_BASE = 0xD000_0000
MMIO_BYTES = 16 << 10  # BAR 0 of the 82599's VF
REGISTERS = PORTS + MMIO_BYTES // 4

# What an access does besides storing or answering; bits of `Registers.actions`.
STOP = 1  # ends the run (after the access has been done and counted)
READ_ONLY = 2  # the guest's writes are counted and dropped, as for the device's head registers
SERVED = 4  # the service is called, and gives the value of a read

# The port by which the entry stub reports that the guest's function returned.
RETURN_PORT = 0x3F
# The ports by which an exception's handler says where it happened, and which exception it is.
FAULT_LOW_PORT, FAULT_HIGH_PORT, FAULT_PORT = 0x3C, 0x3D, 0x3E


def mmio(offset: int) -> int:
    """The entry of the device register at byte `offset` of the window."""
    if offset % 4 or not 0 <= offset < MMIO_BYTES:
        raise ValueError(f"no device register at offset {offset:#x}")
    return PORTS + offset // 4


class Registers:
    """`values` (int64), `reads`, `writes` (int64) and `actions` (uint8), one entry per register."""

    def __init__(self) -> None:
        self.values = np.zeros(REGISTERS, np.int64)
        self.reads = np.zeros(REGISTERS, np.int64)
        self.writes = np.zeros(REGISTERS, np.int64)
        self.actions = np.zeros(REGISTERS, np.uint8)
        self.actions[RETURN_PORT] = self.actions[FAULT_PORT] = STOP
