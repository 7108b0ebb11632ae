"""How the device reaches the structures in guest memory: no store here touches the dirty log."""

from __future__ import annotations

from typing import Any

from vfbench.machine.cpu import after_races
from vfbench.machine.memory.faults import check_structure
from vfbench.machine.memory.words import load_word, store_word
from vfbench.machine.oracle.oracle import mark_device_write
from vfbench.machine.sides import primitive


@primitive
def dma_store(cpu: Any, address: int, value: int, time_ps: int) -> None:
    """The device writes a word of a structure in guest memory at ``time_ps``."""
    check_structure(cpu, address)
    store_word(cpu.words + address, 0, after_races(cpu, address >> 3, value, time_ps))
    mark_device_write(cpu, address)


@primitive
def dma_load(cpu: Any, address: int) -> int:
    """The device reads a word of a structure in guest memory."""
    check_structure(cpu, address)
    return load_word(cpu.words + address, 0)


@primitive
def write_back_descriptor(cpu: Any, address: int, status: int, time_ps: int) -> None:
    """The device writes back both words of a receive descriptor."""
    check_structure(cpu, address)
    word = address >> 3
    store_word(cpu.words, word, after_races(cpu, word, 0, time_ps))
    store_word(cpu.words, word + 1, after_races(cpu, word + 1, status, time_ps))
    mark_device_write(cpu, address)
