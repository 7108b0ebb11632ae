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
def set_register(pair: Any, index: int, value: int, time_ps: int) -> None:
    """The device's side of a register write; head registers are read-only (datasheet 8.2.3.8)."""
    if index == RDH or index == TDH:
        return
    if index == RDT and pair.nic.rx_head == pair.nic.register[RDT]:
        pair.nic.rx_ready_ps = time_ps
    if index == TDT and pair.nic.tx_head == pair.nic.register[TDT]:
        pair.nic.tx_ready_ps = time_ps
    pair.nic.register[index] = value
    if index == RXDCTL and value & QUEUE_ENABLE:
        pair.nic.rx_base = pair.nic.register[RDBAL] | pair.nic.register[RDBAH] << 32
    if index == TXDCTL and value & QUEUE_ENABLE:
        pair.nic.tx_base = pair.nic.register[TDBAL] | pair.nic.register[TDBAH] << 32


@kernel
def read_register(pair: Any, index: int) -> int:
    """The device's side of a register read; the heads are where the device stands."""
    if index == RDH:
        return pair.nic.rx_head
    if index == TDH:
        return pair.nic.tx_head
    return pair.nic.register[index]


@kernel
def write_register(cpu: Any, pair: Any, index: int, value: int) -> None:
    """The driver writes a register, and where asked also keeps the value in its own memory (S2).

    The device first gets as far as it would have come before it saw the write.
    """
    if cpu.mirror_registers:
        store_field(cpu, cpu.driver + REGISTER_MIRROR + index * 8, value)
    bring_vf_up_to_now(cpu, pair)
    set_register(pair, index, value, now_ps(cpu))


@kernel
def reset_registers(pair: Any) -> None:
    """What a function-level reset leaves: every register, and both heads, 0."""
    for index in range(len(pair.nic.register)):
        pair.nic.register[index] = 0
    pair.nic.rx_base = 0
    pair.nic.tx_base = 0
    pair.nic.rx_head = 0
    pair.nic.tx_head = 0
    pair.nic.unwritten = 0
    pair.nic.rx_taken = 0
    pair.nic.tx_left = 0
    pair.nic.write_back_due_ps = NEVER_PS
