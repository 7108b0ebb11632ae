"""A split virtqueue in guest memory (virtio 1.2, section 2.7): descriptor table, available ring, used ring.

Buffers are used in the order in which they were made available (VIRTIO_F_IN_ORDER), so a descriptor's index is
the running count modulo the queue's size. Each side says by an index when the other is to wake it
(VIRTIO_F_EVENT_IDX, virtio 1.2, 2.7.7 and 2.7.10), as Linux, vhost and QEMU agree on by default.
"""

from __future__ import annotations

from typing import Any

from vfbench.kernels import kernel
from vfbench.machine.cpu import load_field, store_field

DESCRIPTOR_WRITE = 2 << 32
"""VIRTQ_DESC_F_WRITE in a descriptor's second word: the device may write the buffer."""
DESCRIPTOR_INDIRECT = 4 << 32
"""VIRTQ_DESC_F_INDIRECT: what is described is a table of descriptors, in order."""
MOST_CHAIN_ENTRIES = 18
"""Headers and ``MAX_SKB_FRAGS`` fragments."""
INDEX_MASK = 0xFFFF
FURTHER_SHIFT = 24
"""In a used entry, above the length: how many further buffers the packet has that begins there."""
BIG_BUFFER_PAGES = 17
"""Pages of a receive buffer that takes 64 KiB at once (``add_recvbuf_big``)."""
ALIGNMENT = 64


def virtqueue_bytes(size: int) -> int:
    """Bytes that a queue of ``size`` descriptors takes."""
    return int(used_offset(size)) + 6 + 8 * size + 8


@kernel
def available_offset(size: int) -> int:
    """Offset of the available ring: flags, index, then ``size`` entries of two bytes."""
    return 16 * size


@kernel
def used_offset(size: int) -> int:
    """Offset of the used ring: flags, index, then ``size`` entries of eight bytes."""
    return (16 * size + 6 + 2 * size + ALIGNMENT - 1) & -ALIGNMENT


@kernel
def replace_bits(word: int, address: int, bits: int, value: int) -> int:
    """``word`` with the field at ``address`` set to ``value``."""
    shift = 8 * (address & 7)
    mask = ((1 << bits) - 1) << shift
    return (word & ~mask) | (value << shift) & mask


@kernel
def field_of(word: int, address: int, bits: int) -> int:
    """The field at ``address`` of the word around it."""
    return (word >> 8 * (address & 7)) & ((1 << bits) - 1)


@kernel
def load16(cpu: Any, address: int) -> int:
    """The two bytes at ``address`` (2-byte aligned)."""
    return field_of(load_field(cpu, address & -8), address, 16)


@kernel
def store16(cpu: Any, address: int, value: int) -> None:
    """Store two bytes; the word around them has no other writer."""
    store_field(cpu, address & -8, replace_bits(load_field(cpu, address & -8), address, 16, value))


@kernel
def load32(cpu: Any, address: int) -> int:
    """The four bytes at ``address`` (4-byte aligned)."""
    return field_of(load_field(cpu, address & -8), address, 32)


@kernel
def available_index(queue: int, size: int) -> int:
    """Address of the count of buffers made available."""
    return queue + available_offset(size) + 2


@kernel
def used_event(queue: int, size: int) -> int:
    """Address of the driver's word, behind the available ring: interrupt me when the buffer of this count is used."""
    return queue + available_offset(size) + 4 + 2 * size


@kernel
def available_event(queue: int, size: int) -> int:
    """Address of the device's word, behind the used ring: kick me when the buffer of this count is made available."""
    return queue + used_offset(size) + 4 + 8 * size


@kernel
def passes(event: int, new: int, old: int) -> bool:
    """Whether a count that went from ``old`` to ``new`` has passed ``event`` (``vring_need_event``)."""
    return (new - event - 1) & INDEX_MASK < (new - old) & INDEX_MASK


@kernel
def used_index(queue: int, size: int) -> int:
    """Address of the count of buffers used."""
    return queue + used_offset(size) + 2


@kernel
def used_entry(queue: int, size: int, count: int) -> int:
    """Address of the used ring's entry number ``count``: descriptor, then length."""
    return queue + used_offset(size) + 4 + 8 * (count & (size - 1))


@kernel
def indirect_table(cpu: Any, count: int) -> int:
    """Address of the table that the large send number ``count`` has to itself."""
    return cpu.tx_indirect + (count & (cpu.virtqueue_size - 1)) * (16 * MOST_CHAIN_ENTRIES)


@kernel
def make_available(cpu: Any, queue: int, count: int, address: int, length_and_flags: int) -> None:
    """The driver offers buffer number ``count``; the index that publishes it is stored by the caller, once for many."""
    size = cpu.virtqueue_size
    slot = count & (size - 1)
    store_field(cpu, queue + 16 * slot, address)
    store_field(cpu, queue + 16 * slot + 8, length_and_flags)
    store16(cpu, queue + available_offset(size) + 4 + 2 * slot, slot)
