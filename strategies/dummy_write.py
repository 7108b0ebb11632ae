"""Dummy write.

DMA does not show in the dirty log; the CPU's stores do. So when the driver takes a buffer or a descriptor back
from the device, it reads one byte of it and writes the same byte back: the page turns dirty and is sent again.

What the dummy write marks is a page, and a page of the ring holds 256 descriptors: it also carries neighbours
that the device has written back and whose buffers nobody has touched yet. Hence the driver drains the ring between
the device's stop and its own.

Source: Lan Tianyu, linux-pci, 21 October 2015.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from vfbench.machine.cpu import load, touch
from vfbench.machine.vf.descriptors import DESCRIPTOR_BYTES
from vfbench.parameters import parameter
from vfbench.strategy import (
    FAULT_OF_STOP_ORDER,
    STOP_ORDERS,
    Hooks,
    Migration,
    Strategy,
    do_nothing,
    hook,
    stop_and_copy,
)

ATOMIC = 0


@hook
def touch_first_byte(cpu: Any, address: int, length_bytes: int) -> None:
    """The first byte: the driver reads the header anyway, and a descriptor's first line it has just read."""
    touch(cpu, address, cpu.option[ATOMIC], True)


@hook
def touch_last_byte(cpu: Any, address: int, length_bytes: int) -> None:
    """The last byte of the packet: proof that all of it is there, at the price of another line."""
    touch(cpu, address + length_bytes - 1, cpu.option[ATOMIC], length_bytes <= 64)


@hook
def touch_both_ends(cpu: Any, address: int, length_bytes: int) -> None:
    touch_first_byte(cpu, address, length_bytes)
    touch_last_byte(cpu, address, length_bytes)


@hook
def touch_descriptor_and_next_buffer(cpu: Any, descriptor: int, length_bytes: int) -> None:
    """The descriptor, and ahead of time the buffer whose turn is next: the device may be writing it (fault 7)."""
    touch_first_byte(cpu, descriptor, length_bytes)
    offset = descriptor - cpu.rx_ring
    ring_bytes = cpu.rx_size * DESCRIPTOR_BYTES
    if 0 <= offset < ring_bytes:
        next_buffer = load(cpu, cpu.rx_buffers + ((offset + DESCRIPTOR_BYTES) & (ring_bytes - 1)))
        if next_buffer != 0:
            touch(cpu, next_buffer, cpu.option[ATOMIC], False)


BUFFER_HOOKS = {"first": touch_first_byte, "last": touch_last_byte, "both": touch_both_ends}


@dataclass(frozen=True)
class DummyWrite(Strategy):
    """The driver rewrites a byte of all that the device wrote, so that the page shows in the dirty log."""

    name: ClassVar[str] = "dummy-write"

    byte: str = parameter(
        "first", choices=tuple(BUFFER_HOOKS), help="which bytes of a packet a dummy write touches"
    )
    descriptors: bool = parameter(True, help="dummy-write descriptors too, not only buffers")
    atomic: bool = parameter(False, help="read and write in one locked instruction")
    ahead: bool = parameter(
        False, help="also touch the next buffer while the device may write it; fault 7 unless atomic"
    )
    when: str = parameter(
        "synced",
        choices=("synced", "given"),
        help="touch a buffer when it is back from the device, or already when it is given to it (fault 2)",
    )
    stop_order: str = parameter(
        "device-first",
        choices=STOP_ORDERS,
        help="what stops first; undrained is fault 3, guest-first fault 4, device-last fault 1",
    )

    @property
    def hooks(self) -> Hooks:
        buffer = BUFFER_HOOKS[self.byte]
        descriptor = touch_descriptor_and_next_buffer if self.ahead else touch_first_byte
        return Hooks(
            buffer_given=buffer if self.when == "given" else do_nothing,
            buffer_synced=buffer if self.when == "synced" else do_nothing,
            descriptor_seen_done=descriptor if self.descriptors else do_nothing,
        )

    @property
    def options(self) -> tuple[int, ...]:
        return (int(self.atomic),)

    @property
    def dma_visible_by(self) -> str:
        return "guest-store"

    @property
    def faults(self) -> tuple[int, ...]:
        others = {2: self.when == "given", 7: self.ahead and not self.atomic}
        return tuple(sorted((*FAULT_OF_STOP_ORDER[self.stop_order], *(n for n, on in others.items() if on))))

    def migrate(self, migration: Migration) -> None:
        migration.pre_copy()
        stop_and_copy(migration, self.stop_order)
        migration.transfer_vf_state()
        migration.restore_rings()
        migration.resume()
