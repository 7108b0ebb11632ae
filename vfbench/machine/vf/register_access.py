"""How the driver writes the VF's registers, and what the device makes of it."""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.cpu import now_ps, store_field
from vfbench.machine.driver.state import REGISTER_MIRROR
from vfbench.machine.sides import primitive
from vfbench.machine.vf.device import bring_vf_up_to_now
from vfbench.machine.vf.registers import (
    QUEUE_ENABLE,
    RDBAH,
    RDBAL,
    RDH,
    RDT,
    RXDCTL,
    TDBAH,
    TDBAL,
    TDH,
    TDT,
    TXDCTL,
)
from vfbench.machine.wire import NEVER_PS


@primitive
def set_register(port: Any, index: int, value: int, time_ps: int) -> None:
    """The device's side of a register write; head registers are read-only (datasheet 8.2.3.8)."""
    if index == RDH or index == TDH:
        return
    if index == RDT and port.rx_head == port.register[RDT]:
        port.rx_ready_ps = time_ps
    if index == TDT and port.tx_head == port.register[TDT]:
        port.tx_ready_ps = time_ps
    port.register[index] = value
    if index == RXDCTL and value & QUEUE_ENABLE:
        port.rx_base = port.register[RDBAL] | port.register[RDBAH] << 32
    if index == TXDCTL and value & QUEUE_ENABLE:
        port.tx_base = port.register[TDBAL] | port.register[TDBAH] << 32


@kernel
def read_register(port: Any, index: int) -> int:
    """The device's side of a register read; the heads are where the device stands."""
    if index == RDH:
        return port.rx_head
    if index == TDH:
        return port.tx_head
    return port.register[index]


@kernel
def write_register(cpu: Any, port: Any, index: int, value: int) -> None:
    """The driver writes a register, and where asked also keeps the value in its own memory (S2).

    The device first gets as far as it would have come before it saw the write.
    """
    if cpu.mirror_registers:
        store_field(cpu, cpu.driver + REGISTER_MIRROR + index * 8, value)
    bring_vf_up_to_now(cpu, port)
    set_register(port, index, value, now_ps(cpu))


@kernel
def reset_registers(port: Any) -> None:
    """What a function-level reset leaves: every register, and both heads, 0."""
    for index in range(len(port.register)):
        port.register[index] = 0
    port.rx_base = 0
    port.tx_base = 0
    port.rx_head = 0
    port.tx_head = 0
    port.unwritten = 0
    port.rx_taken = 0
    port.tx_left = 0
    port.write_back_due_ps = NEVER_PS
