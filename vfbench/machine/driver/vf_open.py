"""Opening, closing and moving the VF driver: registers, rings, and the rotation that a read-only head demands."""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.cpu import load_field, spend_copy, store_field
from vfbench.machine.driver.gather import free_gathered
from vfbench.machine.driver.state import (
    NEXT_TO_CLEAN,
    NEXT_TO_USE,
    TX_NEXT_TO_CLEAN,
    TX_NEXT_TO_USE,
    TX_TAIL_WRITTEN,
)
from vfbench.machine.driver.vf_receive import refill
from vfbench.machine.driver.vf_transmit import release_frame
from vfbench.machine.hooks import run_hooks, unmap_page
from vfbench.machine.iommu.table import WRITE
from vfbench.machine.memory.guest_memory import PAGE_BYTES
from vfbench.machine.memory.page_pool import release_page
from vfbench.machine.slots import BEFORE_DOORBELL, CLOSED, OPENED
from vfbench.machine.vf.descriptors import DESCRIPTOR_BYTES, DESCRIPTOR_SHIFT
from vfbench.machine.vf.register_access import write_register
from vfbench.machine.vf.registers import (
    QUEUE_ENABLE,
    RDBAH,
    RDBAL,
    RDLEN,
    RDT,
    RXDCTL,
    SRRCTL,
    SRRCTL_ADVANCED_2K,
    TDBAH,
    TDBAL,
    TDLEN,
    TDT,
    TXDCTL,
)

LOW_32 = 0xFFFFFFFF


@kernel
def clear_entries(cpu: Any, base: int, entries: int) -> None:
    """Zero an array of 16-byte entries."""
    for i in range(2 * entries):
        store_field(cpu, base + i * 8, 0)


@kernel
def configure_receive(cpu: Any, pair: Any) -> None:
    """Datasheet 4.6.7: base, length, buffer size, then enable; the tail comes with the first buffers."""
    write_register(cpu, pair, RDBAL, cpu.rx_ring & LOW_32)
    write_register(cpu, pair, RDBAH, cpu.rx_ring >> 32)
    write_register(cpu, pair, RDLEN, cpu.rx_size * DESCRIPTOR_BYTES)
    write_register(cpu, pair, SRRCTL, SRRCTL_ADVANCED_2K)
    write_register(cpu, pair, RXDCTL, QUEUE_ENABLE)


@kernel
def configure_transmit(cpu: Any, pair: Any) -> None:
    """Datasheet 4.6.8: base, length, then enable."""
    write_register(cpu, pair, TDBAL, cpu.tx_ring & LOW_32)
    write_register(cpu, pair, TDBAH, cpu.tx_ring >> 32)
    write_register(cpu, pair, TDLEN, cpu.tx_size * DESCRIPTOR_BYTES)
    write_register(cpu, pair, TXDCTL, QUEUE_ENABLE)


@kernel
def open_vf(cpu: Any, pair: Any) -> None:
    """Bring the queue up on a device that was just reset: empty rings, every receive slot filled."""
    clear_entries(cpu, cpu.rx_ring, cpu.rx_size)
    clear_entries(cpu, cpu.rx_buffers, cpu.rx_size)
    clear_entries(cpu, cpu.tx_ring, cpu.tx_size)
    clear_entries(cpu, cpu.tx_buffers, cpu.tx_size)
    for offset in (NEXT_TO_CLEAN, NEXT_TO_USE, TX_NEXT_TO_CLEAN, TX_NEXT_TO_USE, TX_TAIL_WRITTEN):
        store_field(cpu, cpu.driver + offset, 0)
    run_hooks(cpu, OPENED)
    configure_transmit(cpu, pair)
    configure_receive(cpu, pair)
    refill(cpu, pair)


@kernel
def release_receive_buffers(cpu: Any) -> None:
    """Unmap and let go of every receive buffer."""
    for slot in range(cpu.rx_size):
        entry = cpu.rx_buffers + (slot << DESCRIPTOR_SHIFT)
        buffer = load_field(cpu, entry)
        if buffer != 0:
            unmap_page(cpu, load_field(cpu, entry + 8), buffer & -PAGE_BYTES, PAGE_BYTES, WRITE)
            release_page(cpu, buffer)
            store_field(cpu, entry, 0)


@kernel
def release_unsent_frames(cpu: Any) -> None:
    """Unmap and let go of every frame that the device has not sent."""
    slot = load_field(cpu, cpu.driver + TX_NEXT_TO_CLEAN)
    end = load_field(cpu, cpu.driver + TX_NEXT_TO_USE)
    while slot != end:
        entry = cpu.tx_buffers + (slot << DESCRIPTOR_SHIFT)
        release_frame(cpu, entry)
        slot = (slot + 1) & (cpu.tx_size - 1)
    store_field(cpu, cpu.driver + TX_NEXT_TO_CLEAN, slot)


@kernel
def close_vf(cpu: Any, pair: Any) -> None:
    """Take the queue down: disable it, then give every buffer back."""
    write_register(cpu, pair, RXDCTL, 0)
    write_register(cpu, pair, TXDCTL, 0)
    release_receive_buffers(cpu)
    if cpu.gathers:
        free_gathered(cpu, pair)
    release_unsent_frames(cpu)
    run_hooks(cpu, BEFORE_DOORBELL)
    run_hooks(cpu, CLOSED)


@kernel
def swap_entries(cpu: Any, base: int, first: int, second: int) -> None:
    """Exchange two 16-byte entries."""
    for word in (0, 8):
        a, b = base + (first << DESCRIPTOR_SHIFT) + word, base + (second << DESCRIPTOR_SHIFT) + word
        kept = load_field(cpu, a)
        store_field(cpu, a, load_field(cpu, b))
        store_field(cpu, b, kept)


@kernel
def reverse_entries(cpu: Any, base: int, first: int, end: int) -> None:
    """Reverse the entries from ``first`` up to ``end``."""
    last = end - 1
    while first < last:
        swap_entries(cpu, base, first, last)
        first += 1
        last -= 1


@kernel
def rotate_ring(cpu: Any, base: int, size: int, head: int) -> None:
    """Rotate a ring in place so that entry ``head`` becomes entry 0 (three reversals)."""
    reverse_entries(cpu, base, 0, head)
    reverse_entries(cpu, base, head, size)
    reverse_entries(cpu, base, 0, size)
    spend_copy(cpu, 2 * size * DESCRIPTOR_BYTES)


@kernel
def rotate_index(cpu: Any, offset: int, size: int, head: int) -> int:
    """Move one of the driver's indices along with its ring; returns the new index."""
    index = (load_field(cpu, cpu.driver + offset) - head) & (size - 1)
    store_field(cpu, cpu.driver + offset, index)
    return index


@kernel
def restore_rings(cpu: Any, pair: Any, rx_head: int, tx_head: int) -> None:
    """Ring restoration (S4): the heads are 0 now, so what stood at the old heads is moved there; then enable."""
    rotate_ring(cpu, cpu.rx_ring, cpu.rx_size, rx_head)
    rotate_ring(cpu, cpu.rx_buffers, cpu.rx_size, rx_head)
    rotate_ring(cpu, cpu.tx_ring, cpu.tx_size, tx_head)
    rotate_ring(cpu, cpu.tx_buffers, cpu.tx_size, tx_head)
    rotate_index(cpu, NEXT_TO_CLEAN, cpu.rx_size, rx_head)
    rotate_index(cpu, TX_NEXT_TO_CLEAN, cpu.tx_size, tx_head)
    rotate_index(cpu, TX_NEXT_TO_USE, cpu.tx_size, tx_head)
    rx_tail = rotate_index(cpu, NEXT_TO_USE, cpu.rx_size, rx_head)
    tx_tail = rotate_index(cpu, TX_TAIL_WRITTEN, cpu.tx_size, tx_head)
    write_register(cpu, pair, TXDCTL, QUEUE_ENABLE)
    write_register(cpu, pair, TDT, tx_tail)
    write_register(cpu, pair, RXDCTL, QUEUE_ENABLE)
    write_register(cpu, pair, RDT, rx_tail)
